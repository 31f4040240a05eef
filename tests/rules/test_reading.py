"""Bytes from a stranger become JSON that cannot hurt, or a refusal with a sentence."""

from __future__ import annotations

import json
import math
import urllib.parse
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import NotJson, WrongType
from gateway.model import Alert
from gateway.rules import reading
from gateway.rules.reading import bounded, clean, decode, normalise

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class TestDecode:
    @pytest.mark.parametrize(
        "content_type",
        ["", "application/json", "Application/JSON; charset=utf-8", "text/plain", "application/vnd.github+json"],
    )
    def test_json_is_read_from_every_type_that_senders_use(self, content_type: str) -> None:
        assert decode(content_type, b'{"a": 1}') == {"a": 1}

    @pytest.mark.parametrize("content_type", ["text/html", "application/xml", "multipart/form-data; boundary=x"])
    def test_another_type_is_refused_by_name(self, content_type: str) -> None:
        with pytest.raises(WrongType, match=content_type.partition(";")[0]):
            decode(content_type, b"{}")

    @pytest.mark.parametrize("body", [b'{"a": 1}', b'  ["a", 1]'])
    def test_a_form_whose_whole_body_is_json_is_json(self, body: bytes) -> None:
        assert decode("application/x-www-form-urlencoded", body) == json.loads(body)

    def test_a_form_with_a_payload_is_its_payload(self) -> None:
        form = urllib.parse.urlencode({"payload": json.dumps({"a": "가"}), "other": "x"}).encode()
        assert decode("application/x-www-form-urlencoded", form) == {"a": "가"}

    def test_another_form_is_refused(self) -> None:
        with pytest.raises(WrongType, match="payload"):
            decode("application/x-www-form-urlencoded", b"a=1")

    @pytest.mark.parametrize("form", ["payload=가".encode(), b"&".join(b"a%d=1" % n for n in range(101))])
    def test_a_form_that_is_none_is_refused(self, form: bytes) -> None:
        with pytest.raises(NotJson, match="form"):
            decode("application/x-www-form-urlencoded", form)

    def test_a_byte_order_mark_is_passed_over(self) -> None:
        assert decode("", b"\xef\xbb\xbf[1]") == [1]

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"nothing", b'{"a": NaN}', b"[Infinity]", b'"\xff"', b"[1]x", b"\xff\xfe[\x001\x00]\x00"]
    )
    def test_what_is_no_json_is_refused(self, body: bytes) -> None:
        with pytest.raises(NotJson, match="no JSON"):
            decode("application/json", body)

    def test_what_is_too_deep_is_refused(self) -> None:
        with pytest.raises(NotJson):
            decode("", b"[" * 100_000 + b"]" * 100_000)

    def test_half_a_surrogate_pair_is_read_as_javascript_sends_it(self) -> None:
        assert normalise(decode("", rb'{"a": "cut \ud83d", "b": 1}')) == {"a": "cut ", "b": 1}

    @pytest.mark.parametrize(
        "body", [rb'["\ud83d", NaN]', rb'["\ud83d"', b'["\\ud83d\xff"]', rb'["\ud83d",' + b"[" * 100_000]
    )
    def test_what_has_half_a_pair_and_is_no_json_is_refused(self, body: bytes) -> None:
        with pytest.raises(NotJson, match="no JSON"):
            decode("", body)

    @given(JSON)
    def test_whatever_is_json_is_read_or_refused(self, document: Any) -> None:
        try:
            decode("", json.dumps(document).encode())
        except NotJson:
            assert "NaN" in json.dumps(document) or "Infinity" in json.dumps(document)


