"""Lanes: each channel's own pace, width and troubles, none of them another's; and the crew that keeps all alive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway import pipeline as pipeline_room
from gateway import workers
from gateway.clock import now_ms
from gateway.contracts import Ledger
from gateway.errors import StoreUnavailable
from gateway.fields import Rate
from gateway.lane import Lane, wake_lanes
from gateway.model import GATEWAY, Alert, Key, Message, Millis, Receipt, Ref, Rejected, Retry, Sent, Severity, Timer
from gateway.pipeline import BEFORE_ALL, Processed, Turn
from gateway.ringing import Rung
from gateway.settling import Outlet, Said
from gateway.telemetry import REGISTRY
from gateway.workers import Crew
from tests.stage import HOUR, MINUTE, YEAR, House, Team, stage, until

ALL = {"name": "all", "to": ["team"]}
BOTH = {"name": "both", "to": ["team", "other"]}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with stage(tmp_path, ALL, team=Team(), other=Team()) as house:
        yield house


@asynccontextmanager
async def lanes(house: House, *names: str) -> AsyncIterator[list[Lane]]:
    """These channels' lanes at work; drained at the end."""
    crew = Crew()
    made = [Lane(house.pipeline, replace(house.outlets[name], paces=house.teams[name].paces)) for name in names]
    for lane in made:
        crew.start(lane.outlet.name, lambda lane=lane: lane.serve(lambda: None))
    try:
        yield made
    finally:
        for lane in made:
            await crew.stop(lane.outlet.name)
            await lane.drain(2)


async def alerts(house: House, many: int, **fields: Any) -> None:
    await house.post(*(Alert(f"disk {number}", f"disk {number}", **fields) for number in range(many)))
    await house.decide()


async def said(house: House, title: str = "disk") -> bool:
    return await house.state(title) == "said"


async def settled(house: House) -> bool:
    return await house.state("disk") in ("said", "failed")


async def nothing_owed(house: House, many: int) -> bool:
    states = [await house.state(f"disk {number}") for number in range(many)]
    return states == ["said"] * many


async def nothing_waits(house: House) -> bool:
    return not await house.store.read(lambda ledger: ledger.inbox.waiting(1))


