"""Changes in, everything that follows from them out: pure, so that it can be one transaction.

`folding.Board` knows how incidents moved; here each change is planned and becomes promises to channels,
timers, and memberships in digests. `Known` is what the store knows of these incidents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.model import (
    GATEWAY,
    Because,
    Change,
    Delivery,
    Digest,
    Hold,
    Incident,
    Millis,
    Override,
    Plan,
    Severity,
    Silence,
    Started,
    Target,
    Timer,
    TimerKind,
)
from gateway.rules import silencing
from gateway.rules.acting import moved_by_us
from gateway.rules.escalation import due
from gateway.rules.gathering import Gathering
from gateway.rules.lifecycle import REOPEN_WITHIN
from gateway.rules.matching import Seen
from gateway.rules.quieting import Later, Now, Scene, StandStill, telling
from gateway.rules.routing import DEFAULT, RouteSettings, Routing, name_of, plan, step
from gateway.values import frozen

ANNOUNCED: Final = frozenset({"opened", "reopened", "worsened", "unmuted"})
"""Changes that read the routes anew."""
CHANGES_OF_MEMBERS: Final = frozenset({"resolved", "reopened", "worsened", "eased", "acknowledged"})
"""Changes that a conversation about many incidents shows."""
FAR: Final[Millis] = 1 << 52
"""The end of a hold whose end nobody knows."""
_ENDS_WITH_IT: Final[tuple[TimerKind, ...]] = ("tell", "escalate", "repeat", "expire", "unmute")
_ENDS_WITH_AN_ACKNOWLEDGEMENT: Final[tuple[TimerKind, ...]] = ("tell", "escalate", "repeat")


@frozen
class Rules:
    """What a good configuration gives the deciding: one value, swapped whole.

    `edits`: channels that can change what they said. `wants_links`: channels that show where others hold it.
    `kinds`: each channel's kind, by name. `routes`: each route by what it is called."""

    routing: Routing
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    reopen_within: Millis = REOPEN_WITHIN
    edits: frozenset[str] = frozenset()
    wants_links: frozenset[str] = frozenset()
    kinds: Mapping[str, str] = field(default_factory=dict)

    routes: Mapping[str, RouteSettings] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        named = {name_of(route, number): route for number, route in enumerate(self.routing.routes)}
        object.__setattr__(self, "routes", named)