class TestNormalise:
    @given(JSON)
    def test_the_result_can_be_stored_and_shown_by_anything(self, document: Any) -> None:
        json.dumps(normalise(document), allow_nan=False, ensure_ascii=False).encode()

    @given(JSON)
    def test_twice_is_once(self, document: Any) -> None:
        once = normalise(document)
        assert normalise(once) == once

    def test_text_loses_what_terminals_and_sql_choke_on(self) -> None:
        assert normalise({"a\x00": "\x1b[2Jx\u202ey\ud800\u2028\r\nz\t"}) == {"a": "[2Jxy\nz\t"}

    def test_numbers_become_what_any_store_takes(self) -> None:
        assert normalise([math.nan, math.inf, -math.inf, 1.5]) == [None, None, None, 1.5]
        assert normalise([2**63 - 1, -(2**63), 2**63, -(2**63) - 1]) == [
            2**63 - 1,
            -(2**63),
            str(2**63),
            str(-(2**63) - 1),
        ]
        assert normalise([True, False, None]) == [True, False, None]

    @pytest.mark.parametrize("kind", ["list", "dict"])
    def test_what_is_too_deep_is_cut(self, kind: str) -> None:
        document: Any = "bottom"
        for _ in range(40):
            document = [document] if kind == "list" else {"a": document}
        shallow = json.dumps(normalise(document), ensure_ascii=False)
        assert "bottom" not in shallow
        assert shallow.count("[" if kind == "list" else "{") == reading.DEEPEST
        assert "…" in shallow

    def test_what_is_too_wide_is_cut(self) -> None:
        assert len(normalise(list(range(2_000)))) == reading.MOST_ITEMS
        assert len(normalise({str(n): n for n in range(2_000)})) == reading.MOST_KEYS

    @pytest.mark.parametrize("kind", ["list", "dict"])
    def test_what_is_too_much_in_all_is_cut_though_no_level_is_too_wide(self, kind: str) -> None:
        def many(inner: Any, count: int) -> Any:
            return [inner] * count if kind == "list" else {str(n): inner for n in range(count)}

        def values(document: Any) -> int:
            inner = document.values() if isinstance(document, dict) else document
            return len(inner) + sum(values(one) for one in inner if isinstance(one, dict | list))

        harmless = normalise(many(many(many(many([], 10), 100), 100), 100))
        assert values(harmless) == reading.MOST_NODES
        assert "…" in json.dumps(harmless, ensure_ascii=False)
        assert normalise(harmless) == harmless

    def test_a_thousand_alerts_stay_whole(self) -> None:
        alerts = [{"title": "x", "labels": {str(n): "y" for n in range(90)}, "fields": []}] * 1_000
        assert normalise(alerts) == alerts


class TestClean:
    def test_plain_text_is_the_same_object(self) -> None:
        text = "plain — 한국어"
        assert clean(text) is text

    def test_lines_and_tabs_stay(self) -> None:
        assert clean("a\r\nb\tc\rd") == "a\nb\tcd"


class TestBounded:
    def test_what_is_within_bounds_stays(self) -> None:
        alert = Alert("f", "t", kind="k", service="s", environment="e", body="b", url="http://x", labels={"a": "1"})
        assert bounded(alert) == alert

    def test_every_field_has_its_bound(self) -> None:
        long = "x" * 100_000
        many = {f"{number}{long}": long for number in range(150)}
        alert = bounded(
            Alert(long, long, kind=long, service=long, environment=long, body=long, labels=many, fields=many)
        )
        assert (len(alert.title), len(alert.kind), len(alert.service), len(alert.environment)) == (300, 128, 300, 128)
        assert (len(alert.body), len(alert.labels), len(alert.fields)) == (64 * 1024, 64, 100)
        assert {len(name) for name in alert.labels} == {128}
        assert {len(value) for value in alert.fields.values()} == {1024}

    @pytest.mark.parametrize("labels", [{"x" * 129: "1"}, {"a": "x" * 1_025}, {str(n): "1" for n in range(65)}])
    def test_what_is_too_long_in_one_place_is_cut_there(self, labels: dict[str, str]) -> None:
        alert = Alert("f", "t", body="b", labels=labels, value=1.0, momentary=True)
        cut = {name[:128]: value[:1_024] for name, value in list(labels.items())[:64]}
        assert bounded(alert) == replace(alert, labels=cut)

    def test_a_long_fingerprint_stays_its_own(self) -> None:
        long = "x" * 600
        one, other = bounded(Alert(long + "1", "t")), bounded(Alert(long + "2", "t"))
        assert len(one.fingerprint) == len(other.fingerprint) == 512
        assert one.fingerprint != other.fingerprint

    @pytest.mark.parametrize("title", ["", " \n ", "\x00"])
    def test_there_is_always_a_title(self, title: str) -> None:
        assert bounded(Alert("f", title)).title == "(no title)"

    def test_a_title_is_one_line(self) -> None:
        assert bounded(Alert("f", " two\n lines ")).title == "two lines"

    @pytest.mark.parametrize("url", ["javascript:alert(1)", "ftp://x", "//x", "https://" + "x" * 2_048])
    def test_only_an_address_of_the_web_is_one(self, url: str) -> None:
        assert bounded(Alert("f", "t", url=url)).url == ""