class Held:
    """A send that does not end before it is let go; knows how many were under way at once."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.now = self.most = 0

    async def __call__(self, _message: Message, _ref: Ref) -> Receipt:
        self.now += 1
        self.most = max(self.most, self.now)
        await self.go.wait()
        self.now -= 1
        return Sent()


class TestPaceAndWidth:
    @pytest.mark.parametrize(("many", "window"), [(1, 60), (5, 200)])
    async def test_no_window_holds_more_than_the_pace_allows(self, house: House, many: int, window: int) -> None:
        house.pipeline.now = now_ms
        team = house.teams["team"]
        team.paces = (Rate(many, window),)
        starts: list[float] = []

        async def note(_message: Message, _ref: Ref) -> Receipt:
            starts.append(time.monotonic() * 1000)
            return Sent()

        team.answers.extend([note] * 12)
        await alerts(house, 12)
        async with lanes(house, "team"):
            await until(lambda: len(team.heard) == 12)
        gaps = [later - earlier for earlier, later in zip(starts, starts[many:], strict=False)]
        assert min(gaps) >= window - 15  # the loop may wake a start late, and so make the next look early
        assert starts[-1] - starts[0] < window * 12 / many * 1.5 + 300

    async def test_no_more_are_under_way_than_the_channel_is_wide(self, house: House) -> None:
        held = Held()
        team = house.teams["team"]
        team.width = 3
        team.answers.extend([held] * 10)
        await alerts(house, 10)
        async with lanes(house, "team"):
            await until(lambda: held.now == 3)
            await asyncio.sleep(0.05)
            assert held.now == 3
            held.go.set()
            await until(lambda: len(team.heard) == 10)
        assert held.most == 3

    async def test_a_channel_that_hangs_delays_no_other(self, house: House) -> None:
        house.route(BOTH)
        house.pipeline.now = now_ms
        hang = Held()
        tooks: dict[bool, list[float]] = {}
        async with lanes(house, "team", "other") as made:
            for hanging in (False, True):
                if hanging:
                    house.teams["team"].answers.extend([hang] * 100)
                tooks[hanging] = []
                for number in range(40):
                    before, started = len(house.teams["other"].heard), time.monotonic()
                    await house.alert(f"{hanging} {number}")
                    for lane in made:
                        lane.wake()
                    await until(lambda before=before: len(house.teams["other"].heard) > before)
                    tooks[hanging].append(time.monotonic() - started)
            assert hang.now == house.teams["team"].width
            hang.go.set()
        slowest = {hanging: sorted(took)[-2] for hanging, took in tooks.items()}
        assert slowest[True] < slowest[False] * 2 + 0.1, slowest


class TestTroubles:
    async def test_who_asks_for_a_pause_gets_it_for_the_whole_channel(self, house: House) -> None:
        team = house.teams["team"]
        team.width = 1
        team.answers.append(Retry("HTTP 429", after=30_000))
        await alerts(house, 3)
        async with lanes(house, "team") as (lane,):
            await until(lambda: len(team.asked) == 1 and lane._health.failures == 1)
            for _ in range(3):
                house.clock.push(9_990)
                lane.wake()
                await asyncio.sleep(0.03)
            assert len(team.asked) == 1
            house.clock.push(30)
            lane.wake()
            await until(lambda: len(team.heard) >= 2)
            house.clock.push(20_000)  # the one that was asked to wait: up to a fifth later, from its settling on
            lane.wake()
            await until(lambda: len(team.heard) == 3)

    async def test_a_channel_that_is_down_is_asked_by_one_at_a_time_and_ever_more_rarely(self, house: House) -> None:
        team = house.teams["team"]
        team.answers.extend([Retry("HTTP 503")] * 500)
        await alerts(house, 30)
        async with lanes(house, "team") as (lane,):
            for _ in range(60):  # ten minutes
                house.clock.push(10_000)
                lane.wake()
                await asyncio.sleep(0.005)
            asked = len(team.asked)
        assert asked <= 4 + 10 * 60 / 48 + 8, asked

    async def test_when_it_answers_again_nobody_waits_any_longer(self, house: House) -> None:
        team = house.teams["team"]
        team.answers.extend([Retry("HTTP 503")] * 8)
        await alerts(house, 4)
        async with lanes(house, "team") as (lane,):
            while team.answers:
                house.clock.push(MINUTE)
                lane.wake()
                await asyncio.sleep(0.005)
            before = house.clock()
            await until(lambda: not lane._sending)
            house.clock.push(MINUTE)
            lane.wake()
            await until(lambda: len(team.heard) == 4)
            assert house.clock() - before <= MINUTE

    async def test_critical_goes_before_all_else_that_waits(self, house: House) -> None:
        team = house.teams["team"]
        team.width = 1
        team.paces = (Rate(1, 10),)
        house.pipeline.now = now_ms
        await alerts(house, 5, severity=Severity.INFO)
        await house.alert("fire", severity=Severity.CRITICAL)
        async with lanes(house, "team"):
            await until(lambda: len(team.heard) == 6)
        assert team.heard[0].incident.title == "fire"

    async def test_nothing_through_for_a_quarter_of_an_hour_is_told(self, house: House) -> None:
        house.route(BOTH)
        house.teams["team"].answers.extend([Retry("HTTP 503")] * 90)
        await house.alert()
        async with lanes(house, "team") as (lane,):
            for _ in range(20):
                house.clock.push(MINUTE)
                lane.wake()
                await asyncio.sleep(0.025)
        await house.decide()
        struggling = await house.incident("channel:team", GATEWAY)
        assert (struggling.severity, struggling.count) == (Severity.WARNING, 1)
        assert "HTTP 503" in struggling.body

    async def test_a_rejection_is_no_trouble_of_the_lane(self, house: House) -> None:
        house.teams["team"].answers.extend([Rejected("no")] * 5)
        await alerts(house, 9)
        async with lanes(house, "team"):
            await until(lambda: len(house.teams["team"].heard) == 4)

    async def test_a_channel_that_raises_never_stops_its_lane(self, house: House) -> None:
        house.teams["team"].answers.extend([KeyError("a bug")] * 2)
        await alerts(house, 5)
        async with lanes(house, "team"):
            await until(lambda: len(house.teams["team"].heard) == 3)

    async def test_a_store_that_cannot_be_written_postpones_the_lane(self, house: House) -> None:
        await alerts(house, 2)
        broken = Broken(house)
        async with lanes(house, "team"):
            await asyncio.sleep(0.05)
            assert house.teams["team"].heard == []
            broken.mend()
            await until(lambda: len(house.teams["team"].heard) == 2)

    async def test_what_was_said_while_nothing_could_be_written_is_written_later_and_said_once(
        self, house: House
    ) -> None:
        held = Held()
        house.teams["team"].answers.append(held)
        await house.alert()
        async with lanes(house, "team") as (lane,):
            await until(lambda: held.now == 1)
            broken = Broken(house)
            held.go.set()
            await until(lambda: broken.refused)
            broken.mend()
            lane.wake()
            await until(lambda: said(house))
        assert len(house.teams["team"].heard) == 1

    async def test_what_another_gateway_held_is_let_be_for_a_while_after_the_store_was_away(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It has said it, and could not write that down before its claim was over."""
        monkeypatch.setattr(pipeline_room, "AWAY_SECONDS", 0.1)
        monkeypatch.setattr(pipeline_room, "BACK_SECONDS", 0.4)
        monkeypatch.setattr(house.store.engine, "shared", True)
        await house.alert()
        assert len(await house.claim("team")) == 1
        house.clock.at += 60_000
        house.pipeline.has_stored(time.monotonic())
        broken = Broken(house)
        async with lanes(house, "team") as (lane,):
            await asyncio.sleep(0.2)
            assert broken.refused
            broken.mend()
            for _ in range(10):
                lane.wake()
                await asyncio.sleep(0.02)
            assert house.teams["team"].heard == []

            def heard() -> bool:
                lane.wake()
                return len(house.teams["team"].heard) == 1

            await until(heard)

    @pytest.mark.parametrize("answer", [Sent(), Rejected("no")], ids=["no trouble", "a dead letter"])
    async def test_deciding_is_woken_by_what_the_house_has_to_say_and_by_nothing_else(
        self, house: House, answer: Receipt
    ) -> None:
        house.teams["team"].answers.append(answer)
        await house.alert()
        house.pipeline.arrived.clear()
        async with lanes(house, "team"):
            await until(lambda: settled(house))
        assert house.pipeline.arrived.is_set() == isinstance(answer, Rejected)


