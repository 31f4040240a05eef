"""Every refusal as RFC 9457 `application/problem+json`, counted, and logged in one line each; under a flood
ten lines a second stand for all, with a count of those left out."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import BadField, BadFields, Conflict, NotFound, NotJson, StoreUnavailable, WrongType
from gateway.telemetry import REFUSED, logger

log = logger()

MEDIA_TYPE = "application/problem+json"
_LINES_A_SECOND = 10


class Refused(Exception):
    """A request that gets a problem as its answer. `reason` is the metric's label: one of a fixed few."""

    def __init__(
        self,
        status: int,
        detail: str,
        reason: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[BadField] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.reason = reason or HTTPStatus(status).phrase.lower().replace(" ", "_")
        self.headers = dict(headers or {})
        self.errors = errors


def problem(refused: Refused) -> Response:
    """The answer itself."""
    body: dict[str, Any] = {
        "type": f"urn:tocsin:problem:{refused.reason}",
        "title": HTTPStatus(refused.status).phrase,
        "status": refused.status,
        "detail": refused.detail,
    }
    if refused.errors:
        body["errors"] = [{"path": error.path, "message": error.message} for error in refused.errors]
    # A detail may quote what a stranger wrote, and half a surrogate pair is no UTF-8.
    text = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    return Response(text, refused.status, headers=refused.headers, media_type=MEDIA_TYPE)


class Refusals:
    """Counts refusals and writes them down, at most ten lines a second."""

    def __init__(self) -> None:
        self._second = 0
        self._written = 0
        self._left_out = 0

    def note(self, refused: Refused, source: str, client: str) -> None:
        REFUSED.labels(refused.reason).inc()
        second = int(time.monotonic())
        if second != self._second:
            if self._left_out:
                log.warning("refusals not written", count=self._left_out)
            self._second, self._written, self._left_out = second, 0, 0
        if self._written >= _LINES_A_SECOND:
            self._left_out += 1
            return
        self._written += 1
        log.warning("request refused", status=refused.status, reason=refused.reason, source=source, client=client)


REFUSALS = Refusals()


async def answer(request: Request, error: Exception) -> Response:
    """Any refusal raised on the way becomes its answer."""
    refused = as_refused(error)
    REFUSALS.note(refused, "", request.client.host if request.client else "")
    return problem(refused)


def as_refused(error: Exception) -> Refused:
    match error:
        case Refused():
            return error
        case StoreUnavailable():
            return Refused(503, str(error), "store", headers={"retry-after": str(error.retry_after)})
        case NotFound():
            return Refused(404, str(error), "no_such_thing")
        case Conflict():
            return Refused(409, str(error))
        case NotJson():
            return Refused(400, str(error), "not_json")
        case WrongType():
            return Refused(415, str(error), "wrong_type")
        case BadField():
            return Refused(422, str(error), "bad_field", errors=[error])
        case BadFields():
            return Refused(422, str(error.errors[0]), "bad_field", errors=error.errors)
        case HTTPException():
            allowed = error.headers or {}
            detail = {404: "There is nothing at this address.", 405: "This address does not take this method."}
            return Refused(error.status_code, detail.get(error.status_code, error.detail), headers=allowed)
        case _:
            log.error("request failed", exc_info=error)
            return Refused(500, "The gateway met a fault of its own; the log says more.", "fault")
