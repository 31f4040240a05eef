"""Every stored request of a real sender is read as its manifest expects.

The bodies are other people's and not part of this repository: where `../shared/payloads` is missing, the
test says by name that it was skipped. A manifest's reading is a proposal: where ours differs on purpose,
DELIBERATE says why.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.contracts import Adapter, Handshake
from gateway.model import Alert, Event
from gateway.rules.reading import decode, normalise

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "payloads"
SOURCES = ("sentry", "hetrixtools", "github", "generic")
SEVERITIES = re.compile(r"\b(info|warning|error|critical|emergency)\b")
STATUSES = re.compile(r"\b(firing|resolved)\b")

DELIBERATE = {
    "sentry/issue.assigned.json": "an assignment is news for those who ask for it, not a problem that opens: info",
}


def _cases() -> list[Any]:
    manifest = FOLDER / "manifest.json"
    if not manifest.is_file():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"{FOLDER} is not present"))]
    entries = json.loads(manifest.read_bytes())
    return [pytest.param(entry, id=entry["file"]) for entry in entries if entry["source"] in SOURCES]


def _adapter(source: str) -> Adapter:
    name = f"adapters.{source}"
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} does not exist")
    adapter: Adapter = importlib.import_module(name).adapter
    return adapter


def _read(entry: dict[str, Any]) -> list[Alert] | Handshake:
    """What the sender of this body would be told: a handshake, or the alerts that it makes."""
    adapter = _adapter(entry["source"])
    body = (FOLDER / entry["file"]).read_bytes()
    headers = {name.lower(): value for name, value in entry["headers"].items()}
    document = decode("application/json", body)
    admission = adapter.admit(headers, document)
    if isinstance(admission, Handshake):
        return admission
    kept = {name: value for name, value in headers.items() if name in adapter.keeps}
    event = Event("event", entry["source"], entry["source"], 1_700_000_000_000, kept, body)
    return adapter.parse(event, normalise(document))


@pytest.mark.parametrize("entry", _cases())
def test_a_real_body_is_read_as_its_manifest_expects(entry: dict[str, Any]) -> None:
    read = _read(entry)
    match entry["expect"]:
        case "alert":
            assert not isinstance(read, Handshake)
            assert read
        case "ignore":
            assert isinstance(read, Handshake) or read == []
        case expected:
            assert expected == "event"


@pytest.mark.parametrize("entry", _cases())
def test_a_real_body_has_the_severity_and_the_status_that_its_manifest_proposes(entry: dict[str, Any]) -> None:
    read = _read(entry)
    alerts = [] if isinstance(read, Handshake) else read
    proposed = entry.get("normalized", {})
    severities = set(SEVERITIES.findall(proposed.get("severity") or ""))
    statuses = set(STATUSES.findall(proposed.get("status") or ""))
    same_severity = not severities or {alert.severity.word for alert in alerts} <= severities
    same_status = not statuses or {alert.status for alert in alerts} <= statuses
    # A difference that is none any more must leave the table.
    assert (same_severity and same_status) != (entry["file"] in DELIBERATE), DELIBERATE.get(entry["file"], "")


@pytest.mark.parametrize("entry", _cases())
def test_every_alert_of_a_real_body_can_be_shown_and_keyed(entry: dict[str, Any]) -> None:
    read = _read(entry)
    for alert in [] if isinstance(read, Handshake) else read:
        assert alert.title.strip()
        assert len(alert.title) <= 200
        assert "\n" not in alert.title
        assert alert.fingerprint
        assert alert.url == "" or alert.url.startswith(("http://", "https://"))
        assert all(isinstance(value, str) for value in [*alert.labels.values(), *alert.fields.values()])
