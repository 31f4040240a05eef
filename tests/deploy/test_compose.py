"""`compose.yaml`: one gateway as ever, or two on PostgreSQL behind a proxy; no password comes with it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from gateway.cli import main
from gateway.store.engines.sqlite import prepare
from tests.process import ROOT

TEXT = (ROOT / "compose.yaml").read_text()
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = FILE["services"]


def test_without_a_profile_there_is_the_one_gateway_alone() -> None:
    assert [name for name, service in SERVICES.items() if not service.get("profiles")] == ["tocsin"]
    assert {str(service["profiles"]) for name, service in SERVICES.items() if name != "tocsin"} == {"['cluster']"}
    assert "depends_on" not in SERVICES["tocsin"]


def test_both_gateways_are_alike_but_for_where_they_may_write() -> None:
    own = {"ports", "volumes", "tmpfs", "profiles", "depends_on"}
    first, second = ({k: v for k, v in SERVICES[name].items() if k not in own} for name in ("tocsin", "tocsin-2"))
    assert first == second
    # Without a database to share the second must refuse to start: it has nowhere to keep one of its own.
    assert "/data:ro" in SERVICES["tocsin-2"]["tmpfs"]
    assert SERVICES["tocsin-2"]["volumes"] == ["./config:/etc/tocsin:ro"]


ON_POSTGRESQL = "postgresql://tocsin:made-up@postgres/tocsin"


@pytest.mark.parametrize(
    ("environ", "database"),
    [
        ({}, ""),
        ({"POSTGRES_PASSWORD": ""}, ""),
        ({"POSTGRES_PASSWORD": "made-up"}, ON_POSTGRESQL),
        ({"POSTGRES_PASSWORD": "made-up", "TOCSIN_DATABASE": "postgresql://u@h/db"}, "postgresql://u@h/db"),
        ({"TOCSIN_DATABASE": "sqlite:////data/other.db"}, "sqlite:////data/other.db"),
    ],
)
def test_a_password_for_postgresql_is_enough_for_both_to_be_on_it(environ: dict[str, str], database: str) -> None:
    """Compose reads this as a shell does."""
    (asked,) = {SERVICES[name]["environment"]["TOCSIN_DATABASE"] for name in ("tocsin", "tocsin-2")}
    said = subprocess.run(["/bin/sh", "-c", f'printf %s "{asked}"'], env=environ, capture_output=True, check=True)
    assert said.stdout.decode() == database


def test_an_empty_variable_is_the_file_of_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = (ROOT / "Dockerfile").read_text()
    assert "TOCSIN_DATABASE=sqlite:////data/tocsin.db" in image
    assert "\nWORKDIR /data\n" in image
    monkeypatch.chdir(tmp_path)  # stands for it
    prepare(tmp_path / "tocsin.db")
    done = CliRunner().invoke(main, ["db", "backup", "copy.db"], env={"TOCSIN_DATABASE": ""})
    assert (done.exit_code, (tmp_path / "copy.db").exists()) == (0, True), done.output


def test_without_an_env_file_it_is_the_gateway_that_says_what_is_missing() -> None:
    assert SERVICES["tocsin"]["env_file"] == [{"path": ".env", "required": False}]


def test_nobody_outside_this_machine_reaches_a_port_and_no_two_share_one() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert len({port.rsplit(":", 1)[0] for port in ports}) == len(ports) == 2


def test_no_password_is_baked_in() -> None:
    assert SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD"] == "${POSTGRES_PASSWORD:-}"
    assert "POSTGRES_HOST_AUTH_METHOD" not in TEXT
    assert not re.search(r"postgresql://\w+:(?!\$\{POSTGRES_PASSWORD\}@)[^@\s]+@", TEXT)


def test_every_container_is_small_and_every_volume_is_declared() -> None:
    for name, service in SERVICES.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    assert all(SERVICES[name]["read_only"] is True for name in ("tocsin", "tocsin-2", "proxy"))
    named = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}
    assert {name for name in named if not name.startswith(".")} == set(FILE["volumes"])
    assert all((ROOT / name).exists() for name in named if name.startswith("./deploy"))
    assert all("healthcheck" in SERVICES[name] for name in ("postgres", "proxy"))  # the gateways': Dockerfile


@pytest.mark.parametrize(("profile", "started"), [([], 1), (["--profile", "cluster"], 4)])
def test_compose_itself_reads_it(profile: list[str], started: int, tmp_path: Path) -> None:
    compose = ["docker", "compose"]
    if shutil.which("docker") is None or subprocess.run([*compose, "version"], capture_output=True).returncode:  # noqa: PLW1510
        pytest.skip("docker compose is not installed: nothing but YAML's own parser reads compose.yaml in this run")
    shutil.copy(ROOT / "compose.yaml", tmp_path)
    (tmp_path / ".env").write_text("TOCSIN_TOKEN=made-up\n")
    asked = subprocess.run(
        [*compose, *profile, "config", "--services"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert len(asked.stdout.split()) == started
