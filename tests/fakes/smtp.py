"""A mail server in this process, with a mail server's manners: it refuses whom it is told to refuse, wants
TLS or a login where told, hangs, hangs up, and keeps what it took."""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

CERTIFICATE = Path(__file__).with_name("localhost.pem")
"""For localhost and 127.0.0.1, signed by itself, with its key. Made for these tests alone:
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 36500 -nodes -subj /CN=localhost
-addext subjectAltName=DNS:localhost,IP:127.0.0.1"""


@dataclass
class Mail:
    """One letter that was taken, as its envelope and as it came."""

    sender: str
    to: list[str]
    raw: bytes

    @property
    def letter(self) -> EmailMessage:
        message = email.message_from_bytes(self.raw, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        return message


@dataclass
class FakeSmtp:
    """`recipients`: what RCPT answers for an address. `data`: what DATA answers, one a letter, then 250.

    Answers are whole replies such as '550 5.1.1 no such user'. `login`: the only pair that gets in.
    `tls`: 'starttls' demands it, 'implicit' speaks it from the start. `trouble`: 'hang' and 'hang up'
    happen after the letter came ('babble' is no SMTP), 'deaf' and 'busy' before the first word."""

    recipients: dict[str, list[str]] = field(default_factory=dict)
    mail: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    login: tuple[str, str] | None = None
    tls: Literal["starttls", "implicit", "none"] = "none"
    trouble: Literal["", "hang", "hang up", "deaf", "babble", "busy"] = ""
    mails: list[Mail] = field(default_factory=list)
    connections: int = 0
    replies: list[str] = field(default_factory=list)
    took: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Gives the port, on 127.0.0.1."""
        self._open: list[asyncio.BaseTransport] = []
        server = await asyncio.get_running_loop().create_server(
            self._talk, "127.0.0.1", 0, ssl=_context() if self.tls == "implicit" else None
        )
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for transport in self._open:
                transport.close()
            await asyncio.sleep(0.01)  # the conversations end by themselves

    def hang_up(self) -> None:
        """What a server does to a connection that says nothing for long."""
        for transport in self._open:
            transport.close()

    def _talk(self) -> asyncio.Protocol:
        self.connections += 1
        if self.trouble in ("deaf", "busy"):
            return _Unwilling(self._open, b"421 4.3.2 busy\r\n" if self.trouble == "busy" else b"")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of logins without TLS, which some tests want
            return _Server(
                self,
                hostname="mx.example",
                ident="fake",
                tls_context=_context() if self.tls == "starttls" else None,
                require_starttls=self.tls == "starttls",
                authenticator=self._authenticate if self.login else None,
                auth_required=self.login is not None,
                auth_require_tls=False,
            )

    def _authenticate(
        self, server: Any, session: Session, envelope: Envelope, mechanism: str, given: Any
    ) -> AuthResult:
        assert self.login is not None
        wanted = LoginPassword(*(text.encode() for text in self.login))
        return AuthResult(success=given == wanted, handled=False)

    async def handle_MAIL(  # noqa: N802
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.mail:
            return self.mail.pop(0)
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answers = self.recipients.get(address, [])
        if answers:
            return answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.original_content, bytes)
        if self.data:
            return self.data.pop(0)
        self.mails.append(Mail(envelope.mail_from or "", list(envelope.rcpt_tos), envelope.original_content))
        self.took.set()
        if self.trouble == "hang":
            await asyncio.Event().wait()
        if self.trouble == "hang up":
            assert server.transport is not None
            server.transport.abort()
        if self.trouble == "babble":
            return "OK thanks"
        return "250 OK"


class _Server(SMTP):
    def __init__(self, fake: FakeSmtp, **keys: Any) -> None:
        super().__init__(fake, **keys)
        self._fake = fake

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._fake._open.append(transport)
        super().connection_made(transport)

    async def push(self, status: str | bytes) -> None:
        self._fake.replies.append(status if isinstance(status, str) else status.decode())
        await super().push(status)


class _Unwilling(asyncio.Protocol):
    def __init__(self, transports: list[asyncio.BaseTransport], word: bytes) -> None:
        self._transports = transports
        self._word = word

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transports.append(transport)
        transport.write(self._word)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context
