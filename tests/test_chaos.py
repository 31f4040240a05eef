"""The plays of `chaos/` judge others: here they are judged. None of these starts a gateway."""

from __future__ import annotations

import asyncio
import importlib
import random
from pathlib import Path

import pytest

from chaos import FAMILIES, power, report
from chaos import __main__ as stage
from chaos.files import BROKEN_LINES, malformed
from chaos.needs import why_not
from chaos.power import Disk, Step
from chaos.registry import FAULTS, Fault, held
from chaos.report import Row
from chaos.run import Run
from chaos.wire import Wire


async def nothing(_run: Run) -> object:
    return held(True, "nothing")


def test_every_number_of_the_plan_is_entered() -> None:
    for family in FAMILIES:
        importlib.import_module(f"chaos.{family}")
    assert {fault.number for fault in FAULTS} == set(range(1, 31))
    files = {path.stem for path in Path(power.__file__).parent.glob("*.py") if "@fault(" in path.read_text()}
    assert files - {"registry"} == set(FAMILIES)
    for fault in FAULTS:
        assert len(fault.engines) == 2 or fault.alone, fault.title
        assert 0 <= fault.least <= fault.seconds
        for need in fault.needs:
            assert why_not(need) is None or isinstance(why_not(need), str)


def test_what_no_share_makes_shorter_is_paid_for_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "lacking", lambda *_: [])
    pairs = [
        (Fault("T1", "kills", "0", nothing, seconds=630, least=30), "sqlite"),  # type: ignore[arg-type]
        (Fault("T4", "a minute", "0", nothing, seconds=60, least=60), "sqlite"),  # type: ignore[arg-type]
    ]
    assert stage.affordable(pairs, 6.5) == 0.5  # type: ignore[arg-type]
    assert stage.affordable(pairs, 60) == 1  # type: ignore[arg-type]
    assert stage.affordable(pairs, 1) == stage.LEAST_SHARE  # type: ignore[arg-type]


def test_a_length_of_time_that_decides_is_kept_whole(tmp_path: Path) -> None:
    assert Run("sqlite", tmp_path, share=0.1).whole(60, 15) == 60
    assert Run("sqlite", tmp_path, ci=True).whole(60, 15) == 15


@pytest.mark.parametrize(
    ("before", "during", "same"),
    [
        ([0.02] * 99, [0.04] * 99, True),
        ([0.02] * 99, [0.05] * 99, False),
        ([0.02] * 99, [0.02] * 90 + [float("inf")] * 9, False),
        ([0.2] * 99, [0.2] * 99, False),
        ([], [0.01], False),
    ],
)
def test_a_lane_is_the_same_only_where_a_difference_would_show(
    before: list[float], during: list[float], same: bool
) -> None:
    from chaos.vendors import Compared

    assert Compared(before, during).same is same


def test_the_newest_schema_is_the_last_of_all() -> None:
    from chaos.databases import revisions
    from gateway.store.schema import HEAD

    assert revisions()[0] == "0001"
    assert revisions()[-1] == HEAD


def test_the_page_names_what_was_seen_and_what_was_not_run() -> None:
    fault = Fault("T4", "a disk | that hums", "quiet", nothing)  # type: ignore[arg-type]
    rows = [
        Row(fault, "sqlite", "held", "3 hums | /tmp/tocsin-chaos-T4-ab/x.db: 0 lost", 1.0, "the hum is low."),
        Row(fault, "postgresql", "NOT HELD", "9 lost"),
        Row(Fault("T2", "power", "on", nothing, alone="no server."), "sqlite", "not run", "strace is not installed"),  # type: ignore[arg-type]
    ]
    page = report.document(rows, "python -m chaos", 3.2, 0.5)
    assert "50%" in page
    assert "2 played, 1 held, 1 not held, 1 not run" in page
    assert "| 3 hums · x.db: 0 lost | held |" in page
    assert "| 9 lost | **not held** |" in page
    assert "- T2, power (SQLite): strace is not installed." in page
    assert "- T4, a disk | that hums: the hum is low." in page
    assert "## Played on one engine only\n\n- T2, power: no server.\n" in page


