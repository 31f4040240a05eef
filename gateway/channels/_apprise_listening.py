"""What a blocking library's HTTP calls were answered, overheard from urllib3's own log.

Apprise keeps neither status nor cause of a failure. urllib3 logs one DEBUG line for each answer with the
status among its arguments; a filter takes the number into a list of the current context and drops the
line, whose address holds credentials. The loggers in question reach no handler of ours.
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Iterator
from contextlib import contextmanager

ANSWERED = '%s://%s:%s "%s %s %s" %s %s'
"""urllib3/connectionpool.py: scheme, host, port, method, path, version, status, length."""
_STATUS = 6

# Apprise logs addresses and whole payloads at DEBUG, the others addresses or tokens.
_TALKATIVE = ("apprise", "urllib3", "requests", "requests_oauthlib", "oauthlib")

_statuses: contextvars.ContextVar[list[int] | None] = contextvars.ContextVar("statuses", default=None)


@contextmanager
def overheard() -> Iterator[list[int]]:
    """The statuses of all HTTP answers that come in this context, in their order."""
    statuses: list[int] = []
    token = _statuses.set(statuses)
    try:
        yield statuses
    finally:
        _statuses.reset(token)


def hush() -> None:
    """Keep what these libraries log to ourselves. May be called any number of times."""
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        logger.propagate = False
        if not logger.handlers:
            # Without any handler Python prints warnings to standard error by itself.
            logger.addHandler(logging.NullHandler())
    # Apprise keeps the lines of a call for its caller, but only those that its logger lets through.
    _filtered("apprise", _InACall())
    _filtered("urllib3.connectionpool", _Overhear())


def _filtered(name: str, wanted: logging.Filter) -> None:
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    if not any(isinstance(known, type(wanted)) for known in logger.filters):
        logger.addFilter(wanted)


class _InACall(logging.Filter):
    """Lets through what Apprise will give back to us; what it says of an address at its reading is dropped."""

    def filter(self, _: logging.LogRecord) -> bool:
        return _statuses.get() is not None


class _Overhear(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        statuses, said = _statuses.get(), record.args
        if statuses is not None and record.msg == ANSWERED and isinstance(said, tuple) and len(said) > _STATUS:
            status = said[_STATUS]
            if isinstance(status, int):
                statuses.append(status)
        return False
