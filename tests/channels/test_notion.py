"""One page an incident, in the types of the database's own schema."""

from __future__ import annotations

import dataclasses
import json
import unicodedata
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, ClassVar

import httpx
import httpx2
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from notion_client import AsyncClient
from pydantic import ValidationError
from structlog.testing import capture_logs

from gateway.channels._notion_fields import Entry
from gateway.channels._notion_page import MOST_OF_A_PAGE, Schema, compose
from gateway.channels._notion_values import LONGEST_TEXT, MOST_TEXTS, Omitted, Property, cleared, written
from gateway.channels.notion import Notion, Settings, connect
from gateway.contracts import Channel, Surroundings
from gateway.model import Json, Message, Rejected, Retry, Sent, Severity, Unknown
from tests.channels.suite import NOON, HttpContract, a_change, a_message, an_incident
from tests.fakes.notion import DATABASE, SOURCE, TOKEN, FakeNotion, Refusal, choice, text

EXAMPLE = (Path(__file__).parents[2] / "docs" / "notion-backup-log.md").read_text(encoding="utf-8")
# BaseLoader leaves every scalar the text it is, as the house's own loader does.
EXAMPLE_CHANNEL = yaml.load(EXAMPLE.split("```yaml")[1].split("```")[0], yaml.BaseLoader)["channels"]["backup-log"]  # noqa: S506
BACKUP_LOG = EXAMPLE_CHANNEL["properties"]


def test_the_example_speaks_of_twelve_properties() -> None:
    assert set(BACKUP_LOG) == set(backup_schema())
    assert all(f"| {name} |" in EXAMPLE for name in BACKUP_LOG)


def backup_schema() -> dict[str, dict[str, Any]]:
    return {
        "Date": text("date"),
        "Summary": text("title"),
        "Status": choice("status", "❌ 실패", "⚠️ 점검필요", "✅ 완료"),
        "Category": choice("select", "Backup"),
        "Week": text("number"),
        "System_Health": choice("select", "Good", "Bad"),
        "Backup_Size": text(),
        "DB_Verified": text("checkbox"),
        "Security_Check": text("checkbox"),
        "Slack_Log_Link": text("url"),
        "Report_Link": text("url"),
        "Improvement": text(),
    }


def backup_message(**changes: Any) -> Message:
    incident = an_incident(
        kind="backup",
        fields={"system_health": "good", "backup_size": "12.4 GB", "db_verified": "yes", "security_check": "failed"},
        **changes,
    )
    return dataclasses.replace(a_message(links={"slack": "https://team.slack.com/archives/C1/p1"}), incident=incident)


def settings(**keys: object) -> Settings:
    return Settings.model_validate({"kind": "notion", "token": TOKEN, "database_id": DATABASE, **keys})


def notion(fake: FakeNotion, now: list[int] | None = None, **keys: object) -> Notion:
    clock = now or [NOON]
    return connect(settings(**keys), Surroundings("audit", now=lambda: clock[0], transport=fake.transport))


def plain(value: Json) -> str:
    """The text of a title or rich_text value."""
    (pieces,) = value.values()
    return "".join(piece["text"]["content"] for piece in pieces)


class TestNotion(HttpContract):
    secrets: ClassVar[tuple[str, ...]] = (TOKEN,)

    def connect(self, transport: httpx2.AsyncBaseTransport) -> Channel:
        return connect(settings(properties=BACKUP_LOG), Surroundings("audit", now=lambda: NOON, transport=transport))

    def vendor(self) -> httpx2.AsyncBaseTransport:
        return FakeNotion(backup_schema()).transport


# --- the page -----------------------------------------------------------------------------------------


