"""What happens when a timer fires: one transaction takes what is due, looks at how things stand now, and decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import assert_never

from gateway.carrying import Moving
from gateway.contracts import Ledger
from gateway.model import GATEWAY, Because, Change, Incident, Millis, Plan, Severity, Target, Timer, What
from gateway.rules import own, silencing
from gateway.rules.acting import moved_by_us
from gateway.rules.deciding import Deciding
from gateway.rules.escalation import EscalationSettings, due
from gateway.rules.lifecycle import resolved
from gateway.rules.people import quiet_until
from gateway.rules.phrases import duration
from gateway.rules.routing import DEFAULT, RouteSettings, step
from gateway.telemetry import CHANGED, FIRED, logger
from gateway.values import frozen

log = logger()

MOST_LOOKED_AT = 100
"""Members of a group that are looked at for one that may be told."""
PUT_OFF: Millis = 1_000
PUT_OFF_MOST: Millis = 600_000
"""What a timer speaks of may be in no file that any gateway has."""
SINCE = "put_off"
SAID_AT = "said_at"
"""When something was said, in a repeat that was armed by a gateway that does not know how often."""


@frozen
class Rung:
    """How many timers fired, and the channels that have something to say now. `next_due`: when the next will. `left`:
    one was left to another gateway, which may know it."""

    fired: int = 0
    channels: frozenset[str] = frozenset()
    next_due: Millis | None = None
    left: bool = False


async def ring(ledger: Ledger, moving: Moving, most: int) -> Rung:
    """Take what is due, at most so many, and act on it."""
    taken = await ledger.timers.due(moving.now, most)
    if not taken:
        return Rung(next_due=await ledger.timers.next_due())
    return await act_on(ledger, moving, taken)


async def act_on(ledger: Ledger, moving: Moving, taken: Sequence[Timer]) -> Rung:
    """What these timers were armed for."""
    for timer in taken:
        if timer.kind == "silence":
            await end_silence(ledger, moving, timer.subject)
    incidents = await ledger.incidents.by_id({timer.subject for timer in taken if timer.kind != "silence"})
    groups = {timer.subject for timer in taken if timer.kind == "repeat"} - incidents.keys()
    awaiting = {id_: await ledger.digests.awaiting(id_, MOST_LOOKED_AT) for id_ in sorted(groups)}
    everybody = {**incidents, **{one.id: one for many in awaiting.values() for one in many}}
    differ = await ledger.shared.differ(moving.rules.routing.configuration, moving.now)
    ringing = Ringing(moving, await moving.deciding(ledger, everybody.values()), incidents, differ=differ)
    for timer in taken:
        if timer.subject in incidents:
            ringing.ring(timer)
        elif awaiting.get(timer.subject):
            ringing.ring_for_many(timer, awaiting[timer.subject])
    channels = await moving.carry_out(ledger, ringing.deciding)
    for timer in taken:
        FIRED.labels(timer.kind).inc()
    for change in ringing.deciding.outcome.changes:
        CHANGED.labels(change.what).inc()
        told = [target.channel for target in change.decision.targets] if change.decision else []
        log.info("incident changed", incident=change.incident, what=change.what, by=change.by, to=told)
    return Rung(len(taken), channels, left=ringing.left)


async def end_silence(ledger: Ledger, moving: Moving, silence: str) -> None:
    """What it hid is looked at again, and if it hid something critical, it says so."""
    await ledger.timers.hasten("unmute", [f"silence {silence}"], moving.now)
    known = await ledger.quiet.silence(silence)
    hidden = await ledger.digests.everyone(silence, 1_000)
    if known is not None and hidden:
        await ledger.inbox.add(own.silence_ended(known, hidden, moving.new_id(), moving.now))


class Ringing:
    """`incidents` as the store has them; those that this ringing has moved are in the deciding's outcome. `differ`:
    another gateway lives whose file is another one; `left`: then whether one was left to it."""

    def __init__(
        self, moving: Moving, deciding: Deciding, incidents: Mapping[str, Incident], *, differ: bool = False
    ) -> None:
        self.deciding = deciding
        self._rules = moving.rules
        self._now = moving.now
        self._new_id: Callable[[], str] = moving.new_id
        self._incidents = incidents
        self._differ = differ
        self.left = False

    def ring(self, timer: Timer) -> None:
        incident = self.deciding.outcome.incidents.get(timer.subject) or self._incidents[timer.subject]
        if incident.state != "resolved" and not self._knows(timer, incident) and self._put_off(timer):
            return
        timer = _without(timer, SINCE)
        match timer.kind:
            case "repeat" if SAID_AT in timer.about:
                self._begin_repeat(timer)
            case "tell" | "escalate" | "repeat":
                self._call(timer, incident)
            case "unmute":
                self._unmute(incident)
            case "expire":
                self._expire(timer, incident)
            case "steady":
                self._steady(timer, incident)
            case "silence":
                pass
            case _:
                assert_never(timer.kind)

    def ring_for_many(self, timer: Timer, awaiting: Sequence[Incident]) -> None:
        """A group is told once more, if one of those that await somebody may be told now; else looked at later."""
        route = self._route(timer)
        if route is None and self._put_off(timer):
            return
        timer = _without(timer, SINCE)
        if route is None or not route.repeat_every:
            return
        if SAID_AT in timer.about:
            self._begin_repeat(timer)
            return
        holds = {one.id: self.deciding.hold_on(one) for one in awaiting}
        free = [one.severity for one in awaiting if holds[one.id] is None]
        if not free:
            ends = [hold.until for hold in holds.values() if hold is not None and hold.until is not None]
            self.deciding.arm(replace(timer, due_at=min([*ends, self._now + route.repeat_every]), wall=False))
        elif until := self._quiet(timer, max(free)):
            self.deciding.arm(replace(timer, due_at=until, wall=True))
        else:
            self.deciding.gathering.remind(timer.subject, timer.name)

    def _knows(self, timer: Timer, incident: Incident) -> bool:
        """Whether the file has what this timer is about: what it has not, it would end."""
        match timer.kind:
            case "escalate":
                settings = self._rules.routing.escalations.get(timer.name)
                return settings is not None and due(settings, int(timer.about["number"])) is not None
            case "repeat":
                return self._route(timer) is not None
            case "unmute":
                kind, _, name = timer.name.partition(" ")
                return kind != "mute" or name in dict(silencing.named(self._rules.routing.mutes))
            case "expire":
                return self.deciding.lasts(incident) is not None
            case _:
                return True

    def _put_off(self, timer: Timer) -> bool:
        """Leave it to a gateway with another file, which may know it: whichever comes first takes it the next time."""
        since = int(timer.about.get(SINCE, self._now))
        if not self._differ or self._now - since >= PUT_OFF_MOST:
            return False
        self.left = True
        self.deciding.arm(replace(timer, due_at=self._now + PUT_OFF, about={**timer.about, SINCE: since}))
        return True

    def _route(self, timer: Timer) -> RouteSettings | None:
        return self._rules.routes.get(str(timer.about.get("route", "")))

    def _begin_repeat(self, timer: Timer) -> None:
        """It was said by a gateway that does not have the route: here it is, and says how often."""
        route = self._route(timer)
        if route is not None and route.repeats_after:
            due_at = int(timer.about[SAID_AT]) + route.repeats_after
            self.deciding.arm(replace(_without(timer, SAID_AT), due_at=due_at))

    def _quiet(self, timer: Timer, severity: Severity) -> Millis:
        """Until when the person whose channel it is does not want to hear of it; 0 where they do."""
        routing = self._rules.routing
        person = routing.people.get(str(timer.about.get("person", "")))
        until = quiet_until(person, severity, routing.calendars, self._now) if person is not None else None
        return until or 0

    def _call(self, timer: Timer, incident: Incident) -> None:
        """Somebody is to hear, if it is still open and nothing hides it now."""
        if incident.state != "open":
            return
        hold = self.deciding.hold_on(incident)
        if hold is not None:
            moved, change = self._moved(incident, "muted", "")
            self.deciding.mute(change, moved, hold)
        elif timer.kind == "tell":
            self.deciding.tell(incident, self._target(timer))
        elif timer.kind == "repeat":
            moved, change = self._moved(incident, "reminded", "")
            target = replace(self._target(timer), at=self._quiet(timer, incident.severity))
            self.deciding.decide(change, moved, self._plan(target))
        else:
            self._escalate(timer, incident)

    def _escalate(self, timer: Timer, incident: Incident) -> None:
        settings = self._rules.routing.escalations.get(timer.name)
        number, since = int(timer.about["number"]), int(timer.about["since"])
        if settings is None or due(settings, number + 1) is None:
            why = "no step of it was acknowledged" if settings is not None else "it is not in the file any more"
            self._unanswered(timer, incident, why)
            return
        rounds, at = divmod(number, len(settings.steps))
        again = f", round {rounds + 1}" if rounds else ""
        note = f"{timer.name}: step {at + 1} of {len(settings.steps)}{again}"
        moved, change = self._moved(incident, "escalated", note)
        to = settings.steps[at].to
        planned = step(
            to, str(timer.about["route"]), moved, self._rules.routing, self._now, self.deciding.known.overrides
        )
        self.deciding.decide(change, moved, planned)
        self._arm_next(timer, settings, number + 1, since)

    def _arm_next(self, timer: Timer, settings: EscalationSettings, number: int, since: Millis) -> None:
        after = due(settings, number)
        if after is not None:
            self.deciding.arm(replace(timer, due_at=since + after, about={**timer.about, "number": number}))

    def _unanswered(self, timer: Timer, incident: Incident, why: str) -> None:
        """Nobody was reached: the incident says so, loudly, on the default channels."""
        moved, change = self._moved(incident, "unanswered", f"{timer.name}: {why}")
        routing = self._rules.routing
        planned = step(routing.default, DEFAULT, moved, routing, self._now, self.deciding.known.overrides)
        self.deciding.decide(change, moved, replace(planned, started=()))
        log.error("incident unanswered", incident=incident.id, escalation=timer.name, to=list(routing.default))

    def _unmute(self, incident: Incident) -> None:
        if incident.state == "resolved":
            return
        hold = self.deciding.hold_on(incident)
        if hold is not None:
            self.deciding.still_muted(incident, hold)
            return
        moved, change = self._moved(incident, "unmuted", incident.muted_by)
        self.deciding.decide(change, replace(moved, muted_by=""))

    def _expire(self, timer: Timer, incident: Incident) -> None:
        """Close what has been silent for so long, by the rules of now; look again where it has fired since."""
        lasts = self.deciding.lasts(incident)
        if incident.state == "resolved" or lasts is None:
            return
        over_at = max(incident.fired_at, incident.firing_since) + lasts
        if over_at > self._now:
            self.deciding.arm(replace(timer, due_at=over_at))
            return
        moved, change = self._moved(incident, "resolved", f"expired: silent for {duration(lasts)}")
        self.deciding.decide(replace(change, state="resolved"), resolved(moved, self._now))

    def _steady(self, timer: Timer, incident: Incident) -> None:
        if incident.muted_by and incident.state != "resolved":
            return
        moved, change = self._moved(incident, "steadied", "")
        self.deciding.decide(change, moved, self._plan(self._target(timer)))
        if incident.severity >= Severity.CRITICAL:
            self.deciding.outcome.urgent.add(incident.id)

    def _moved(self, incident: Incident, what: What, note: str) -> tuple[Incident, Change]:
        return moved_by_us(incident, what, self._now, self._new_id, GATEWAY, note)

    def _target(self, timer: Timer) -> Target:
        about = timer.about
        return Target(
            timer.name, str(about.get("route", "")), 0, str(about.get("person", "")), str(about.get("asked", ""))
        )

    def _plan(self, target: Target) -> Plan:
        return Plan((target,), (Because(target.route),), self._rules.routing.configuration)


def _without(timer: Timer, key: str) -> Timer:
    if key not in timer.about:
        return timer
    return replace(timer, about={name: value for name, value in timer.about.items() if name != key})
