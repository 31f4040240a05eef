"""Several gateways on one PostgreSQL: one dies, one sleeps past its lease, two are told the same, one is cut off."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from chaos.load import Line, sending
from chaos.receiver import GOOD, Heard, Manner
from chaos.registry import BOTH, POSTGRESQL, Outcome, fault, held
from chaos.run import Gateway, House, Run, Store, took
from chaos.wire import Mode, Wire

SLOW_SECONDS = 1.2
LEASES = "SELECT coalesce(max(lease_until), 0) FROM deliveries WHERE state = 'waiting'"


def hanging(let_go: asyncio.Event) -> Manner:
    """Takes the request and says nothing until it is let go."""

    async def answer(_heard: Heard, writer: asyncio.StreamWriter) -> None:
        await let_go.wait()
        writer.write(GOOD)

    return answer


@fault(
    "T6",
    "a replica is killed with messages in its hands while another lives",
    "all told again ≤ lease + 5 s, the attempt that died counted",
    engines=POSTGRESQL,
    seconds=50,
    least=50,
    alone="on SQLite there is one gateway, whose next start takes everything over: T1 and T14.",
)
async def killed_in_mid_claim(run: Run) -> Outcome:
    async with run.house(replicas=2, start=False) as house:
        dying, other = house.gateways
        await dying.start()  # alone at first, so that it is known whose hands they are in
        let_go = asyncio.Event()
        house.receiver.manners["/team"] = hanging(let_go)
        for number in range(10):
            await dying.post({"title": f"disk {number}", "fingerprint": f"disk {number}"})
        await took(lambda: len(house.receiver.heard) >= 10, 8)
        claimed = house.store.leases()
        await other.start()
        untouched = house.store.leases() == claimed and len(house.receiver.heard) == 10
        await dying.end(signal.SIGKILL)
        killed = time.monotonic()
        let_go.set()
        lease = int(house.store.sql(LEASES)[0][0]) / 1000 - database_now(house.store)
        house.receiver.manners["/team"] = slowly
        before = len(house.receiver.heard)
        # Until it is settled a claim counts as an attempt: five in a row make a dead letter.
        counted = await took(
            lambda: house.store.count("deliveries WHERE token = 2 AND unsettled = 2") == 10, lease + 30, 0.1
        )
        again = await took(lambda: len({one.fingerprint for one in house.receiver.heard[before:]}) == 10, 30, 0.01)
        seconds = time.monotonic() - killed
        await took(lambda: house.store.unfinished() == 0, 10)
        left = house.store.unfinished()
        alive = await other.status("/readyz") == 200
    good = len(claimed) == 10 and untouched and counted < lease + 30 and again < 30 and seconds <= max(lease, 0) + 5
    return held(
        good and left == 0 and alive,
        f"{len(claimed)} in its hands, their lease had {lease:.0f} s to run (left alone by the other until then:"
        f" {untouched}); all told by the other after {seconds:.1f} s; the attempt that died counted:"
        f" {counted < lease + 30}",
    )


def database_now(store: Store) -> float:
    """The database's own clock, in Unix seconds."""
    return float(store.sql("SELECT extract(epoch FROM clock_timestamp())")[0][0])