async def test_the_backup_log_is_filled_as_the_example_says() -> None:
    fake = FakeNotion(backup_schema())
    channel = notion(fake, **{**EXAMPLE_CHANNEL, "token": TOKEN, "database_id": DATABASE})
    receipt = await channel.send(backup_message(occurred_at=NOON + 4 * 3_600_000), {})
    assert isinstance(receipt, Sent)
    assert receipt.detail == ""
    page = dict(fake.page)
    assert plain(page.pop("Summary")) == "[CRITICAL] shop is down"
    assert plain(page.pop("Backup_Size")) == "12.4 GB"
    assert page == {
        "Date": {"date": {"start": "2026-11-21T01:00:00+09:00"}},
        "Status": {"status": {"name": "❌ 실패"}},
        "Category": {"select": {"name": "Backup"}},
        "Week": {"number": 3},
        "System_Health": {"select": {"name": "Good"}},
        "DB_Verified": {"checkbox": True},
        "Security_Check": {"checkbox": False},
        "Slack_Log_Link": {"url": "https://team.slack.com/archives/C1/p1"},
        "Report_Link": {"url": "https://status.example/shop"},
    }


async def test_the_page_is_changed_as_the_incident_lives_and_what_people_wrote_stays() -> None:
    fake = FakeNotion(backup_schema())
    channel = notion(fake, properties=BACKUP_LOG)
    first = await channel.send(backup_message(), {})
    assert isinstance(first, Sent)
    (page_id,) = fake.pages
    assert first.ref == {"page_id": page_id, "permalink": fake.pages[page_id]["url"]}
    fake.pages[page_id]["properties"]["Improvement"] = "written by a person"
    second = await channel.send(backup_message(state="resolved", resolved_at=NOON), first.ref)
    assert isinstance(second, Sent)
    assert second.ref == first.ref
    assert fake.page["Status"] == {"status": {"name": "✅ 완료"}}
    assert fake.page["Improvement"] == "written by a person"
    assert fake.calls == ["GET /v1/databases/*", "GET /v1/data_sources/*", "POST /v1/pages", "PATCH /v1/pages/*"]


async def test_what_has_ended_is_cleared_when_the_incident_opens_again() -> None:
    fake = FakeNotion({"Name": text("title"), "End": text("date"), "Who": text(), "Ok": text("checkbox")})
    channel = notion(fake, properties={"End": "resolved_at", "Who": "acknowledged_by", "Ok": "assigned_to"})
    over = dataclasses.replace(
        a_message(), incident=an_incident(resolved_at=NOON, acknowledged_by="kim", assigned_to="ok")
    )
    first = await channel.send(over, {})
    assert isinstance(first, Sent)
    assert fake.page["End"] == {"date": {"start": "2026-11-20T12:00:00+00:00"}}
    await channel.send(a_change(), first.ref)
    assert (fake.page["End"], fake.page["Who"], fake.page["Ok"]) == (
        {"date": None},
        {"rich_text": []},
        {"checkbox": False},
    )


async def test_a_mapping_left_out_is_made_from_the_names_in_the_database() -> None:
    fake = FakeNotion(
        {
            "Name": text("title"),
            "Status": choice("status", "Not started", "In progress", "Done"),
            "Severity": choice("select", "Critical", "Info"),
            "Opened at": text("date"),
            "Incident ID": text(),
            "Count": text("number"),
            "URL": text("url"),
            "Notes": text(),
        }
    )
    await notion(fake).send(a_message(), {})
    page = dict(fake.page)
    assert plain(page.pop("Name")) == "[CRITICAL] shop is down"
    assert plain(page.pop("Incident ID")) == an_incident().id
    assert page == {
        "Status": {"status": {"name": "Not started"}},
        "Severity": {"select": {"name": "Critical"}},
        "Opened at": {"date": {"start": "2026-11-20T12:00:00+00:00"}},
        "Count": {"number": 1},
        "URL": {"url": "https://status.example/shop"},
    }


async def test_a_status_with_our_own_words_needs_no_map() -> None:
    fake = FakeNotion({"Name": text("title"), "State": choice("status", "Open", "Resolved", "Done")})
    channel = notion(fake)
    first = await channel.send(a_message(), {})
    assert isinstance(first, Sent)
    assert fake.page["State"] == {"status": {"name": "Open"}}
    await channel.send(a_change(state="resolved"), first.ref)
    assert fake.page["State"] == {"status": {"name": "Resolved"}}


async def test_the_title_is_filled_by_the_mapping_where_it_says_so() -> None:
    fake = FakeNotion()
    await notion(fake, properties={"Name": "service"}).send(a_message(), {})
    assert plain(fake.page["Name"]) == "shop"


