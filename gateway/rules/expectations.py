"""`tests:` of routing.yaml: what must come of an alert, or of several and of what people do. Here they are read.

`tocsin check` runs them: a file that fails one is refused like any other mistake.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Final, Literal, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from gateway.fields import Duration, Settings, read_duration
from gateway.model import Alert, Millis, Severity
from gateway.rules.calendars import CalendarSettings, Moment, instant, located
from gateway.rules.documents import Place
from gateway.rules.names import NOBODY
from gateway.rules.people import read_severity
from gateway.rules.shapes import parse_rfc3339
from gateway.values import frozen

UTC: Final = ZoneInfo("UTC")
_NOON: Final = dt.datetime(2026, 1, 5, 12)  # noqa: DTZ001  # a Monday, wherever the clock hangs
_WHEN: Final = "must be now, never, or how long after the beginning, like at 5m"


@frozen
class Now:
    """Told at once, at the beginning."""


@frozen
class At:
    """Told so long after the beginning."""

    after: Millis


@frozen
class Never:
    """Not told."""


@frozen
class Newest:
    """In `resolve: true`: the alert that came last."""


Expected: TypeAlias = Now | At | Never


def read_expected(value: object) -> Expected:
    """'now', 'at 5m', 'never'."""
    if isinstance(value, (Now, At, Never)):
        return value
    first, _, rest = value.partition(" ") if isinstance(value, str) else ("", "", "")
    if first == "at":
        after = read_duration(rest.strip())
        return At(after) if after else Now()
    if value not in ("now", "never"):
        raise ValueError(_WHEN)
    return Now() if value == "now" else Never()


def read_expectations(tree: object) -> Mapping[str, Expected]:
    """Each name with what is expected of it; those below `nobody` never hear."""
    if not isinstance(tree, Mapping) or not tree:
        raise ValueError("expects nothing; say who hears and when, like {ops-slack: now, nobody: [ceo]}")
    expected: dict[str, Expected] = {}
    wrong: list[tuple[Place, str]] = []
    for name, value in tree.items():
        try:
            if name != NOBODY:
                expected[name] = read_expected(value)
        except ValueError as error:
            wrong.append(((name,), str(error)))
    nobody = tree.get(NOBODY, ())
    for number, name in enumerate(nobody if isinstance(nobody, (list, tuple)) else [nobody]):
        if not isinstance(name, str):
            wrong.append(((NOBODY, number), "must be a name, or a list of names"))
        elif expected.setdefault(name, Never()) != Never():
            wrong.append(((NOBODY, number), "is expected to hear as well; say one of the two"))
    if wrong:
        raise located("expect", wrong)
    return expected


def _low(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _occurred(value: object) -> Millis:
    moment = parse_rfc3339(value) if isinstance(value, str) else None
    if moment is None:
        raise ValueError("is no time with its zone; write it like 2026-11-20T10:00:00Z")
    return moment


class AlertSettings(Settings):
    """A generic alert, and where it comes from. Without `source`, see `sender`."""

    title: str = "test"
    severity: Annotated[Severity, BeforeValidator(read_severity)] = Severity.ERROR
    status: Annotated[Literal["firing", "resolved"], BeforeValidator(_low)] = "firing"
    service: str = ""
    environment: str = ""
    kind: str = ""
    body: str = ""
    url: str = ""
    labels: Mapping[str, str] = Field(default_factory=dict)
    fields_: Mapping[str, str] = Field(default_factory=dict, alias="fields")
    value: float | None = Field(default=None, allow_inf_nan=False)
    fingerprint: str = ""
    occurred_at: Annotated[Millis | None, BeforeValidator(_occurred)] = None
    source: str = ""
    adapter: str = ""

    @property
    def alert(self) -> Alert:
        """The alert that it means; without a fingerprint, what is alike in kind, place and title is one problem."""
        parts = (self.kind, self.service, self.environment, self.title)
        return Alert(
            fingerprint=self.fingerprint or ":".join(("alert", *parts)),
            title=self.title,
            severity=self.severity,
            status=self.status,
            kind=self.kind,
            service=self.service,
            environment=self.environment,
            body=self.body,
            url=self.url,
            labels=self.labels,
            fields=self.fields_,
            value=self.value,
            occurred_at=self.occurred_at,
        )

    def sender(self, adapters: Mapping[str, str]) -> tuple[str, str]:
        """The source and the adapter that it comes by. `adapters`: each source's; without a source of its own it
        comes from the first of its adapter, then from the first generic one, then from the first of all."""
        wanted = (self.adapter or "generic", "generic")
        fitting = [name for adapter in wanted for name, has in adapters.items() if has == adapter]
        source = self.source or next(iter([*fitting, *adapters]), "generic")
        return source, self.adapter or adapters.get(source, source)


def _resolved(value: object) -> AlertSettings | Newest:
    if value in ("true", True):
        return Newest()
    if isinstance(value, (AlertSettings, Newest)):
        return value
    if isinstance(value, Mapping):
        return AlertSettings.model_validate(value)
    raise ValueError("must be true, for the alert that came last, or the fields of one")


class StepSettings(Settings):
    """One of a `sequence`: so long after the beginning an alert comes, a person acknowledges, or a problem is over."""

    at: Duration
    alert: AlertSettings | None = None
    acknowledge: str | None = None
    resolve: Annotated[AlertSettings | Newest | None, PlainValidator(_resolved)] = None

    @model_validator(mode="after")
    def _one(self) -> StepSettings:
        if sum(what is not None for what in (self.alert, self.acknowledge, self.resolve)) != 1:
            raise ValueError("must say one of alert, acknowledge and resolve")
        return self


class ExpectationSettings(Settings):
    """One of `tests:`. `now`: when it begins, see `begins`."""

    name: str = ""
    alert: AlertSettings | None = None
    sequence: tuple[StepSettings, ...] | None = None
    now: Moment | None = None
    expect: Annotated[Mapping[str, Expected], PlainValidator(read_expectations)]

    @model_validator(mode="after")
    def _fits(self) -> ExpectationSettings:
        if (self.alert is None) == (self.sequence is None):
            raise ValueError("must say one of alert and sequence")
        steps = self.steps
        if not steps or steps[0].alert is None:
            raise located("test", [(("sequence",), "must begin with an alert")])
        wrong: list[tuple[Place, str]] = [
            (("sequence", number, "at"), "is before the step above it; put the steps in order")
            for number, (before, step) in enumerate(pairwise(steps), start=1)
            if step.at < before.at
        ]
        if wrong:
            raise located("test", wrong)
        return self

    @property
    def steps(self) -> tuple[StepSettings, ...]:
        """What happens; an `alert` alone comes at the beginning."""
        return self.sequence or (() if self.alert is None else (StepSettings(at=0, alert=self.alert),))

    def begins(self, calendars: Mapping[str, CalendarSettings]) -> Millis:
        """The instant of the beginning: `now`, which without its distance from UTC is meant by the clock of the
        first calendar; else noon there on Monday, 2026-01-05. Without calendars that clock shows UTC."""
        zone = next((calendar.time_zone for calendar in calendars.values()), UTC)
        return instant(self.now or _NOON, zone)
