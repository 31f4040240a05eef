"""Disks and databases that refuse: full, broken, held open, locked."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path

from chaos.load import TOKEN, sending
from chaos.needs import FIU
from chaos.registry import BOTH, NotRun, Outcome, fault, held
from chaos.run import House, Run, Store, took, traces, until

BULK = "x" * 40_000
MIB = 2**20
DISK = "of PostgreSQL's disk PostgreSQL takes care; that it keeps what it commits is asked at each start."


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of this size, gone at the end."""
    place = folder / "disk"
    place.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=False)
    if mounted.returncode:
        raise NotRun("mounting a tmpfs is not allowed here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=False)


@fault(
    "T3",
    "the disk is full (a tmpfs of 8 MiB)",
    "no 202 while full, alive, 202 ≤ 2 s after there is room, 0 lost",
    needs=("root",),
    seconds=40,
    least=40,
    alone=DISK,
)
async def full(run: Run) -> Outcome:
    with small_disk(run.folder, "8m") as disk:
        (disk / "ballast").write_bytes(b"x" * 2 * MIB)
        async with run.house(database=f"sqlite:///{disk}/tocsin.db") as house:
            accepted = await fill(house)
            full_answers = [(await house.gateway.post({"title": f"full {n}", "body": BULK})) for n in range(20)]
            taken = sum(status == 202 for status, _, _ in full_answers)
            polite = all(status == 503 and "retry-after" in headers for status, headers, _ in full_answers)
            alive = await house.gateway.status("/healthz") == 200
            (disk / "ballast").unlink()
            room = await took(lambda: is_taken(house), 10)
            drained = await took(lambda: house.store.unfinished() == 0, 30)
            lost = set(accepted) - house.store.events()
            whole = house.store.whole()
        on_full = await start_on(run, disk)
    good = taken == 0 and polite and alive and room <= 2 and not lost and whole and drained < 30 and on_full[0]
    return held(
        good,
        f"{len(accepted)} taken until full, then {taken} of 20 taken (503 with Retry-After: {polite}), alive"
        f" {alive}; 202 again after {room:.2f} s, {len(lost)} lost, whole {whole}; start on a full disk: {on_full[1]}",
    )


async def fill(house: House) -> list[str]:
    """Post until even the smallest is refused five times in a row; the ids of what was taken."""
    accepted: list[str] = []
    for body in (BULK, ""):
        refused = 0
        while refused < 5:
            status, _, answer = await house.gateway.post({"title": f"fill {len(accepted)}", "body": body})
            refused = 0 if status == 202 else refused + 1
            accepted += [answer["event"]] if status == 202 else []
    return accepted


async def is_taken(house: House) -> bool:
    return (await house.gateway.post({"title": "after", "fingerprint": "after"}))[0] == 202


async def start_on(run: Run, disk: Path) -> tuple[bool, str]:
    """Start on a new database where there is no room: whether it ends with a sentence, and which."""
    with suppress(OSError), (disk / "rest").open("wb", buffering=0) as rest:
        while True:
            rest.write(b"x" * 4096)
    async with run.house(database=f"sqlite:///{disk}/new.db", start=False) as house:
        before = house.gateway.log
        await house.gateway.start(wait=False)
        code = await house.gateway.ended()
        said = [one for one in house.gateway.log[len(before) :].splitlines() if one.startswith("Error:")]
    return code not in (0, -signal.SIGKILL) and bool(said), f"exit {code}, {(said or ['no sentence'])[-1]!r}"


@fault(
    "T3",
    "no file may grow (RLIMIT_FSIZE)",
    "503, alive, 202 ≤ 2 s after there is room, 0 lost",
    seconds=20,
    least=20,
    ci=True,
    alone=DISK,
)
async def starved(run: Run) -> Outcome:
    import resource

    async with run.house() as house:
        await house.gateway.post({"title": "before"})
        await until(lambda: house.store.unfinished() == 0, 10)
        most = max(path.stat().st_size for path in run.folder.glob("tocsin.db*")) + 65_536
        resource.prlimit(house.gateway.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
        accepted = await fill(house)
        answers = [(await house.gateway.post({"title": f"full {n}"}))[0] for n in range(10)]
        alive = await house.gateway.status("/healthz") == 200
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(house.gateway.pid, resource.RLIMIT_FSIZE, unlimited)
        room = await took(lambda: is_taken(house), 10)
        drained = await took(lambda: house.store.unfinished() == 0, 30)
        lost = set(accepted) - house.store.events()
        whole = house.store.whole()
    good = set(answers) == {503} and alive and room <= 2 and not lost and whole and drained < 30
    return held(
        good,
        f"answers while full {sorted(set(answers))}, alive {alive}, 202 again after {room:.2f} s,"
        f" {len(lost)} of {len(accepted)} lost, whole {whole}",
    )


async def failing(run: Run, point: str, share: float) -> Outcome:
    """Under load while this share of the calls fails with EIO."""
    control = run.folder / "fiu"
    preload = ":".join(str(path.with_name(name)) for path in FIU[:1] for name in ("fiu_run_preload.so", path.name))
    async with run.house(start=False, LD_PRELOAD=preload, FIU_CTRL_FIFO=str(control)) as house:
        await house.gateway.start()
        async with sending(house.ports, pause=0.05) as load:
            await asyncio.sleep(1)
            await fiu(house, control, f"enable_random name={point},probability={share}")
            await asyncio.sleep(run.many(20, 5))
            await fiu(house, control, f"disable name={point}")
        verdict = await house.judge(load)
        alive = house.gateway.alive
        refused = load.statuses[503]
    others = {status: times for status, times in load.statuses.items() if status not in (202, 503)}
    return held(
        verdict.nothing_lost and alive and refused > 0 and not others,
        f"{refused} × 503, other answers {others or 'none'}; {verdict}; alive {alive}",
    )


async def fiu(house: House, control: Path, command: str) -> None:
    asked = await asyncio.create_subprocess_exec("fiu-ctrl", "-f", str(control), "-c", command, str(house.gateway.pid))
    assert await asked.wait() == 0, command


@fault("T3", "EIO on 5 % of fdatasync", "0 lost, alive, whole", needs=("libfiu",), seconds=35, least=15, alone=DISK)
async def sync_fails(run: Run) -> Outcome:
    return await failing(run, "posix/io/sync/fdatasync", 0.05)


@fault("T3", "EIO on 2 % of pwrite", "0 lost, alive, whole", needs=("libfiu",), seconds=35, least=15, alone=DISK)
async def write_fails(run: Run) -> Outcome:
    return await failing(run, "posix/io/rw/pwrite", 0.02)


@fault(
    "T4",
    "a reader is held open for 60 s at 5 alerts a second",
    "WAL ≤ 64 MiB, then and after",
    seconds=75,
    least=75,
    alone="PostgreSQL's WAL is its own affair.",
)
async def read_long(run: Run) -> Outcome:
    async with run.house() as house:
        wal = house.store.path.with_name("tocsin.db-wal")
        largest = 0
        await house.gateway.post({"title": "first", "fingerprint": "first"})
        await until(lambda: house.store.unfinished() == 0, 10)
        async with sending(house.ports, connections=2, pause=0.38) as load:
            with closing(sqlite3.connect(f"file:{house.store.path}?mode=ro", uri=True)) as reader:
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM events").fetchall()
                before = len(load.accepted)
                ends = time.monotonic() + run.whole(60, 10)
                while time.monotonic() < ends:
                    largest = max(largest, wal.stat().st_size)
                    await asyncio.sleep(0.5)
                taken = len(load.accepted) - before
            await asyncio.sleep(5)
        verdict = await house.judge(load)
        at_end = wal.stat().st_size
    return held(
        max(largest, at_end) <= 64 * MIB and verdict.nothing_lost,
        f"WAL at most {largest / MIB:.1f} MiB ({largest / 1024 / max(taken, 1):.0f} KiB an alert), {at_end / MIB:.1f}"
        f" MiB after; {verdict}",
        "while anybody reads, SQLite cannot begin its WAL anew: at more alerts a second it grows by as much more, and"
        " is cut to 64 MiB after.",
    )


@asynccontextmanager
async def locked(store: Store) -> AsyncIterator[None]:
    """Somebody else holds what every write needs."""
    if store.url.startswith("sqlite:"):
        with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")
        return
    import psycopg

    with psycopg.connect(store.url) as session:
        session.execute("LOCK TABLE events, deliveries IN ACCESS EXCLUSIVE MODE")
        yield
        session.rollback()


@fault(
    "T5",
    "another process locks the database for 10 s",
    "503 with Retry-After, health < 100 ms, 202 ≤ 1 s after, 0 lost, 0 untold",
    engines=BOTH,
    seconds=25,
    least=25,
    ci=True,
)
async def kept_waiting(run: Run) -> Outcome:
    statuses: list[tuple[int, bool]] = []
    waits: list[float] = []
    healths: list[float] = []

    async with run.house() as house:
        async with sending(house.ports, connections=4, pause=0.1) as load:
            await took(lambda: len(load.accepted) >= 20, 10)
            async with locked(house.store):
                ends = time.monotonic() + 10
                while time.monotonic() < ends:
                    began = time.monotonic()
                    status, headers, _ = await house.gateway.post({"title": f"locked {len(statuses)}"})
                    waits.append(time.monotonic() - began)
                    statuses.append((status, "retry-after" in headers))
                    began = time.monotonic()
                    assert await house.gateway.status("/healthz") == 200
                    healths.append(time.monotonic() - began)
            released = await took(lambda: is_taken(house), 10)
            told = await took(lambda: "after" in house.receiver.told("/team"), 15)
            await asyncio.sleep(2)
        verdict = await house.judge(load)
        others = {status: times for status, times in load.statuses.items() if status not in (202, 503)}
    good = set(statuses) == {(503, True)} and max(healths) < 0.1 and released <= 1 and told < 15
    return held(
        good and verdict.nothing_lost and verdict.extra == 0 and not others,
        f"{len(statuses)} posts, answers {sorted(set(statuses))} within {max(waits):.1f} s, health at most"
        f" {1e3 * max(healths):.0f} ms, 202 again after {released:.2f} s, told after {told:.1f} s; under load before,"
        f" meanwhile and after: {verdict}; other answers {others or 'none'}",
    )


@fault(
    "T5",
    "1,000 clients vanish while they wait",
    "no transaction is left open, nothing waits, no traceback",
    engines=BOTH,
    seconds=15,
    least=15,
    ci=True,
)
async def vanished(run: Run) -> Outcome:
    many = 1_000
    async with run.house() as house:
        head = f"POST /webhooks/scripts HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n"

        async def vanish(number: int) -> None:
            body = f'{{"title": "gone {number}"}}'.encode()
            _, writer = await asyncio.open_connection("127.0.0.1", house.gateway.port)
            writer.write(f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
            await asyncio.sleep(0.002 * (number % 5))
            writer.transport.abort()

        for first in range(0, many, 20):
            await asyncio.gather(*(vanish(first + number) for number in range(20)))
        taken = await took(lambda: is_taken(house), 5)
        waiting = await took(lambda: house.store.unfinished() == 0, 90)
        kept = len(house.store.events())
        began = time.monotonic()
        async with locked(house.store):
            free = time.monotonic() - began
        tracebacks = traces(house.gateways)
    return held(
        taken < 5 and waiting < 90 and free < 1 and not tracebacks,
        f"{kept} of {many} were kept and decided, the write lock was free in {1e3 * free:.0f} ms, 202 after"
        f" {taken:.2f} s, {tracebacks} tracebacks",
    )