@pytest.mark.parametrize(
    ("message", "title"),
    [
        (a_message(custom_title="Ours"), "Ours"),
        (a_message(custom_title=""), "[CRITICAL] shop is down"),
        (a_message(title=""), "shop is down"),
        (a_message(title="NOTE: shop is down", standing="[CRITICAL] shop is down"), "[CRITICAL] shop is down"),
    ],
)
async def test_the_title_is_never_empty(message: Message, title: str) -> None:
    fake = FakeNotion()
    await notion(fake, properties={"Name": "labels.none"}).send(message, {})
    assert plain(fake.page["Name"]) == title


async def test_a_missing_property_is_left_out_warned_of_once_and_told() -> None:
    fake = FakeNotion({"Name": text("title"), "Kind": text(), "Sum": text("formula"), "S": choice("status", "x")})
    channel = notion(fake, properties={"Nope": "id", "Kind": "kind", "Sum": "count", "S": "state"})
    with capture_logs() as logs:
        receipts = [await channel.send(a_message(), {}) for _ in range(2)]
    assert plain(fake.pages.popitem()[1]["properties"]["Kind"]) == "uptime"
    assert [receipt.detail for receipt in receipts if isinstance(receipt, Sent)] == [
        (
            "left out Nope: the database has no such property; Sum: a property of type formula cannot be written; "
            "S: no option 'open'; add it in Notion"
        )
    ] * 2
    assert [(line["property"], line["log_level"]) for line in logs] == [(n, "warning") for n in ("Nope", "Sum", "S")]


async def test_warnings_about_a_strangers_values_come_to_an_end() -> None:
    fake = FakeNotion({"Name": text("title"), "S": choice("status", "x")})
    channel = notion(fake, properties={"S": "service"})
    with capture_logs() as logs:
        for n in range(230):
            await channel.send(dataclasses.replace(a_message(), incident=an_incident(service=f"s{n}")), {})
    assert len(logs) == 200


@pytest.mark.parametrize("field", ["occurred_at", "date", "year", "week_of_month"])
async def test_a_date_beyond_the_calendar_is_left_out(field: str) -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    message = dataclasses.replace(a_message(), incident=an_incident(occurred_at=int(last.timestamp()) * 1000))
    fake = FakeNotion({"Name": text("title"), "When": text()})
    receipt = await notion(fake, properties={"When": field}, time_zone="Asia/Seoul").send(message, {})
    assert isinstance(receipt, Sent)
    assert receipt.detail == "left out When: the date lies outside of the years 1 to 9999 in Asia/Seoul"
    assert "When" not in fake.page


async def test_names_are_compared_composed() -> None:
    name, option = unicodedata.normalize("NFD", "상태"), unicodedata.normalize("NFD", "완료")
    fake = FakeNotion({"Name": text("title"), name: choice("status", option)})
    properties = {"상태": {"from": "state", "map": {"open": "완료"}}}
    receipt = await notion(fake, properties=properties).send(a_message(), {})
    assert isinstance(receipt, Sent)
    assert receipt.detail == ""
    assert fake.page[name] == {"status": {"name": option}}


async def test_whatever_the_length_the_page_fits_in_one_request() -> None:
    fake = FakeNotion({"Name": text("title"), **{f"T{n}": text() for n in range(6)}})
    channel = notion(fake, properties={f"T{n}": "body" for n in range(6)})
    message = dataclasses.replace(a_message(), incident=an_incident(body="한국어 𝟙 " * 100_000))
    assert isinstance(await channel.send(message, {}), Sent)
    assert len(json.dumps(fake.asked[-1].body, ensure_ascii=False).encode()) < 500_000
    assert plain(fake.page["T5"]).endswith("…")


async def test_a_page_is_known_by_its_id_though_the_answer_is_longer_than_we_read() -> None:
    fake = FakeNotion({"Name": text("title"), "Body": text()})
    message = dataclasses.replace(a_message(), incident=an_incident(body="x" * 180_000))
    receipt = await notion(fake, properties={"Body": "body"}).send(message, {})
    assert isinstance(receipt, Sent)
    assert list(fake.pages) == [receipt.ref["page_id"]]
    assert receipt.ref["permalink"] == "https://www.notion.so/" + receipt.ref["page_id"].replace("-", "")


