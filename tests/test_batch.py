"""One batch, one transaction: what cannot be read is set aside and told of once, and the figures are kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.model import GATEWAY, Alert, Severity
from gateway.rules import own
from gateway.telemetry import REGISTRY
from tests.stage import House, Team, routing, running_store, stage


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with stage(tmp_path, {"name": "all", "to": ["team"]}) as house:
        yield house


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


class TestUnreadable:
    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b"not json", "the body is no JSON: "),
            (b'{"boom": "x"}', "the adapter failed: ZeroDivisionError"),
            (b'[{"fingerprint": "a"}]', "the adapter failed: KeyError"),
        ],
    )
    async def test_an_event_that_cannot_be_read_is_kept_with_the_reason(
        self, house: House, body: bytes, reason: str
    ) -> None:
        kept = await house.receive(body)
        await house.decide()
        event = await house.event(kept.event)
        assert event.state == "unreadable"
        assert event.body == body
        assert event.reason.startswith(reason)

    async def test_an_adapter_says_in_a_sentence_why_it_cannot(self, house: House) -> None:
        kept = await house.receive(b"{}", adapter="generic")
        await house.decide()
        assert (await house.event(kept.event)).reason.startswith("generic: no text in the body could be a title")

    async def test_an_adapter_that_is_gone_is_said_so(self, house: House) -> None:
        kept = await house.receive(b"{}", adapter="nagios")
        await house.decide()
        assert (await house.event(kept.event)).reason == "no adapter 'nagios' in this version"

    async def test_many_of_one_source_are_one_warning(self, house: House) -> None:
        for source in ("a", "a", "b"):
            await house.receive(b"x", source=source)
        await house.decide()
        for _ in range(3):
            await house.receive(b"x", source="a")
            await house.decide()
        own_alerts = [incident for incident in await house.incidents() if incident.source == GATEWAY]
        assert {incident.fingerprint for incident in own_alerts} == {"unreadable:a", "unreadable:b"}
        assert {incident.severity for incident in own_alerts} == {Severity.WARNING}
        await house.deliver("team")
        assert len(house.said("team")) == 2

    async def test_a_good_second_reading_of_the_last_one_ends_the_warning(self, house: House) -> None:
        kept = [await house.receive(b'{"alerts": [{"boom": 1}]}', adapter="gone") for _ in range(2)]
        await house.decide()
        house.pipeline.adapters = {**house.pipeline.adapters, "gone": house.pipeline.adapters["generic"]}
        assert (await house.incident("unreadable:scripts", GATEWAY)).state == "open"
        await house.sql("UPDATE events SET body = ? WHERE source = 'scripts'", b'{"title": "x"}')
        for number, one in enumerate(kept):
            await house.store.write(lambda ledger, id_=one.event: ledger.inbox.again(id_))
            await house.decide()
            state = (await house.incident("unreadable:scripts", GATEWAY)).state
            assert state == ("open" if number == 0 else "resolved")
        assert (await house.event(kept[0].event)).reason == ""

    async def test_the_gateways_own_unreadable_event_raises_nothing(self, house: House) -> None:
        await house.receive(b"x", source=GATEWAY)
        await house.decide()
        assert await house.incidents() == []


class TestDeciding:
    async def test_nothing_waiting_is_nothing_done(self, house: House) -> None:
        assert (await house.pipeline.process(64)).events == 0

    async def test_so_many_are_decided_and_the_others_wait(self, house: House) -> None:
        for number in range(5):
            await house.post(Alert(f"{number}", "x"))
        assert [(await house.pipeline.process(2)).events for _ in range(4)] == [2, 2, 1, 0]

    async def test_events_with_very_many_alerts_are_no_one_batch(self, house: House) -> None:
        """Each is decided whole, and the loop goes on at once while any waits."""
        opened = figure("tocsin_incident_changes_total", what="opened")
        for event in range(4):
            await house.post(*[Alert(f"{event}-{number}", "x") for number in range(300)])
        await house.post(*[Alert(f"large-{number}", "x") for number in range(700)])
        done = [(await house.pipeline.process(64)).events for _ in range(4)]
        assert done == [2, 2, 1, 0]
        assert figure("tocsin_incident_changes_total", what="opened") - opened == 4 * 300 + 700

    @pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
    async def test_events_with_very_large_bodies_are_no_one_batch(
        self, request: pytest.FixtureRequest, tmp_path: Path, engine: str
    ) -> None:
        """64 of a megabyte would be held and decoded within one transaction; the loop goes on at once while any
        waits."""
        place = tmp_path if engine == "sqlite" else request.getfixturevalue("postgres_url")
        large = {"text": "a" * 900_000, "values": [{}] * 20_000}
        async with running_store(place) as store:
            house = House(store, routing({"name": "all", "to": ["team"]}), team=Team())
            for number in range(25):
                body = json.dumps({"title": f"disk {number}", "status": "firing", **large}).encode()
                await house.receive(body, adapter="generic")
            done = []
            async with asyncio.timeout(20):
                while not done or done[-1].left:
                    done.append(await house.pipeline.process(64))
            assert [one.events for one in done] == [3, 3, 3, 3, 3, 3, 3, 3, 1]
            assert len(await house.incidents()) == 25

    async def test_others_get_a_turn_while_a_large_event_is_decided(self, house: House) -> None:
        house.route({"name": "none", "match": {"source": "nobody"}, "to": ["team"]})
        await house.post(*[Alert(f"{number}", "x") for number in range(1_000)])
        made, give = 0, house.pipeline.new_id

        def counted() -> str:
            nonlocal made
            made += 1
            return give()

        house.pipeline.new_id = counted
        deciding = asyncio.create_task(house.pipeline.process(64))
        most = before = 0
        while not deciding.done():
            await asyncio.sleep(0)
            most, before = max(most, made - before), made
        assert made >= 3_000
        assert most < 300

    async def test_an_event_of_a_removed_source_is_still_decided(self, house: House) -> None:
        """It carries its adapter's name: the configuration is not asked."""
        await house.alert(source="was taken out")
        assert (await house.incident(source="was taken out")).state == "open"

    async def test_the_gateways_own_alert_goes_the_way_of_all_others(self, house: House) -> None:
        await house.pipeline.tell(own.configuration_refused(["routing.yaml:1: x"], "e1", house.clock()))
        await house.decide()
        await house.deliver("team")
        (message,) = house.teams["team"].heard
        assert message.incident.title == "A saved configuration was refused; the last good one stays"

    async def test_what_many_events_say_is_folded_in_the_order_they_came(self, house: House) -> None:
        for severity in (Severity.WARNING, Severity.CRITICAL, Severity.ERROR):
            await house.post(Alert("disk", "disk", severity=severity))
        await house.decide()
        incident = await house.incident()
        assert await house.changes() == ["opened", "worsened", "eased"]
        assert (incident.severity, incident.worst) == (Severity.ERROR, Severity.CRITICAL)

    async def test_figures_count_what_was_decided_and_what_was_not(self, house: House) -> None:
        house.route({"name": "none", "match": {"source": "nobody"}, "to": ["team"]})
        names = ["tocsin_events_decided_total", "tocsin_events_unreadable_total", "tocsin_incidents_unrouted_total"]
        before = [figure(name, source="figures") for name in names]
        opened = figure("tocsin_incident_changes_total", what="opened")
        await house.post(Alert("a", "a"), source="figures")
        await house.post(Alert("a", "a"), source="figures")
        await house.receive(b"x", source="figures")
        await house.pipeline.process(64)
        assert [figure(name, source="figures") - was for name, was in zip(names, before, strict=True)] == [2, 1, 1]
        assert figure("tocsin_incident_changes_total", what="opened") - opened == 1
