"""Every command: what it prints, where errors go, and how it ends."""

from __future__ import annotations

import importlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import httpx2
import pytest
from click.testing import CliRunner, Result

from gateway import config
from gateway.cli import main
from gateway.cli.oncall import _block as block
from gateway.cli.story import next_line
from gateway.errors import TocsinError
from gateway.service import Options
from gateway.serving import serve
from tests.process import ROOT, TOKEN, Gateway, free_port

serving = importlib.import_module("gateway.cli.serve")
ROUTING = """
sources:
  scripts: {{adapter: generic, token: "${{TOKEN}}"}}
  sentry: {{adapter: sentry, secret: "${{SENTRY}}", optional: true}}
channels:
  team: {{kind: webhook, url: "{url}/ok", pace: none}}
  gone: {{kind: webhook, url: "{url}/gone", pace: none}}
  night: {{kind: slack, webhook_url: "${{SLACK}}", optional: true}}
routes:
  - {{name: critical, match: {{severity: ">=critical"}}, to: [gone]}}
  - {{name: all, to: [team]}}
"""


class _Vendor(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", "0")))
        self.send_response(204 if self.path == "/ok" else 404)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def vendor() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Vendor) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, vendor: str) -> Iterator[Gateway]:
    """A running gateway, the same for all tests of this file."""
    gateway = Gateway(tmp_path_factory.mktemp("cli"), ROUTING.format(url=vendor))
    arguments = ["serve", "--config", str(gateway.config), "--database", f"sqlite:///{gateway.database}"]
    command = [sys.executable, "-m", "gateway", *arguments, "--port", str(gateway.port), "--log-level", "error"]
    with subprocess.Popen(command, env=gateway.environ, cwd=gateway.folder) as process:
        wait_for(lambda: answers(gateway.url))
        yield gateway
        process.terminate()


def answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/healthz", trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


def wait_for(done: Any, seconds: float = 10.0) -> Any:
    late = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < late
        time.sleep(0.02)
    return found


def run(*arguments: str, env: dict[str, str | None] | None = None, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, list(arguments), input=stdin, env=env, prog_name="tocsin")


