"""`kind: email`: a letter for each message over SMTP, threaded by incident.

All letters of an incident refer to one root that is never sent, and to the first that was. STARTTLS
is demanded, never "if you can", and certificates are checked against the system's authorities (or
those in `SSL_CERT_FILE`).
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import hashlib
import re
import ssl
import urllib.parse
from collections.abc import Callable, Iterable
from email.headerregistry import Address
from typing import Annotated, Any, ClassVar, Final, Literal

import aiosmtplib
from pydantic import AfterValidator, Field, SecretStr, model_validator

from gateway.channels._letter import Envelope, letter
from gateway.channels._smtp import OUT_OF_STEP, trouble
from gateway.contracts import ChannelSettings, Surroundings
from gateway.fields import Rate, Texts
from gateway.model import Message, Millis, Receipt, Ref, Rejected, Retry, Sent

_PORTS: Final = {"starttls": 587, "implicit": 465, "none": 25}
_IDLE_S: Final = 10.0
_GOODBYE_S: Final = 1.0
_SPEC: Final = re.compile(r"[!#-'*+\-/-9=?A-Z^-~.]+@(?:[A-Za-z0-9.-]+|\[[0-9A-Za-z:.]+\])")
_MESSAGE_ID: Final = re.compile(r"<[^\s<>]{1,250}>")


def _mailbox(text: str) -> str:
    found = email.utils.getaddresses([text])
    if len(found) != 1 or "\n" in text or "\r" in text:
        raise ValueError("is not one address; several are written as a list")
    if not _SPEC.fullmatch(found[0][1]):
        raise ValueError("is no address; write it like ops@example.com or Ops <ops@example.com>, in ASCII")
    return text


def _mailboxes(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not texts:
        raise ValueError("names nobody; write at least one address")
    return tuple(dict.fromkeys(_mailbox(text) for text in texts))


class Settings(ChannelSettings):
    """`tls`: starttls unless the port is 465, which means implicit. `port`: by `tls` 587, 465 or 25."""

    short_forms: ClassVar[bool] = False

    host: str = Field(pattern=r"^[^\s/@]+$")
    port: int | None = Field(default=None, ge=1, le=65_535)
    username: str | None = None
    password: SecretStr | None = None
    from_: Annotated[str, AfterValidator(_mailbox)] = Field(alias="from")
    to: Annotated[Texts, AfterValidator(_mailboxes)]
    tls: Literal["starttls", "implicit", "none"] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Settings:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password are written both or not at all")
        if self.tls == "starttls" and self.port == _PORTS["implicit"]:
            raise ValueError("port 465 speaks TLS from the start; leave tls out, or take port 587")
        return self

    @property
    def security(self) -> Literal["starttls", "implicit", "none"]:
        return self.tls or ("implicit" if self.port == _PORTS["implicit"] else "starttls")


def connect(settings: Settings, surroundings: Surroundings, idle_s: float = _IDLE_S) -> Email:
    """`idle_s`: how long a connection is kept for the next letter."""
    return Email(settings, surroundings, idle_s)


class Email:
    """One mail server, one connection at a time, kept for a while after a letter.

    `ref`: {"first": the first letter's id, "told": {"id": the message under way, "to": who has it}};
    people stand in it as hashes."""

    edits = False
    width = 1
    unknown_again: int | None = None
    # Whoever reads a letter can act on it, by links alone: nothing comes back over this channel itself.
    listens = True
    links = True

    def __init__(self, settings: Settings, surroundings: Surroundings, idle_s: float) -> None:
        self._idle_s = idle_s
        self.paces: tuple[Rate, ...] = settings.pace or ()
        self._settings = settings
        self._name = surroundings.name
        self._now: Callable[[], Millis] = surroundings.now
        self._from = _address(settings.from_)
        self._to = {address.addr_spec: address for address in map(_address, settings.to)}
        self._smtp: aiosmtplib.SMTP | None = None
        self._tls: ssl.SSLContext | None = None
        self._idle: asyncio.Task[None] | None = None
        self._talking = asyncio.Lock()

    def escape(self, text: str) -> str:
        return text  # templates are plain text here; the HTML half escapes them

    async def send(self, message: Message, ref: Ref) -> Receipt:
        """Retry carries who has it, so that nobody gets a letter twice because another's box was full."""
        if message.quiet:
            return Sent(ref, "no bell: no letter")
        told = _told(ref, message.id)
        rest = [spec for spec in self._to if _hash(spec) not in told]
        if not rest:
            return Sent(self._ref(message, ref))
        # A test from the API runs beside the lane: two letters at once would mix their commands up.
        async with self._talking:
            return await self._deliver(message, ref, rest)

    async def close(self) -> None:
        self._stay()
        await self._leave(0)

    async def _deliver(self, message: Message, ref: Ref, rest: list[str]) -> Receipt:
        """One letter to all of `rest`, as the only conversation on the connection."""
        words = letter(message, self._envelope(message, ref))
        handed_over = False
        self._stay()
        try:
            async with asyncio.timeout(self._settings.timeout / 1000):
                smtp = await self._connected()
                refused = await self._address(smtp, rest)
                if len(refused) < len(rest):
                    handed_over = True
                    await smtp.data(words)
        except (aiosmtplib.SMTPException, OSError) as error:  # TimeoutError is an OSError
            self._drop()
            return trouble(error, handed_over)
        except asyncio.CancelledError:
            self._drop()
            raise
        self._idle = asyncio.get_running_loop().create_task(self._leave(self._idle_s))
        return self._receipt(message, ref, rest, refused)

    def _ref(self, message: Message, ref: Ref) -> dict[str, Any]:
        first = ref.get("first")
        return {"first": first if isinstance(first, str) and _MESSAGE_ID.fullmatch(first) else self._id(message.id)}

    def _envelope(self, message: Message, ref: Ref) -> Envelope:
        own, first = self._id(message.id), self._ref(message, ref)["first"]
        root = self._id(f"{message.incident.id}.{self._name}")
        known = [root] if first == own else [root, first]
        return Envelope(self._from, list(self._to.values()), self._now(), own, known[-1], known)

    def _id(self, text: str) -> str:
        # Percent signs are letters here (RFC 5322 §3.2.3), colons and Korean are not.
        return f"<{urllib.parse.quote(text.replace(':', '.'), safe='')}@{self._from.domain}>"

    async def _connected(self) -> aiosmtplib.SMTP:
        """A connection with an empty envelope: the last one where the server still holds it."""
        if self._smtp is not None:
            try:
                await self._smtp.rset()
            except (aiosmtplib.SMTPException, OSError):
                self._drop()
            else:
                return self._smtp
        if self._tls is None and self._settings.security != "none":
            self._tls = await asyncio.to_thread(ssl.create_default_context)  # about 20 ms
        secret = self._settings.password
        self._smtp = aiosmtplib.SMTP(
            hostname=self._settings.host,
            port=self._settings.port or _PORTS[self._settings.security],
            username=self._settings.username,
            password=None if secret is None else secret.get_secret_value(),
            # Else the library asks the name service who we are, and waits for it.
            local_hostname=self._from.domain,
            timeout=self._settings.timeout / 1000,
            use_tls=self._settings.security == "implicit",
            start_tls=self._settings.security == "starttls",
            tls_context=self._tls,
        )
        await self._smtp.connect()
        return self._smtp

    async def _address(self, smtp: aiosmtplib.SMTP, recipients: Iterable[str]) -> dict[str, int]:
        """Write the envelope. Gives the code for each recipient that the server refused; raises where it is lost."""
        refused = {}
        await smtp.mail(self._from.addr_spec)
        for recipient in recipients:
            try:
                await smtp.rcpt(recipient)
            except aiosmtplib.SMTPRecipientRefused as refusal:
                if refusal.code == OUT_OF_STEP:
                    raise
                refused[recipient] = refusal.code
        return refused

    def _receipt(self, message: Message, ref: Ref, asked: list[str], refused: dict[str, int]) -> Receipt:
        told = _told(ref, message.id) | {_hash(spec) for spec in asked if spec not in refused}
        known = {**self._ref(message, ref), "told": {"id": message.id, "to": sorted(told)}} if told else None
        codes = "/".join(str(code) for code in sorted(set(refused.values())))
        said = f"{len(refused)} of {len(self._to)} recipients refused (SMTP {codes})"
        # 552 is said of too many recipients and of a full box: both pass. RFC 5321 §4.5.3.1.10
        if any(code // 100 != 5 or code == 552 for code in refused.values()):
            return Retry(said, ref=known)
        if not told:
            return Rejected(said)
        return Sent(self._ref(message, ref), missed=said if refused else "")

    def _stay(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _drop(self) -> None:
        smtp, self._smtp = self._smtp, None
        if smtp is not None:
            smtp.close()

    async def _leave(self, after: float) -> None:
        await asyncio.sleep(after)
        smtp, self._smtp = self._smtp, None
        if smtp is None:
            return
        try:
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                async with asyncio.timeout(_GOODBYE_S):
                    await smtp.quit()
        finally:
            smtp.close()


def _address(text: str) -> Address:
    name, spec = email.utils.getaddresses([text])[0]
    return Address(display_name=name, addr_spec=spec)


def _hash(spec: str) -> str:
    return hashlib.sha256(spec.encode()).hexdigest()[:16]


def _told(ref: Ref, message_id: str) -> frozenset[str]:
    """The hashes of those who have this very message."""
    match ref.get("told"):
        case {"id": str(known), "to": list(hashes)} if known == message_id:
            return frozenset(text for text in hashes if isinstance(text, str))
    return frozenset()
