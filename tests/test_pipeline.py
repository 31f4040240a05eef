"""What CONTRACT's "rules that hold everywhere" promise about incidents and about speaking, told as stories."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import StoreUnavailable
from gateway.model import GATEWAY, Alert, Event, Message, Receipt, Ref, Rejected, Retry, Sent, Severity, Unknown
from gateway.pipeline import Processed
from gateway.rules.folding import MOST_LIVING
from gateway.rules.templates import compile as compile_templates
from gateway.settling import MOST_CRASHES
from tests.stage import HOUR, MINUTE, House, Team, stage

EVERYTHING = {"name": "all", "to": ["team"]}
CRITICAL = {"name": "critical", "match": {"severity": ">=critical"}, "to": ["oncall"]}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """`team` hears everything, `oncall` what is critical; `board` can edit what it said and is in no route."""
    async with stage(tmp_path, CRITICAL, EVERYTHING, team=Team(), oncall=Team(), board=Team(edits=True)) as house:
        yield house


class TestIncidents:
    async def test_a_problem_is_told_once_and_its_repeats_are_counted(self, house: House) -> None:
        await house.alert()
        await house.alert()
        await house.alert()
        await house.deliver("team")
        incident = await house.incident()
        assert (incident.count, incident.revision, await house.changes()) == (3, 1, ["opened"])
        assert house.said("team") == [("opened", "disk")]

    async def test_the_same_fingerprint_of_two_sources_is_two_incidents(self, house: House) -> None:
        await house.alert(source="a")
        await house.alert(source="b")
        await house.alert(source="a", status="resolved")
        assert (await house.incident(source="a")).state == "resolved"
        assert (await house.incident(source="b")).state == "open"

    async def test_a_resolve_of_what_nobody_opened_opens_nothing_and_tells_nobody(self, house: House) -> None:
        assert await house.alert(status="resolved") == Processed(1)
        assert await house.incidents() == []
        assert await house.claim("team") == ()

    async def test_a_second_resolve_says_nothing(self, house: House) -> None:
        await house.alert()
        await house.alert(status="resolved")
        await house.deliver("team")
        await house.alert(status="resolved")
        assert await house.claim("team") == ()

    async def test_what_nothing_can_resolve_is_told_once_and_resolved_at_once_by_the_gateway(
        self, house: House
    ) -> None:
        await house.alert("push", momentary=True, severity=Severity.INFO)
        await house.deliver("team")
        incident = await house.incident("push")
        assert incident.state == "resolved"
        assert await house.changes("push") == ["opened", "resolved"]
        assert house.said("team") == [("opened", "push")]
        assert (await house.deliveries("push"))["team"].state == "said"
        assert await house.claim("team") == ()

    async def test_a_second_push_is_an_incident_of_its_own(self, house: House) -> None:
        await house.alert("push", momentary=True)
        await house.alert("push", momentary=True)
        await house.deliver("team")
        assert [incident.previous for incident in await house.incidents()] == ["", ""]
        assert len(house.said("team")) == 2

    async def test_what_the_adapter_drops_is_done_and_says_nothing(self, house: House) -> None:
        dropped = await house.post()
        assert await house.decide() == Processed(1)
        assert (await house.event(dropped.event)).state == "done"
        assert await house.incidents() == []

    async def test_soon_after_a_resolve_it_is_the_same_incident_again(self, house: House) -> None:
        await house.alert()
        await house.deliver("team")
        await house.alert(status="resolved")
        await house.deliver("team")
        house.clock.push(9 * MINUTE)
        await house.alert()
        await house.deliver("team")
        incident = await house.incident()
        assert (incident.state, incident.resolved_at, incident.number) == ("open", None, 1)
        assert house.said("team") == [("opened", "disk"), ("resolved", "disk"), ("reopened", "disk")]

    async def test_later_it_is_a_new_incident_that_names_the_one_before(self, house: House) -> None:
        await house.alert()
        first = await house.incident()
        await house.alert(status="resolved")
        house.clock.push(11 * MINUTE)
        await house.alert()
        second = await house.incident()
        assert (second.number, second.previous) == (2, first.id)

    async def test_opened_resolved_and_back_in_one_batch_is_one_incident(self, house: House) -> None:
        await house.post(Alert("disk", "disk"))
        await house.post(Alert("disk", "disk", status="resolved"))
        await house.post(Alert("disk", "disk"))
        await house.decide()
        assert await house.changes() == ["opened", "resolved", "reopened"]
        await house.deliver("team")
        assert house.said("team") == [("opened", "disk")]

    async def test_a_worse_alert_reopens_what_was_acknowledged(self, house: House) -> None:
        await house.alert(severity=Severity.ERROR)
        await house.deliver("team")
        await house.sql("UPDATE incidents SET state = 'acknowledged', acknowledged_by = 'kim', acknowledged_at = 1")
        await house.alert(severity=Severity.ERROR)
        assert (await house.incident()).state == "acknowledged"
        await house.alert(severity=Severity.CRITICAL)
        incident = await house.incident()
        assert (incident.state, incident.acknowledged_by, incident.acknowledged_at) == ("open", "", None)
        await house.deliver("team")
        assert house.said("team") == [("opened", "disk"), ("worsened", "disk")]

    async def test_a_sender_that_invents_fingerprints_is_gathered_into_one_incident(self, house: House) -> None:
        await house.alert("known")
        house.pipeline.crowded = {"scripts"}
        await house.alert("new one", severity=Severity.CRITICAL)
        await house.alert("new two")
        await house.alert("known", severity=Severity.EMERGENCY)
        titles = {incident.fingerprint: incident.title for incident in await house.incidents()}
        assert titles == {
            "known": "known",
            "overflow": f"More than {MOST_LIVING:,} open problems: new ones are gathered here",
        }
        assert (await house.incident("overflow")).count == 2


class TestSpeaking:
    async def test_a_rise_reads_the_routes_again_and_adds_channels(self, house: House) -> None:
        await house.alert(severity=Severity.ERROR)
        await house.deliver("team")
        assert await house.claim("oncall") == ()
        await house.alert(severity=Severity.CRITICAL)
        await house.deliver("team")
        await house.deliver("oncall")
        assert house.said("team") == [("opened", "disk"), ("worsened", "disk")]
        assert house.said("oncall") == [("opened", "disk")]

    async def test_a_fall_only_edits_what_can_be_edited(self, house: House) -> None:
        house.route({"name": "both", "to": ["team", "board"]})
        await house.alert(severity=Severity.CRITICAL)
        await house.deliver("team")
        await house.deliver("board")
        await house.alert(severity=Severity.WARNING)
        assert await house.claim("team") == ()
        await house.deliver("board")
        (_, edited) = house.teams["board"].heard
        assert (edited.occasion, edited.quiet) == ("eased", True)

    async def test_who_heard_the_worst_is_not_told_that_it_rose_again(self, house: House) -> None:
        """It fell and rose while `team` heard nothing of the fall: for `team` nothing is worse than it knows."""
        await house.alert(severity=Severity.CRITICAL)
        await house.deliver("team")
        await house.alert(severity=Severity.WARNING)
        await house.alert(severity=Severity.ERROR)
        await house.deliver("team")
        assert house.said("team") == [("opened", "disk")]
        assert await house.state() == "said"

    async def test_a_fault_in_the_wording_costs_a_try_and_not_the_lane(self, house: House) -> None:
        await house.alert()
        (claim,) = await house.claim("team")
        said = await house.pipeline.say(house.outlets["team"], replace(claim, since=None))  # type: ignore[arg-type]
        assert said.crashed or said.receipt == Sent()

    async def test_the_gateways_own_event_that_cannot_be_decided_warns_of_nothing(self, house: House) -> None:
        await house.post(Alert("bad", "bad", body="SURROGATE"), source=GATEWAY)
        await house.decide()
        assert await house.incidents() == []

    async def test_a_disk_that_fills_while_events_are_decided_one_by_one_postpones_the_rest(self, house: House) -> None:
        await house.post(Alert("bad", "bad", body="SURROGATE"))
        write, store = house.store.write, house.pipeline.store

        class Filling:
            read = store.read
            calls = 0

            async def write(self, work: Any, *, lasting: bool = True) -> Any:
                self.calls += 1
                if self.calls > 1:
                    raise StoreUnavailable("the disk is full")
                return await write(work, lasting=lasting)

        house.pipeline.store = Filling()  # type: ignore[assignment]
        with pytest.raises(StoreUnavailable):
            await house.pipeline.process(64)
        house.pipeline.store = store
        assert (await house.decide()).events == 1

    async def test_a_channel_taken_by_two_routes_is_one_delivery_with_the_first_route(self, house: House) -> None:
        house.route({"name": "first", "to": ["team"]}, {"name": "second", "to": ["team", "oncall"]})
        await house.alert()
        deliveries = await house.deliveries()
        assert {name: delivery.route for name, delivery in deliveries.items()} == {"team": "first", "oncall": "second"}
        assert len(await house.deliver("team")) == 1

    async def test_what_opened_and_closed_before_it_was_told_is_one_message_with_both_times(self, house: House) -> None:
        await house.alert()
        house.clock.push(3 * MINUTE)
        await house.alert(status="resolved")
        await house.deliver("team")
        (message,) = house.teams["team"].heard
        assert message.occasion == "over"
        assert "12:00" in message.text
        assert "12:03" in message.text
        assert await house.claim("team") == ()

    async def test_history_is_fetched_where_there_is_more_than_an_opening_or_templates_may_name_it(
        self, house: House
    ) -> None:
        plain = house.outlets["team"]
        own = replace(plain, voice=replace(plain.voice, templates=compile_templates(None, "{{ incident.title }}")))
        fetched = []
        for house.outlets["team"], severities in (
            (plain, [Severity.ERROR]),
            (own, [Severity.ERROR]),
            (plain, [Severity.ERROR, Severity.CRITICAL]),
        ):
            for severity in severities:
                await house.alert(str(len(fetched)), severity=severity)
            (claim,) = await house.claim("team")
            fetched.append([change.what for change in claim.since])
        assert fetched == [[], ["opened"], ["opened", "worsened"]]

    async def test_a_channel_that_was_down_hears_one_true_message(self, house: House) -> None:
        house.teams["team"].answers.append(Retry("down"))
        await house.alert(severity=Severity.WARNING)
        await house.deliver("team")
        await house.alert(severity=Severity.ERROR)
        await house.alert(severity=Severity.CRITICAL)
        await house.deliver("team")
        (message,) = house.teams["team"].heard
        assert (message.occasion, message.incident.severity) == ("opened", Severity.CRITICAL)

    async def test_a_resolve_goes_to_all_who_heard_whatever_the_routes_say_by_then(self, house: House) -> None:
        await house.alert(severity=Severity.CRITICAL)
        await house.deliver("team")
        await house.deliver("oncall")
        house.route({"name": "others", "to": ["board"]})
        await house.alert(status="resolved")
        for name in ("team", "oncall", "board"):
            await house.deliver(name)
        assert house.said("team") == house.said("oncall") == [("opened", "disk"), ("resolved", "disk")]
        assert house.said("board") == []

    async def test_a_dead_letter_wakes_when_there_is_a_new_reason_to_speak(self, house: House) -> None:
        house.teams["team"].answers.append(Rejected("channel_not_found"))
        await house.alert(severity=Severity.ERROR)
        await house.deliver("team")
        assert (await house.deliveries())["team"].state == "failed"
        await house.alert(severity=Severity.ERROR)
        assert await house.claim("team") == ()
        await house.alert(severity=Severity.CRITICAL)
        await house.deliver("team")
        delivery = (await house.deliveries())["team"]
        assert (delivery.state, delivery.reason, delivery.tries) == ("said", "", 0)

    async def test_what_no_route_takes_is_kept_unrouted_and_default_hears(self, house: House) -> None:
        house.route(CRITICAL, default=["board"])
        await house.alert()
        assert (await house.incident()).unrouted
        assert {name: d.route for name, d in (await house.deliveries()).items()} == {"board": "default"}
        await house.alert(severity=Severity.CRITICAL)
        assert not (await house.incident()).unrouted

    async def test_a_reason_that_arises_while_we_speak_is_spoken_next(self, house: House) -> None:
        async def meanwhile(_message: Message, _ref: Ref) -> Receipt:
            await house.alert(status="resolved")
            return Sent({"ts": "1"})

        house.teams["team"].answers.append(meanwhile)
        await house.alert()
        await house.deliver("team")
        assert (await house.deliveries())["team"].state == "waiting"
        await house.deliver("team")
        assert house.said("team") == [("opened", "disk"), ("resolved", "disk")]
        assert house.teams["team"].asked[1][1] == {"ts": "1"}

    async def test_the_decision_is_kept_with_the_configuration_that_took_it(self, house: House) -> None:
        await house.alert(severity=Severity.ERROR)
        await house.alert(status="resolved")
        opened, resolved = await house.decisions()
        assert opened == {
            "routes": [
                {
                    "name": "critical",
                    "matched": False,
                    "missed": {"key": "severity", "wanted": ">=critical", "was": "error"},
                },
                {"name": "all", "matched": True, "missed": None},
            ],
            "targets": [{"channel": "team", "at": "2026-11-20T12:00:00.000Z"}],
            "holds": [],
            "configuration": "abc",
        }
        assert resolved["routes"] == [{"name": "all", "matched": True, "missed": None, "note": "team has heard of it"}]

    async def test_a_sources_labels_win_over_the_payloads(self, house: House) -> None:
        house.route(EVERYTHING, labels={"scripts": {"team": "data"}})
        await house.alert(labels={"team": "web", "host": "db-1"})
        assert (await house.incident()).labels == {"team": "data", "host": "db-1"}


class TestReceiving:
    async def test_a_senders_id_is_burned_for_seven_days(self, house: House) -> None:
        first = await house.receive(b"[]", delivery_id="1")
        again = await house.receive(b"[1]", delivery_id="1")
        assert (first.duplicate, again.duplicate, again.event) == (False, True, first.event)
        assert not (await house.receive(b"[]", delivery_id="1", source="other")).duplicate
        house.clock.push(7 * 24 * HOUR + 1)
        assert not (await house.receive(b"[]", delivery_id="1")).duplicate

    async def test_the_same_body_is_a_duplicate_for_a_day_where_the_adapter_says_so(self, house: House) -> None:
        first = await house.receive(b"[]", once_per_body=True)
        assert (await house.receive(b"[]", once_per_body=True)).event == first.event
        assert not (await house.receive(b"[ ]", once_per_body=True)).duplicate
        house.clock.push(24 * HOUR + 1)
        assert not (await house.receive(b"[]", once_per_body=True)).duplicate

    async def test_without_an_id_the_same_words_twice_are_two_events(self, house: House) -> None:
        first, second = await house.receive(b"[]"), await house.receive(b"[]")
        assert first.event != second.event


class TestPoison:
    async def test_an_adapter_that_raises_costs_only_its_own_event(self, house: House) -> None:
        await house.post(Alert("before", "before"))
        bad = await house.receive(b'{"boom": "x"}')
        await house.post(Alert("after", "after"))
        await house.decide()
        event = await house.event(bad.event)
        assert (event.state, event.reason) == ("unreadable", "the adapter failed: ZeroDivisionError")
        assert {incident.fingerprint for incident in await house.incidents()} >= {"before", "after"}

    @pytest.mark.parametrize(
        ("poison", "fault"),
        [
            (Alert("bad", "bad", body="SURROGATE"), "(UnicodeEncodeError|PydanticSerializationError)"),
            (Alert("bad", "bad", value={}), "(InterfaceError|ProgrammingError)"),  # type: ignore[arg-type]
        ],
    )
    async def test_a_batch_that_cannot_be_decided_is_decided_one_by_one(
        self, house: House, poison: Alert, fault: str
    ) -> None:
        """What an adapter gave cannot be stored: that is found in the midst of the batch."""
        await house.post(Alert("before", "before"))
        bad = await house.post(poison)
        good = await house.post(Alert("after", "after"))
        assert await house.decide() == Processed(3, frozenset({"team"}), left=True)
        event = await house.event(bad.event)
        assert event.state == "unreadable"
        assert re.fullmatch(f"a fault of the gateway while deciding: {fault}", event.reason)
        assert (await house.event(good.event)).state == "done"
        assert {i.fingerprint for i in await house.incidents() if i.source != GATEWAY} == {"before", "after"}
        assert (await house.incident("unreadable:scripts", GATEWAY)).severity == Severity.WARNING

    async def test_what_another_gateway_decided_meanwhile_is_not_decided_again(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Several share a store: all of them stumble over the same event, and read the same others beside it."""
        poison = Alert("bad", "bad", body="SURROGATE")
        bad, first = await house.post(poison), await house.post(Alert("disk", "disk"))
        last = await house.post(Alert("disk", "disk", status="resolved"))
        alone, others = house.pipeline._alone, iter([True])

        async def beaten(event: Event) -> Processed:
            if next(others, False):  # the other was a moment earlier
                for one in (bad, first, last):
                    await alone(await house.event(one.event))
            return await alone(event)

        monkeypatch.setattr(house.pipeline, "_alone", beaten)
        await house.decide()
        monkeypatch.undo()
        assert [(i.state, i.revision) for i in await house.incidents() if i.fingerprint == "disk"] == [("resolved", 2)]
        assert (await house.event(bad.event)).state == "unreadable"
        assert len(await house.decisions("disk")) == 2

    async def test_a_channel_that_raises_is_tried_five_times(self, house: House) -> None:
        house.teams["team"].answers.extend([KeyError("x")] * 9)
        await house.alert()
        for tried in range(1, MOST_CRASHES + 1):
            (said,) = await house.deliver("team")
            assert said.crashed
            assert (await house.deliveries())["team"].tries == tried
            house.clock.push(HOUR)
        delivery = (await house.deliveries())["team"]
        assert delivery.state == "failed"
        assert delivery.reason == "given up after 5 faults: a fault of the gateway: KeyError"

    @pytest.mark.parametrize("receipt", [None, True, Sent({"file": b"bytes"}), Sent({"self": {1}})])
    async def test_a_receipt_that_cannot_be_written_down_is_the_channels_fault(
        self, house: House, receipt: Receipt
    ) -> None:
        async def wrong(_message: Message, _ref: Ref) -> Receipt:
            return receipt

        house.teams["team"].answers.append(wrong)
        await house.alert()
        (said,) = await house.deliver("team")
        assert said.crashed
        house.clock.push(HOUR)
        await house.deliver("team")
        assert (await house.deliveries())["team"].state == "said"

    async def test_a_message_that_kills_the_process_five_times_is_given_up(self, house: House) -> None:
        await house.alert("deadly")
        for _ in range(5):
            assert len(await house.claim("team")) == 1
            await house.store.write(
                lambda ledger: ledger.outbox.release_all(house.clock())
            )  # it died, and starts again
            house.clock.push(MINUTE)
        assert await house.claim("team") == ()
        dead = (await house.deliveries("deadly"))["team"]
        assert (dead.state, dead.reason) == ("failed", "the gateway died 5 times while sending this")
        await house.decide()
        assert (await house.incident("channel:team", GATEWAY)).state == "open"

    async def test_a_message_that_a_stopping_gateway_gives_back_is_not_suspected(self, house: House) -> None:
        await house.alert()
        for _ in range(9):
            (claim,) = await house.claim("team")
            await house.store.write(lambda ledger, d=claim.delivery: ledger.outbox.release([(d.id, d.token)]))
        assert len(await house.claim("team")) == 1

    async def test_a_channel_that_never_ends_is_cut_off_and_nobody_knows_whether_it_arrived(self, house: House) -> None:
        async def forever(_message: Message, _ref: Ref) -> Receipt:
            await asyncio.Event().wait()
            raise AssertionError

        house.teams["team"].answers.append(forever)
        await house.alert()
        (claim,) = await house.claim("team")
        impatient = house.outlet("team", house.teams["team"])
        object.__setattr__(impatient, "patience", 20)
        said = await house.pipeline.say(impatient, claim)
        assert said.receipt == Unknown("not finished within 0 s")

    async def test_a_channel_whose_send_is_one_call_has_the_deadline_of_that_call_and_no_other(
        self, house: House
    ) -> None:
        await house.alert()
        (claim,) = await house.claim("team")
        outlet = replace(house.outlet("team", house.teams["team"]), patience=None)
        assert (await house.pipeline.say(outlet, claim)).receipt == Sent()
