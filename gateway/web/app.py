"""Every URL in one list."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from gateway.errors import TocsinError
from gateway.web import api, health
from gateway.web.alerts import Alerts
from gateway.web.house import House
from gateway.web.problems import Refused, answer
from gateway.web.webhooks import Doorman, Webhooks


def application(house: House) -> Starlette:
    """The gateway's face. No middleware but Starlette's own: one BaseHTTPMiddleware costs six times the request."""
    doorman = Doorman(house)
    webhooks = Webhooks(house, doorman)
    app = Starlette(
        routes=[
            Route("/webhooks/{source}", webhooks),
            Route("/webhooks/{source}/{token}", webhooks),
            Route("/api/v1/alerts", Alerts(doorman).post, methods=["POST"]),
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
    app.state.house = house
    return app
