"""`/api/v1/silences`: what nobody shall hear of until a time, by whom and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse

from gateway.fields import read_duration
from gateway.model import Json, Millis, Silence
from gateway.rules.calendars import CalendarSettings, choice
from gateway.rules.matching import Match
from gateway.rules.moments import read_when
from gateway.rules.reading import normalise
from gateway.rules.shapes import rfc3339
from gateway.web import auth, queries
from gateway.web.forms import LONGEST_NOTE, Form

LONGEST: Final[Millis] = 366 * 86_400_000
_LONGEST_MATCH: Final = 10_000
_UTC: Final = ZoneInfo("UTC")


def silence_json(silence: Silence) -> dict[str, Json]:
    """As it was made. `source` and `fingerprint` are there where a button silenced one problem."""
    shape: dict[str, Json] = {
        "id": silence.id,
        "match": {**silence.match, **_one_problem(silence)},
        "until": rfc3339(silence.until),
        "reason": silence.reason,
        "by": silence.by,
        "made_at": rfc3339(silence.made_at),
    }
    return shape


def _one_problem(silence: Silence) -> dict[str, Json]:
    return {"source": silence.source, "fingerprint": silence.fingerprint} if silence.fingerprint else {}


async def silences(request: Request) -> JSONResponse:
    """GET lists them, POST makes one."""
    return await (add(request) if request.method == "POST" else list_silences(request))


async def list_silences(request: Request) -> JSONResponse:
    """Those in force, the first to end first."""
    house = auth.admins_house(request)
    now = house.pipeline.now()
    found = await house.store.read(lambda ledger: ledger.quiet.silences(now))
    return queries.whole([silence_json(silence) for silence in found])


async def add(request: Request) -> JSONResponse:
    """`{"match", "until" or "for", "reason", "by"}`. An `until` without a zone is UTC."""
    house = auth.admins_house(request)
    form = await Form.of(request, "match", "until", "for", "reason", "by")
    now = house.pipeline.now()
    silence = Silence(
        id=house.pipeline.new_id(),
        match=_match(form, house.configuration.routing.calendars),
        until=_until(form, now),
        made_at=now,
        reason=form.text("reason", LONGEST_NOTE),
        by=form.text("by") or "api",
    )
    form.check()
    await house.pipeline.silence(silence)
    return JSONResponse(silence_json(silence), 201)


async def end(request: Request) -> JSONResponse:
    """Before its time: what still fires is told."""
    house = auth.admins_house(request)
    return JSONResponse(silence_json(await house.pipeline.end_silence(request.path_params["id"])))


def _match(form: Form, calendars: Mapping[str, CalendarSettings]) -> Mapping[str, Json]:
    tree = normalise(form.given.get("match", {}))
    if tree == {}:
        form.wrong("match", "is empty and would silence everything; give it a condition, like {service: db-1}")
        return {}
    if len(json.dumps(tree, ensure_ascii=False)) > _LONGEST_MATCH:
        form.wrong("match", f"must be at most {_LONGEST_MATCH:,} characters long")
        return {}
    try:
        match = Match.read(tree)
    except ValidationError as refused:
        for error in refused.errors(include_url=False, include_input=False):
            form.wrong(".".join(map(str, ("match", *error["loc"]))), error["msg"].removeprefix("Value error, "))
        return {}
    for place, name in match.calendars:
        if name not in calendars:
            form.wrong(".".join(map(str, ("match", *place))), f"is no calendar; {choice('calendar', calendars)}")
    return match.written


def _until(form: Form, now: Millis) -> Millis:
    """0 where it is wrong."""
    until, lasts = form.text("until"), form.text("for")
    name = "until" if "until" in form.given else "for"
    if ("until" in form.given) == ("for" in form.given):
        form.wrong("until", "give either `until`, a time, or `for`, a duration like 2h")
        return 0
    try:
        end = read_when(until, _UTC, now) if name == "until" else now + read_duration(lasts)
    except ValueError as refused:
        form.wrong(name, str(refused))
        return 0
    if end <= now:
        form.wrong(name, "ends in the past, before the silence begins")
    elif end > now + LONGEST:
        form.wrong(name, "is more than 366 days ahead; a `mutes:` of routing.yaml has no end")
    return end
