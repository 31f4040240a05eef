"""What routes said, packed and read again: the same as in plain words, whatever the file holds."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Incident, Severity
from gateway.rules.matching import Seen
from gateway.rules.routing import RouteSettings, Routing, plan
from gateway.rules.shapes import because_json, plan_json
from gateway.rules.verdicts import Verdicts, table, unpacked

TEXTS = st.sampled_from(["web", "db-*", "/x+/", "*"])
MATCHES = st.fixed_dictionaries(
    {},
    optional={
        "service": TEXTS,
        "severity": st.sampled_from([">=critical", "info", "error"]),
        "labels.team": TEXTS,
        "not": st.fixed_dictionaries({"service": TEXTS}, optional={"kind": TEXTS}),
        "during": st.just("never"),
    },
)
ROUTES = st.lists(st.tuples(MATCHES, st.booleans(), st.sampled_from(["team", "asleep"])), min_size=1, max_size=60)
INCIDENT = Incident("i", "s", "generic", "f", "t", Severity.ERROR, 0, 0, service="web", kind="x", labels={"team": "xx"})
SEEN = Seen(INCIDENT, {}, 0)


def routing(routes: list[tuple[dict[str, Any], bool, str]], default: tuple[str, ...] = ()) -> Routing:
    read = [
        RouteSettings.model_validate({"match": match, "to": [to], "stop": "true" if stop else "false"})
        for match, stop, to in routes
    ]
    return Routing(tuple(read), default, sleeping=frozenset({"asleep"}), configuration="abc")


@given(routes=ROUTES, default=st.sampled_from([(), ("asleep",), ("team", "asleep")]))
def test_packed_and_unpacked_they_are_what_they_were(routes: Any, default: tuple[str, ...]) -> None:
    decided = plan(SEEN, routing(routes, default))
    assert isinstance(decided.because, Verdicts)
    kept = table(decided.because.matches, decided.because.named)
    packed = json.loads(json.dumps(decided.because.packed(because_json)))
    assert unpacked(packed, json.loads(kept.text)) == plan_json(decided)["routes"]
    assert decided.because.shapes(because_json) == plan_json(decided)["routes"]


def test_five_hundred_routes_that_miss_are_a_few_words() -> None:
    decided = plan(SEEN, routing([({"service": f"svc-{n}"}, False, "team") for n in range(500)]))
    assert isinstance(decided.because, Verdicts)
    assert len(json.dumps(decided.because.packed(because_json))) < 200


def test_they_are_a_sequence_like_any_other() -> None:
    decided = plan(SEEN, routing([({"service": "db"}, False, "team"), ({}, False, "team")])).because
    assert len(decided) == 2
    assert decided[-1].matched
    assert [one.matched for one in decided[0:1]] == [False]
    assert decided == tuple(decided)
    assert decided != 7


def test_a_table_is_made_once_and_named_by_what_it_holds() -> None:
    one, other = routing([({}, False, "team")]), routing([({"service": "x"}, False, "team")])
    assert table(one.matches, one.named) is table(one.matches, one.named)
    assert table(one.matches, one.named).id != table(other.matches, other.named).id