@pytest.fixture
def tocsin(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A command that speaks to the running gateway, and must end well."""
    monkeypatch.setenv("TOCSIN_URL", gateway.url)
    monkeypatch.setenv("TOCSIN_TOKEN", TOKEN)
    monkeypatch.delenv("TOCSIN_ADMIN_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, **named: Any) -> str:
        result = run(*arguments, **named)
        assert result.exit_code == 0, result.output
        return result.stdout

    return call


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)


class TestHelp:
    @pytest.mark.parametrize("path", [(), *commands(main)], ids=" ".join)
    def test_every_command_has_one_example(self, path: tuple[str, ...]) -> None:
        result = run(*path, "--help")
        assert result.exit_code == 0
        told = result.stdout.split("Example:")[1]
        examples = [line.strip() for line in told.splitlines() if line.startswith("    tocsin ")]
        assert len(examples) == 1
        assert examples[0].startswith(" ".join(("tocsin", *path)))

    def test_the_version_is_told(self) -> None:
        assert re.fullmatch(r"tocsin, version \d+\.\d+\.\d+\S*\n", run("--version").stdout)

    @pytest.mark.parametrize(
        "wrong",
        [
            ("nothing",),
            ("send",),
            ("incidents", "--limit", "0"),
            ("explain", "--nothing"),
            ("replay",),
            ("serve", "--port", "x"),
            ("send", "--title", "x", "--label", "novalue"),
            ("explain", "--at", "yesterday", "-"),
            ("explain", "--header", "no colon", "-"),
        ],
        ids=" ".join,
    )
    def test_wrong_usage_exits_2(self, wrong: tuple[str, ...]) -> None:
        result = run(*wrong, stdin="{}")
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.strip().splitlines()[-1].startswith("Error: ")


class TestAboutAFile:
    @pytest.fixture(autouse=True)
    def file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("TOKEN", TOKEN)
        monkeypatch.delenv("TOCSIN_CONFIG", raising=False)
        file = tmp_path / "routing.yaml"
        file.write_text(ROUTING.format(url="https://x.example"))
        return file

    def test_a_good_file_is_summed_up(self, file: Path) -> None:
        for result in (run("check"), run("check", str(file)), run("check", env={"TOCSIN_CONFIG": str(file)})):
            assert result.exit_code == 0
            assert result.stdout.startswith("1 source, 2 channels, 2 routes; configuration ")
            assert "channel night sleeps until SLACK is set" in result.stdout

    def test_a_wrong_one_says_every_problem_on_standard_error_and_exits_1(self, file: Path) -> None:
        file.write_text(file.read_text().replace("[gone]", "[gne]").replace("[team]", "[teem]"))
        result = run("check")
        assert (result.exit_code, result.stdout) == (1, "")
        assert [line.partition(": ")[0] for line in result.stderr.splitlines()] == [
            "routing.yaml:10",
            "routing.yaml:11",
        ]

    def test_a_file_that_is_not_there_is_said_so(self) -> None:
        result = run("check", "none.yaml")
        assert result.exit_code == 1
        assert len(result.stderr.splitlines()) == 1
        assert result.stderr.startswith("none.yaml: cannot be read")

    def test_explain_tells_each_route_and_who_hears(self, tmp_path: Path) -> None:
        (tmp_path / "body.json").write_text('{"title": "Disk full", "severity": "warning"}')
        result = run("explain", "--source", "scripts", "body.json")
        assert result.exit_code == 0
        lines = result.stdout.splitlines()
        assert lines[:3] == [
            "WARNING Disk full  (firing)",
            "  ✗ critical: severity should be >=critical, was warning",
            "  ✓ all",
        ]
        assert lines[3].startswith("→ team, at 20")

    def test_explain_reads_standard_input_and_prints_json(self) -> None:
        result = run("explain", "--json", "--at", "2026-01-05T03:00:00Z", "-", stdin='{"title": "x"}')
        shape = json.loads(result.stdout)
        assert [route["name"] for route in shape["routes"]] == ["critical", "all"]
        assert shape["targets"][0]["at"] == "2026-01-05T03:00:00.000Z"

    def test_explain_tells_of_a_resolve_a_stop_and_nobody(self, file: Path) -> None:
        assert (
            "whoever heard of the problem hears of this"
            in run("explain", "-", stdin='{"title": "x", "status": "resolved"}').stdout
        )
        text = file.read_text()
        file.write_text(text.replace("to: [team]}", "to: [team], stop: true}\n  - {name: more, to: [team]}"))
        assert "  · more: not read, 'all' said stop" in run("explain", "-", stdin='{"title": "x"}').stdout
        file.write_text(text.replace("name: all,", "name: all, match: {service: db},"))
        nobody = run("explain", "-", stdin='{"title": "x"}').stdout
        assert "service should be db, was absent" in nobody
        assert "Nobody would hear" in nobody

    def test_explain_says_when_there_is_nothing_to_hear(self, file: Path) -> None:
        file.write_text(file.read_text().replace("adapter: sentry, secret:", "adapter: github, secret:"))
        result = run(
            "explain",
            "--source",
            "sentry",
            "--header",
            "X-GitHub-Event: star",
            "-",
            env={"SENTRY": "s"},
            stdin='{"action": "created", "repository": {"full_name": "a/b"}, "sender": {"login": "kim"}}',
        )
        assert result.stdout == "Nothing in this body is anything that anybody must hear.\n", result.output

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["--source", "nobody", "-"], "no source 'nobody'"),
            (["-"], "title: is required"),
            (["--source", "scripts", "-"], "generic: no text in the body"),
            (["."], "cannot be read"),
        ],
    )
    def test_explain_refuses_in_one_line(self, arguments: list[str], sentence: str) -> None:
        result = run("explain", *arguments, stdin="{}")
        assert (result.exit_code, result.stdout) == (1, "")
        (line,) = result.stderr.splitlines()
        assert line.startswith("Error: ")
        assert sentence in line

    @pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
    def test_no_color_is_obeyed_on_a_terminal(self, tmp_path: Path, no_color: str, coloured: bool) -> None:
        (tmp_path / "body.json").write_text('{"title": "x"}')
        ours, theirs = pty.openpty()
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": no_color, "TERM": "xterm"}
        with closing(os.fdopen(ours, "rb", buffering=0)) as terminal:
            command = [sys.executable, "-m", "gateway", "explain", "body.json"]
            process = subprocess.Popen(command, env=environ, stdout=theirs, stderr=theirs, cwd=tmp_path)
            os.close(theirs)
            shown = b""
            try:
                while more := terminal.read(65536):
                    shown += more
            except OSError:
                pass  # Linux's way to say that nobody writes any more
            assert process.wait() == 0
        assert b"ERROR x" in shown
        assert (b"\x1b[" in shown) == coloured


class TestAboutAGateway:
    def test_an_alert_goes_the_whole_way_and_is_listed(self, tocsin: Any) -> None:
        event = tocsin(
            "send", "--title", "Disk 94% full", "--severity", "warning", "--service", "db-1", "--label", "team=data",
            "--field", "used=94 %", "--fingerprint", "listed",
        ).strip()  # fmt: skip
        listed = wait_for(lambda: [line for line in tocsin("events").splitlines() if event in line and "done" in line])
        assert "firing warning: Disk 94% full" in listed[0]
        (line,) = [line for line in tocsin("incidents").splitlines() if "Disk 94% full" in line]
        assert re.match(r"#\d+ +warning +open +\d{4}-\d\d-\d\d \d\d:\d\d +scripts +db-1 +Disk", line)
        number = line.split()[0].removeprefix("#")
        wait_for(lambda: "team sent" in tocsin("explain", number))
        story = tocsin("explain", number)
        assert f"#{number} Disk 94% full  (open)" in story
        assert f"opened (warning) by {event}" in story
        assert "  ✓ all" in story
        assert "→ team   (configuration " in story
        assert json.loads(tocsin("explain", "--json", number))["fields"] == {"used": "94 %"}
        assert json.loads(tocsin("incidents", "--json", "--source", "scripts", "--severity", "warning"))["items"]
        assert json.loads(tocsin("events", "--json", "--state", "done", "--source", "scripts"))["items"]

    def test_a_resolve_ends_it(self, tocsin: Any) -> None:
        tocsin("send", "--title", "short", "--fingerprint", "short")
        tocsin("send", "--title", "short", "--fingerprint", "short", "--resolve")
        wait_for(lambda: "short" in tocsin("incidents", "--state", "resolved"))

    def test_dead_letters_are_listed_and_sent_again(self, tocsin: Any) -> None:
        tocsin("send", "--title", "fire", "--severity", "critical")
        wait_for(lambda: "HTTP 404" in tocsin("deliveries", "--state", "failed"))
        (dead,) = json.loads(tocsin("deliveries", "--state", "failed", "--channel", "gone", "--json"))["items"]
        assert tocsin("redeliver", dead["id"]) == f"{dead['id']} will be sent again\n"

        def tried_twice() -> bool:
            found = json.loads(tocsin("explain", "--json", dead["incident"]))["deliveries"][0]
            return len(found["attempts"]) == 2 and found["state"] == "failed"

        wait_for(tried_twice)
        assert "gone: failed: HTTP 404" in tocsin("explain", dead["incident"])

    def test_an_event_is_read_again(self, tocsin: Any, gateway: Gateway) -> None:
        event = tocsin("send", "--title", "again").strip()
        wait_for(lambda: gateway.sql("SELECT 1 FROM events WHERE id = ? AND state = 'done'", event))
        refused = run("replay", event)
        assert refused.exit_code == 1
        assert refused.stderr.startswith(f"Error: {event}: 409: ")
        assert tocsin("replay", "--force", event) == f"{event} will be read again\n"

    def test_channels_are_listed_and_tested(self, tocsin: Any) -> None:
        listed = tocsin("channels")
        assert re.search(r"team +webhook +awake", listed)
        assert re.search(r"night +asleep: SLACK not set", listed)
        assert {one["name"] for one in json.loads(tocsin("channels", "--json"))["items"]} == {"team", "gone", "night"}
        assert tocsin("channels", "test", "team") == "team: sent\n"
        failed = run("channels", "test", "gone")
        assert (failed.exit_code, failed.stdout) == (1, "gone: rejected: HTTP 404\n")

    def test_an_empty_list_says_none(self, tocsin: Any) -> None:
        assert tocsin("events", "--source", "nobody") == "none\n"

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["explain", "99999"], "404: There is no such incident."),
            (["events", "--state", "lost"], "422: state: must be among waiting, done, unreadable"),
            (["send", "--title", "x", "--severity", "loud"], "422: severity: "),
            (["channels", "test", "nobody"], "404: There is no such channel."),
            (["channels", "test", "night"], "409: The channel sleeps: SLACK is not set."),
            (["redeliver", "none"], "none: 404: There is no such delivery."),
        ],
    )
    def test_a_refusal_is_one_line_and_exits_1(self, tocsin: Any, arguments: list[str], sentence: str) -> None:
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"Error: {sentence}")

    def test_a_wrong_token_is_refused(self, tocsin: Any) -> None:
        for token in ("wrong", None):
            result = run("send", "--title", "x", env={"TOCSIN_TOKEN": token})
            assert result.exit_code == 1
            assert result.stderr.startswith("Error: 401: ")

    def test_the_administrators_token_is_shown(self, tocsin: Any) -> None:
        assert run("incidents", env={"TOCSIN_ADMIN_TOKEN": "any"}).exit_code == 0  # none is set there

    @pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nonsense"])
    def test_where_no_gateway_answers_it_says_where_it_looked(self, tocsin: Any, url: str) -> None:
        result = run("incidents", env={"TOCSIN_URL": url})
        assert result.exit_code == 1
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"Error: no gateway answers at {url} (")

    def test_what_is_no_gateway_is_said_so(self, tocsin: Any, vendor: str) -> None:
        result = run("send", "--title", "x", env={"TOCSIN_URL": vendor})
        assert result.stderr == "Error: 404: the answer is none of a Tocsin gateway\n"

    def test_a_backup_and_a_copy_hold_all_that_was_accepted(
        self, tocsin: Any, gateway: Gateway, tmp_path: Path
    ) -> None:
        tocsin("send", "--title", "kept")
        env = {"TOCSIN_DATABASE": f"sqlite:///{gateway.database}"}
        assert re.fullmatch(r".*backup.db: [\d,]+ bytes\n", tocsin("db", "backup", "backup.db", env=env))
        tocsin("db", "copy", f"sqlite:///{gateway.database}", f"sqlite:///{tmp_path}/copy.db")
        kept = gateway.sql("SELECT count(*) FROM events")
        for name in ("backup.db", "copy.db"):
            other = Gateway.__new__(Gateway)
            other.database = tmp_path / name
            assert other.sql("SELECT count(*) FROM events") == kept
            assert (tmp_path / name).stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["db", "backup", "--database", "sqlite:///none.db", "b.db"], "none.db: there is no such database"),
            (["db", "copy", "sqlite:///mine.db", "sqlite:///mine.db"], "mine.db: exists already; name a new file"),
            (["db", "copy", "sqlite:///mine.db", "sqlite:///no/where.db"], "no: there is no such folder"),
            (["db", "copy", "sqlite:///mine.db", "sqlite:///copy.db"], "mine.db could not be copied"),
            (["db", "copy", "sqlite:///mine.db", "postgresql://x/y"], "postgresql is not supported by this version"),
        ],
    )
    def test_a_copy_that_cannot_be_is_refused_in_one_line(
        self, tocsin: Any, tmp_path: Path, arguments: list[str], sentence: str
    ) -> None:
        (tmp_path / "mine.db").write_bytes(b"not a database, but there" * 99)
        result = run(*arguments)
        assert result.exit_code == 1
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"Error: {sentence}")
        assert not list(tmp_path.glob("*.partial"))


class TestActing:
    @pytest.fixture
    def number(self, tocsin: Any) -> str:
        """A new incident's."""
        title = f"Disk full {time.monotonic_ns()}"
        tocsin("send", "--title", title)
        lines = wait_for(lambda: [line for line in tocsin("incidents").splitlines() if title in line])
        return str(lines[0].split()[0])

    def test_each_act_says_what_is_so_now(self, tocsin: Any, number: str) -> None:
        assert re.fullmatch(rf"{number} Disk full \d+: noted by kim\n", tocsin("note", number, "seen", "--by", "kim"))
        assert tocsin("assign", number, "lee", "--by", "kim").endswith(": open, assigned to lee\n")
        assert tocsin("ack", number.removeprefix("#"), "--by", "kim").endswith(": acknowledged by kim\n")
        assert tocsin("resolve", number, "--note", "grown").endswith(": resolved\n")
        assert tocsin("reopen", number, "--by", "kim").endswith(": open\n")
        changes = json.loads(tocsin("explain", "--json", number.removeprefix("#")))["changes"]
        assert ("resolved", "grown") in [(change["what"], change["note"]) for change in changes]

    def test_who_is_second_is_told_who_was_first(self, tocsin: Any, number: str) -> None:
        tocsin("ack", number, env={"TOCSIN_USER": "lee"})
        late = run("ack", number, "--by", "kim")
        assert (late.exit_code, late.stdout) == (1, "")
        assert re.match(rf"Error: 409: {number} was acknowledged by lee first", late.stderr)

    def test_without_a_name_it_is_whoever_is_logged_in(self, tocsin: Any, number: str) -> None:
        env = {"TOCSIN_USER": None, "LOGNAME": "park"}
        assert tocsin("ack", number, env=env).endswith(": acknowledged by park\n")

    def test_a_silence_is_made_listed_and_ended(self, tocsin: Any) -> None:
        assert tocsin("silence", "list") == "none\n"
        made = tocsin(
            "silence", "add", "--match", "severity=>=error", "--match", "labels.team=data",
            "--match", "labels.team=web", "--for", "2h", "--reason", "moving the database", "--by", "kim",
        )  # fmt: skip
        what = 'severity=>=error labels.team=["data", "web"]'
        found = re.fullmatch(rf"(\S+): {re.escape(what)} is silenced until \d{{4}}-\d\d-\d\d \d\d:\d\d UTC\n", made)
        assert found
        listed = tocsin("silence", "list").splitlines()
        assert re.match(r"ID +UNTIL \(UTC\) +BY +MATCH +REASON", listed[0])
        assert re.match(rf"{found[1]}  \S+ \S+  kim  {re.escape(what)}  moving the database", listed[1])
        (one,) = json.loads(tocsin("silence", "list", "--json"))["items"]
        assert one["match"] == {"severity": ">=error", "labels.team": ["data", "web"]}
        assert tocsin("silence", "end", found[1]) == f"{found[1]}: {what} is heard again\n"
        assert tocsin("silence", "list") == "none\n"

    def test_what_is_muted_is_marked_and_its_story_says_what_comes_next(self, tocsin: Any) -> None:
        title = f"Moving {time.monotonic_ns()}"
        made = tocsin("silence", "add", "--match", "kind=moving", "--for", "2h", "--reason", "r", "--by", "kim")
        id_ = made.partition(":")[0]
        try:
            tocsin("send", "--title", title, "--kind", "moving")
            (line,) = wait_for(lambda: [line for line in tocsin("incidents").splitlines() if title in line])
            assert "open (muted)" in line
            told = tocsin("explain", line.split()[0].removeprefix("#")).splitlines()
            (coming,) = [line for line in told if line.startswith("next: ")]
            assert re.fullmatch(rf"next: unmute when silence {id_}.* ends at \d{{4}}-\S+Z", coming)
        finally:
            tocsin("silence", "end", id_)

    @pytest.mark.parametrize(
        ("timer", "line"),
        [
            (("escalate", "page", "2026-01-05T00:05:00.000Z"), "next: escalate page at 2026-01-05T00:05:00.000Z"),
            (("expire", "", "2026-01-05T00:05:00.000Z"), "next: expire at 2026-01-05T00:05:00.000Z"),
            (("unmute", "inhibit down", None), "next: unmute inhibit down when it ends"),
        ],
    )
    def test_what_is_pending_is_one_line(self, timer: tuple[str, str, str | None], line: str) -> None:
        assert next_line(dict(zip(("kind", "name", "at"), timer, strict=True))) == line

    @pytest.mark.parametrize(
        ("arguments", "code", "sentence"),
        [
            (["ack", "99999"], 1, "404: There is no such incident."),
            (["note", "99999", ""], 1, "404: There is no such incident."),
            (["silence", "end", "none"], 1, "404: There is no such silence in force."),
            (["silence", "add", "--match", "severiti=x", "--for", "1h", "--reason", "r"], 1, "422: match.severiti: "),
            (["silence", "add", "--match", "x", "--for", "1h", "--reason", "r"], 2, "--match 'x' must look like k=v"),
            (["silence", "add", "--match", "kind=x", "--reason", "r"], 2, "give either --for"),
            (["silence", "add", "--for", "1h", "--reason", "r"], 2, "Missing option '--match'"),
            (["override", "end", "none"], 1, "404: There is no such override."),
            (
                ["override", "add", "nobody", "--member", "kim", "--from", "now", "--to", "+2h"],
                1,
                "422: rotation: is no rotation of routing.yaml; there is no rotation here",
            ),
        ],
    )
    def test_what_cannot_be_is_refused(self, tocsin: Any, arguments: list[str], code: int, sentence: str) -> None:
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (code, "")
        assert result.stderr.splitlines()[-1].startswith(f"Error: {sentence}")

    def test_without_rotations_it_says_so(self, tocsin: Any) -> None:
        assert tocsin("oncall") == "There is no rotation in routing.yaml.\n"
        assert tocsin("override", "list") == "none\n"


ROTATION: dict[str, Any] = {
    "rotation": "primary",
    "time_zone": "Europe/Berlin",
    "now": {"member": "kim", "since": "2026-03-16T08:00:00.000Z", "until": "2026-03-23T08:00:00.000Z",
            "because": "rotation"},
    "shifts": [
        {"member": "kim", "from": "2026-03-18T12:00:00.000Z", "to": "2026-03-23T08:00:00.000Z", "because": "rotation"},
        {"member": "lee", "from": "2026-03-23T08:00:00.000Z", "to": "2026-03-30T07:00:00.000Z",
         "because": "override by kim"},
        {"member": "kim", "from": "2026-03-30T07:00:00.000Z", "to": "2026-04-06T07:00:00.000Z",
         "because": "layer 1"},
        {"member": None, "from": "2026-04-06T07:00:00.000Z", "to": "2026-04-15T12:00:00.000Z",
         "because": "override by " + "x" * 99},
    ],
    "ics": "/api/v1/oncall/primary.ics?token=t0ken",
}  # fmt: skip
ALWAYS = {**ROTATION, "now": {"member": "kim", "since": None, "until": None, "because": "rotation"},
          "shifts": ROTATION["shifts"][:1]}  # fmt: skip
NOBODY = {**ROTATION, "rotation": "night", "now": None, "shifts": ROTATION["shifts"][3:]}
OVERRIDE = {
    "id": "o1", "rotation": "primary", "member": "lee", "from": "2026-03-23T08:00:00.000Z",
    "to": "2026-03-30T07:00:00.000Z", "for": "park", "by": "kim", "reason": "ill",
}  # fmt: skip


class _Roster(BaseHTTPRequestHandler):
    """A gateway that has one rotation, and an override for whoever asks."""

    asked: list[tuple[str, str, Any]]

    def answer(self) -> None:
        length = int(self.headers.get("content-length", "0"))
        self.asked.append((self.command, self.path, json.loads(self.rfile.read(length) or "null")))
        shape: Any = {"at": "2026-03-18T12:00:00.000Z", "items": [ROTATION, NOBODY]}
        if "overrides" in self.path:
            shape = {"items": [OVERRIDE]} if self.command == "GET" else OVERRIDE
        body = json.dumps(shape).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_DELETE(self) -> None:
        self.answer()

    def log_message(self, *_: Any) -> None:
        pass


class TestOnCall:
    @pytest.fixture(autouse=True)
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str, Any]]]:
        """What the gateway is asked."""
        asked: list[tuple[str, str, Any]] = []
        roster = type("Roster", (_Roster,), {"asked": asked})
        with ThreadingHTTPServer(("127.0.0.1", 0), roster) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            monkeypatch.setenv("TOCSIN_URL", f"http://127.0.0.1:{server.server_address[1]}")
            yield asked
            server.shutdown()

    def test_each_rotation_is_a_block_by_its_own_clock(self) -> None:
        result = run("oncall")
        lines = result.stdout.splitlines()
        assert lines[:4] == [
            "primary  (Europe/Berlin)",
            "  now: kim, until Mon 2026-03-23 09:00",
            "  Mon 2026-03-23 09:00  lee  (override by kim)",
            "  Mon 2026-03-30 09:00  kim",
        ]
        assert lines[4].startswith("  Mon 2026-04-06 09:00  nobody  (override by xx")
        assert lines[5:8] == ["", "night  (Europe/Berlin)", lines[7]]
        assert lines[7].startswith("  now: nobody, until Wed 2026-04-15 14:00")
        assert max(map(len, lines)) == 80

    def test_who_is_always_on_call_has_no_end(self) -> None:
        assert block(ALWAYS, "2026-03-18T12:00:00.000Z", asked=False).splitlines()[1] == "  now: kim"

    def test_another_hour_is_asked_for_as_it_was_written(self, asked: list[tuple[str, str, Any]]) -> None:
        result = run("oncall", "--at", "+2h", "--weeks", "2")
        assert result.stdout.splitlines()[1] == "  at Wed 2026-03-18 13:00: kim, until Mon 2026-03-23 09:00"
        assert httpx2.URL(asked[0][1]).params == httpx2.QueryParams({"weeks": "2", "at": "+2h"})

    def test_it_may_be_json_or_the_calendars_addresses(self) -> None:
        assert [one["rotation"] for one in json.loads(run("oncall", "--json").stdout)["items"]] == ["primary", "night"]
        url = os.environ["TOCSIN_URL"]
        assert run("oncall", "--ics").stdout.splitlines()[0] == (
            f"primary: {url}/api/v1/oncall/primary.ics?token=t0ken"
        )

    def test_an_override_is_made_listed_and_ended(self, asked: list[tuple[str, str, Any]]) -> None:
        wanted = ["--member", "lee", "--from", "mon 09:00", "--to", "+9d", "--for", "park", "--by", "kim"]
        wanted += ["--reason", "ill"]
        made = run("override", "add", "primary", *wanted)
        assert made.stdout == ("o1: lee is on call in primary for park from 2026-03-23 08:00 to 2026-03-30 07:00 UTC\n")
        sent = {"rotation": "primary", "member": "lee", "from": "mon 09:00", "to": "+9d", "for": "park"}
        sent |= {"reason": "ill", "by": "kim"}
        assert asked == [("POST", "/api/v1/overrides", sent)]
        assert run("override", "list").stdout.splitlines()[1] == (
            "o1  primary   lee     park  2026-03-23 08:00  2026-03-30 07:00  kim  ill"
        )
        assert json.loads(run("override", "list", "--json").stdout)["items"] == [OVERRIDE]
        assert run("override", "end", "o1").stdout == "o1: lee no longer stands in for park in primary\n"
        assert asked[-1] == ("DELETE", "/api/v1/overrides/o1", None)