def test_a_cut_keeps_what_was_synced_and_perhaps_the_rest(tmp_path: Path) -> None:
    disk = Disk({"db": bytearray(b"....")})
    steps = [Step("write", "db", 0, b"AB"), Step("sync", "db", begun=1), Step("write", "db", 2, b"CDEF")]
    for number, step in enumerate(steps):
        disk.take(number, step)
    seen = set()
    for seed in range(60):
        disk.lie(tmp_path, random.Random(seed))
        seen.add((tmp_path / "db").read_bytes())
    assert {b"AB..", b"ABCDEF"} <= seen
    assert all(image.startswith(b"AB") for image in seen)


def test_a_sync_covers_only_what_was_written_before_it_began() -> None:
    disk = Disk({})
    for number, step in enumerate(
        [Step("write", "db", 0, b"A"), Step("write", "db", 1, b"B"), Step("sync", "db", begun=1)]
    ):
        disk.take(number, step)
    assert disk.files == {"db": bytearray(b"A")}
    assert [step.content for _, step in disk.loose] == [b"B"]


def test_a_trace_is_read_in_order(tmp_path: Path) -> None:
    def hexed(text: str) -> str:
        return "".join(f"\\x{byte:02x}" for byte in text.encode())

    file, answer = hexed("/data/t.db-wal"), '{"event":"01a21862-3eac-74d7-9dc9-65e1a3fd3b87","duplicate":false}'
    lines = [
        f'7 pwrite64(9<{file}>, "{hexed("AB")}", 2, 32) = 2',
        f"7 fdatasync(9<{file}> <unfinished ...>",
        f'8 pwrite64(9<{file}>, "{hexed("C")}", 1, 34) = 1',
        "7 <... fdatasync resumed>) = 0",
        f'7 write(12<{hexed("socket:[1]")}>, "{hexed(answer)}", 66) = 66',
        f"8 ftruncate(9<{file}>, 0) = 0",
        f"8 fdatasync(9<{file}>) = -1 EIO (Input/output error)",
        f'8 pwrite64(9<{hexed("/data/other")}>, "{hexed("x")}", 1, 0) = 1',
    ]
    (tmp_path / "trace").write_text("\n".join(lines) + "\n")
    steps = list(power.read(tmp_path / "trace", "t.db"))
    assert [(step.kind, step.at, step.content, step.begun) for step in steps] == [
        ("write", 32, b"AB", 0),
        ("write", 34, b"C", 0),
        ("sync", 0, b"", 1),
        ("answer", 0, b"01a21862-3eac-74d7-9dc9-65e1a3fd3b87", 0),
        ("cut", 0, b"", 0),
    ]


def test_what_is_saved_wrong_is_wrong() -> None:
    texts = list(malformed(80))
    assert len(set(texts)) > 60
    assert len(BROKEN_LINES) == 50
    by_hand = sum(any(line in text for line in BROKEN_LINES if len(line) > 8) for text in texts)
    assert 25 <= by_hand <= 55  # and the others by chance


@pytest.mark.parametrize("mode", ["hole", "reset"])
async def test_a_wire_can_be_cut_and_mended(mode: str) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with Wire(server.sockets[0].getsockname()[1]).laid() as wire:

        async def ask() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
            writer.write(b"hello\n")
            try:
                async with asyncio.timeout(0.3):
                    return await reader.readline()
            finally:
                writer.close()

        assert await ask() == b"hello\n"
        wire.cut(mode)  # type: ignore[arg-type]
        with pytest.raises((TimeoutError, ConnectionError)):
            assert await ask() == b"never"
        wire.cut("pass")
        assert await ask() == b"hello\n"
    server.close()


def test_a_page_says_by_what_command_and_not_where_it_was_put(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (["--page", "/srv/faults.md"], ["--page=/srv/faults.md"]):
        monkeypatch.setattr("sys.argv", ["chaos", "--minutes", "40", *place, "--keep"])
        assert report.said_by() == "python -m chaos --minutes 40 --keep"
