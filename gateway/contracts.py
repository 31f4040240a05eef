"""The sockets: what an adapter, a channel and a store must be, so that the pipeline needs to know none of them.

An adapter is one file in `adapters/` with a module-level `adapter`, a channel one file in
`gateway/channels/` with `Settings` and `connect`; the file's name is the name used in routing.yaml.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

from pydantic import field_validator, model_validator

from gateway.fields import Duration, Flag, Network, Pace, Rate, RateField, Secrets, Settings, Size
from gateway.model import (
    Alert,
    Change,
    Delivery,
    Digest,
    Event,
    Gathered,
    Incident,
    Json,
    Key,
    Message,
    Millis,
    Override,
    Reached,
    Receipt,
    Ref,
    Replica,
    Severity,
    Silence,
    Timer,
    TimerKind,
)
from gateway.values import frozen

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")

DAY: Millis = 86_400_000
LONGEST_TIMEOUT: Millis = 120_000
"""Of one call. A whole send may take six, and a lease lasts longer still: what a lost one holds waits that long."""


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

    @field_validator("allow_from")
    @classmethod
    def _somebody(cls, networks: Sequence[Network]) -> Sequence[Network]:
        # An empty list must not come to mean everybody: it is what is left when the last network is taken out.
        if not networks:
            raise ValueError("is empty; name a network, or leave the key out to take any address")
        return networks


@frozen
class Keep:
    """Keep this request. `delivery_id` is the sender's own id of it, never used twice in 7 days;
    without one, `once_per_body` says that the same bytes within 24 hours are the same event."""

    delivery_id: str | None = None
    once_per_body: bool = False


@frozen
class Handshake:
    """The sender only wants to know that we are here: answered, never stored."""


Admission: TypeAlias = Keep | Handshake


class Adapter(Protocol):
    """Verifies and reads one vendor's requests. Pure: no I/O, no clock. Header names are lower case.

    `signs`: whether this vendor signs at all; one that does not needs a token.
    `keeps` names the headers that `parse` needs: they are stored, so none may hold a credential.
    `max_body` is the default cap in bytes."""

    @property
    def signs(self) -> bool: ...

    @property
    def keeps(self) -> frozenset[str]: ...

    @property
    def max_body(self) -> int: ...

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

    `pace` None means the channel's own default. `give_up_after`: how long a message is tried.
    `max_messages`: the storm budget; None for no limit. `short_forms`: whether its channel has use for a message's
    `brief` and `speech`; else they are not composed."""

    short_forms: ClassVar[bool] = True

    kind: str
    optional: Flag = False
    pace: Pace | None = None
    timeout: Duration = 10_000
    language: Literal["en", "ko"] = "en"
    templates: Templates = Templates()
    give_up_after: Duration = DAY
    max_messages: RateField | None = None

    @model_validator(mode="after")
    def _some_time(self) -> ChannelSettings:
        if self.timeout <= 0:
            raise ValueError("timeout must be more than 0s")
        if self.timeout > LONGEST_TIMEOUT:
            raise ValueError("timeout must be at most 2m")
        return self


@frozen
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


# --- what comes back over a channel -------------------------------------------------------------------


@frozen
class Call:
    """A vendor's request to `/callbacks/{kind}/{channel}`. Header names are lower case; `url` is the public address
    that the vendor called, query included; `query` the same decoded."""

    headers: Mapping[str, str]
    body: bytes
    url: str
    query: Mapping[str, str]
    now: Millis


@frozen
class Pressed:
    """A person acts: a button, a keypress, a reply.

    - `key`: the vendor's own id of this press: one taken already changes nothing.
    - `verb`: what they want. `by`: who, as people know them (a name; never an id alone where there is a name).
    - `subject`: the id of the incident or digest whose message it was; '' where they only named `number`, or
      neither, which means the newest told to `address`.
    - `where`: what a delivery's ref must agree with, key for key, for the press to be about what we said there.
    - `address`: the phone number they answered from; '' elsewhere.
    - `about`: what `reply` needs to answer them."""

    key: str
    verb: Literal["acknowledge", "resolve", "silence"]
    by: str
    subject: str = ""
    number: int | None = None
    where: Mapping[str, Json] = field(default_factory=dict)
    address: str = ""
    about: Mapping[str, Json] = field(default_factory=dict)


@frozen
class Reported:
    """The vendor tells what became of a message. `key` as in Pressed. `address`: whose, of several recipients.
    `sid`: the vendor's id of the message; it must stand in the delivery's ref. `reason` is the vendor's word."""

    key: str
    delivery: str
    reached: Reached
    sid: str = ""
    address: str = ""
    reason: str = ""


@frozen
class Ignored:
    """A well-signed request that asks nothing of us: why, for the log."""

    why: str


