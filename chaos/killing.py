"""Processes that die: killed under load, stopped under load, and killed by the very message that they send."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Iterable

from chaos.load import sending
from chaos.receiver import answering
from chaos.registry import BOTH, Outcome, fault, held
from chaos.run import Run, took, until

LANE_WIDTH = 16
BETWEEN = 500
"""Messages told between a start and the next kill, at the least: a share of nothing says nothing."""


KILLS = 200


@fault("T1", "kill -9 under load", "0 lost, 0 untold, extra ≤ 1 %", engines=BOTH, seconds=1300, least=15, ci=True)
async def killed(run: Run) -> Outcome:
    cycles, kills, over = run.many(KILLS, 5), 0, run.until(30)
    async with run.house() as house:
        async with sending(house.ports) as load:
            while kills < cycles and not over():
                told = len(house.receiver.heard)
                await asyncio.sleep(1.0 + random.random() * 0.4)
                await until(lambda told=told: len(house.receiver.heard) >= told + BETWEEN, 60)
                await house.gateway.end(signal.SIGKILL)
                kills += 1
                await house.gateway.start()
        verdict = await house.judge(load, seconds=150)
    bound = verdict.extra <= kills * LANE_WIDTH
    outcome = verdict.outcome(f"{kills} of {KILLS} kills: ", extra=0.01)
    return Outcome(
        outcome.held and bound,
        outcome.seen,
        f"each kill comes after {BETWEEN} messages or more, with at most {LANE_WIDTH} sends under way. An hour has no"
        f" room for {KILLS} on both engines beside the others: all of them by"
        ' `make chaos ARGS="--only T1 --minutes 70"`.',
    )


@fault("T19", "SIGTERM under load", "exit ≤ 10 s, 0 lost, 0 twice", engines=BOTH, seconds=150, least=15, ci=True)
async def stopped(run: Run) -> Outcome:
    tooks: list[float] = []
    codes: set[int] = set()
    cycles, over = run.many(50, 4), run.until(5)
    async with run.house() as house:
        async with sending(house.ports) as load:
            while len(tooks) < cycles and not over():
                await asyncio.sleep(0.6 + random.random() * 0.6)
                began = time.monotonic()
                codes.add(await house.gateway.end(signal.SIGTERM))
                tooks.append(time.monotonic() - began)
                await house.gateway.start()
        verdict = await house.judge(load, seconds=150)
    good = verdict.nothing_lost and verdict.extra == 0 and max(tooks) <= 10 and codes <= {0}
    return held(good, f"{len(tooks)} stops, at most {max(tooks):.2f} s, exit codes {sorted(codes)}: {verdict}")


POISONED = """
sources: {scripts: {adapter: generic, token: "${TOKEN}"}}
channels:
  team: {kind: webhook, url: "${RECEIVER}/team", pace: none}
  others: {kind: webhook, url: "${RECEIVER}/others", pace: none}
routes:
  - {name: poison, match: {title: poison}, to: [team], stop: true}
  - {name: all, to: [others]}
"""


@fault(
    "T14",
    "a message that kills the process in the midst of sending it",
    "≤ 5 attempts, then a dead letter that can be sent again; meanwhile another channel is told",
    engines=BOTH,
    seconds=40,
    least=40,
    ci=True,
)
async def poisoned(run: Run) -> Outcome:
    async with run.house(routing=POISONED, start=False, CHAOS_HOOK="poison") as house:
        gateway = house.gateway
        gateway.module = "chaos.hooked"
        await gateway.start()
        deaths: list[float] = []
        async with sending([gateway.port], connections=1, pause=0.02, prefix="well") as load:
            status, _, _ = await gateway.post({"title": "poison", "fingerprint": "poison"})
            while len(deaths) < 12 and await took(lambda: not gateway.alive, 6) < 6:
                await gateway.ended()
                deaths.append(time.monotonic())
                if run.engine == "postgresql":
                    house.store.end_leases()
                await gateway.start(wait=False)
                await took(lambda: gateway.status("/healthz"), 8)  # it may die before it has answered
            if not gateway.alive:
                await gateway.start()
        verdict = await house.judge(load, "/others", 30)
        meanwhile = sum(deaths[0] < one.at < deaths[-1] for one in house.receiver.of("/others")) if deaths else 0
        dead = house.store.sql("SELECT id, state, reason FROM deliveries WHERE state = 'failed'")
        listed = (await gateway.get("/api/v1/deliveries?state=failed"))["items"]
        await gateway.end(signal.SIGTERM)
        gateway.module = "gateway"  # mended
        await gateway.start()
        again = await gateway.act(f"/api/v1/deliveries/{dead[0][0]}/redeliver") if dead else 0
        redriven = await took(lambda: "poison" in house.receiver.told("/team"), 10)
    good = status == 202 and 2 <= len(deaths) <= 5 and len(dead) == 1 and len(listed) == 1 and redriven < 10
    good = good and meanwhile > 0 and not (verdict.lost or verdict.untold)
    return held(
        good,
        f"{len(deaths)} deaths, {len(dead)} dead letter ({len(listed)} in the API), sent again by hand ({again}) after"
        f" {redriven:.1f} s; the other channel told {meanwhile} times between the first death and the last: {verdict}",
        "it dies a fifth of a second after it has begun to send."
        + (" The dead one's leases are ended by hand." if run.engine == "postgresql" else ""),
    )


@fault(
    "T14",
    "a receiver that says 400, a template that breaks",
    "a dead letter at once; the other lane told",
    engines=BOTH,
    seconds=15,
    least=15,
)
async def refused(run: Run) -> Outcome:
    routing = """
sources: {scripts: {adapter: generic, token: "${TOKEN}"}}
channels:
  team: {kind: webhook, url: "${RECEIVER}/team", pace: none}
  bad: {kind: webhook, url: "${RECEIVER}/bad", pace: none}
  broken: {kind: webhook, url: "${RECEIVER}/broken", pace: none, templates: {title: "{{ value + title }}"}}
routes: [{name: all, to: [team, bad, broken]}]
"""
    async with run.house(routing=routing) as house:
        house.receiver.manners["/bad"] = answering(400)
        for number in range(20):
            await house.gateway.post({"title": f"disk {number}", "fingerprint": f"disk {number}"})
        # The gateway's own alert, that `bad` fails, comes to the team as well.
        team = await took(lambda: len(disks(house.receiver.told("/team"))) == 20, 10)
        await took(lambda: house.store.count("deliveries WHERE channel = 'bad' AND state = 'failed'") == 20, 15)
        dead = house.store.count("deliveries WHERE channel = 'bad' AND state = 'failed'")
        bad = len([one for one in house.receiver.of("/bad") if one.fingerprint.startswith("disk")])
        told = len(disks(house.receiver.told("/broken")))
        await until(lambda: house.gateway.status("/readyz"), 5)
        ready = await house.gateway.status("/readyz")
    good = team < 10 and dead == 20 and bad == 20 and told == 20 and ready == 200
    return held(
        good,
        f"20 of 20 told in {team:.1f} s; 400: {dead} dead letters after {bad} sends; broken template:"
        f" {told} of 20 told in our own words; ready {ready}",
    )


def disks(told: Iterable[str]) -> set[str]:
    return {one for one in told if one.startswith("disk")}
