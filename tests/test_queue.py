"""The model of bench/queue.py against what is known without it: M/M/1, M/D/1, M/M/c, Little's law, a batch's limit."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from bench.queue import HEAD, PAGE, TURN, House, Run, at, row, simulate
from bench.stations import Job, Station, Time

ARRIVALS = 200_000


def station_alone(load: float, servers: int, exponential: bool, seed: int) -> Station:
    """One station with a mean service of one second, so many arrivals later; the first tenth is forgotten."""
    time, dice = Time(), random.Random(seed)
    work = (lambda _n: dice.expovariate(1.0)) if exponential else (lambda _n: 1.0)
    station = Station(time, [work], servers=servers)
    rate = load * servers

    def arrive() -> None:
        station.take(Job(time.now))
        time.after(dice.expovariate(rate), arrive)

    time.after(0, arrive)
    time.run(ARRIVALS / 10 / rate)
    station.forget()
    time.run(time.now + ARRIVALS / rate)
    return station


@pytest.mark.parametrize("load", [0.3, 0.5, 0.8])
def test_one_server_with_exponential_service_waits_as_mm1_says(load: float) -> None:
    station = station_alone(load, 1, exponential=True, seed=11)
    assert fmean(station.waits) == pytest.approx(load / (1 - load), rel=0.05)
    assert station.utilisation == pytest.approx(load, rel=0.02)
    # P(wait > t) = load · e^(-(1 - load) t)
    assert at(sorted(station.waits), 0.99) == pytest.approx(math.log(load / 0.01) / (1 - load), rel=0.05)


@pytest.mark.parametrize("load", [0.3, 0.5, 0.8])
def test_one_server_with_even_service_waits_half_as_long_as_md1_says(load: float) -> None:
    station = station_alone(load, 1, exponential=False, seed=12)
    assert fmean(station.waits) == pytest.approx(load / (2 * (1 - load)), rel=0.04)
    assert sum(wait == 0 for wait in station.waits) / len(station.waits) == pytest.approx(1 - load, rel=0.03)


@pytest.mark.parametrize(("servers", "load"), [(2, 0.7), (8, 0.8)])
def test_several_servers_wait_as_erlang_says(servers: int, load: float) -> None:
    offered = servers * load
    last = offered**servers / math.factorial(servers) / (1 - load)
    waits_at_all = last / (sum(offered**n / math.factorial(n) for n in range(servers)) + last)
    station = station_alone(load, servers, exponential=True, seed=13)
    assert fmean(station.waits) == pytest.approx(waits_at_all / (servers * (1 - load)), rel=0.05)
    assert sum(wait > 0 for wait in station.waits) / len(station.waits) == pytest.approx(waits_at_all, rel=0.03)


@pytest.mark.parametrize(("share", "keeps_up"), [(0.9, True), (1.1, False)])
def test_a_writer_that_commits_in_groups_keeps_up_to_its_limit_and_no_further(share: float, keeps_up: bool) -> None:
    commit, each, most = 280e-6, 17e-6, 64
    limit = most / (commit + most * each)
    time, dice = Time(), random.Random(14)
    writer = Station(time, [lambda n: commit + n * each], most=(most,))

    def arrive() -> None:
        writer.take(Job(time.now))
        time.after(dice.expovariate(share * limit), arrive)

    time.after(0, arrive)
    time.run(2)
    assert (writer.waiting < 10 * most) is keeps_up
    if not keeps_up:
        assert writer.waiting == pytest.approx((share - 1) * limit * 2, rel=0.1)


def test_one_commit_a_row_would_carry_a_tenth_of_that() -> None:
    """The reason to commit in groups: the same rate that a group carries drowns a writer of single rows."""
    assert 1 / (280e-6 + 17e-6) < 0.1 * 512 / (280e-6 + 512 * 17e-6)


def test_as_many_are_in_the_house_as_come_in_the_time_that_they_stay() -> None:
    """Little's law, over the whole way to the 202, by counting who is there at random instants."""
    run, dice = Run(House(rate=300, width=64), seed=15), random.Random(16)
    there: list[int] = []

    def count() -> None:
        there.append(run.alerts - len(run.accepted))
        run.time.after(dice.expovariate(200), count)

    run.time.after(0.0, count)
    seen = run.run(120, warm=0)
    assert fmean(there) == pytest.approx(seen.alerts / 120 * fmean(seen.accepted), rel=0.06)


def test_what_comes_in_is_told_or_waits_and_nothing_else() -> None:
    seen = simulate(House(rate=200, width=64), seconds=30, warm=0, seed=16)
    assert len(seen.accepted) <= seen.alerts
    assert seen.messages <= len(seen.told) <= seen.alerts
    assert len(seen.told) == pytest.approx(seen.alerts, rel=0.02)


def test_a_lane_that_is_too_slow_tells_of_each_problem_and_not_of_each_alert() -> None:
    """One message a second, a hundred alerts a second about twenty problems: twenty wait, and not six thousand."""
    seen = simulate(House(rate=100, problems=20, pace=1.0, width=2), seconds=120, seed=17)
    assert seen.messages <= 121
    assert seen.left <= 20
    assert len(seen.told) > 50 * seen.messages
    assert at(seen.told, 1.0) <= 20 + 3  # each problem's turn comes round


def per_event(house: House, *costs: str) -> float:
    """Seconds that an event takes of these costs, in full batches and turns."""
    shares = {"batch": 1 / 64, "turn": 1 / TURN}
    return sum(getattr(house, cost) * shares.get(cost, 1.0) for cost in costs)


def test_two_replicas_carry_what_one_cannot() -> None:
    """Receiving and sending leaves the one core that decides."""
    house = House(width=256, away=1.0)
    alone = 1 / per_event(house, "intake", "batch", "decide", "turn", "say")
    one, two = (simulate(replace(house, rate=1.2 * alone, replicas=n), seconds=20, warm=2) for n in (1, 2))
    assert one.left > 1_000
    assert two.left < 300
    assert one.core == pytest.approx(1.0, abs=0.01)


def test_many_replicas_carry_no_more_than_the_lock_that_they_share() -> None:
    house = House(width=256, replicas=8)
    together = 1 / per_event(house, "batch", "decide", "turn", "settle") / house.away
    below, above = (simulate(replace(house, rate=share * together), seconds=20, warm=2) for share in (0.9, 1.2))
    assert below.left < 500
    assert above.left > 1_000
    assert above.turns == pytest.approx(1.0, abs=0.01)
    assert above.core < 0.5


def test_whoever_has_waited_longest_is_next_but_for_what_is_urgent() -> None:
    time, done = Time(), ""
    station = Station(time, [lambda _n: 1.0] * 3, most=(1, 1, 1), urgent=1)

    def job(name: str) -> Job:
        made = Job(time.now)

        def after(_job: Job) -> None:
            nonlocal done
            done += name

        made.after = after
        return made

    for name, queue in (("a", 2), ("b", 2), ("c", 1), ("d", 0), ("e", 2)):
        station.take(job(name), queue)
        time.run(time.now + 0.1)
    time.run(10)
    assert done == "adbce"


def test_a_seed_tells_the_same_story_again() -> None:
    house = House(rate=200, burst=100, every=2.0)
    assert simulate(house, 5, seed=3) == simulate(house, 5, seed=3) != simulate(house, 5, seed=4)


@pytest.mark.parametrize("number", [0, 3, 6, 7, 13, 17])
def test_the_page_quotes_what_the_model_says(number: int) -> None:
    page = (Path(__file__).parent.parent / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert HEAD in page
    assert row(PAGE[number], simulate(PAGE[number])) in page
