"""`tocsin check` and `tocsin explain`: about a file, without a gateway."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from gateway.cli import remote
from gateway.cli.common import document, json_option
from gateway.cli.serve import environment
from gateway.cli.story import hold_line, route_line, story
from gateway.errors import BadConfiguration, Problem, TocsinError


@click.command()
@click.argument("file", default=None, required=False)
def check(file: str | None) -> None:
    """Tell every problem of a routing file, each with its line, and run its tests; exit 0 if all is well.

    \b
    Example:
      tocsin check routing.yaml
    """
    from gateway.clock import now_ms
    from gateway.config import summary

    path = file or os.environ.get("TOCSIN_CONFIG") or "routing.yaml"
    configuration = _load(path, now_ms())
    told = summary(configuration)
    if configuration.tests:
        from gateway import rehearsing
        from gateway.telemetry import hush

        hush()
        _refuse(rehearsing.problems(configuration, Path(path)))
        many = len(configuration.tests)
        told += f"\n{many} test{'' if many == 1 else 's'} of the file came true"
    click.echo(told)


@click.command()
@click.option("--config", envvar="TOCSIN_CONFIG", default="routing.yaml", show_default=True, help="The routing file.")
@click.option("--source", help="The source that the body would come to; without it, a generic alert is read.")
@click.option("--header", "headers", multiple=True, help="A request header, such as 'X-GitHub-Event: push'.")
@click.option("--at", help="Ask about another hour (RFC 3339).")
@json_option
@click.argument("what", default="-")
def explain(
    config: str, source: str | None, headers: tuple[str, ...], at: str | None, as_json: bool, what: str
) -> None:
    """Tell who would hear of a webhook body or an alert (a FILE, or - for standard input), and why; or, for an
    incident's number or id, the decisions as they were taken. Sends nothing.

    \b
    Example:
      tocsin explain --source github --header 'X-GitHub-Event: workflow_run' body.json
    """
    if what != "-" and not Path(what).exists():
        if "/" in what or "." in what:
            raise TocsinError(f"{what}: there is no such file; an incident is named by its number or id")
        _tell_story(what, as_json=as_json)
        return
    body = sys.stdin.buffer.read() if what == "-" else _read(Path(what))
    shape = _explained(config, body, source, headers, at)
    document(shape) if as_json else click.echo("\n\n".join(_paragraphs(shape)))


def _explained(config: str, body: bytes, source: str | None, headers: tuple[str, ...], at: str | None) -> Any:
    from gateway.clock import now_ms
    from gateway.explaining import explain as explained
    from gateway.rules.shapes import parse_rfc3339

    now = now_ms() if at is None else parse_rfc3339(at)
    if now is None:
        raise click.UsageError(f"--at {at!r} is no RFC 3339 time; write it like 2026-01-05T03:00:00+09:00")
    named = {}
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon:
            raise click.UsageError(f"--header {header!r} must look like 'Name: value'")
        named[name.strip().lower()] = value.strip()
    return explained(_load(config), body, source, named, now)


def _load(file: str, now: int | None = None) -> Any:
    from gateway.config import load

    try:
        return load(Path(file), environment(), now=now)
    except BadConfiguration as refused:
        _refuse(refused.problems)


def _refuse(problems: Sequence[Problem]) -> None:
    """Every problem on a line of its own, and the end; nothing where there is none."""
    for problem in problems:
        click.echo(str(problem), err=True)
    if problems:
        sys.exit(1)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TocsinError(f"{path}: cannot be read ({error.strerror})") from None


def _paragraphs(shape: Any) -> list[str]:
    """Each alert: what it is, each route as matched or why not, who hears and in what words."""
    if not shape["alerts"]:
        return ["Nothing in this body is anything that anybody must hear."]
    told = []
    for one in shape["alerts"]:
        alert = one["alert"]
        lines = [click.style(f"{alert['severity'].upper()} {alert['title']}", bold=True) + f"  ({alert['status']})"]
        lines += [route_line(route) for route in one["routes"]]
        lines += [hold_line(hold) for hold in one["holds"]]
        if alert["status"] == "resolved":
            lines.append("Resolved: whoever heard of the problem hears of this.")
        elif not one["targets"]:
            lines.append("Nobody would hear: no route matched, and no `default` is set. It would be kept, unrouted.")
        for target in one["targets"]:
            asked = f", {target['asked']}" if target.get("asked") else ""
            whose = f" ({target['person']}{asked})" if target.get("person") else ""
            lines.append(f"→ {target['channel']}{whose}, at {target['at']}:")
            lines += [f"    {line}" for line in target["text"].splitlines()]
        told.append("\n".join(lines))
    return told


def _tell_story(name: str, *, as_json: bool) -> None:
    incident = remote.Gateway().get(f"/api/v1/incidents/{remote.quoted(name)}")
    document(incident) if as_json else click.echo("\n".join(story(incident)))
