"""The blocks that decide who hears and when: each is read, and every name in them exists."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydantic import ValidationError

from gateway.config.blocks import listed, named
from gateway.config.coverage import aged, uncovered
from gateway.config.problems import OR_DEFAULT, Findings
from gateway.fields import Settings, Texts
from gateway.model import Millis
from gateway.rules.calendars import CalendarSettings
from gateway.rules.documents import Value
from gateway.rules.escalation import EscalationSettings
from gateway.rules.names import Written, wrong_names
from gateway.rules.people import PersonSettings
from gateway.rules.rotations import RotationSettings
from gateway.rules.routing import RouteSettings, Routing
from gateway.rules.silencing import ExpireSettings, InhibitSettings, MuteSettings
from gateway.values import frozen


@frozen
class Around:
    """What the routing needs to know of the rest. `adapters`: the names that there are; `sleeping`: the optional
    channels that are not set; `now`: when it is, None where that must not matter."""

    adapters: Collection[str]
    sleeping: Collection[str]
    hash: str
    now: Millis | None


class _Default(Settings):
    default: Texts = ()


def read_routing(top: Mapping[str, Value], around: Around, findings: Findings) -> Routing:
    """The routing that the blocks give; whatever is wrong goes to the findings, and the result is no good then."""
    routing = Routing(
        routes=listed(top, "routes", RouteSettings, findings),
        default=_default(top.get("default"), findings),
        calendars=named(top, "calendars", CalendarSettings, findings),
        sleeping=frozenset(around.sleeping),
        configuration=around.hash,
        people=named(top, "people", PersonSettings, findings),
        rotations=named(top, "rotations", RotationSettings, findings),
        escalations=named(top, "escalations", EscalationSettings, findings),
        mutes=listed(top, "mutes", MuteSettings, findings),
        inhibit=listed(top, "inhibit", InhibitSettings, findings),
        expire=listed(top, "expire", ExpireSettings, findings),
    )
    for place, what in wrong_names(Written(top, findings.tree.line, around.adapters)):
        findings.add_inside(place, what)
    rotations, calendars, now = routing.rotations, routing.calendars, around.now
    for place, what in uncovered(rotations, calendars) if now is None else aged(rotations, calendars, now):
        findings.add(place, what)
    return routing


def _default(value: Value, findings: Findings) -> tuple[str, ...]:
    findings.add_gaps(("default",), OR_DEFAULT)
    try:
        return _Default.model_validate({} if value is None else {"default": value}).default
    except ValidationError as error:
        findings.add_refusal((), error, _Default)
        return ()
