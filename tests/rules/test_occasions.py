"""Why a channel hears of an incident again, and when it is left in peace."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.model import Change, Delivery, Incident, Severity, What
from gateway.rules.occasions import Story, read_story

AT = 1_795_168_800_000
ERROR = Severity.ERROR
INCIDENT = Incident("i1", "scripts", "generic", "disk", "disk", ERROR, AT, AT)
OVER = replace(INCIDENT, state="resolved", resolved_at=AT)
DELIVERY = Delivery("d1", "i1", "team", wanted=1, promised_at=AT)


def changes(*whats: What, first: int = 1, via: str = "") -> list[Change]:
    ends = {"resolved": "resolved", "acknowledged": "acknowledged"}
    return [
        Change(f"c{revision}", "i1", revision, AT, what, ends.get(what, "open"), ERROR, "kim", via=via)  # type: ignore[arg-type]
        for revision, what in enumerate(whats, first)
    ]


def read(*whats: What, incident: Incident = INCIDENT, said: int = 1, via: str = "", own: bool = True) -> Story:
    """The story after `said` changes were told; `via` is how the others came about."""
    since = [*changes(*whats[:said]), *changes(*whats[said:], first=said + 1, via=via)]
    return read_story(replace(DELIVERY, said=said), incident, since, hears_own=own)


LOUD = (
    *("worsened", "reopened", "acknowledged", "noted", "assigned", "escalated"),
    *("reminded", "unanswered", "unmuted", "flapping", "steadied"),
)


@pytest.mark.parametrize("what", LOUD)
def test_what_is_a_reason_to_speak_rings(what: What) -> None:
    worse = replace(INCIDENT, severity=Severity.CRITICAL)
    story = read("opened", what, incident=worse)
    assert (story.occasion, story.quiet) == (what, False)


def test_who_heard_nothing_of_what_shakes_hears_whether_it_still_does() -> None:
    assert read("opened", "flapping", said=0).occasion == "flapping"
    assert read("opened", "flapping", "steadied", said=0).occasion == "steadied"
    assert read("opened", "resolved", "flapping", said=0, incident=OVER).occasion == "flapping"
    assert read("opened", "resolved", "steadied", said=0, incident=OVER).occasion == "steadied"
    assert read("opened", "flapping", "resolved", said=0, incident=OVER).occasion == "over"
    assert read("opened", "unanswered", "resolved", said=0, incident=OVER).occasion == "over"
    assert read("opened", "resolved", "unanswered", said=0, incident=OVER).occasion == "over"


def test_the_newest_reason_is_told() -> None:
    assert read("opened", "escalated", "acknowledged").occasion == "acknowledged"
    assert read("opened", "acknowledged", "noted").occasion == "noted"
    assert read("opened", "noted", "linked", "muted").occasion == "noted"
    assert read("opened", "unanswered", "resolved", incident=OVER).occasion == "resolved"


def test_a_note_on_what_is_over_does_not_cover_its_end() -> None:
    assert read("opened", "resolved", "noted", "assigned", incident=OVER).occasion == "resolved"
    assert read("opened", "resolved", "noted", said=2, incident=OVER).occasion == "noted"


def test_what_stands_still_again_says_so_although_it_is_over() -> None:
    story = read("opened", "flapping", "resolved", "steadied", said=2, incident=OVER)
    assert (story.occasion, story.quiet) == ("steadied", False)


@pytest.mark.parametrize("what", ["muted", "eased", "linked"])
def test_what_is_only_shown_rings_no_bell(what: What) -> None:
    milder = replace(INCIDENT, severity=Severity.WARNING)
    story = read("opened", what, incident=milder)
    assert (story.occasion, story.quiet) == (what, True)


def test_who_stands_in_for_a_channel_that_failed_hears_how_things_stand() -> None:
    story = read("opened", "failed_over")
    assert (story.occasion, story.quiet) == ("opened", False)
    assert read("opened", "reminded", "failed_over").occasion == "reminded"


@pytest.mark.parametrize("what", ["opened", "escalated", "failed_over", "acknowledged", "noted"])
def test_who_heard_nothing_hears_that_it_opened(what: What) -> None:
    story = read("opened", what, said=0)
    assert (story.occasion, story.quiet, len(story.news)) == ("opened", False, 2)


@pytest.mark.parametrize("what", ["unanswered", "flapping"])
def test_who_hears_of_it_because_nobody_came_is_told_so(what: What) -> None:
    assert read("opened", what, "noted", said=0).occasion == what
    assert read("opened", what, "acknowledged", said=0).occasion == "opened"
    assert read("opened", what, "resolved", said=0, incident=OVER).occasion == "over"


@pytest.mark.parametrize("alarm", ["worsened", "escalated", "reminded", "unanswered", "reopened"])
@pytest.mark.parametrize("word", ["noted", "assigned"])
def test_a_note_hides_no_alarm(alarm: What, word: What) -> None:
    story = read("opened", alarm, word, incident=replace(INCIDENT, severity=Severity.CRITICAL))
    assert (story.occasion, story.quiet) == (alarm, False)
    assert read("opened", "failed_over", word).occasion == "opened"


def test_what_somebody_had_and_nobody_has_any_more_is_loud() -> None:
    story = read("opened", "acknowledged", "worsened", "eased", said=2)
    assert (story.occasion, story.quiet) == ("reopened", False)
    assert read("opened", "acknowledged", "worsened", "eased", "noted", said=2).occasion == "reopened"


def test_an_acknowledgement_that_holds_no_more_is_not_told() -> None:
    story = read("opened", "acknowledged", "worsened", "eased")
    assert (story.occasion, story.quiet) == ("linked", True)
    taken = replace(INCIDENT, state="acknowledged")
    assert read("opened", "acknowledged", "worsened", "acknowledged", incident=taken).occasion == "acknowledged"


def test_who_heard_nothing_hears_of_what_is_over_that_it_is() -> None:
    assert read("opened", "escalated", "resolved", said=0, incident=OVER).occasion == "over"


def test_who_heard_that_it_is_over_and_finds_it_over_again_hears_nothing_new() -> None:
    story = read("opened", "resolved", "reopened", "resolved", said=2, incident=OVER)
    assert (story.occasion, story.quiet) == ("resolved", True)
    unknown = read_story(replace(DELIVERY, said=2), OVER, changes("reopened", "resolved", first=3))
    assert (unknown.occasion, unknown.quiet) == ("resolved", False)


def test_what_a_person_did_over_this_channel_only_changes_what_stands_there() -> None:
    story = read("opened", "acknowledged", via="team", own=False)
    assert (story.occasion, story.quiet) == ("acknowledged", True)
    assert not read("opened", "acknowledged", via="other", own=False).quiet
    assert not read("opened", "acknowledged", via="team").quiet


def test_other_news_beside_it_rings_if_it_would_have_rung_alone() -> None:
    acknowledged, *_ = changes("acknowledged", first=2, via="team")
    noted, linked = changes("noted", "linked", first=3)
    heard = replace(DELIVERY, said=1)
    assert not read_story(heard, INCIDENT, [acknowledged, noted], hears_own=False).quiet
    only_shown = read_story(heard, INCIDENT, [acknowledged, linked], hears_own=False)
    assert (only_shown.occasion, only_shown.quiet) == ("acknowledged", True)


def test_once_more_without_news_is_how_things_stand_aloud() -> None:
    story = read("opened")
    assert (story.occasion, story.quiet, story.was) == ("opened", False, ERROR)


def test_who_heard_nothing_and_of_whom_nothing_is_known_hears_that_it_opened() -> None:
    assert read_story(replace(DELIVERY, said=0), INCIDENT, []).occasion == "opened"


def test_what_is_muted_rings_nobody_with_what_went_before() -> None:
    muted = replace(INCIDENT, muted_by="mute nights")
    assert read("opened", "escalated", "muted", incident=muted).quiet
    assert not read("opened", "escalated", "muted", "unmuted").quiet
