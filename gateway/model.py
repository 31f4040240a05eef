"""Every noun, in the order of its life:

    Event → Alert → Incident + Change → Plan → Delivery → Message → Receipt

All are frozen values. Instants are integer milliseconds since 1970 in UTC (`Millis`), and so are
durations; what people see is RFC 3339, made at the edge. An empty string means "absent".
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal, TypeAlias

from gateway.values import frozen

Millis: TypeAlias = int
Json: TypeAlias = Any
Key: TypeAlias = tuple[str, str]
"""A problem's source and fingerprint."""
"""A decoded JSON value: dict, list, str, int, float, bool or None."""

Ref: TypeAlias = Mapping[str, Any]
"""What a vendor told us about the message it holds (ids, timestamps): JSON, read by its own channel only,
but for the key `permalink`, a URL that others may show."""

GATEWAY = "gateway"
"""The reserved source of the gateway's own alerts, and the name it acts under."""


class Severity(enum.IntEnum):
    """How bad it is. Compared as numbers, written as words."""

    INFO = 0
    WARNING = 1
    ERROR = 2
    CRITICAL = 3
    EMERGENCY = 4

    @property
    def word(self) -> str:
        return _LEVEL_WORDS[self]

    @classmethod
    def read(cls, text: str) -> Severity | None:
        """The level that a word means, aliases included, without regard to case; None where it means none."""
        return _SEVERITY_WORDS.get(text.strip().lower())


_LEVEL_WORDS = tuple(level.name.lower() for level in Severity)
_SEVERITY_WORDS: dict[str, Severity] = {
    **{level.name.lower(): level for level in Severity},
    **dict.fromkeys(("debug", "notice", "low", "ok", "success", "positive"), Severity.INFO),
    **dict.fromkeys(("warn", "medium", "moderate"), Severity.WARNING),
    **dict.fromkeys(("high", "major"), Severity.ERROR),
    **dict.fromkeys(("fatal", "crit", "p1", "sev0"), Severity.CRITICAL),
    **dict.fromkeys(("emerg", "alert", "panic"), Severity.EMERGENCY),
}


@frozen
class Event:
    """One raw request as received. `body` is the bytes as they came (inflated where gzip was allowed);
    `headers` holds only those its adapter keeps, names in lower case, never a credential."""

    id: str
    source: str
    adapter: str
    received_at: Millis
    headers: Mapping[str, str]
    body: bytes
    state: Literal["waiting", "done", "unreadable"] = "waiting"
    reason: str = ""


@frozen
class Alert:
    """One statement in the common schema. `fingerprint` names the problem within its source.

    `momentary`: nothing can ever resolve it (a push, a comment): told once, resolved at once."""

    fingerprint: str
    title: str
    severity: Severity = Severity.ERROR
    status: Literal["firing", "resolved"] = "firing"
    kind: str = ""
    service: str = ""
    environment: str = ""
    body: str = ""
    url: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    value: float | None = None
    occurred_at: Millis | None = None
    momentary: bool = False


State: TypeAlias = Literal["open", "acknowledged", "resolved"]


@frozen
class Incident:
    """The problem's life, keyed by source and fingerprint. `severity` is the newest, `worst` the highest so far.

    `revision` rises with every change; `number` is short, for people, and 0 until the store gave one.
    `previous` is the id of the incident that this one follows. `count` counts the alerts folded in.
    `fired_at`: when the newest of them came; `firing_since`: when it opened, or opened again, last.
    `moves`: the newest instants at which it opened or closed, of the incidents it follows too, at most 50.
    `muted_by`: why nobody hears of it now, `mute nightly backup` or `silenced until <RFC 3339> by anna: deploy`;
    '' where somebody may."""

    id: str
    source: str
    adapter: str
    fingerprint: str
    title: str
    severity: Severity
    opened_at: Millis
    updated_at: Millis
    state: State = "open"
    number: int = 0
    revision: int = 1
    worst: Severity = Severity.INFO
    kind: str = ""
    service: str = ""
    environment: str = ""
    body: str = ""
    url: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    value: float | None = None
    occurred_at: Millis | None = None
    acknowledged_at: Millis | None = None
    acknowledged_by: str = ""
    resolved_at: Millis | None = None
    count: int = 1
    unrouted: bool = False
    muted_by: str = ""
    assigned_to: str = ""
    previous: str = ""
    momentary: bool = False
    fired_at: Millis = 0
    firing_since: Millis = 0
    moves: tuple[Millis, ...] = ()


What: TypeAlias = Literal[
    "opened",
    "worsened",
    "eased",
    "repeated",
    "resolved",
    "reopened",
    "linked",
    "acknowledged",
    "noted",
    "assigned",
    "escalated",
    "reminded",
    "unanswered",
    "failed_over",
    "muted",
    "unmuted",
    "flapping",
    "steadied",
]


@frozen
class Change:
    """How an incident moved, and what moved it. `by` is the event's id, a person, or `gateway`. `via` is the
    channel over which a person acted; '' for any other way.

    `repeated` is never recorded: the incident only counts it. `decision` is None where nothing was decided."""

    id: str
    incident: str
    revision: int
    at: Millis
    what: What
    state: State
    severity: Severity
    by: str
    note: str = ""
    decision: Plan | None = None
    via: str = ""


