"""A good file with one thing wrong in it: each is one sentence with its line, and never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import load
from gateway.errors import BadConfiguration

GOOD = """\
channels:
  sms: {kind: screen}
  mail: {kind: screen}
calendars:
  office: {time_zone: Asia/Seoul, weekly: [{days: mon-fri, from: "09:00", to: "18:00"}]}
people:
  kim: {channels: [sms, mail]}
  lee: {channels: sms}
rotations:
  primary: {members: [kim, lee], time_zone: Asia/Seoul}
escalations:
  page: {steps: [{to: primary}, {to: lee, after: 5m}]}
routes:
  - {to: page}
mutes:
inhibit:
expire:
tests:
"""
MONDAY = 1_767_538_800_000  # 2026-01-05T00:00 in Seoul
MOMENT = "is no date-time; write it like 2026-12-24T18:00 or 2026-12-24T18:00:00+09:00"
HOUR = "is no time of day; write it like 09:00"
ZONE = "is no time zone; write it like Asia/Seoul"
SPAN = "is no duration; write it like 30s, 5m, 4h or 7d"
LONG = "is too long to be meant; write it like 30s, 5m, 4h or 7d"
BACKWARDS = "is not after its beginning; give it a later one"
SKIPPED = "is not after its beginning, for summer time skips that hour; give it a later one"
GAP = "add a layer without `during`, or widen a calendar"
BLOCK = "must be a mapping: lines of `key: value`, indented below it"

# Block, the entry that is put at its top, the place in it, what is said.
CASES = [
    # people
    ("people", "cho: {channels: [smss]}", "channels.0", "unknown channel 'smss'; did you mean 'sms'?"),
    ("people", "cho: {channels: page}", "channels", "unknown channel 'page'; there are mail, sms"),
    ("people", "cho: {channels: ''}", "channels", "names no channel; there are mail, sms"),
    ("people", "cho: {channels: [sms, mail, sms]}", "channels",
     "names a channel twice; name each once, in the order in which they are tried"),
    ("people", "cho: {channels: {a: sms}}", "channels", "must be text"),
    ("people", "cho: {channels: sms, time_zone: +09:00}", "time_zone", ZONE),
    ("people", "cho: {channels: sms, time_zone: ../../etc/passwd}", "time_zone", ZONE),
    ("people", "cho: {channels: sms, time_zone: /etc/localtime}", "time_zone", ZONE),
    ("people", "cho: {channels: sms, time_zone: Asia}", "time_zone", ZONE),
    ("people", "cho: {channels: sms, time_zone: [UTC]}", "time_zone", ZONE),
    ("people", r'cho: {channels: sms, time_zone: "UTC\0"}', "time_zone", "is no time zone; did you mean 'UTC'?"),
    ("people", "cho: {channels: sms, language: de}", "language", "must be 'en' or 'ko'"),
    ("people", "cho: {channels: sms, quiet_hours: '22:00-07:00'}", "quiet_hours", "unknown key; did you mean 'quiet'?"),
    ("people", "cho: {channels: sms, quiet: '22:00-07:00'}", "quiet", BLOCK),
    ("people", "cho: {channels: sms, quiet: {}}", "quiet.during", "is missing; add it"),
    ("people", "cho: {channels: sms, quiet: {during: [office]}}", "quiet.during", "must be text"),
    ("people", "cho: {channels: sms, quiet: {during: nowhere}}", "quiet.during",
     "unknown calendar 'nowhere'; there are office"),
    ("people", "cho: {channels: sms, quiet: {during: office, below: '>=error'}}", "quiet.below",
     "is no severity; take one of info, warning, error, critical, emergency"),
    ("people", "cho:", "", BLOCK),
    ("people", "page: {channels: sms}", "", None),
    # rotations
    ("rotations", "r: {members: [kim, nobody], time_zone: UTC}", "members.1",
     "unknown person 'nobody'; there are kim, lee"),
    ("rotations", "r: {members: [primary], time_zone: UTC}", "members.0",
     "unknown person 'primary'; there are kim, lee"),
    ("rotations", "r: {members: [], time_zone: UTC}", "", "has no members; name at least one person"),
    ("rotations", "r: {members: , time_zone: UTC}", "members", "is empty; give it a value, or remove it"),
    ("rotations", "r: {members: kim}", "time_zone", "is missing; add it"),
    ("rotations", "r: {members: kim, time_zone: Mars/Base}", "time_zone", ZONE),
    ("rotations", "r: {time_zone: UTC, layers: []}", "", "has no members; name at least one person"),
    ("rotations", "r: {time_zone: UTC, layers: [kim]}", "layers.0", BLOCK),
    ("rotations", "r: {time_zone: UTC, layers: [{members: [kimm]}]}", "layers.0.members.0",
     "unknown person 'kimm'; did you mean 'kim'?"),
    ("rotations", "r: {time_zone: UTC, layers: [{members: kim, during: offce}]}", "layers.0.during",
     "unknown calendar 'offce'; did you mean 'office'?"),
    ("rotations", "r: {time_zone: Asia/Seoul, layers: [{members: kim, during: office}]}", "",
     f"nobody is on call from Mon 2026-01-05 00:00 to Mon 2026-01-05 09:00; {GAP}"),
    ("rotations", "r: {members: kim, time_zone: UTC, handoff: {at: '25:00'}}", "handoff.at", HOUR),
    ("rotations", "r: {members: kim, time_zone: UTC, handoff: {at: 9am}}", "handoff.at", HOUR),
    ("rotations", "r: {members: kim, time_zone: UTC, handoff: {at: '24:00'}}", "handoff.at",
     "is the end of a day; write 00:00"),
    ("rotations", "r: {members: kim, time_zone: UTC, handoff: '09:00'}", "handoff", BLOCK),
    ("rotations", "r: {members: kim, time_zone: UTC, handoff: {every: month}}", "handoff.every",
     "must be 'day' or 'week'"),
    ("rotations", "r: {members: kim, time_zone: UTC, handoff: {day: mon-fri}}", "handoff.day",
     "is no single day; write it like mon"),
    ("rotations", "r: {members: kim, time_zone: UTC, start: 2026-02-30}", "start",
     "is no date; write it like 2026-12-25"),
    *(
        ("rotations", f"r: {{members: kim, time_zone: Europe/Berlin, overrides: [{{{override}}}]}}", at, said)
        for override, at, said in (
            ("member: lee, from: '2026-01-05T09:00', to: '2026-01-05T08:00'", "overrides.0.to", BACKWARDS),
            ("member: lee, from: '2026-01-05T09:00', to: '2026-01-05T09:00'", "overrides.0.to", BACKWARDS),
            ("member: lee, from: '2026-01-05T09:00', to: '2026-01-05T08:00Z'", "overrides.0.to", BACKWARDS),
            ("member: lee, from: '2026-03-29T02:10', to: '2026-03-29T03:05'", "overrides.0.to", SKIPPED),
            ("member: lee, from: '2026-01-05T09:00', to: tomorrow", "overrides.0.to", MOMENT),
            ("member: lee, from: '2026-02-30T09:00', to: '2026-03-06T09:00'", "overrides.0.from", MOMENT),
            ("member: lee, from: '2026-01-05T09:00'", "overrides.0.to", "is missing; add it"),
            ("member: bob, from: '2026-01-05T09:00', to: '2026-01-06T09:00'", "overrides.0.member",
             "unknown person 'bob'; there are kim, lee"),
            ("member: lee, for: lee, from: '2026-01-05T09:00', to: '2026-01-06T09:00'", "overrides.0.for",
             "is its own member; name whose turn the member takes, or remove it"),
        )
    ),
    # calendars
    ("calendars", "c: {time_zone: UTC}", "", "never opens; give it weekly hours or dates"),
    ("calendars", "c: {time_zone: UTC, weekly: []}", "", "never opens; give it weekly hours or dates"),
    ("calendars", "c: {weekly: [{days: mon, from: '09:00', to: '18:00'}]}", "time_zone", "is missing; add it"),
    *(
        ("calendars", f"c: {{time_zone: Europe/Berlin, {hours}}}", at, said)
        for hours, at, said in (
            ("weekly: [{days: mon, from: '18:00', to: '18:00'}]", "weekly.0",
             "opens and closes at the same minute; write 00:00 to 24:00 for a whole day"),
            ("weekly: [{days: mon, from: '24:00', to: '06:00'}]", "weekly.0.from",
             "is no beginning; write 00:00 of the next day"),
            ("weekly: [{days: [], from: '09:00', to: '18:00'}]", "weekly.0.days",
             "is no day; write it like mon-fri, [sat, sun] or daily"),
            ("weekly: [{days: mon-, from: '09:00', to: '18:00'}]", "weekly.0.days",
             "is no day; write it like mon-fri, [sat, sun] or daily"),
            ("weekly: [{days: mon, from: 9:00, to: 9:5}]", "weekly.0.to", HOUR),
            ("weekly: mon-fri", "weekly", "must be a list, like [a, b]"),
            ("dates: [{from: '2036-12-25T18:00', to: '2036-12-24T18:00'}]", "dates.0.to", BACKWARDS),
            ("dates: [{from: '2026-03-29T02:50', to: '2026-03-29T03:10'}]", "dates.0.to", SKIPPED),
            ("dates: [2026-12-25]", "dates.0", BLOCK),
            ("dates: [{from: '2036-12-25T18:00', to: 2036-12-26}]", "dates.0.to", MOMENT),
            ("dates: [{from: '2036-12-25T18:00', to: '2036-12-26T00:00'}], except: 25.12.2036", "except",
             "is no date; write it like 2026-12-25"),
        )
    ),
    # escalations
    ("escalations", "e: {steps: [{to: e}]}", "steps.0.to", "loops: e → e; let one of them name somebody else"),
    ("escalations", "e: {steps: [{to: f}]}\n  f: {steps: [{to: e}]}", None,
     "escalations.f.steps.0.to: loops: e → f → e; let one of them name somebody else"),
    ("escalations",
     "e: {steps: [{to: sms}, {to: f, after: 1m}]}\n  f: {steps: [{to: g}]}\n  g: {steps: [{to: [lee, e]}]}", None,
     "escalations.g.steps.0.to.1: loops: e → f → g → e; let one of them name somebody else"),
    ("escalations", "e: {steps: []}", "", "has no steps; give it at least one"),
    ("escalations", "e: {steps: [{to: []}]}", "steps.0.to", "names nobody; give it at least one"),
    ("escalations", "e: {steps: [{to: sms, after: 5m}, {to: mail, after: 1m}]}", "steps.1.after",
     "is not later than the step before it; let each step wait longer"),
    ("escalations", "e: {steps: [{to: sms}], repeat: 99999999999999999999999}", "repeat", "must be at most 100"),
    ("escalations", "e: {steps: [{to: sms, after: -5m}]}", "steps.0.after", SPAN),
    ("escalations", f"e: {{steps: [{{to: sms, after: {'9' * 400}d}}]}}", "steps.0.after", LONG),
    ("escalations", "kim: {steps: [{to: sms}]}", "", None),
    # quiet
    ("routes", "- {to: sms, cooldown: 36501d}", "cooldown", LONG),
    ("routes", "- {to: sms, match: {during: offfice}}", "match.during",
     "unknown calendar 'offfice'; did you mean 'office'?"),
    ("mutes", "- {match: {service: a}}", "during", "is missing; add it"),
    ("mutes", "- {during: []}", "during", "names no calendar, so that nothing would be muted; give it at least one"),
    ("inhibit", "- {mute: {kind: a}}", "when", "is missing; add it"),
    ("expire", "- 2h", "", BLOCK),
    ("tests", "- {alert: {}, expect: {sms: soon}}", "expect.sms",
     "must be now, never, or how long after the beginning, like at 5m"),
]  # fmt: skip


def told(file: Path, text: str, now: int | None) -> list[str]:
    """`line: path: what`, for each problem."""
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BadConfiguration) as refused:
        load(file, {}, now=now)
    return [str(problem).removeprefix(f"{file}:") for problem in refused.value.problems]


def with_entry(block: str, entry: str) -> tuple[str, int]:
    """The good file with this at the top of a block, and the line at which it ends."""
    text = GOOD.replace(f"{block}:\n", f"{block}:\n  {entry}\n")
    return text, text[: text.index(entry)].count("\n") + entry.count("\n") + 1


def test_the_file_is_good_without_them(tmp_path: Path) -> None:
    (tmp_path / "routing.yaml").write_text(GOOD)
    assert load(tmp_path / "routing.yaml", {}, now=MONDAY).routing.escalations


@pytest.mark.parametrize(("block", "entry", "at", "said"), CASES, ids=lambda value: str(value)[:60])
def test_one_thing_wrong_is_one_sentence_with_its_line(
    tmp_path: Path, block: str, entry: str, at: str | None, said: str | None
) -> None:
    text, line = with_entry(block, entry)
    name = "0" if entry.startswith("- ") else entry.partition(":")[0]
    for now in (None, MONDAY):
        problems = told(tmp_path / "routing.yaml", text, now)
        if said is None:  # a name that is taken: the one further down is wrong
            (problem,) = problems
            assert "is the name of the " in problem
            assert problem.endswith("already; give each its own")
        elif at is None:
            assert problems == [f"{line}: {said}"]
        else:
            assert problems == [f"{line}: {'.'.join(filter(None, (block, name, at)))}: {said}"]


def test_there_are_more_than_forty_of_them() -> None:
    assert len({entry for _, entry, _, _ in CASES}) > 70


@pytest.mark.parametrize(
    ("block", "entry"),
    [
        ("calendars", "c: {time_zone: America/New_York, dates: [{from: '2026-01-01T00:00', to: '9999-12-31T23:59'}]}"),
        ("calendars", "c: {time_zone: Asia/Seoul, dates: [{from: '0001-01-01T00:00', to: '9999-12-31T23:59'}]}"),
        ("calendars", "c: {time_zone: Europe/Berlin, dates: [{from: '2036-03-30T02:10', to: '2036-03-30T02:50'}]}"),
        ("calendars", "c: {time_zone: Europe/Berlin, weekly: [{days: sun, from: '02:10', to: '02:50'}]}"),
        ("rotations", "r: {members: kim, time_zone: Europe/Berlin, handoff: {day: sun, at: '02:30'}}"),
        ("rotations", "r: {members: [kim, kim, lee], time_zone: UTC, start: 9999-12-31}"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_odd_but_has_a_meaning_is_taken(tmp_path: Path, block: str, entry: str) -> None:
    """An hour that summer time skips, and 'for ever'."""
    (tmp_path / "routing.yaml").write_text(with_entry(block, entry)[0])
    assert load(tmp_path / "routing.yaml", {}, now=MONDAY)