# --- deleted, unknown, twice --------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["trashed", "gone"])
async def test_a_page_that_people_deleted_is_made_anew(how: str) -> None:
    fake = FakeNotion()
    channel = notion(fake)
    first = await channel.send(a_message(), {})
    assert isinstance(first, Sent)
    if how == "trashed":
        fake.pages[first.ref["page_id"]]["in_trash"] = True
    else:
        fake.pages.clear()
    second = await channel.send(a_change(), first.ref)
    assert isinstance(second, Sent)
    assert second.ref["page_id"] != first.ref["page_id"]
    assert second.detail == "the page was gone; a new one stands"


@pytest.mark.parametrize("word", ["in_trash", "archived"])
async def test_a_page_that_says_it_is_in_the_trash_is_made_anew(word: str) -> None:
    fake = FakeNotion()

    def answer(request: httpx2.Request) -> httpx2.Response:
        response = fake.transport.handle_request(request)
        if request.method == "PATCH":
            return httpx2.Response(200, json={**json.loads(response.content), word: True})
        return response

    channel = connect(settings(), Surroundings("audit", transport=httpx2.MockTransport(answer)))
    first = await channel.send(a_message(), {})
    assert isinstance(first, Sent)
    second = await channel.send(a_change(), first.ref)
    assert isinstance(second, Sent)
    assert second.ref["page_id"] != first.ref["page_id"]


@pytest.mark.parametrize("kind", ["rich_text", "title"])
async def test_a_page_whose_making_got_no_answer_is_found_by_our_id(kind: str) -> None:
    fake = FakeNotion({"Ours": text(kind), "Other": text("title" if kind == "rich_text" else "rich_text")}, lose=1)
    channel = notion(fake, properties={"Nope": "id", "Ours": "id"})
    lost = await channel.send(a_message(), {})
    assert isinstance(lost, Unknown)
    assert lost.ref == {"create": "unknown"}
    again = await channel.send(a_message(), lost.ref)
    assert isinstance(again, Sent)
    assert list(fake.pages) == [again.ref["page_id"]]
    assert fake.calls[-2].startswith("POST /v1/data_sources/*/query?filter_properties=i%253A0")


async def test_a_page_that_never_came_to_be_is_made_after_the_look() -> None:
    fake = FakeNotion({"Name": text("title"), "Ours": text()}, failures=[])
    channel = notion(fake, properties={"Ours": "id"})
    assert isinstance(await channel.send(a_message(), {"create": "unknown"}), Sent)
    assert len(fake.pages) == 1


async def test_without_our_id_in_the_page_a_second_one_is_accepted_but_not_a_third() -> None:
    fake = FakeNotion(lose=1)
    channel = notion(fake, properties={"Name": "title"})
    lost = await channel.send(a_message(), {})
    assert isinstance(lost, Unknown)
    assert lost.ref is not None
    assert isinstance(await channel.send(a_message(), lost.ref), Sent)
    assert len(fake.pages) == 2
    assert channel.unknown_again == 1
    assert notion(fake, properties={"Name": "id"}).unknown_again is None


async def test_a_look_that_fails_makes_nothing() -> None:
    fake = FakeNotion()
    channel = notion(fake, properties={"Name": "id"})
    await channel.send(a_message(), {})
    fake.failures = [Refusal(503, "service_unavailable")]
    assert isinstance(await channel.send(a_message(), {"create": "unknown"}), Retry)
    fake.lose = 1
    assert isinstance(await channel.send(a_message(), {"create": "unknown"}), Retry)
    assert len(fake.pages) == 1


async def test_a_change_without_an_answer_can_be_made_again() -> None:
    fake = FakeNotion()
    channel = notion(fake)
    first = await channel.send(a_message(), {})
    assert isinstance(first, Sent)
    fake.lose = 1
    lost = await channel.send(a_change(), first.ref)
    assert isinstance(lost, Retry)
    assert lost.ref is None


async def test_an_answer_without_a_page_is_an_unknown_end() -> None:
    fake = FakeNotion()

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            return httpx2.Response(200, text="<html>welcome</html>")
        return fake.transport.handle_request(request)

    channel = connect(settings(), Surroundings("audit", transport=httpx2.MockTransport(answer)))
    assert await channel.send(a_message(), {}) == Unknown("HTTP 200 without the page", ref={"create": "unknown"})


