"""The manifests: built by kubectl, judged by the schemas of Kubernetes, and true to what the gateway does."""

# ruff: noqa: ASYNC110  (this test has the loop for itself; nothing tells of what another process does)
from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import config, lanes
from tests.process import ROOT, Gateway
from tests.stage import until

FOLDER = ROOT / "deploy" / "kubernetes"
OLDEST = "1.30"
"""The first with `preStop.sleep` and `matchLabelKeys` on by default."""


def documents(folder: Path = FOLDER) -> list[dict[str, Any]]:
    files = [path for path in sorted(folder.glob("*.yaml")) if path.name not in ("kustomization.yaml", "routing.yaml")]
    return [document for path in files for document in yaml.safe_load_all(path.read_text())]


def the(kind: str) -> dict[str, Any]:
    (found,) = [document for document in documents() if document["kind"] == kind]
    return found


@pytest.fixture
def built(tmp_path: Path) -> list[dict[str, Any]]:
    """What `kubectl apply -k` would send, with the ingress taken in."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: nothing builds the kustomization in this run")
    folder = tmp_path / "kubernetes"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("secrets.env"))
    example = (folder / "secrets.example.env").read_text()
    (folder / "secrets.env").write_text(re.sub(r"=$", "=made-up", example, flags=re.MULTILINE))
    kustomization = folder / "kustomization.yaml"
    kustomization.write_text(kustomization.read_text().replace("# - ingress.yaml", "- ingress.yaml"))
    made = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(made.stdout))


def test_every_manifest_is_one_to_the_schemas_of_kubernetes() -> None:
    validator = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed: no schema judges the manifests in this run"
    )
    for version in (OLDEST, validator.latest_version()):
        for document in documents():
            validator.validate(document, version, strict=True)
    with pytest.raises(validator.ValidationError):
        validator.validate({**the("Service"), "spec": {"ports": "all"}}, OLDEST, strict=True)


def test_all_that_is_built_stands_in_one_namespace_and_finds_each_other(built: list[dict[str, Any]]) -> None:
    kinds = {document["kind"]: document for document in built}
    assert {document["metadata"].get("namespace") for document in built if document["kind"] != "Namespace"} == {
        "tocsin"
    }
    assert set(kinds) == {document["kind"] for document in documents()} | {"ConfigMap", "Secret"}
    pod = kinds["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": kinds["Secret"]["metadata"]["name"]}}]
    assert kinds["Secret"]["metadata"]["name"] != "tocsin-secrets"  # a new secret rolls the pods
    assert kinds["ConfigMap"]["metadata"]["name"] == "tocsin-routing"  # a new file does not
    assert pod["volumes"][0]["configMap"]["name"] == "tocsin-routing"
    assert container["image"] == f"tocsin:{version()}"


def test_without_secrets_nothing_is_built(tmp_path: Path) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: nothing builds the kustomization in this run")
    shutil.copytree(FOLDER, tmp_path / "k", ignore=shutil.ignore_patterns("secrets.env"))
    made = subprocess.run(["kubectl", "kustomize", str(tmp_path / "k")], capture_output=True, text=True, check=False)
    assert made.returncode != 0
    assert "secrets.env" in made.stderr


def version() -> str:
    return re.findall(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[0]


def test_the_pod_is_nobody_special_and_stops_no_earlier_than_the_gateway() -> None:
    pod = the("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert f"--uid {pod['securityContext']['runAsUser']} " in (ROOT / "Dockerfile").read_text()
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= before + lanes.DRAIN_SECONDS + lanes.CLOSE_SECONDS + 2
    # A pod without TOCSIN_DATABASE must not keep events in a file of its own.
    assert {"name": "nothing", "mountPath": "/data", "readOnly": True} in container["volumeMounts"]
    probes = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert probes == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}


def test_one_label_holds_all_together() -> None:
    label = {"app.kubernetes.io/name": "tocsin"}
    spec = the("Deployment")["spec"]
    assert spec["template"]["metadata"]["labels"] == label
    assert spec["selector"]["matchLabels"] == label
    assert the("Service")["spec"]["selector"] == label
    assert the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == label
    assert the("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == label
    assert {str(spread["labelSelector"]["matchLabels"]) for spread in pod_spreads()} == {str(label)}
    assert spec["replicas"] >= 2


def pod_spreads() -> list[dict[str, Any]]:
    return list(the("Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"])


def test_the_routing_file_is_one_and_every_variable_of_it_has_its_line_in_the_secrets() -> None:
    names = re.findall(r"^([A-Z_]+)=(.*)$", (FOLDER / "secrets.example.env").read_text(), re.MULTILINE)
    assert {value for _, value in names} == {""}, "a default that somebody would keep"
    environ = {name: f"https://hooks.example.com/{name.lower()}" for name, _ in names}
    assert config.load(FOLDER / "routing.yaml", environ).channels
    assert set(re.findall(r"\$\{([A-Z_]+)", (FOLDER / "routing.yaml").read_text())) <= set(environ)


# --- a ConfigMap and a Secret change as the kubelet does it ------------------------------------------------


class Mounted:
    """A folder as the kubelet keeps it: names lead over `..data` into a folder that is replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        folder.mkdir()

    def write(self, **files: str) -> None:
        self._number += 1
        new, old = self._folder / f"..2026_11_26_{self._number}", self._folder / f"..2026_11_26_{self._number - 1}"
        new.mkdir()
        for name, text in files.items():
            (new / name).write_text(text)
        link = self._folder / "..data_tmp"
        link.symlink_to(new.name)
        link.rename(self._folder / "..data")
        for name in files:
            if not (self._folder / name).is_symlink():
                (self._folder / name).symlink_to(f"..data/{name}")
        if old.exists():
            shutil.rmtree(old)


ROUTING = """
sources:
  scripts: {adapter: generic, token: "${file:%s}"}
channels:
  terminal: {kind: screen}
routes:
  - {name: %s, to: [terminal]}
"""


async def test_a_running_gateway_takes_what_the_kubelet_switches_to(tmp_path: Path) -> None:
    routing, secrets = Mounted(tmp_path / "etc"), Mounted(tmp_path / "secrets")
    token = tmp_path / "secrets" / "token"
    secrets.write(token="a-token-of-scripts")
    routing.write(**{"routing.yaml": ROUTING % (token, "first")})
    gateway = Gateway(tmp_path, "")
    gateway.config = tmp_path / "etc" / "routing.yaml"

    async def hash_of_it() -> str:
        return str((await gateway.get("/readyz"))["configuration"]["hash"])

    async def changes(before: str) -> str:
        async with asyncio.timeout(4):
            while (now := await hash_of_it()) == before:
                await asyncio.sleep(0.1)
        return now

    async with gateway.running():
        first = await hash_of_it()
        routing.write(**{"routing.yaml": ROUTING % (token, "second")})
        second = await changes(first)
        routing.write(**{"routing.yaml": "routes: [of nonsense]"})
        await until(lambda: "refused" in gateway.log, 4)
        assert await hash_of_it() == second
        routing.write(**{"routing.yaml": ROUTING % (token, "third")})
        await changes(second)
        secrets.write(token="t0ken-of-scripts")
        await until_answered(gateway, 202)


async def until_answered(gateway: Gateway, status: int) -> None:
    async with asyncio.timeout(4):
        while (await gateway.post({"title": "disk"})).status_code != status:
            await asyncio.sleep(0.1)
