"""Many blocks asked at once miss where each of them misses alone."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Incident, Severity
from gateway.rules.calendars import CalendarSettings
from gateway.rules.lookup import HOLDS, Lookup
from gateway.rules.matching import Match, Seen

CALENDARS = {"always": CalendarSettings.model_validate({
    "time_zone": "UTC", "weekly": [{"days": "daily", "from": "00:00", "to": "24:00"}]
})}  # fmt: skip
VALUES = st.sampled_from(["", "web", "WEB-1", "db-1", "ÄRGER", "ß", "x"])
TEXTS = st.one_of(
    st.sampled_from(["web", "Web-*", "db-?", "*", "*-1", "[dw]*", "/b-/", "/(?i)WEB/", "ärger", "SS", "ß*"]),
    st.lists(st.sampled_from(["web", "db-*", "/x/", "ärg*"]), min_size=1, max_size=3),
)
MATCHES = st.fixed_dictionaries(
    {},
    optional={
        "severity": st.sampled_from([">=critical", "info", "error", "<=error"]),
        "service": TEXTS,
        "labels.team": TEXTS,
        "not": st.fixed_dictionaries({"service": TEXTS}, optional={"kind": TEXTS}),
        "during": st.sampled_from(["always", "never"]),
        "title": TEXTS,
    },
)


@given(trees=st.lists(MATCHES, max_size=25), service=VALUES, team=VALUES, kind=VALUES, title=VALUES)
def test_each_misses_where_it_would_alone(trees: list[Any], service: str, team: str, kind: str, title: str) -> None:
    incident = Incident(
        "i", "s", "generic", "f", title, Severity.ERROR, 0, 0, service=service, kind=kind, labels={"team": team}
    )
    seen = Seen(incident, CALENDARS, 0)
    matches = [Match.read(tree) for tree in trees]
    alone = [match.missed(Seen(incident, CALENDARS, 0)) for match in matches]
    assert Lookup(matches).misses(seen) == [HOLDS if place is None else place for place in alone]
