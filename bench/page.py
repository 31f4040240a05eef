"""docs/proof/speed.md: pure words about plain data. What is missed is said first, what was not measured as well."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from bench.figures import Figure, Part, sign

NAMES = {
    "a": "a. Accepting",
    "b": "b. From POST to receiver",
    "c": "c. Sustained, until saturation",
    "d": "d. Two replicas on PostgreSQL",
    "e": "e. Growth to one million",
}
_ABOUT = """\
Written by `make bench`: what it measured, and nothing else. Each figure is the median of its rounds, and a ratio is
taken round by round, so that a noisy minute falls on both. Ratios can be trusted further than absolute numbers. Where
more than one command stands below, each measured some of the parts, and took its own time."""
_TRUST = """\
## How far to trust this

- The server has one core and the driver the other, with the receiver beside the driver. What the kernel and a
  host's other guests take shows as the distance between the lowest round and the highest.
- Servers take turns within each round (A B A B), each fresh; a round is never compared with another's.
- CPU is what the process used by /proc over the run, divided by what it took in: what it decides and tells
  meanwhile is in it, and what it still has to do is not. Memory is what is resident.
- Bodies have 2,000 bytes for all. Tocsin's are signed, verified and on disk before the answer; Alertmanager
  verifies nothing, loses its alerts in a crash, and sends each one's labels three times over. The two do not do the
  same: they are asked the same question.
- Waits are from when an alert left the driver, not from when it was due; how late it left is noted.
- The machine is one, with the receiver on it: no network, no vendor that is slow, no other database than what is
  named.
"""


def page(parts: Mapping[str, Part], facts: Mapping[str, str]) -> str:
    """The whole page. `parts` by their letter; those not in it were not measured."""
    figures = [figure for letter in NAMES if letter in parts for figure in parts[letter].figures]
    out = [
        "# Speed",
        "",
        _ABOUT,
        "",
        *_warning(list(parts.values()), facts),
        "```sh",
        *dict.fromkeys(parts[letter].command for letter in NAMES if letter in parts),
        "```",
        "",
        *_table(["machine", ""], [[key, value] for key, value in facts.items()]),
        "",
        "## Figures",
        "",
        _fill(_verdict(figures)),
        "",
        *_table(
            ["figure", "hold", "reach for", "seen", "each round", "held", "reached"], [_row(one) for one in figures]
        ),
    ]
    for letter, title in NAMES.items():
        out += ["", *(_part(parts[letter]) if letter in parts else [f"## {title}", "", "Not measured in this run."])]
    return "\n".join([*out, "", _TRUST])


def _warning(parts: Sequence[Part], facts: Mapping[str, str]) -> list[str]:
    words = []
    if any(part.scale < 1 for part in parts):
        words.append(
            "**This is a short run, made to see that the bench works: its figures prove nothing.** The lengths are"
            f" scaled down to {min(part.scale for part in parts):.0%}."
        )
    if any(part.rounds < 3 for part in parts):
        words.append("**Some parts have less than three rounds: no median worth the name.**")
    if "nothing here is durable" in facts.get("filesystem", ""):
        words.append("**The store was in memory: what is called durable was not.**")
    return [line for word in words for line in (_fill(word), "")]


def _verdict(figures: Sequence[Figure]) -> str:
    wanted = [one for one in figures if one.seen and one.hold is not None]
    missed = [one for one in wanted if one.hold is not None and not one.fits(one.hold)]
    silent = [one for one in figures if not one.seen]
    said = f"{len(wanted) - len(missed)} of {len(wanted)} figures held."
    if missed:
        said += " **Missed:** " + "; ".join(one.name for one in missed) + "."
    if silent:
        said += " Not measured: " + "; ".join(f"{one.name} ({one.because or 'no round'})" for one in silent) + "."
    return said


def _row(one: Figure) -> list[str]:
    at = "≥" if one.at_least else "≤"
    hold, reach = (f"{at} {wanted:g} {one.unit}" if wanted is not None else "–" for wanted in (one.hold, one.reach))
    if not one.seen:
        return [one.name, hold, reach, "not measured", "–", "–", "–"]
    answers = ["–" if wanted is None else "yes" if one.fits(wanted) else "**no**" for wanted in (one.hold, one.reach)]
    return [one.name, hold, reach, f"{sign(one.median)} {one.unit}", ", ".join(sign(x) for x in one.seen), *answers]


def _part(part: Part) -> list[str]:
    when = (
        [f"Measured {part.date}, in {part.minutes:.1f} min; rounds: {part.rounds}."] if part.date and part.rows else []
    )
    out = [f"## {part.title}", ""]
    for words in (part.how, *when):
        out += [_fill(words), ""] if words else []
    for chart in part.charts:
        out += [f"![{chart.title}]({chart.file})", ""]
    out += [*_table(part.head, part.rows), ""] if part.rows else []
    return [*out, *(_fill(f"- {note}", "  ") for note in part.notes)]


def _fill(words: str, indent: str = "") -> str:
    return textwrap.fill(words, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
