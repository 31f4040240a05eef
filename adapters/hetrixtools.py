"""HetrixTools: uptime, resource usage, blacklists, and the shape this project's founding documents named.

No signature and no event type: a token speaks for the sender, the shape says what it is.
docs.hetrixtools.com: uptime-monitoring-, server-monitoring-resource-usage-, blacklist-monitoring-webhook-notifications
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from adapters._shapes import at, cut, fields, first, instant, items, key, labels, line, link, mapping, number, text
from gateway.contracts import Adapter, Admission, Keep
from gateway.errors import Unreadable
from gateway.model import Alert, Event, Json, Millis, Severity

_FOUNDING: Final = {
    "monitor_down": ("is down", Severity.CRITICAL),
    "monitor_up": ("is up again", Severity.INFO),
    "slow_response": ("answers slowly", Severity.WARNING),
}
_USAGES: Final = frozenset({"cpu", "ram", "disk", "network_inbound", "network_outbound"})
_RESOURCES: Final = {
    "cpu": "CPU",
    "ram": "RAM",
    "network_inbound": "inbound network",
    "network_outbound": "outbound network",
    "agent": "server agent",
    "raid": "RAID",
    "service": "services down",
}
# Where the operator sorts monitors by these, the category is the environment.
_ENVIRONMENTS: Final = frozenset(
    {"production", "prod", "live", "preproduction", "preprod", "staging", "stage", "qa", "uat"}
    | {"development", "dev", "testing", "test", "sandbox"}
)
_DOWN, _UP, _AT_REST = ("offline", "down"), ("online", "up"), ("maintenance", "paused")


class _HetrixTools:
    signs = False
    keeps: frozenset[str] = frozenset()
    max_body: int = 1_048_576

    def signed(self, headers: Mapping[str, str]) -> bool:  # noqa: ARG002
        return False

    def verify(self, headers: Mapping[str, str], body: bytes, secret: str, now: Millis) -> bool:  # noqa: ARG002
        """Never: HetrixTools signs nothing. Its bearer token is compared where every source's token is."""
        return False

    def admit(self, headers: Mapping[str, str], document: Json) -> Admission:  # noqa: ARG002
        # A body that carries its time is never honestly the same twice; two blacklist posts may well be.
        return Keep(once_per_body=_moment(document) is not None)

    def parse(self, event: Event, document: Json) -> list[Alert]:  # noqa: ARG002
        if isinstance(document, list):
            return _blacklists(document)
        if mapping(document, "resource_usage"):
            return [_resource(document)]
        if text(document, "monitor_status"):
            return _uptime(document)
        if mapping(document, "monitor") and text(document, "event_type"):
            return [_founding(document)]
        if text(document, "blacklisted_now"):
            return _blacklists([document])
        raise Unreadable(
            "no shape of HetrixTools; expected an object with `monitor_status` or `resource_usage`, "
            "a list of blacklisted monitors, or `event_type` with `monitor`"
        )


def _uptime(document: Json) -> list[Alert]:
    status = text(document, "monitor_status").lower()
    if status in _AT_REST:
        return []
    if status not in _DOWN + _UP:
        raise Unreadable(f"`monitor_status` {status[:40]!r} is not known; expected online or offline")
    down = status in _DOWN
    name, target, category = (text(document, f"monitor_{part}") for part in ("name", "target", "category"))
    sort, monitor = text(document, "monitor_type"), text(document, "monitor_id")
    shown = first(name, target, monitor)
    if not shown:
        raise Unreadable("an uptime notification needs `monitor_id`, `monitor_name` or `monitor_target`")
    errors = _errors(document)
    return [
        Alert(
            fingerprint=key("hetrixtools", "uptime", first(monitor, target, name)),
            title=line(f"{shown} is {'offline' if down else 'online'}"),
            severity=Severity.CRITICAL if down else Severity.INFO,
            status="firing" if down else "resolved",
            kind="uptime",
            service=line(shown),
            environment=category.lower() if category.lower() in _ENVIRONMENTS else "",
            body=cut("\n".join(errors)),
            url=link(target),
            labels=labels({"monitor": monitor, "monitor_type": sort, "category": category, "target": target}),
            fields=fields(
                {
                    "target": target,
                    "type": sort,
                    "category": category,
                    "locations_failing": str(len(errors)) if errors else "",
                }
            ),
            occurred_at=_moment(document),
        )
    ]


def _errors(document: Json) -> list[str]:
    """`location: what it saw`, one a line; {location: text} as documented, a list or a text as it may come."""
    seen = at(document, "monitor_errors")
    if isinstance(seen, dict):
        return [f"{place}: {text(words) or 'failed'}" for place, words in seen.items()]
    return [words for words in (map(text, seen) if isinstance(seen, list) else [text(seen)]) if words]


