"""A store as it is after years: incidents with the events, alerts, changes, deliveries and attempts that the pipeline
would have written for them, put into the schema's tables in bulk. The gateway must not be running."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from typing import Any, Final

import sqlalchemy as sa

from gateway.model import Severity
from gateway.store import schema

DAY: Final = 86_400_000
DAYS: Final = 390
"""So many days are filled, up to now."""
SOURCES: Final = (("sentry", "sentry", 70), ("generic", "generic", 25), ("github", "github", 4), ("rare", "generic", 1))
SERVICES: Final = tuple(f"svc-{number}" for number in range(200))
SEVERITIES: Final = ((Severity.ERROR, 70), (Severity.WARNING, 20), (Severity.INFO, 9), (Severity.CRITICAL, 1))
"""Weights. One incident alone is an emergency."""
LIVING: Final = 20_000
"""The newest so many (or a fiftieth of all) are not resolved."""
_BODY: Final = b'{"data":{"event":{"message":"' + b"x" * 1200 + b'"}}}'
_CHUNK: Final = 5_000
_TABLES: Final = (
    schema.events,
    schema.alerts,
    schema.incidents,
    schema.changes,
    schema.deliveries,
    schema.attempts,
)
_PLAN: Final = {
    "routes": [{"name": "everything", "matched": True, "missed": None}],
    "targets": [{"channel": "out", "route": "everything"}],
    "configuration": "0123456789ab",
}


def fill(url: str, many: int, now: int, dice: random.Random) -> float:
    """Put `many` incidents into this database's tables, the oldest 390 days ago. How many seconds it took."""
    started = time.perf_counter()
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            for pragma in ("synchronous = OFF", "cache_size = -400000", "wal_autocheckpoint = 20000"):
                connection.exec_driver_sql(f"PRAGMA {pragma}")
            connection.commit()
        later = [index for table in _TABLES for index in table.indexes]
        for index in later:
            index.drop(connection)
        connection.commit()
        for first in range(0, many, _CHUNK):
            rows = _rows(first, min(first + _CHUNK, many), many, now, dice)
            for table, of_table in rows.items():
                if of_table:
                    connection.execute(sa.insert(table), of_table)
            connection.commit()
            if first % (_CHUNK * 40) == 0:
                print(f"  {first:,} incidents stored, {time.perf_counter() - started:.0f} s", flush=True)
        for index in later:
            index.create(connection)
        if engine.dialect.name == "postgresql":  # what autovacuum would have done by then
            connection.exec_driver_sql("ANALYZE")
        connection.commit()
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    os.sync()  # or the first commits of whoever comes next wait for gigabytes
    return time.perf_counter() - started


