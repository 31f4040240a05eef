"""Very many alerts: at once, for long, and at the pace at which the latencies are promised."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from chaos.load import Line, percentile, sending
from chaos.receiver import Heard
from chaos.registry import BOTH, Outcome, fault, held
from chaos.run import House, Run, took

STORM = """
sources: {scripts: {adapter: generic, token: "${TOKEN}"}}
channels:
  one: {kind: webhook, url: "${RECEIVER}/one", pace: none}
  budget: {kind: webhook, url: "${RECEIVER}/budget", pace: none, max_messages: 15/h}
routes:
  - {name: gathered, match: {service: checkout}, to: [one], group_by: [service], group_wait: 30s, stop: true}
  - {name: many, to: [budget]}
"""


STILL_SECONDS = 40.0
"""A group is told again after 30 s at the least: so long without a word, and nothing promised, and it has said all."""


@fault(
    "T15",
    "20,000 alerts in a minute: 10,000 in one group, 10,000 problems of their own",
    "one group ≤ 5 messages, the last counts right; 10,000 problems ≤ 30, the last counts the rest; 0 missing",
    engines=BOTH,
    seconds=240,
    least=110,
)
async def storm(run: Run) -> Outcome:
    many = run.many(20_000, 2_000)
    async with run.house(routing=STORM) as house:
        began = time.monotonic()
        async with sending(house.ports, connections=32, pause=0.08) as load:
            load.more = lambda number: {"service": f"s{number}" if alone(number) else "checkout", "severity": "error"}
            await took(lambda: len(load.accepted) >= many, 240, 0.1)
        seconds = time.monotonic() - began
        decided = await took(lambda: house.store.count("events WHERE state = 'waiting'") == 0, 60, 0.3)
        spoken = await took(lambda: bool(house.receiver.of("/one")) and house.store.unfinished() == 0, 240, 0.5)
        before = len(house.receiver.heard)
        await asyncio.sleep(STILL_SECONDS)
        still = len(house.receiver.heard) == before
        one, budget = house.receiver.of("/one"), house.receiver.of("/budget")
        missing = len(set(load.accepted.values()) - house.store.events())
        incidents = house.store.count("incidents WHERE source = 'scripts'")
    apart = sum(alone(int(name.rpartition(" ")[2])) for name in load.accepted)
    gathered, single = len(load.accepted) - apart, len({heard.fingerprint for heard in budget} & set(load.accepted))
    told, rest = counted(one), counted(budget)
    good = 1 <= len(one) <= 5 and told == gathered and 1 <= len(budget) <= 30 and single + rest == apart
    good = good and missing == 0 and incidents == len(load.accepted) and decided < 60 and spoken < 240 and still
    return held(
        good,
        f"{len(load.accepted):,} accepted in {seconds:.0f} s, decided {decided:.1f} s later, {missing} missing,"
        f" {incidents:,} incidents; one group of {gathered:,}: {len(one)} messages, the last counts {told:,}; {apart:,}"
        f" problems: {len(budget)} messages, {single} of them single, the last counts {rest:,}; all said {spoken:.0f} s"
        f" after, then {STILL_SECONDS:.0f} s still: {still}",
        "critical ones in a storm are held by tests/test_quiet.py.",
    )


def alone(number: int) -> bool:
    """Whether the alert of this number is a problem of its own."""
    return number % 2 == 0


def counted(heard: Sequence[Heard]) -> int:
    """How many problems the last message counts; 0 where there is none."""
    return int(heard[-1].document["incident"]["count"]) if heard else 0


@fault(
    "T20",
    "a soak of 5 minutes at 50 alerts a second, each with 20 labels never seen before",
    "memory ≤ 256 MiB and ≤ 10 % more than after the first minute; file descriptors flat",
    engines=BOTH,
    seconds=330,
    least=15,
)
async def soak(run: Run) -> Outcome:
    seconds = run.many(300, 30)
    memory: list[tuple[float, float, int]] = []
    async with run.house() as house:
        began = time.monotonic()
        async with sending(house.ports, connections=8, pause=0.15) as load:
            load.more = lambda number: {"labels": {f"l{number}-{place}": f"v{number}" for place in range(20)}}
            while time.monotonic() - began < seconds:
                await asyncio.sleep(2)
                memory.append((time.monotonic() - began, house.gateway.memory_mib, house.gateway.files))
        verdict = await house.judge(load)
        per_second = len(load.accepted) / (time.monotonic() - began)
    early = [mib for at, mib, _ in memory if at <= min(60, seconds / 2)]
    late = [mib for at, mib, _ in memory if at >= seconds * 0.8]
    files = [count for at, _, count in memory if at > 10]
    growth = max(late) / max(early) - 1
    good = max(late) <= 256 and growth <= 0.1 and max(files) - min(files) <= 8 and verdict.nothing_lost
    return held(
        good,
        f"{max(early):.0f} → {max(late):.0f} MiB ({growth:+.1%}), descriptors {min(files)} to {max(files)},"
        f" {per_second:.0f} a second; {verdict}",
        "the plan asks for an hour, a million labels and 200,000 fingerprints; this is what fits in with the others.",
    )


MOST_LINES = 200
"""Connections of one sender: well below the gateway's cap of 512."""


