"""What people do, each in one transaction: acknowledge, resolve, note …, over the API, a button, a reply or a link;
silence what they know of; and what a vendor reports of a message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gateway.carrying import Moving
from gateway.contracts import Ledger, Pressed, Reported
from gateway.errors import BadField, Conflict, NotFound
from gateway.model import GATEWAY, Act, Change, Delivery, Incident, Json, Key, Millis, Plan, Ref, Silence, Target, Timer
from gateway.ringing import end_silence
from gateway.rules import own
from gateway.rules.acting import act, moved_by_us, over
from gateway.rules.addressing import failing_over
from gateway.rules.links import Link
from gateway.rules.phrases import rfc_3339
from gateway.telemetry import CHANGED, logger
from gateway.values import frozen

log = logger()

LINKS = "links"
"""Where the marks of links that were followed are kept, among the senders' keys."""
KEY_KEPT: Millis = 7 * 86_400_000
MOST_MEMBERS = 500
NEWEST_LOOKED_AT = 20
_DONE: Mapping[str, str] = {
    "acknowledge": "Acknowledged",
    "resolve": "Resolved",
    "reopen": "Reopened",
    "note": "Noted",
    "assign": "Assigned",
    "silence": "Silenced",
}


@frozen
class Answered:
    """The incidents as they are now, one line to answer with, and the channels that have something to say."""

    incidents: tuple[Incident, ...]
    line: str
    channels: frozenset[str] = frozenset()


