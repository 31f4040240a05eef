"""What the gateway says of itself: one past-tense line per fact on standard error, and Prometheus metrics.

Fields are ids and names, never a credential, a body or a whole address.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client import Counter as _Counter
from prometheus_client import Histogram as _Histogram

REGISTRY: Final = CollectorRegistry()
_REHEARSING: Final[ContextVar[bool]] = ContextVar("rehearsing", default=False)


@contextmanager
def rehearsing() -> Iterator[None]:
    """What is done in here is only tried out: it is neither counted nor logged."""
    token = _REHEARSING.set(True)
    try:
        yield
    finally:
        _REHEARSING.reset(token)


class Counter(_Counter):
    """A counter that a rehearsal does not move. Its children are kept at hand: to look one up costs as much as to
    count, and none is ever removed."""

    def __init__(self, *args: Any, **named: Any) -> None:
        self._at_hand: dict[tuple[str, ...], Counter] = {}
        super().__init__(*args, **named)

    def labels(self, *values: str) -> Counter:  # type: ignore[override]
        child = self._at_hand.get(values)
        if child is None:
            child = self._at_hand[values] = super().labels(*values)
        return child

    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        if not _REHEARSING.get():
            super().inc(amount, exemplar)


class Histogram(_Histogram):
    """A histogram that a rehearsal does not move."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        if not _REHEARSING.get():
            super().observe(amount, exemplar)


RECEIVED = Counter("tocsin_events_received", "Events safe on disk", ["source"], registry=REGISTRY)
DUPLICATES = Counter(
    "tocsin_events_duplicate", "Events the sender had already delivered", ["source"], registry=REGISTRY
)
CREDENTIALS = Counter(
    "tocsin_credentials_used",
    "Verified requests, by the place in its list of the credential that fitted",
    ["source", "place"],
    registry=REGISTRY,
)
REFUSED = Counter("tocsin_requests_refused", "Requests refused, by reason", ["reason"], registry=REGISTRY)
DECIDED = Counter("tocsin_events_decided", "Events read and decided", ["source"], registry=REGISTRY)
UNREADABLE = Counter(
    "tocsin_events_unreadable", "Events kept that no adapter could read", ["source"], registry=REGISTRY
)
UNROUTED = Counter("tocsin_incidents_unrouted", "Incidents that no route matched", ["source"], registry=REGISTRY)
CHANGED = Counter("tocsin_incident_changes", "Changes of incidents, by what", ["what"], registry=REGISTRY)
FIRED = Counter("tocsin_timers_fired", "Timers that fired, by kind", ["kind"], registry=REGISTRY)
PUT_OFF = Counter(
    "tocsin_timers_put_off",
    "Timers that a fault of ours keeps from being acted upon, by kind",
    ["kind"],
    registry=REGISTRY,
)
DELIVERED = Counter("tocsin_messages_delivered", "Messages the vendor took", ["channel"], registry=REGISTRY)
ATTEMPTS = Counter("tocsin_delivery_attempts", "Attempts, by receipt", ["channel", "receipt"], registry=REGISTRY)
HELD = Counter(
    "tocsin_messages_held", "Messages that a storm budget put into a summary", ["channel"], registry=REGISTRY
)
FAILED = Counter("tocsin_deliveries_failed", "Deliveries that became dead letters", ["channel"], registry=REGISTRY)
FENCED = Counter("tocsin_settlements_fenced", "Settlements refused for a stale token", ["channel"], registry=REGISTRY)
LAG = Histogram(
    "tocsin_lag_seconds",
    "From the receipt of an event to its decision (stage=decided) and to the vendor's yes (stage=delivered)",
    ["stage"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600),
    registry=REGISTRY,
)
INBOX_DEPTH = Gauge("tocsin_inbox_waiting", "Events waiting to be decided", registry=REGISTRY)
INBOX_OLDEST = Gauge("tocsin_inbox_oldest_seconds", "Age of the oldest event waiting", registry=REGISTRY)
OUTBOX_DEPTH = Gauge("tocsin_outbox_waiting", "Deliveries waiting", ["channel"], registry=REGISTRY)
OUTBOX_OLDEST = Gauge(
    "tocsin_outbox_oldest_seconds", "Age of the oldest delivery waiting", ["channel"], registry=REGISTRY
)
OUTBOX_DEAD = Gauge("tocsin_outbox_failed", "Dead letters", ["channel"], registry=REGISTRY)
INCIDENTS = Gauge("tocsin_incidents_living", "Incidents open or acknowledged", ["source"], registry=REGISTRY)
REPLICAS = Gauge("tocsin_replicas", "Gateways on this database", registry=REGISTRY)
CONFIGURATIONS = Gauge(
    "tocsin_replica_configurations", "Different configurations among them: 1 where all agree", registry=REGISTRY
)
BEATS = Gauge("tocsin_task_beat_seconds", "Unix time of a task's last beat", ["task"], registry=REGISTRY)
RESTARTS = Counter("tocsin_task_restarts", "Background tasks restarted after a fault", ["task"], registry=REGISTRY)
RELOADS = Counter("tocsin_configuration_reloads", "Saved configurations, by outcome", ["outcome"], registry=REGISTRY)
RETENTION_DELETED = Counter(
    "tocsin_retention_deleted", "What was old and has been deleted, by kind", ["kind"], registry=REGISTRY
)
RETENTION_BITES = Histogram(
    "tocsin_retention_bite_seconds",
    "How long a bite of old things took, its waiting for the writer included",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 5),
    registry=REGISTRY,
)
LOST_LINES = Counter("tocsin_log_lines_lost", "Log lines that nobody took", registry=REGISTRY)


