"""`/api/v1/oncall`: who is on call, now and in the weeks to come, also as a calendar to subscribe to; and
`/api/v1/overrides`: this member instead, for a time."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.errors import NotFound
from gateway.model import Json, Millis, Override
from gateway.rules.calendars import choice, suggestion
from gateway.rules.icalendar import icalendar
from gateway.rules.moments import read_when
from gateway.rules.rotations import RotationSettings
from gateway.rules.routing import Routing
from gateway.rules.shapes import rfc3339
from gateway.rules.shifts import HORIZON, OnCall, Shift, in_weeks, on_call, shifts, weekly_grid
from gateway.store.safe import Ledger
from gateway.web import auth, queries
from gateway.web.forms import LONGEST_NOTE, Form
from gateway.web.house import House
from gateway.web.problems import Refused

WEEK: Final[Millis] = 7 * 86_400_000
MOST_WEEKS: Final = 52
CALENDAR_WEEKS: Final = 26
PAST_WEEKS: Final = HORIZON // WEEK
_UTC: Final = ZoneInfo("UTC")


async def show(request: Request) -> JSONResponse:
    """Each rotation: who is on call at `at` (now), and the shifts of so many `weeks` (4) from there."""
    house = auth.admins_house(request)
    routing = house.configuration.routing
    weeks = request.query_params.get("weeks", "4")
    if not re.fullmatch("0*[1-9][0-9]?", weeks) or int(weeks) > MOST_WEEKS:
        raise queries.bad("weeks", f"must be a number from 1 to {MOST_WEEKS}")
    try:
        at = read_when(request.query_params.get("at") or "now", _one_zone(routing), house.pipeline.now())
    except ValueError as refused:
        raise queries.bad("at", str(refused)) from None
    # One that is over tells since when it is another's turn.
    overrides = await house.store.read(lambda ledger: ledger.quiet.overrides(at - HORIZON))
    items = await asyncio.to_thread(_rosters, house, routing, overrides, at, at + int(weeks) * WEEK)
    return JSONResponse({"at": rfc3339(at), "items": items, "next_cursor": None})


async def calendar(request: Request) -> Response:
    """The rotation as iCalendar, for whoever has its address: a calendar program can send no header."""
    house = auth.house_of(request)
    name = request.path_params["rotation"]
    shown = request.query_params.get("token", "").encode("utf-8", "replace")
    by_address = bool(house.link_key) and hmac.compare_digest(shown, token(house.link_key, name).encode())
    if not (by_address or auth.is_admin(house, request.scope) or _is_admins(house, shown)):
        raise Refused(401, "This calendar's token is wrong; GET /api/v1/oncall gives its address.", "bad_credential")
    rotation = house.configuration.routing.rotations.get(name)
    if rotation is None:
        raise NotFound("There is no such rotation any more.")
    now = house.pipeline.now()
    overrides = await house.store.read(lambda ledger: ledger.quiet.overrides(now - HORIZON - WEEK))
    found = await asyncio.to_thread(_whole_shifts, rotation, name, house.configuration.routing, overrides, now)
    text = icalendar(name, found, now).encode("utf-8", "replace")
    return Response(text, media_type="text/calendar; charset=utf-8", headers={"cache-control": "private, max-age=300"})


def _is_admins(house: House, shown: bytes) -> bool:
    return bool(house.admin_token) and hmac.compare_digest(shown, house.admin_token.encode())


def token(key: bytes, rotation: str) -> str:
    """What opens a rotation's calendar."""
    seal = hmac.new(key, f"oncall {rotation}".encode("utf-8", "replace"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(seal).decode().rstrip("=")


async def overrides(request: Request) -> JSONResponse:
    """GET lists them, POST makes one."""
    return await (add_override(request) if request.method == "POST" else list_overrides(request))


async def list_overrides(request: Request) -> JSONResponse:
    """Those of the API that are not over, the first to end first. The file's stand in the file."""
    house = auth.admins_house(request)
    now = house.pipeline.now()
    found = await house.store.read(lambda ledger: ledger.quiet.overrides(now))
    return queries.whole([override_json(one) for one in found])


async def add_override(request: Request) -> JSONResponse:
    """`{"rotation", "member", "from", "to", "for"?, "by"?, "reason"?}`. Times without a zone are in the rotation's."""
    house = auth.admins_house(request)
    form = await Form.of(request, "rotation", "member", "from", "to", "for", "by", "reason")
    routing, now = house.configuration.routing, house.pipeline.now()
    name = form.text("rotation", needed=True)
    rotation = routing.rotations.get(name)
    if rotation is None:
        near = suggestion(name, routing.rotations) or f"; {choice('rotation', routing.rotations)}"
        form.wrong("rotation", f"is no rotation of routing.yaml{near}")
    begin, end = _span(form, rotation.time_zone if rotation else _UTC, now)
    override = Override(
        rotation=name,
        member=_somebody(form, "member", rotation, routing, needed=True),
        begin=begin,
        end=end,
        id=house.pipeline.new_id(),
        instead_of=_somebody(form, "for", rotation, routing),
        by=form.text("by") or "api",
        reason=form.text("reason", LONGEST_NOTE),
    )
    if override.instead_of and override.instead_of == override.member:
        form.wrong("for", "is the member; name whose turn the member takes, or leave it out")
    form.check()
    await house.store.write(lambda ledger: ledger.quiet.add_override(override))
    return JSONResponse(override_json(override), 201)


async def end_override(request: Request) -> JSONResponse:
    house = auth.admins_house(request)
    id_ = request.path_params["id"]

    async def work(ledger: Ledger) -> Override | None:
        known = {one.id: one for one in await ledger.quiet.overrides(0)}
        return known.get(id_) if await ledger.quiet.drop_override(id_) else None

    ended = await house.store.write(work)
    if ended is None:
        raise NotFound("There is no such override.")
    return JSONResponse(override_json(ended))


def override_json(override: Override) -> dict[str, Json]:
    return {
        "id": override.id,
        "rotation": override.rotation,
        "member": override.member,
        "from": rfc3339(override.begin),
        "to": rfc3339(override.end),
        "for": override.instead_of or None,
        "by": override.by,
        "reason": override.reason,
    }


def _one_zone(routing: Routing) -> ZoneInfo:
    """The rotations' zone where all have the same; a time without a zone is then one of theirs. Else UTC."""
    zones = {rotation.time_zone.key: rotation.time_zone for rotation in routing.rotations.values()}
    return next(iter(zones.values())) if len(zones) == 1 else _UTC


def _rosters(
    house: House, routing: Routing, overrides: Sequence[Override], at: Millis, end: Millis
) -> list[dict[str, Json]]:
    items: list[dict[str, Json]] = []
    for name, rotation in routing.rotations.items():
        now = on_call(rotation, name, routing.calendars, overrides, at)
        items.append(
            {
                "rotation": name,
                "time_zone": rotation.time_zone.key,
                "now": _now_json(now) if now is not None and now.member else None,
                "shifts": [_shift_json(one) for one in shifts(rotation, name, routing.calendars, overrides, at, end)],
                "ics": f"/api/v1/oncall/{quote(name, safe='')}.ics?token={token(house.link_key, name)}",
            }
        )
    return items


def _whole_shifts(
    rotation: RotationSettings, name: str, routing: Routing, overrides: Sequence[Override], now: Millis
) -> list[Shift]:
    """From the beginning of the one that runs, or five weeks ago, to the end of a week: what began or ended when it
    was fetched would be another event each time. None is longer than a week."""
    if not rotation.duties:
        return []
    grid = weekly_grid(rotation)
    week = grid.turn(now)
    first = on_call(rotation, name, routing.calendars, overrides, now)
    begin, end = grid.begins(week - PAST_WEEKS), grid.begins(week + CALENDAR_WEEKS + 1)
    begin = max(begin, first.since or 0) if first else begin
    found = shifts(rotation, name, routing.calendars, overrides, begin, end)
    return [piece for shift in found for piece in in_weeks(shift, grid)]


def _now_json(now: OnCall) -> dict[str, Json]:
    """null where it was never, or will never be, anybody else."""
    return {
        "member": now.member,
        "since": None if now.since is None else rfc3339(now.since),
        "until": None if now.until is None else rfc3339(now.until),
        "because": now.because,
    }


def _shift_json(shift: Shift) -> dict[str, Json]:
    return {
        "member": shift.member or None,
        "from": rfc3339(shift.begin),
        "to": rfc3339(shift.end),
        "because": shift.because,
    }


def _span(form: Form, zone: ZoneInfo, now: Millis) -> tuple[Millis, Millis]:
    """Both are 0 where one of them is wrong. `to` is read as of `from`: an hour alone is the next one after it."""
    begin = _moment(form, "from", zone, now)
    end = _moment(form, "to", zone, now if begin is None else begin)
    if begin is None or end is None:
        return 0, 0
    if end <= begin:
        form.wrong("to", "is not after `from`")
    elif end <= now:
        form.wrong("to", "is in the past")
    return begin, end


def _moment(form: Form, name: str, zone: ZoneInfo, now: Millis) -> Millis | None:
    text = form.text(name, needed=True)
    try:
        return read_when(text, zone, now) if text else None
    except ValueError as refused:
        form.wrong(name, str(refused))
        return None


def _somebody(
    form: Form, field: str, rotation: RotationSettings | None, routing: Routing, *, needed: bool = False
) -> str:
    """A member of the rotation, or anybody of `people:`."""
    name = form.text(field, needed=needed)
    if not name or rotation is None:
        return name
    known = {member for duty in rotation.duties for member in duty.members} | set(routing.people)
    if name not in known:
        form.wrong(field, "is nobody of routing.yaml" + (suggestion(name, known) or f"; {choice('name', known)}"))
    return name
