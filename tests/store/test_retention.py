"""What is over and old goes, with all that belongs to it; what lives stays, with all that it speaks of."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.clock import new_id
from gateway.contracts import Attempt, Settled, Statement
from gateway.model import Alert, Delivery, Digest, Event, Incident, Millis, Override, Silence, Timer
from gateway.rules.retention import DAY, Bounds
from gateway.store import retention
from gateway.store.driver import Prepared
from gateway.store.retention import Kind
from gateway.store.safe import Ledger, Safe
from gateway.store.schema import metadata
from tests.stage import NOON
from tests.store.things import a_change, a_delivery, an_event, an_incident

NOW = NOON + 1000 * DAY
BOUNDS = Bounds(events=NOW - 30 * DAY, incidents=NOW - 400 * DAY)
LONG_AGO = NOW - 500 * DAY
LATELY = NOW - DAY


def made_at(at: Millis) -> str:
    """An id as it would have been made then."""
    return retention.first_id(at) + new_id()[13:]


async def swept(store: Safe, kind: Kind, bounds: Bounds = BOUNDS) -> int:
    """Through everything of a kind, bite by bite. How many went."""
    gone, place = 0, retention.START
    while True:
        looked = await retention.look(store, kind, bounds, place)
        more = bool(looked.ids)
        while more:
            count, more = await retention.bite(store, kind, bounds, looked.ids)
            gone += count
        if looked.place is None:
            return gone
        place = looked.place


async def rows(store: Safe, table: str) -> int:
    count = Prepared(sa.select(sa.func.count().label("many")).select_from(metadata.tables[table]))

    async def look(ledger: Ledger) -> int:
        (row,) = await ledger._connection.all(count)
        return int(row["many"])

    return await store.read(look)


def past(**changes: Any) -> Incident:
    """An incident that was over long ago."""
    times = {"opened_at": LONG_AGO, "updated_at": LONG_AGO, "resolved_at": LONG_AGO}
    return an_incident(**{"id": made_at(LONG_AGO), "state": "resolved", **times, **changes})


async def keep(store: Safe, *kept: Incident, said: Sequence[Delivery] = ()) -> None:
    async def work(ledger: Any) -> None:
        await ledger.incidents.save(kept, [])
        await ledger.changes.record([a_change(incident) for incident in kept], [])
        await ledger.outbox.promise(said, [])

    await store.write(work)


async def settle(store: Safe, delivery: Delivery) -> None:
    async def work(ledger: Any) -> None:
        (claimed,) = await ledger.outbox.claim(delivery.channel, NOW, 1000, 1)
        done = dataclasses.replace(claimed, state="said", said=1)
        await ledger.outbox.settle([Settled(done, Attempt(new_id(), delivery.id, NOW, 1, "sent", "", 1))])

    await store.write(work)


def an_old_event(at: Millis = LONG_AGO, **changes: Any) -> Event:
    return an_event(**{"id": made_at(at), "received_at": at, "state": "done", **changes})


class TestEvents:
    async def test_an_old_one_goes_with_what_it_said(self, store: Safe) -> None:
        old, new = an_old_event(), an_old_event(LATELY)
        alerts = [Statement(new_id(), event.id, "", NOW, Alert("f", "disk")) for event in (old, new)]
        await store.write(lambda ledger: ledger.inbox.accept([(old, None, 0), (new, None, 0)]))
        await store.write(lambda ledger: ledger.changes.record([], alerts))
        assert await swept(store, retention.EVENT) == 1
        assert await store.read(lambda ledger: ledger.inbox.get(old.id)) is None
        assert await store.read(lambda ledger: ledger.inbox.get(new.id)) == new
        assert await rows(store, "alerts") == 1

    async def test_an_unreadable_one_goes_too_and_a_waiting_one_never(self, store: Safe) -> None:
        unreadable, waiting = an_old_event(state="unreadable"), an_old_event(state="waiting")
        await store.write(lambda ledger: ledger.inbox.accept([(unreadable, None, 0), (waiting, None, 0)]))
        assert await swept(store, retention.EVENT) == 1
        assert await store.read(lambda ledger: ledger.inbox.get(waiting.id)) == waiting

    async def test_one_that_is_to_be_read_again_since_it_was_found_stays(self, store: Safe) -> None:
        event = an_old_event()
        await store.accept(event, None, 0)
        looked = await retention.look(store, retention.EVENT, BOUNDS, retention.START)
        assert looked.ids == (event.id,)
        await store.write(lambda ledger: ledger.inbox.again(event.id))
        assert await retention.bite(store, retention.EVENT, BOUNDS, looked.ids) == (0, False)
        assert await rows(store, "events") == 1

    async def test_one_whose_id_was_made_by_a_wrong_clock_stays_until_it_is_old(self, store: Safe) -> None:
        await store.accept(an_old_event(received_at=LATELY), None, 0)
        assert await swept(store, retention.EVENT) == 0

    async def test_many_go_in_many_bites(self, store: Safe) -> None:
        many = [an_old_event(LONG_AGO + number) for number in range(2 * retention.EVENTS_OF_A_BITE + 1)]
        await store.write(lambda ledger: ledger.inbox.accept([(event, None, 0) for event in many]))
        looked = await retention.look(store, retention.EVENT, BOUNDS, retention.START)
        assert len(looked.ids) == retention.EVENTS_OF_A_BITE
        assert await swept(store, retention.EVENT) == len(many)
        assert await rows(store, "events") == 0

    async def test_one_that_said_very_much_goes_in_several_bites(self, store: Safe) -> None:
        event = an_old_event()
        await store.accept(event, None, 0)
        said = [Statement(new_id(), event.id, "", NOW, Alert("f", "disk")) for _ in range(400)]
        await store.write(lambda ledger: ledger.changes.record([], said))
        assert await retention.bite(store, retention.EVENT, BOUNDS, [event.id]) == (0, True)
        assert await rows(store, "alerts") == 400 - retention.ROWS_OF_A_BITE
        assert await swept(store, retention.EVENT) == 1
        assert await rows(store, "alerts") == await rows(store, "events") == 0

    async def test_what_waits_in_front_does_not_hide_what_is_behind(self, store: Safe) -> None:
        waiting = [an_old_event(LONG_AGO + number, state="waiting") for number in range(retention.LOOKED_AT)]
        done = an_old_event(LONG_AGO + DAY)
        await store.write(lambda ledger: ledger.inbox.accept([(event, None, 0) for event in [*waiting, done]]))
        assert await swept(store, retention.EVENT) == 1
        assert await rows(store, "events") == retention.LOOKED_AT


class TestIncidents:
    async def test_one_that_was_over_long_ago_goes_with_all_that_belongs_to_it(self, store: Safe) -> None:
        old = past()
        heard = a_delivery(id=made_at(LONG_AGO), incident=old.id)
        await keep(store, old, said=[heard])
        await settle(store, heard)
        await store.write(lambda ledger: ledger.quiet.mark({("m", old.id)}, ()))
        await store.write(lambda ledger: ledger.timers.set([Timer("expire", old.id, NOW)]))
        digest = Digest(made_at(LONG_AGO), "group", "k", "t", "r", LONG_AGO, LONG_AGO, 1, closed=True)
        await store.write(lambda ledger: ledger.digests.save([digest], {(digest.id, old.id)}))
        assert await rows(store, "attempts") == 1
        assert await swept(store, retention.INCIDENT) == 1
        for table in ("incidents", "changes", "deliveries", "attempts", "marks", "timers", "members"):
            assert await rows(store, table) == 0, table
        assert await swept(store, retention.DIGEST) == 1
        assert await rows(store, "digests") == 0

    @pytest.mark.parametrize(
        "changes",
        [
            {"state": "open", "resolved_at": None},
            {"state": "acknowledged", "resolved_at": None},
            {"resolved_at": LATELY},
        ],
    )
    async def test_one_that_lives_or_ended_lately_stays(self, store: Safe, changes: Any) -> None:
        await keep(store, past(**changes))
        assert await swept(store, retention.INCIDENT) == 0

    async def test_one_that_somebody_is_still_to_hear_of_stays(self, store: Safe) -> None:
        old = past()
        await keep(store, old, said=[a_delivery(incident=old.id)])
        assert await swept(store, retention.INCIDENT) == 0

    async def test_one_whose_dead_letter_nobody_wanted_goes(self, store: Safe) -> None:
        old = past()
        await keep(store, old, said=[a_delivery(incident=old.id)])
        await store.write(lambda ledger: ledger.outbox.abandon([], "channel removed", NOW))
        assert await swept(store, retention.INCIDENT) == 1
        assert await rows(store, "deliveries") == 0

    async def test_one_that_opened_again_since_it_was_found_stays(self, store: Safe) -> None:
        old = past()
        await keep(store, old)
        reopened = dataclasses.replace(old, state="open", resolved_at=None)
        await store.write(lambda ledger: ledger.incidents.save([], [reopened]))
        assert await retention.bite(store, retention.INCIDENT, BOUNDS, [old.id]) == (0, False)
        assert await rows(store, "changes") == 1

    async def test_a_member_of_a_conversation_that_goes_on_stays(self, store: Safe) -> None:
        old = past()
        await keep(store, old)
        digest = Digest(made_at(LONG_AGO), "group", "k", "t", "r", LONG_AGO, LONG_AGO, 1, members=2, open=1)
        await store.write(lambda ledger: ledger.digests.save([digest], {(digest.id, old.id)}))
        assert await swept(store, retention.INCIDENT) == 0
        assert await swept(store, retention.DIGEST) == 0
        over = dataclasses.replace(digest, open=0)
        await store.write(lambda ledger: ledger.digests.save([over], ()))
        assert await swept(store, retention.DIGEST) == 0, "a member is there still"
        assert await swept(store, retention.INCIDENT) == 1
        assert await swept(store, retention.DIGEST) == 1

    async def test_what_follows_one_that_is_gone_is_shown_all_the_same(self, store: Safe) -> None:
        old = past()
        new = an_incident(previous=old.id)
        await keep(store, old, new)
        assert await swept(store, retention.INCIDENT) == 1
        found = await store.read(lambda ledger: ledger.incidents.find(new.id))
        assert found is not None
        assert found.previous == old.id

    async def test_long_living_ones_in_front_do_not_hide_what_is_behind(self, store: Safe) -> None:
        living = [past(opened_at=LONG_AGO - DAY + n, state="open", resolved_at=None) for n in range(501)]
        await keep(store, *living, past())
        assert await swept(store, retention.INCIDENT) == 1

    async def test_a_number_is_never_given_again(self, store: Safe) -> None:
        old = past()
        await keep(store, old)
        assert await swept(store, retention.INCIDENT) == 1
        await keep(store, an_incident())
        assert await store.read(lambda ledger: ledger.incidents.find("1")) is None
        assert await store.read(lambda ledger: ledger.incidents.find("2")) is not None

    async def test_two_that_sweep_at_once_do_no_harm(self, store: Safe) -> None:
        await keep(store, *[past(opened_at=LONG_AGO + n) for n in range(10)])
        looked = await retention.look(store, retention.INCIDENT, BOUNDS, retention.START)
        assert await retention.bite(store, retention.INCIDENT, BOUNDS, looked.ids) == (10, False)
        assert await retention.bite(store, retention.INCIDENT, BOUNDS, looked.ids) == (0, False)


async def test_wishes_that_ended_long_ago_go_with_what_they_hid(store: Safe) -> None:
    async def wish(ledger: Any) -> None:
        for until in (LONG_AGO, LATELY, NOW + DAY):
            await ledger.quiet.add_silence(Silence(f"s{until}", {}, until, LONG_AGO, "r", "kim"))
            await ledger.digests.save([], {(f"s{until}", "i1")})
            await ledger.quiet.add_override(Override("r", "kim", LONG_AGO, until, id=f"o{until}", by="kim"))

    await store.write(wish)
    assert await swept(store, retention.SILENCE) == await swept(store, retention.OVERRIDE) == 1
    assert await rows(store, "silences") == await rows(store, "overrides") == await rows(store, "members") == 2


async def test_a_silence_whose_end_was_not_told_of_yet_stays(store: Safe) -> None:
    """A fault put its timer off: what it hid would never be told of."""
    silence = Silence("s", {}, LONG_AGO, LONG_AGO, "r", "kim")

    async def wish(ledger: Any) -> None:
        await ledger.quiet.add_silence(silence)
        await ledger.timers.set([Timer("silence", silence.id, NOW + 1, wall=True)])

    await store.write(wish)
    assert await swept(store, retention.SILENCE) == 0
    await store.write(lambda ledger: ledger.timers.due(NOW + 1, 9))
    assert await swept(store, retention.SILENCE) == 1


async def test_ids_whose_time_is_over_are_forgotten_bite_by_bite(store: Safe) -> None:
    for number in range(retention.ROWS_OF_A_BITE + 2):
        await store.accept(an_event(), f"id:{number}", NOON + 1)
    await store.accept(an_event(), "id:living", NOW + 1)
    assert await retention.forget_keys(store, NOW) == retention.ROWS_OF_A_BITE
    assert await retention.forget_keys(store, NOW) == 2
    assert await rows(store, "seen") == 1


def test_an_instant_lies_between_the_ids_made_before_it_and_those_made_at_it() -> None:
    assert made_at(NOW - 1) < retention.first_id(NOW) < made_at(NOW)
    assert retention.first_id(-1) == retention.first_id(0)
