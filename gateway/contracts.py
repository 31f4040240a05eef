"""The sockets: what an adapter, a channel and a store must be, so that the pipeline needs to know none of them.

An adapter is one file in `adapters/` with a module-level `adapter`, a channel one file in
`gateway/channels/` with `Settings` and `connect`; the file's name is the name used in routing.yaml.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from pydantic import model_validator

from gateway.fields import Duration, Flag, Network, Pace, Rate, RateField, Secrets, Settings, Size
from gateway.model import Alert, Event, Json, Message, Millis, Receipt, Ref

if TYPE_CHECKING:
    import httpx2

DAY: Millis = 86_400_000


# --- the way in ---------------------------------------------------------------------------------------


class SourceSettings(Settings):
    """One entry of `sources:`. `max_body` None means the adapter's own cap."""

    adapter: str
    secret: Secrets = ()
    token: Secrets = ()
    unauthenticated: Flag = False
    optional: Flag = False
    labels: Mapping[str, str] = {}
    limit: RateField | None = None
    max_body: Size | None = None
    gzip: Flag = False
    allow_from: Sequence[Network] = ()


@dataclass(frozen=True, slots=True)
class Keep:
    """Keep this request. `delivery_id` is the sender's own id of it, never used twice in 7 days;
    without one, `once_per_body` says that the same bytes within 24 hours are the same event."""

    delivery_id: str | None = None
    once_per_body: bool = False


@dataclass(frozen=True, slots=True)
class Handshake:
    """The sender only wants to know that we are here: answered, never stored."""


Admission: TypeAlias = Keep | Handshake


class Adapter(Protocol):
    """Verifies and reads one vendor's requests. Pure: no I/O, no clock. Header names are lower case.

    `keeps` names the headers that `parse` needs: they are stored, so none may hold a credential.
    `max_body` is the default cap in bytes."""

    keeps: frozenset[str]
    max_body: int

    def signed(self, headers: Mapping[str, str]) -> bool:
        """Whether the request carries a signature, good or bad: then it is judged by that alone."""

    def verify(self, headers: Mapping[str, str], body: bytes, secret: str, now: Millis) -> bool:
        """Whether this one secret made the signature of these raw bytes. Compares bytes in constant time."""

    def admit(self, headers: Mapping[str, str], document: Json) -> Admission:
        """What to do with a verified request. Cheap: it stands before the 202."""

    def parse(self, event: Event, document: Json) -> list[Alert]:
        """What the request says; an empty list where it says nothing that anybody must hear.

        `document` is the body, decoded and normalised (`rules.reading`). Raises Unreadable where the
        shape is unknown; the event is then kept and can be read again."""


# --- the way out --------------------------------------------------------------------------------------


class Templates(Settings):
    """A channel's own words (Jinja, sandboxed); None means ours."""

    title: str | None = None
    body: str | None = None


class ChannelSettings(Settings):
    """What every entry of `channels:` may say. A channel's file extends it with its own keys.

    `pace` None means the channel's own default. `give_up_after`: how long a message is tried."""

    kind: str
    optional: Flag = False
    pace: Pace | None = None
    timeout: Duration = 10_000
    language: Literal["en", "ko"] = "en"
    templates: Templates = Templates()
    give_up_after: Duration = DAY

    @model_validator(mode="after")
    def _some_time(self) -> ChannelSettings:
        if self.timeout <= 0:
            raise ValueError("timeout must be more than 0s")
        return self


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a channel gets from the house: its name in routing.yaml, our own public address (or ''),
    a clock, and for tests a transport in the place of the network."""

    name: str
    public_url: str = ""
    now: Callable[[], Millis] = lambda: 0
    transport: httpx2.AsyncBaseTransport | None = None


class Channel(Protocol):
    """A configured way out: `connect(settings, surroundings)` of its file made it. Opens nothing before the first send.

    - `edits`: it can change what it has said, so a fall in severity is worth telling it.
    - `width`: how many sends may be under way at once.
    - `paces`: all of them hold; the settings' own pace replaces them.
    - `unknown_again`: how often an Unknown is sent again; None for as often as a Retry.
    """

    edits: bool
    width: int
    paces: tuple[Rate, ...]
    unknown_again: int | None

    def escape(self, text: str) -> str:
        """Make foreign text harmless in this channel's markup: no mention, no link, no format of its making."""

    async def send(self, message: Message, ref: Ref) -> Receipt:
        """Say it, or change what stands. `ref` is what the last receipt of this delivery gave; {} at first.

        Never raises for what a vendor or the network does: that is a Receipt. Cancelled at shutdown."""

    async def close(self) -> None:
        """Let go of connections and threads."""