def _resource(document: Json) -> Alert:
    """No recovery is documented for these: they end by `expire` or by a person."""
    usage = mapping(document, "resource_usage")
    sort = text(usage, "resource_type").lower()
    name = first(text(document, "monitor_name"), text(document, "monitor_id"))
    if not sort or not name:
        raise Unreadable("a resource notification needs `resource_usage.resource_type` and `monitor_name`")
    error = _resource_error(usage)
    current, average = _percent(usage, "current_usage"), _average(usage)
    measured = (f"at {current}" if current else "") + (f" (average {average})" if average else "")
    shown = _RESOURCES.get(sort, line(sort.replace("_", " "), 40))
    return Alert(
        fingerprint=key("hetrixtools", "resource", first(text(document, "monitor_id"), name), sort),
        title=line(f"{name}: {shown}: {error}" if error else f"{name}: {shown} {measured.strip() or 'in trouble'}"),
        # High usage is a warning; what reports an error of its own (agent, drive, raid, service) is broken.
        severity=Severity.WARNING if sort in _USAGES else Severity.ERROR,
        kind="resource",
        service=line(name),
        body=cut(error),
        labels=labels({"resource": sort, "monitor": text(document, "monitor_id")}),
        fields=fields({"current_usage": current, "average_usage": average}),
        value=number(usage, "current_usage"),
        occurred_at=_moment(document),
    )


def _resource_error(usage: Json) -> str:
    """One text; for `service` the list of those that are down."""
    return first(", ".join(filter(None, map(text, items(usage, "error")))), text(usage, "error"))


def _percent(usage: Json, name: str) -> str:
    figure = text(usage, name).removesuffix("%").strip()
    return f"{figure} %" if figure else ""


def _average(usage: Json) -> str:
    average, minutes = _percent(usage, "average_usage"), text(usage, "average_minutes")
    return f"{average} over {minutes} min" if average and minutes else average


def _blacklists(entries: list[Json]) -> list[Alert]:
    """One alert a monitored address. The documented list holds at most 100; several posts may follow."""
    alerts = [alert for alert in map(_blacklist, entries) if alert is not None]
    if entries and not alerts:
        raise Unreadable("a blacklist notification needs objects with `monitor` and `blacklisted_now`")
    return alerts


def _blacklist(entry: Json) -> Alert | None:
    """None where the entry names no address or no count."""
    address, label = text(entry, "monitor"), text(entry, "label")
    lists = items(entry, "blacklisted_on")
    now = number(entry, "blacklisted_now")
    if now is None and lists:
        now = float(len(lists))
    if not address or now is None:
        return None
    named = f"{address} ({label})" if label and label != address else address
    before = text(entry, "blacklisted_before")
    was = f" (was {before})" if before else ""
    count = f"{now:.0f} blacklist{'' if now == 1 else 's'}"
    return Alert(
        fingerprint=key("hetrixtools", "blacklist", address),
        title=line(f"{named} is on {count}{was}" if now > 0 else f"{named} is off all blacklists{was}"),
        severity=Severity.WARNING if now > 0 else Severity.INFO,
        status="firing" if now > 0 else "resolved",
        kind="blacklist",
        service=line(label or address),
        body=cut("\n".join(filter(None, map(_listing, lists)))),
        url=link(text(entry, "links", "report_link"), text(entry, "links", "whitelabel_report_link")),
        labels=labels({"target": address, "label": label}),
        fields=fields({"target": address, "blacklisted_now": f"{now:.0f}", "blacklisted_before": before}),
        value=now,
    )


def _listing(one: Json) -> str:
    """`zen.example.org: https://… (to be delisted)`; where only names are given, the name."""
    name, page = first(text(one, "rbl"), text(one)), link(text(one, "delist"))
    return f"{name}: {page}" if name and page else name


def _founding(document: Json) -> Alert:
    """{event_type: monitor_down | monitor_up | slow_response, monitor: {name, url, …}}: no stable id, so keyed
    by address or name. All three speak of one problem, or a slow answer could never end."""
    sort, monitor = text(document, "event_type").lower(), mapping(document, "monitor")
    name, address = text(monitor, "name"), text(monitor, "url")
    said = _FOUNDING.get(sort)
    if said is None or not first(name, address):
        raise Unreadable(
            "expected `event_type` monitor_down, monitor_up or slow_response, and `monitor.name` or `monitor.url`"
        )
    words, severity = said
    took, lasted = text(monitor, "response_time"), text(monitor, "downtime_duration")
    return Alert(
        fingerprint=key("hetrixtools", "uptime", first(text(monitor, "id"), address, name)),
        title=line(f"{name or address} {words}{f' ({took})' if took and sort == 'slow_response' else ''}"),
        severity=severity,
        status="resolved" if sort == "monitor_up" else "firing",
        kind="uptime",
        service=line(name or address),
        body=cut(first(text(document, "message"), text(monitor, "error"), text(monitor, "error_message"))),
        url=link(address),
        labels=labels({"target": address, "event_type": sort}),
        fields=fields({"target": address, "response_time": took, "downtime_duration": lasted}),
        value=_leading_number(took) if sort == "slow_response" else None,
        occurred_at=_moment(document),
    )


def _leading_number(words: str) -> float | None:
    """`5200`, `5200 ms` and `5.2s` begin with their number."""
    found = re.match(r"\d{1,15}(?:\.\d{1,9})?", words)
    return float(found[0]) if found else None


def _moment(document: Json) -> Millis | None:
    """When it happened: `timestamp` (Unix seconds), or what the founding documents' shape has in its place."""
    named = (("timestamp",), ("monitor", "recovery_time"), ("monitor", "downtime_start"), ("monitor", "timestamp"))
    return next((moment for path in named if (moment := instant(at(document, *path))) is not None), None)


adapter: Adapter = _HetrixTools()
