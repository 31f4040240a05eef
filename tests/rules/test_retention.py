"""What is over is kept for as long as the file says, and never for less than it may still be needed."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gateway.rules.retention import DAY, Bounds, RetentionSettings, bounds
from gateway.rules.routing import RouteSettings
from tests.stage import HOUR, NOON


def read(**written: str) -> RetentionSettings:
    return RetentionSettings.model_validate(written)


def flapping(within: str) -> RouteSettings:
    return RouteSettings.model_validate({"to": ["team"], "flap": {"changes": 3, "within": within}})


def test_a_month_of_events_and_a_year_of_incidents_are_kept_where_nothing_is_written() -> None:
    assert read() == read(events="30d", incidents="400d")
    assert read(events="7d").incidents == 400 * DAY
    assert read(incidents="90d").events == 30 * DAY


@pytest.mark.parametrize("key", ["events", "incidents"])
def test_nothing_is_no_span(key: str) -> None:
    assert read(**{key: "1s"})
    with pytest.raises(ValidationError, match="must be at least 1s"):
        read(**{key: "0d"})


def test_what_is_older_may_go() -> None:
    assert bounds(read(), NOON, HOUR, ()) == Bounds(NOON - 30 * DAY, NOON - 400 * DAY)


@pytest.mark.parametrize(
    ("reopen_within", "routes", "kept"),
    [
        (0, (), 1),
        (3 * DAY, (), 3),
        (HOUR, (flapping("5d"), flapping("1h"), RouteSettings(to=("team",))), 5),
        (7 * DAY, (flapping("5d"),), 7),
    ],
)
def test_an_incident_that_may_reopen_or_counts_as_flapping_stays(
    reopen_within: int, routes: tuple[RouteSettings, ...], kept: int
) -> None:
    assert bounds(read(incidents="1d"), NOON, reopen_within, routes).incidents == NOON - kept * DAY