# --- errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (429, "rate_limited"),
        (529, "service_overload"),
        (409, "conflict_error"),
        (500, "internal_server_error"),
        (503, "service_unavailable"),
        (504, "gateway_timeout"),
    ],
)
@pytest.mark.parametrize("moment", ["schema", "first", "change"])
async def test_what_passes_is_tried_again_after_the_wait_that_notion_names(status: int, code: str, moment: str) -> None:
    fake = FakeNotion()
    channel = notion(fake)
    first = await channel.send(a_message(), {}) if moment != "schema" else Sent()
    assert isinstance(first, Sent)
    fake.failures = [Refusal(status, code, headers={"Retry-After": "90"})]
    receipt = await channel.send(a_change(), first.ref if moment == "change" else {})
    assert isinstance(receipt, Retry)
    assert receipt.after == 90_000
    assert receipt.reason == f"HTTP {status}: {code}"
    assert receipt.ref == ({"create": "unknown"} if moment == "first" and status in (500, 504) else None)


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "unauthorized"), (403, "restricted_resource"), (400, "invalid_json"), (404, "object_not_found")],
)
async def test_what_does_not_pass_is_refused_with_the_code_word(status: int, code: str) -> None:
    fake = FakeNotion()
    channel = notion(fake)
    await channel.send(a_message(), {})
    fake.failures = [Refusal(status, code)] * 3
    receipt = await channel.send(a_message(), {})
    assert isinstance(receipt, Rejected)
    assert f"HTTP {status}: {code}" in receipt.reason


async def test_a_validation_error_is_tried_once_more_with_a_new_schema() -> None:
    fake = FakeNotion()
    channel = notion(fake)
    await channel.send(a_message(), {})
    fake.failures = [Refusal(400, "validation_error", "Name is odd.")]
    assert isinstance(await channel.send(a_message(), {}), Sent)
    assert fake.calls[-3:] == ["GET /v1/databases/*", "GET /v1/data_sources/*", "POST /v1/pages"]


async def test_a_property_that_changed_its_type_is_written_in_the_new_one() -> None:
    fake = FakeNotion({"Name": text("title"), "Count": text("number")})
    channel = notion(fake, properties={"Count": "count"})
    first = await channel.send(a_message(), {})
    assert isinstance(first, Sent)
    fake.schema["Count"] = text()
    assert isinstance(await channel.send(a_change(), first.ref), Sent)
    assert plain(fake.page["Count"]) == "1"


async def test_a_page_refused_by_a_schema_just_read_is_not_tried_again() -> None:
    refused: list[str] = []
    fake = FakeNotion()

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            refused.append(str(request.url))
            body = {"object": "error", "status": 400, "code": "validation_error", "message": "Name is odd."}
            return httpx2.Response(400, json=body)
        return fake.transport.handle_request(request)

    channel = connect(settings(), Surroundings("audit", transport=httpx2.MockTransport(answer)))
    assert await channel.send(a_message(), {}) == Rejected("HTTP 400: validation_error: Name is odd.")
    assert len(refused) == 1


# --- the schema ---------------------------------------------------------------------------------------


async def test_the_schema_is_kept_for_ten_minutes() -> None:
    fake, clock = FakeNotion(), [NOON]
    channel = notion(fake, clock)
    for moment in (NOON, NOON + 599_999, NOON + 600_000):
        clock[0] = moment
        await channel.send(a_message(), {})
    assert fake.calls.count("GET /v1/data_sources/*") == 2


async def test_several_data_sources_want_a_choice() -> None:
    other = "3b9b8c7d-6e5f-4a3b-9c8d-7e6f5a4b3c2d"
    fake = FakeNotion(sources={SOURCE: "Incidents", other: "Archive"})
    receipt = await notion(fake).send(a_message(), {})
    assert isinstance(receipt, Rejected)
    assert "set data_source_id to one of" in receipt.reason
    assert other in receipt.reason
    assert isinstance(await notion(fake, data_source_id=other).send(a_message(), {}), Sent)
    assert fake.asked[-1].body["parent"] == {"type": "data_source_id", "data_source_id": other}


