"""What the bench makes of what it measured: the middle, the tail, the bodies, the pictures, the page. Nothing runs."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

import bench
from bench.bodies import BODY, Alertmanager, Make, Sentry, found, mark
from bench.figures import Chart, Figure, Part, percentile, ratios, sign
from bench.growing import read
from bench.kept import Kept
from bench.load import SECRET
from bench.page import NAMES, page
from bench.plan import Plan
from bench.plot import draw, ticks
from gateway.config import load

SVG = "{http://www.w3.org/2000/svg}"
GROWTH = """
  1,000 incidents stored in 3 s
  incidents state=open                           p50    2.1 →    4.2 ms;  p99    3.0 before
  incidents q=nowhere                            p50    1.5 →   12.0 ms;  p99    2.0 before
  accept rate, full to empty (median)                       0.95 ×

figure                                                       hold         seen
accept rate, full to empty (median)                       ≥ 0.9 ×       0.95 ×
start to first 202                                                      1.2 s
incidents q=nowhere, p99                                  ≤ 50 ms        61 ms   MISSED
memory, most in 600 s at 100/s                          ≤ 150 MiB      131 MiB
events deleted                                                       1.2e+04 \n"""


def figure(name: str, *seen: float, at_least: bool = False, because: str = "") -> Figure:
    return Figure(name, "×", 1.5, 1.0, list(seen), at_least, because)


def chart(kind: str = "lines", *, log: bool = False, **series: list[float | None]) -> Chart:
    x = [1, 16, 64] if kind == "lines" else ["one <word>", "two", "three"]
    return Chart("a.svg", kind, "Told & <heard>", "connections", "accepted/s", x, series, log)


@pytest.mark.parametrize(("share", "is_"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1), (0.001, 1)])
def test_a_percentile_is_one_of_the_numbers_and_so_many_are_not_above(share: float, is_: float) -> None:
    assert percentile(list(range(100, 0, -1)), share) == is_


def test_a_percentile_of_one_is_that_one_and_of_nothing_is_none() -> None:
    assert percentile([7.0], 0.99) == 7.0
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)


def test_ratios_are_round_by_round_and_skip_what_did_nothing() -> None:
    assert ratios([1.0, 9.0, 5.0], [2.0, 3.0, 0.0]) == [0.5, 3.0]


def test_a_figure_fits_by_its_median_on_its_side() -> None:
    assert figure("at most", 9.0, 1.0, 1.5).fits(1.5)
    assert not figure("at most", 1.0, 1.6, 9.0).fits(1.5)
    assert figure("at least", 0.1, 1.5, 9.0, at_least=True).fits(1.5)
    assert not figure("at least", 0.1, 1.4, 9.0, at_least=True).fits(1.5)


@pytest.mark.parametrize(("number", "words"), [(12345.6, "12,346"), (99.96, "100"), (0.123456, "0.123"), (0, "0")])
def test_numbers_for_people(number: float, words: str) -> None:
    assert sign(number) == words


@pytest.mark.parametrize("kind", [Sentry, Alertmanager])
def test_bodies_are_distinct_alike_in_size_and_can_be_known_again(kind: Callable[[str], Make]) -> None:
    requests = [kind("r1")(number) for number in (1, 2, 99_999_999)]
    bodies = [request.partition(b"\r\n\r\n")[2] for request in requests]
    assert {len(body) for body in bodies} == {BODY}
    assert [found(body) for body in bodies] == [mark("r1", number) for number in (1, 2, 99_999_999)]
    assert all(f"content-length: {BODY}\r\n".encode() in request for request in requests)
    assert all(json.loads(body) for body in bodies)


def test_what_goes_to_tocsin_is_signed_over_all_of_it() -> None:
    head, _, body = Sentry("r1")(7).partition(b"\r\n\r\n")
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert f"sentry-hook-signature: {signature}".encode() in head


def test_what_was_not_sent_by_the_bench_is_not_known_again() -> None:
    assert found(b'{"incident": {"fingerprint": "sentry:issue:first0"}}') is None


@pytest.mark.parametrize(("low", "high", "log"), [(79, 25_000, True), (0.4, 6, True), (5, 5, True), (0, 1234, False)])
def test_ticks_hold_all_that_is_between(low: float, high: float, log: bool) -> None:
    marks = ticks(low, high, log=log)
    assert marks[0] <= low
    assert marks[-1] >= high
    assert marks == sorted(set(marks))
    assert 2 <= len(marks) <= 12


def test_lines_are_drawn_where_something_was_measured_and_lower_is_less() -> None:
    root = ET.fromstring(draw(chart(log=True, ours=[100.0, 1000.0, None], theirs=[10.0, 20.0, 40.0])))  # noqa: S314
    ours, theirs = (line.attrib["points"].split() for line in root.iter(f"{SVG}polyline"))
    assert (len(ours), len(theirs)) == (2, 3)
    heights = [float(point.split(",")[1]) for point in (ours[1], ours[0], theirs[0])]
    assert heights == sorted(heights), "y grows downwards in SVG"
    words = {element.text for element in root.iter(f"{SVG}text")}
    assert {"Told & <heard>", "connections", "accepted/s (logarithmic)", "ours", "theirs", "64"} <= words


def test_bars_are_as_long_as_their_numbers_and_stay_inside() -> None:
    text = draw(chart("bars", ours=[10.0, 20.0, None], theirs=[40.0, 0.0, 5.0]))
    root = ET.fromstring(text)  # noqa: S314
    bars = [one for one in root.iter(f"{SVG}rect") if one.attrib.get("height") == "11"]
    lengths = [float(bar.attrib["width"]) for bar in bars]
    assert lengths == pytest.approx([lengths[0] * by for by in (1, 4, 2, 0, 0.5)], rel=0.01)
    assert all(float(bar.attrib["x"]) + float(bar.attrib["width"]) <= float(root.attrib["width"]) for bar in bars)
    assert "prefers-color-scheme:dark" in text
    assert len(text) < 30_000


def test_a_chart_of_nothing_or_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        draw(chart(ours=[None, None, None]))
    with pytest.raises(ValueError, match="not pie"):
        draw(chart("pie", ours=[1.0, 2.0, 3.0]))


def test_what_the_bench_runs_with_is_a_good_file_with_every_feature(tmp_path: Path) -> None:
    text = (Path(bench.__file__).parent / "full.yaml").read_text().replace("@SECRET@", SECRET)
    (tmp_path / "full.yaml").write_text(text.replace("@RECEIVER@", "18480"))
    routing = load(tmp_path / "full.yaml", {}).routing
    assert routing.rotations
    assert {"people", "escalations", "mutes", "inhibit", "expire", "calendars", "tests"} <= set(
        re.findall(r"^(\w+):", text, re.MULTILINE)
    )


def test_the_growth_bench_is_read_from_its_table() -> None:
    seen = read(GROWTH)
    assert [(line.name, line.hold, line.seen, line.unit, line.missed) for line in seen.lines] == [
        ("accept rate, full to empty (median)", "≥ 0.9 ×", 0.95, "×", False),
        ("start to first 202", "", 1.2, "s", False),
        ("incidents q=nowhere, p99", "≤ 50 ms", 61.0, "ms", True),
        ("memory, most in 600 s at 100/s", "≤ 150 MiB", 131.0, "MiB", False),
        ("events deleted", "", 12_000.0, "", False),
    ]
    assert seen.lists == {"incidents state=open": (2.1, 4.2), "incidents q=nowhere": (1.5, 12.0)}
    assert not seen.stopped
    with pytest.raises(ValueError, match="no figure"):
        read("it fell over")


def test_what_the_growth_bench_had_measured_before_it_was_stopped_counts() -> None:
    shown = "\n  memory, most in 60 s at 100/s      160 MiB   MISSED\n  memory 121 160\n"
    seen = read(GROWTH.partition("\nfigure")[0] + shown)
    assert seen.stopped
    assert [(line.name, line.seen, line.unit, line.missed) for line in seen.lines] == [
        ("accept rate, full to empty (median)", 0.95, "×", False),
        ("memory, most in 60 s at 100/s", 160.0, "MiB", True),
    ]


def write(parts: dict[str, Part], filesystem: str = "ext4") -> str:
    return page(parts, {"filesystem": filesystem})


def test_the_page_says_what_held_what_was_missed_and_what_was_not_measured() -> None:
    figures = [figure("told", 1.2, 1.2, 1.2), figure("slow", 9.0, 9.0, 9.0), figure("peer", because="none is here")]
    figures.append(Figure("two of one", "×", None, None, [1.8], at_least=True))
    text = write({"a": Part(NAMES["a"], figures=figures, head=["server"], rows=[["a|b"]], notes=["a note"])})
    assert "1 of 2 figures held. **Missed:** slow. Not measured: peer (none is here)." in text
    assert "| told | ≤ 1.5 × | ≤ 1 × | 1.2 × | 1.2, 1.2, 1.2 | yes | **no** |" in text
    assert "| two of one | – | – | 1.8 × | 1.8 | – | – |" in text
    assert "a\\|b" in text
    assert text.count("Not measured in this run.") == len(NAMES) - 1
    assert "short run" not in text
    columns = [line.count(" | ") for line in text.splitlines() if line.startswith(("| figure", "| told", "| peer"))]
    assert len(set(columns)) == 1


def test_a_run_that_proves_nothing_says_so_at_the_top() -> None:
    parts = {"a": Part(NAMES["a"], scale=0.05, rounds=1), "b": Part(NAMES["b"])}
    head = write(parts, "tmpfs, in memory: nothing here is durable").split("```sh")[0]
    assert "prove nothing" in head
    assert "scaled down to 5%" in head
    assert "less than three rounds" in head
    assert "what is called durable was not" in head


def test_a_whole_run_keeps_its_lengths_and_a_short_one_is_shorter_in_all() -> None:
    whole, short, alone = Plan(), Plan(minutes=1.0), Plan(alone=True)
    assert whole.burst == 10.0
    assert (alone.incidents, alone.growth_steady) == (1_000_000, 600.0)
    assert whole.growth_most(100.0) == 100.0 < alone.growth_most(100.0)
    for name in ("burst", "short", "rate", "step", "sustain", "growth_steady", "incidents"):
        assert 0 < getattr(short, name) < getattr(whole, name)
        assert math.isfinite(getattr(whole, name))


def test_what_was_measured_before_on_the_same_machine_and_code_is_kept(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "out" / "speed.json")
    part = Part(NAMES["a"], figures=[figure("told", 1.2)], charts=[chart(ours=[1.0, None, 3.0])], rows=[["x"]])
    assert kept.read({"cores": "2"}) == {}
    kept.write({"a": part}, {"cores": "2"})
    assert kept.read({"cores": "2"}) == {"a": part}
    assert kept.read({"cores": "4"}) == {}
    kept.path.write_text("[not JSON")
    assert kept.read({"cores": "2"}) == {}
