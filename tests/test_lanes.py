"""A reload swaps a channel's lane: what is being sent ends in its own time; what the vendor asked for holds."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway import lane, lanes, service
from gateway.contracts import Ledger
from gateway.settling import Said, Settling
from gateway.workers import Crew
from tests.fakes.receiver import Receiver
from tests.house import Running, running, until

ROUTING = """
sources: {{generic: {{adapter: generic, token: tkn-generic-0001}}}}
channels: {{team: {{kind: webhook, url: "{url}", timeout: 30s, pace: {pace}, language: {language}}}}}
routes: [{{name: all, match: {{not: {{source: gateway}}}}, to: [team]}}]
"""


def text(url: str, language: str = "en", pace: str = "none") -> str:
    return ROUTING.format(url=url, language=language, pace=pace)


@dataclass
class Slow:
    """A vendor who answers a request when `go`, as it was when the request came, is set: by `answer`."""

    answer: str = "204 No Content"
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0

    async def has_been_asked(self, many: int) -> bool:
        return self.asked == many

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        finally:
            self.go.set()
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        go = self.go
        self.reached.set()
        await go.wait()
        writer.write(f"HTTP/1.1 {self.answer}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()


@pytest.fixture(autouse=True)
def drains_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "DRAIN_SECONDS", 0.3)


async def reload(house: Running, routing: str) -> None:
    """Save this file, and wait until it is in force."""
    before = house.service.house.configuration
    house.routing.write_text(routing)

    async def taken() -> bool:
        return house.service.house.configuration is not before

    await until(taken)


async def team(house: Running) -> list[dict[str, Any]]:
    return list((await house.get("deliveries", channel="team"))["items"])


async def lease(house: Running) -> int:
    """Until when the only delivery is held."""

    def look() -> int:
        with closing(sqlite3.connect(house.database, timeout=5)) as other:
            ((until_,),) = other.execute("SELECT lease_until FROM deliveries").fetchall()
            return int(until_)

    return await asyncio.to_thread(look)


async def test_what_is_being_sent_at_a_reload_is_sent_once(tmp_path: Path) -> None:
    vendor = Slow()
    async with vendor.listening() as url, running(tmp_path, text(url)) as house:
        await house.alert("slow")
        await vendor.reached.wait()
        await reload(house, text(url, language="ko"))
        await asyncio.sleep(4 * lanes.DRAIN_SECONDS)
        vendor.go.set()
        await house.told()
        (delivery,) = await team(house)
        assert (delivery["state"], delivery["attempts"]) == ("said", 1)
    assert vendor.asked == 1


async def test_what_is_being_sent_is_held_after_a_reload_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "RENEW_SECONDS", 0.1)
    vendor = Slow()
    async with vendor.listening() as url, running(tmp_path, text(url)) as house:
        await house.alert("slow")
        await vendor.reached.wait()
        await reload(house, text(url, language="ko"))
        before = await lease(house)

        async def later() -> bool:
            return await lease(house) > before + 500

        await until(later)
        vendor.go.set()
        await house.told()


async def two_under_way(house: Running, vendor: Slow) -> asyncio.Event:
    """Two alerts are being told. What lets the first of them go; `vendor.go` is of the second."""
    await house.alert("slow")
    await vendor.reached.wait()
    first, vendor.go = vendor.go, asyncio.Event()
    vendor.reached.clear()
    await house.alert("slower")
    await vendor.reached.wait()
    return first


async def test_one_that_has_ended_does_not_wait_for_its_neighbour_to_be_written_down(tmp_path: Path) -> None:
    vendor = Slow()
    async with vendor.listening() as url, running(tmp_path, text(url)) as house:
        first = await two_under_way(house, vendor)
        await reload(house, text(url, language="ko"))
        first.set()

        async def one_said() -> bool:
            return sorted(one["state"] for one in await team(house)) == ["said", "waiting"]

        await until(one_said)
        vendor.go.set()
        await house.told()
        assert [one["attempts"] for one in await team(house)] == [1, 1]
    assert vendor.asked == 2


async def test_what_ends_while_another_is_written_down_is_written_down_too(tmp_path: Path) -> None:
    vendor = Slow()
    async with vendor.listening() as url, running(tmp_path, text(url)) as house:
        first = await two_under_way(house, vendor)
        await reload(house, text(url, language="ko"))
        async with house.nobody_writes():
            first.set()
            await asyncio.sleep(0.2)
            vendor.go.set()
            await asyncio.sleep(0.2)
        await house.told()
        assert [one["attempts"] for one in await team(house)] == [1, 1]
    assert vendor.asked == 2


async def test_what_came_meanwhile_is_said_as_soon_as_the_one_before_has_ended(tmp_path: Path) -> None:
    vendor = Slow()
    async with vendor.listening() as url, running(tmp_path, text(url)) as house:
        house.service.store.tick = 60.0  # nobody looks by himself
        await house.alert("disk", fingerprint="disk", severity="warning")
        await vendor.reached.wait()
        await reload(house, text(url, language="ko"))
        await house.alert("disk", fingerprint="disk", severity="critical")
        await house.decided()
        vendor.go.set()
        await until(lambda: _is(vendor.asked == 2), 3)
        await house.told()


async def test_what_is_being_sent_over_a_channel_that_a_reload_removes_is_not_said_to_have_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "TIDY_SECONDS", 0.1)
    vendor = Slow()
    async with vendor.listening() as url, running(tmp_path, text(url)) as house:
        await house.alert("slow")
        await vendor.reached.wait()
        await reload(house, text(url).replace("team", "spare"))
        await asyncio.sleep(0.5)
        vendor.go.set()

        async def said() -> bool:
            return [one["state"] for one in await team(house)] == ["said"]

        await until(said)
        assert (await house.get("incidents", source="gateway"))["items"] == []
    assert vendor.asked == 1


async def test_a_stop_in_the_midst_of_such_an_ending_is_as_short_as_any(tmp_path: Path) -> None:
    vendor = Slow()
    async with vendor.listening() as url:
        async with running(tmp_path, text(url)) as house:
            await house.alert("stuck")
            await vendor.reached.wait()
            await reload(house, text(url, language="ko"))
            started = time.monotonic()
        assert lanes.DRAIN_SECONDS <= time.monotonic() - started < 2
        assert await lease(house) == 0  # given back
        vendor.go.set()
        async with running(tmp_path, text(url)) as house:
            await house.told()
    assert vendor.asked == 2


async def test_a_standstill_waits_for_what_is_being_sent_for_longer_than_a_stop(tmp_path: Path) -> None:
    """Cut off, it would be said again from where the database is by then."""
    vendor = Slow()
    async with vendor.listening() as url, running(tmp_path, text(url)) as house:
        await house.alert("slow")
        await vendor.reached.wait()
        halting = asyncio.create_task(house.service._halt())
        await asyncio.sleep(4 * lanes.DRAIN_SECONDS)
        assert not halting.done()
        vendor.go.set()
        assert await halting
        assert await lease(house) == 0
        await house.service._go_on()
        (delivery,) = await team(house)
        assert (delivery["state"], delivery["attempts"]) == ("said", 1)
    assert vendor.asked == 1


async def test_a_standstill_in_the_midst_of_such_an_ending_leaves_nothing_under_way(tmp_path: Path) -> None:
    vendor = Slow()
    async with vendor.listening() as url, running(tmp_path, text(url)) as house:
        await house.alert("stuck")
        await vendor.reached.wait()
        await reload(house, text(url, language="ko"))
        assert await house.service._halt()
        assert await lease(house) == 0
        vendor.reached.clear()
        await house.service._go_on()
        await vendor.reached.wait()
        await reload(house, text(url, language="en"))
        await asyncio.sleep(2 * lanes.DRAIN_SECONDS)
        vendor.go.set()
        await house.told()
    assert vendor.asked == 2


async def test_what_a_vendor_asked_for_holds_after_a_reload(tmp_path: Path) -> None:
    receiver = Receiver(answers=[httpx2.Response(429, headers={"retry-after": "600"})])
    async with receiver.listening() as url, running(tmp_path, text(url)) as house:
        await house.alert("first")
        await until(lambda: has_failed_once(house))
        await house.alert("second")
        await reload(house, text(url, language="ko"))
        await house.decided()
        await asyncio.sleep(0.5)
        assert len(receiver.heard) == 1
        await reload(house, text(url + "/elsewhere", language="ko"))  # who is there has asked for nothing
        await until(lambda: _is(len(receiver.heard) == 2))


async def test_what_vendors_asked_for_holds_where_a_reload_touches_several_channels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of them has ended before the last is closed."""
    stop = Crew.stop

    async def stop_slowly(crew: Crew, name: str) -> None:
        await stop(crew, name)
        await asyncio.sleep(0.1)

    monkeypatch.setattr(Crew, "stop", stop_slowly)
    receiver = Receiver(answers=[httpx2.Response(429, headers={"retry-after": "600"})] * 2)
    two = """
sources: {{generic: {{adapter: generic, token: tkn-generic-0001}}}}
channels:
  one: {{kind: webhook, url: "{url}", pace: none, language: {language}}}
  two: {{kind: webhook, url: "{url}", pace: none, language: {language}}}
routes: [{{name: all, match: {{not: {{source: gateway}}}}, to: [one, two]}}]
"""
    async with receiver.listening() as url, running(tmp_path, two.format(url=url, language="en")) as house:
        await house.alert("first")

        async def resting() -> bool:
            lanes_of = house.service._lanes._lanes.values()
            return all(one._health.asked_until for one in lanes_of)

        await until(resting)
        await reload(house, two.format(url=url, language="ko"))
        assert await resting()