@frozen
class Known:
    """What the store knows beside the incidents: their deliveries and timers by incident, the open digests they are
    members of, the open digests by key and their deliveries; silences in force, overrides; who bears which mark."""

    deliveries: Mapping[str, Sequence[Delivery]] = field(default_factory=dict)
    timers: Mapping[str, Sequence[Timer]] = field(default_factory=dict)
    digests_of: Mapping[str, Sequence[Digest]] = field(default_factory=dict)
    digests_by_key: Mapping[str, Digest] = field(default_factory=dict)
    digest_deliveries: Mapping[str, Sequence[Delivery]] = field(default_factory=dict)
    silences: Sequence[Silence] = ()
    overrides: Sequence[Override] = ()
    marked: Mapping[str, Collection[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """All that follows. `incidents` are those that deciding itself has changed; `urgent` names subjects that go
    before others; `hidden`: (silence, incident) where a silence keeps something critical from being told."""

    changes: list[Change] = field(default_factory=list)
    incidents: dict[str, Incident] = field(default_factory=dict)
    promises: dict[tuple[str, str], Delivery] = field(default_factory=dict)
    urgent: set[str] = field(default_factory=set)
    timers: dict[tuple[str, str, str], Timer] = field(default_factory=dict)
    cancelled: set[tuple[str, TimerKind]] = field(default_factory=set)
    marks: set[tuple[str, str]] = field(default_factory=set)
    unmarked: set[str] = field(default_factory=set)
    withdrawn: set[str] = field(default_factory=set)
    freed: set[str] = field(default_factory=set)
    hidden: set[tuple[str, str]] = field(default_factory=set)


class Deciding:
    """One deciding. `decide` each change in its order; `outcome` and `gathering` then hold what follows."""

    def __init__(self, rules: Rules, known: Known, now: Millis, new_id: Callable[[], str]) -> None:
        self.rules = rules
        self.known = known
        self.now = now
        self.new_id = new_id
        self.outcome = Outcome()
        self._routes = rules.routes
        self.gathering = Gathering(known, self._routes, rules.edits, now, new_id)
        self._heard = {
            id_: {delivery.channel: delivery for delivery in deliveries} for id_, deliveries in known.deliveries.items()
        }
        self._timers = {id_: list(timers) for id_, timers in known.timers.items()}
        self._marks: dict[str, set[str]] = {mark: set(ids) for mark, ids in known.marked.items()}
        self._added: Counter[str] = Counter()
        self._mutes = silencing.in_force(rules.routing.mutes, rules.routing.calendars, now)
        self._seen: Seen | None = None

    def decide(self, change: Change, incident: Incident, called: Plan | None = None) -> Incident:
        """What follows from a change. `called`: whom a change that calls somebody is for. The incident as it is
        after that: deciding may mute it, mark it as unrouted, and add a change of its own."""
        change, incident = self._carried(change, incident)
        self._mark(change, incident)
        if change.what in CHANGES_OF_MEMBERS:
            self.gathering.change(incident, change.what)
        shaking: list[tuple[Target, StandStill]] = []
        if called is not None:
            decided = self._call(change, incident, called, shaking)
        elif change.what in ANNOUNCED:
            incident, decided = self._announce(change, incident, shaking)
        else:
            decided = self._follow(change, incident, shaking)
        self._record(change, incident, decided)
        return self._shake(incident, shaking)

    def hold_on(self, incident: Incident) -> Hold | None:
        """Why nobody may hear of this incident now."""
        seen = self._look(incident)
        bearing = silencing.bearing(seen, self.rules.routing.inhibit)
        inhibited = {mark: rule for mark, rule in bearing.items() if self._marks.get(mark, set()) - {incident.id}}
        return silencing.first_hold(seen, self._mutes, self.known.silences, inhibited)

    def lasts(self, incident: Incident) -> Millis | None:
        """How long it may be silent before it is taken to be over; None where no rule says so."""
        if incident.momentary:
            return None
        seen = self._look(incident)
        return min([rule.after for rule in self.rules.routing.expire if rule.match.holds(seen)], default=None)

    def mute(self, change: Change, incident: Incident, hold: Hold) -> Incident:
        """Nobody hears from now on. Who can show it quietly does; what was promised and not said is taken back."""
        change, incident = self._carried(change, incident)
        muted = self._muted(incident, hold)
        for delivery in self._heard.get(incident.id, {}).values():
            if delivery.said == 0 and delivery.state == "waiting":
                self.outcome.withdrawn.add(delivery.id)
        self._record(change, muted, replace(self._follow(change, muted, []), holds=(hold,)))
        return muted

    def still_muted(self, incident: Incident, hold: Hold) -> Incident:
        """Another reason, or another end: nothing that anybody hears."""
        muted = self.outcome.incidents[incident.id] = self._muted(incident, hold)
        return muted

    def tell(self, incident: Incident, target: Target) -> None:
        """What was put off is told now, unless something that came between has told it: what was promised before it
        speaks of how things are when it is said."""
        heard = self._heard.get(incident.id, {}).get(target.channel)
        if heard is not None and heard.state != "failed" and max(heard.wanted, heard.said) >= incident.revision:
            return
        self._promise(incident, replace(target, at=0), incident.revision)

    def arm(self, timer: Timer) -> None:
        self.outcome.timers[timer.subject, timer.kind, timer.name] = timer
        self._timers.setdefault(timer.subject, []).append(timer)

    def _look(self, incident: Incident) -> Seen:
        """The incident as match blocks see it: they all ask of the same one, one after another."""
        if self._seen is None or self._seen.incident is not incident:
            self._seen = Seen(incident, self.rules.routing.calendars, self.now)
        return self._seen

    def _carried(self, change: Change, incident: Incident) -> tuple[Change, Incident]:
        """What deciding has done to this incident before, which folding could not know."""
        decided = self.outcome.incidents.get(incident.id)
        if decided is None:
            return change, incident
        added = self._added[incident.id]
        return (
            replace(change, revision=change.revision + added),
            replace(
                incident,
                revision=incident.revision + added,
                muted_by=decided.muted_by,
                unrouted=decided.unrouted,
            ),
        )

    def _record(self, change: Change, incident: Incident, decided: Plan) -> None:
        self.outcome.changes.append(_decided(change, decided))
        self.outcome.incidents[incident.id] = incident
        if incident.severity >= Severity.CRITICAL:
            self.outcome.urgent.add(incident.id)

    # --- announcing: the routes are read -----------------------------------------------------------------

    def _announce(
        self, change: Change, incident: Incident, shaking: list[tuple[Target, StandStill]]
    ) -> tuple[Incident, Plan]:
        if change.what == "opened" and incident.previous:
            self._shakes_on(incident)
        read = plan(self._look(incident), self.rules.routing, self.known.overrides)
        if change.what in ("opened", "reopened"):
            self.expire(incident)
        hold = self.hold_on(incident)
        if hold is not None:
            incident = self._muted(self._routed(incident, read), hold)
            return incident, replace(read, targets=(), holds=(hold,), started=())
        incident = self._routed(replace(incident, muted_by="") if incident.muted_by else incident, read)
        if incident.state == "acknowledged":
            held = Hold("acknowledged", incident.acknowledged_by)
            return incident, replace(read, targets=(), holds=(held,), started=())
        targets, holds = self._tell_all(change, incident, self._with_those_who_heard(incident, read.targets), shaking)
        for started in read.started:
            self._escalate(incident, started)
        if targets == read.targets and holds == read.holds:
            return incident, read
        return incident, Plan(targets, read.because, read.configuration, read.unrouted, holds, read.started)

    def _with_those_who_heard(self, incident: Incident, targets: Sequence[Target]) -> tuple[Target, ...]:
        heard = self._heard.get(incident.id)
        if not heard:
            return tuple(targets)
        chosen = {target.channel for target in targets}
        before = (Target(d.channel, d.route, person=d.person) for d in heard.values() if d.channel not in chosen)
        return (*targets, *before)

    def _routed(self, incident: Incident, read: Plan) -> Incident:
        heard = self._heard.get(incident.id, {}).values()
        unrouted = read.unrouted and all(delivery.route == DEFAULT for delivery in heard)
        return incident if unrouted == incident.unrouted else replace(incident, unrouted=unrouted)

    def _muted(self, incident: Incident, hold: Hold) -> Incident:
        self._cancel(incident.id, (*_ENDS_WITH_AN_ACKNOWLEDGEMENT, "unmute"))
        if not incident.momentary:
            self.arm(Timer("unmute", incident.id, hold.until or FAR, f"{hold.kind} {hold.name}", wall=True))
        if hold.kind == "silence" and incident.severity >= Severity.CRITICAL:
            self.outcome.hidden.add((hold.name, incident.id))
        return replace(incident, muted_by=silencing.words(hold))

    def expire(self, incident: Incident) -> None:
        """Close it when it has been silent for as long as the rules say."""
        lasts = self.lasts(incident)
        if lasts is not None:
            self.arm(Timer("expire", incident.id, max(incident.fired_at, incident.firing_since) + lasts))

    def _escalate(self, incident: Incident, started: Started) -> None:
        """Arm the second step, counted from the first page; one that is under way goes on."""
        under_way = self._timers.get(incident.id, ())
        if any(timer.kind == "escalate" and timer.name == started.escalation for timer in under_way):
            return
        route = self._routes.get(started.route)
        first = max(self.now, incident.firing_since + (route.only_after if route is not None else 0))
        after = due(self.rules.routing.escalations[started.escalation], 1) or 0  # there is always one: the end
        about = {"route": started.route, "number": 1, "since": first}
        self.arm(Timer("escalate", incident.id, first + after, started.escalation, about=about))

    # --- calling: somebody in particular --------------------------------------------------------------------

    def _call(self, change: Change, incident: Incident, called: Plan, shaking: list[tuple[Target, StandStill]]) -> Plan:
        targets, holds = self._tell_all(change, incident, called.targets, shaking)
        for started in called.started:
            self._escalate(incident, started)
        return replace(called, targets=targets, holds=(*called.holds, *holds))

    # --- following: whoever has heard -----------------------------------------------------------------------

    def _follow(self, change: Change, incident: Incident, shaking: list[tuple[Target, StandStill]]) -> Plan:
        """Who has heard of the problem hears how it went on; a fall, a link and a mute only those who can edit."""
        put_off = self._never_told(change, incident)
        self._end_timers(change, incident)
        configuration = self.rules.routing.configuration
        if incident.momentary:
            return Plan((), (), configuration)
        heard = self._heard.get(incident.id, {}).values()
        before = tuple(Target(d.channel, d.route, person=d.person) for d in heard)
        if change.what in ("eased", "linked", "muted"):
            before = tuple(target for target in before if target.channel in self.rules.edits)
        because = tuple(Because(t.route, note=f"{t.channel} has heard of it") for t in before) + put_off
        if change.what == "assigned":
            before += self._assignee(incident, {target.channel for target in before})
        targets, holds = self._tell_all(change, incident, before, shaking)
        return Plan(targets, () if change.what in ("eased", "linked") else because, configuration, holds=holds)

    def _assignee(self, incident: Incident, heard: Collection[str]) -> tuple[Target, ...]:
        """Whom it was given to, over a channel that has not heard of it."""
        if incident.assigned_to not in self.rules.routing.people:
            return ()
        found = step((incident.assigned_to,), "assigned", incident, self.rules.routing, self.now, self.known.overrides)
        return tuple(target for target in found.targets if target.channel not in heard)

    def _never_told(self, change: Change, incident: Incident) -> tuple[Because, ...]:
        """Whoever was to hear later, and now will not."""
        if change.what not in ("resolved", "acknowledged"):
            return ()
        return tuple(
            Because(str(timer.about.get("route", "")), note=f"{timer.name} is not told: {change.what} before its time")
            for timer in self._timers.get(incident.id, ())
            if timer.kind == "tell"
        )

    def _end_timers(self, change: Change, incident: Incident) -> None:
        if change.what == "resolved":
            self._cancel(incident.id, _ENDS_WITH_IT)
        elif change.what == "acknowledged":
            self._cancel(incident.id, _ENDS_WITH_AN_ACKNOWLEDGEMENT)

    # --- telling ----------------------------------------------------------------------------------------------

    def _tell_all(
        self,
        change: Change,
        incident: Incident,
        targets: Sequence[Target],
        shaking: list[tuple[Target, StandStill]],
    ) -> tuple[tuple[Target, ...], tuple[Hold, ...]]:
        """Promise it, put it off, or keep it back. Whom it concerns now or later, and what holds it. Whom a problem
        that flaps is kept back from is added to `shaking`."""
        told: list[Target] = []
        holds: list[Hold] = []
        for target in targets:
            scene = Scene(
                incident,
                self._routes.get(target.route),
                self._heard.get(incident.id, {}).get(target.channel),
                self._timers.get(incident.id, ()),
                self.now,
            )
            match telling(target, change, scene):
                case Now():
                    at = self._promise(incident, target, 2 if incident.momentary else change.revision)
                    told.append(target if target.at == at else replace(target, at=at))
                    holds += [Hold("group", target.route, at, (target.channel,))] if at else []
                case Later(until=until, holds=why):
                    told.append(replace(target, at=until))
                    holds += why
                    self._put_off(incident, target, until, why)
                case still:
                    holds.append(still.hold)
                    shaking.append((target, still))
        return tuple(told), tuple(holds)

    def _put_off(self, incident: Incident, target: Target, until: Millis, why: Sequence[Hold]) -> None:
        about = {"route": target.route, "person": target.person, "asked": target.asked}
        of_the_calendar = any(hold.kind == "quiet" and hold.until == until for hold in why)
        self.arm(Timer("tell", incident.id, until, target.channel, wall=of_the_calendar, about=about))

    def _shake(self, incident: Incident, shaking: Sequence[tuple[Target, StandStill]]) -> Incident:
        """Look again when it has stood still, and say once that it flaps."""
        for target, still in shaking:
            about = {"route": target.route, "person": target.person, "severity": int(still.severity)}
            self.arm(Timer("steady", incident.id, still.until, target.channel, about=about))
        first = [(target, still) for target, still in shaking if still.first]
        if not first:
            return incident
        moved, change = moved_by_us(incident, "flapping", self.now, self.new_id, GATEWAY, first[0][1].hold.name)
        targets = tuple(target for target, _ in first)
        self._record(change, moved, self._call(change, moved, Plan(targets, (), self.rules.routing.configuration), []))
        self._added[incident.id] += 1
        return moved

    def _shakes_on(self, incident: Incident) -> None:
        """What flaps from one incident to the next was said to flap once: its channels wait for this one now."""
        waiting = [timer for timer in self._timers.get(incident.previous, ()) if timer.kind == "steady"]
        self._cancel(incident.previous, ("steady",))
        for timer in waiting:
            self.arm(replace(timer, subject=incident.id))

    def _promise(self, incident: Incident, target: Target, revision: int) -> Millis:
        """When it is told: 0 for at once, later where it is gathered with others."""
        route = self._routes.get(target.route)
        if route is not None and route.group_by:
            due_at = self.gathering.join(incident, target, route)
            return due_at if due_at > self.now else 0
        before = self._heard.get(incident.id, {}).get(target.channel)
        if before is not None and self.gathering.carries(before.digest) and not self._speaks_for_itself(incident):
            return 0
        delivery = Delivery(
            id=self.new_id() if before is None else before.id,
            incident=incident.id,
            channel=target.channel,
            route=target.route,
            wanted=revision,
            promised_at=self.now,
            person=target.person or (before.person if before is not None else ""),
        )
        self.outcome.promises[incident.id, target.channel] = delivery
        self._heard.setdefault(incident.id, {}).setdefault(target.channel, delivery)
        return 0

    @staticmethod
    def _speaks_for_itself(incident: Incident) -> bool:
        """What is critical leaves the summary that a storm has put it into."""
        return incident.severity >= Severity.CRITICAL and incident.state == "open"

    # --- timers and marks ---------------------------------------------------------------------------------------

    def _cancel(self, incident: str, kinds: Sequence[TimerKind]) -> None:
        self.outcome.cancelled |= {(incident, kind) for kind in kinds}
        for key in [key for key in self.outcome.timers if key[0] == incident and key[1] in kinds]:
            del self.outcome.timers[key]
        self._timers[incident] = [timer for timer in self._timers.get(incident, ()) if timer.kind not in kinds]

    def _mark(self, change: Change, incident: Incident) -> None:
        """Whom this incident inhibits from now on, and who is freed by its end."""
        routing = self.rules.routing
        if not routing.inhibit:
            if incident.state == "resolved":  # by rules of before, or another gateway's, it may bear some
                self.outcome.unmarked.add(incident.id)
            return
        after = before = set(silencing.marks(self._look(incident), routing.inhibit))
        if incident.worst > incident.severity:
            at_worst = Seen(replace(incident, severity=incident.worst), routing.calendars, self.now)
            before = set(silencing.marks(at_worst, routing.inhibit))
        if incident.state == "resolved":
            after = set()
        if change.what != "opened":  # of a new one nothing is marked yet
            self.outcome.unmarked.add(incident.id)
            self.outcome.marks = {pair for pair in self.outcome.marks if pair[1] != incident.id}
        self.outcome.marks |= {(mark, incident.id) for mark in after}
        for mark in before - after:
            self._marks.get(mark, set()).discard(incident.id)
            self.outcome.freed.add(f"inhibit {mark}")
        for mark in after:
            self._marks.setdefault(mark, set()).add(incident.id)


def _decided(change: Change, decision: Plan) -> Change:
    return Change(
        id=change.id,
        incident=change.incident,
        revision=change.revision,
        at=change.at,
        what=change.what,
        state=change.state,
        severity=change.severity,
        by=change.by,
        note=change.note,
        decision=decision,
        via=change.via,
    )