def _rows(first: int, end: int, many: int, now: int, dice: random.Random) -> dict[sa.Table, list[dict[str, Any]]]:
    rows: dict[sa.Table, list[dict[str, Any]]] = {table: [] for table in _TABLES}
    living = min(LIVING, many // 50)
    for number in range(first, end):
        at = now - DAYS * DAY + int(DAYS * DAY * (number / many))
        _one(rows, number, at, now, number >= many - living, dice)
    return rows


def _one(
    rows: dict[sa.Table, list[dict[str, Any]]], number: int, at: int, now: int, lives: bool, dice: random.Random
) -> None:
    ids = _ids(at, dice)
    source, adapter = _weighted([((s, a), w) for s, a, w in SOURCES], dice)
    severity = int(Severity.EMERGENCY if number == 7 else _weighted(SEVERITIES, dice))
    service, title = SERVICES[number % len(SERVICES)], f"Error {number}: value too long for {dice.choice(SERVICES)}"
    incident, event = next(ids), next(ids)
    labels = {"environment": "production", "server_name": f"web-{number % 40}"}
    # One in a hundred of the resolved ones lived for a month.
    over = None if lives else min(at + (30 * DAY if number % 100 == 0 else 60_000 + number % 3_600_000), now)
    state = "resolved" if not lives else "acknowledged" if number % 10 == 0 else "open"
    rows[schema.events].append(
        {
            "id": event,
            "source": source,
            "adapter": adapter,
            "received_at": at,
            "state": "unreadable" if number % 1000 == 0 else "done",
            "reason": "",
            "headers": '{"content-type": "application/json", "sentry-hook-resource": "event_alert"}',
            "body": _BODY,
        }
    )
    alert = {
        "fingerprint": f"sentry:issue:{number}",
        "title": title,
        "severity": "error",
        "status": "firing",
        "kind": "issue",
        "service": service,
        "environment": "production",
        "body": "checkout.views in pay",
        "url": f"https://sentry.example/issues/{number}/",
        "labels": labels,
        "fields": {"culprit": "checkout.views in pay"},
        "value": None,
        "occurred_at": at,
        "momentary": False,
    }
    rows[schema.alerts].append(
        {"id": next(ids), "event_id": event, "incident_id": incident, "at": at, "alert": json.dumps(alert)}
    )
    rows[schema.incidents].append(
        {
            **{key: alert[key] for key in ("fingerprint", "title", "kind", "service", "environment", "body", "url")},
            "id": incident,
            "source": source,
            "adapter": adapter,
            "state": state,
            "severity": severity,
            "worst": severity,
            "revision": 1 if state == "open" else 2,
            "count": 1,
            "labels": json.dumps(labels),
            "fields": json.dumps(alert["fields"]),
            "value": None,
            "occurred_at": at,
            "opened_at": at,
            "updated_at": over or at,
            "acknowledged_at": at if state == "acknowledged" else None,
            "acknowledged_by": "kim" if state == "acknowledged" else "",
            "resolved_at": over,
            "unrouted": False,
            "muted_by": "",
            "assigned_to": "",
            "previous": "",
            "momentary": False,
            "fired_at": at,
            "firing_since": at,
            "moves": json.dumps([at]),
        }
    )
    for revision, (what, when) in enumerate((("opened", at), (state, over or at))[: 1 if state == "open" else 2], 1):
        rows[schema.changes].append(
            {
                "id": next(ids),
                "incident_id": incident,
                "revision": revision,
                "at": when,
                "what": what,
                "state": "open" if what == "opened" else state,
                "severity": severity,
                "by": event,
                "note": "",
                "decision": json.dumps(_PLAN),
                "via": "",
            }
        )
    _told(rows, number, incident, at, 1 if state == "open" else 2, ids)


def _told(
    rows: dict[sa.Table, list[dict[str, Any]]], number: int, incident: str, at: int, said: int, ids: Iterator[str]
) -> None:
    delivery, failed = next(ids), number % 2000 == 0
    rows[schema.deliveries].append(
        {
            "id": delivery,
            "incident_id": incident,
            "channel": "out",
            "route": "everything",
            "state": "failed" if failed else "said",
            "urgent": 0,
            "wanted": said,
            "said": 0 if failed else said,
            "promised_at": at,
            "due_at": at,
            "lease_until": 0,
            "token": said,
            "unsettled": 0,
            "attempts": said,
            "tries": 0,
            "unknowns": 0,
            "reason": "410 Gone" if failed else "",
            "ref": "{}",
            "is_digest": False,
            "digest": "",
            "person": "",
            "said_at": 0 if failed else at,
            "said_severity": None if failed else int(Severity.ERROR),
            "spoken": 0 if failed else said,
            "reached": "unknown",
        }
    )
    for revision in range(1, said + 1):
        rows[schema.attempts].append(
            {
                "id": next(ids),
                "delivery_id": delivery,
                "at": at,
                "revision": revision,
                "receipt": "rejected" if failed else "sent",
                "reason": "410 Gone" if failed else "",
                "took": 12,
            }
        )


def _ids(at: int, dice: random.Random) -> Iterator[str]:
    """Ids as `gateway.clock.new_id` makes them, of that millisecond and in their order."""
    stamp = f"{at:012x}"
    for ticks in range(4096):
        tail = f"{dice.getrandbits(62) | 1 << 63:016x}"
        yield f"{stamp[:8]}-{stamp[8:]}-7{ticks:03x}-{tail[:4]}-{tail[4:]}"


def _weighted(choices: Any, dice: random.Random) -> Any:
    return dice.choices([choice for choice, _ in choices], [weight for _, weight in choices])[0]
