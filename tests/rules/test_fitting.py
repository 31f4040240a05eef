"""Foreign text made to fit, whatever it is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.fitting import brief, cut, one_line, spoken, web_address

GSM = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà^{}\\[~]|€"
)
SIGNS = {"%": " percent ", "&": " and "}
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)


def units(text: str) -> tuple[int, int]:
    """The length of an SMS in the units of the alphabet it needs, and how many fit into one."""
    if set(text) <= GSM:
        return sum(2 if sign in "^{}\\[~]|€" else 1 for sign in text), 160
    return len(text.encode("utf-16-le")) // 2, 70


class TestCut:
    def test_what_fits_stays(self) -> None:
        assert cut("Disk full", 9) == "Disk full"

    def test_a_text_ends_at_a_word_where_one_ends_nearby(self) -> None:
        assert cut("the disk of the database is full", 20) == "the disk of the…"
        assert cut("first line\nsecond line", 12) == "first line…"

    def test_a_whole_word_at_the_edge_is_kept(self) -> None:
        assert cut("disk full now", 10) == "disk full…"

    def test_a_word_without_end_is_cut_where_it_must_be(self) -> None:
        assert cut("x" * 50, 10) == "x" * 9 + "…"

    def test_no_url_is_cut_in_two(self) -> None:
        assert cut("see https://example.com/a/very/long/path now", 20) == "see…"
        assert cut("https://example.com/a/very/long/path", 20) == "…"

    def test_no_accent_or_joiner_is_left_hanging(self) -> None:
        assert cut("xxxxe\u0301xxx", 6) == "xxxxe…"[:4] + "e…"
        assert cut("xxx\U0001f468\u200d\U0001f469xx", 6) == "xxx\U0001f468…"

    @given(ANY, st.integers(1, 100))
    def test_nothing_is_ever_longer_than_asked(self, text: str, most: int) -> None:
        assert len(cut(text, most)) <= most


class TestOneLine:
    def test_newlines_tabs_controls_and_bidi_marks_are_gone(self) -> None:
        assert one_line(" a\r\nb\tc\x1b[0m \u202ed  ") == "a b c[0m d"

    @given(ANY)
    def test_it_is_one_line(self, text: str) -> None:
        assert len(one_line(text).splitlines()) <= 1

    def test_a_megabyte_costs_nothing(self) -> None:
        assert len(one_line("x" * 1_000_000)) == 2_000


class TestWebAddress:
    @pytest.mark.parametrize(
        "url", ["https://example.com/a?b=c#d", "HTTP://example.com", "http://[::1]:80/", "https://é.example"]
    )
    def test_http_is_kept(self, url: str) -> None:
        assert web_address(url) == url

    @pytest.mark.parametrize(
        "url",
        ["", "javascript:alert(1)", "ftp://x", "https://", "https:///x", "http://a b", "//x", "x https://a", "data:,x"],
    )
    def test_anything_else_is_not(self, url: str) -> None:
        assert web_address(url) == ""

    def test_what_breaks_out_of_markup_is_encoded(self) -> None:
        assert web_address('https://x/"><b>|`') == "https://x/%22%3E%3Cb%3E%7C%60"

    def test_too_long_is_no_address(self) -> None:
        assert len(web_address("https://x/" + "a" * 2_038)) == 2_048
        assert web_address("https://x/" + "a" * 2_039) == ""
        assert web_address("https://x/" + "<" * 2_000) == ""


class TestBrief:
    def test_all_of_it_where_it_fits(self) -> None:
        assert brief("CRITICAL Disk full", "db-1", "#12", "https://x.example/1") == (
            "CRITICAL Disk full, db-1 #12 https://x.example/1"
        )

    def test_typography_accents_and_emoji_do_not_cost_ninety_characters(self) -> None:
        text = brief("ERROR “Zoë’s” café – 90 °C … • ≥ 5 \U0001f525 ＯＫ Łódź", "", "", "")
        assert text == 'ERROR "Zoe\'s" café - 90 degC ... * >= 5 OK Lodz'

    def test_letters_of_gsm_7_stay_as_they_are(self) -> None:
        assert brief("Prüfung à Åre ñ Δ €", "", "", "") == "Prüfung à Åre ñ Δ €"

    def test_the_url_goes_first_and_goes_whole(self) -> None:
        text = brief("CRITICAL " + "word " * 20, "db-1", "#12", "https://example.com/" + "a" * 60)
        assert "http" not in text
        assert text.endswith(", db-1 #12")

    def test_then_the_title_is_cut(self) -> None:
        text = brief("CRITICAL " + "word " * 60, "db-1", "#12", "")
        assert 145 <= len(text) <= 160
        assert re.fullmatch(r"CRITICAL (word )*word\.\.\., db-1 #12", text)

    def test_a_long_place_gives_way_to_the_title(self) -> None:
        text = brief(
            "심각 데이터베이스 서버의 디스크 사용량이 임계치를 초과하여 조치가 필요합니다",
            "정산-서비스-데이터베이스-기본-인스턴스-일번/운영-환경-서울-리전-가용영역",
            "#12",
            "",
        )
        assert len(text) <= 70
        assert text.startswith("심각 데이터베이스 서버의 디스크 사용량이 임계치를")
        assert text.endswith("#12")
        assert "정산" not in text

    def test_another_script_has_seventy(self) -> None:
        text = brief("심각 " + "디스크 " * 60, "db-1", "#12", "https://x.example/1")
        assert 60 <= len(text) <= 70
        assert text.endswith("…, db-1 #12")

    def test_where_even_the_number_is_long_the_title_stands_alone(self) -> None:
        assert brief("심각 " + "디" * 100, "", "#" + "9" * 60, "").endswith("…")

    def test_emoji_alone_are_sent_as_they_are(self) -> None:
        assert brief("\U0001f525", "", "", "") == "\U0001f525"

    @given(
        ANY, ANY, st.integers(0, 10**6), st.sampled_from(["", "https://x.example/" + "a" * 20, "https://x/" + "é" * 90])
    )
    def test_it_always_fits_one_sms(self, title: str, where: str, number: int, url: str) -> None:
        text = brief(cut(one_line(title) or "?", 150), one_line(where), f"#{number}", url)
        count, most = units(text)
        assert count <= most
        assert url in text or "x.example" not in text


class TestSpoken:
    def test_signs_become_words_and_symbols_silence(self) -> None:
        assert spoken("Disk <94%> & full_up: *now*!", SIGNS, " dot ") == "Disk 94 percent and full up now"

    def test_urls_are_not_read_aloud(self) -> None:
        assert spoken("down https://x.example/a?b=c again", SIGNS, " dot ") == "down again"

    def test_an_apostrophe_is_dropped(self) -> None:
        assert spoken("the channel's and Zoë’s 'own'", SIGNS, " dot ") == "the channels and Zoës own"

    def test_a_dot_in_a_name_is_said_and_in_a_number_kept(self) -> None:
        assert spoken("api.example.com took 2.5 s.", SIGNS, " dot ") == "api dot example dot com took 2.5 s."

    @given(ANY)
    def test_nothing_is_left_but_letters_digits_and_pauses(self, text: str) -> None:
        assert re.fullmatch(r"(?:[^\W_]|[., ])*", spoken(one_line(text), SIGNS, " dot "))
