"""A routing.yaml that is saved wrong three hundred times."""

from __future__ import annotations

import asyncio
import random
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from chaos.load import sending
from chaos.registry import Outcome, fault, held
from chaos.run import ROUTING, Run

BROKEN_LINES = (
    "surces: {}", "channels: []", "routes: 3", "routes: [{name: x, to: [nobody]}]", "routes: [{to: []}]",
    "default: [nobody]", "reopen_within: soon", "reopen_within: -5m", "trusted_proxies: [300.1.1.1/8]",
    "public_url: ftp://x", "tests: [{}]", "calendars: {office: {weekly: []}}", "people: {kim: {channels: [nobody]}}",
    "rotations: {r: {members: []}}", "escalations: {e: {steps: []}}", "mutes: [{match: {}}]", "inhibit: [{when: {}}]",
    "expire: [{after: 1h}]", "retention: {events: ever}", "channels: {x: {kind: pigeon}}",
    "channels: {x: {kind: webhook}}", "a: &a [*a]", "sources: {x: {adapter: nothing, token: t}}",
    "sources: {x: {adapter: generic}}", "\tx: y", "x: [", "x: {", "- a\nb: c",
    "routes: [{name: a, match: {severity: loud}, to: [team]}]",
    "routes: [{name: a, match: {title: /(/}, to: [team]}]", "routes: [{name: a, match: {during: never}, to: [team]}]",
    "routes: [{name: a, to: [team], cooldown: long}]", "routes: [{name: a, to: [team], colldown: 5m}]",
    "routes: [{name: a, to: [team], repeat_every: 0s}]", "!!python/object:os.x {}",
    'channels: {team: {kind: webhook, url: "${UNSET_NAME}"}}', "channels: {team: {kind: webhook, url: nowhere}}",
    "channels: {team: {kind: slack}}", "channels: {team: {kind: email, to: []}}",
    "channels: {team: {kind: twilio, to: [x]}}", "sources: {scripts: {adapter: generic, token: a, limit: many}}",
    "sources: {scripts: {adapter: generic, token: a, limit: 0/s}}",
    "sources: {scripts: {adapter: generic, token: a, allow_from: []}}",
    "sources: {s: {adapter: generic, token: a, max_body: huge}}", "\x00", "\ufeff\ufeff%", "%YAML 9.9\n---",
    "? [complex]: key", "routes: !!binary zzz", "sources: {scripts: null}",
)  # fmt: skip
"""By hand; each is put behind a good file, whose own line of that name it doubles or whose keys it adds to."""


def malformed(many: int) -> Iterator[str]:
    """Files that are wrong, each another: by hand and by chance from the good one in turn, then by chance alone."""
    from gateway import config
    from gateway.errors import BadConfiguration

    dice = random.Random(11)
    environ = {"TOKEN": "t", "RECEIVER": "http://127.0.0.1:9"}

    def wrong(text: str, place: Path) -> bool:
        place.write_text(text, encoding="utf-8")
        try:
            config.load(place, environ)
        except BadConfiguration:
            return True
        return False

    found: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / "routing.yaml"
        candidates = [f"{ROUTING}\n{line}\n" for line in BROKEN_LINES] + [f"{line}\n" for line in BROKEN_LINES]
        dice.shuffle(candidates)  # of both kinds some, however few are asked for
        while len(found) < many:
            by_hand = candidates and len(found) % 2 == 0
            text = candidates.pop() if by_hand else spoiled(ROUTING, dice)
            if text not in found and wrong(text, scratch):  # the same once more would not be a saved one
                found.add(text)
                yield text


def spoiled(text: str, dice: random.Random) -> str:
    """The file after an accident at the keyboard."""
    at = dice.randrange(len(text))
    lines = text.splitlines(keepends=True)
    place = dice.randrange(len(lines))
    return dice.choice(
        (
            text[:at] + dice.choice("{}[]:\"'&*!%@`,|>\t#-?x") * dice.randint(1, 3) + text[at:],
            text[:at] + text[at + dice.randint(1, 9) :],
            text[:at],
            "".join(lines[:place] + lines[place + 1 :]),
            "".join([*lines[: place + 1], lines[place], *lines[place + 1 :]]),
            "".join([*lines[:place], "  " * dice.randint(1, 3) + lines[place], *lines[place + 1 :]]),
        )
    )


@fault(
    "T18",
    "routing.yaml is saved wrong 300 times",
    "each refused with its line, the last good one in force, nothing dropped",
    seconds=200,
    least=10,
    alone="the file is read without the database.",
)
async def saved_wrong(run: Run) -> Outcome:
    many, gateways = run.many(300, 20), 3
    texts = await asyncio.to_thread(lambda: list(malformed(many)))
    results = await asyncio.gather(*(save_all(run, number, texts[number::gateways]) for number in range(gateways)))
    refused, with_line, kept, dropped, accepted, dead = (sum(one[place] for one in results) for place in range(6))
    good = refused == many and kept == many and dropped == 0 and dead == 0 and with_line >= 0.9 * many
    return held(
        good,
        f"{refused} of {many} refused, {with_line} with file and line, last good one in force {kept} of {many};"
        f" {accepted} alerts meanwhile, {dropped} lost or untold; {gateways - dead} of {gateways} gateways alive",
        "half of them by hand, half by chance (up to 100 by hand, then by chance alone). The others"
        " are files of which no line is to blame (empty, cut off before the first key, no text). The"
        " plan's SIGHUP is not played: the gateway looks at its file twice a second and knows no such signal.",
    )


async def save_all(run: Run, number: int, texts: list[str]) -> tuple[int, int, int, int, int, int]:
    """Save each over a gateway's file: (refused, with a line, last good one kept, lost or untold, accepted, dead)."""
    refused = with_line = kept = 0
    place = Run(run.engine, run.folder / str(number), run.ci, run.share, run.cluster)
    async with place.house() as house:
        file = place.folder / "routing.yaml"
        before = (await house.gateway.get("/readyz"))["configuration"]["hash"]
        async with sending(house.ports, connections=1, pause=0.5) as load:
            seen = None
            for text in texts:
                fresh = file.with_name("fresh")
                fresh.write_text(text, encoding="utf-8")
                fresh.rename(file)
                ends = time.monotonic() + 12
                while time.monotonic() < ends:
                    now = (await house.gateway.get("/readyz"))["configuration"]
                    if now["refused"] is not None and now["refused"]["at"] != seen:
                        break
                    await asyncio.sleep(0.1)
                refused += now["refused"] is not None and now["refused"]["at"] != seen
                seen = (now["refused"] or {}).get("at")
                problems = (now["refused"] or {}).get("problems", [])
                with_line += bool(problems) and all(re.match(r".*routing\.yaml:\d+:", str(one)) for one in problems)
                kept += now["hash"] == before
            (file).write_text(ROUTING)
        verdict = await house.judge(load)
        dead = int(not house.gateway.alive)
    return refused, with_line, kept, verdict.lost + verdict.untold, verdict.accepted, dead