async def test_what_a_vendor_asks_for_after_a_reload_is_heard(tmp_path: Path) -> None:
    vendor = Slow(answer="429 Too Many Requests\r\nRetry-After: 600")
    async with vendor.listening() as url, running(tmp_path, text(url)) as house:
        await house.alert("first")
        await vendor.reached.wait()
        await reload(house, text(url, language="ko"))
        vendor.go.set()
        await until(lambda: has_failed_once(house))
        await house.alert("second")
        await house.decided()
        await asyncio.sleep(0.5)
    assert vendor.asked == 1


async def test_a_reload_does_not_begin_the_pace_anew(tmp_path: Path) -> None:
    receiver = Receiver()
    async with receiver.listening() as url, running(tmp_path, text(url, pace="1/m")) as house:
        await house.alert("first")
        await house.told()
        await reload(house, text(url, language="ko", pace="1/m"))
        await house.alert("second")
        await house.decided()
        await asyncio.sleep(0.5)
    assert len(receiver.heard) == 1


async def has_failed_once(house: Running) -> bool:
    return any(one["reason"] for one in await team(house))


async def _is(true: bool) -> bool:
    return true


def expire(house: Running) -> None:
    """As after a pause of the machine that lasted longer than a lease."""
    with closing(sqlite3.connect(house.database, timeout=5)) as other, other:
        other.execute("UPDATE deliveries SET lease_until = 1 WHERE lease_until > 1")


