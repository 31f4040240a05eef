"""Vendors in trouble: down for an hour, slow, dripping, and asking for pauses."""

from __future__ import annotations

import asyncio
import email.utils
import itertools
import time
from collections import Counter

from chaos.load import percentile, sending
from chaos.receiver import GOOD, Heard, Manner, after, dripping
from chaos.registry import BOTH, Outcome, fault, held
from chaos.run import House, Run, silence, took


@fault(
    "T11",
    "a receiver is down for an hour at one alert a second (the clock is pushed), then back",
    "0 lost, ≤ 12 attempts a message, the other lane untouched, within its pace when back",
    seconds=240,
)
async def down_for_an_hour(run: Run) -> Outcome:
    from gateway.model import Retry
    from tests.stage import Team, stage

    minutes = run.many(60, 10)
    silence()
    down, up = Team(), Team()
    run.folder.mkdir(exist_ok=True)
    async with stage(run.folder, {"name": "all", "to": ["down", "up"]}, down=down, up=up) as house:
        for number in range(minutes * 60):
            down.answers.extend([Retry("down")] * max(64 - len(down.answers), 0))
            began = house.clock()
            await house.alert(f"disk {number}")
            await house.deliver("up")
            await house.deliver("down")
            house.clock.at = began + 1_000
        attempts = Counter(message.incident.fingerprint for message, _ in down.asked)
        down.answers.clear()
        rounds = 0
        while await house.store.read(lambda ledger: ledger.outbox.next_due("down")) is not None and rounds < 20_000:
            rounds += 1
            if not await house.deliver("down"):
                due = await house.store.read(lambda ledger: ledger.outbox.next_due("down"))
                house.clock.at = max(house.clock() + 1_000, due or 0)
        told = {message.incident.fingerprint for message in down.heard}
        total = minutes * 60
        other = len({message.incident.fingerprint for message in up.heard})
    good = len(told) == total and other == total and max(attempts.values()) <= 12
    return held(
        good,
        f"{total} alerts in {minutes} min: at most {max(attempts.values())} attempts a message"
        f" (mean {sum(attempts.values()) / len(attempts):.1f}), {total - len(told)} untold when back, the other lane"
        f" told {other} of {total} at once",
        "the pipeline's turns are called one by one, without the lanes' own rests: real lanes ask a dead vendor still"
        " more rarely. Their pace is held by tests/test_workers.py.",
    )


@fault(
    "T11",
    "a receiver is dead for 30 s under load, then back",
    "0 lost, the other lane's p99 ≤ 1.1 × (and 25 ms), back within its pace of 20 a second",
    engines=BOTH,
    seconds=100,
)
async def dead_and_back(run: Run) -> Outcome:
    async with run.house(routing=TWO) as house:
        async with sending(house.ports, connections=4, pause=0.25) as load:
            await asyncio.sleep(run.many(12, 6))
            before = spans(house, load.accepted_at)
            house.receiver.manners["/bad"] = refusing
            began = time.monotonic()
            await asyncio.sleep(run.many(30, 10))
            during = {name: span for name, span in spans(house, load.accepted_at).items() if name not in before}
            del house.receiver.manners["/bad"]
            returned = time.monotonic()
        verdict = await house.judge(load, "/bad", 120)
        tries = Counter(one.fingerprint for one in house.receiver.of("/bad") if began < one.at < returned)
        back = sorted(one.at for one in house.receiver.of("/bad") if one.at > returned)
    # Three seconds at a time: what left at an even pace may arrive in clumps where the machine is busy.
    fastest = max((sum(at <= one < at + 3 for one in back) for at in back), default=0) / 3
    calm, troubled = percentile(list(before.values()), 0.99), percentile(list(during.values()), 0.99)
    good = not (verdict.lost or verdict.untold or verdict.unfinished) and troubled <= max(1.1 * calm, calm + 0.025)
    good = good and fastest <= 22
    return held(
        good,
        f"{verdict}; at most {max(tries.values(), default=0)} attempts a message while dead; the other lane's"
        f" p99 {1e3 * calm:.0f} → {1e3 * troubled:.0f} ms; back at most {fastest:.0f} a second",
    )


TWO = """
sources: {scripts: {adapter: generic, token: "${TOKEN}"}}
channels:
  good: {kind: webhook, url: "${RECEIVER}/good", pace: none}
  bad: {kind: webhook, url: "${RECEIVER}/bad", pace: 20/s, timeout: TIMEOUT}
routes: [{name: all, to: [good, bad]}]
""".replace("TIMEOUT", "15s")


