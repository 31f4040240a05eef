"""What the tests of the suite hold already: they are run by name, and their result stands in the same table."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from typing import Final

from chaos.guided import targets
from chaos.load import TOKEN
from chaos.needs import ROOT, schemathesis, why_not
from chaos.registry import BOTH, NotRun, Outcome, fault, held
from chaos.run import Run

GUIDED_SECONDS: Final = 150
BARE: Final = "no database has a part in it."


async def suite(run: Run, *arguments: str, least: int = 1, seen: str = "", **environ: str) -> Outcome:
    """Run these tests: held where all pass and at least so many did. Raises NotRun where all were skipped."""
    passed, failed, skipped, last = await pytest(run, *arguments, **environ)
    if not passed and not failed:
        raise NotRun(f"{skipped} tests skipped" if skipped else f"no test is called {' '.join(arguments)}")
    said = (
        f"{passed} passed"
        + (f", {skipped} skipped" if skipped else "")
        + (f", {failed} FAILED: {last}" if failed else "")
    )
    return held(not failed and passed >= least, f"{said}{seen}", f"run as `pytest {' '.join(arguments)}`.")


async def pytest(run: Run, *arguments: str, **environ: str) -> tuple[int, int, int, str]:
    """(passed, failed, skipped, the first failure)."""
    run.folder.mkdir(exist_ok=True)
    asked = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pytest",
        "-rf",
        "-p",
        "no:cacheprovider",
        f"--basetemp={run.folder / 'tests'}",
        *arguments,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TOKEN": TOKEN, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await asked.communicate())[0].decode(errors="replace")
    counted = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", said[-400:])}
    first = re.search(r"^FAILED (\S+)", said, re.MULTILINE)
    failed = counted.get("failed", 0) + counted.get("error", 0)
    return counted.get("passed", 0), failed, counted.get("skipped", 0), first[1] if first else ""


@fault("T23", "one suite for every store", "≥ 60 cases, all pass", engines=BOTH, seconds=50, least=50)
async def conformance(run: Run) -> Outcome:
    which = "not postgres" if run.engine == "sqlite" else "postgres"
    return await suite(run, "tests/store", "-k", which, least=60)


@fault(
    "T24",
    "whatever happens in whatever order, against a model",
    "500 runs without a page lost or told twice",
    seconds=150,
    least=10,
    alone="SQLite's; the statements are the same, and T23 holds both stores to them.",
)
async def machine(run: Run) -> Outcome:
    runs = run.many(500, 100)
    outcome = await suite(
        run, "tests/test_machine.py", TOCSIN_TEST_RUNS=str(runs), seen=f", {runs} runs of up to 20 steps"
    )
    return held(
        outcome.held,
        outcome.seen,
        "weaker than the plan, which asks for 50 steps a run and 10,000 runs a night: a run here has 6 to 20 steps,"
        f" some of which are many at once (time that passes, a lane that dies and is taken over); {outcome.note}",
    )


@fault(
    "T25",
    "each adapter and each parser against documents made by chance",
    "2,000 examples each, 0 uncaught",
    seconds=400,
    least=30,
    alone=BARE,
)
async def fuzz(run: Run) -> Outcome:
    examples = run.many(2_000, 200)
    return await suite(
        run, "tests/adapters/test_fuzz.py", TOCSIN_TEST_EXAMPLES=str(examples), seen=f", {examples} examples each"
    )


@fault(
    "T25",
    "matchers, templates, variables, times, links and what is read from the net",
    "0 uncaught",
    seconds=50,
    least=50,
    alone=BARE,
)
async def parsers(run: Run) -> Outcome:
    files = ("matching", "templates", "variables", "moments", "reading", "links")
    tests = [
        *(f"tests/rules/test_{name}.py" for name in files),
        "tests/config/test_config.py",
        "tests/web/test_intake.py",
    ]
    outcome = await suite(run, *tests)
    return held(
        outcome.held,
        outcome.seen,
        "weaker than the plan, which asks for 2,000 examples of each: most of these tests are written by hand, and"
        " those by chance have hypothesis's own number of examples. What coverage leads to is the row of atheris;"
        f" {outcome.note}",
    )


@fault(
    "T25",
    "atheris: each adapter and signature, matches, templates and the configuration, ten minutes each",
    "0 uncaught",
    needs=("atheris",),
    seconds=210,
    least=120,
    alone=BARE,
)
async def guided(run: Run) -> Outcome:
    """One after the other, so that the others' time is not taken: each its share of ten minutes, at least five seconds
    and, all together, no longer than the row says."""
    names = targets()
    seconds = 5 if run.ci else round(max(5, min(600 * run.share, GUIDED_SECONDS / len(names))))
    fed, broken = 0, []
    for name in names:
        code, said = await _guide(run, name, seconds)
        found = re.search(r"number_of_executed_units: (\d+)", said)
        fed += int(found[1]) if found else 0
        if code or not found:
            why = re.search(r"^\w*(?:Error|Exception)\b.*|^==\d+== ERROR:.*", said, re.MULTILINE)
            broken.append(f"{name}: {why[0] if why else said.strip()[-200:]}")
    seen = f"{len(names)} targets, {seconds} s and together {fed:,} inputs, {len(broken)} broke"
    return held(not broken, "; ".join([seen, *broken]), "one by itself: `python -m chaos.guided TARGET --seconds 600`.")


async def _guide(run: Run, name: str, seconds: int) -> tuple[int, str]:
    """(exit code, what it said)."""
    asked = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chaos.guided", name),
        *("--seconds", str(seconds), "--corpus", str(run.folder / "corpus")),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said = (await asked.communicate())[0].decode(errors="replace")
    except asyncio.CancelledError:
        asked.kill()
        raise
    return asked.returncode or 0, said


@fault(
    "T26",
    "every address of the API, asked whatever comes by chance",
    "0 × 5xx in 50 examples an operation",
    engines=BOTH,
    seconds=120,
    least=15,
)
async def described(run: Run) -> Outcome:
    async with run.house() as house:
        if await house.gateway.status("/openapi.json") != 200:
            return await _undescribed(run)
        if why := why_not("schemathesis"):
            raise NotRun(why)
        url = f"http://127.0.0.1:{house.gateway.port}/openapi.json"
        command = [
            schemathesis() or "",
            "run",
            url,
            "--checks",
            "not_a_server_error",
            "--max-examples",
            str(run.many(50, 10)),
            "--no-color",
            "--header",
            f"Authorization: Bearer {TOKEN}",
        ]
        asked = await asyncio.create_subprocess_exec(
            *command, cwd=run.folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said = (await asked.communicate())[0].decode(errors="replace")
        alive = await house.gateway.status("/healthz") == 200
    cases = re.findall(r"[\d,]+ (?:generated|test cases|cases)[^\n]*", said)
    return held(
        asked.returncode == 0 and alive, f"{cases[-1] if cases else said.strip().splitlines()[-1]}; alive {alive}"
    )


async def _undescribed(run: Run) -> Outcome:
    """Without a description there is nothing that schemathesis could read: our own table of addresses takes its
    place."""
    examples = str(run.many(50, 10))
    outcome = await suite(
        run,
        "tests/web/test_any_request.py",
        "-k",
        run.engine,
        least=25,
        seen=f", {examples} requests at each address",
        TOCSIN_TEST_EXAMPLES=examples,
    )
    note = f"by hypothesis and not by schemathesis: this version has no GET /openapi.json; {outcome.note}"
    return held(outcome.held, outcome.seen, note)


@fault(
    "T27",
    "hostile requests over real sockets, and hostile words to every channel",
    "0 through, 0 × 500",
    seconds=110,
    least=110,
    alone="it is turned away before the database, or composed after it; T26 asks both.",
)
async def hostile(run: Run) -> Outcome:
    tests = (
        "tests/web/test_hostile.py",
        "tests/web/test_protocol.py",
        "tests/test_nothing_is_fetched.py",
        "tests/channels",
    )
    return await suite(run, *tests)


@fault(
    "T28",
    "twenty-four canary secrets through every door",
    "0 seen in logs, answers, metrics or the database",
    seconds=50,
    least=50,
    alone="what is written down passes the same statements on both engines.",
)
async def canaries(run: Run) -> Outcome:
    return await suite(run, "tests/test_secrets.py", least=3)


@fault(
    "T3",
    "a start on a full disk or a locked database",
    "a sentence and an exit that is not 0",
    seconds=15,
    least=15,
    alone="of PostgreSQL that is away, tests/test_postgresql_faults.py.",
)
async def starts(run: Run) -> Outcome:
    return await suite(run, "tests/test_faults.py", "tests/test_start_and_stop.py", "-k", "start")


@fault(
    "T15",
    "the words of a storm: counts, critical ones, the budget's end",
    "all pass",
    seconds=20,
    least=20,
    alone="it asks the rules and the story, which are the same for both engines.",
)
async def counts(run: Run) -> Outcome:
    return await suite(run, "tests/test_quiet.py", "-k", "storm or budget or groups or window", least=5)
