"""Links in mail: looking changes nothing, following works once, and whoever comes too late reads why."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.errors import Conflict, NotFound, StoreUnavailable
from gateway.model import Digest, Severity
from gateway.rules.links import Link, LinkVerb, mark, sign
from gateway.web.app import Face
from gateway.web.intake import FAILURES_A_MINUTE
from tests.channels.suite import HOSTILE, NOON, an_incident
from tests.house import client_of
from tests.web.answered import KEY, Answered, answered

ROUTING = """
channels:
  ops-mail: {kind: email, host: localhost, from: a@example.com, to: [b@example.com]}
  seoul-mail: {kind: email, host: localhost, from: a@example.com, to: [c@example.com], language: ko}
routes:
  - {name: all, match: {}, to: [ops-mail]}
"""
INCIDENT = an_incident()
VERBS: list[LinkVerb] = ["acknowledge", "resolve", "silence"]


@pytest.fixture
def house(tmp_path: Path) -> Answered:
    house = answered(tmp_path, ROUTING, {})
    house.store.incidents[INCIDENT.id] = INCIDENT
    return house


def link(verb: LinkVerb = "acknowledge", channel: str = "ops-mail", **changes: Any) -> Link:
    return replace(Link(INCIDENT.id, verb, channel, "d1", NOON + 3_600_000), **changes)


def path(of: Link | None = None, key: bytes = KEY) -> str:
    return f"/links/{sign(of or link(), key)}"


class _Reader(html.parser.HTMLParser):
    """What a browser would make of a page: its tags with their attributes, its words, the style."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.style = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "style" and not self.style:
            self.style = data
        elif data.strip():
            self.words.append(data.strip())