@frozen
class Answering:
    """The tools of one answer."""

    moving: Moving

    async def act(self, ledger: Ledger, name: str, wish: Act) -> Answered:
        """Raises NotFound, Conflict or BadField, each in a sentence for whoever acts."""
        incident = await ledger.incidents.find(name)
        if incident is None:
            raise NotFound("There is no such incident.")
        self._check(wish)
        return await self._act(ledger, [incident], wish)

    async def pressed(self, ledger: Ledger, channel: str, pressed: Pressed, meant: Delivery | None) -> Answered:
        """A button, a reply, a keypress: about what was `meant` by it, and each only once."""
        if meant is None:
            # Its key is not burned: what a stranger tried must not stand in the way of the right one.
            log.warning(
                "press refused", channel=channel, subject=pressed.subject, reason="nothing was said of it there"
            )
            return Answered((), "Nothing that was said here is meant by that.")
        if not await self._burn(ledger, f"callbacks/{channel}", pressed.key):
            return Answered((), "")
        wish = Act(pressed.verb, self._who(channel, meant, pressed.by), via=channel)
        return await self._politely(ledger, await self._subjects(ledger, meant), wish)

    async def follow(self, ledger: Ledger, link: Link, key: str) -> Answered:
        """A link of a letter, once. Raises Conflict("used") where it was, NotFound where its subject is gone."""
        if not await self._burn(ledger, LINKS, key):
            raise Conflict("used")
        delivery = await ledger.outbox.get(link.delivery)
        if delivery is None:
            raise NotFound("There is no such incident any more.")
        wish = Act(link.verb, self._who(link.channel, delivery, link.channel), via=link.channel)
        return await self._politely(ledger, await self._subjects(ledger, delivery), wish)

    async def reported(self, ledger: Ledger, channel: str, reported: Reported) -> frozenset[str]:
        """What became of a message. One that did not reach its person goes to the next of his channels at once."""
        delivery = await ledger.outbox.get(reported.delivery)
        if delivery is None or delivery.channel != channel or not _names(delivery.ref, reported.sid):
            log.warning("report refused", channel=channel, delivery=reported.delivery, reason="no such message")
            return frozenset()
        if not await self._burn(ledger, f"callbacks/{channel}", reported.key):
            return frozenset()
        if delivery.reached == "answered" and reported.reached != "answered":
            return frozenset()
        await ledger.outbox.reach(delivery.id, reported.reached, reported.reason)
        log.info("message reached" if reported.reached != "undelivered" else "message undelivered",
                 channel=channel, delivery=delivery.id, reached=reported.reached, reason=reported.reason)  # fmt: skip
        if reported.reached != "undelivered":
            return frozenset()
        reason = reported.reason or "undelivered"
        channels = await self.fail_over(ledger, delivery, reason)
        if channels is None:
            await self._tell_missed(ledger, delivery, reason)
        return channels or frozenset()

    async def _tell_missed(self, ledger: Ledger, delivery: Delivery, reason: str) -> None:
        """Nobody is left to be tried: the gateway says so."""
        incidents = await self._subjects(ledger, delivery)
        if incidents and incidents[0].source != GATEWAY:
            missed = own.channel_misses(delivery.channel, reason, self.moving.new_id(), self.moving.now)
            await ledger.inbox.add(missed)

    async def fail_over(self, ledger: Ledger, delivery: Delivery, reason: str) -> frozenset[str] | None:
        """Tell the person over his next channel; None where there is none, or it is nobody's."""
        routing = self.moving.rules.routing
        following = failing_over(delivery.person, delivery.channel, routing) if delivery.person else None
        if following is None:
            return None
        incidents = await self._subjects(ledger, delivery)
        channels: frozenset[str] = frozenset()
        for incident in incidents:
            if incident.state != "open":
                continue
            note = f"{delivery.person}: {delivery.channel} did not reach ({reason}), {following} is next"
            moved, change = self._moved(incident, note)
            target = Target(following, delivery.route, person=delivery.person, asked=delivery.person)
            deciding = await self.moving.deciding(ledger, [moved])
            deciding.decide(change, moved, Plan((target,), (), routing.configuration))
            channels |= await self.moving.carry_out(ledger, deciding)
        return channels

    async def silence(self, ledger: Ledger, silence: Silence) -> None:
        await ledger.quiet.add_silence(silence)
        await ledger.timers.set([Timer("silence", silence.id, silence.until, wall=True)])

    async def silence_some(self, ledger: Ledger, silence: Silence, after: Key, most: int) -> Key | None:
        """Let a silence cover the next so many living incidents. The last one's key, None where there are no more."""
        incidents = await ledger.incidents.living_after(after, most)
        deciding = await self.moving.deciding(ledger, incidents)
        for incident in incidents:
            hold = deciding.hold_on(incident) if not incident.muted_by else None
            if hold is not None:
                moved, change = moved_by_us(
                    incident, "muted", self.moving.now, self.moving.new_id, silence.by or GATEWAY, silence.reason
                )
                deciding.mute(change, moved, hold)
        await self.moving.carry_out(ledger, deciding)
        return (incidents[-1].source, incidents[-1].fingerprint) if len(incidents) == most else None

    async def end_silence(self, ledger: Ledger, id_: str) -> Silence:
        """Raises NotFound where none is in force under this id."""
        ended = await ledger.quiet.end_silence(id_, self.moving.now)
        if ended is None:
            raise NotFound("There is no such silence in force.")
        await ledger.timers.cancel([id_], ["silence"])
        await end_silence(ledger, self.moving, id_)
        return ended

    # --- how it is done ------------------------------------------------------------------------------------

    def _check(self, wish: Act) -> None:
        people = self.moving.rules.routing.people
        if wish.verb == "assign" and people and wish.person not in people:
            raise BadField("person", f"is nobody of routing.yaml; there are {', '.join(sorted(people))}")

    async def _act(self, ledger: Ledger, incidents: Sequence[Incident], wish: Act) -> Answered:
        if wish.verb == "silence":
            return await self._silence_these(ledger, incidents, wish)
        deciding = await self.moving.deciding(ledger, incidents)
        now_they_are = []
        for incident in incidents:
            if wish.verb == "reopen" and incident.state == "resolved":
                await self._check_alone(ledger, incident)
            ended_by = await self._ended_by(ledger, incident) if incident.state == "resolved" else ""
            acted = act(incident, wish, self.moving.now, self.moving.new_id, ended_by)
            moved = acted.incident if acted.change is None else deciding.decide(acted.change, acted.incident)
            now_they_are.append(moved)
        channels = await self.moving.carry_out(ledger, deciding)
        for change in deciding.outcome.changes:
            CHANGED.labels(change.what).inc()
            log.info("incident changed", incident=change.incident, what=change.what, by=change.by, via=change.via)
        return Answered(tuple(now_they_are), _line(wish, now_they_are), channels)

    async def _ended_by(self, ledger: Ledger, incident: Incident) -> str:
        """Who or what ended it, as its newest such change says; '' where none does."""
        ended = [change.by for change, _ in await ledger.changes.story(incident.id) if change.what == "resolved"]
        return ended[-1] if ended else ""

    async def _check_alone(self, ledger: Ledger, incident: Incident) -> None:
        """Two living incidents of one problem cannot be."""
        key = (incident.source, incident.fingerprint)
        living = (await ledger.incidents.living([key])).get(key)
        if living is not None:
            raise Conflict(f"#{incident.number} cannot be reopened: #{living.number} is open for the same problem.")

    async def _politely(self, ledger: Ledger, incidents: Sequence[Incident], wish: Act) -> Answered:
        """As `act`, but what stands against it is the answer."""
        if not incidents:
            return Answered((), "It is resolved already." if wish.verb != "resolve" else "It is resolved.")
        if len(incidents) > 1:
            incidents = [one for one in incidents if one.state == "open" or wish.verb != "acknowledge"] or incidents[:1]
        if all(one.state == "resolved" for one in incidents):
            return Answered(tuple(incidents), f"#{incidents[0].number} is resolved already.")
        try:
            return await self._act(ledger, incidents, wish)
        except Conflict as conflict:
            return Answered(tuple(incidents), str(conflict))

    async def _silence_these(self, ledger: Ledger, incidents: Sequence[Incident], wish: Act) -> Answered:
        channels: frozenset[str] = frozenset()
        until = self.moving.now + wish.lasts
        living = [incident for incident in incidents if incident.state != "resolved"]
        if not living:
            raise Conflict(over(incidents[0], await self._ended_by(ledger, incidents[0]), "silence"))
        for incident in living:
            silence = Silence(
                id=self.moving.new_id(),
                match={},
                until=until,
                made_at=self.moving.now,
                reason=wish.note,
                by=wish.by,
                source=incident.source,
                fingerprint=incident.fingerprint,
            )
            await self.silence(ledger, silence)
            moved, change = moved_by_us(
                incident, "muted", self.moving.now, self.moving.new_id, wish.by, f"until {rfc_3339(until)}"
            )
            deciding = await self.moving.deciding(ledger, [moved])
            hold = deciding.hold_on(moved)
            if hold is not None:
                deciding.mute(replace(change, via=wish.via), moved, hold)
            channels |= await self.moving.carry_out(ledger, deciding)
        return Answered(tuple(living), _line(wish, living), channels)

    def _who(self, channel: str, delivery: Delivery, otherwise: str) -> str:
        """As people know them: whose channel it is, where it is one person's."""
        owners = [name for name, person in self.moving.rules.routing.people.items() if channel in person.channels]
        return delivery.person or (owners[0] if len(owners) == 1 else otherwise)

    async def meant(self, ledger: Ledger, channel: str, pressed: Pressed) -> Delivery | None:
        """The delivery of this channel that a press is about: the one whose message it was, the one with this number,
        or the newest told to this address."""
        if pressed.subject:
            found = (await ledger.outbox.of([pressed.subject])).get(pressed.subject, [])
            here = [delivery for delivery in found if delivery.channel == channel and (delivery.said or delivery.ref)]
            return here[0] if here else None
        if pressed.number is not None:
            incident = await ledger.incidents.find(str(pressed.number))
            found = (await ledger.outbox.of([incident.id])).get(incident.id, []) if incident is not None else []
        else:
            found = await ledger.outbox.newest_told(channel, NEWEST_LOOKED_AT)
        here = [
            one
            for one in found
            if one.channel == channel and (one.said or one.ref) and _told_to(one.ref, pressed.address)
        ]
        return here[0] if here else None

    async def _subjects(self, ledger: Ledger, delivery: Delivery) -> list[Incident]:
        """The incident of a delivery; of a digest those of its members that are not resolved."""
        if delivery.is_digest:
            return await ledger.digests.members(delivery.incident, MOST_MEMBERS)
        return list((await ledger.incidents.by_id([delivery.incident])).values())

    async def _burn(self, ledger: Ledger, place: str, key: str) -> bool:
        return await ledger.inbox.burn(place, key, self.moving.now, self.moving.now + KEY_KEPT)

    def _moved(self, incident: Incident, note: str) -> tuple[Incident, Change]:
        return moved_by_us(incident, "failed_over", self.moving.now, self.moving.new_id, GATEWAY, note)


def _line(wish: Act, incidents: Sequence[Incident]) -> str:
    done = _DONE[wish.verb]
    if wish.verb == "silence":
        done = f"Silenced for {wish.lasts // 3_600_000} h:"
    if len(incidents) == 1:
        return f"{done} #{incidents[0].number} {incidents[0].title}"
    return f"{done} {len(incidents)} problems"


def _sids(ref: Ref) -> Mapping[str, Json]:
    """Who was told, by address, with the vendor's ids."""
    told = ref.get("told")
    under_way = told.get("sid") if isinstance(told, dict) else None
    said = ref.get("sid")
    return {**(said if isinstance(said, dict) else {}), **(under_way if isinstance(under_way, dict) else {})}


def _names(ref: Ref, sid: str) -> bool:
    """Whether the vendor's id of a message is one that a delivery holds; one that names none is about all of it."""
    return not sid or sid in _sids(ref).values() or not _sids(ref)


def _told_to(ref: Ref, address: str) -> bool:
    return not address or address in _sids(ref)
