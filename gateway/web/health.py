"""`/healthz`, `/readyz`, `/metrics`: alive, able, and in figures."""

from __future__ import annotations

import asyncio
import time

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from gateway.errors import StoreUnavailable
from gateway.rules.shapes import rfc3339
from gateway.telemetry import REGISTRY
from gateway.web import auth
from gateway.web.auth import house_of
from gateway.web.house import House

PROBE_SECONDS = 2.0
_PROBE_KEPT = 1.0


async def alive(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok\n")


class Readiness:
    """Whether an event could be stored now and every lane moves. The store is tried by really writing, at most
    once a second."""

    def __init__(self) -> None:
        self._at = 0.0
        self._writable = True

    async def answer(self, request: Request) -> JSONResponse:
        house = house_of(request)
        lanes = dict(house.lanes())
        writable = await self._can_write(house)
        ready = writable and not house.stopping and all(state == "alive" for state in lanes.values())
        shape: dict[str, object] = {"ready": ready}
        if auth.is_admin(house, request.scope):
            refused = house.refused
            shape["configuration"] = {
                "hash": house.configuration.hash,
                "refused": None
                if refused is None
                else {"at": rfc3339(refused.at), "problems": [str(problem) for problem in refused.problems]},
            }
            shape["store"] = "writable" if writable else house.store.halted or "not writable"
            shape["lanes"] = lanes
            shape["replicas"] = [
                {
                    "name": one.name,
                    "version": one.version,
                    "configuration": one.configuration,
                    "refused": one.refused,
                    "started_at": rfc3339(one.started_at),
                    "seen_at": rfc3339(one.seen_at),
                }
                for one in house.replicas
            ]
            shape["agreed"] = len({one.configuration for one in house.replicas}) <= 1
        return JSONResponse(shape, 200 if ready else 503, {"retry-after": "5"} if not ready else None)

    async def _can_write(self, house: House) -> bool:
        if house.store.halted:
            self._at = 0.0
            return False
        if time.monotonic() - self._at < _PROBE_KEPT:
            return self._writable
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await house.store.probe()
            self._writable = True
        except (TimeoutError, StoreUnavailable):
            self._writable = False
        self._at = time.monotonic()
        return self._writable


async def metrics(request: Request) -> Response:
    house = house_of(request)
    token = house.metrics_token
    shown = auth.presented(auth.headers_of(request.scope))
    if not (token and auth.fits(shown, [SecretStr(token)])):
        auth.require_admin(house, request.scope)
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)
