"""What `tocsin check` says of a good file: how much there is, what sleeps and why, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from gateway.config.configuration import Configuration
from gateway.config.entries import ChannelEntry

# What a channel needs of its settings before it can ask for an answer; '' for nothing.
_ANSWERS: Final = {"slack": "signing_secret", "telegram": "secret_token", "twilio": "", "email": ""}


def summary(configuration: Configuration) -> str:
    """One line with the counts, then one for each thing that a person should know."""
    routing = configuration.routing
    counts = [
        _count(len(configuration.sources), "source"),
        _count(len(configuration.channels), "channel"),
        _count(len(routing.routes), "route"),
    ]
    counts += [
        _count(len(block), one, many)
        for block, one, many in (
            (routing.people, "person", "people"),
            (routing.rotations, "rotation", ""),
            (routing.escalations, "escalation", ""),
        )
        if block
    ]
    head = f"{', '.join(counts)}; configuration {configuration.hash}"
    return "\n".join([head, *_asleep(configuration), *_left_out(configuration)])


def _asleep(configuration: Configuration) -> Iterator[str]:
    for what, sleeping in (
        ("source", configuration.sleeping_sources),
        ("channel", configuration.sleeping_channels),
    ):
        for name, waits in sleeping.items():
            yield f"{what} {name} sleeps until {_listed(waits)} {'is' if len(waits) == 1 else 'are'} set"
    for name, person in configuration.routing.people.items():
        if not any(channel in configuration.channels for channel in person.channels):
            verb = "sleeps" if len(person.channels) == 1 else "sleep"
            yield f"person {name} cannot be reached: {_listed(person.channels)} {verb}"


def _left_out(configuration: Configuration) -> Iterator[str]:
    if not configuration.public_url and any(map(_could_ask, configuration.channels.values())):
        yield "buttons and links are left out: public_url is not set"


def _could_ask(entry: ChannelEntry) -> bool:
    needs = _ANSWERS.get(entry.settings.kind)
    return needs is not None and (not needs or bool(getattr(entry.settings, needs, None)))


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