Heard: TypeAlias = Pressed | Reported | Ignored


@frozen
class Reply:
    """The answer to a vendor's request."""

    status: int = 200
    body: str = ""
    media_type: str = "text/plain"


@runtime_checkable
class Listener(Protocol):
    """A channel that can be answered. What a channel adds to be one:"""

    @property
    def listens(self) -> bool:
        """Whether it has what it needs to verify a callback (a signing secret, a secret token …)."""

    def hear(self, call: Call) -> Heard:
        """Verify and read one callback. Raises BadCredential for what is forged or too late. Pure."""

    async def agrees(self, where: Mapping[str, Json], ref: Ref) -> bool:
        """Whether what was pressed `where` is the message that `ref` names: something that we said there.

        False as well where it cannot be known now. May ask the vendor once, with little patience."""

    async def reply(self, heard: Heard, text: str) -> Reply:
        """Tell whoever pressed what came of it, `text` in one line (may be ''): in the answer itself, or by a call
        of the vendor's API. Never raises for what the vendor does."""


@runtime_checkable
class Announcer(Protocol):
    """A listener that must tell its vendor where to call."""

    async def announce(self) -> Receipt:
        """Tell the vendor our address for callbacks; again and again does no harm. Sent at once where there is
        nothing to tell. Never raises for what the vendor does."""


# --- the safe -----------------------------------------------------------------------------------------


@frozen
class Accepted:
    """The event's id, safe on disk. `duplicate`: it was there already, under this id."""

    event: str
    duplicate: bool = False


@frozen
class Statement:
    """One alert as it was read from an event, and the incident it was folded into; '' where into none."""

    id: str
    event: str
    incident: str
    at: Millis
    alert: Alert


@frozen
class Attempt:
    """One send and its receipt. `took` is in milliseconds; `revision` is what was said."""

    id: str
    delivery: str
    at: Millis
    revision: int
    receipt: str
    reason: str = ""
    took: Millis = 0


@frozen
class Settled:
    """What became of one claimed delivery: the columns to write, if its token still holds."""

    delivery: Delivery
    attempt: Attempt | None


MOST_BYTES: Final = 2 * 1024 * 1024
"""Of bodies, after which a batch takes no further event: 64 of a megabyte and more would be decoded for longer than a
transaction may last, and held in memory all at once."""


@frozen
class Owed:
    """A delivery that is due, as far as it can be read for certain. Of a summary, `source` is '' and `severity` that
    of what is critical: it speaks for many."""

    id: str
    token: int
    incident: str
    route: str
    person: str
    is_digest: bool
    promised_at: Millis
    reason: str
    source: str
    severity: Severity


class Inbox(Protocol):
    """Events, and the ids that senders have burned."""

    async def accept(self, entries: Sequence[tuple[Event, str | None, Millis]]) -> list[Accepted]:
        """Store events and burn their keys, all or none. See `Store.accept`."""

    async def burn(self, place: str, key: str, now: Millis, until: Millis) -> bool:
        """Use a key once, until then; False where it has been used."""

    async def waiting(self, most: int) -> list[Event]:
        """The oldest events not yet decided, at most so many; none after those whose bodies make up MOST_BYTES."""

    async def get(self, id_: str) -> Event | None:
        """This event, in whatever state it is now."""

    async def add(self, event: Event) -> None:
        """Put an event of our own beside what this transaction does."""

    async def finish(self, done: Sequence[str], unreadable: Mapping[str, str]) -> None:
        """Mark events as decided, or as unreadable with the reason."""

    async def unreadable(self, source: str) -> int:
        """How many events of this source stand unreadable."""


class Incidents(Protocol):
    async def living(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Incident]:
        """The incidents not resolved, by (source, fingerprint)."""

    async def last_resolved(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Incident]:
        """The newest resolved incident of each (source, fingerprint)."""

    async def by_id(self, ids: Collection[str]) -> dict[str, Incident]: ...

    async def find(self, name: str) -> Incident | None:
        """By id, or by number where the name is one."""

    async def living_after(self, key: Key, most: int) -> list[Incident]:
        """The incidents not resolved whose (source, fingerprint) is greater, in that order."""

    async def save(self, new: Sequence[Incident], moved: Sequence[Incident]) -> None: ...


class Changes(Protocol):
    async def record(self, changes: Sequence[Change], statements: Sequence[Statement]) -> None:
        """Append to the history: how incidents moved, and what was said to move them."""

    async def story(self, incident: str) -> list[tuple[Change, Json]]:
        """Every change of one incident, oldest first, each with its decision in the public shape, or None."""

    async def of(self, said: Mapping[str, int]) -> dict[str, list[Change]]:
        """What happened since, without the decisions: for each incident the change whose revision was said last
        (for 0 the first one) and those after it, oldest first, the newest 200 of them."""