@fault(
    "T7",
    "a replica sleeps (SIGSTOP) past its lease 20 times",
    "0 stale settlements applied, each counted by the sleeper; 0 lost",
    engines=POSTGRESQL,
    seconds=160,
    least=20,
    alone="on SQLite there is one gateway: nobody takes over what a sleeping one holds.",
)
async def zombie(run: Run) -> Outcome:
    rounds = run.many(20, 3)
    taken_over = missed = 0
    async with run.house(replicas=2) as house:
        sleeper, other = house.gateways
        async with sending([other.port], connections=4, pause=0.2) as load:
            for _ in range(rounds):
                house.receiver.manners["/team"] = slowly
                await asyncio.sleep(1.0)
                sleeper.process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
                del house.receiver.manners["/team"]
                held_by_it = await of_the_sleeper(house)
                ended = house.store.end_leases(held_by_it)
                taken_over += ended
                missed += await took(lambda held=held_by_it: not held & house.store.claims(), 15, 0.1) > 15
                sleeper.process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
                await took(lambda many=taken_over: fenced_by(sleeper, many), 5, 0.1)
        verdict = await house.judge(load, seconds=150)
        fenced, others = [await one.metric("tocsin_settlements_fenced_total") for one in house.gateways]
    good = verdict.nothing_lost and taken_over > 0 and not missed and fenced == taken_over and others == 0
    return held(
        good and verdict.extra <= fenced,
        f"{rounds} sleeps, {taken_over} messages of the sleeper's taken over, {fenced:.0f} settlements of the sleeper's"
        f" fenced and {others:.0f} of the other's; {verdict}",
        "the leases of what the sleeper holds, and no others, are ended by hand in the database, for a real one lasts"
        " longer than a test may. One settlement that was applied though stale would be one fenced too few.",
    )


async def of_the_sleeper(house: House) -> set[tuple[str, int]]:
    """Of all that was claimed when it fell asleep: what the other has not settled by the time when it has settled all
    that it had in hand, and something newer besides."""
    claimed = house.store.leases()
    await asyncio.sleep(SLOW_SECONDS + 0.5)
    now = round(1000 * database_now(house.store))
    newer = f"deliveries WHERE state = 'said' AND promised_at > {now}"
    await took(lambda: house.store.count(newer) > 4, 15, 0.1)
    return claimed & house.store.leases()


async def fenced_by(gateway: Gateway, many: int) -> bool:
    return await gateway.metric("tocsin_settlements_fenced_total") >= many


