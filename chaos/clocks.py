"""Clocks that jump while the gateway runs: an hour ahead, an hour back, a year ahead and back again."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

from chaos.load import sending
from chaos.needs import FAKETIME
from chaos.registry import BOTH, NotRun, Outcome, fault, held
from chaos.run import House, Run, took

PAGING = """
sources: {scripts: {adapter: generic, token: "${TOKEN}"}}
channels:
  team: {kind: webhook, url: "${RECEIVER}/team", pace: none}
  kim: {kind: webhook, url: "${RECEIVER}/kim", pace: none}
  lee: {kind: webhook, url: "${RECEIVER}/lee", pace: none}
escalations:
  page: {steps: [{to: [kim]}, {to: [lead], after: 6s}]}
people: {lead: {channels: [lee]}}
routes:
  - {name: page, match: {service: page}, to: [page], stop: true}
  - {name: all, to: [team]}
"""
HOUR = 3_600
JUMPS = (HOUR, -HOUR, 365 * 24 * HOUR, 0)
CALM = 4
DATE_SECONDS = 4
"""A Date has whole seconds, is made once a second, and libfaketime reads its file once a second."""


def put_clock(file: Path, seconds: int) -> None:
    """By a rename: it must never be read half written."""
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{seconds:+d}\n")
    fresh.rename(file)


@fault(
    "T16",
    "the wall clock jumps +1 h, −1 h, +1 year and back, under load and within an escalation",
    "0 stranded, 0 twice, a step ≤ 1 s off",
    engines=BOTH,
    seconds=55,
    least=55,
    needs=("libfaketime",),
)
async def jumps(run: Run) -> Outcome:
    run.folder.mkdir(exist_ok=True)
    clock = run.folder / "clock"
    put_clock(clock, 0)
    faked = {"LD_PRELOAD": str(FAKETIME[0]), "FAKETIME_TIMESTAMP_FILE": str(clock)}
    faked |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "FAKETIME_CACHE_DURATION": "1"}
    # Debian's build has it set, and then every wait for the interpreter's lock ends at once and begins anew: the
    # gateway spends its time on that, and steps are seconds late with no jump at all.
    faked |= {"FAKETIME_FORCE_MONOTONIC_FIX": "0"}
    wrong: list[str] = []
    async with run.house(routing=PAGING, **faked) as house:  # type: ignore[arg-type]
        async with sending(house.ports, connections=2, pause=0.3) as load:
            paged: dict[str, float] = {}
            for number in range(CALM):
                await page(house, paged, f"calm {number}")
                await asyncio.sleep(1)
            await took(lambda: set(paged) <= house.receiver.told("/lee"), 20, 0.05)
            calm = [lateness(house, name, at) for name, at in paged.items()]
            off: list[float] = []
            for offset in JUMPS:
                name = f"jump {offset}"
                at = await page(house, paged, name)
                await asyncio.sleep(2)
                put_clock(clock, offset)
                await took(lambda name=name: name in house.receiver.told("/lee"), 20, 0.01)  # type: ignore[misc]
                off.append(lateness(house, name, at))
                await asyncio.sleep(1)
                if abs(await house.gateway.ahead() - offset) > DATE_SECONDS:
                    wrong.append(f"{offset:+d} s")
        verdict = await house.judge(load)
        followed = house.gateway.log.count("clock followed")
        times = Counter(one.fingerprint for one in house.receiver.of("/lee"))
    if wrong:
        raise NotRun(f"libfaketime does not reach the gateway's clock here: its Date did not show {', '.join(wrong)}")
    still = max(map(abs, calm))
    good = verdict.nothing_lost and verdict.extra == 0 and times == dict.fromkeys(paged, 1)
    good = good and still <= 1 and max(map(abs, off)) <= 1 + still
    good = good and followed == (len(JUMPS) if run.engine == "sqlite" else 0)
    busy = "" if still <= 1 else " (TOO BUSY: no proof)"
    return held(
        good,
        f"{len(JUMPS)} jumps, each in the Date of the gateway's answers, {followed} followed; {verdict}; steps"
        f" {', '.join(f'{late:+.2f}' for late in off)} s off (of {CALM} without a jump the worst {still:.2f} s{busy}),"
        f" each paged {sorted(set(times.values()))} times",
        "what a step is off without a jump is this machine's doing and is allowed on top. On SQLite the gateway"
        " follows its own wall clock and says so at each jump; on PostgreSQL it goes by the database's, which does not"
        " jump here. Changes of summer time, and the zones of calendars and rotations, are held by tests/rules.",
    )


async def page(house: House, paged: dict[str, float], name: str) -> float:
    """An incident that pages kim now and lee in six seconds; when it was accepted."""
    await house.gateway.post({"title": name, "fingerprint": name, "service": "page"})
    paged[name] = time.monotonic()
    return paged[name]


def lateness(house: House, name: str, accepted: float) -> float:
    """How many seconds late the second step was told; infinity where it was not."""
    second = [one.at for one in house.receiver.of("/lee") if one.fingerprint == name]
    return second[0] - accepted - 6 if second else float("inf")