async def test_a_database_without_a_data_source_is_refused() -> None:
    receipt = await notion(FakeNotion(sources={})).send(a_message(), {})
    assert receipt == Rejected("the database has no data source that the connection may see")


@pytest.mark.parametrize("odd", [5, True, "x", {"id": SOURCE}])
async def test_data_sources_of_another_shape_are_none(odd: Json) -> None:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, json={"data_sources": odd}))
    channel = connect(settings(), Surroundings("audit", transport=transport))
    assert await channel.send(a_message(), {}) == Rejected(
        "the database has no data source that the connection may see"
    )


async def test_options_of_another_shape_are_none() -> None:
    fake = FakeNotion({"Name": text("title"), "Kind": {"type": "select", "select": {"options": 5}}})
    assert isinstance(await notion(fake, properties={"Kind": "source"}).send(a_message(), {}), Sent)
    assert fake.page["Kind"] == {"select": {"name": a_message().incident.source}}


async def test_a_database_that_is_not_shared_says_what_to_do() -> None:
    receipt = await notion(FakeNotion(shared=False)).send(a_message(), {})
    assert receipt == Rejected("HTTP 404: object_not_found; is the database shared with the connection?")


@pytest.mark.parametrize(
    ("answer", "receipt"),
    [
        (httpx2.Response(200, text="hello"), Retry("the answer about the data source is no JSON")),
        (httpx2.Response(200, json={"properties": 1}), Retry("the answer about the data source has no properties")),
        (
            httpx2.Response(200, json={"properties": {}, "x": "x" * 300_000}),
            Rejected("the answer about the data source is over 160 KiB: too many options"),
        ),
    ],
)
async def test_an_answer_that_is_no_schema_is_a_receipt(answer: httpx2.Response, receipt: object) -> None:
    transport = httpx2.MockTransport(lambda _: answer)
    channel = connect(settings(data_source_id=SOURCE), Surroundings("audit", transport=transport))
    assert await channel.send(a_message(), {}) == receipt


async def test_a_lost_answer_about_the_schema_is_only_asked_again() -> None:
    def lose(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadTimeout("", request=request)

    channel = connect(settings(), Surroundings("audit", transport=httpx2.MockTransport(lose)))
    assert isinstance(await channel.send(a_message(), {}), Retry)


# --- values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        ("number", "1,024.5", 1024.5),
        ("number", 3.0, 3),
        ("number", True, 1),
        ("checkbox", "✅ 완료", True),
        ("checkbox", "No", False),
        ("checkbox", 1.0, True),
        ("url", "https://a.example/x", "https://a.example/x"),
        ("date", "2026-11-20", {"start": "2026-11-20"}),
        ("date", "2026-11-20T10:00:00+09:00", {"start": "2026-11-20T10:00:00+09:00"}),
        ("date", date(2026, 1, 2), {"start": "2026-01-02"}),
        ("select", "GOOD", {"name": "Good"}),
        ("select", "a,  b", {"name": "a; b"}),
        ("select", "x" * 200, {"name": "x" * 100}),
        ("multi_select", "good, new,new, ,", [{"name": "Good"}, {"name": "new"}]),
        ("email", "a@example.com", "a@example.com"),
        ("phone_number", 7.0, "7"),
        ("rich_text", True, [{"type": "text", "text": {"content": "true"}}]),
        ("rich_text", "\ud800x", [{"type": "text", "text": {"content": "x"}}]),
    ],
)
def test_a_value_takes_the_shape_of_its_type(kind: str, value: Any, wanted: Json) -> None:
    assert written(Property("P", kind, options=("Good", "Bad")), value) == {kind: wanted}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("number", "12 GB"),
        ("number", float("nan")),
        ("number", date(2026, 1, 1)),
        ("checkbox", "perhaps"),
        ("url", "javascript:alert(1)"),
        ("url", "https://" + "x" * 2000),
        ("date", "yesterday"),
        ("date", 3.0),
        ("select", " "),
        ("status", "new"),
        ("people", "kim"),
    ],
)
def test_a_value_without_a_place_is_left_out(kind: str, value: Any) -> None:
    assert isinstance(written(Property("P", kind, options=("Good",)), value), Omitted)


