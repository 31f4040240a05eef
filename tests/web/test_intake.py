"""Bodies within their bounds, and how often: enforced while reading."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive

from gateway.errors import WrongType
from gateway.fields import Rate
from gateway.web import intake
from gateway.web.problems import Refused


def sender(pieces: Sequence[bytes], *, hangs_up: bool = False) -> tuple[Receive, list[bytes]]:
    """A sender of these pieces, and the list of those that were taken from him."""
    taken: list[bytes] = []

    async def receive() -> Message:
        if hangs_up and len(taken) == len(pieces):
            return {"type": "http.disconnect"}
        piece = pieces[len(taken)]
        taken.append(piece)
        return {"type": "http.request", "body": piece, "more_body": hangs_up or len(taken) < len(pieces)}

    return receive, taken


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8), st.integers(0, 120))
async def test_a_body_arrives_whole_or_is_refused_by_its_size(pieces: list[bytes], most: int) -> None:
    receive, _ = sender(pieces)
    whole = b"".join(pieces)
    if len(whole) <= most:
        assert await intake.read_body(receive, "", most) == whole
    else:
        with pytest.raises(Refused) as refused:
            await intake.read_body(receive, "", most)
        assert refused.value.status == 413


async def test_what_is_announced_too_large_is_not_read_at_all() -> None:
    receive, taken = sender([b"x" * 11])
    with pytest.raises(Refused):
        await intake.read_body(receive, "11", 10)
    assert taken == []


async def test_reading_stops_at_the_piece_that_is_too_much() -> None:
    receive, taken = sender([b"x" * 6] * 5)
    with pytest.raises(Refused):
        await intake.read_body(receive, "", 10)
    assert len(taken) == 2


@pytest.mark.parametrize("declared", ["", "2", "-1", "²", "1e3", "0x10", "+2", "2, 2", "٣"])
async def test_an_odd_length_says_nothing(declared: str) -> None:
    receive, _ = sender([b"{}"])
    assert await intake.read_body(receive, declared, 10) == b"{}"


@pytest.mark.parametrize("declared", ["11", "9" * 18, "9" * 19, "9" * 6_000])
async def test_an_enormous_length_is_too_large(declared: str) -> None:
    receive, _ = sender([b"{}"])
    with pytest.raises(Refused) as refused:
        await intake.read_body(receive, declared, 10)
    assert refused.value.reason == "too_large"


@pytest.mark.parametrize("pieces", [[], [b"a"], [b"a", b"b"]])
async def test_a_sender_who_hangs_up_is_refused(pieces: list[bytes]) -> None:
    receive, _ = sender(pieces, hangs_up=True)
    with pytest.raises(Refused) as refused:
        await intake.read_body(receive, "", 10)
    assert refused.value.reason == "hung_up"


@given(st.binary(max_size=2_000))
def test_what_was_packed_comes_out_as_it_was(body: bytes) -> None:
    assert intake.inflate(gzip.compress(body), "gzip", 2_000, allowed=True) == body


def test_unpacking_is_bounded_by_the_cap_and_by_twenty_times_the_size() -> None:
    packed = gzip.compress(b"0" * 3_000_000)
    started = time.perf_counter()
    with pytest.raises(Refused) as refused:
        intake.inflate(packed, "gzip", 1_000_000, allowed=True)
    assert refused.value.status == 413
    assert time.perf_counter() - started < 0.1
    assert len(packed) * intake.LARGEST_RATIO < 1_000_000
    small = b"0" * 60_000  # little bodies may be as monotonous as they like
    assert intake.inflate(gzip.compress(small), "gzip", 1_000_000, allowed=True) == small
    with pytest.raises(Refused):
        intake.inflate(gzip.compress(small), "gzip", 59_999, allowed=True)
    assert intake.inflate(gzip.compress(small), "gzip", 60_000, allowed=True) == small


@given(st.binary(max_size=200))
def test_no_bytes_are_a_fault_of_ours(body: bytes) -> None:
    with suppress(Refused):
        intake.inflate(body, "gzip", 1_000, allowed=True)


def test_only_gzip_is_unpacked_and_only_where_it_is_allowed() -> None:
    assert intake.inflate(b"as it is", "", 10, allowed=False) == b"as it is"
    assert intake.inflate(b"as it is", " Identity ", 10, allowed=False) == b"as it is"
    for encoding, allowed in (("gzip", False), ("deflate", True), ("br", True), ("gzip, identity", True)):
        with pytest.raises(WrongType):
            intake.inflate(zlib.compress(b"x"), encoding, 10, allowed=allowed)


def test_a_limit_gives_its_count_at_once_and_then_by_the_clock() -> None:
    limit = intake.Limit(Rate(5, 100))
    assert [limit.take() for _ in range(5)] == [0.0] * 5
    wait = limit.take()
    assert 0 < wait <= 0.02
    time.sleep(wait + 0.005)
    assert limit.take() == 0.0
    time.sleep(0.3)
    assert sum(limit.take() == 0.0 for _ in range(20)) == 5


def test_strangers_are_counted_one_by_one_and_the_oldest_is_forgotten() -> None:
    strangers = intake.Strangers()
    for _ in range(intake.FAILURES_A_MINUTE):
        assert strangers.failed("a") == 0.0
    assert strangers.failed("a") > 0
    assert strangers.failed("b") == 0.0
    for number in range(intake.MOST_ADDRESSES):
        strangers.failed(f"n{number}")
    assert strangers.failed("a") == 0.0


async def test_bodies_under_way_share_a_bound_and_give_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake._UnderWay, "most", 10)
    receive, _ = sender([b"12345", b"67890", b"1"], hangs_up=True)
    with pytest.raises(Refused) as refused:
        await intake.read_body(receive, "", 100)
    assert (refused.value.status, refused.value.headers) == (503, {"retry-after": "5"})
    assert intake._UnderWay.held == 0
    receive, _ = sender([b"12345", b"67890"])
    assert await intake.read_body(receive, "", 100) == b"1234567890"
    assert intake._UnderWay.held == 0
