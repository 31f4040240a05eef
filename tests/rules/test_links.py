"""Links: what is signed is read again, and nothing else is."""

from __future__ import annotations

import base64
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadCredential
from gateway.rules.links import Expired, Forged, Link, mark, read, sign

KEY = bytes(range(32))
NOON = 1_795_176_000_000
LINK = Link(
    subject="01990000-0000-7000-8000-000000000001",
    verb="acknowledge",
    channel="ops-mail",
    delivery="01990000-0000-7000-8000-0000000000ff",
    expires=NOON,
)
URL_SAFE = string.ascii_letters + string.digits + "-_"
NAMES = st.uuids().map(str) | st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
LINKS = st.builds(
    Link,
    subject=NAMES,
    verb=st.sampled_from(["acknowledge", "resolve", "silence"]),
    channel=NAMES,
    delivery=NAMES,
    expires=st.integers(1, 2**48 - 1),
)


@given(LINKS)
def test_what_was_signed_is_read_again(link: Link) -> None:
    assert read(sign(link, KEY), KEY, link.expires - 1) == link


def test_a_token_is_short_and_fits_into_an_address() -> None:
    token = sign(LINK, KEY)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", token)
    assert len(token) <= 100


@given(st.data())
def test_every_flipped_character_is_forged(data: st.DataObject) -> None:
    token = sign(data.draw(LINKS), KEY)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from([sign_ for sign_ in URL_SAFE if sign_ != token[at]]))
    with pytest.raises(Forged):
        read(token[:at] + other + token[at + 1 :], KEY, 0)


def test_not_one_bit_of_one_token_may_change() -> None:
    token = sign(LINK, KEY)
    for at, old in enumerate(token):
        for other in URL_SAFE:
            if other != old:
                with pytest.raises(Forged):
                    read(token[:at] + other + token[at + 1 :], KEY, 0)


@given(st.text(max_size=200))
def test_whatever_stands_there_is_forged(token: str) -> None:
    with pytest.raises(Forged):
        read(token, KEY, 0)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "A",
        "AAAA",
        "한글",
        "\udc80",
        sign(LINK, KEY)[:-1],
        sign(LINK, KEY) + "A",
        sign(LINK, KEY) + "=",
        sign(LINK, KEY) + "\n",
        "." + sign(LINK, KEY),
        "A" * 100_000,
    ],
)
def test_what_was_cut_or_grew_is_forged(token: str) -> None:
    with pytest.raises(Forged):
        read(token, KEY, 0)


def test_another_key_forges() -> None:
    with pytest.raises(Forged):
        read(sign(LINK, bytes(32)), KEY, 0)


def test_another_version_is_none_of_ours() -> None:
    raw = base64.urlsafe_b64decode(sign(LINK, KEY) + "==")
    with pytest.raises(Forged):
        read(base64.urlsafe_b64encode(b"\x02" + raw[1:]).decode().rstrip("="), KEY, 0)


def test_it_is_good_up_to_its_instant() -> None:
    token = sign(LINK, KEY)
    assert read(token, KEY, NOON - 1) == LINK
    for late in (NOON, NOON + 86_400_000):
        with pytest.raises(Expired, match="expired"):
            read(token, KEY, late)


def test_an_old_link_that_is_forged_is_called_forged() -> None:
    with pytest.raises(Forged):
        read(sign(LINK, bytes(32)), KEY, NOON + 1)
    assert issubclass(Forged, BadCredential)


def test_a_name_beyond_all_measure_is_a_fault_of_ours() -> None:
    with pytest.raises(ValueError, match="256"):
        sign(Link("x" * 255, "resolve", "c", "d", NOON), KEY)


def test_the_mark_of_a_token_is_not_the_token() -> None:
    token = sign(LINK, KEY)
    assert mark(token) != mark(sign(LINK, bytes(32)))
    assert mark(token).startswith("link:")
    assert token not in mark(token)
