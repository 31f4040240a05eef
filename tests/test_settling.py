"""What was said is written down: receipts, dead letters and who hears of them, links that others show."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.contracts import Attempt
from gateway.model import GATEWAY, Message, Receipt, Ref, Rejected, Retry, Sent, Severity, Unknown
from gateway.telemetry import REGISTRY
from tests.stage import HOUR, MINUTE, House, Team, stage

BOTH = {"name": "all", "to": ["team", "backup"]}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with stage(tmp_path, BOTH, team=Team(), backup=Team(), page=Team(edits=True)) as house:
        yield house


async def attempts(house: House) -> list[Attempt]:
    delivery = (await house.deliveries())["team"]
    return (await house.store.read(lambda ledger: ledger.outbox.attempts_of([delivery.id])))[delivery.id]


class TestReceipts:
    async def test_every_attempt_is_logged_with_its_receipt(self, house: House) -> None:
        house.teams["team"].answers.extend([Retry("HTTP 503"), Unknown("timed out"), Sent({"ts": "1"}, "to kim")])
        await house.alert()
        for _ in range(3):
            await house.deliver("team")
            house.clock.push(MINUTE)
        assert [(one.receipt, one.reason, one.revision) for one in await attempts(house)] == [
            ("retry", "HTTP 503", 1),
            ("unknown", "timed out", 1),
            ("sent", "to kim", 1),
        ]
        delivery = (await house.deliveries())["team"]
        assert (delivery.state, delivery.attempts, delivery.tries, delivery.ref) == ("said", 3, 0, {"ts": "1"})

    async def test_how_long_it_took_is_kept(self, house: House) -> None:
        async def slow(_message: Message, _ref: Ref) -> Receipt:
            house.clock.push(250)
            return Sent()

        house.teams["team"].answers.append(slow)
        await house.alert()
        await house.deliver("team")
        (one,) = await attempts(house)
        assert one.took == 250

    async def test_a_retry_waits_longer_each_time_and_as_long_as_the_vendor_asked(self, house: House) -> None:
        house.teams["team"].answers.extend([Retry("x"), Retry("x"), Retry("busy", after=30_000)])
        await house.alert()
        waits = []
        for _ in range(3):
            await house.deliver("team")
            delivery = (await house.deliveries())["team"]
            waits.append(delivery.due_at - house.clock())
            assert await house.claim("team") == ()
            house.clock.at = delivery.due_at
        assert waits[:2] == [2_000, 4_000]
        assert 30_000 <= waits[2] <= 36_000

    async def test_what_is_known_so_far_goes_with_the_next_try(self, house: House) -> None:
        house.teams["team"].answers.extend([Retry("one of two", ref={"told": ["kim"]}), Unknown("lost"), Sent()])
        await house.alert()
        for _ in range(3):
            await house.deliver("team")
            house.clock.push(HOUR)
        assert [ref for _, ref in house.teams["team"].asked] == [{}, {"told": ["kim"]}, {"told": ["kim"]}]

    async def test_an_unknown_is_sent_again_as_often_as_the_channel_says(self, house: House) -> None:
        house.teams["team"].unknown_again = 1
        house.outlets["team"] = house.outlet("team", house.teams["team"])
        house.teams["team"].answers.extend([Unknown("lost"), Unknown("lost")])
        await house.alert()
        await house.deliver("team")
        house.clock.push(MINUTE)
        await house.deliver("team")
        delivery = (await house.deliveries())["team"]
        assert (delivery.state, delivery.reason) == ("said", "unknown whether it arrived: lost")

    async def test_after_a_day_it_is_a_dead_letter(self, house: House) -> None:
        house.teams["team"].answers.extend([Retry("down")] * 9)
        await house.alert()
        await house.deliver("team")
        house.clock.push(24 * HOUR)
        await house.deliver("team")
        delivery = (await house.deliveries())["team"]
        assert (delivery.state, delivery.reason) == ("failed", "gave up after 24 h: down")

    async def test_a_settlement_with_a_stale_token_changes_nothing(self, house: House) -> None:
        before = REGISTRY.get_sample_value("tocsin_settlements_fenced_total", {"channel": "team"}) or 0
        await house.alert()
        (old,) = await house.claim("team")
        house.clock.push(HOUR)
        (new,) = await house.claim("team")
        outlet = house.outlets["team"]
        await house.pipeline.turn(outlet, [await house.pipeline.say(outlet, old)], 0)
        assert (await house.deliveries())["team"].state == "waiting"
        assert REGISTRY.get_sample_value("tocsin_settlements_fenced_total", {"channel": "team"}) == before + 1
        await house.pipeline.turn(outlet, [await house.pipeline.say(outlet, new)], 0)
        assert (await house.deliveries())["team"].state == "said"

    async def test_nothing_follows_from_a_settlement_with_a_stale_token(self, house: House) -> None:
        """Its new holder may yet get it through: nobody is to hear that the channel fails."""
        await house.alert()
        (old,) = await house.claim("team")
        house.clock.push(HOUR)
        (new,) = await house.claim("team")
        outlet = house.outlets["team"]
        house.teams["team"].answers.append(Rejected("no"))
        await house.pipeline.turn(outlet, [await house.pipeline.say(outlet, old)], 0)
        await house.pipeline.turn(outlet, [await house.pipeline.say(outlet, new)], 0)
        await house.decide()
        assert [one.source for one in await house.incidents()] == ["scripts"]


class TestHealth:
    async def test_a_dead_letter_is_one_incident_told_to_others_and_ended_by_the_next_success(
        self, house: House
    ) -> None:
        house.teams["team"].answers.extend([Rejected("channel_not_found")] * 2)
        await house.alert("first", severity=Severity.CRITICAL)
        await house.deliver("team")
        await house.alert("second")
        await house.deliver("team")
        failing = await house.incident("channel:team", GATEWAY)
        assert (failing.state, failing.count, failing.severity) == ("open", 2, Severity.ERROR)
        assert failing.worst == Severity.CRITICAL
        assert set(await house.deliveries("channel:team", GATEWAY)) == {"backup"}
        await house.deliver("backup")
        assert ("opened", "Channel team fails: a message was given up") in house.said("backup")
        await house.alert("third")
        await house.deliver("team")
        assert (await house.incident("channel:team", GATEWAY)).state == "resolved"
        await house.deliver("backup")
        assert ("resolved", "Channel team fails: a message was given up") in house.said("backup")
        assert [title for _, title in house.said("team")] == ["third"]

    async def test_a_dead_letter_of_the_gateways_own_raises_nothing(self, house: House) -> None:
        house.teams["team"].answers.append(Rejected("gone"))
        house.teams["backup"].answers.extend([Sent(), Rejected("gone too")])
        await house.alert()
        await house.deliver("backup")
        await house.deliver("team")
        await house.deliver("backup")
        assert (await house.deliveries("channel:team", GATEWAY))["backup"].state == "failed"
        assert {incident.fingerprint for incident in await house.incidents()} == {"disk", "channel:team"}

    async def test_where_every_channel_is_dead_nothing_goes_round_in_circles(self, house: House) -> None:
        for team in house.teams.values():
            team.answers.extend([Rejected("gone")] * 50)
        await house.alert()
        for _ in range(10):
            await house.deliver("team")
            await house.deliver("backup")
        incidents = {incident.fingerprint: incident.count for incident in await house.incidents()}
        assert incidents == {"disk": 1, "channel:team": 1, "channel:backup": 1}

    async def test_a_channel_that_struggles_is_a_warning_until_it_gets_through(self, house: House) -> None:
        house.teams["team"].answers.extend([Retry("HTTP 503")] * 2)
        await house.alert()
        await house.deliver("team", struggling="HTTP 503")
        struggling = await house.incident("channel:team", GATEWAY)
        assert (struggling.severity, struggling.state) == (Severity.WARNING, "open")
        house.clock.push(HOUR)
        await house.deliver("team", struggling="HTTP 503")
        assert (await house.incident("channel:team", GATEWAY)).count == 1
        house.clock.push(HOUR)
        await house.deliver("team")
        assert (await house.incident("channel:team", GATEWAY)).state == "resolved"

    async def test_recipients_that_are_missed_are_a_warning_until_all_are_reached(self, house: House) -> None:
        house.teams["team"].answers.append(Sent({"told": ["lee"]}, missed="kim: no such box"))
        await house.alert("first")
        await house.deliver("team")
        missing = await house.incident("channel:team", GATEWAY)
        assert (missing.severity, missing.state) == (Severity.WARNING, "open")
        assert "kim: no such box" in missing.body
        delivery = (await house.deliveries("first"))["team"]
        assert (delivery.state, delivery.reason) == ("said", "kim: no such box")
        await house.alert("second")
        await house.deliver("team")
        assert (await house.incident("channel:team", GATEWAY)).state == "resolved"

    async def test_recovery_wakes_all_that_waits(self, house: House) -> None:
        house.teams["team"].answers.extend([Retry("down")] * 3)
        for title in ("a", "b", "c"):
            await house.alert(title)
        await house.deliver("team")
        await house.alert("d")
        assert [one.claim.incident.title for one in await house.deliver("team", recovered=True)] == ["d"]
        assert len(await house.deliver("team")) == 3


class TestLinks:
    async def test_a_permalink_becomes_news_to_the_channels_that_show_it(self, house: House) -> None:
        house.route({"name": "both", "to": ["team", "page"]}, wants_links=frozenset({"page"}))
        house.outlets["page"] = house.outlet("page", house.teams["page"], links=True)
        house.teams["team"].answers.append(Sent({"permalink": "https://slack.example/1"}))
        await house.alert()
        await house.deliver("page")
        await house.deliver("team")
        assert await house.changes() == ["opened", "linked"]
        await house.deliver("page")
        _, updated = house.teams["page"].heard
        assert (updated.occasion, updated.quiet, updated.links) == (
            "linked",
            True,
            {"slack": "https://slack.example/1"},
        )
        assert await house.claim("team") == ()

    async def test_the_same_link_twice_is_no_news(self, house: House) -> None:
        house.route({"name": "both", "to": ["team", "page"]}, wants_links=frozenset({"page"}))
        house.teams["team"].answers.extend([Sent({"permalink": "x"}), Sent({"permalink": "x"})])
        await house.alert()
        await house.deliver("team")
        await house.alert(status="resolved")
        await house.deliver("team")
        assert await house.changes() == ["opened", "linked", "resolved"]

    async def test_a_link_is_no_news_where_nobody_shows_it(self, house: House) -> None:
        house.route({"name": "one", "to": ["team"]}, wants_links=frozenset({"page"}))
        house.teams["team"].answers.append(Sent({"permalink": "x"}))
        await house.alert()
        await house.deliver("team")
        assert await house.changes() == ["opened"]

    async def test_a_link_of_what_is_over_does_not_open_it_again(self, house: House) -> None:
        house.route({"name": "both", "to": ["team", "page"]}, wants_links=frozenset({"page"}))
        house.teams["team"].answers.append(Sent({"permalink": "x"}))
        await house.alert("push", momentary=True)
        await house.deliver("page")
        await house.deliver("team")
        await house.deliver("page")
        assert (await house.incident("push")).state == "resolved"
        assert await house.claim("team") == ()