@frozen
class Missed:
    """The first condition of a route that did not hold: its key, what the file wanted, what the alert was."""

    key: str
    wanted: str
    was: str


@frozen
class Because:
    """What one route said of one alert. `missed` is None where it matched."""

    route: str
    missed: Missed | None = None
    note: str = ""

    @property
    def matched(self) -> bool:
        return self.missed is None


@frozen
class Target:
    """One channel that shall hear, and the route that asked for it first. `at` is when, 0 for now.

    `person`: whose channel it is, where the route named a person, or a rotation or escalation that led to one.
    `asked`: the name in `to:` that led here."""

    channel: str
    route: str
    at: Millis = 0
    person: str = ""
    asked: str = field(default="", compare=False)


HoldKind: TypeAlias = Literal[
    "silence", "mute", "inhibit", "only_after", "cooldown", "flap", "quiet", "group", "budget", "acknowledged"
]


@frozen
class Hold:
    """What kept somebody from being told, and until when; None where no instant is known.

    `name`: which silence, mute or route; '' where the kind says all. `channels`: whom; () for everybody. `by`: whose
    silence it is, whom its reason names too."""

    kind: HoldKind
    name: str = ""
    until: Millis | None = None
    channels: tuple[str, ...] = ()
    reason: str = ""
    by: str = ""


@frozen
class Started:
    """An escalation that a plan begins, and the route that asked for it."""

    escalation: str
    route: str


@frozen
class Plan:
    """What the rules decided, and why: one `because` for each route read, in the file's order.

    `configuration` is the hash of the file that decided. `holds`: what kept whom from being told.
    `started`: escalations whose first step is among the targets; their next steps are timers."""

    targets: tuple[Target, ...]
    because: Sequence[Because]
    configuration: str
    unrouted: bool = False
    holds: tuple[Hold, ...] = ()
    started: tuple[Started, ...] = ()


@frozen
class Silence:
    """A person's wish not to hear of what matches, until a time. `match` is a match block as it was written;
    `source` and `fingerprint`, where set, name one problem beside it. `ended_at`: before its time, by a person."""

    id: str
    match: Mapping[str, Any]
    until: Millis
    made_at: Millis
    reason: str = ""
    by: str = ""
    source: str = ""
    fingerprint: str = ""
    ended_at: Millis | None = None


@frozen
class Override:
    """`member` is on call in `rotation` from one instant up to another, whoever's turn it is.

    `instead_of`: only while it would be this one's turn; '' for whoever's. `id` is '' for one of the file."""

    rotation: str
    member: str
    begin: Millis
    end: Millis
    id: str = ""
    instead_of: str = ""
    by: str = ""
    reason: str = ""


TimerKind: TypeAlias = Literal["tell", "escalate", "repeat", "unmute", "expire", "steady", "silence"]


@frozen
class Timer:
    """Something to look at again at `due_at`: one for each kind, subject and name.

    `subject` is an incident's id, a digest's or a silence's. `wall`: it is a time of the calendar, which a corrected
    clock does not move. `about` is what its kind needs to know: plain JSON."""

    kind: TimerKind
    subject: str
    due_at: Millis
    name: str = ""
    wall: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)


@frozen
class Replica:
    """One gateway of those that share a database. `name`: its host and port; `configuration`: the hash of the file in
    force there, `refused` whether a newer one was refused."""

    id: str
    name: str
    version: str
    configuration: str
    refused: bool
    started_at: Millis
    seen_at: Millis


@frozen
class Digest:
    """One conversation about many incidents: those alike by a route's `group_by`, or those that a channel's storm
    budget left over. Its deliveries stand where an incident's would.

    `key` names it among the open ones: `group <route> <values>` or `storm <channel>`. `title` says what they share.
    `worst` is the highest severity so far, `open` how many of its `members` are not resolved."""

    id: str
    kind: Literal["group", "storm"]
    key: str
    title: str
    route: str
    opened_at: Millis
    updated_at: Millis
    revision: int = 1
    worst: Severity = Severity.INFO
    members: int = 0
    open: int = 0
    closed: bool = False


@frozen
class Gathered:
    """A digest as it stands: how many incidents in each state at each severity, and those worth naming, the worst
    open ones first. `source`, `service`, `environment`, `kind`: what all of those named share, else ''."""

    digest: Digest
    counts: Mapping[tuple[State, Severity], int]
    named: tuple[Incident, ...]


Reached: TypeAlias = Literal["unknown", "delivered", "answered", "undelivered"]


