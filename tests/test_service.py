"""The whole gateway: it starts or says why not, takes every good file within two seconds, and stops in good order."""

from __future__ import annotations

import asyncio
import signal
import socket
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway import config, service
from gateway.clock import Told, now_ms
from gateway.errors import TocsinError
from gateway.model import GATEWAY
from gateway.service import Options, Service
from gateway.serving import exempt
from tests.fakes.receiver import Receiver
from tests.house import Clock, Running, running
from tests.process import Gateway
from tests.stage import HOUR, YEAR, until

SOURCES = "sources: {generic: {adapter: generic, token: tkn-generic-0001}}\n"


def told(url: str, *routes: str, name: str = "team", more: str = "pace: none") -> str:
    listed = "\n".join(f"  - {route}" for route in routes or [f"{{name: all, to: [{name}]}}"])
    channels = f"  {name}: {{kind: webhook, url: '{url}', {more}}}\n  spare: {{kind: screen}}"
    return f"{SOURCES}channels:\n{channels}\nroutes:\n{listed}\n"


def titles(receiver: Receiver) -> list[str]:
    return [heard.document["incident"]["title"] for heard in receiver.heard]


async def own(house: Running, fingerprint: str) -> dict[str, Any]:
    """The gateway's own incident of this fingerprint; {} where there is none yet."""
    items = (await house.get("incidents", source=GATEWAY))["items"]
    return next((item for item in items if item["fingerprint"] == fingerprint), {})


async def hash_of(house: Running) -> str:
    return str((await house.client.get("/readyz")).json()["configuration"]["hash"])


