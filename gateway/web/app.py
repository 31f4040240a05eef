"""Where every request goes: one list of URLs, and one short cut."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.errors import TocsinError
from gateway.web import acts, api, health, oncall, silences
from gateway.web.alerts import Alerts
from gateway.web.callbacks import Callbacks
from gateway.web.house import House
from gateway.web.links import Links
from gateway.web.problems import Refused, answer
from gateway.web.webhooks import Doorman, Webhooks


class Face:
    """The gateway as an ASGI application. What comes to `/webhooks/`, and alerts from scripts, go straight to their
    rooms: Starlette's layers would be a fifth of such a request."""

    def __init__(self, house: House) -> None:
        self.webhooks = Webhooks(house, doorman := Doorman(house))
        self.alerts = Alerts(house, doorman)
        self.rest = _rest(house, doorman, self.webhooks, self.alerts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        room = self._short_cut(scope)
        if room is None:
            await self.rest(scope, receive, send)
            return
        try:
            await room(scope, receive, send)
        except Exception as fault:
            # A fault of ours is a problem in JSON here too, as Starlette has it; the server learns of it as well.
            await (await answer(Request(scope), fault))(scope, receive, send)
            raise

    def _short_cut(self, scope: Scope) -> ASGIApp | None:
        if scope["type"] != "http":
            return None
        if scope["path"].startswith("/webhooks/"):
            return self.webhooks
        if scope["path"] == "/api/v1/alerts" and scope["method"] == "POST":
            return self.alerts
        return None


def _rest(house: House, doorman: Doorman, webhooks: Webhooks, alerts: Alerts) -> Starlette:
    """Every URL in one list. No middleware but Starlette's own: one BaseHTTPMiddleware costs six times the request."""
    app = Starlette(
        routes=[
            Route("/webhooks/{source}", webhooks),
            Route("/webhooks/{source}/{token}", webhooks),
            Route("/api/v1/alerts", alerts, methods=["POST"]),
            Route("/api/v1/events", api.list_events),
            Route("/api/v1/events/{id}", api.show_event),
            Route("/api/v1/events/{id}/replay", api.replay_event, methods=["POST"]),
            Route("/api/v1/incidents", api.list_incidents),
            Route("/api/v1/incidents/{id}", api.show_incident),
            Route("/api/v1/deliveries", api.list_deliveries),
            Route("/api/v1/deliveries/{id}/redeliver", api.redeliver, methods=["POST"]),
            Route("/api/v1/channels", api.list_channels),
            Route("/api/v1/channels/{name}/test", api.test_channel, methods=["POST"]),
            Route("/api/v1/explain", api.explain_alert, methods=["POST"]),
            Route("/api/v1/incidents/{id}/{verb}", acts.act, methods=["POST"]),
            Route("/api/v1/oncall", oncall.show),
            Route("/api/v1/oncall/{rotation:path}.ics", oncall.calendar),
            Route("/api/v1/overrides", oncall.overrides, methods=["GET", "POST"]),
            Route("/api/v1/overrides/{id}", oncall.end_override, methods=["DELETE"]),
            Route("/api/v1/silences", silences.silences, methods=["GET", "POST"]),
            Route("/api/v1/silences/{id}", silences.end, methods=["DELETE"]),
            Route("/callbacks/{kind}/{channel}", Callbacks(house, doorman).take, methods=["POST"]),
            Route("/links/{token}", Links(house, doorman).answer, methods=["GET", "POST"]),
            Route("/healthz", health.alive),
            Route("/readyz", health.Readiness().answer),
            Route("/metrics", health.metrics),
        ],
        exception_handlers={
            Refused: answer,
            TocsinError: answer,
            HTTPException: answer,
            Exception: answer,
        },
    )
    # A redirect would be built from the Host that a stranger names, and few senders follow one: 404 says more.
    app.router.redirect_slashes = False
    app.state.house = house
    return app