async def refusing(_heard: Heard, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


def spans(house: House, accepted_at: dict[str, float], path: str = "/good") -> dict[str, float]:
    """From 202 to the receiver, in seconds, by name."""
    first: dict[str, float] = {}
    for one in house.receiver.of(path):
        first.setdefault(one.fingerprint, one.at)
    return {name: max(first[name] - at, 0.0) for name, at in accepted_at.items() if name in first}


async def beside(run: Run, manner: Manner, seconds: float) -> tuple[House, float, float, float]:
    """The other lane's p99 before and while one answers in this manner; and how long a send to that one lasted."""
    async with run.house(routing=TWO) as house:
        async with sending(house.ports, connections=4, pause=0.2) as load:
            await asyncio.sleep(run.many(15, 6))
            before = spans(house, load.accepted_at)
            house.receiver.manners["/bad"] = manner
            await asyncio.sleep(seconds)
            during = {name: span for name, span in spans(house, load.accepted_at).items() if name not in before}
        await asyncio.sleep(1)
        longest = house.store.sql(
            "SELECT max(took) FROM attempts WHERE delivery_id IN (SELECT id FROM deliveries WHERE channel = 'bad')"
        )[0][0]
    return house, percentile(list(before.values()), 0.99), percentile(list(during.values()), 0.99), longest / 1000


@fault(
    "T12", "a receiver takes 10 s for each answer", "the other lane's p99 ≤ 1.1 × (and 25 ms)", engines=BOTH, seconds=60
)
async def slow(run: Run) -> Outcome:
    _, calm, troubled, longest = await beside(run, after(10), run.many(25, 12))
    return held(
        troubled <= max(1.1 * calm, calm + 0.025),
        f"the other lane's p99 {1e3 * calm:.0f} → {1e3 * troubled:.0f} ms; the slow one's send {longest:.1f} s",
    )


@fault(
    "T12",
    "a receiver's answer drips and never ends",
    "cut at the total of 15 s; the other lane's p99 ≤ 1.1 × (and 25 ms)",
    engines=BOTH,
    seconds=65,
)
async def drips(run: Run) -> Outcome:
    _, calm, troubled, longest = await beside(run, dripping, 25)
    good = 14 <= longest <= 16 and troubled <= max(1.1 * calm, calm + 0.025)
    return held(good, f"cut after {longest:.1f} s; the other lane's p99 {1e3 * calm:.0f} → {1e3 * troubled:.0f} ms")


@fault(
    "T13",
    "429 with Retry-After: seconds, an HTTP date, rubbish",
    "next attempt in [R, 1.2 R + 0.5 s]; rubbish: backoff",
    engines=BOTH,
    seconds=25,
)
async def asked_to_wait(run: Run) -> Outcome:
    routing = (
        'sources: {scripts: {adapter: generic, token: "${TOKEN}"}}\nchannels:\n'
        + "".join(f'  {name}: {{kind: webhook, url: "${{RECEIVER}}/{name}", pace: none}}\n' for name in ASKED)
        + f"routes: [{{name: all, to: [{', '.join(ASKED)}]}}]\n"
    )
    async with run.house(routing=routing) as house:
        for name, wish in ASKED.items():
            house.receiver.manners[f"/{name}"] = once_429(wish)
        await house.gateway.post({"title": "disk", "fingerprint": "disk"})
        await took(lambda: all(len(house.receiver.of(f"/{name}")) >= 2 for name in ASKED if name != "day"), 25)
        await asyncio.sleep(3)
        waits = {name: [b.at - a.at for a, b in pairs(house.receiver.of(f"/{name}"))] for name in ASKED}
        many = {name: len(house.receiver.of(f"/{name}")) for name in ASKED}
        wait = house.store.sql("SELECT due_at - promised_at FROM deliveries WHERE channel = 'day'")[0][0] / 1000
    bounds = {"one": (1.0, 1.7), "three": (3.0, 4.1), "date": (3.0, 5.5), "rubbish": (1.5, 3.0), "nothing": (1.5, 3.0)}
    good = all(len(waits[name]) == 1 and low <= waits[name][0] <= high for name, (low, high) in bounds.items())
    good = good and all(times == 2 for name, times in many.items() if name != "day") and many["day"] == 1
    good = good and 3_600 <= wait <= 1.2 * 3_600 + 5
    said = ", ".join(f"{name} {waits[name][0]:.1f} s" if waits[name] else f"{name} -" for name in bounds)
    return held(good, f"{said}; asked for a day: next in {wait / 60:.0f} min; nobody was asked more than twice")


ASKED = {"one": "1", "three": "3", "date": "DATE", "rubbish": "soon, I hope", "nothing": "", "day": "86400"}


def once_429(wish: str) -> Manner:
    """429 with this wish the first time, then good."""
    asked: list[Heard] = []

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        asked.append(heard)
        if len(asked) > 1:
            writer.write(GOOD)
            return
        now = time.time()
        at = email.utils.formatdate(now + 4, usegmt=True) if wish == "DATE" else wish
        lines = ["HTTP/1.1 429 Slow", "content-length: 0", f"date: {email.utils.formatdate(now, usegmt=True)}"]
        lines += [f"retry-after: {at}"] if at else []
        writer.write("\r\n".join([*lines, "", ""]).encode())

    return answer


def pairs(heard: list[Heard]) -> list[tuple[Heard, Heard]]:
    return list(itertools.pairwise(heard))
