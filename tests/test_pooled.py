"""Behind PgBouncer in transaction mode: nothing is kept in a session, so nothing goes wrong when it is another's."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.errors import TocsinError
from gateway.store.engines.postgresql_schema import prepare
from tests.fakes.receiver import Receiver
from tests.postgres import unprivileged
from tests.process import free_port
from tests.stage import until
from tests.test_replicas import post, replicas

SETTINGS = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
auth_type = any
pool_mode = transaction
default_pool_size = 4
max_client_conn = 100
unix_socket_dir =
"""
PROGRAM = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")


@pytest.fixture
def pooled_url(postgres_url: str, tmp_path: Path) -> Iterator[str]:
    if PROGRAM is None:
        pytest.skip("pgbouncer is not installed")
    there, own = urlsplit(postgres_url), free_port()
    settings = tmp_path / "pgbouncer.ini"
    user = f"user={there.username}"
    text = SETTINGS.format(host=there.hostname, port=there.port, own=own)
    settings.write_text(text.replace(f"port={there.port}", f"port={there.port} {user}"))
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    process = subprocess.Popen(
        [PROGRAM, str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **unprivileged()
    )
    try:
        yield f"postgresql://{there.username}@127.0.0.1:{own}{there.path}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)


async def test_two_gateways_share_four_connections_of_a_pooler(tmp_path: Path, pooled_url: str) -> None:
    receiver = Receiver()
    await until(lambda: _reached(pooled_url), 10)
    assert (await asyncio.to_thread(prepare, pooled_url)).pooled
    async with (
        receiver.listening() as url,
        replicas(tmp_path, pooled_url, url) as (one, other),
        one.client() as first,
        other.client() as second,
    ):
        for number in range(20):
            client = (first, second)[number % 2]
            answers = await asyncio.gather(*(post(client, f"disk {number} {part}") for part in range(8)))
            assert [answer.status_code for answer in answers] == [202] * 8
        await until(lambda: len(receiver.heard) >= 160, 30)
        assert "prepared statement" not in one.log + other.log
    said = [(heard.document["incident"]["id"], heard.document["change"]["revision"]) for heard in receiver.heard]
    assert (len(said), len(set(said))) == (160, 160)


async def _reached(url: str) -> bool:
    try:
        await asyncio.to_thread(prepare, url)
    except TocsinError:
        return False
    return True
