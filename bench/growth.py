"""`python -m bench.growth`: what a store that has grown for years costs, against an empty one, in one run.

A database is filled with a million incidents and all that belongs to them, then the real gateway is started on it: how
fast it accepts, how long each list takes while alerts come in, how much memory it holds, and how long its bites of old
things keep others waiting. Takes a quarter of an hour, and 6 GB of disk.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import http.client
import json
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import uvloop

from bench import filling, load, server
from bench.figures import percentile
from gateway.rules.shapes import rfc3339

PORT, RECEIVER_PORT = 18_491, 18_492
CONNECTIONS = 64
PER_SECOND = 100
ASKED = 100
KEEP_ALL = "retention: {events: 4000d, incidents: 4000d}\n"
LET_GO = "retention: {events: 30d, incidents: 300d}\n"


@dataclass(slots=True)
class Table:
    """Figures as they are measured: name, what must hold, what was seen."""

    rows: list[tuple[str, str, str, bool]] = field(default_factory=list)

    def add(self, name: str, seen: float, unit: str, hold: float | None = None, *, at_least: bool = False) -> None:
        good = hold is None or (seen >= hold if at_least else seen <= hold)
        wanted = "" if hold is None else f"{'≥' if at_least else '≤'} {hold:g} {unit}"
        self.rows.append((name, wanted, f"{seen:.3g} {unit}", good))
        print(f"  {name:52} {seen:10.3g} {unit}" + ("" if good else "   MISSED"), flush=True)

    def show(self) -> bool:
        print(f"\n{'figure':52} {'hold':>12} {'seen':>12}")
        for name, wanted, seen, good in self.rows:
            print(f"{name:52} {wanted:>12} {seen:>12}{'' if good else '   MISSED'}")
        return all(good for *_, good in self.rows)


class Growth:
    def __init__(self, asked: argparse.Namespace, folder: Path) -> None:
        self._asked = asked
        self._folder = folder
        self._full: str = asked.database or f"sqlite:///{folder / 'full.db'}"
        self._empty: str = asked.empty or f"sqlite:///{folder / 'empty.db'}"
        self._now = int(time.time() * 1000)
        self.table = Table()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        receiver = await loop.create_server(lambda: load.Receiver(lambda _: None), "127.0.0.1", RECEIVER_PORT)
        if self._asked.incidents:
            await self._fill()
        await self._accepting()
        await self._looking()
        await self._sweeping()
        receiver.close()

    async def _fill(self) -> None:
        process = server.gateway_on(self._full, PORT, RECEIVER_PORT, self._folder, KEEP_ALL)
        try:
            await server.first_202(PORT, process)  # it has made its tables
        finally:
            process.stop()
        took = filling.fill(self._full, self._asked.incidents, self._now, random.Random(1))
        print(f"  {self._asked.incidents:,} incidents stored in {took:.0f} s", flush=True)

    async def _accepting(self) -> None:
        """By turns, so that a machine that others use as well is the same to both."""
        rates: dict[str, list[float]] = {"empty": [], "full": []}
        for number in range(self._asked.rounds):
            for name, url in (("empty", self._empty), ("full", self._full)):
                if name == "empty" and url.startswith("sqlite"):
                    for old in self._folder.glob("empty.db*"):
                        old.unlink()
                rate, cost = await self._burst(url, f"{name}{self._now}-{number}-", drain=name == "full")
                rates[name].append(rate)
                print(f"  accepted, {name:5} {rate:8,.0f}/s, {1e6 * cost:6.0f} µs CPU each", flush=True)
        ratio = sorted(full / empty for full, empty in zip(rates["full"], rates["empty"], strict=True))
        self.table.add("accept rate, full to empty (median)", ratio[len(ratio) // 2], "×", 0.9, at_least=True)

    async def _burst(self, url: str, run: str, *, drain: bool) -> tuple[float, float]:
        """How many were accepted a second, and the CPU seconds of each, what was decided meanwhile included."""
        process = server.gateway_on(url, PORT, RECEIVER_PORT, self._folder, KEEP_ALL)
        try:
            await server.first_202(PORT, process)
            await asyncio.sleep(1)
            before = process.cpu_seconds
            tally, seconds = await load.burst(PORT, CONNECTIONS, self._asked.seconds, run)
            spent = process.cpu_seconds - before
            if drain:
                await asyncio.to_thread(self._drained)
        finally:
            process.stop()
        return tally.accepted / seconds, spent / tally.accepted

    async def _looking(self) -> None:
        """Every list while alerts come in; then memory for as long as was asked."""
        small = await self._small()
        process = server.gateway_on(self._full, PORT, RECEIVER_PORT, self._folder, KEEP_ALL)
        try:
            start = await server.first_202(PORT, process)
            self.table.add("start to first 202", start, "s")
            coming = asyncio.create_task(load.steady(PORT, PER_SECOND, self._asked.steady, f"s{self._now}-", {}))
            grown = await asyncio.to_thread(self._lists)
            memory = [process.memory_mib]
            self._compare(small, grown)
            while not coming.done():
                await asyncio.wait({coming}, timeout=10)
                memory.append(process.memory_mib)
            self._waits("202 at 100/s", coming.result())
        finally:
            process.stop()
        self.table.add("memory after the lists", memory[0], "MiB")
        self.table.add(f"memory, most in {self._asked.steady:g} s at 100/s", max(memory), "MiB", 150)
        self.table.add("memory at the end", memory[-1], "MiB")
        print("  memory " + " ".join(f"{one:.0f}" for one in memory), flush=True)

    async def _small(self) -> dict[str, list[float]]:
        """The same lists of the store that is as good as empty, under the same load."""
        process = server.gateway_on(self._empty, PORT, RECEIVER_PORT, self._folder, KEEP_ALL)
        coming: asyncio.Task[load.Tally] | None = None
        try:
            await server.first_202(PORT, process)
            coming = asyncio.create_task(load.steady(PORT, PER_SECOND, 3600, f"e{self._now}-", {}))
            return await asyncio.to_thread(self._lists)
        finally:
            if coming is not None:
                coming.cancel()
            process.stop()

    def _compare(self, small: Mapping[str, list[float]], grown: Mapping[str, list[float]]) -> None:
        for name, waits in grown.items():
            before, after = (1e3 * one[len(one) // 2] for one in (small[name], waits))
            worst = 1e3 * percentile(small[name], 0.99)
            print(f"  {name:46} p50 {before:6.1f} → {after:6.1f} ms;  p99 {worst:6.1f} before")
            self.table.add(f"{name}, p99", 1e3 * percentile(waits, 0.99), "ms", 50)
        medians = [waits[len(waits) // 2] / small[name][len(waits) // 2] for name, waits in grown.items()]
        self.table.add("a list's p50, full to empty: the worst", max(medians), "×")
        self.table.add("a list's p50, full to empty: the median", sorted(medians)[len(medians) // 2], "×")

    async def _sweeping(self) -> None:
        process = server.gateway_on(self._full, PORT, RECEIVER_PORT, self._folder, LET_GO)
        try:
            await server.first_202(PORT, process)
            tally = await load.steady(PORT, PER_SECOND, self._asked.sweep, f"r{self._now}-", {})
            self._waits("202 at 100/s while old things go", tally)
            text = await asyncio.to_thread(self._text, "/metrics")
            self.table.add("memory while old things go", process.memory_mib, "MiB", 150)
        finally:
            process.stop()
        gone = re.findall(r'tocsin_retention_deleted_total\{kind="(\w+)"\} (\S+)', text)
        for kind, count in gone:
            self.table.add(f"{kind}s deleted", float(count), "")
        buckets = [
            (float(edge), float(count))
            for edge, count in re.findall(r'tocsin_retention_bite_seconds_bucket\{le="([^"]+)"\} (\S+)', text)
        ]
        total = buckets[-1][1]
        self.table.add("bites of old things", total, "")
        self.table.add("one bite, p50 (at most)", 1e3 * _within(buckets, 0.50 * total), "ms")
        self.table.add("one bite, p99 (at most), its waiting included", 1e3 * _within(buckets, 0.99 * total), "ms", 50)
        self.table.add("one bite, the longest (at most), its waiting included", 1e3 * _within(buckets, total), "ms")

    def _waits(self, name: str, tally: load.Tally) -> None:
        waits = sorted(tally.waits)
        self.table.add(f"{name}, p50", 1e3 * waits[len(waits) // 2], "ms")
        self.table.add(f"{name}, p99", 1e3 * percentile(waits, 0.99), "ms")
        others = {status: count for status, count in tally.statuses.items() if status != 202}
        if others:
            print(f"    other answers {others}", flush=True)

    def _lists(self) -> dict[str, list[float]]:
        """How long each of its calls took, in seconds, sorted; by what was asked."""
        connection = http.client.HTTPConnection("127.0.0.1", PORT)
        deep = {path: self._deep(connection, path) for path in ("incidents", "events", "deliveries")}
        first = self._get(connection, "/api/v1/incidents?limit=1")["items"][0]
        alert = json.dumps({"title": "Disk 94% full", "severity": "critical", "service": "svc-7"})
        took = {name: self._time(connection, path) for name, path in _questions(deep, first["id"], self._now)}
        took["explain"] = self._time(connection, "/api/v1/explain", alert)
        took["readyz"] = self._time(connection, "/readyz")
        connection.close()
        return took

    @staticmethod
    def _time(connection: http.client.HTTPConnection, path: str, body: str | None = None) -> list[float]:
        waits: list[float] = []
        for _ in range(ASKED):
            started = time.perf_counter()
            headers = {"content-type": "application/json"} if body else {}
            connection.request("POST" if body else "GET", path, body, headers)
            answer = connection.getresponse()
            raw = answer.read()
            waits.append(time.perf_counter() - started)
            if answer.status != 200:
                raise RuntimeError(f"{path}: {answer.status} {raw[:200]!r}")
        return sorted(waits)

    def _deep(self, connection: http.client.HTTPConnection, path: str) -> str:
        """A cursor in the midst of the list, after ten pages made one by one from there."""
        middle = self._now - filling.DAYS * filling.DAY // 2
        stamp = f"{middle:012x}"
        key = f"{stamp[:8]}-{stamp[8:]}-7000-8000-000000000000"
        cursor = _cursor(f"{middle} {key}" if path == "incidents" else key)
        for _ in range(10):
            page = self._get(connection, f"/api/v1/{path}?limit=200&{urlencode({'cursor': cursor})}")
            cursor = page["next_cursor"] or cursor
        return cursor

    @staticmethod
    def _get(connection: http.client.HTTPConnection, path: str) -> dict[str, Any]:
        connection.request("GET", path)
        answer = connection.getresponse()
        document: dict[str, Any] = json.loads(answer.read())
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {document}")
        return document

    @staticmethod
    def _text(path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", PORT)
        connection.request("GET", path)
        text = connection.getresponse().read().decode()
        connection.close()
        return text

    def _drained(self) -> None:
        """Until all that came has been decided and told, so that nothing of it is left to the next start; the gauges
        are as of the last five seconds."""
        waiting = re.compile(r"^tocsin_(?:inbox|outbox)_waiting(?:\{[^}]*\})? (?!0\.0$)", re.MULTILINE)
        time.sleep(6)
        while waiting.search(self._text("/metrics")):
            time.sleep(1)


def _questions(deep: Mapping[str, str], incident: str, now: int) -> list[tuple[str, str]]:
    """Each list with each filter, from its beginning and from its midst."""

    def of(path: str, **asked: str) -> tuple[str, str]:
        name = " ".join([path, *(key if key == "cursor" else f"{key}={value}" for key, value in asked.items())])
        return name[:44], f"/api/v1/{path}?{urlencode(asked)}"

    at = {"cursor": deep["incidents"]}
    since = {"hour": rfc3339(now - 3_600_000), "year": rfc3339(now - 365 * filling.DAY)}
    return [
        of("incidents"),
        of("incidents", limit="200"),
        of("incidents", **at),
        *(of("incidents", state=state) for state in ("open", "acknowledged", "resolved", "open,acknowledged")),
        of("incidents", state="resolved", **at),
        *(of("incidents", severity=level) for level in ("emergency", "critical", "error", "critical,emergency")),
        of("incidents", severity="critical", **at),
        *(of("incidents", source=name) for name in ("sentry", "rare", "nobody")),
        of("incidents", source="generic", **at),
        of("incidents", service="svc-7"),
        of("incidents", service="svc-7", **at),
        of("incidents", source="rare", service="svc-7"),
        of("incidents", state="open", severity="emergency"),
        of("incidents", state="acknowledged", source="rare"),
        of("incidents", q="svc-7"),
        of("incidents", q="nowhere"),
        of("incidents", q="nowhere", **at),
        of("incidents", q="nowhere", state="open"),
        *(of("incidents", since=instant) for instant in since.values()),
        of("incidents", since=since["year"], q="nowhere"),
        (f"incidents/{'{id}'}", f"/api/v1/incidents/{incident}"),
        of("events"),
        of("events", cursor=deep["events"]),
        *(of("events", state=state) for state in ("waiting", "done", "unreadable", "waiting,unreadable")),
        of("events", state="unreadable", cursor=deep["events"]),
        *(of("events", source=name) for name in ("sentry", "rare", "nobody")),
        of("events", source="rare", state="unreadable"),
        of("deliveries"),
        of("deliveries", cursor=deep["deliveries"]),
        *(of("deliveries", state=state) for state in ("waiting", "said", "failed", "waiting,failed")),
        of("deliveries", state="failed", cursor=deep["deliveries"]),
        *(of("deliveries", channel=name) for name in ("out", "nobody")),
        *(of("deliveries", channel="out", state=state) for state in ("waiting", "failed")),
        of("channels"),
        of("silences"),
        of("overrides"),
    ]


def _cursor(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _within(buckets: Sequence[tuple[float, float]], count: float) -> float:
    return next((edge for edge, many in buckets if many >= count), float("inf"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--incidents", type=int, default=1_000_000, help="0: --database is filled already")
    parser.add_argument("--seconds", type=float, default=5, help="how long a burst lasts")
    parser.add_argument("--rounds", type=int, default=3, help="bursts against each store")
    parser.add_argument("--steady", type=float, default=600, help="seconds at 100/s with memory watched")
    parser.add_argument("--sweep", type=float, default=120, help="seconds at 100/s while old things are deleted")
    parser.add_argument("--database", default="", help="an empty database to fill, for another engine than SQLite")
    parser.add_argument("--empty", default="", help="another empty database beside it, to compare with")
    parser.add_argument("--folder", default="", help="where SQLite's files are put for the time; default: TMPDIR")
    asked = parser.parse_args()
    if bool(asked.database) != bool(asked.empty):
        parser.error("give --database and --empty together: two databases with nothing in them")
    if len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {server.LOAD_CORE})
    with tempfile.TemporaryDirectory(prefix="tocsin-growth-", dir=asked.folder or None) as folder:
        growth = Growth(asked, Path(folder))
        uvloop.run(growth.run())
    return 0 if growth.table.show() else 1


if __name__ == "__main__":
    sys.exit(main())
