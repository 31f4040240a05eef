"""Small pictures as SVG, by hand: lines or bars with labelled axes, readable on a light page and on a dark one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from bench.figures import Chart, sign

WIDTH, LEFT, RIGHT, TOP = 720, 78, 24, 76
PLOT_HEIGHT, BAR, GAP = 280, 13, 12
_ALWAYS = {"Tocsin": 0, "Alertmanager": 1, "bare Starlette": 2}
_LIGHT, _DARK = ("#0a58ca", "#c2410c", "#15803d"), ("#6cb0ff", "#ff9b5e", "#5fd38a")


def _colours(of: Sequence[str]) -> str:
    return "".join(f".f{order}{{fill:{one}}}.s{order}{{stroke:{one}}}" for order, one in enumerate(of))


_STYLE = f"""<style>
text{{font:13px system-ui,sans-serif;fill:#24292f}}.title{{font-size:16px;font-weight:600}}.small{{font-size:12px}}
.paper{{fill:#fff}}.grid{{stroke:#d0d7de}}.axis{{stroke:#57606a}}.line{{fill:none;stroke-width:2.5}}{_colours(_LIGHT)}
@media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}.paper{{fill:#0d1117}}.grid{{stroke:#30363d}}.axis{{stroke:#8b949e}}
{_colours(_DARK)}}}
</style>"""


def draw(chart: Chart) -> str:
    """The whole SVG. Raises ValueError for a kind that is neither `lines` nor `bars`, or without any number."""
    if not any(value is not None for values in chart.series.values() for value in values):
        raise ValueError(f"{chart.file}: nothing to draw")
    if chart.kind == "lines":
        return _lines(chart)
    if chart.kind == "bars":
        return _bars(chart)
    raise ValueError(f"{chart.file}: a chart is lines or bars, not {chart.kind}")


def ticks(low: float, high: float, *, log: bool) -> list[float]:
    """Round numbers that begin at or below `low` and end at or above `high`."""
    if log:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        last = max(last, first + 1)
        marks = (1,) if last - first > 3 else (1, 2, 5)
        every = [mark * 10.0**power for power in range(first, last + 1) for mark in marks if power < last or mark == 1]
        begin = max(number for number in every if number <= low)
        end = min(number for number in every if number >= high)
        return [number for number in every if begin <= number <= max(end, begin * 2)]
    step = 10.0 ** math.floor(math.log10(max(high, 1e-9) / 4))
    step = next(step * by for by in (1, 2, 2.5, 5, 10) if high / (step * by) <= 5)
    return [step * number for number in range(math.ceil(high / step) + 1)]


def _lines(chart: Chart) -> str:
    values = [value for line in chart.series.values() for value in line if value is not None and value > 0]
    marks = ticks(min(values), max(values), log=chart.log)
    height = TOP + PLOT_HEIGHT + 62
    low, high = marks[0], marks[-1]

    def place_x(number: float) -> float:
        first, last = math.log(chart.x[0]), math.log(chart.x[-1])
        return LEFT + 20 + (WIDTH - LEFT - RIGHT - 160) * ((math.log(number) - first) / (last - first or 1.0))

    def place_y(number: float) -> float:
        share = math.log(number / low) / math.log(high / low) if chart.log else (number - low) / (high - low)
        return TOP + PLOT_HEIGHT * (1 - share)

    parts = _frame(chart, height)
    bottom = TOP + PLOT_HEIGHT
    for mark in marks:
        y = place_y(mark)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
        parts.append(f'<text class="small" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_short(mark)}</text>')
    parts.append(f'<line class="axis" x1="{LEFT}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}"/>')
    for number in chart.x:
        x = place_x(number)
        parts.append(f'<line class="axis" x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 5}"/>')
        parts.append(f'<text class="small" x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{number:,}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{bottom + 46}" text-anchor="middle">{escape(chart.x_title)}</text>')
    y_title = chart.y_title + (" (logarithmic)" if chart.log else "")
    at = f'x="18" y="{TOP + PLOT_HEIGHT / 2:.0f}" transform="rotate(-90 18 {TOP + PLOT_HEIGHT / 2:.0f})"'
    parts.append(f'<text {at} text-anchor="middle">{escape(y_title)}</text>')
    ends: list[tuple[float, float, str]] = []
    for order, (name, line) in enumerate(chart.series.items()):
        points = [(place_x(x), place_y(y), y) for x, y in zip(chart.x, line, strict=True) if y is not None and y > 0]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
        parts.append(f'<polyline class="line s{_colour(name, order)}" points="{path}"/>')
        parts += [f'<circle class="f{_colour(name, order)}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y, _ in points]
        ends += [(y, x, f"{name} {sign(last)}") for x, y, last in points[-1:]]
    lowest = -math.inf
    for y, x, words in sorted(ends):
        lowest = max(lowest + 15, y + 4)  # never one upon the other
        parts.append(f'<text class="small" x="{x + 8:.1f}" y="{lowest:.1f}">{escape(words)}</text>')
    return _whole(parts)


def _bars(chart: Chart) -> str:
    """Lying bars, for their names may be long."""
    many = len(chart.series)
    group = many * BAR + GAP
    bottom = TOP + len(chart.x) * group + 4
    left = min(max(LEFT, 12 + 7 * max(len(str(name)) for name in chart.x)), 340)
    marks = ticks(0, max(value or 0.0 for line in chart.series.values() for value in line), log=False)
    wide = WIDTH - left - RIGHT - 40
    parts = _frame(chart, bottom + 56)
    for mark in marks:
        x = left + wide * mark / marks[-1]
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="small" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{_short(mark)}</text>')
    for row, name in enumerate(chart.x):
        y = TOP + row * group + GAP / 2
        middle = y + many * BAR / 2 + 4
        parts.append(
            f'<text class="small" x="{left - 8}" y="{middle:.1f}" text-anchor="end">{escape(str(name))}</text>'
        )
        for order, line in enumerate(chart.series.values()):
            value = line[row]
            if value is None:
                continue
            length, top = wide * value / marks[-1], y + order * BAR
            parts.append(
                f'<rect class="f{order % 3}" x="{left}" y="{top:.1f}" width="{length:.1f}" height="{BAR - 2}"/>'
            )
            parts.append(f'<text class="small" x="{left + length + 5:.1f}" y="{top + 10:.1f}">{sign(value)}</text>')
    parts.append(f'<line class="axis" x1="{left}" y1="{TOP}" x2="{left}" y2="{bottom}"/>')
    parts.append(
        f'<text x="{left + wide / 2:.0f}" y="{bottom + 42}" text-anchor="middle">{escape(chart.y_title)}</text>'
    )
    return _whole(parts)


def _colour(name: str, order: int) -> int:
    """The same one for the same name in every picture."""
    return _ALWAYS.get(name, order % 3)


def _frame(chart: Chart, height: float) -> list[str]:
    size = f'width="{WIDTH}" height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(chart.title)}">',
        _STYLE,
        f'<rect class="paper" width="{WIDTH}" height="{height:.0f}"/>',
        f'<text class="title" x="16" y="28">{escape(chart.title)}</text>',
    ]
    x = 16.0
    for order, name in enumerate(chart.series):
        parts.append(f'<rect class="f{_colour(name, order)}" x="{x:.0f}" y="43" width="14" height="10" rx="2"/>')
        parts.append(f'<text x="{x + 20:.0f}" y="53">{escape(name)}</text>')
        x += 48 + 7.5 * len(name)
    return parts


def _short(number: float) -> str:
    return f"{number / 1000:g}k" if number >= 10_000 else f"{number:,g}"


def _whole(parts: Sequence[str]) -> str:
    return "\n".join([*parts, "</svg>", ""])