class Hanging(Receiver):
    """A receiver that takes every request and answers none, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.go.wait()
        await super()._serve(reader, writer)


class TestReloading:
    async def test_a_good_file_takes_effect_within_two_seconds(self, tmp_path: Path) -> None:
        receiver = Receiver()
        async with receiver.listening() as url, running(tmp_path, told(url)) as house:
            before = await hash_of(house)
            started = time.monotonic()
            house.routing.write_text(told(url, "{name: none, match: {service: nobody}, to: [team]}"))

            async def taken() -> bool:
                return await hash_of(house) != before

            await until(taken)
            assert time.monotonic() - started < 2
            await house.alert("unheard")
            await house.told()
            assert receiver.heard == []
            (incident,) = (await house.get("incidents"))["items"]
            assert incident["unrouted"]

    async def test_a_wrong_file_is_refused_whole_and_told_and_the_next_good_one_ends_that(self, tmp_path: Path) -> None:
        receiver = Receiver()
        async with receiver.listening() as url, running(tmp_path, told(url)) as house:
            good = await hash_of(house)
            house.routing.write_text(told(url, "{name: all, to: [teem]}"))
            started = time.monotonic()

            async def refused() -> Any:
                return (await house.client.get("/readyz")).json()["configuration"]["refused"]

            await until(refused)
            assert time.monotonic() - started < 2
            answer = await house.client.get("/readyz")
            assert answer.status_code == 200
            assert (await refused())["problems"] == [
                f"{house.routing}:6: routes.0.to.0: unknown channel 'teem'; did you mean 'team'?"
            ]
            assert await hash_of(house) == good
            await house.alert("still heard")
            await house.told()
            assert (await own(house, "configuration"))["state"] == "open"
            house.routing.write_text(told(url) + "# mended\n")

            async def ended() -> bool:
                return (await own(house, "configuration"))["state"] == "resolved" and await refused() is None

            await until(ended)
            await house.told()
            assert "still heard" in titles(receiver)
            assert [
                h.document["change"]["what"] for h in receiver.heard if h.document["incident"]["source"] == GATEWAY
            ] == [
                "opened",
                "resolved",
            ]

    async def test_a_channel_that_changed_is_spoken_to_at_once_even_if_the_old_one_hangs(self, tmp_path: Path) -> None:
        hanging, receiver = Hanging(), Receiver()
        async with hanging.listening() as old, receiver.listening() as new:
            async with running(tmp_path, told(old, more="pace: none, timeout: 3s")) as house:
                await house.alert("stuck")
                await house.decided()
                await asyncio.sleep(0.1)
                house.routing.write_text(told(new))
                await asyncio.sleep(1.5)
                await house.alert("fresh")
                await until(lambda: "fresh" in titles(receiver), 2)
                await until(lambda: "stuck" in titles(receiver), 10)  # given back when its time was over
            hanging.go.set()
        assert sorted(titles(receiver)) == ["fresh", "stuck"]

    async def test_what_waits_for_a_removed_channel_is_given_up_then_and_later(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service, "TIDY_SECONDS", 0.2)
        receiver = Receiver(answers=[httpx2.Response(204), *[httpx2.Response(503)] * 99])
        async with receiver.listening() as url, running(tmp_path, told(url)) as house:
            await house.alert("heard", fingerprint="a")
            await house.told()
            await house.alert("waits", fingerprint="b")
            await house.decided()
            house.routing.write_text(SOURCES + "channels: {spare: {kind: screen}}\nroutes: []\n")

            async def given_up(many: int) -> bool:
                return len((await house.get("deliveries", state="failed"))["items"]) == many

            await until(lambda: given_up(1))
            await house.alert("heard", fingerprint="a", status="resolved")
            await until(lambda: given_up(2), 8)
            items = (await house.get("deliveries"))["items"]
            assert {item["reason"] for item in items} == {"channel removed"}

    async def test_events_of_a_removed_source_are_still_decided(self, tmp_path: Path) -> None:
        receiver = Receiver()
        async with receiver.listening() as url:
            async with running(tmp_path, told(url)) as house:
                await house.service._crew.stop("process")
                await house.alert("kept")
            other = told(url).replace("generic: {", "another: {")
            async with running(tmp_path, other) as house:
                await house.told()
        assert titles(receiver) == ["kept"]

    async def test_a_channel_that_sleeps_keeps_what_waits_for_it(self, tmp_path: Path) -> None:
        asleep = told("${URL}", more="optional: true, pace: none")
        receiver = Receiver()
        async with receiver.listening() as url:
            async with running(tmp_path, asleep, {"URL": "http://127.0.0.1:9/down"}) as house:
                await house.alert("patient")
                await house.decided()
            async with running(tmp_path, asleep) as house:
                assert (await house.get("deliveries"))["items"][0]["state"] == "waiting"
            async with running(tmp_path, asleep, {"URL": url}) as house:
                await house.service.store.write(lambda ledger: ledger.outbox.wake("team"))
                await house.told()
        assert titles(receiver) == ["patient"]

    async def test_a_save_while_nothing_can_be_written_is_taken_all_the_same(self, tmp_path: Path) -> None:
        async with running(tmp_path, told("http://127.0.0.1:9/x")) as house:
            before = await hash_of(house)
            with closing(sqlite3.connect(house.database, isolation_level=None, timeout=0)) as other:

                def locked() -> bool:
                    with suppress(sqlite3.OperationalError):  # what the gateway writes at a start ends first
                        other.execute("BEGIN IMMEDIATE")
                    return other.in_transaction

                await until(locked)
                house.routing.write_text(told("http://127.0.0.1:9/y"))

                async def taken() -> bool:
                    return await hash_of(house) != before

                await until(taken)
                other.execute("ROLLBACK")


class TestSweeping:
    @pytest.mark.parametrize("jump", [-HOUR, YEAR])
    async def test_a_clock_that_jumps_strands_nothing_in_the_whole_house(
        self, tmp_path: Path, jump: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service, "TIDY_SECONDS", 0.1)
        monkeypatch.setattr("gateway.workers.TICK_SECONDS", 0.1)
        receiver, clock = Receiver(answers=[httpx2.Response(503)]), Clock()
        async with receiver.listening() as url, running(tmp_path, told(url), clock=clock) as house:
            await house.alert("before")
            await until(lambda: len(receiver.heard) == 1)
            clock.ahead += jump
            await house.alert("after")
            await until(lambda: "after" in titles(receiver)[1:])
            clock.ahead += 73 * 60_000
            await house.told()
            # A year later a first failure is also the last: then it is a dead letter for all to see.
            dead = (await house.get("deliveries", state="failed"))["items"]
            assert sorted(titles(receiver)[1:]) == (["after"] if dead else ["after", "before"])

    async def test_the_figures_are_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(service, "TIDY_SECONDS", 0.05)
        receiver = Receiver(answers=[httpx2.Response(404), *[httpx2.Response(503)] * 99])
        async with receiver.listening() as url, running(tmp_path, told(url)) as house:
            await house.alert("dead")
            await house.decided()
            await house.alert("waits")

            async def measured() -> bool:
                text = (await house.client.get("/metrics")).text
                wanted = (
                    'tocsin_outbox_waiting{channel="team"} 1.0',
                    'tocsin_outbox_failed{channel="team"} 1.0',
                    'tocsin_incidents_living{source="generic"} 2.0',
                    "tocsin_inbox_waiting 0.0",
                )
                return all(line in text for line in wanted)

            await until(measured)

    async def test_a_crowded_source_is_noticed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(service, "TIDY_SECONDS", 0.05)
        monkeypatch.setattr(service, "MOST_LIVING", 2)
        async with running(tmp_path, told("http://127.0.0.1:9/x")) as house:
            await house.alert("one")
            await house.alert("two")
            await until(lambda: house.service.pipeline.crowded == {"generic"})
            await house.alert("three")
            await house.decided()
            assert (await house.get("incidents", limit=1))["items"][0]["fingerprint"] == "overflow"

    async def test_a_source_that_may_have_many_connections_is_this_machine_or_a_proxy(self, tmp_path: Path) -> None:
        file = tmp_path / "routing.yaml"
        file.write_text(told("http://x.example/") + "trusted_proxies: [10.0.0.0/8]\n")
        configuration = config.load(file, {})
        asked = {"127.0.0.9": True, "::1": True, "10.1.2.3": True, "192.0.2.1": False, "": False}
        assert {address: exempt(address, configuration) for address in asked} == asked


class TestStarting:
    @pytest.mark.parametrize(
        ("url", "sentence"),
        [
            ("postgresql://127.0.0.1:9/y", "the database cannot be reached: connection failed"),
            ("sqlite:///", "must be named like sqlite:///tocsin.db"),
            ("sqlite:///:memory:", "must be named like sqlite:///tocsin.db"),
            ("mysql://x", "must be named like sqlite:///tocsin.db"),
            ("sqlite:////nowhere/at/all/t.db", "cannot be written (No such file or directory)"),
        ],
    )
    async def test_a_database_that_cannot_be_is_refused_in_a_sentence(
        self, tmp_path: Path, url: str, sentence: str
    ) -> None:
        file = tmp_path / "routing.yaml"
        file.write_text(told("http://x.example/"))
        options = Options(file, url, "127.0.0.1", 0, {})
        with pytest.raises(TocsinError) as refused:
            Service(options, config.load(file, {})).store.open()
        assert sentence in str(refused.value)

    async def test_what_replicas_make_sorts_by_the_databases_clock(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else the end of a problem, taken in by a machine that is ahead, would be decided after its next beginning."""
        file = tmp_path / "routing.yaml"
        file.write_text(told("http://x.example/"))
        options = Options(file, "postgresql://127.0.0.1:9/y", "127.0.0.1", 0, {})
        one, other = (Service(options, config.load(file, {})) for _ in range(2))
        for number, gateway in enumerate((one, other)):
            assert isinstance(gateway.store.engine.told_clock, Told)
            gateway.store.engine.told_clock.tell(now_ms() + 50 + 10 * number)
        real = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: real() + 3_000_000_000)
        ended = one.pipeline.new_id()
        monkeypatch.setattr(time, "time_ns", real)
        assert ended < other.pipeline.new_id()
        assert abs(int(ended.replace("-", "")[:12], 16) - one.pipeline.now()) < 1_000

    async def test_what_was_claimed_when_it_died_is_sent_by_the_next(self, tmp_path: Path) -> None:
        receiver = Receiver()
        async with receiver.listening() as url:
            async with running(tmp_path, told("http://127.0.0.1:9/x")) as house:
                await house.alert("left")
                await house.decided()
            with closing(sqlite3.connect(tmp_path / "tocsin.db")) as database, database:
                database.execute("UPDATE deliveries SET lease_until = 9e15, due_at = 0")
            async with running(tmp_path, told(url)) as house:
                await house.told()
        assert titles(receiver) == ["left"]


