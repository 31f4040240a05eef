"""What becomes of a promise after one attempt, and of the lane it was made in.

Backoff doubles from 2 s to an hour with 20 % of jitter: about twelve attempts in the first hour. What a
vendor asks for is obeyed instead. `jitter` is a number in [0, 1) that the caller drew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal, assert_never

from gateway.model import Delivery, Millis, Receipt, Ref, Rejected, Retry, Sent, Unknown
from gateway.rules.fitting import cut, one_line
from gateway.rules.phrases import duration
from gateway.values import frozen

HOUR: Final[Millis] = 3_600_000
SHORTEST: Final[Millis] = 2_000
LONGEST: Final[Millis] = HOUR + HOUR // 5
"""No delivery that waits for another try is due later than this from now."""
_LEAST_ASKED: Final[Millis] = 1_000
_REASON_MOST: Final = 300
_TIRED: Final = 3
"""So many failures in a row, and the lane takes a rest."""
_LONGEST_REST: Final[Millis] = 60_000


@frozen
class RetryPolicy:
    """`unknown_again`: how often an Unknown is sent again; None for as often as a Retry."""

    give_up_after: Millis = 24 * HOUR
    unknown_again: int | None = None


@frozen
class Settlement:
    """A delivery after an attempt, in its own words. `lane_pause`: the instant until which the vendor wants
    the whole channel to rest, or 0. `dead`: it has just become a dead letter."""

    state: Literal["said", "waiting", "failed"]
    due_at: Millis
    attempts: int
    tries: int
    unknowns: int
    reason: str
    ref: Ref
    said: int
    lane_pause: Millis = 0
    dead: bool = False


def settle(
    delivery: Delivery, receipt: Receipt, said: int, now: Millis, policy: RetryPolicy, jitter: float
) -> Settlement:
    """What the receipt makes of the promise. `said` is the revision that this attempt spoke."""
    ref = delivery.ref if receipt.ref is None else receipt.ref
    if isinstance(receipt, Sent):
        return Settlement(
            state="said",
            due_at=0,
            attempts=delivery.attempts + 1,
            tries=0,
            unknowns=0,
            reason="",
            ref=ref,
            said=said,
        )
    tried = Settlement(
        state="waiting",
        due_at=0,
        attempts=delivery.attempts + 1,
        tries=delivery.tries + 1,
        unknowns=delivery.unknowns,
        reason=_tidy(receipt.reason),
        ref=ref,
        said=delivery.said,
    )
    match receipt:
        case Rejected():
            return replace(tried, state="failed", dead=True)
        case Retry(after=after):
            return _again(delivery, tried, now, policy, _delay(tried.tries, after, jitter), _asked(after))
        case Unknown():
            if policy.unknown_again is not None and delivery.unknowns >= policy.unknown_again:
                reason = _tidy(f"unknown whether it arrived: {receipt.reason}")
                return replace(tried, state="said", tries=0, unknowns=0, said=said, reason=reason)
            guessed = replace(tried, unknowns=delivery.unknowns + 1)
            return _again(delivery, guessed, now, policy, backoff(tried.tries, jitter), 0)
        case _:
            assert_never(receipt)


def backoff(tries: int, jitter: float) -> Millis:
    """How long to wait after so many tries: 2 s, 4 s, 8 s … one hour, each give or take a fifth."""
    whole = min(SHORTEST << min(max(tries - 1, 0), 16), HOUR)
    return round(whole * (0.8 + 0.4 * jitter))


@frozen
class Lane:
    """How a channel has been doing. `failures` in a row; no send before `rest_until`, and one at a time
    while `failures` are three or more. `asked_until` is the part of the rest that the vendor asked for."""

    failures: int = 0
    rest_until: Millis = 0
    asked_until: Millis = 0


def after(lane: Lane, receipt: Receipt, now: Millis, jitter: float) -> Lane:
    """The lane after one attempt. Sent and Rejected prove that somebody is there; what he asked for still holds."""
    asked_until = lane.asked_until if 0 < lane.asked_until - now <= HOUR else 0
    if isinstance(receipt, (Sent, Rejected)):
        return Lane(0, asked_until, asked_until)
    failures = lane.failures + 1
    asked = _asked(receipt.after) if isinstance(receipt, Retry) else 0
    if asked:
        asked_until = max(asked_until, now + asked)
        return Lane(failures, asked_until, asked_until)
    return Lane(failures, max(asked_until, now + _rest(failures, jitter) if failures >= _TIRED else 0), asked_until)


def resting(lane: Lane, now: Millis) -> Millis:
    """How long the lane still rests, 0 if it does not. What lies beyond an hour was set by a clock since put back."""
    left = lane.rest_until - now
    return left if 0 < left <= HOUR else 0


def recovered(before: Lane, after: Lane) -> bool:
    """Whether a channel that had been given up on for a while speaks again: whoever waits for it may come now."""
    return before.failures >= _TIRED and after.failures == 0


def _again(
    delivery: Delivery, tried: Settlement, now: Millis, policy: RetryPolicy, delay: Millis, asked: Millis
) -> Settlement:
    pause = now + asked if asked else 0
    if now >= delivery.promised_at + policy.give_up_after:
        reason = _tidy(f"gave up after {duration(policy.give_up_after)}: {tried.reason}")
        return replace(tried, state="failed", reason=reason, lane_pause=pause, dead=True)
    return replace(tried, due_at=now + delay, lane_pause=pause)


def _delay(tries: int, after: Millis | None, jitter: float) -> Millis:
    """Between what the vendor asked for and a fifth more: equal waits would come back as one crowd."""
    asked = _asked(after)
    return asked + int(asked * 0.2 * jitter) if asked else backoff(tries, jitter)


def _asked(after: Millis | None) -> Millis:
    """The vendor's wish, from one second to one hour; 0 where there is none. 0 as a wish is none: we would spin."""
    return min(max(after, _LEAST_ASKED), HOUR) if after is not None and after > 0 else 0


def _rest(failures: int, jitter: float) -> Millis:
    whole = min(SHORTEST << min(failures - _TIRED, 16), _LONGEST_REST)
    return min(round(whole * (0.8 + 0.4 * jitter)), _LONGEST_REST)


def _tidy(reason: str) -> str:
    return cut(one_line(reason), _REASON_MOST)
