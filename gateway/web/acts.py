"""`POST /api/v1/incidents/{id}/acknowledge`, and whatever else people do to an incident."""

from __future__ import annotations

from typing import Final, get_args

from starlette.requests import Request
from starlette.responses import JSONResponse

from gateway.errors import NotFound
from gateway.model import Act, Verb
from gateway.rules.shapes import incident_json
from gateway.web import auth
from gateway.web.forms import LONGEST_NOTE, Form

_VERBS: Final[dict[str, Verb]] = {verb: verb for verb in get_args(Verb) if verb != "silence"}


async def act(request: Request) -> JSONResponse:
    """`{"by", "note"}`, both optional; an assignment needs `person`."""
    house = auth.admins_house(request)
    verb = _VERBS.get(request.path_params["verb"])
    if verb is None:
        raise NotFound("There is nothing at this address.")
    form = await Form.of(request, "by", "note", *(("person",) if verb == "assign" else ()))
    wish = Act(
        verb,
        by=form.text("by") or "api",
        note=form.text("note", LONGEST_NOTE),
        person=form.text("person", needed=True) if verb == "assign" else "",
    )
    form.check()
    return JSONResponse(incident_json(await house.pipeline.act(request.path_params["id"], wish)))
