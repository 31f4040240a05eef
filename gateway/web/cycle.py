"""A request and its answer, as uvicorn has them; but an answer that is whole goes out in one piece."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle

_OWN_WAY = (b"connection", b"transfer-encoding")


class Cycle(RequestResponseCycle):
    """The head of an answer waits for its body: nearly all of ours come in one piece, of a length that is told. What
    does not, uvicorn sends as ever."""

    _head: Any = None

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start" and not self.response_started:
            self._head = message
            return
        head, self._head = self._head, None
        if head is not None:
            if self._at_once(head, message):
                return
            await super().send(head)
        await super().send(message)

    def _at_once(self, head: Any, message: Any) -> bool:
        """Whether head and body could be sent as one piece, and are."""
        if not self.keep_alive or self.disconnected or self.flow.write_paused or self.access_log:
            return False
        if message["type"] != "http.response.body" or message.get("more_body") or self.scope["method"] == "HEAD":
            return False
        body, length = message.get("body", b""), -1
        lines = [STATUS_LINE[head["status"]]]
        for name, value in (*self.default_headers, *head.get("headers", ())):
            line = _line(name, value)
            if not line:
                return False
            lines.append(line)
            if name == b"content-length":
                length = int(value)
        if length != len(body):
            return False
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.write(b"".join((*lines, b"\r\n", body)))
        self.message_event.set()
        self.on_response()
        return True


@lru_cache(maxsize=256)
def _line(name: bytes, value: bytes) -> bytes:
    """One line of a head, for they are few; b"" where it changes how the answer is sent. Raises RuntimeError where it
    could be read as two lines."""
    if HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
        raise RuntimeError("Invalid HTTP header.")
    name = name.lower()
    return b"" if name in _OWN_WAY else name + b": " + value + b"\r\n"