class Timers(Protocol):
    """What is to be looked at again, and when. Durable; one for each kind, subject and name."""

    async def set(self, timers: Sequence[Timer]) -> None:
        """Arm them; one that stands already gets the new time."""

    async def cancel(self, subjects: Collection[str], kinds: Collection[TimerKind]) -> None:
        """Disarm all of these kinds for these subjects."""

    async def drop(self, timers: Sequence[Timer]) -> None:
        """Disarm exactly these: kind, subject and name."""

    async def of(self, subjects: Collection[str]) -> dict[str, list[Timer]]: ...

    async def due(self, now: Millis, most: int) -> list[Timer]:
        """Take the oldest that are due, at most so many: they are disarmed by being taken."""

    async def look(self, now: Millis, most: int) -> list[Timer]:
        """As `due`, but without what they are about, which may be what cannot be read; and they stay armed."""

    async def take(self, timer: Timer, now: Millis) -> Timer | None:
        """Take this one, with what it is about; None where it is due no more."""

    async def put_off(self, timers: Sequence[Timer], now: Millis, until: Millis) -> None:
        """Let these wait until then, where they are due still."""

    async def next_due(self) -> Millis | None: ...

    async def hasten(self, kind: TimerKind, names: Collection[str] | None, now: Millis) -> int:
        """Make due at once those of a kind with these names; None for all of the kind. How many."""

    async def shift(self, by: Millis) -> None:
        """The wall clock was put forward by so much: move all that are not of the calendar with it."""


class Quiet(Protocol):
    """Silences, overrides, and which living incidents inhibit others."""

    async def silences(self, now: Millis) -> list[Silence]:
        """Those in force."""

    async def add_silence(self, silence: Silence) -> None: ...

    async def end_silence(self, id_: str, at: Millis) -> Silence | None:
        """None where there is none in force under this id."""

    async def silence(self, id_: str) -> Silence | None: ...

    async def overrides(self, after: Millis) -> list[Override]:
        """Those that end after this instant."""

    async def add_override(self, override: Override) -> None: ...

    async def drop_override(self, id_: str) -> bool: ...

    async def key(self, name: str) -> bytes:
        """32 random bytes of this database's own under a name: made at the first asking, and the same ever after."""

    async def mark(self, marked: Collection[tuple[str, str]], unmarked: Collection[str]) -> None:
        """(mark, incident) pairs that now hold, and incidents that bear no other mark any more."""

    async def marked(self, named: Collection[str]) -> dict[str, set[str]]:
        """The incidents that bear each of these marks."""


class Digests(Protocol):
    async def open_by_key(self, keys: Collection[str]) -> dict[str, Digest]: ...

    async def by_id(self, ids: Collection[str]) -> dict[str, Digest]: ...

    async def of(self, incidents: Collection[str]) -> dict[str, list[Digest]]:
        """The open digests that each incident is a member of."""

    async def save(self, digests: Sequence[Digest], members: Collection[tuple[str, str]]) -> None:
        """New and moved digests, and (digest, incident) pairs that are members now."""

    async def gathered(self, ids: Collection[str], most: int) -> dict[str, Gathered]:
        """How each digest stands, with at most so many incidents named."""

    async def members(self, id_: str, most: int) -> list[Incident]:
        """Those not resolved, the worst and newest first."""

    async def awaiting(self, id_: str, most: int) -> list[Incident]:
        """Those that nobody has acknowledged, those first that are not muted, the worst and newest first."""

    async def everyone(self, id_: str, most: int) -> list[Incident]:
        """Its members, resolved ones too. A silence's are the critical incidents that it hid."""

    async def spend(self, channel: str, at: Millis, id_: str, *, extra: bool, forget: Millis) -> None:
        """A message that rang counts against its channel's budget; what lies before `forget` counts no more."""

    async def spent(self, channel: str, after: Millis) -> list[tuple[Millis, bool]]:
        """When the messages after an instant rang, oldest first, and whether each was over the plain budget."""


class Shared(Protocol):
    """What several gateways on one database must know of each other."""

    async def lane(self, channel: str) -> tuple[list[Millis], Millis]:
        """When its newest messages started, all gateways' together, and until when its vendor wants it to rest."""

    async def set_lane(self, channel: str, starts: Sequence[Millis], rest_until: Millis) -> None: ...

    async def seen(self, replica: Replica) -> None:
        """It lives."""

    async def differ(self, configuration: str, now: Millis) -> bool:
        """Whether a gateway lives whose file is another one than that with this hash: it may know what we do not."""

    async def leave(self, id_: str) -> None:
        """It has stopped in good order."""

    async def forget(self, before: Millis) -> int:
        """Drop those that were not seen since. How many."""

    async def replicas(self) -> list[Replica]:
        """Who is there, those first that started first."""


