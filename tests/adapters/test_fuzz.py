"""Whatever JSON a verified sender posts, an adapter reads it or says that it cannot: nothing else comes out of it.

The documents are made of the words that stand in the adapter's own files, so that they reach into its branches.
TOCSIN_TEST_EXAMPLES says how many of them each adapter gets; `make chaos` asks for 2,000.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.contracts import Handshake, Keep
from gateway.errors import NotJson, Unreadable, WrongType
from gateway.model import Alert, Event, Json, Severity
from gateway.plugins import adapters
from gateway.rules.reading import decode, normalise

EXAMPLES = int(os.environ.get("TOCSIN_TEST_EXAMPLES", "60"))
ADAPTERS = Path(__file__).parents[2] / "adapters"
NOW = 1_795_176_000_000


@cache
def words(name: str) -> tuple[str, ...]:
    """What stands in quotation marks in the adapter's file and in those that only it uses."""
    text = "".join(path.read_text() for path in sorted(ADAPTERS.glob(f"*{name}*.py")))
    return tuple(sorted({found for found in re.findall(r'"([\w.:/ -]{1,30})"', text) if found.strip()}))


@cache
def documents(name: str) -> st.SearchStrategy[Any]:
    known = st.sampled_from(words(name))
    leaves = (
        known | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
        | st.sampled_from(["2026-11-20T10:00:00Z", "1795176000", "https://vendor.example/1", "\x00", "\ud800", "1e400"])
    )  # fmt: skip
    inner = st.recursive(
        leaves,
        lambda below: st.lists(below, max_size=4) | st.dictionaries(known | st.text(max_size=8), below, max_size=8),
        max_leaves=25,
    )
    return st.dictionaries(known, inner, max_size=12) | inner


def headers(name: str) -> st.SearchStrategy[dict[str, str]]:
    kept = sorted(adapters()[name].keeps) or ["x-none"]
    return st.dictionaries(st.sampled_from(kept), st.sampled_from(words(name)) | st.text(max_size=20), max_size=4)


def check(alert: Alert) -> None:
    assert isinstance(alert, Alert)
    assert isinstance(alert.severity, Severity)
    assert alert.status in ("firing", "resolved")
    assert alert.title.strip()
    assert alert.fingerprint.strip()
    assert "\x00" not in alert.title + alert.body + alert.fingerprint


def read(name: str, document: Json, sent: dict[str, str]) -> None:
    adapter = adapters()[name]
    document = normalise(document)
    assert isinstance(adapter.admit(sent, document), Keep | Handshake)
    with suppress(Unreadable):
        for alert in adapter.parse(Event("e", "source", name, NOW, sent, b"{}"), document):
            check(alert)


@pytest.mark.parametrize("name", sorted(adapters()))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_document_is_read_or_said_to_be_unreadable(name: str, data: st.DataObject) -> None:
    read(name, data.draw(documents(name)), data.draw(headers(name)))


@pytest.mark.parametrize("name", sorted(adapters()))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_signature_is_good_or_bad(name: str, data: st.DataObject) -> None:
    adapter = adapters()[name]
    kinds = re.findall(
        r'"([a-z][a-z-]*(?:signature|timestamp|id|hook)[a-z0-9-]*)"', " ".join(f'"{w}"' for w in words(name))
    )
    names = st.sampled_from(
        sorted({*kinds, "webhook-signature", "webhook-id", "webhook-timestamp", "x-hub-signature-256"})
    )
    values = st.text(max_size=60) | st.sampled_from(
        ["sha256=", "v1,", "v1,AAAA v1a,x", "sha256=zz", "1795176000", "-1", "9" * 40]
    )
    sent = data.draw(st.dictionaries(names, values, max_size=5))
    body = data.draw(st.binary(max_size=60))
    assert adapter.signed(sent) in (True, False)
    if adapter.signed(sent):
        assert adapter.verify(sent, body, "a secret that nobody has guessed", NOW) is False


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_json_or_no_json(body: bytes) -> None:
    for kind in ("application/json", "", "text/plain", "application/x-www-form-urlencoded"):
        with suppress(NotJson, WrongType):
            json.dumps(normalise(decode(kind, body)), allow_nan=False)
