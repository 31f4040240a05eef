"""What one receipt makes of a promise and of its lane."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.model import Delivery, Receipt, Rejected, Retry, Sent, Unknown
from gateway.rules.retry import (
    HOUR,
    LONGEST,
    Lane,
    RetryPolicy,
    Settlement,
    after,
    backoff,
    recovered,
    resting,
    settle,
)

NOW = 1_763_632_800_000
DELIVERY = Delivery(id="d1", incident="i1", channel="ops", wanted=3, promised_at=NOW, ref={"ts": "1"}, said=1)
POLICY = RetryPolicy()
JITTERS = st.floats(0, 1, exclude_max=True)


def settled(
    receipt: Receipt, delivery: Delivery = DELIVERY, policy: RetryPolicy = POLICY, now: int = NOW
) -> Settlement:
    return settle(delivery, receipt, 3, NOW, policy, 0.5)


class TestSent:
    def test_it_is_said_and_all_counts_but_the_attempts_begin_anew(self) -> None:
        before = replace(DELIVERY, attempts=4, tries=4, unknowns=2, reason="HTTP 503")
        assert settled(Sent({"ts": "2"}), before) == Settlement("said", 0, 5, 0, 0, "", {"ts": "2"}, 3)

    def test_what_the_vendor_told_replaces_what_we_knew(self) -> None:
        assert settled(Sent()).ref == {}


class TestRetry:
    def test_it_waits_and_is_not_said(self) -> None:
        assert settled(Retry("HTTP 503")) == Settlement("waiting", NOW + 2_000, 1, 1, 0, "HTTP 503", {"ts": "1"}, 1)

    def test_a_partial_success_is_remembered(self) -> None:
        assert settled(Retry("HTTP 503", ref={"done": ["a"]})).ref == {"done": ["a"]}

    def test_each_try_waits_twice_as_long(self) -> None:
        waits = [settled(Retry("x"), replace(DELIVERY, tries=tries)).due_at - NOW for tries in range(13)]
        assert waits[:5] == [2_000, 4_000, 8_000, 16_000, 32_000]
        assert waits[-1] == HOUR

    @given(st.integers(1_000, HOUR), JITTERS, st.integers(0, 40))
    @example(1_353, 0.999_999, 0)
    def test_the_next_attempt_lies_between_what_was_asked_for_and_a_fifth_more(
        self, asked: int, jitter: float, tries: int
    ) -> None:
        settlement = settle(replace(DELIVERY, tries=tries), Retry("HTTP 429", asked), 3, NOW, POLICY, jitter)
        assert asked <= settlement.due_at - NOW <= 1.2 * asked
        assert settlement.lane_pause == NOW + asked

    def test_no_wish_is_longer_than_an_hour(self) -> None:
        settlement = settled(Retry("HTTP 429", 400 * HOUR))
        assert HOUR <= settlement.due_at - NOW <= LONGEST
        assert settlement.lane_pause == NOW + HOUR

    @pytest.mark.parametrize("asked", [0, -5, None])
    def test_a_wish_for_no_time_at_all_is_answered_with_backoff(self, asked: int | None) -> None:
        settlement = settled(Retry("HTTP 429", asked), replace(DELIVERY, tries=4))
        assert settlement.due_at == NOW + 32_000
        assert settlement.lane_pause == 0

    def test_a_wish_below_a_second_is_a_second(self) -> None:
        assert settled(Retry("HTTP 429", 3)).due_at == NOW + 1_100

    def test_a_reason_is_one_clean_line_of_at_most_300_characters(self) -> None:
        reason = settled(Retry("HTTP 500:\n\x1b[31m" + "oops " * 200)).reason
        assert reason.startswith("HTTP 500: [31moops")
        assert len(reason) <= 300
        assert reason.endswith("…")


class TestGivingUp:
    def test_after_24_hours_it_is_a_dead_letter_with_the_last_reason(self) -> None:
        settlement = settled(Retry("HTTP 503"), replace(DELIVERY, promised_at=NOW - 24 * HOUR, tries=30, attempts=30))
        assert (settlement.state, settlement.dead, settlement.due_at) == ("failed", True, 0)
        assert settlement.reason == "gave up after 24 h: HTTP 503"
        assert (settlement.said, settlement.attempts) == (1, 31)

    def test_a_moment_earlier_it_is_tried_once_more(self) -> None:
        settlement = settled(Retry("HTTP 503"), replace(DELIVERY, promised_at=NOW - 24 * HOUR + 1))
        assert (settlement.state, settlement.dead) == ("waiting", False)

    def test_the_channel_decides_how_long(self) -> None:
        policy = RetryPolicy(give_up_after=90 * 60_000)
        settlement = settled(Unknown("no answer"), replace(DELIVERY, promised_at=NOW - 2 * HOUR), policy)
        assert settlement.reason == "gave up after 1 h 30 min: no answer"

    def test_the_vendors_wish_still_holds_for_the_others_in_the_lane(self) -> None:
        settlement = settled(Retry("HTTP 429", 30_000), replace(DELIVERY, promised_at=0))
        assert (settlement.state, settlement.lane_pause) == ("failed", NOW + 30_000)

    def test_what_is_rejected_is_dead_at_once(self) -> None:
        settlement = settled(Rejected("channel_not_found"))
        assert settlement == Settlement("failed", 0, 1, 1, 0, "channel_not_found", {"ts": "1"}, 1, 0, dead=True)

    @given(JITTERS)
    def test_a_dead_vendor_sees_at_most_twelve_tries_in_the_first_hour(self, jitter: float) -> None:
        delivery, now, tries = DELIVERY, NOW, []
        while delivery.state == "waiting":
            tries.append(now)
            done = settle(delivery, Retry("could not connect"), 3, now, POLICY, jitter)
            delivery = replace(delivery, state=done.state, tries=done.tries, attempts=done.attempts)
            assert done.due_at - now >= 1_600 or done.dead
            assert done.due_at <= NOW + POLICY.give_up_after + LONGEST
            now = done.due_at
        assert sum(at < NOW + HOUR for at in tries) <= 12
        assert tries[-1] >= NOW + POLICY.give_up_after
        assert done.dead


class TestUnknown:
    def test_it_is_sent_again_as_often_as_a_retry(self) -> None:
        settlement = settled(Unknown("no whole answer within 10 s"), replace(DELIVERY, unknowns=7, tries=7))
        assert (settlement.state, settlement.unknowns, settlement.tries) == ("waiting", 8, 8)

    def test_once_more_and_then_it_is_let_be(self) -> None:
        policy = RetryPolicy(unknown_again=1)
        first = settled(Unknown("HTTP 500"), policy=policy)
        assert (first.state, first.unknowns) == ("waiting", 1)
        second = settled(Unknown("HTTP 500"), replace(DELIVERY, unknowns=1, tries=1, attempts=1), policy)
        assert second == Settlement("said", 0, 2, 0, 0, "unknown whether it arrived: HTTP 500", {"ts": "1"}, 3)

    def test_it_is_let_be_at_once_where_the_operator_says_so(self) -> None:
        settlement = settled(Unknown("HTTP 500", ref={"sid": "x"}), policy=RetryPolicy(unknown_again=0))
        assert (settlement.state, settlement.said, settlement.dead, settlement.ref) == ("said", 3, False, {"sid": "x"})


class TestBackoff:
    @given(st.integers(-3, 10_000), JITTERS)
    def test_it_is_never_below_two_seconds_nor_above_an_hour_but_for_a_fifth(self, tries: int, jitter: float) -> None:
        assert 1_600 <= backoff(tries, jitter) <= LONGEST

    def test_jitter_spreads_it_a_fifth_to_either_side(self) -> None:
        assert (backoff(1, 0.0), backoff(1, 0.5), backoff(1, 0.999)) == (1_600, 2_000, 2_399)


class TestLane:
    def broken(self, failures: int, now: int = NOW) -> Lane:
        lane = Lane()
        for _ in range(failures):
            lane = after(lane, Retry("could not connect"), now, 0.5)
        return lane

    def test_two_failures_are_no_reason_to_rest(self) -> None:
        assert self.broken(2) == Lane(2)
        assert resting(self.broken(2), NOW) == 0

    def test_from_the_third_on_each_rest_is_twice_as_long_up_to_a_minute(self) -> None:
        rests = [resting(self.broken(failures), NOW) for failures in range(3, 11)]
        assert rests == [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]

    @given(st.integers(3, 500), JITTERS)
    def test_a_breakers_rest_is_never_longer_than_a_minute(self, failures: int, jitter: float) -> None:
        assert 1_600 <= resting(after(Lane(failures - 1), Unknown("x"), NOW, jitter), NOW) <= 60_000

    @pytest.mark.parametrize("receipt", [Sent(), Rejected("no such chat")])
    def test_any_real_answer_ends_it(self, receipt: Receipt) -> None:
        lane = after(self.broken(5), receipt, NOW, 0.5)
        assert lane == Lane()
        assert recovered(self.broken(5), lane)

    def test_a_lane_that_never_was_down_has_not_recovered(self) -> None:
        assert not recovered(self.broken(2), Lane())
        assert not recovered(self.broken(3), self.broken(4))

    def test_the_vendors_own_wish_is_the_rest(self) -> None:
        lane = after(self.broken(6), Retry("HTTP 429", 5_000), NOW, 0.9)
        assert resting(lane, NOW) == 5_000
        assert resting(after(Lane(), Retry("HTTP 429", 9 * HOUR), NOW, 0.9), NOW) == HOUR

    def test_a_send_that_was_under_way_does_not_lift_the_vendors_wish(self) -> None:
        asked = after(Lane(), Retry("HTTP 429", 30_000), NOW, 0.5)
        assert resting(after(asked, Sent(), NOW + 100, 0.5), NOW + 100) == 29_900
        assert after(asked, Sent(), NOW + 30_000, 0.5) == Lane()

    def test_a_shorter_wish_or_a_failure_does_not_shorten_a_longer_one(self) -> None:
        asked = after(Lane(), Retry("HTTP 429", 30_000), NOW, 0.5)
        assert resting(after(asked, Retry("HTTP 429", 1_000), NOW, 0.5), NOW) == 30_000
        assert resting(after(asked, Unknown("no answer"), NOW, 0.5), NOW) == 30_000

    def test_a_clock_put_back_leaves_no_lane_asleep(self) -> None:
        lane = after(Lane(), Retry("HTTP 429", 30_000), NOW + 400 * HOUR, 0.5)
        assert resting(lane, NOW) == 0
        assert after(lane, Sent(), NOW, 0.5) == Lane()