@pytest.mark.parametrize(
    ("kind", "empty"),
    [("multi_select", {"multi_select": []}), ("number", {"number": None}), ("status", None), ("rollup", None)],
)
def test_only_what_can_be_empty_is_cleared(kind: str, empty: Json) -> None:
    assert cleared(Property("P", kind)) == empty


@given(st.text(st.characters(codec="utf-8"), max_size=9_000), st.integers(1, 9_000))
def test_text_is_cut_into_pieces_that_notion_takes(words: str, room: int) -> None:
    shaped = written(Property("P", "rich_text"), words, room)
    pieces = [piece["text"]["content"] for piece in shaped["rich_text"]]
    whole = "".join(pieces)
    assert all(0 < len(piece.encode("utf-16-le")) // 2 <= LONGEST_TEXT for piece in pieces)
    assert len(whole.encode("utf-16-le")) // 2 <= room
    assert whole == words or (whole.endswith("…") and words.startswith(whole[:-1]))


def test_no_text_has_more_pieces_than_notion_takes() -> None:
    shaped = written(Property("P", "rich_text"), "𝟙" * 150_000)
    assert len(shaped["rich_text"]) <= MOST_TEXTS


def test_a_page_that_cannot_fit_is_as_small_as_it_gets() -> None:
    properties = {f"P{n}": Property(f"P{n}", "rich_text") for n in range(4_000)}
    entries = {name: Entry.model_validate({"from": "body"}) for name in properties}
    message = dataclasses.replace(a_message(), incident=an_incident(body="x" * 500))
    page = compose(message, entries, Schema("s", properties), UTC, update=False)
    assert len(json.dumps(page.properties)) > MOST_OF_A_PAGE


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("number", 42.0),
        ("worst", "critical"),
        ("text", a_message().text),
        ("labels", "team=data, tier=1"),
        ("labels.team", "data"),
        ("labels.none", None),
        ("fields", "used: 94 %"),
        ("fields.used", "94 %"),
        ("value", 94.0),
        ("unrouted", False),
        ("minutes_open", 2.0),
        ("year", 2026.0),
        ("month", 11.0),
        ("day", 20.0),
        ("hour", 12.0),
        ("weekday", "fri"),
        ("week_of_year", 47.0),
        ("message", "[CRITICAL] shop is down"),
        ("acknowledged_at", None),
    ],
)
def test_a_field_is_read_from_the_message(field: str, wanted: object) -> None:
    incident = an_incident(
        labels={"team": "data", "tier": "1"}, fields={"used": "94 %"}, value=94.0, resolved_at=NOON + 150_000
    )
    message = dataclasses.replace(a_message(), incident=incident)
    assert Entry.model_validate({"from": field}).read(message, UTC) == wanted


@pytest.mark.parametrize(
    ("muted_by", "facts", "wanted"),
    [
        ("silenced until 2026-11-20T14:00:00.000Z by anna", ("the sender's", "anna 님이 중지"), "anna 님이 중지"),
        ("", ("the sender's",), None),
        ("mute backup", (), None),
    ],
)
def test_why_it_is_muted_is_read_in_the_channels_words(muted_by: str, facts: tuple[str, ...], wanted: object) -> None:
    told = tuple(("알림 중지", fact) for fact in facts)
    message = a_message(language="ko", facts=told, incident=an_incident(muted_by=muted_by))
    assert Entry.model_validate({"from": "muted_by"}).read(message, UTC) == wanted


def test_a_map_speaks_for_every_kind_of_value() -> None:
    entry = Entry.model_validate({"from": "unrouted", "map": {"false": True}})
    assert entry.read(a_message(), UTC) == "true"
    assert Entry.model_validate({"from": "count", "map": {"1": "once"}}).read(a_message(), UTC) == "once"
    assert Entry.model_validate({"from": "opened_at", "map": {"x": "y"}}).read(a_message(), UTC) is not None
    assert Entry.model_validate({"from": "value", "map": {"x": "y"}}).read(a_message(), UTC) is None
    assert Entry.model_validate({"from": "minutes_open"}).read(a_message(), UTC) is None


