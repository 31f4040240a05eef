"""What breaks inside of the gateway: its tasks, and a source that sends more than it may."""

from __future__ import annotations

import asyncio
import signal
import time

from chaos.load import Line, Load, sending
from chaos.registry import BOTH, Outcome, fault, held
from chaos.run import House, Run, took


@fault(
    "T10",
    "an exception ends every task of the gateway at once, again and again",
    "each is back ≤ 1 s, 0 lost, ready again",
    engines=BOTH,
    seconds=35,
    least=15,
    ci=True,
)
async def tasks_die(run: Run) -> Outcome:
    blows = run.many(10, 3)
    backs: list[float] = []
    async with run.house(start=False, CHAOS_HOOK="tasks") as house:
        house.gateway.module = "chaos.hooked"
        await house.gateway.start()
        tasks = len((await house.gateway.get("/readyz"))["lanes"])
        async with sending(house.ports) as load:
            for _ in range(blows):
                await asyncio.sleep(1)
                house.gateway.process.send_signal(signal.SIGUSR1)  # type: ignore[union-attr]
                backs.append(await back(house, load))
        verdict = await house.judge(load)
        ready = await house.gateway.status("/readyz")
        restarts = await house.gateway.metric("tocsin_task_restarts_total")
        alive = house.gateway.alive
    # The two of the store do not beat and so are not in the list; they are counted all the same.
    good = max(backs) <= 1 and verdict.nothing_lost and ready == 200 and alive and restarts >= blows * tasks
    return held(
        good,
        f"{blows} blows, {restarts:.0f} restarts of {tasks + 2} tasks, accepting and telling again after at"
        f" most {max(backs):.2f} s; {verdict}; ready {ready}",
    )


async def back(house: House, load: Load) -> float:
    """How long until something is accepted and something told that were not before."""
    accepted, heard = len(load.accepted), len(house.receiver.heard)
    await asyncio.sleep(0.1)  # what was on its way
    accepted, heard = max(accepted, len(load.accepted)), max(heard, len(house.receiver.heard))
    return 0.1 + await took(lambda: len(load.accepted) > accepted and len(house.receiver.heard) > heard, 10)


@fault(
    "T10",
    "a task lives and does nothing",
    "/readyz red ≤ 35 s, /healthz green",
    seconds=45,
    least=45,
    alone="no task's watch asks the database.",
)
async def task_hangs(run: Run) -> Outcome:
    async with run.house(start=False, CHAOS_HOOK="silent") as house:
        house.gateway.module = "chaos.hooked"
        await house.gateway.start()
        before = await house.gateway.status("/readyz")
        house.gateway.process.send_signal(signal.SIGUSR1)  # type: ignore[union-attr]

        async def red() -> bool:
            return await house.gateway.status("/readyz") == 503

        seconds = await took(red, 45, 0.2)
        lanes = (await house.gateway.get("/readyz"))["lanes"]
        alive = await house.gateway.status("/healthz")
    silent = [name for name, state in lanes.items() if state != "alive"]
    good = before == 200 and seconds <= 35 and silent == ["process"] and alive == 200
    return held(
        good,
        f"red after {seconds:.1f} s, naming {silent}; /healthz {alive}",
        "weaker than the plan: one task hangs, the one that decides, and not each in turn. All are watched in the same"
        " way: gateway/workers.py, Crew.silent.",
    )


LIMITED = """
sources:
  scripts: {adapter: generic, token: "${TOKEN}", limit: 20/s}
  calm: {adapter: generic, token: another-t0ken}
channels:
  team: {kind: webhook, url: "${RECEIVER}/team", pace: none}
routes: [{name: all, to: [team]}]
"""


@fault(
    "T17",
    "a source sends ten times what it may",
    "429 with Retry-After, the others 202, what had 202 is told",
    seconds=15,
    least=15,
    ci=True,
    alone="the limiter is in the gateway's memory and asks no database.",
)
async def limited(run: Run) -> Outcome:
    async with run.house(routing=LIMITED) as house:
        answers: list[tuple[int, bool, str]] = []
        others: set[int] = set()

        async def flood(number: int) -> None:
            for turn in range(40):
                name = f"disk {number} {turn}"
                status, headers, answer = await house.gateway.post({"title": name, "fingerprint": name})
                answers.append((status, "retry-after" in headers, answer.get("event", "") if answer else ""))
                await asyncio.sleep(0.02)

        async def calm() -> None:
            for number in range(20):
                others.add(await quiet_post(house, number))
                await asyncio.sleep(0.05)

        began = time.monotonic()
        await asyncio.gather(*(flood(number) for number in range(5)), calm())
        seconds = time.monotonic() - began
        await took(lambda: house.store.unfinished() == 0, 20)
        taken = [event for status, _, event in answers if status == 202]
        turned = [polite for status, polite, _ in answers if status == 429]
        lost = set(taken) - house.store.events()
        told = sum(one.startswith("disk") for one in house.receiver.told("/team"))
    good = others == {202} and turned and all(turned) and not lost and told == len(taken)
    good = good and len(taken) + len(turned) == len(answers) and len(taken) <= 20 * (seconds + 1) + 1
    return held(
        good,
        f"{len(taken)} taken and {len(turned)} × 429 in {seconds:.1f} s, the other source {sorted(others)},"
        f" {len(lost)} lost, {told} told",
        "the limiter is arithmetic in the gateway's own memory: it has no backend that could break, so what is"
        " played is a flood.",
    )


async def quiet_post(house: House, number: int) -> int:
    line = Line(house.gateway.port)
    head = "POST /webhooks/calm HTTP/1.1\r\nauthorization: Bearer another-t0ken\r\ncontent-type: application/json\r\n"
    answer = await line.ask(head, f'{{"title": "calm {number}"}}'.encode())
    line.close()
    return 0 if answer is None else answer[0]
