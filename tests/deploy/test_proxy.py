"""The proxy's file with a real proxy: what one gateway cannot store, the other one is asked to."""

# ruff: noqa: ASYNC110  (nothing tells of what another process does)
from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from tests.process import ROOT, TOKEN, Gateway, free_port

ROUTING = """
sources:
  scripts: {adapter: generic, token: "${TOKEN}"}
channels:
  terminal: {kind: screen}
routes:
  - {name: all, to: [terminal]}
"""


@asynccontextmanager
async def proxy(folder: Path, first: int, second: int) -> AsyncIterator[httpx2.AsyncClient]:
    """HAProxy with the file that is shipped, its names put in for ports of this machine."""
    if (program := shutil.which("haproxy")) is None:
        pytest.skip("haproxy is not installed: nothing runs deploy/haproxy.cfg in this run")
    port = free_port()
    text = (ROOT / "deploy" / "haproxy.cfg").read_text()
    for name, mine in (
        ("bind :8080", f"bind 127.0.0.1:{port}"),
        ("tocsin:8080", f"127.0.0.1:{first}"),
        ("tocsin-2:8080", f"127.0.0.1:{second}"),
    ):
        assert name in text
        text = text.replace(name, mine)
    (folder / "haproxy.cfg").write_text(text)
    process = await asyncio.create_subprocess_exec(program, "-db", "-f", folder / "haproxy.cfg", stdout=-3, stderr=-3)
    headers = {"authorization": f"Bearer {TOKEN}"}
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False) as client:
            async with asyncio.timeout(10):
                while not await answers(client):
                    await asyncio.sleep(0.1)
            yield client
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()


async def answers(client: httpx2.AsyncClient) -> bool:
    with suppress(httpx2.TransportError):
        return (await client.get("/healthz")).status_code == 200
    return False


async def post(client: httpx2.AsyncClient, title: str) -> int:
    return (await client.post("/webhooks/scripts", json={"title": title})).status_code


def events(gateway: Gateway) -> int:
    return int(gateway.sql("SELECT count(*) FROM events")[0][0])


async def test_what_one_gateway_cannot_store_the_other_one_does(tmp_path: Path) -> None:
    gateways = []
    async with AsyncExitStack() as stack:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            gateways.append(await stack.enter_async_context(Gateway(tmp_path / name, ROUTING).running()))
        first, second = gateways
        client = await stack.enter_async_context(proxy(tmp_path, first.port, second.port))

        assert [await post(client, f"both {number}") for number in range(20)] == [202] * 20
        assert min(events(first), events(second)) > 0

        kept = events(second)
        first.starve(1)  # its disk is full: /readyz says so within a second or two, and until then it answers 503
        assert [await post(client, f"full {number}") for number in range(20)] == [202] * 20
        assert events(second) == kept + 20

        await first.end(signal.SIGKILL)
        assert [await post(client, f"dead {number}") for number in range(20)] == [202] * 20
        assert events(second) == kept + 40

        await first.start()
        before = events(first)
        async with asyncio.timeout(10):
            while events(first) == before:
                assert await post(client, "back") == 202
                await asyncio.sleep(0.1)

        second.starve(1)
        await first.end(signal.SIGTERM)
        await asyncio.sleep(3)  # until the proxy's own checks have seen both
        assert await post(client, "nobody is left") == 503