def hush() -> None:
    """A command says what it has to say itself: no log line on a terminal."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def _only_what_happens(_logger: Any, _method: str, line: Any) -> Any:
    if _REHEARSING.get():
        raise structlog.DropEvent
    return line


def logger() -> Any:
    """A logger whose lines are past-tense facts with ids as fields: `log.info("event stored", event_id=…)`."""
    return structlog.get_logger()


class Lines:
    """Writes lines to a descriptor from a thread of its own: a reader that is gone, does not read, or a full disk
    costs lines, never the gateway. What was lost is counted, and said when lines pass again."""

    def __init__(self, descriptor: int, most: int = 10_000) -> None:
        self._descriptor = descriptor
        self._lines: queue.Queue[str] = queue.Queue(most)
        self._lost = 0
        threading.Thread(target=self._write, name="log", daemon=True).start()
        atexit.register(self.flush, 1.0)

    def put(self, line: str) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._lose()

    def flush(self, seconds: float) -> None:
        """Wait until what was put is written, at most so long."""
        deadline = time.monotonic() + seconds
        while self._lines.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.005)

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            if self._lost:
                lost, self._lost = self._lost, 0
                line = json.dumps({"event": "log lines lost", "level": "warning", "count": lost}) + "\n" + line
            try:
                raw = f"{line}\n".encode("utf-8", "replace")
                while raw:
                    raw = raw[os.write(self._descriptor, raw) :]
            except OSError:
                self._lose()
            self._lines.task_done()

    def _lose(self) -> None:
        self._lost += 1
        LOST_LINES.inc()

    debug = info = warning = error = critical = msg = put


class _Foreign(logging.Handler):
    """The libraries' own lines, on the same way."""

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._out = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._out.put(self.format(record))


def start_logging(level: str = "info") -> Lines:
    """One JSON line per fact on standard error, for our own lines and for those of the libraries."""
    lines = Lines(2)
    stamped: list[Any] = [
        _only_what_happens,
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    threshold = getattr(logging, level.upper(), logging.INFO)
    structlog.configure(
        processors=[*stamped, structlog.processors.JSONRenderer(ensure_ascii=False)],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    foreign = _Foreign(lines)
    foreign.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=stamped,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[foreign], force=True)
    # These print addresses, and addresses hold tokens (Telegram's, Slack's). uvicorn's warnings are one line for
    # each bad request, however many: those are refusals, which are counted and sampled.
    noisy = (
        "uvicorn.error",
        "aiohttp",
        "httpx2",
        "httpcore2",
        "urllib3",
        "apprise",
        "asyncio",
        "aiosqlite",
        "psycopg",
    )
    for name in noisy:
        logging.getLogger(name).setLevel(logging.ERROR)
    return lines