async def test_what_the_lane_before_is_sending_still_is_not_sent_by_the_one_in_its_place(tmp_path: Path) -> None:
    vendor = Slow()
    async with vendor.listening() as url, running(tmp_path, text(url)) as house:
        await house.alert("slow")
        await vendor.reached.wait()
        await reload(house, text(url, language="ko"))
        await reload(house, text(url, language="en"))  # one before the one before
        for _ in range(3):
            await asyncio.to_thread(expire, house)
            house.service._lanes.wake(None)
            await asyncio.sleep(0.1)
        vendor.go.set()
        await house.told()
        (delivery,) = await team(house)
        assert (delivery["state"], delivery["attempts"]) == ("said", 1)
    assert vendor.asked == 1


async def test_what_the_lane_before_is_sending_still_takes_room(tmp_path: Path) -> None:
    vendor = Slow()
    async with vendor.listening() as url, running(tmp_path, text(url)) as house:
        width = house.service._lanes._channels["team"].width
        for number in range(width):
            await house.alert(f"slow {number}")
        await until(lambda: vendor.has_been_asked(width))
        await reload(house, text(url, language="ko"))
        await house.alert("one more")
        await asyncio.sleep(0.3)
        assert vendor.asked == width
        vendor.go.set()
        await until(lambda: vendor.has_been_asked(width + 1))


async def test_a_lane_that_ends_writes_down_all_but_what_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor, settle = Slow(), Settling.settle

    async def fails(settling: Settling, ledger: Ledger, said: Sequence[Said]) -> None:
        if any(one.claim.incident.title == "bad" for one in said):
            raise KeyError("a bug")
        await settle(settling, ledger, said)

    monkeypatch.setattr(Settling, "settle", fails)
    async with vendor.listening() as url, running(tmp_path, text(url)) as house:
        for title in ("bad", "good"):
            await house.alert(title)
        await until(lambda: vendor.has_been_asked(2))
        await reload(house, text(url, language="ko"))
        vendor.go.set()

        async def ended() -> bool:
            states = sorted(str(one["state"]) for one in await team(house))
            return states == ["failed", "said"] and not house.service._lanes._finishing

        await until(ended)
    assert vendor.asked == 2