@fault(
    "T29",
    "100 alerts a second for 20 s, open loop",
    "202 p99 ≤ 50 ms, to the receiver p99 ≤ 250 ms",
    engines=BOTH,
    seconds=30,
    least=30,
)
async def latency(run: Run) -> Outcome:
    async with run.house() as house:
        await steady(house, 100, 3, "warm")
        waits, sent = await steady(house, 100, run.whole(20, 5), "disk")
        await took(lambda: set(sent) <= house.receiver.told("/team"), 10)
        first: dict[str, float] = {}
        for one in house.receiver.of("/team"):
            first.setdefault(one.fingerprint, one.at)
    told = [first[name] - at for name, at in sent.items() if name in first]
    accept, deliver = 1e3 * percentile(waits, 0.99), 1e3 * percentile(told, 0.99)
    good = accept <= 50 and deliver <= 250 and len(told) == len(sent) and max(waits) < float("inf")
    return held(
        good,
        f"202 p50 {1e3 * percentile(waits, 0.5):.1f} p99 {accept:.1f} ms; to the receiver p50"
        f" {1e3 * percentile(told, 0.5):.1f} p99 {deliver:.1f} ms; {len(told)} of {len(sent)} told",
    )


async def steady(house: House, per_second: int, seconds: float, prefix: str) -> tuple[list[float], dict[str, float]]:
    """Posts leave on time whatever the answers do: each one's wait for its 202, and when each left."""
    waits: list[float] = []
    sent: dict[str, float] = {}
    free: list[Line] = []
    tasks: list[asyncio.Task[None]] = []

    room = asyncio.Semaphore(MOST_LINES)

    async def post(name: str) -> None:
        sent[name] = time.monotonic()
        async with room:
            await post_over(free.pop() if free else Line(house.gateway.port), name)

    async def post_over(line: Line, name: str) -> None:
        alert = {"title": name, "fingerprint": name}
        # A line that has been idle for long is closed by the gateway: whoever keeps one opens it anew.
        answer = await line.post(alert, key=name) or await line.post(alert, key=name)
        waits.append(time.monotonic() - sent[name] if answer is not None and answer[0] == 202 else float("inf"))
        free.append(line)

    began = time.monotonic()
    for number in range(int(per_second * seconds)):
        await asyncio.sleep(max(began + number / per_second - time.monotonic(), 0))
        tasks.append(asyncio.create_task(post(f"{prefix} {number}")))
    await asyncio.gather(*tasks)
    for line in free:
        line.close()
    return waits, sent


@fault("T29", "1,000 alerts within a second", "all 202 ≤ 10 s", engines=BOTH, seconds=15, least=15, ci=True)
async def burst(run: Run) -> Outcome:
    async with run.house() as house:
        began = time.monotonic()
        waits, _ = await steady(house, 1_000, 1, "burst")
        seconds = time.monotonic() - began
        drained = await took(lambda: house.store.unfinished() == 0, 60)
    return held(
        max(waits) <= 10 and drained < 60,
        f"{len(waits)} × 202 in {seconds:.1f} s, the slowest {max(waits):.2f} s; all told {drained:.1f} s later",
    )