class Outbox(Protocol):
    async def of(self, incidents: Collection[str]) -> dict[str, list[Delivery]]:
        """The deliveries of these incidents."""

    async def promise(self, deliveries: Sequence[Delivery], urgent: Collection[str]) -> None:
        """Make or renew promises: one row per incident and channel. A renewed one wants the newer revision at
        once; a lease on it stays. `urgent` names incidents that go before others."""

    async def claim(
        self, channel: str, now: Millis, lease: Millis, most: int, ended: Millis | None = None
    ) -> list[Delivery]:
        """Take what is due, each with a new token, for `lease` milliseconds. `ended`: a claim of somebody else's is
        over that ended by then; `now` where it is not given, 0: none is."""

    async def settle(self, settled: Sequence[Settled]) -> list[str]:
        """Write what became of claims and log the attempts. Ids of those whose token no longer held."""

    async def renew(self, held: Collection[tuple[str, int]], until: Millis) -> None:
        """Hold claims for longer, (id, token) each: those whose token holds no more are another's now."""

    async def release(self, held: Collection[tuple[str, int]]) -> None:
        """Give claims back, (id, token) each, as if they had not been taken: the lane is stopping. Those whose token
        holds no more are another's now, and stay his."""

    async def look(self, channel: str, now: Millis, most: int) -> list[Owed]:
        """What `claim` would take, without reading what else there is of it."""

    async def put_off(self, held: Collection[tuple[str, int]], reason: str, until: Millis) -> None:
        """Let these wait until then, (id, token) each, where they wait and the token holds."""

    async def fail(self, held: Mapping[tuple[str, int], str]) -> list[str]:
        """Make dead letters of these, (id, token) and the reason, where they wait and the token holds. Ids of those
        that are now."""

    async def next_due(self, channel: str) -> Millis | None:
        """When the next waiting delivery is due; None where none waits."""

    async def wake(self, channel: str) -> int:
        """Make due at once what waits in backoff."""

    async def abandon(self, channels: Collection[str], reason: str, now: Millis) -> int:
        """Fail what waits for any channel but these, and is not being said: theirs were taken out of the
        configuration."""

    async def get(self, id_: str) -> Delivery | None: ...

    async def held(self, channel: str, now: Millis, most: int, *, urgent: bool, heard_too: bool) -> list[Delivery]:
        """What is due for incidents alone and would ring now; urgent ones too, and those that have heard before too,
        where it is said so. Not claimed."""

    async def absorb(self, held: Sequence[Delivery], digest: str, attempts_made: Sequence[Attempt]) -> None:
        """Let a digest speak for these, and write down why."""

    async def withdraw(self, ids: Collection[str]) -> None:
        """Take promises back of which nothing was said. One that is being said stands if that succeeds."""

    async def reach(self, id_: str, reached: Reached, reason: str) -> bool:
        """Note what the vendor tells of a message; False where that is known."""

    async def newest_told(self, channel: str, most: int) -> list[Delivery]:
        """What this channel was told last, newest first."""

    async def shift(self, by: Millis) -> None:
        """The wall clock was put forward by so much: what is due and leased moves with it."""


class Ledger(Protocol):
    """One transaction's view of the tables."""

    @property
    def inbox(self) -> Inbox: ...

    @property
    def incidents(self) -> Incidents: ...

    @property
    def changes(self) -> Changes: ...

    @property
    def outbox(self) -> Outbox: ...

    @property
    def timers(self) -> Timers: ...

    @property
    def quiet(self) -> Quiet: ...

    @property
    def digests(self) -> Digests: ...

    @property
    def shared(self) -> Shared: ...


class Store(Protocol):
    """Durable state. What `accept` and `write` returned from is on disk. `tick`: seconds after which to look whether
    another gateway has left something to do."""

    @property
    def tick(self) -> float: ...

    @property
    def shared(self) -> bool:
        """Whether other gateways may use the same database."""

    async def accept(self, event: Event, key: str | None, until: Millis) -> Accepted:
        """Store the event and burn its key until then, many requests in one commit.

        Raises StoreUnavailable; then neither event nor key is kept, or the outcome is unknown and the
        key makes a second post safe."""

    async def write(self, work: Callable[[Ledger], Awaitable[T]], *, lasting: bool = True) -> T:
        """One transaction: all of `work` or none of it. Raises StoreUnavailable.

        `lasting`: it is there after a power cut, too. Without that a store may be quicker, and a power cut may take
        what was done in its last moments: never something of before something that is there."""

    async def read(self, work: Callable[[Ledger], Awaitable[T]]) -> T:
        """A look at what is committed; never waits for a writer."""
