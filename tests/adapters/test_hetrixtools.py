"""HetrixTools, shape by shape. The bodies are ours, in the shapes that HetrixTools documents."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hetrixtools import adapter
from gateway.contracts import Keep
from gateway.errors import Unreadable
from gateway.model import Alert, Event, Severity
from gateway.rules.reading import normalise

UPTIME: dict[str, Any] = {
    "monitor_id": "0123456789abcdef0123456789abcdef",
    "monitor_name": "Shop front",
    "monitor_target": "https://shop.example.com/",
    "monitor_type": "website",
    "monitor_category": "Production",
    "monitor_status": "offline",
    "timestamp": 1_790_000_000,
    "monitor_errors": {"New York": "timeout", "Tokyo": "http code 503"},
}
ONLINE = {name: value for name, value in UPTIME.items() if name != "monitor_errors"} | {"monitor_status": "online"}
USAGE = {"resource_type": "cpu", "current_usage": "94.60", "average_usage": "91.29", "average_minutes": "3"}
RESOURCE: dict[str, Any] = {
    "monitor_id": "0123456789abcdef0123456789abcdef",
    "monitor_name": "db-1",
    "timestamp": 1_790_000_000,
    "resource_usage": USAGE,
}
LISTED: dict[str, Any] = {
    "monitor": "192.0.2.10",
    "label": "mail out",
    "blacklisted_before": "1",
    "blacklisted_now": "2",
    "blacklisted_on": [
        {"rbl": "zen.example.org", "delist": "https://example.org/delist?192.0.2.10"},
        {"rbl": "odd.example.org", "delist": None},
    ],
    "links": {"report_link": "https://hetrixtools.example/report/1/", "whitelabel_report_link": "https://w.example/1/"},
}
DELISTED = LISTED | {"blacklisted_before": "2", "blacklisted_now": "0", "blacklisted_on": None}
FOUNDING: dict[str, Any] = {
    "event_type": "monitor_down",
    "monitor": {"name": "Shop front", "url": "https://shop.example.com", "downtime_start": "2026-09-21T13:20:00Z"},
}


def read(document: Any) -> list[Alert]:
    return adapter.parse(Event("e", "hetrixtools", "hetrixtools", 0, {}, b""), normalise(document))


def only(document: Any) -> Alert:
    (alert,) = read(document)
    return alert


def founding(event_type: str, **monitor: Any) -> dict[str, Any]:
    return {"event_type": event_type, "monitor": {"name": "Shop front", "url": "https://shop.example.com", **monitor}}


class TestTheDoor:
    def test_there_is_no_signature_to_judge_by(self) -> None:
        headers = {"authorization": "Bearer token", "x-signature": "0" * 64}
        assert not adapter.signed(headers)
        assert not adapter.verify(headers, b"{}", "token", 0)

    def test_no_header_is_kept(self) -> None:
        assert adapter.keeps == frozenset()

    @pytest.mark.parametrize("document", [UPTIME, ONLINE, RESOURCE, FOUNDING])
    def test_a_body_that_carries_its_time_is_one_event(self, document: Any) -> None:
        assert adapter.admit({}, document) == Keep(once_per_body=True)

    @pytest.mark.parametrize(
        "document", [[LISTED], LISTED, founding("slow_response"), {}, None, UPTIME | {"timestamp": None}]
    )
    def test_a_body_without_a_time_may_honestly_come_twice(self, document: Any) -> None:
        assert adapter.admit({}, document) == Keep()


class TestUptime:
    def test_offline_is_critical_and_says_what_each_place_saw(self) -> None:
        alert = only(UPTIME)
        assert alert.fingerprint == "hetrixtools:uptime:0123456789abcdef0123456789abcdef"
        assert alert.title == "Shop front is offline"
        assert (alert.severity, alert.status, alert.kind) == (Severity.CRITICAL, "firing", "uptime")
        assert (alert.service, alert.environment) == ("Shop front", "production")
        assert alert.body == "New York: timeout\nTokyo: http code 503"
        assert alert.url == "https://shop.example.com/"
        assert alert.labels == {
            "monitor": "0123456789abcdef0123456789abcdef",
            "monitor_type": "website",
            "category": "Production",
            "target": "https://shop.example.com/",
        }
        assert alert.fields["locations_failing"] == "2"
        assert alert.occurred_at == 1_790_000_000_000

    def test_online_resolves_it(self) -> None:
        alert = only(ONLINE)
        assert (alert.status, alert.fingerprint) == ("resolved", only(UPTIME).fingerprint)
        assert alert.title == "Shop front is online"
        assert (alert.severity, alert.body) == (Severity.INFO, "")

    def test_it_is_the_status_that_speaks_not_the_errors(self) -> None:
        assert only(UPTIME | {"monitor_status": "Online"}).status == "resolved"
        assert only(ONLINE | {"monitor_status": "offline"}).status == "firing"

    @pytest.mark.parametrize("status", ["maintenance", "paused"])
    def test_a_monitor_at_rest_concerns_nobody(self, status: str) -> None:
        assert read(UPTIME | {"monitor_status": status}) == []

    @pytest.mark.parametrize(
        ("errors", "body"),
        [
            (["timeout", {"odd": 1}, "refused"], "timeout\nrefused"),
            ("timeout", "timeout"),
            ({"Tokyo": None}, "Tokyo: failed"),
            ({}, ""),
            (None, ""),
        ],
    )
    def test_errors_are_read_in_any_form(self, errors: Any, body: str) -> None:
        assert only(UPTIME | {"monitor_errors": errors}).body == body

    @pytest.mark.parametrize(
        ("sort", "target"), [("ping", "192.0.2.1"), ("service[22]", "192.0.2.1"), ("smtp[25]", "mx.example.com")]
    )
    def test_a_target_that_is_no_address_is_shown_but_not_linked(self, sort: str, target: str) -> None:
        alert = only(UPTIME | {"monitor_type": sort, "monitor_target": target})
        assert (alert.url, alert.fields["target"], alert.labels["monitor_type"]) == ("", target, sort)

    def test_a_category_that_is_no_environment_is_a_label_only(self) -> None:
        alert = only(UPTIME | {"monitor_category": "Customers"})
        assert (alert.environment, alert.labels["category"]) == ("", "Customers")

    def test_a_number_for_an_id_and_text_for_a_time_are_read(self) -> None:
        alert = only(UPTIME | {"monitor_id": 123, "timestamp": "1790000000"})
        assert (alert.fingerprint, alert.occurred_at) == ("hetrixtools:uptime:123", 1_790_000_000_000)

    def test_without_an_id_the_target_is_the_key(self) -> None:
        assert only(UPTIME | {"monitor_id": None}).fingerprint == "hetrixtools:uptime:https://shop.example.com/"


class TestResources:
    def test_usage_is_a_warning_with_its_number(self) -> None:
        alert = only(RESOURCE)
        assert alert.fingerprint == "hetrixtools:resource:0123456789abcdef0123456789abcdef:cpu"
        assert alert.title == "db-1: CPU at 94.60 % (average 91.29 % over 3 min)"
        assert (alert.severity, alert.status, alert.kind) == (Severity.WARNING, "firing", "resource")
        assert (alert.service, alert.value) == ("db-1", 94.6)
        assert alert.fields == {"current_usage": "94.60 %", "average_usage": "91.29 % over 3 min"}
        assert alert.labels["resource"] == "cpu"

    @pytest.mark.parametrize(
        ("sort", "shown"),
        [
            ("ram", "RAM"),
            ("disk", "disk"),
            ("network_inbound", "inbound network"),
            ("network_outbound", "outbound network"),
        ],
    )
    def test_every_usage_is_a_warning_with_a_key_of_its_own(self, sort: str, shown: str) -> None:
        alert = only(RESOURCE | {"resource_usage": USAGE | {"resource_type": sort}})
        assert alert.title.startswith(f"db-1: {shown} at 94.60 %")
        assert alert.severity is Severity.WARNING
        assert alert.fingerprint.endswith(f":{sort}")

    @pytest.mark.parametrize(
        ("sort", "error", "title"),
        [
            ("agent", "no data", "db-1: server agent: no data"),
            ("drive health", "increased wearout", "db-1: drive health: increased wearout"),
            ("raid", "raid issues", "db-1: RAID: raid issues"),
            ("service", ["mysql", "nginx"], "db-1: services down: mysql, nginx"),
            ("service", "mysql", "db-1: services down: mysql"),
            ("temperature", None, "db-1: temperature in trouble"),
        ],
    )
    def test_what_reports_an_error_of_its_own_is_broken(self, sort: str, error: Any, title: str) -> None:
        alert = only(RESOURCE | {"resource_usage": {"resource_type": sort, "error": error}})
        assert (alert.title, alert.severity, alert.value) == (title, Severity.ERROR, None)
        assert alert.fingerprint == f"hetrixtools:resource:0123456789abcdef0123456789abcdef:{sort}"

    @pytest.mark.parametrize(
        ("usage", "title"),
        [
            ({"current_usage": 94}, "db-1: CPU at 94 %"),
            ({"average_usage": "91%"}, "db-1: CPU (average 91 %)"),
            ({}, "db-1: CPU in trouble"),
        ],
    )
    def test_missing_figures_are_left_out(self, usage: Any, title: str) -> None:
        assert only(RESOURCE | {"resource_usage": {"resource_type": "cpu", **usage}}).title == title


class TestBlacklists:
    def test_each_entry_is_a_problem_of_its_own(self) -> None:
        listed, delisted = read([LISTED, DELISTED | {"monitor": "192.0.2.11"}])
        assert listed.fingerprint == "hetrixtools:blacklist:192.0.2.10"
        assert listed.title == "192.0.2.10 (mail out) is on 2 blacklists (was 1)"
        assert (listed.severity, listed.status, listed.kind) == (Severity.WARNING, "firing", "blacklist")
        assert (listed.service, listed.value, listed.occurred_at) == ("mail out", 2.0, None)
        assert listed.body == "zen.example.org: https://example.org/delist?192.0.2.10\nodd.example.org"
        assert listed.url == "https://hetrixtools.example/report/1/"
        assert (delisted.status, delisted.severity) == ("resolved", Severity.INFO)
        assert delisted.title == "192.0.2.11 (mail out) is off all blacklists (was 2)"

    def test_delisting_resolves_what_listing_opened(self) -> None:
        assert only([DELISTED]).fingerprint == only([LISTED]).fingerprint

    def test_a_full_post_gives_a_hundred_alerts(self) -> None:
        alerts = read([LISTED | {"monitor": f"192.0.2.{n}"} for n in range(100)])
        assert len({alert.fingerprint for alert in alerts}) == 100

    def test_an_address_without_a_label_stands_alone(self) -> None:
        alert = only([LISTED | {"label": "", "blacklisted_now": 1, "blacklisted_before": None}])
        assert alert.title == "192.0.2.10 is on 1 blacklist"
        assert alert.service == "192.0.2.10"
        assert only([LISTED | {"label": "192.0.2.10"}]).title.startswith("192.0.2.10 is on")

    def test_without_a_count_the_lists_are_counted(self) -> None:
        alert = only(
            [LISTED | {"blacklisted_now": None, "blacklisted_on": ["a.example", {"rbl": "b.example"}, 7.5, []]}]
        )
        assert alert.value == 4.0
        assert alert.body == "a.example\nb.example\n7.5"

    def test_one_entry_may_stand_outside_a_list(self) -> None:
        assert only(LISTED).fingerprint == "hetrixtools:blacklist:192.0.2.10"

    def test_an_odd_entry_does_not_take_its_neighbours_with_it(self) -> None:
        assert len(read([None, LISTED, {"monitor": "192.0.2.12"}])) == 1

    def test_an_empty_list_says_nothing(self) -> None:
        assert read([]) == []


class TestTheFoundingShape:
    def test_down_and_up_are_one_problem(self) -> None:
        down = only(founding("monitor_down", downtime_start="2026-09-21T13:20:00Z"))
        up = only(founding("monitor_up", recovery_time="2026-09-21T13:30:00Z", downtime_duration="10m"))
        assert (down.title, down.severity, down.status) == ("Shop front is down", Severity.CRITICAL, "firing")
        assert (up.title, up.severity, up.status) == ("Shop front is up again", Severity.INFO, "resolved")
        assert down.fingerprint == up.fingerprint == "hetrixtools:uptime:https://shop.example.com"
        assert (down.occurred_at, up.occurred_at) == (1_789_996_800_000, 1_789_997_400_000)
        assert up.fields["downtime_duration"] == "10m"

    @pytest.mark.parametrize(("took", "value"), [("5200 ms", 5200.0), (5.25, 5.25), ("long", None)])
    def test_a_slow_answer_is_a_warning_that_the_recovery_ends(self, took: Any, value: float | None) -> None:
        alert = only(founding("slow_response", response_time=took))
        assert (alert.severity, alert.status, alert.value) == (Severity.WARNING, "firing", value)
        assert alert.title == f"Shop front answers slowly ({took})"
        assert alert.fingerprint == only(founding("monitor_up")).fingerprint

    def test_a_name_alone_suffices(self) -> None:
        alert = only({"event_type": "slow_response", "monitor": {"name": "Shop front"}})
        assert (alert.fingerprint, alert.title, alert.url) == (
            "hetrixtools:uptime:Shop front",
            "Shop front answers slowly",
            "",
        )


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({}, "no shape of HetrixTools"),
        (None, "no shape of HetrixTools"),
        ({"monitor_id": "1", "monitor_name": "x"}, "no shape of HetrixTools"),
        (UPTIME | {"monitor_status": "sideways"}, "'sideways' is not known"),
        ({"monitor_status": "offline"}, "needs `monitor_id`"),
        ({"resource_usage": {"resource_type": "cpu"}}, "resource_usage.resource_type"),
        ({"monitor_name": "x", "resource_usage": {"a": 1}}, "resource_usage.resource_type"),
        ([{"monitor": "x"}, 3], "objects with `monitor` and `blacklisted_now`"),
        ({"blacklisted_now": "1"}, "objects with `monitor` and `blacklisted_now`"),
        (founding("monitor_sings"), "monitor_down, monitor_up or slow_response"),
        ({"event_type": "monitor_down", "monitor": {"id": 1}}, "monitor_down, monitor_up or slow_response"),
    ],
)
def test_an_unknown_shape_is_kept_unread_with_a_sentence(document: Any, sentence: str) -> None:
    with pytest.raises(Unreadable, match=sentence):
        read(document)


SEEDS: list[Any] = [
    UPTIME,
    ONLINE,
    RESOURCE,
    [LISTED, DELISTED],
    FOUNDING,
    founding("slow_response", response_time="5 s"),
]
json_documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=15,
)


def parse_or_refuse(document: Any) -> None:
    adapter.admit({}, document)
    try:
        alerts = read(document)
    except Unreadable:
        return
    for alert in alerts:
        assert alert.title
        assert alert.fingerprint.startswith("hetrixtools:")
        texts = [alert.service, alert.environment, alert.body, *alert.labels.values(), *alert.fields.values()]
        assert all(isinstance(text, str) for text in texts)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [path, *(place for name, value in inner for place in places(value, (*path, name)))]


@settings(deadline=None)
@given(json_documents)
def test_no_json_at_all_raises_anything_but_unreadable(document: Any) -> None:
    parse_or_refuse(document)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_real_shape_with_anything_anywhere_raises_nothing_but_unreadable(data: st.DataObject) -> None:
    document = copy.deepcopy(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from([path for path in places(document) if path]))
        spot = document
        for step in way:
            spot = spot[step]
        spot[last] = data.draw(json_documents)
    parse_or_refuse(document)
