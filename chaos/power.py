"""Power that is cut: what the gateway wrote and synced is traced, and the files are made again as they may have lain on
the disk at any moment: all that was synced by then, and any part of what was not."""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import signal
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from chaos.load import sending
from chaos.registry import Outcome, fault, held
from chaos.run import Gateway, Run

SECTOR: Final = 512
_CALLS = "trace=pwrite64,ftruncate,fsync,fdatasync,write,sendto,writev,sendmsg"
TRACING: Final = ("strace", "-f", "-y", "-xx", "-s", "70000", "-e", _CALLS, "-e", "signal=none")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_CALL = re.compile(r"^(\d+) +(\w+)\((\d+)<([^>]*)>(?:, )?(.*)$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>.*$")
_DATA = re.compile(r'^"((?:\\x[0-9a-f]{2})*)"(?:\.\.\.)?, (\d+)(?:, (\d+))?')
_ACCEPTED = re.compile(rb'\{"event": ?"([0-9a-f-]{36})", ?"duplicate"')


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened, in order: a write to a file, its cutting, the end of a sync, or a 202 that left."""

    kind: Literal["write", "cut", "sync", "answer"]
    file: str = ""
    at: int = 0
    content: bytes = b""
    begun: int = 0
    """Of a sync: how many steps there were when it began; what came later it does not cover."""


@fault(
    "T2",
    "power is cut at 500 moments",
    "no image is corrupt or lacks what had its 202; the control with synchronous=NORMAL does",
    needs=("strace",),
    seconds=90,
    least=25,
    alone="of PostgreSQL's disk PostgreSQL takes care; that it keeps what it commits is asked at each start.",
)
async def cut(run: Run) -> Outcome:
    images = run.many(500, 50)
    full = await study(run, "full", images)
    hasty = await study(run, "hasty", images)
    good = full.lossy == 0 and full.corrupt == 0 and full.answers > 100 and hasty.lossy > 0
    return held(
        good,
        f"FULL: {full}; control with NORMAL: {hasty}",
        "the WAL index is not kept (SQLite makes it anew); a write that was not synced is kept whole, torn at a"
        " sector or not at all, each by chance.",
    )


@dataclass
class Study:
    images: int
    answers: int = 0
    lossy: int = 0
    most_lost: int = 0
    corrupt: int = 0

    def __str__(self) -> str:
        worst = f" (at most {self.most_lost} events)" if self.lossy else ""
        return (
            f"{self.lossy} of {self.images} images lose{worst}, {self.corrupt} corrupt, {self.answers} answers traced"
        )


async def study(run: Run, name: str, images: int) -> Study:
    place = Run(run.engine, run.folder / name, run.ci, run.share, run.cluster)
    async with place.house() as house:  # the schema is there before
        await house.gateway.end(signal.SIGTERM)
        path = house.store.path
        base = {
            part.name: part.read_bytes()
            for part in path.parent.glob(f"{path.name}*")
            if part.suffix in (".db", ".db-wal")
        }
        gateway = house.gateway
        if name == "hasty":
            gateway.module, gateway.environ["CHAOS_HOOK"] = "chaos.hooked", "hasty"
        gateway.prefix = (*TRACING, "-o", str(place.folder / "trace"))
        await gateway.start()
        async with sending(house.ports, connections=6, pause=0.02) as load:
            await asyncio.sleep(6 if images > 100 else 3)
        await end_traced(gateway)
    steps = await asyncio.to_thread(lambda: list(read(place.folder / "trace", path.name)))
    assert len(load.accepted) > 0
    return await asyncio.to_thread(judge, steps, base, path.name, place.folder, images)


async def end_traced(gateway: Gateway) -> None:
    """Strace passes a SIGTERM on to nobody: its child is asked by its own number."""
    children = Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children")
    for child in (await asyncio.to_thread(children.read_text)).split():
        os.kill(int(child), signal.SIGTERM)
    await gateway.ended()


def read(trace: Path, name: str) -> Iterator[Step]:
    """The steps of the files called so, and the 202s. A write counts from its beginning, a sync from its end."""
    syncing: dict[str, Step] = {}
    number = 0
    with trace.open(encoding="latin-1") as lines:
        for line in lines:
            resumed = _RESUMED.match(line)
            if resumed:
                step = syncing.pop(resumed[1], None) if line.rstrip().endswith("= 0") else None
            else:
                step = one(line, name, number)
                if step is not None and step.kind == "sync" and not line.rstrip().endswith("= 0"):
                    if "unfinished" in line:
                        syncing[line.split(" ", 1)[0]] = step
                    step = None
            if step is not None:
                number += 1
                yield step


def one(line: str, name: str, number: int) -> Step | None:
    """What a line of the trace tells, if it tells anything of these files or of a 202."""
    call = _CALL.match(line)
    if call is None:
        return None
    _, what, _, target, rest = call.groups()
    file = plain(target).decode("latin-1").rpartition("/")[2]
    if file in (name, f"{name}-wal"):
        if what == "pwrite64" and (written := _DATA.match(rest)):
            return Step("write", file, int(written[3]), plain(written[1]))
        if what == "ftruncate":
            return Step("cut", file, int(rest.partition(")")[0]))
        return Step("sync", file, begun=number) if what in ("fsync", "fdatasync") else None
    found = _ACCEPTED.search(b"".join(plain(text) for text in _TEXT.findall(rest)))
    return Step("answer", content=found[1]) if found else None


def plain(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


@dataclass
class Disk:
    """What is certain of each file, and what has been written since and may or may not be there."""

    files: dict[str, bytearray]
    loose: list[tuple[int, Step]] = field(default_factory=list)

    def take(self, number: int, step: Step) -> None:
        if step.kind in ("write", "cut"):
            self.loose.append((number, step))
        elif step.kind == "sync":
            for _, one in [(n, s) for n, s in self.loose if s.file == step.file and n < step.begun]:
                put(self.files.setdefault(one.file, bytearray()), one)
            self.loose = [(n, s) for n, s in self.loose if not (s.file == step.file and n < step.begun)]

    def lie(self, folder: Path, dice: random.Random) -> None:
        """One way in which it may lie there now."""
        images = {name: bytearray(content) for name, content in self.files.items()}
        luck = dice.choice((0.0, 0.5, 0.9))
        for _, step in self.loose:
            if dice.random() < luck:
                torn = step
                if step.kind == "write" and dice.random() < 0.2:
                    keep = dice.randrange(0, len(step.content) // SECTOR + 1) * SECTOR
                    torn = Step("write", step.file, step.at, step.content[:keep])
                put(images.setdefault(step.file, bytearray()), torn)
        for name, content in images.items():
            (folder / name).write_bytes(content)


def put(content: bytearray, step: Step) -> None:
    if step.kind == "cut":
        del content[step.at :]
        content.extend(bytes(max(step.at - len(content), 0)))
        return
    content.extend(bytes(max(step.at + len(step.content) - len(content), 0)))
    content[step.at : step.at + len(step.content)] = step.content


def judge(steps: Sequence[Step], base: Mapping[str, bytes], name: str, folder: Path, images: int) -> Study:
    dice = random.Random(7)
    study = Study(images, sum(step.kind == "answer" for step in steps))
    moments = sorted(dice.randrange(len(steps)) for _ in range(images))
    disk = Disk({file: bytearray(content) for file, content in base.items()})
    answered: set[str] = set()
    place = folder / "image"
    done = 0
    for moment in moments:
        for number in range(done, moment + 1):
            step = steps[number]
            disk.take(number, step)
            if step.kind == "answer":
                answered.add(step.content.decode())
        done = max(done, moment + 1)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        disk.lie(place, dice)
        look(place / name, answered, study)
    return study


def look(path: Path, answered: set[str], study: Study) -> None:
    """Open it as SQLite does after a crash."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            whole = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            kept = {id_ for (id_,) in connection.execute("SELECT id FROM events")}
    except sqlite3.DatabaseError:
        study.corrupt += 1
        return
    study.corrupt += not whole
    missing = len(answered - kept)
    study.lossy += missing > 0
    study.most_lost = max(study.most_lost, missing)
