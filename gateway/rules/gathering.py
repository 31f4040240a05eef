"""Digests while changes are decided: who joins, how a conversation grows, and when its channels hear of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from gateway.model import Delivery, Digest, Incident, Millis, Severity, Target, What
from gateway.rules.quieting import Growth, digest_due, group_key, group_title
from gateway.rules.routing import RouteSettings


@dataclass(slots=True)
class _Conversation:
    """A digest, its deliveries by channel, and who of this deciding's incidents is a member."""

    digest: Digest
    deliveries: dict[str, Delivery]
    members: set[str]
    first_at: Millis
    touched: bool = False


class Remembered(Protocol):
    """What the store knows of digests: the open ones by key, those that an incident is a member of, and their
    deliveries."""

    @property
    def digests_by_key(self) -> Mapping[str, Digest]: ...

    @property
    def digests_of(self) -> Mapping[str, Sequence[Digest]]: ...

    @property
    def digest_deliveries(self) -> Mapping[str, Sequence[Delivery]]: ...


class Gathering:
    """The open digests that a deciding touches. `joined`, `promises`, `urgent` and `moved` are what follows."""

    def __init__(
        self,
        known: Remembered,
        routes: Mapping[str, RouteSettings],
        edits: Collection[str],
        now: Millis,
        new_id: Callable[[], str],
    ) -> None:
        self._routes = routes
        self._edits = edits
        self._now = now
        self._new_id = new_id
        self._known: dict[str, _Conversation] = {}
        self._by_key: dict[str, str] = {}
        self.joined: set[tuple[str, str]] = set()
        self.promises: dict[tuple[str, str], Delivery] = {}
        self.urgent: set[str] = set()
        for digest in known.digests_by_key.values():
            self._enter(digest, known.digest_deliveries)
            self._by_key[digest.key] = digest.id
        for incident, digests in known.digests_of.items():
            for digest in digests:
                self._enter(digest, known.digest_deliveries).members.add(incident)

    def _enter(self, digest: Digest, deliveries: Mapping[str, Sequence[Delivery]]) -> _Conversation:
        if digest.id not in self._known:
            heard = {delivery.channel: delivery for delivery in deliveries.get(digest.id, ())}
            self._known[digest.id] = _Conversation(digest, heard, set(), self._first_at(digest))
        return self._known[digest.id]

    def _first_at(self, digest: Digest) -> Millis:
        route = self._routes.get(digest.route)
        return digest.opened_at + (route.group_wait if route is not None else 0)

    @property
    def moved(self) -> list[Digest]:
        """The digests that are new or have changed."""
        return [one.digest for one in self._known.values() if one.touched]

    def carries(self, digest: str) -> bool:
        """Whether this digest is open, so that it speaks for its members."""
        return digest in self._known and not self._known[digest].digest.closed

    def join(self, incident: Incident, target: Target, route: RouteSettings) -> Millis:
        """The incident becomes part of its route's conversation, and the channel hears of that; when."""
        conversation = self._conversation(target.route, route, incident)
        digest = conversation.digest
        worse = incident.severity > digest.worst
        if incident.id not in conversation.members:
            conversation.members.add(incident.id)
            self.joined.add((digest.id, incident.id))
            living = incident.state != "resolved"
            digest = replace(digest, members=digest.members + 1, open=digest.open + living)
        self._grow(conversation, digest, incident)
        return self._promise(conversation, target, "worse" if worse else "more")

    def change(self, incident: Incident, what: What) -> None:
        """A member moved: each conversation about it has something new to say."""
        for conversation in self._known.values():
            digest = conversation.digest
            if incident.id not in conversation.members or digest.closed:
                continue
            worse = incident.severity > digest.worst and incident.state != "resolved"
            step = {"resolved": -1, "reopened": 1}.get(what, 0) if not incident.momentary else 0
            self._grow(conversation, replace(digest, open=max(digest.open + step, 0)), incident)
            over = conversation.digest.open == 0
            if over and self._now >= conversation.first_at:
                conversation.digest = replace(conversation.digest, closed=True)
            growth: Growth = "over" if over else "worse" if worse else "more"
            for channel, delivery in list(conversation.deliveries.items()):
                self._promise(conversation, Target(channel, delivery.route, person=delivery.person), growth)

    def remind(self, digest: str, channel: str) -> None:
        """A channel that has heard of it hears of it once more."""
        conversation = self._known.get(digest)
        if conversation is None or channel not in conversation.deliveries:
            return
        revision = conversation.digest.revision + 1
        conversation.touched = True
        conversation.digest = replace(conversation.digest, revision=revision, updated_at=self._now)
        promised = replace(
            conversation.deliveries[channel],
            wanted=revision,
            remind=revision,
            promised_at=self._now,
            due_at=0,
            state="waiting",
        )
        conversation.deliveries[channel] = self.promises[digest, channel] = promised

    def _conversation(self, name: str, route: RouteSettings, incident: Incident) -> _Conversation:
        """The one that is open for incidents like this, else a new one."""
        key = group_key(name, route, incident)
        known = self._known.get(self._by_key.get(key, ""))
        if known is not None and not known.digest.closed:
            if known.digest.open > 0 or self._now < known.first_at:
                return known
            known.digest = replace(known.digest, closed=True)
            known.touched = True
        digest = Digest(self._new_id(), "group", key, group_title(route, incident), name, self._now, self._now, 0)
        self._by_key[key] = digest.id
        self._known[digest.id] = _Conversation(digest, {}, set(), self._first_at(digest))
        return self._known[digest.id]

    def _grow(self, conversation: _Conversation, digest: Digest, incident: Incident) -> None:
        conversation.touched = True
        worst = max(digest.worst, incident.severity)
        conversation.digest = replace(digest, revision=digest.revision + 1, updated_at=self._now, worst=worst)

    def _promise(self, conversation: _Conversation, target: Target, growth: Growth) -> Millis:
        digest, channel = conversation.digest, target.channel
        before = conversation.deliveries.get(channel)
        due = digest_due(growth, before, conversation.first_at, self._now, edits=channel in self._edits)
        if before is None:
            before = Delivery(
                id=self._new_id(),
                incident=digest.id,
                channel=channel,
                route=target.route,
                wanted=digest.revision,
                promised_at=self._now,
                is_digest=True,
                person=target.person,
            )
        promised = replace(before, wanted=digest.revision, promised_at=self._now, due_at=due, state="waiting")
        conversation.deliveries[channel] = self.promises[digest.id, channel] = promised
        if digest.worst >= Severity.CRITICAL:
            self.urgent.add(digest.id)
        return due
