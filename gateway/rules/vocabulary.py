"""What a language has to have words for. English and Korean are filled in next door; `phrases` has them by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from gateway.model import Occasion, Severity, State
from gateway.values import frozen

Language: TypeAlias = Literal["en", "ko"]


@frozen
class Phrases:
    """Everything we say in one language. `heads` stand before a title, `openings` begin what is read aloud;
    `{severity}`, `{at}`, `{span}`, `{what}` and the like are filled in. `actions`: the words on buttons, by verb."""

    severities: tuple[str, ...]
    states: Mapping[State, str]
    actions: Mapping[str, str]
    heads: Mapping[Occasion, str]
    openings: Mapping[Occasion, str]
    severity: str
    worst: str
    where: str
    service: str
    environment: str
    source: str
    since: str
    since_value: str
    happened: str
    count: str
    count_value: str
    value: str
    number: str
    acknowledged: str
    assigned: str
    note: str
    by: str
    done_by: str
    has_it: str
    escalation: str
    unanswered: str
    failed_over: str
    muted: str
    silenced: str
    silenced_by: str
    silenced_until: str
    silenced_until_by: str
    flapping: str
    resolved: str
    resolved_value: str
    follows: str
    ago: str
    just_now: str
    units: tuple[str, ...]
    spoken_units: tuple[str, ...]
    spoken_for: str
    spoken_after: str
    spoken_number: str
    spoken_signs: Mapping[str, str]
    template_failed: str
    both_templates: str
    the_title: str
    the_body: str
    wording_failed: str
    test_title: str
    test_body: str
    problem: str
    problems: str
    beyond_budget: str
    counted: str
    held: str
    more: str

    def severity_word(self, severity: Severity) -> str:
        return self.severities[severity]