@frozen
class Delivery:
    """The promise that one channel hears the newest about one incident, or about one digest.

    `wanted` and `said` are revisions of the incident; said 0 means it heard nothing yet. `attempts` counts
    all sends, `tries` those since the last success or the last new reason to speak, `unknowns` those of
    them whose fate is unknown. `promised_at` is when the newest reason arose. `due_at` 0 means at once.
    `token` fences: who settles must hold the token he claimed with.

    `incident` is the digest's id where `is_digest`. `digest`: the digest that carries this promise instead; ''
    where it speaks for itself. `person`: whose it is. `said_at`, `spoken`: when it rang last, and how often.
    `said_severity`: how bad what it last said was. `reached`: what the vendor told of that since.
    `remind`: the revision of a digest that is to be said aloud although it is not news; 0 for none yet."""

    id: str
    incident: str
    channel: str
    wanted: int
    promised_at: Millis
    said: int = 0
    state: Literal["waiting", "said", "failed"] = "waiting"
    due_at: Millis = 0
    attempts: int = 0
    tries: int = 0
    unknowns: int = 0
    reason: str = ""
    route: str = ""
    ref: Ref = field(default_factory=dict)
    token: int = 0
    is_digest: bool = False
    digest: str = ""
    person: str = ""
    said_at: Millis = 0
    said_severity: Severity | None = None
    spoken: int = 0
    reached: Reached = "unknown"
    remind: int = 0


Occasion: TypeAlias = Literal[
    "opened",
    "worsened",
    "eased",
    "acknowledged",
    "resolved",
    "reopened",
    "over",
    "linked",
    "noted",
    "assigned",
    "escalated",
    "reminded",
    "unanswered",
    "muted",
    "unmuted",
    "flapping",
    "steadied",
    "test",
]

Verb: TypeAlias = Literal["acknowledge", "resolve", "reopen", "note", "assign", "silence"]


@frozen
class Action:
    """Something that whoever reads a message may do at once. `label` is in the message's language.

    `url`: a signed link that does it, for channels whose people can only follow links; else ''."""

    verb: Literal["acknowledge", "resolve", "silence"]
    label: str
    url: str = ""


@frozen
class Act:
    """What a person does to an incident. `by` is who, as people know them; `via` the channel they did it over.

    `person`: to whom it is assigned. `lasts`: how long a silence shall last."""

    verb: Verb
    by: str
    note: str = ""
    person: str = ""
    via: str = ""
    lasts: Millis = 3_600_000


@frozen
class Message:
    """The words for one channel, composed when they are sent. All text is plain: a channel escapes it.

    - `id`: the same for every attempt to say this revision: an idempotency key.
    - `occasion`: why we speak. `over`: it opened and closed before this channel could be told.
    - `title`: one line. `standing`: the same for where it stays, without what only passes, such as a note; '' where
      the title may stay. `facts`: (label, value) in reading order: severity, where, since when, by whom …
    - `body`: what the sender wrote, perhaps many lines, perhaps empty. `url`: http(s) or empty.
    - `brief`: at most 160 GSM-7 characters where it can be (70 where the words need more), for SMS.
    - `speech`: the same to be read aloud.
    - `quiet`: change what stands, but ring no bell; a channel that cannot edit is not asked.
    - `custom_title`, `custom_body`: from the channel's own templates, already in its markup: used as they are.
    - `footer`: something to add at the end, such as that a template failed; mostly empty.
    - `links`: where other channels hold this incident: {"slack": url}.
    - `actions`: what can be done from here; () where it is over, or where nobody could be heard.
    - `delivery`: the id of the promise that it keeps, for a vendor's callback to name; '' for a test.
    """

    id: str
    occasion: Occasion
    incident: Incident
    revision: int
    title: str
    facts: tuple[tuple[str, str], ...] = ()
    body: str = ""
    url: str = ""
    brief: str = ""
    speech: str = ""
    language: Literal["en", "ko"] = "en"
    quiet: bool = False
    custom_title: str | None = None
    custom_body: str | None = None
    footer: str = ""
    links: Mapping[str, str] = field(default_factory=dict)
    actions: tuple[Action, ...] = ()
    delivery: str = ""
    standing: str = ""

    @property
    def text(self) -> str:
        """The whole message as plain text."""
        facts = "\n".join([f"{label}: {value}" for label, value in self.facts])
        parts = (
            self.custom_title if self.custom_title is not None else self.title,
            self.custom_body
            if self.custom_body is not None
            else "\n".join([p for p in (facts, self.body, self.url) if p]),
            self.footer,
        )
        return "\n".join([part for part in parts if part])


@frozen
class Sent:
    """The vendor has it. `ref` replaces what we knew of the message there. `missed`: who of several will never
    have it, and why, without their addresses; '' where all have."""

    ref: Ref = field(default_factory=dict)
    detail: str = ""
    missed: str = ""


@frozen
class Retry:
    """Not now. `after`: the vendor's own wish for the whole channel, from now; None where it named none.
    `ref`: what is known so far (who of several has heard it); None keeps the old."""

    reason: str
    after: Millis | None = None
    ref: Ref | None = None


@frozen
class Rejected:
    """Never: trying again changes nothing until a person does."""

    reason: str
    ref: Ref | None = None


@frozen
class Unknown:
    """It went out and no answer came: it may have been said."""

    reason: str
    ref: Ref | None = None


Receipt: TypeAlias = Sent | Retry | Rejected | Unknown
