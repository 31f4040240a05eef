"""A wire between two programs that can be cut: bytes go through, or into a black hole, or the connection is reset."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

Mode = Literal["pass", "hole", "reset"]


class Wire:
    """To a port of this machine. `mode` may be changed at any time; `reset` also ends what is open."""

    def __init__(self, to: int) -> None:
        self._to = to
        self.port = 0
        self.mode: Mode = "pass"
        self._open: set[asyncio.StreamWriter] = set()
        self._whole = asyncio.Event()
        self._whole.set()

    def cut(self, mode: Mode) -> None:
        self.mode = mode
        if mode == "pass":
            self._whole.set()
            return
        self._whole.clear()
        if mode == "reset":
            for writer in list(self._open):
                reset(writer)

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[Wire]:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.cut("reset")
            server.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if self.mode == "reset":
                reset(writer)
                return
            await self._whole.wait()  # a black hole takes the connection and says nothing
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
            self._open.add(back)
            await asyncio.gather(self._pour(reader, back), self._pour(there, writer))
        except OSError:
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _pour(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(65_536):
                await self._whole.wait()
                writer.write(piece)
                await writer.drain()
        self._open.discard(writer)
        writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """Not a goodbye, but a RST."""
    with suppress(OSError):
        raw = writer.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
