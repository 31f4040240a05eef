"""A lane never speaks faster than it may, in any window, and no clock can stall it."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from gateway.fields import Rate
from gateway.rules.pace import Pacer

SECOND = Rate(1, 1_000)
MINUTE = Rate(20, 60_000)


def most_in_any_window(starts: Sequence[int], window: int) -> int:
    return max((sum(start <= other < start + window for other in starts) for start in starts), default=0)


def test_without_a_pace_nothing_waits() -> None:
    pacer = Pacer(())
    pacer.spent(0)
    assert pacer.wait(0) == 0


def test_the_first_start_waits_for_nobody() -> None:
    assert Pacer((SECOND, MINUTE)).wait(12_345) == 0


def test_the_second_start_waits_for_the_rest_of_the_window() -> None:
    pacer = Pacer((SECOND,))
    pacer.spent(10_000)
    assert pacer.wait(10_000) == 1_000
    assert pacer.wait(10_400) == 600
    assert pacer.wait(11_000) == 0


def test_a_burst_is_allowed_up_to_the_count() -> None:
    pacer = Pacer((Rate(3, 1_000),))
    for at in (0, 100, 200):
        assert pacer.wait(at) == 0
        pacer.spent(at)
    assert pacer.wait(300) == 700


def test_all_paces_hold_at_once() -> None:
    pacer = Pacer((SECOND, MINUTE))
    now = 0
    for _ in range(20):
        assert pacer.wait(now) == 0
        pacer.spent(now)
        now += 1_000
    assert pacer.wait(now) == 40_000


@given(
    st.lists(st.builds(Rate, st.integers(1, 4), st.sampled_from([100, 1_000, 5_000])), min_size=1, max_size=3),
    st.lists(st.integers(0, 1_500), max_size=60),
)
def test_whoever_obeys_the_wait_never_exceeds_any_rate_in_any_window(rates: list[Rate], pauses: list[int]) -> None:
    pacer = Pacer(tuple(rates))
    now, starts = 1_000_000, []
    for pause in pauses:
        now += pause
        now += pacer.wait(now)
        assert pacer.wait(now) == 0
        pacer.spent(now)
        starts.append(now)
    for rate in rates:
        assert most_in_any_window(starts, rate.window) <= rate.count


@given(st.lists(st.tuples(st.integers(-200_000, 200_000), st.booleans()), max_size=60))
def test_no_jump_of_the_clock_stalls_a_lane_for_longer_than_its_longest_window(steps: list[tuple[int, bool]]) -> None:
    pacer = Pacer((SECOND, Rate(3, 60_000)))
    now = 10_000_000
    for step, obeys in steps:
        now += step
        wait = pacer.wait(now)
        assert 0 <= wait <= 60_000
        now += wait if obeys else 0
        pacer.spent(now)


def test_after_a_far_jump_back_the_lane_speaks_at_once() -> None:
    pacer = Pacer((SECOND,))
    pacer.spent(3_600_000)
    assert pacer.wait(0) == 0


def test_after_a_near_jump_back_the_pace_still_holds() -> None:
    pacer = Pacer((SECOND,))
    pacer.spent(10_000)
    assert pacer.wait(9_400) == 1_000
    assert pacer.wait(10_400) == 0
    pacer.spent(10_400)
    assert pacer.wait(10_400) == 1_000


def test_a_start_told_after_a_jump_back_is_counted_in_its_place() -> None:
    pacer = Pacer((Rate(2, 1_000),))
    pacer.spent(10_000)
    pacer.spent(9_900)
    assert pacer.wait(9_900) == 1_000
    assert pacer.wait(10_900) == 0


def test_what_others_have_sent_is_taken_into_account() -> None:
    """Gateways on one database hand each other the starts of a channel."""
    paces = (Rate(2, 1_000), Rate(3, 60_000))
    one, other = Pacer(paces), Pacer(paces)
    one.spent(5_000)
    one.spent(5_100)
    assert one.starts() == [5_000, 5_100]
    other.spent(1)
    other.recall(one.starts())
    assert (other.wait(5_500), other.wait(6_000)) == (500, 0)
    other.spent(6_000)
    assert other.starts() == [5_000, 5_100, 6_000]
    assert other.wait(7_100) == 57_900
    assert Pacer(()).starts() == []