class TestAway:
    def test_a_store_that_was_away_for_nearly_a_lease_was_so_for_all_lanes(self, house: House) -> None:
        """And a lane that merely rested has not been away from it."""
        pipeline, now = house.pipeline, time.monotonic()
        assert not pipeline.was_away(now)
        for second in range(0, 60, 5):
            pipeline.has_stored(now + second)
        assert not pipeline.was_away(now + 60)
        assert pipeline.was_away(now + 90)
        pipeline.has_stored(now + 90)
        assert pipeline.was_away(now + 99)
        assert not pipeline.was_away(now + 101)


class TestGathering:
    async def test_what_is_said_together_is_written_down_together(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.lane.GATHER_SECONDS", 1)  # a crowded machine may take longer than 5 ms
        held, house.teams["team"].width = Held(), 8
        house.teams["team"].answers.extend([held] * 8)
        await alerts(house, 8)
        settlings: list[int] = []
        turn = house.pipeline.turn

        async def counted(outlet: Outlet, said: Sequence[Said], most: int, *more: Any) -> Turn:
            settlings.extend([len(said)] * bool(said))
            return await turn(outlet, said, most, *more)

        house.pipeline.turn = counted  # type: ignore[method-assign]
        async with lanes(house, "team"):
            await until(lambda: held.now == 8)
            held.go.set()
            await until(lambda: sum(settlings) == 8)
        assert settlings == [8]

    async def test_who_hangs_keeps_nobody_from_being_written_down(self, house: House) -> None:
        hang = Held()
        house.teams["team"].answers.append(hang)
        await house.alert("hangs")
        async with lanes(house, "team") as (lane,):
            await until(lambda: hang.now == 1)
            await house.alert()
            lane.wake()
            await until(lambda: said(house))
            assert hang.now == 1
            hang.go.set()


def ignore(_channels: frozenset[str]) -> None:
    """Nobody is woken."""


class Broken:
    """A store that refuses to write until it is mended."""

    def __init__(self, house: House) -> None:
        self._house, self._store = house, house.pipeline.store
        self.read, self.tick, self.shared = self._store.read, self._store.tick, self._store.shared
        self.refused = 0
        house.pipeline.store = self  # type: ignore[assignment]

    async def write(self, work: Callable[[Ledger], Awaitable[Any]], *, lasting: bool = True) -> Any:
        self.refused += 1
        raise StoreUnavailable("the disk is full")

    def mend(self) -> None:
        self._house.pipeline.store = self._store


class Paused:
    """A store that has committed, but whose answer is held back."""

    def __init__(self, house: House, *, fails: bool = False) -> None:
        self._store, self._fails = house.pipeline.store, fails
        self.read, self.tick, self.shared = self._store.read, self._store.tick, self._store.shared
        self.held, self.go = asyncio.Event(), asyncio.Event()
        house.pipeline.store = self  # type: ignore[assignment]

    async def write(self, work: Callable[[Ledger], Awaitable[Any]], *, lasting: bool = True) -> Any:
        done = None if self._fails else await self._store.write(work, lasting=lasting)
        self.held.set()
        await self.go.wait()
        if self._fails:
            raise StoreUnavailable("the disk is full")
        return done


class TestDraining:
    async def test_what_is_being_sent_ends_and_is_written_down(self, house: House) -> None:
        held = Held()
        house.teams["team"].answers.append(held)
        await house.alert()
        async with lanes(house, "team"):
            await until(lambda: held.now == 1)
            asyncio.get_running_loop().call_later(0.05, held.go.set)
        assert (await house.deliveries())["team"].state == "said"

    async def test_what_does_not_end_in_time_is_given_back_as_if_it_had_not_been_taken(self, house: House) -> None:
        held = Held()
        house.teams["team"].answers.append(held)
        await house.alert()
        lane = Lane(house.pipeline, house.outlets["team"])
        serving = asyncio.ensure_future(lane.serve(lambda: None))
        await until(lambda: held.now == 1)
        serving.cancel()
        await lane.drain(0.05)
        delivery = (await house.deliveries())["team"]
        assert (delivery.state, delivery.attempts) == ("waiting", 0)
        assert len(await house.claim("team")) == 1

    @pytest.mark.parametrize("committed", [True, False])
    async def test_a_turn_cut_short_leaves_no_lease_and_says_nothing_twice(self, house: House, committed: bool) -> None:
        await alerts(house, 3)
        paused = Paused(house)
        lane = Lane(house.pipeline, house.outlets["team"])
        serving = asyncio.ensure_future(lane.serve(lambda: None))
        if committed:
            await paused.held.wait()
        else:
            await asyncio.sleep(0)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        paused.go.set()
        await lane.drain(1)
        assert house.teams["team"].asked == []
        assert len(await house.claim("team")) == 3

    async def test_a_lane_that_finishes_gives_back_at_once_what_nobody_has_begun_to_say(self, house: House) -> None:
        held = Held()
        house.teams["team"].answers.append(held)
        await house.alert("under way")
        lane = Lane(house.pipeline, house.outlets["team"])
        serving = asyncio.ensure_future(lane.serve(lambda: None))
        await until(lambda: held.now == 1)
        await alerts(house, 3)
        paused = Paused(house)
        lane.wake()
        await paused.held.wait()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        finishing = asyncio.ensure_future(lane.finish(asyncio.Event()))
        paused.go.set()
        house.pipeline.store = paused._store
        given_back: list[str] = []

        async def claimed() -> bool:
            given_back.extend(claim.incident.title for claim in await house.claim("team"))
            return len(given_back) == 3

        await until(claimed)
        assert (held.now, finishing.done()) == (1, False)
        held.go.set()
        await finishing
        assert (await said(house, "under way"), len(house.teams["team"].asked)) == (True, 1)

    @pytest.mark.parametrize("committed", [True, False])
    async def test_a_lane_that_fell_in_the_midst_of_a_turn_takes_it_up_again(
        self, house: House, committed: bool
    ) -> None:
        held = Held()
        house.teams["team"].answers.append(held)
        await alerts(house, 3)
        lane = Lane(house.pipeline, house.outlets["team"])
        serving = asyncio.ensure_future(lane.serve(lambda: None))
        await until(lambda: held.now == 1)
        paused = Paused(house, fails=not committed)
        held.go.set()
        await paused.held.wait()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        again = asyncio.ensure_future(lane.serve(lambda: None))
        await asyncio.sleep(0)
        paused.go.set()
        house.pipeline.store = paused._store
        await until(lambda: nothing_owed(house, 3))
        assert len(house.teams["team"].asked) == 3
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)
        await lane.drain(1)

    async def test_a_turn_that_never_came_back_leaves_what_was_said_to_be_written(self, house: House) -> None:
        held = Held()
        house.teams["team"].answers.append(held)
        await house.alert()
        lane = Lane(house.pipeline, house.outlets["team"])
        serving = asyncio.ensure_future(lane.serve(lambda: None))
        await until(lambda: held.now == 1)
        stuck = asyncio.Event()
        store = house.pipeline.store

        class Stuck:
            read, tick, shared = store.read, store.tick, store.shared

            async def write(self, work: Any, *, lasting: bool = True) -> Any:
                stuck.set()
                await asyncio.Event().wait()

        house.pipeline.store = Stuck()  # type: ignore[assignment]
        held.go.set()
        await stuck.wait()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        house.pipeline.store = store
        await lane.drain(0.05)
        assert (await said(house), len(house.teams["team"].asked)) == (True, 1)

    async def test_what_was_said_while_the_store_was_away_is_written_down_when_it_is_back(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else a lane that ends would leave it to be said again."""
        monkeypatch.setattr("gateway.lane.HAND_IN_SECONDS", 0.02)
        lane, broken = await self._said_and_broken(house)
        asyncio.get_running_loop().call_later(0.1, broken.mend)
        await lane.drain(2)
        assert broken.refused > 1
        assert (await said(house), len(house.teams["team"].asked)) == (True, 1)

    async def test_what_could_not_be_written_down_at_a_standstill_is_by_the_next_turn(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.lane.HAND_IN_SECONDS", 0.02)
        lane, broken = await self._said_and_broken(house)
        await lane.drain(0.05)
        broken.mend()
        serving = asyncio.ensure_future(lane.serve(lambda: None))
        await until(lambda: said(house))
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        assert len(house.teams["team"].asked) == 1

    async def _said_and_broken(self, house: House) -> tuple[Lane, Broken]:
        """A lane that has said something, stopped, and a store that cannot be written."""
        held = Held()
        house.teams["team"].answers.append(held)
        await house.alert()
        lane = Lane(house.pipeline, house.outlets["team"])
        serving = asyncio.ensure_future(lane.serve(lambda: None))
        await until(lambda: held.now == 1)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        broken = Broken(house)
        held.go.set()
        return lane, broken

    async def test_what_was_said_before_a_turn_cut_short_is_logged_once(self, house: House) -> None:
        held = Held()
        house.teams["team"].answers.append(held)
        await house.alert()
        lane = Lane(house.pipeline, house.outlets["team"])
        serving = asyncio.ensure_future(lane.serve(lambda: None))
        await until(lambda: held.now == 1)
        paused = Paused(house)
        held.go.set()
        await paused.held.wait()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        paused.go.set()
        await lane.drain(1)
        delivery = (await house.deliveries())["team"]
        logged = await house.store.read(lambda ledger: ledger.outbox.attempts_of([delivery.id]))
        assert (delivery.state, len(logged[delivery.id])) == ("said", 1)


class TestClock:
    @pytest.mark.parametrize("jump", [HOUR, -HOUR, YEAR, -YEAR], ids=["+1h", "-1h", "+1y", "-1y"])
    async def test_a_clock_that_jumps_strands_nothing(self, house: House, jump: int) -> None:
        """Before the jump: one said, one waiting in backoff, one under way. After it: a new one comes."""
        team = house.teams["team"]
        held = Held()
        team.answers.extend([Sent(), Retry("HTTP 503"), held])
        team.paces = (Rate(9, 1_000),)
        async with lanes(house, "team") as (lane,):
            for title in ("said", "backoff", "under way"):
                await house.alert(title)
                lane.wake()
                await until(lambda title=title: title in [m.incident.title for m, _ in team.asked])
            await until(lambda: held.now == 1)
            house.clock.push(jump)
            await house.alert("new")
            lane.wake()
            await until(lambda: "new" in [message.incident.title for message in team.heard])
            held.go.set()
            await until(lambda: not lane._sending)
            house.clock.push(73 * MINUTE)  # the longest that a jump may delay what waits in backoff
            await self.sweep(house)
            lane.wake()
            await until(lambda: {m.incident.title for m in team.heard} == {"said", "backoff", "under way", "new"})
            for title in ("said", "backoff", "under way", "new"):
                await until(lambda title=title: said(house, title))

    @pytest.mark.parametrize("ended", [False, True])
    async def test_a_jump_that_ends_the_lease_of_what_is_being_sent_does_not_send_it_twice(
        self, house: House, ended: bool
    ) -> None:
        held, team = Held(), house.teams["team"]
        team.answers.append(held)
        await house.alert()
        async with lanes(house, "team") as (lane,):
            await until(lambda: held.now == 1)
            house.clock.push(YEAR)
            paused = Paused(house)
            lane.wake()
            await paused.held.wait()  # it has claimed it again
            if ended:
                held.go.set()
                await until(lambda: not lane._sending)
            paused.go.set()
            await asyncio.sleep(0.05)
            held.go.set()
            await until(lambda: said(house))
        assert len(team.asked) == 1

    async def sweep(self, house: House) -> None:
        """As the service does every few seconds."""
        now = house.clock()
        await house.store.write(lambda ledger: ledger.outbox.unstrand(now + 73 * MINUTE, now + 30 * MINUTE))

    async def test_a_jump_back_opens_no_second_incident(self, house: House) -> None:
        await house.alert()
        house.clock.push(-YEAR)
        await house.alert()
        assert len(await house.incidents()) == 1


class TestCrew:
    async def test_a_task_that_fails_is_restarted_within_a_second_and_counted(self) -> None:
        crew, runs = Crew(), []
        before = REGISTRY.get_sample_value("tocsin_task_restarts_total", {"task": "fragile"}) or 0

        async def fragile() -> None:
            runs.append(time.monotonic())
            if len(runs) == 1:
                raise KeyError("a bug")
            if len(runs) > 2:
                await asyncio.Event().wait()

        crew.start("fragile", fragile)
        await until(lambda: len(runs) == 3)  # the second run ended without a word: restarted as well
        await crew.stop("fragile")
        assert runs[1] - runs[0] < 1
        assert REGISTRY.get_sample_value("tocsin_task_restarts_total", {"task": "fragile"}) == before + 2
        await crew.stop("fragile")

    async def test_a_task_that_does_not_beat_is_silent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(workers, "SILENT_SECONDS", 0.05)
        crew = Crew()
        crew.start("still", asyncio.Event().wait)
        crew.start("lively", asyncio.Event().wait)
        await asyncio.sleep(0.06)
        crew.beat("lively")
        assert crew.silent() == ["still"]
        assert crew.states() == {"lively": "alive", "still": "silent"}
        for name in ("still", "lively"):
            await crew.stop(name)
        assert crew.states() == {}

    @pytest.mark.parametrize("fault", [KeyError("a bug"), StoreUnavailable("the disk is full")], ids=["bug", "store"])
    async def test_a_task_that_fails_in_every_round_is_silent_and_one_that_waits_is_not(
        self, house: House, monkeypatch: pytest.MonkeyPatch, fault: Exception
    ) -> None:
        for name, seconds in {"SILENT": 0.5, "RESTART": 0.01, "POSTPONED": 0.01, "RING": 0.05}.items():
            monkeypatch.setattr(workers, f"{name}_SECONDS", seconds)
        monkeypatch.setattr(house.store, "tick", 0.05)

        async def fails(*_: Any) -> Any:
            raise fault

        crew, pipeline, lane = Crew(), house.pipeline, Lane(house.pipeline, house.outlets["team"])
        calm = asyncio.Event()
        tasks: dict[str, Callable[[Callable[[], None]], Awaitable[None]]] = {
            "lane": lane.serve,
            "process": lambda beat: workers.process(pipeline, lambda: False, ignore, beat),
            "timers": lambda beat: workers.ring(pipeline, calm, lambda: False, ignore, beat),
        }
        for name, work in tasks.items():
            crew.start(name, lambda name=name, work=work: work(lambda: crew.beat(name)))
        try:
            await asyncio.sleep(1)
            await until(lambda: crew.silent() == [])
            for step in ("turn", "process", "ring"):
                monkeypatch.setattr(pipeline, step, fails)
            if isinstance(fault, StoreUnavailable):  # whether it can be written is asked of the store itself
                await asyncio.sleep(1)
                assert crew.silent() == []
            else:
                await until(lambda: crew.silent() == sorted(tasks))
            monkeypatch.undo()
        finally:
            for name in tasks:
                await crew.stop(name)


class TestProcessing:
    @asynccontextmanager
    async def processing(self, house: House, *, pressed: bool = False) -> AsyncIterator[list[frozenset[str]]]:
        woken: list[frozenset[str]] = []
        crew = Crew()
        crew.start(
            "process",
            lambda: workers.process(house.pipeline, lambda: pressed, woken.append, lambda: crew.beat("process")),
        )
        try:
            yield woken
        finally:
            await crew.stop("process")

    @pytest.mark.parametrize("pressed", [False, True])
    async def test_what_comes_is_decided_at_once_and_its_lanes_are_woken(self, house: House, pressed: bool) -> None:
        async with self.processing(house, pressed=pressed) as woken:
            for number in range(60):
                await house.post(Alert(f"{number}", "x"))
            await until(lambda: frozenset({"team"}) in woken)
            await until(lambda: nothing_waits(house))

    @pytest.mark.parametrize(("waited", "rests"), [(0, True), (workers.LATE, False)])
    async def test_a_flood_that_lasts_keeps_deciding_back_no_longer(
        self, house: House, monkeypatch: pytest.MonkeyPatch, waited: Millis, rests: bool
    ) -> None:
        monkeypatch.setattr(workers, "REST_UNDER_PRESSURE", 1000.0)
        monkeypatch.setattr(workers, "BATCH_UNDER_PRESSURE", 1)
        for number in range(3):
            await house.post(Alert(f"{number}", "x"))
        house.clock.push(waited)
        started = time.monotonic()
        process = house.pipeline.process

        async def one(_most: int) -> Processed:
            return await process(1)

        monkeypatch.setattr(house.pipeline, "process", one)
        async with self.processing(house, pressed=True):
            await until(lambda: nothing_waits(house))
        assert (time.monotonic() - started > workers.LONGEST_REST) is rests

    async def test_deciding_waits_for_a_store_that_cannot_be_written(self, house: House) -> None:
        broken = Broken(house)
        async with self.processing(house):
            await until(lambda: broken.refused)
            broken.mend()
            accepted = await house.post(Alert("disk", "disk"))
            assert (await house.event(accepted.event)).state == "waiting"
            await until(lambda: nothing_waits(house))

    async def test_what_takes_too_long_for_a_transaction_is_decided_in_smaller_batches(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """PostgreSQL ends such a transaction, and ends it again however often the same is tried."""
        monkeypatch.setattr(workers, "POSTPONED_SECONDS", 0.01)
        for number in range(12):
            await house.post(Alert(f"{number}", "x"))
        tried: list[int] = []
        process = house.pipeline.process

        async def impatient(most: int) -> Processed:
            tried.append(most)
            if len(tried) < 8 and most > 1:
                raise StoreUnavailable("terminating connection due to idle-in-transaction timeout")
            return await process(most)

        monkeypatch.setattr(house.pipeline, "process", impatient)
        async with self.processing(house):
            await until(lambda: nothing_waits(house))
        assert tried[:10] == [64, 32, 16, 8, 4, 2, 1, 2, 4, 8]

    @pytest.mark.parametrize("pressed", [False, True])
    async def test_changed_rules_are_held_against_what_lives_little_by_little(
        self, house: House, monkeypatch: pytest.MonkeyPatch, pressed: bool
    ) -> None:
        """Timers ring in between, and senders that queue go first."""
        monkeypatch.setattr("gateway.pipeline.CONSIDERED_AT_ONCE", 2)
        await alerts(house, 9)
        told: list[str] = []
        reconsider, ring = house.pipeline.reconsider, house.pipeline.ring

        async def slowly(after: Key) -> Key | None:
            told.append("considered")
            await asyncio.sleep(0.01)
            return await reconsider(after)

        async def rung(most: int) -> Rung:
            told.append("rung")
            return await ring(most)

        monkeypatch.setattr(house.pipeline, "reconsider", slowly)
        monkeypatch.setattr(house.pipeline, "ring", rung)
        changed, crew = asyncio.Event(), Crew()
        changed.set()
        started = time.monotonic()
        crew.start("timers", lambda: workers.ring(house.pipeline, changed, lambda: pressed, ignore, lambda: None))
        try:
            await until(lambda: told.count("considered") == 5)
        finally:
            await crew.stop("timers")
        assert all(told[place + 1] == "rung" for place, what in enumerate(told[:-1]) if what == "considered")
        assert time.monotonic() - started > 0.01 * 4 * ((workers.REST_UNDER_PRESSURE if pressed else 1) + 1)
        assert not changed.is_set()

    async def test_rules_that_change_again_are_held_against_all_again_and_a_fault_leaves_nothing_out(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.pipeline.CONSIDERED_AT_ONCE", 2)
        monkeypatch.setattr(workers, "CONSIDERED_AGAIN_SECONDS", 0.01)
        await alerts(house, 5)
        told: list[Key] = []
        reconsider = house.pipeline.reconsider
        changed, crew = asyncio.Event(), Crew()
        changed.set()

        async def heard(after: Key) -> Key | None:
            told.append(after)
            if len(told) == 2:
                changed.set()
            if len(told) == 4:
                raise StoreUnavailable("locked")
            if len(told) == 6:
                raise KeyError("a fault of ours")
            return await reconsider(after)

        monkeypatch.setattr(house.pipeline, "reconsider", heard)
        crew.start("timers", lambda: workers.ring(house.pipeline, changed, lambda: False, ignore, lambda: None))
        try:
            await until(lambda: len(told) == 7)
        finally:
            await crew.stop("timers")
        first, second, third = BEFORE_ALL, told[1], told[5]
        assert second < third
        assert told == [first, second, first, second, second, third, third]

    async def test_timers_ring_while_what_lives_cannot_be_held_against_the_rules(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fired: list[int] = []
        ring = house.pipeline.ring

        async def fails(_after: Key) -> Key | None:
            raise KeyError("a fault of ours")

        async def rung(most: int) -> Rung:
            done = await ring(most)
            fired.append(done.fired)
            return done

        monkeypatch.setattr(house.pipeline, "reconsider", fails)
        monkeypatch.setattr(house.pipeline, "ring", rung)
        await house.store.write(lambda ledger: ledger.timers.set([Timer("expire", "nobody", house.clock())]))
        changed, crew = asyncio.Event(), Crew()
        changed.set()
        crew.start("timers", lambda: workers.ring(house.pipeline, changed, lambda: False, ignore, lambda: None))
        try:
            await until(lambda: len(fired) == 2)
        finally:
            await crew.stop("timers")
        assert fired == [1, 0]

    async def test_waking_a_lane_that_is_gone_harms_nobody(self, house: House) -> None:
        lane = Lane(house.pipeline, house.outlets["team"])
        wake_lanes({"team": lane}, frozenset({"team", "gone"}))
        assert lane._wake.is_set()
