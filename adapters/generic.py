"""Whatever can POST JSON: the generic alert to the letter, three older shapes, and all else by best effort.

Two ways in. `read_strict` is for `POST /api/v1/alerts`: it takes what is right and names every field that is
not. `adapter` is for `/webhooks/{source}`: it tries that first, then reads what it can find. Credentials are
a token (the edge checks it) or a Standard Webhooks signature (here).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from adapters import _generic_guess, _generic_older, _generic_signing, _generic_strict, _shapes
from gateway.contracts import Admission, Keep
from gateway.errors import BadField, BadFields, Unreadable
from gateway.model import Alert, Event, Json, Millis
from gateway.rules.reading import normalise

_MOST_ALERTS: Final = 1_000
_MOST_FAULTS: Final = 100
_NOT_FINITE: Final = (BadField("value", "must be a finite number"),)
_KEYS: Final = frozenset(_generic_strict.KEYS)


def read_strict(document: Json) -> Alert | tuple[BadField, ...]:
    """One generic alert, or one of the three older shapes; else every field that is wrong, with its path.

    Nothing is guessed; only what is too long to show is cut. A fault of the whole document has the path `alert`."""
    if not isinstance(document, dict):
        return (BadField("alert", "must be a JSON object with at least a title"),)
    older = _generic_older.read(document)
    return _generic_strict.read(document) if older is None else older


def read_all(document: Json) -> list[tuple[Json, Alert]]:
    """The generic alerts of a body as it was decoded: one, or a list of at most 1,000, each beside its own part of
    the body, normalised. Raises BadFields with every wrong field of every one; in a list the path begins with its
    place: `3.severity`."""
    listed = isinstance(document, list)
    items = document if listed else [document]
    if not 1 <= len(items) <= _MOST_ALERTS:
        raise BadFields([BadField("alerts", f"must be one alert, or a list of 1 to {_MOST_ALERTS:,}")])
    read: list[tuple[Json, Alert]] = []
    wrong: list[BadField] = []
    for number, raw in enumerate(items):
        item = normalise(raw)
        # Normalising makes null of a number beyond all bounds, and null is the same as absent.
        alert = _NOT_FINITE if _beyond(raw) else read_strict(item)
        if isinstance(alert, Alert):
            read.append((item, alert))
        else:
            wrong += [BadField(f"{number}.{one.path}" if listed else one.path, one.message) for one in alert]
    if wrong:
        raise BadFields(wrong[:_MOST_FAULTS])
    return read


def _beyond(raw: Json) -> bool:
    value = raw.get("value") if isinstance(raw, dict) else None
    return isinstance(value, float) and not math.isfinite(value)


class Generic:
    """See `gateway.contracts.Adapter`."""

    # The body says it all; these two are kept for people who look for the sender.
    signs: Final = True
    keeps: Final = frozenset(("webhook-id", "user-agent"))
    max_body: Final = 1024 * 1024

    def signed(self, headers: Mapping[str, str]) -> bool:
        return _generic_signing.signed(headers)

    def verify(self, headers: Mapping[str, str], body: bytes, secret: str, now: Millis) -> bool:
        """Standard Webhooks: the signed moment must be within 300 s of `now`."""
        return _generic_signing.fits(headers, body, secret, now)

    def admit(self, headers: Mapping[str, str], document: Json) -> Admission:  # noqa: ARG002
        """The signed `webhook-id` is the sender's own id, and so is an `Idempotency-Key`. Never by the body:
        the same words twice are two statements, and folding counts them."""
        signed_id = headers.get("webhook-id", "") if self.signed(headers) else ""
        delivery = _shapes.first(signed_id.strip(), headers.get("idempotency-key", "").strip())
        return Keep(delivery_id=_shapes.key(delivery)) if delivery else Keep()

    def parse(self, event: Event, document: Json) -> list[Alert]:  # noqa: ARG002
        """One alert for each item of a list, or of a list called `alerts`; items without any text say nothing."""
        alerts = list(islice(_alerts(document), _MOST_ALERTS))
        if not alerts:
            raise Unreadable('generic: no text in the body could be a title; send at least {"title": "…"}')
        return alerts


adapter: Final = Generic()


def _alerts(document: Json) -> Iterator[Alert]:
    if isinstance(document, list):
        for item in document:
            yield from _alerts(item)
    elif isinstance(document, str):
        alert = _generic_guess.read_text(document)
        yield from () if alert is None else (alert,)
    elif isinstance(document, dict):
        gathered = [item for item in _shapes.items(document, "alerts") if isinstance(item, dict)]
        yield from (alert for item in gathered or [document] if (alert := _best(item)) is not None)


def _best(document: Mapping[str, Json]) -> Alert | None:
    older = _generic_older.read(document)
    if isinstance(older, Alert):
        return older
    # An unknown key settles it: no need to look for the one that was meant.
    exact = _generic_strict.read(document) if _KEYS.issuperset(document) else None
    return exact if isinstance(exact, Alert) else _generic_guess.read(document)
