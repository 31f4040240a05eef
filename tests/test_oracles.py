"""What Slack, Telegram and Notion themselves say of the shape of our requests: see tests/oracles."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import json
import re
import urllib.parse
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_args

import httpx2
import pytest

from gateway.channels import notion, slack, telegram
from gateway.contracts import Channel, Surroundings
from gateway.model import Message, Occasion, Ref, Rejected, Severity
from tests.channels.suite import NOON, ODD_MESSAGES, Line, a_message
from tests.fakes import notion as notions
from tests.fakes import slack as slacks
from tests.fakes import telegram as telegrams
from tests.oracles import HERE, Said, complaints, missing

TYPES = {
    r"POST /services/.+": "slack.IncomingWebhook",
    r"POST /api/chat\.postMessage": "slack.PostMessage",
    r"POST /api/chat\.update": "slack.Update",
    r"GET /api/chat\.getPermalink": "slack.GetPermalink",
    r"POST /bot[^/]+/sendMessage": "telegram.SendMessage",
    r"POST /bot[^/]+/editMessageText": "telegram.EditMessageText",
    r"GET /v1/databases/(?P<database_id>[^/]+)": "notion.GetDatabase",
    r"GET /v1/data_sources/(?P<data_source_id>[^/]+)": "notion.GetDataSource",
    r"POST /v1/data_sources/(?P<data_source_id>[^/]+)/query": "notion.QueryDataSource",
    r"POST /v1/pages": "notion.CreatePage",
    r"PATCH /v1/pages/(?P<page_id>[^/]+)": "notion.UpdatePage",
}
LISTS = ("filter_properties",)
"""What may stand more than once in an address."""

COLUMNS: dict[str, tuple[dict[str, Any], str]] = {
    "Name": (notions.text("title"), "title"),
    "Id": (notions.text(), "id"),
    "Text": (notions.text(), "text"),
    "Body": (notions.text(), "body"),
    "Severity": (notions.choice("select", "critical"), "severity"),
    "State": (notions.choice("status", "open", "acknowledged", "resolved"), "state"),
    "Where": (notions.choice("multi_select", "shop"), "service"),
    "Address": (notions.text("url"), "url"),
    "Count": (notions.text("number"), "count"),
    "Opened": (notions.text("date"), "opened_at"),
    "Day": (notions.text("date"), "date"),
    "Resolved": (notions.text("date"), "resolved_at"),
    "Assigned": (notions.text("email"), "assigned_to"),
    "Phone": (notions.text("phone_number"), "acknowledged_by"),
    "Unrouted": (notions.text("checkbox"), "unrouted"),
}
PLAIN = a_message()


def messages() -> list[Message]:
    """On every occasion, and all that is odd, in both languages."""
    occasions = [a_message(occasion=occasion) for occasion in get_args(Occasion)]
    lived = dataclasses.replace(
        PLAIN.incident, state="resolved", resolved_at=NOON, acknowledged_by="+821012345678", assigned_to="kim@x.example"
    )
    over = dataclasses.replace(PLAIN, occasion="resolved", incident=lived)
    severities = [a_message(severity=severity) for severity in Severity]
    known = [PLAIN, over, *occasions, *severities, *ODD_MESSAGES.values()]
    return [dataclasses.replace(one, language=language) for one in known for language in ("en", "ko")]


async def everything_said() -> list[Said]:
    """Each request of each channel, first and later, whole and in words alone; each only once."""
    requests = [*await _slack(), *await _telegram(), *await _notion()]
    all_of_it = {json.dumps((kind, value)): (kind, value) for kind, value in map(_read, requests)}
    return [Said(f"{kind} {n}", kind, value) for n, (kind, value) in enumerate(all_of_it.values())]


async def _slack() -> list[httpx2.Request]:
    fake = slacks.FakeSlack()
    line = Line(fake.transport)
    around = Surroundings("ops", transport=line)
    hook = {"kind": "slack", "webhook_url": "https://hooks.slack.example" + slacks.HOOK}
    bot = {"kind": "slack", "bot_token": slacks.TOKEN, "channel": "#ops", "api_url": "https://slack.example/api"}
    by_hook = slack.connect(slack.Settings.model_validate(hook), around)
    by_bot = slack.connect(slack.Settings.model_validate(bot), around)
    await _speak(by_hook, *[lambda: fake.trouble("webhook", 400, "invalid_blocks")] * 2)
    await _speak(by_bot, *[partial(fake.refuse, f"chat.{way}", "invalid_blocks") for way in ("postMessage", "update")])
    return line.requests


async def _telegram() -> list[httpx2.Request]:
    fake = telegrams.FakeTelegram()
    line = Line(fake.transport)
    plain = {"kind": "telegram", "bot_token": telegrams.TOKEN, "chat_id": "-1001234", "api_url": "https://tg.example"}
    words = "Bad Request: can't parse entities: Unclosed start tag"
    for settings in (plain, {**plain, "message_thread_id": "5"}):
        channel = telegram.connect(telegram.Settings.model_validate(settings), Surroundings("oncall", transport=line))
        refusals = [partial(fake.refuse, method, 400, words) for method in ("sendMessage", "editMessageText")]
        await _speak(channel, *refusals)
    return line.requests


async def _notion() -> list[httpx2.Request]:
    fake = notions.FakeNotion({name: schema for name, (schema, _) in COLUMNS.items()})
    line = Line(fake.transport)
    properties = {name: source for name, (_, source) in COLUMNS.items()}
    settings = {"kind": "notion", "token": notions.TOKEN, "database_id": notions.DATABASE, "properties": properties}
    around = Surroundings("audit", now=lambda: NOON, transport=line)

    def lose() -> None:
        fake.lose = 1

    await _speak(notion.connect(notion.Settings.model_validate(settings), around), lose, lose)
    return line.requests


async def _speak(channel: Channel, first: Callable[[], object], later: Callable[[], object]) -> None:
    """Every message, and a change of it. `first` and `later` make the vendor take the next one badly."""
    changed = {"id": "later", "revision": 2}
    for message in messages():
        ref = await _say(channel, message, {})
        await _say(channel, dataclasses.replace(message, **changed), ref)
    first()
    ref = await _say(channel, PLAIN, await _say(channel, PLAIN, {}))
    later()
    await _say(channel, dataclasses.replace(PLAIN, **changed), ref)
    await channel.close()


async def _say(channel: Channel, message: Message, ref: Ref) -> Ref:
    receipt = await channel.send(message, ref)
    assert not isinstance(receipt, Rejected), receipt
    return receipt.ref or {}


def _read(request: httpx2.Request) -> tuple[str, dict[str, Any]]:
    """The type that this request must be of, and all that it says: in its address, then in its body."""
    address = urllib.parse.urlsplit(request.url.raw_path.decode())
    for pattern, kind in TYPES.items():
        if found := re.fullmatch(pattern, f"{request.method} {address.path}"):
            asked = urllib.parse.parse_qs(address.query, strict_parsing=bool(address.query))
            query = {name: values if name in LISTS else values[0] for name, values in asked.items()}
            return kind, {**found.groupdict(), **query, **(json.loads(request.content) if request.content else {})}
    raise AssertionError(f"no type is known for {request.method} {request.url.path}: put one into TYPES")


# --- bodies that are wrong, so that the oracle is seen to see -----------------------------------------


def _set(*path: Any, to: Any) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        for key in path[:-1]:
            value = value[key]
        value[path[-1]] = to

    return change


def _drop(*path: Any) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        for key in path[:-1]:
            value = value[key]
        del value[path[-1]]

    return change


WRONG: dict[str, tuple[str, Callable[[Any], None]]] = {
    "a header in mrkdwn": ("slack.PostMessage", _set("blocks", 0, "text", "type", to="mrkdwn")),
    "a block that Slack has not": ("slack.PostMessage", _set("blocks", 0, "type", to="headline")),
    "a header with fields": ("slack.PostMessage", _set("blocks", 0, "fields", to=[])),
    "a field that is a bare text": ("slack.PostMessage", _set("attachments", 0, "blocks", 0, "fields", 0, to="x")),
    "a key of an attachment misspelt": ("slack.PostMessage", _set("attachments", 0, "colour", to="#fff")),
    "a word that the method does not know": ("slack.PostMessage", _set("unfurl", to=False)),
    "a post to no channel": ("slack.PostMessage", _drop("channel")),
    "an update of no message": ("slack.Update", _drop("ts")),
    "an update with unfurls": ("slack.Update", _set("unfurl_links", to=False)),
    "a webhook that chooses its channel": ("slack.IncomingWebhook", _set("channel", to="#ops")),
    "blocks that are no list": ("slack.IncomingWebhook", _set("blocks", to={"type": "divider"})),
    "a permalink to a ts": ("slack.GetPermalink", _set("ts", to="1.2")),
    "a message to no chat": ("telegram.SendMessage", _drop("chat_id")),
    "a parse mode in small letters": ("telegram.SendMessage", _set("parse_mode", to="html")),
    "the link preview of older days": ("telegram.SendMessage", _set("disable_web_page_preview", to=True)),
    "a link preview that is off": ("telegram.SendMessage", _set("link_preview_options", to={"disabled": True})),
    "a reply to a bare number": ("telegram.SendMessage", _set("reply_parameters", to=7)),
    "an edit that rings": ("telegram.EditMessageText", _set("disable_notification", to=False)),
    "an edit of no message": ("telegram.EditMessageText", _drop("message_id")),
    "a title as bare text": ("notion.CreatePage", _set("properties", "Name", "title", to="shop is down")),
    "a text without its content": ("notion.CreatePage", _set("properties", "Text", "rich_text", to=[{"text": "x"}])),
    "a select by its bare name": ("notion.CreatePage", _set("properties", "Severity", "select", to="critical")),
    "a checkbox in words": ("notion.CreatePage", _set("properties", "Unrouted", "checkbox", to="no")),
    "a date without its start": ("notion.CreatePage", _set("properties", "Opened", "date", to="2026-11-20")),
    "a number as text": ("notion.UpdatePage", _set("properties", "Count", "number", to="1")),
    "a value of no type": ("notion.UpdatePage", _set("properties", "Address", to="https://x.example")),
    "a page with a parent of no kind": ("notion.CreatePage", _set("parent", to={"id": notions.SOURCE})),
    "a change of the parent": ("notion.UpdatePage", _set("parent", to={"data_source_id": notions.SOURCE})),
    "a query that equals a number": ("notion.QueryDataSource", _set("filter", "rich_text", "equals", to=7)),
}


@pytest.fixture(scope="module")
def said() -> list[Said]:
    return asyncio.run(everything_said())


@pytest.fixture(scope="module")
def judged(said: list[Said], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What TypeScript has against what we said, and against what is wrong on purpose, in one run of it."""
    if why := missing():
        pytest.skip(why)
    wrong = []
    for name, (kind, change) in WRONG.items():
        value = copy.deepcopy(next(one.value for one in said if one.type == kind))
        change(value)
        wrong.append(Said(name, kind, value))
    return complaints([*said, *wrong], tmp_path_factory.mktemp("oracles"))


@pytest.mark.parametrize("kind", TYPES.values())
def test_every_request_is_of_the_vendors_own_type(kind: str, said: list[Said], judged: Mapping[str, str]) -> None:
    against = [(judged[one.name], str(one.value)[:500]) for one in said if one.type == kind and one.name in judged]
    assert not against, "\n".join(f"{words}\n  in {value}" for words, value in against[:5])


@pytest.mark.parametrize("name", WRONG)
def test_a_body_that_is_wrong_on_purpose_is_found_wrong(name: str, judged: Mapping[str, str]) -> None:
    assert name in judged


def test_every_call_that_has_a_type_is_made(said: list[Said]) -> None:
    assert {one.type for one in said} == set(TYPES.values())


def test_what_judges_is_pinned_and_comes_from_no_registry_in_particular() -> None:
    wanted = json.loads((HERE / "package.json").read_text())["devDependencies"]
    lock = json.loads((HERE / "package-lock.json").read_text())["packages"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    assert {name: lock[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert not [name for name, package in lock.items() if "resolved" in package]
    assert all("integrity" in package for name, package in lock.items() if name)