def is_page(answer: httpx2.Response, status: int = 200) -> str:
    """The words of the page, which must be whole in itself and shut to the world."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert "noindex" in answer.headers["x-robots-tag"]
    assert "set-cookie" not in answer.headers
    page = _Reader()
    page.feed(answer.text)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["form-action"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policy["style-src"] == f"'sha256-{digest}'"
    known = {"html", "head", "meta", "title", "style", "body", "main", "h1", "p", "dl", "dt", "dd", "form", "button"}
    assert {tag for tag, _ in page.tags} <= known
    assert not [name for _, held in page.tags for name in held if name.startswith("on") or name in ("src", "href")]
    assert not re.search(r"url\(|@import|javascript:", answer.text)
    return "\n".join(page.words)


def has_button(answer: httpx2.Response) -> bool:
    return '<form method="post"><button type="submit">' in answer.text


# --- looking ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "button"), [("acknowledge", "Acknowledge"), ("resolve", "Resolve"), ("silence", "Silence for 1 hour")]
)
async def test_looking_shows_what_the_button_would_do_and_changes_nothing(
    house: Answered, verb: LinkVerb, button: str
) -> None:
    for _ in range(3):  # a scanner, a preview, a person
        answer = await house.client.get(path(link(verb)))
        words = is_page(answer)
        assert has_button(answer)
    assert f">{button}</button>" in answer.text
    assert "shop is down" in words
    assert "#42 · critical" in words
    assert "shop · production" in words
    assert "hetrixtools" in words
    assert "Nothing has changed yet." in words
    assert house.pipeline.followed == []


async def test_asking_for_the_head_alone_is_looking(house: Answered) -> None:
    answer = await house.client.head(path())
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert house.pipeline.followed == []


async def test_nothing_that_a_stranger_wrote_is_markup(house: Answered) -> None:
    hostile = replace(INCIDENT, title=HOSTILE, service=HOSTILE, environment="</dl>", source="<script>x</script>")
    house.store.incidents[INCIDENT.id] = replace(hostile, acknowledged_by="<b>")
    answer = await house.client.get(path())
    assert "<b>bold</b>" in is_page(answer)
    assert "&lt;script&gt;x&lt;/script&gt;" in answer.text
    house.pipeline.answer = HOSTILE
    assert "<b>bold</b>" in is_page(await house.client.post(path()))


async def test_a_title_with_half_a_character_is_still_shown(house: Answered) -> None:
    house.store.incidents[INCIDENT.id] = replace(INCIDENT, title="disk \ud83d full " + "x" * 2_000, number=0)
    assert is_page(await house.client.get(path())).split("\n")[1] == "critical"


async def test_the_page_speaks_the_language_of_the_channel(house: Answered) -> None:
    answer = await house.client.get(path(link(channel="seoul-mail")))
    assert '<html lang="ko">' in answer.text
    assert ">확인</button>" in answer.text
    assert "아직 아무것도 바뀌지 않았습니다." in is_page(answer)
    late = link(channel="seoul-mail", expires=NOON)
    assert '<html lang="en">' in (await house.client.get(path(late))).text  # what is expired names no channel to us
    assert '<html lang="en">' in (await house.client.get(path(link(channel="gone")))).text


async def test_a_group_is_shown_with_how_many_are_open(house: Answered) -> None:
    digest = Digest("g1", "group", "group x", "checkout", "x", NOON, NOON, worst=Severity.ERROR, members=12, open=7)
    house.store.digests["g1"] = digest
    answer = await house.client.get(path(link(subject="g1")))
    words = is_page(answer)
    assert "7 open of 12" in words
    assert "checkout" in words
    assert has_button(answer)


@pytest.mark.parametrize(
    ("changes", "verb", "said", "button"),
    [
        ({"state": "resolved", "resolved_at": NOON}, "acknowledge", "It is resolved already.", False),
        ({"state": "resolved", "resolved_at": NOON}, "resolve", "It is resolved already.", False),
        ({"state": "acknowledged"}, "acknowledge", "Acknowledged already, by kim at 2026-11-20 12:00 UTC.", False),
        ({"state": "acknowledged"}, "resolve", "The button works once.", True),
        ({"state": "acknowledged"}, "silence", "The button works once.", True),
    ],
)
async def test_what_was_done_already_is_said_and_has_no_button(
    house: Answered, changes: dict[str, Any], verb: LinkVerb, said: str, button: bool
) -> None:
    known = replace(INCIDENT, **{"acknowledged_by": "kim", "acknowledged_at": NOON, **changes})
    house.store.incidents[INCIDENT.id] = known
    answer = await house.client.get(path(link(verb)))
    assert said in is_page(answer)
    assert has_button(answer) is button


# --- following ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
async def test_following_acts_and_shows_what_came_of_it(house: Answered, verb: LinkVerb) -> None:
    address = path(link(verb))
    answer = await house.client.post(address)
    assert is_page(answer).startswith("Tocsin\nAcknowledged #42 shop is down")
    assert not has_button(answer)
    assert house.pipeline.followed == [(link(verb), mark(address.removeprefix("/links/")))]


async def test_somebody_who_was_first_is_an_answer_and_no_error(house: Answered) -> None:
    house.pipeline.trouble = Conflict("lee was first, at 10:02 UTC")
    assert "lee was first, at 10:02 UTC" in is_page(await house.client.post(path()))


@pytest.mark.parametrize(("channel", "words"), [("ops-mail", "used up"), ("seoul-mail", "이미 쓴 링크입니다")])
async def test_a_link_works_once(house: Answered, channel: str, words: str) -> None:
    address = path(link(channel=channel))
    house.pipeline.trouble = Conflict("used")
    assert words in is_page(await house.client.post(address), 410)
    house.used.add(mark(address.removeprefix("/links/")))
    assert words in is_page(await house.client.get(address), 410)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_link_that_is_too_old_is_gone(house: Answered, method: str) -> None:
    answer = await house.client.request(method, path(link(expires=NOON)))
    assert "It has expired" in is_page(answer, 410)
    assert house.pipeline.followed == []


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "token",
    ["guessed", "a" * 500, sign(link(), bytes(32)), sign(link(), KEY)[:-1], sign(link(), KEY) + "A", "%EC%95%88"],
)
async def test_a_forged_link_is_refused_and_does_nothing(house: Answered, method: str, token: str) -> None:
    answer = await house.client.request(method, f"/links/{token}")
    assert "This link is not valid" in is_page(answer, 401)
    assert token not in answer.text
    assert house.pipeline.followed == []


async def test_whoever_guesses_links_must_wait(house: Answered) -> None:
    for _ in range(2 * FAILURES_A_MINUTE):
        answer = await house.client.get("/links/guess")
        if answer.status_code != 401:
            break
    assert "Too many tries" in is_page(answer, 429)
    assert int(answer.headers["retry-after"]) >= 1
    assert is_page(await house.client.get(path()))


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_is_not_kept_any_more_is_not_there(house: Answered, method: str) -> None:
    house.pipeline.trouble = NotFound("There is no such incident.")
    answer = await house.client.request(method, path(link(subject="gone")))
    assert "not kept any more" in is_page(answer, 404)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_while_nothing_can_be_written_a_page_says_so(house: Answered, method: str) -> None:
    house.pipeline.trouble = house.store.trouble = StoreUnavailable("The disk is full.", 9)
    answer = await house.client.request(method, path())
    assert "nothing has changed" in is_page(answer, 503)
    assert answer.headers["retry-after"] == "9"


async def test_before_there_is_a_key_no_link_is_good(house: Answered) -> None:
    house.house.link_key = b""
    client = client_of(Face(house.house), "203.0.113.7")
    assert is_page(await client.post(path(key=b"")), 404)
    assert house.pipeline.followed == []


async def test_no_other_method_is_taken(house: Answered) -> None:
    for method in ("PUT", "DELETE", "PATCH"):
        assert (await house.client.request(method, path())).status_code == 405