async def slowly(_heard: Heard, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(SLOW_SECONDS)
    writer.write(GOOD)


@fault(
    "T8",
    "four posts with one key at once, a thousand times (PostgreSQL: on two replicas)",
    "each time 1 event, 1 that is no duplicate, 1 message",
    engines=BOTH,
    seconds=90,
    least=10,
    ci=True,
)
async def raced(run: Run) -> Outcome:
    rounds = run.many(1_000, 100)
    async with run.house(replicas=1 if run.engine == "sqlite" else 2) as house:
        lines = [Line(house.ports[number % len(house.ports)]) for number in range(4)]
        creators: Counter[int] = Counter()
        ids: set[str] = set()
        for number in range(rounds):
            name = f"race {number}"
            alert = {"title": name, "fingerprint": name}
            answers = await asyncio.gather(*(line.post(alert, key=name) for line in lines))
            good = [answer[2] for answer in answers if answer is not None and answer[0] == 202]
            ids |= {answer["event"] for answer in good}
            creators[sum(not answer["duplicate"] for answer in good) if len(good) == 4 else -len(good)] += 1
        await took(lambda: house.store.unfinished() == 0, 60, 0.2)
        events = house.store.count("events WHERE source = 'scripts'")
        messages = len(house.receiver.heard)
        for line in lines:
            line.close()
    good_all = creators == {1: rounds} and len(ids) == events == rounds and messages == rounds
    return held(
        good_all,
        f"{rounds} × 4 posts: {events} events, {len(ids)} ids, creators a round {dict(creators)}, {messages} messages",
    )


@fault(
    "T9",
    "PostgreSQL restarts ten times under load, fast and immediate in turn",
    "0 lost, 0 dead lanes, 202 ≤ 5 s after",
    engines=POSTGRESQL,
    seconds=60,
    least=60,
    ci=True,
    alone="SQLite has no server that could restart.",
)
async def restarted(run: Run) -> Outcome:
    assert run.cluster is not None
    cluster = run.cluster()
    backs: list[float] = []
    async with run.house(replicas=2) as house:
        async with sending(house.ports) as load:
            for number in range(run.whole(10, 2)):
                await asyncio.sleep(2)
                await asyncio.to_thread(cluster.restart, "immediate" if number % 2 else "fast")
                accepted = len(load.accepted)
                backs.append(await took(lambda accepted=accepted: len(load.accepted) > accepted + 4, 20))
        verdict = await house.judge(load, seconds=150)
        ready = [await gateway.status("/readyz") for gateway in house.gateways]
        refused = load.statuses[503]
    good = verdict.nothing_lost and max(backs) <= 5 and ready == [200, 200]
    return held(
        good,
        f"{len(backs)} restarts, 202 again after at most {max(backs):.2f} s, {refused} × 503; {verdict}; ready {ready}",
    )


async def cut_off(run: Run, mode: Mode) -> Outcome:
    assert run.cluster is not None
    seconds = run.whole(60, 15)
    database = run.cluster().fresh()
    async with (
        Wire(urlsplit(database).port or 5432).laid() as wire,
        run.house(replicas=2, database=database, start=False) as house,
    ):
        near, far = house.gateways
        far.database = through(database, wire.port)
        await asyncio.gather(near.start(), far.start())
        posts: list[Post] = []
        async with sending([near.port], connections=4, pause=0.2) as load:
            knocking = [asyncio.create_task(knock(far, posts)) for _ in range(KNOCKING)]
            await asyncio.sleep(2)
            wire.cut(mode)
            cut = time.monotonic()
            await asyncio.sleep(seconds)
            mended = time.monotonic()
            wire.cut("pass")
            again = await took(lambda: any(one.status == 202 and one.began > mended for one in posts), 20, 0.1)
            await asyncio.sleep(1)
            for task in knocking:
                task.cancel()
        verdict = await house.judge(load, seconds=150)
        double, lost = doubles(house), {one.event for one in posts if one.event} - house.store.events()
        fenced = await far.metric("tocsin_settlements_fenced_total")
    meanwhile = [one for one in posts if one.ended > cut and one.began < mended]
    answers = Counter(one.status for one in meanwhile if one.began > cut and one.ended < mended)
    slowest = max(one.ended - one.began for one in meanwhile)
    good = set(answers) == {503} and slowest <= 5.0 and again < 20 and not lost
    return held(
        good and verdict.nothing_lost and double <= fenced,
        f"{seconds:.0f} s cut off: {KNOCKING} senders had {dict(answers)} within {slowest:.2f} s, 202 again"
        f" {again:.1f} s after, {len(lost)} of its own lost; the other: {verdict}; {double} said by both,"
        f" {fenced:.0f} settlements of the one cut off fenced",
        "the cut is longer than a lease: what was said at its beginning and could not be written down is taken over and"
        " said again; what the one that was cut off then writes of it must not be applied.",
    )


KNOCKING = 4


@dataclass(frozen=True, slots=True)
class Post:
    """One request and its answer; the event where it was taken."""

    began: float
    ended: float
    status: int
    event: str


async def knock(gateway: Gateway, posts: list[Post]) -> None:
    """Post again and again, a second apart at the most."""
    while True:
        began = time.monotonic()
        status, _, answer = await gateway.post({"title": "cut off", "fingerprint": "cut off"})
        posts.append(Post(began, time.monotonic(), status, answer["event"] if status == 202 else ""))
        await asyncio.sleep(random.random())


def doubles(house: House) -> int:
    return house.store.count(
        "(SELECT delivery_id, revision FROM attempts WHERE receipt = 'sent' GROUP BY 1, 2 HAVING count(*) > 1) AS twice"
    )


def through(url: str, port: int) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}"))


@fault(
    "T21",
    "a replica is cut off from PostgreSQL for 60 s: a black hole",
    "503 ≤ 5 s, the other goes on, 0 lost, 0 stale settlements applied",
    engines=POSTGRESQL,
    seconds=80,
    least=80,
    alone="SQLite has no line that could be cut.",
)
async def black_hole(run: Run) -> Outcome:
    return await cut_off(run, "hole")


@fault(
    "T21",
    "a replica is cut off from PostgreSQL for 60 s: connections are reset",
    "503 ≤ 5 s, the other goes on, 0 lost, 0 stale settlements applied",
    engines=POSTGRESQL,
    seconds=80,
    least=80,
    alone="SQLite has no line that could be cut.",
)
async def resets(run: Run) -> Outcome:
    return await cut_off(run, "reset")