ROUTING = """
sources:
  scripts: {adapter: generic, token: "${TOKEN}"}
channels:
  terminal: {kind: screen}
routes:
  - {name: all, to: [terminal]}
"""


class TestTheProcess:
    async def test_it_starts_tells_and_stops(self, tmp_path: Path) -> None:
        async with Gateway(tmp_path, ROUTING).running() as gateway:
            answer = await gateway.post({"title": "Disk full"})
            assert answer.status_code == 202
            await until(lambda: "Disk full" in gateway.screen)
            assert await gateway.end(signal.SIGTERM) == 0
        assert '"event": "gateway stopped"' in gateway.log
        assert "Traceback" not in gateway.log

    async def test_a_file_that_time_has_made_wrong_is_taken_with_a_warning(self, tmp_path: Path) -> None:
        over = ROUTING + (
            'calendars:\n  release: {time_zone: UTC, dates: [{from: "2026-01-04T00:00", to: "2026-01-05T12:00"}]}\n'
        )
        async with Gateway(tmp_path, over).running() as gateway:
            await until(lambda: gateway.log.count('"event": "configuration outdated"') == 1)
            gateway.config.write_text(over + "# saved again\n")
            await until(lambda: gateway.log.count('"event": "configuration outdated"') == 2)
            configuration = (await gateway.get("/readyz"))["configuration"]
        assert configuration["refused"] is None
        assert "calendars.release: never opens again: its dates are over; give it later ones" in gateway.log

    async def test_a_second_one_on_the_same_database_is_refused_in_a_sentence(self, tmp_path: Path) -> None:
        async with Gateway(tmp_path, ROUTING).running() as first:
            second = Gateway(tmp_path, ROUTING)
            await second.start(wait=False)
            assert await second.ended() == 1
            assert second.last_words == (
                f"Error: {first.database}: another gateway is running on this database; stop it first"
            )
            assert (await first.post({"title": "still here"})).status_code == 202

    async def test_a_port_that_is_taken_is_refused_in_a_sentence(self, tmp_path: Path) -> None:
        gateway = Gateway(tmp_path, ROUTING)
        with closing(socket.socket()) as taken:
            taken.bind(("127.0.0.1", gateway.port))
            taken.listen()
            await gateway.start(wait=False)
            assert await gateway.ended() == 1
        assert "Traceback" not in gateway.log
        assert gateway.last_words == (
            f"Error: could not listen on 127.0.0.1:{gateway.port} (Address already in use); is the port taken? "
            "Name another by --port"
        )
        assert not gateway.database.exists()

    async def test_a_database_of_a_newer_version_is_left_alone(self, tmp_path: Path) -> None:
        gateway = Gateway(tmp_path, ROUTING)
        async with gateway.running():
            await gateway.end(signal.SIGTERM)
        with closing(sqlite3.connect(gateway.database)) as database, database:
            database.execute("UPDATE alembic_version SET version_num = '9999'")
        before = gateway.database.read_bytes()
        await gateway.start(wait=False)
        assert await gateway.ended() == 1
        assert "was written by a newer version of Tocsin (schema 9999)" in gateway.last_words
        assert gateway.database.read_bytes() == before

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [(b"no database at all" * 100, "cannot be used as a database"), (None, "is a database of something else")],
    )
    async def test_a_file_of_something_else_is_left_alone(
        self, tmp_path: Path, content: bytes | None, sentence: str
    ) -> None:
        gateway = Gateway(tmp_path, ROUTING)
        if content is None:
            with closing(sqlite3.connect(gateway.database)) as database, database:
                database.execute("CREATE TABLE mine (x)")
        else:
            gateway.database.write_bytes(content)
        before = gateway.database.read_bytes()
        await gateway.start(wait=False)
        assert await gateway.ended() == 1
        assert sentence in gateway.last_words
        assert gateway.database.read_bytes() == before

    async def test_a_folder_that_is_not_there_is_said_so(self, tmp_path: Path) -> None:
        gateway = Gateway(tmp_path, ROUTING)
        gateway.database_url = f"sqlite:///{tmp_path}/missing/tocsin.db"
        await gateway.start(wait=False)
        assert await gateway.ended() == 1
        assert gateway.last_words.startswith("Error: ")
        assert "missing" in gateway.last_words

    async def test_a_wrong_file_says_every_problem_and_exits_1(self, tmp_path: Path) -> None:
        gateway = Gateway(tmp_path, ROUTING.replace("[terminal]", "[termnal]").replace("generic,", "genric,"))
        await gateway.start(wait=False)
        assert await gateway.ended() == 1
        said = [line for line in gateway.log.splitlines() if not line.startswith("{")]
        assert [line.partition(": ")[0] for line in said] == [
            f"{gateway.config}:3",
            f"{gateway.config}:7",
        ]
        assert not gateway.database.exists()

    async def test_a_stop_under_way_with_a_hanging_channel_takes_less_than_ten_seconds(self, tmp_path: Path) -> None:
        hanging = Hanging()
        async with hanging.listening() as url:
            routing = ROUTING.replace("{kind: screen}", f"{{kind: webhook, url: {url}, timeout: 60s}}")
            async with Gateway(tmp_path, routing).running() as gateway:
                await gateway.post({"title": "Disk full"})
                await until(lambda: gateway.sql("SELECT 1 FROM deliveries WHERE lease_until > 0"))
                started = time.monotonic()
                await gateway.end(signal.SIGTERM)
                assert time.monotonic() - started < 10
                assert gateway.sql("SELECT state, attempts, lease_until, unsettled FROM deliveries") == [
                    ("waiting", 0, 0, 0)
                ]
            hanging.go.set()
