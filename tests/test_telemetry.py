"""Lines go out by a thread of their own: whoever reads them cannot stop or break the gateway."""

from __future__ import annotations

import json
import os
import time

from gateway.telemetry import REGISTRY, Lines


def lost() -> float:
    return REGISTRY.get_sample_value("tocsin_log_lines_lost_total") or 0.0


def test_lines_are_written_in_their_order() -> None:
    reading, writing = os.pipe()
    lines = Lines(writing)
    for number in range(100):
        lines.info(f"line {number}")
    lines.flush(5)
    assert os.read(reading, 65_536).decode().splitlines() == [f"line {number}" for number in range(100)]
    os.close(reading)
    os.close(writing)


def test_a_reader_that_does_not_read_costs_lines_and_not_a_moment() -> None:
    reading, writing = os.pipe()
    lines = Lines(writing, most=10)
    before, started = lost(), time.monotonic()
    for _ in range(5_000):
        lines.info("x" * 200)
    assert time.monotonic() - started < 2
    assert lost() - before > 4_000
    os.set_blocking(reading, False)
    text = b""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and b"log lines lost" not in text:
        try:
            text += os.read(reading, 65_536)
        except BlockingIOError:
            lines.info("again")
            time.sleep(0.01)
    said = next(json.loads(line) for line in text.decode().splitlines() if "log lines lost" in line)
    assert said["count"] > 0
    lines.flush(5)
    os.close(reading)
    os.close(writing)


def test_a_reader_that_has_gone_breaks_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    lines = Lines(writing)
    before = lost()
    lines.info("nobody hears")
    lines.flush(5)
    assert lost() - before == 1
    os.close(writing)