class TestServing:
    @pytest.fixture(autouse=True)
    def signals(self) -> Iterator[None]:
        """What a gateway in this process does to signals ends with it."""
        before = signal.getsignal(signal.SIGTERM)
        yield
        signal.signal(signal.SIGTERM, before)

    @pytest.fixture
    def options(self, tmp_path: Path) -> Options:
        file = tmp_path / "routing.yaml"
        file.write_text(ROUTING.format(url="http://127.0.0.1:9"))
        return Options(file, f"sqlite:///{tmp_path}/tocsin.db", "127.0.0.1", free_port(), {"TOKEN": TOKEN})

    def test_control_c_ends_it_in_good_order(self, options: Options) -> None:
        """In this process: it serves until it is interrupted, and gives the port and the database back."""
        url, answered = f"http://{options.host}:{options.port}", []

        def interrupt() -> None:
            wait_for(lambda: answers(url))
            headers = {"authorization": f"Bearer {TOKEN}"}
            answered.append(
                httpx2.post(f"{url}/webhooks/scripts", json={"title": "x"}, headers=headers, trust_env=False)
            )
            os.kill(os.getpid(), signal.SIGINT)

        for _ in range(2):
            thread = threading.Thread(target=interrupt)
            thread.start()
            serve(options, config.load(options.config, options.environ))
            thread.join()
        assert [answer.status_code for answer in answered] == [202, 202]

    def test_a_database_that_cannot_be_opened_gives_the_port_back(self, options: Options, tmp_path: Path) -> None:
        (tmp_path / "tocsin.db").write_bytes(b"nothing of ours" * 99)
        for _ in range(2):
            with pytest.raises(TocsinError, match="cannot be used as a database"):
                serve(options, config.load(options.config, options.environ))

    def test_a_host_that_is_not_ours_is_refused(self, options: Options) -> None:
        for host in ("192.0.2.1", "2001:db8::1"):
            elsewhere = Options(options.config, options.database, host, options.port, options.environ)
            with pytest.raises(TocsinError, match="could not listen on"):
                serve(elsewhere, config.load(options.config, options.environ))

    def test_a_token_is_made_once_and_kept_for_the_owner(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("TOCSIN_TOKEN", raising=False)
        assert "TOCSIN_TOKEN" not in serving.environment()
        token = serving.own_token()
        assert len(token) >= 32
        assert serving.own_token() == token
        assert serving.environment()["TOCSIN_TOKEN"] == token
        assert (tmp_path / ".tocsin" / "token").stat().st_mode & 0o777 == 0o600
        monkeypatch.setenv("TOCSIN_TOKEN", "theirs")
        assert serving.environment()["TOCSIN_TOKEN"] == "theirs"

    def test_a_token_that_cannot_be_kept_is_said_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / ".tocsin").write_text("a file in the way")
        with pytest.raises(TocsinError, match="cannot be kept"):
            serving.own_token()

    @pytest.mark.parametrize("given", [None, "mine"])
    def test_the_greeting_says_where_to_send_and_how_to_page_the_terminal(
        self, tmp_path: Path, given: str | None
    ) -> None:
        (tmp_path / "routing.yaml").write_text(
            ROUTING.format(url="http://127.0.0.1:9").replace("{TOKEN}", "{TOCSIN_TOKEN}")
        )
        port = free_port()
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        environ.pop("TOCSIN_TOKEN", None)
        environ |= {"TOCSIN_TOKEN": given} if given else {}
        command = [sys.executable, "-m", "gateway", "serve", "--quickstart", "--port", str(port)]
        with (tmp_path / "stderr").open("wb") as log:
            process = subprocess.Popen(command, env=environ, cwd=tmp_path, stderr=log)
        try:
            wait_for(lambda: answers(f"http://127.0.0.1:{port}"))
        finally:
            process.terminate()
            process.wait(10)
        greeting = (tmp_path / "stderr").read_text()
        assert f"Tocsin listens on http://127.0.0.1:{port}. Sources:" in greeting
        assert f"http://127.0.0.1:{port}/webhooks/sentry   (asleep: set SENTRY)" in greeting
        token = "$TOCSIN_TOKEN" if given else (tmp_path / ".tocsin" / "token").read_text().strip()
        assert f"Authorization: Bearer {token}" in greeting
        assert "mine" not in greeting