@pytest.mark.parametrize("day", range(1, 31))
def test_a_week_of_the_month_has_seven_days_from_its_first(day: int) -> None:
    message = dataclasses.replace(a_message(), incident=an_incident(opened_at=NOON - (20 - day) * 86_400_000))
    assert Entry.model_validate({"from": "week_of_month"}).read(message, UTC) == -(-day // 7)


# --- settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "path", "words"),
    [
        ({"properties": {"Status": "stat"}}, "properties.Status", "did you mean 'state'?"),
        ({"properties": {"Status": {"from": "severty"}}}, "properties.Status", "did you mean 'severity'?"),
        ({"properties": {"Status": "!!"}}, "properties.Status", "known are id, number"),
        ({"properties": {"Status": "labels."}}, "properties.Status", "did you mean 'labels'?"),
        ({"properties": {"Status": {"from": "state", "mpa": {}}}}, "properties.Status", "Extra inputs"),
        ({"properties": {"상태": "state", unicodedata.normalize("NFD", "상태"): "id"}}, "", "the same to Notion"),
        ({"database_id": ""}, "", "database_id is missing"),
        ({"database_id": "a b"}, "database_id", "no Notion id"),
        ({"database_id": "https://www.notion.so/"}, "database_id", "no Notion id"),
        ({"notion_version": "2022-06-28"}, "notion_version", "2025-09-03 or later"),
        ({"notion_version": "newest"}, "notion_version", "2025-09-03 or later"),
        ({"time_zone": "Mars/Olympus"}, "time_zone", "write it like Asia/Seoul"),
        ({"time_zone": "../etc"}, "time_zone", "write it like Asia/Seoul"),
        ({"token": "ntn spaced"}, "token", "without spaces"),
        ({"nonsense": "1"}, "nonsense", "Extra inputs"),
    ],
)
def test_wrong_settings_are_named_without_their_value(keys: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(**keys)
    (error,) = caught.value.errors()
    assert ".".join(str(part) for part in error["loc"]).startswith(path)
    assert words in error["msg"]
    for value in ("ntn spaced", "Mars", "a b"):
        assert value not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        f"https://www.notion.so/team/Feed-{DATABASE}?v=0123456789abcdef0123456789abcdef",
        f"https://www.notion.so/{DATABASE}",
        DATABASE,
    ],
)
def test_the_address_of_a_database_serves_as_its_id(address: str) -> None:
    assert settings(database_id=address).database_id == DATABASE


def test_a_channel_says_whether_it_wants_links() -> None:
    assert notion(FakeNotion(), properties=BACKUP_LOG).wants_links
    assert not notion(FakeNotion(), properties={"Name": "title"}).wants_links


def test_the_gentle_facts() -> None:
    channel = notion(FakeNotion())
    assert (channel.edits, channel.width) == (True, 3)
    assert [str(rate) for rate in channel.paces] == ["3/s"]
    assert channel.escape("<b>&") == "<b>&"


# --- against the official client ----------------------------------------------------------------------


async def test_the_official_client_makes_the_same_calls() -> None:
    ours, theirs = FakeNotion(backup_schema()), FakeNotion(backup_schema())
    channel = notion(ours, properties=BACKUP_LOG)
    first = await channel.send(backup_message(), {})
    assert isinstance(first, Sent)
    await channel.send(backup_message(state="resolved"), first.ref)
    await channel.send(backup_message(severity=Severity.INFO), {"create": "unknown"})
    async with httpx.AsyncClient(transport=theirs.official_transport) as http:
        official = AsyncClient(client=http, auth=TOKEN, notion_version="2026-03-11", retry=False)
        await official.databases.retrieve(DATABASE)
        await official.data_sources.retrieve(SOURCE)
        created = ours.asked[2].body
        page = await official.pages.create(parent=created["parent"], properties=created["properties"])
        await official.pages.update(page["id"], properties=ours.asked[3].body["properties"])
        await official.pages.create(**ours.asked[4].body)
    assert ours.calls == theirs.calls
    assert [asked.body for asked in ours.asked] == [asked.body for asked in theirs.asked]
    for name in ("authorization", "notion-version", "content-type"):
        assert [a.headers.get(name) for a in ours.asked] == [a.headers.get(name) for a in theirs.asked]
