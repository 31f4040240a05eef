"""The blocks that decide who hears: `routes:`, `default:` and `calendars:`, and that every name in them exists."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from pydantic import ValidationError

from gateway.config.problems import OR_DEFAULT, Findings
from gateway.fields import Settings, Texts
from gateway.rules.calendars import CalendarSettings
from gateway.rules.documents import Value
from gateway.rules.routing import RouteSettings, Routing, unknown_names

# Keys of a route that a later version will read.
_UNBUILT: Final = frozenset({"cooldown", "repeat_every", "only_after", "group_by", "group_wait", "flap"})
_NOWHERE: Final = RouteSettings.model_construct(to=())


class _Default(Settings):
    default: Texts = ()


def read_routing(
    top: Mapping[str, Value], channels: Collection[str], sleeping: Collection[str], hash_: str, findings: Findings
) -> Routing:
    """The routing that the blocks give; whatever is wrong goes to the findings, and the result is no good then.

    `channels` are all names that `to` may say, `sleeping` those of them that are optional and not set."""
    for block in ("routes", "default", "calendars"):
        findings.add_gaps((block,), OR_DEFAULT)
    routes = _routes(top.get("routes"), findings)
    default = _default(top.get("default"), findings)
    calendars = _calendars(top.get("calendars"), findings)
    written = top["calendars"] if isinstance(top.get("calendars"), dict) else {}
    for place, what in unknown_names(routes, default, channels, written):
        findings.add_inside(place, what)
    return Routing(tuple(routes), default, calendars, frozenset(sleeping), hash_)


def _routes(block: Value, findings: Findings) -> list[RouteSettings]:
    """One for each entry, so that each keeps its number; of a wrong one, what is right in it."""
    if block is not None and not isinstance(block, list):
        findings.add(("routes",), "must be a list: each route begins with '- '")
        return []
    routes: list[RouteSettings] = []
    for number, entry in enumerate(block or ()):
        try:
            routes.append(RouteSettings.model_validate(entry))
        except ValidationError as error:
            findings.add_refusal(("routes", number), error, RouteSettings, unbuilt=_UNBUILT)
            routes.append(_rest(entry, error))
    return routes


def _rest(entry: Value, error: ValidationError) -> RouteSettings:
    """The route without its wrong keys: the names in the others are looked up all the same."""
    wrong = {fault["loc"][0] for fault in error.errors() if fault["loc"]}
    if not wrong or not isinstance(entry, dict):
        return _NOWHERE
    right = {key: value for key, value in entry.items() if key not in wrong}
    match = entry.get("match")
    if "match" in wrong and isinstance(match, dict):
        inside = {fault["loc"][1] for fault in error.errors() if fault["loc"][:1] == ("match",) and fault["loc"][1:]}
        right["match"] = {key: value for key, value in match.items() if key not in inside}
    rest = RouteSettings.model_validate({"to": "?", **right})
    return rest if "to" in right else rest.model_copy(update={"to": ()})


def _default(value: Value, findings: Findings) -> tuple[str, ...]:
    try:
        return _Default.model_validate({} if value is None else {"default": value}).default
    except ValidationError as error:
        findings.add_refusal((), error, _Default)
        return ()


def _calendars(block: Value, findings: Findings) -> Mapping[str, CalendarSettings]:
    calendars: dict[str, CalendarSettings] = {}
    for name, entry in findings.block(block, ("calendars",)).items():
        try:
            calendars[name] = CalendarSettings.model_validate(entry)
        except ValidationError as error:
            findings.add_refusal(("calendars", name), error, CalendarSettings)
    return calendars
