"""What would happen to this webhook: each route's match or first miss, who would hear, when and in what words.

Sends nothing, stores nothing; the alert counts as new. Needs no running gateway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from adapters.generic import read_all
from gateway.config import ChannelEntry, Configuration, Source
from gateway.contracts import Surroundings
from gateway.errors import NotFound, Unreadable
from gateway.model import Alert, Change, Delivery, Event, Incident, Json, Millis, Plan, Target
from gateway.plugins import adapters
from gateway.rules import reading, wording
from gateway.rules.deciding import Deciding, Known, Rules
from gateway.rules.lifecycle import Folded, fold
from gateway.rules.routing import step
from gateway.rules.shapes import plan_json, rfc3339

ANY_SOURCE = "generic"


def explain(
    configuration: Configuration,
    body: bytes,
    source: str | None,
    headers: Mapping[str, str],
    now: Millis,
) -> dict[str, Json]:
    """The public shape of CONTRACT: `{"routes", "targets", "configuration"}` for a single alert, and always
    `alerts`, one entry for each. `source` None reads one generic alert or a list of them, as strictly as
    `POST /api/v1/alerts`. Raises NotFound for an unknown source, NotJson, WrongType, Unreadable or BadFields."""
    event = _event(configuration, body, source or _generic(configuration), headers, now)
    document = reading.decode(event.headers.get("content-type", ""), body)
    if source is None:
        read = [alert for _, alert in read_all(document)]
    else:
        read = adapters()[event.adapter].parse(event, reading.normalise(document))
    said = [reading.bounded(alert) for alert in read]
    known = configuration.sources.get(event.source)
    labels = known.settings.labels if known is not None else {}
    numbers = iter(range(1, 1_000_000))
    explained = [
        _one(
            configuration, event, replace(alert, labels={**alert.labels, **labels}), now, lambda: f"new-{next(numbers)}"
        )
        for alert in said
    ]
    whole: dict[str, Json] = {"alerts": explained, "configuration": configuration.hash}
    if len(explained) <= 1:
        only = explained[0] if explained else {"routes": [], "targets": [], "holds": []}
        whole |= {key: only[key] for key in ("routes", "targets", "holds")}
    return whole


def voice_of(entry: ChannelEntry, escape: Callable[[str], str], public_url: str) -> wording.Voice:
    """The words of one channel: its language and its own templates."""
    own = entry.settings.templates
    compiled = None
    if own.title is not None or own.body is not None:
        from gateway.rules import templates  # Jinja costs 70 ms: only where somebody has templates

        compiled = templates.compile(own.title, own.body)
    # A reply has answered whoever acted over the only telephone: it need not ring for what he did himself.
    alone = entry.kind.name == "twilio" and len(getattr(entry.settings, "to", ())) == 1
    language = entry.settings.language
    return wording.Voice(
        entry.name,
        language,
        compiled,
        escape,
        public_url,
        hears_own=not alone,
        short_forms=entry.settings.short_forms,
    )


def surroundings_of(entry: ChannelEntry, public_url: str, now: Callable[[], Millis]) -> Surroundings:
    return Surroundings(entry.name, public_url, now)


def _generic(configuration: Configuration) -> str:
    """The source that a generic alert would come to: the one so named, else the first that reads them."""
    names = [name for name, source in configuration.sources.items() if source.adapter_name == ANY_SOURCE]
    return ANY_SOURCE if ANY_SOURCE in names or not names else names[0]


def _event(configuration: Configuration, body: bytes, source: str, headers: Mapping[str, str], now: Millis) -> Event:
    known: Source | None = configuration.sources.get(source)
    if known is not None:
        return Event("explained", source, known.adapter_name, now, dict(headers), body)
    # A source that sleeps (its secret is not set here) can still be asked about: by its adapter's name.
    if source == ANY_SOURCE or (source in configuration.sleeping_sources and source in adapters()):
        return Event("explained", source, source, now, dict(headers), body)
    raise NotFound(f"no source {source!r} in this configuration; there are: {', '.join(sorted(configuration.sources))}")


def _one(
    configuration: Configuration, event: Event, alert: Alert, now: Millis, new_id: Callable[[], str]
) -> dict[str, Json]:
    firing = replace(alert, status="firing")
    folded = fold(None, None, firing, event, new_id)
    if folded is None:  # a firing alert always opens
        raise Unreadable("the alert opens nothing")
    decided = _decided(configuration, folded, now, new_id)
    targets = []
    if alert.status == "firing":
        targets = [
            {
                "channel": target.channel,
                "at": rfc3339(target.at or now),
                "text": _words(configuration, target, folded.incident, folded.changes, now),
                **({"person": target.person} if target.person else {}),
                **({"asked": target.asked} if target.asked not in ("", target.channel) else {}),
            }
            for target in (*decided.targets, *_later(configuration, decided, folded.incident, now))
        ]
    shape = plan_json(decided, now)
    statement = {
        "title": alert.title,
        "severity": alert.severity.word,
        "status": alert.status,
        "fingerprint": alert.fingerprint,
        "kind": alert.kind,
        "service": alert.service,
        "environment": alert.environment,
        "labels": dict(alert.labels),
    }
    return {
        "alert": statement,
        "routes": shape["routes"],
        "targets": targets,
        "holds": shape["holds"],
        "unrouted": decided.unrouted,
    }


def _decided(configuration: Configuration, folded: Folded, now: Millis, new_id: Callable[[], str]) -> Plan:
    """The decision on a problem of which nobody has heard, where nothing is silenced."""
    deciding = Deciding(Rules(configuration.routing), Known(), now, new_id)
    deciding.decide(folded.changes[0], folded.incident)
    decision = deciding.outcome.changes[0].decision
    return decision if decision is not None else Plan((), (), configuration.hash)


def _later(configuration: Configuration, decided: Plan, incident: Incident, now: Millis) -> Iterator[Target]:
    """Whom the next steps of its escalations would tell, in one round, while nobody acknowledges."""
    routing = configuration.routing
    for started in decided.started:
        for settings in routing.escalations[started.escalation].steps[1:]:
            at = now + settings.after
            for target in step(settings.to, started.route, incident, routing, at, ()).targets:
                yield replace(target, at=max(target.at, at))


def _words(
    configuration: Configuration, target: Target, incident: Incident, changes: tuple[Change, ...], now: Millis
) -> str:
    entry = configuration.channels[target.channel]
    way_out = entry.kind.connect(entry.settings, surroundings_of(entry, configuration.public_url, lambda: now))
    voice = voice_of(entry, way_out.escape, configuration.public_url)
    person = configuration.routing.people.get(target.person)
    if person is not None:
        voice = replace(voice, language=person.language or voice.language, zone=person.time_zone or voice.zone)
    delivery = Delivery("explained", incident.id, target.channel, wanted=incident.revision, promised_at=now)
    return wording.message(delivery, incident, changes, voice, {}, now).text
