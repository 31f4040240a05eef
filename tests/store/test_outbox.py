"""A delivery is a standing promise: made once for each incident and channel, renewed, leased, settled, given up."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import pytest

from gateway.clock import new_id
from gateway.contracts import Attempt, Settled, Store
from gateway.model import Delivery
from gateway.store.outbox import SUSPECT_WAITS
from tests.stage import HOUR, MINUTE, NOON
from tests.store.things import a_delivery

LEASE = 90_000


async def promise(store: Store, *deliveries: Delivery, urgent: Collection[str] = ()) -> None:
    await store.write(lambda ledger: ledger.outbox.promise(deliveries, urgent))


async def claim(store: Store, now: int = NOON, most: int = 9, channel: str = "team") -> list[Delivery]:
    return await store.write(lambda ledger: ledger.outbox.claim(channel, now, LEASE, most))


async def settle(store: Store, delivery: Delivery, **changes: Any) -> list[str]:
    settled = Settled(dataclasses.replace(delivery, **changes), None)
    return await store.write(lambda ledger: ledger.outbox.settle([settled]))


async def get(store: Store, delivery: Delivery) -> Delivery:
    found = await store.read(lambda ledger: ledger.outbox.get(delivery.id))
    assert found is not None
    return found


class TestPromising:
    async def test_a_promise_comes_back_as_it_was_made(self, store: Store) -> None:
        made = a_delivery(due_at=NOON, ref={"ts": "1.5", "이름": [1, None]})
        await promise(store, made)
        assert await get(store, made) == made
        assert await store.read(lambda ledger: ledger.outbox.of([made.incident, "x"])) == {made.incident: [made]}
        assert await store.read(lambda ledger: ledger.outbox.of([])) == {}

    async def test_a_second_promise_for_the_same_pair_renews_the_first(self, store: Store) -> None:
        first = a_delivery(route="first")
        await promise(store, first)
        (taken,) = await claim(store)
        await settle(store, taken, state="failed", tries=4, unknowns=2, reason="gone", said=0, ref={"ts": "1"})
        renewed = a_delivery(incident=first.incident, wanted=2, promised_at=NOON + 5, route="second")
        await promise(store, renewed)
        found = await get(store, first)
        assert (found.id, found.route, found.ref) == (first.id, "first", {"ts": "1"})
        assert (found.state, found.wanted, found.promised_at) == ("waiting", 2, NOON + 5)
        assert (found.tries, found.unknowns, found.reason) == (0, 0, "")

    async def test_what_is_wanted_never_falls(self, store: Store) -> None:
        first = a_delivery(wanted=5)
        await promise(store, first)
        await promise(store, dataclasses.replace(first, id=new_id(), wanted=3))
        assert (await get(store, first)).wanted == 5

    async def test_nothing_promised_is_nothing_done(self, store: Store) -> None:
        await promise(store)
        assert await claim(store) == []


class TestClaiming:
    async def test_what_is_due_is_taken_once_with_a_new_token(self, store: Store) -> None:
        await promise(store, a_delivery())
        (taken,) = await claim(store)
        assert taken.token == 1
        assert await claim(store) == []

    async def test_only_this_channels_and_only_so_many(self, store: Store) -> None:
        await promise(store, *(a_delivery() for _ in range(4)), a_delivery(channel="other"))
        assert len(await claim(store, most=3)) == 3
        assert len(await claim(store, most=3)) == 1
        assert len(await claim(store, channel="other")) == 1

    async def test_critical_goes_first_then_what_has_been_due_longest(self, store: Store) -> None:
        late, soon, now, urgent = (
            a_delivery(due_at=NOON - 1),
            a_delivery(due_at=NOON - 5),
            a_delivery(),
            a_delivery(due_at=NOON),
        )
        await promise(store, late, soon, now)
        await promise(store, urgent, urgent=[urgent.incident])
        taken = [delivery.id for _ in range(4) for delivery in await claim(store, most=1)]
        assert taken == [urgent.id, now.id, soon.id, late.id]
        assert [delivery.id for delivery in await claim(store, NOON + LEASE)] == taken

    async def test_what_is_not_due_waits_and_says_until_when(self, store: Store) -> None:
        assert await store.read(lambda ledger: ledger.outbox.next_due("team")) is None
        await promise(store, a_delivery(due_at=NOON + 7), a_delivery(due_at=NOON + 9))
        assert await claim(store, NOON + 6) == []
        assert await store.read(lambda ledger: ledger.outbox.next_due("team")) == NOON + 7
        assert len(await claim(store, NOON + 7)) == 1
        assert await store.read(lambda ledger: ledger.outbox.next_due("team")) == NOON + 9

    async def test_a_lease_that_ran_out_is_taken_over_and_the_old_holder_is_fenced(self, store: Store) -> None:
        await promise(store, a_delivery())
        (old,) = await claim(store)
        assert await claim(store, NOON + LEASE - 1) == []
        (new,) = await claim(store, NOON + LEASE)
        assert await settle(store, old, state="said", said=1) == [old.id]
        assert (await get(store, new)).state == "waiting"
        assert await settle(store, new, state="said", said=1) == []
        assert (await get(store, new)).state == "said"

    async def test_what_was_given_back_is_free_at_once(self, store: Store) -> None:
        await promise(store, a_delivery(), a_delivery())
        first, second = await claim(store)
        await store.write(lambda ledger: ledger.outbox.release([(first.id, first.token)]))
        await store.write(lambda ledger: ledger.outbox.release([]))
        assert [delivery.id for delivery in await claim(store)] == [first.id]
        assert await store.write(lambda ledger: ledger.outbox.release_all(NOON)) == 2
        assert {delivery.id for delivery in await claim(store)} == {first.id, second.id}

    async def test_what_another_has_taken_over_is_his_and_nobody_elses_to_give_back(self, store: Store) -> None:
        """A gateway that was cut off past its lease, and is then stopped."""
        await promise(store, a_delivery())
        (old,) = await claim(store)
        (new,) = await claim(store, NOON + LEASE)
        await store.write(lambda ledger: ledger.outbox.release([(old.id, old.token)]))
        assert await claim(store, NOON + LEASE + 1) == []
        assert await settle(store, new, state="said", said=1) == []

    async def test_what_was_under_way_at_two_deaths_lets_all_others_go_first(self, store: Store) -> None:
        """Else, at each start, it would kill the gateway again before anything else is said."""
        await promise(store, deadly := a_delivery(), other := a_delivery(channel="ops"))
        for _ in range(2):
            (taken,) = await claim(store)
            await store.write(lambda ledger: ledger.outbox.release_all(NOON))
        assert taken.id == deadly.id
        assert await claim(store) == []
        assert [one.id for one in await claim(store, channel="ops")] == [other.id]
        assert [one.id for one in await claim(store, NOON + SUSPECT_WAITS)] == [deadly.id]

    async def test_what_killed_the_gateway_five_times_is_given_up(self, store: Store) -> None:
        await promise(store, deadly := a_delivery())
        for now in range(NOON, NOON + 5 * HOUR, HOUR):
            assert len(await claim(store, now)) == 1
            await store.write(lambda ledger, now=now: ledger.outbox.release_all(now))
        left = [one for one in await claim(store, NOON + 5 * HOUR) if one.state != "failed"]
        assert left == []
        found = await get(store, deadly)
        assert (found.state, found.reason) == ("failed", "the gateway died 5 times while sending this")
        assert await claim(store) == []

    async def test_a_settled_claim_is_no_sign_of_death(self, store: Store) -> None:
        await promise(store, a_delivery())
        for _ in range(9):
            (taken,) = await claim(store)
            await settle(store, taken, state="waiting", tries=taken.tries + 1)


class TestSettling:
    async def test_what_was_said_is_said_with_all_that_was_learnt(self, store: Store) -> None:
        await promise(store, a_delivery())
        (taken,) = await claim(store)
        await settle(
            store, taken, state="said", said=1, attempts=3, tries=2, unknowns=1, reason="r", ref={"ts": "9"}, due_at=5
        )
        found = await get(store, taken)
        assert (found.state, found.said, found.attempts, found.tries) == ("said", 1, 3, 2)
        assert (found.unknowns, found.reason, found.ref, found.due_at) == (1, "r", {"ts": "9"}, 5)
        assert await claim(store) == []

    @pytest.mark.parametrize("outcome", ["said", "waiting", "failed"])
    async def test_a_reason_that_arose_meanwhile_is_spoken_next_at_once(self, store: Store, outcome: str) -> None:
        await promise(store, a_delivery())
        (taken,) = await claim(store)
        await promise(store, dataclasses.replace(taken, id=new_id(), wanted=2, due_at=0))
        await settle(store, taken, state=outcome, said=1 if outcome == "said" else 0, due_at=NOON + HOUR)
        (again,) = await claim(store)
        assert (again.wanted, again.due_at) == (2, 0)

    async def test_what_was_said_already_is_not_said_again(self, store: Store) -> None:
        """The message was composed after the newer reason: it has told of it."""
        await promise(store, a_delivery())
        (taken,) = await claim(store)
        await promise(store, dataclasses.replace(taken, id=new_id(), wanted=2))
        await settle(store, taken, state="said", said=2)
        assert (await get(store, taken)).state == "said"

    async def test_attempts_are_logged_in_their_order_even_those_of_a_fenced_holder(self, store: Store) -> None:
        await promise(store, a_delivery())
        (taken,) = await claim(store)
        tries = [
            Attempt(new_id(), taken.id, NOON, 1, "retry", "HTTP 500", 12),
            Attempt(new_id(), taken.id, NOON + 9, 1, "sent"),
        ]
        for token, attempt in zip((taken.token, taken.token + 7), tries, strict=True):
            one = Settled(dataclasses.replace(taken, token=token), attempt)
            await store.write(lambda ledger, one=one: ledger.outbox.settle([one]))
        found = await store.read(lambda ledger: ledger.outbox.attempts_of([taken.id, "x"]))
        assert found == {taken.id: tries, "x": []}

    async def test_many_are_settled_at_once_and_only_the_stale_are_fenced(self, store: Store) -> None:
        await promise(store, a_delivery(), a_delivery())
        first, second = await claim(store)
        stale = dataclasses.replace(second, token=99, state="said", said=1)
        settled = [Settled(dataclasses.replace(first, state="said", said=1), None), Settled(stale, None)]
        assert await store.write(lambda ledger: ledger.outbox.settle(settled)) == [second.id]
        assert await store.write(lambda ledger: ledger.outbox.settle([])) == []


class TestRecovering:
    async def test_all_that_waits_in_backoff_is_woken(self, store: Store) -> None:
        await promise(store, a_delivery(due_at=NOON + HOUR), a_delivery(due_at=NOON + HOUR, channel="other"))
        assert await store.write(lambda ledger: ledger.outbox.wake("team")) == 1
        assert len(await claim(store)) == 1
        assert await claim(store, channel="other") == []

    async def test_what_a_clock_put_back_has_stranded_is_freed(self, store: Store) -> None:
        await promise(store, a_delivery(due_at=NOON + 2 * HOUR), leased := a_delivery())
        await claim(store, NOON + HOUR)
        freed = await store.write(lambda ledger: ledger.outbox.unstrand(NOON + 73 * MINUTE, NOON + 30 * MINUTE))
        assert freed == 2
        assert leased.id in {delivery.id for delivery in await claim(store)}

    async def test_a_channel_that_was_taken_out_is_given_up(self, store: Store) -> None:
        await promise(store, kept := a_delivery(), gone := a_delivery(channel="gone"))
        assert await store.write(lambda ledger: ledger.outbox.abandon({"team"}, "channel removed", NOON)) == 1
        assert (await get(store, kept)).state == "waiting"
        found = await get(store, gone)
        assert (found.state, found.reason) == ("failed", "channel removed")

    async def test_what_failed_or_was_said_can_be_sent_again(self, store: Store) -> None:
        await promise(store, a_delivery())
        (taken,) = await claim(store)
        await settle(store, taken, state="failed", tries=9, unknowns=1, reason="gone")
        assert await store.write(lambda ledger: ledger.outbox.again(taken.id, NOON + 5))
        (found,) = await claim(store)
        assert (found.tries, found.unknowns, found.reason, found.promised_at) == (0, 0, "", NOON + 5)
        assert not await store.write(lambda ledger: ledger.outbox.again("none", NOON))
        assert await store.read(lambda ledger: ledger.outbox.get("none")) is None


class TestTakingBack:
    async def test_what_nobody_has_heard_is_gone(self, store: Store) -> None:
        await promise(store, one := a_delivery())
        await store.write(lambda ledger: ledger.outbox.withdraw([one.id]))
        assert await store.read(lambda ledger: ledger.outbox.get(one.id)) is None
        await store.write(lambda ledger: ledger.outbox.withdraw([]))

    async def test_what_is_being_said_stands_if_that_succeeds(self, store: Store) -> None:
        await promise(store, a_delivery())
        (taken,) = await claim(store)
        await store.write(lambda ledger: ledger.outbox.withdraw([taken.id]))
        assert await settle(store, taken, state="said", said=1) == []
        assert (await get(store, taken)).said == 1
        await store.write(lambda ledger: ledger.outbox.withdraw([taken.id]))
        await promise(store, dataclasses.replace(taken, wanted=2))
        assert [one.wanted for one in await claim(store)] == [2]

    @pytest.mark.parametrize("how", ["it failed", "nobody lived to tell"])
    async def test_what_was_being_said_and_was_not_is_gone_at_the_next_claim(self, store: Store, how: str) -> None:
        await promise(store, a_delivery())
        (taken,) = await claim(store)
        await store.write(lambda ledger: ledger.outbox.withdraw([taken.id]))
        if how == "it failed":
            await settle(store, taken, state="waiting", tries=1, due_at=NOON + 5)
        else:
            await store.write(lambda ledger: ledger.outbox.release_all(NOON))
        held = await store.write(lambda ledger: ledger.outbox.held("team", NOON + 9, 9, urgent=True, heard_too=True))
        assert held == [], "nor does a summary tell of it"
        await promise(store, other := a_delivery())
        assert [one.id for one in await claim(store, NOON + 9)] == [other.id]
        assert await store.read(lambda ledger: ledger.outbox.get(taken.id)) is None

    async def test_a_new_reason_or_a_person_brings_it_back(self, store: Store) -> None:
        await promise(store, a_delivery(), a_delivery())
        one, other = await claim(store)
        await store.write(lambda ledger: ledger.outbox.withdraw([one.id, other.id]))
        await settle(store, one, state="waiting", tries=1, due_at=NOON)
        await settle(store, other, state="failed", tries=1)
        await promise(store, dataclasses.replace(one, wanted=2))
        await store.write(lambda ledger: ledger.outbox.again(other.id, NOON))
        assert {found.id for found in await claim(store)} == {one.id, other.id}


class TestLooking:
    async def test_pages_go_backwards_in_time(self, store: Store) -> None:
        some = [a_delivery(channel=channel) for channel in "aab"]
        await promise(store, *some)
        (taken,) = await claim(store, channel="b")
        await settle(store, taken, state="said", said=1)

        async def page(*asked: Any) -> list[str]:
            return [one.id for one in await store.read(lambda ledger: ledger.outbox.page(*asked))]

        ids = [one.id for one in some]
        assert await page((), None, None, 2) == [ids[2], ids[1]]
        assert await page((), None, ids[1], 9) == [ids[0]]
        assert await page({"waiting"}, "a", None, 9) == [ids[1], ids[0]]
        assert await page({"said", "failed"}, None, None, 9) == [ids[2]]

    async def test_what_is_being_said_over_a_channel_that_was_taken_out_may_be_heard_yet(self, store: Store) -> None:
        await promise(store, a_delivery())
        await claim(store)

        for now, many in ((NOON, 0), (NOON + LEASE, 1)):
            far = now + HOUR
            assert await store.read(lambda ledger, at=now, far=far: ledger.outbox.strays((), at, far, far)) == bool(
                many
            )
            assert await store.write(lambda ledger, at=now: ledger.outbox.abandon((), "channel removed", at)) == many

    async def test_depths_count_what_waits_and_what_failed(self, store: Store) -> None:
        await promise(store, a_delivery(promised_at=NOON - 5), a_delivery(), a_delivery(channel="gone"))
        await store.write(lambda ledger: ledger.outbox.abandon({"team"}, "x", NOON))
        depths = await store.read(lambda ledger: ledger.outbox.depths())
        assert sorted(depths) == [("gone", "failed", 1, 0), ("team", "waiting", 2, NOON - 5)]
