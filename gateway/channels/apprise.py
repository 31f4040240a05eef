"""The services that have no file of their own here, through Apprise (github.com/caronc/apprise): one target a channel.

Apprise knows some 170 services but tells neither status nor cause of a failure, and blocks: it runs in
threads of ours (`_apprise_crew`), is overheard (`_apprise_listening`) and judged (`_apprise_verdict`). It is
imported only where a channel of this kind exists: that takes 0.2 s and 35 MiB. It cannot tell Retry-After,
edit a message or name one, so every change is a new message.
"""

from __future__ import annotations

import logging
import re
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import SecretStr, field_validator

from gateway.channels._apprise_crew import Crew, Fate
from gateway.channels._apprise_listening import hush, overheard
from gateway.channels._apprise_verdict import verdict
from gateway.contracts import ChannelSettings, Surroundings
from gateway.fields import Rate
from gateway.model import Message, Millis, Receipt, Ref, Retry, Severity, Unknown

if TYPE_CHECKING:
    import apprise

_LONGEST_CONNECT = 5.0
_SCHEME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9+.-]{0,30})://")
_ANOTHER = re.compile(r"[\s,]+[A-Za-z0-9][A-Za-z0-9+.-]{1,30}://")
_INVISIBLE = "\u200b"
_MENTION = re.compile(r"(?<![\w.])@(?=\w)|@(?=(?:everyone|here|channel|all)\b)", re.IGNORECASE)
# <!channel>, <@U1>, <#C1>, <@&role>, <https://…|text>: Slack, Mattermost, Discord, Google Chat.
_ANGLE = re.compile(r"<(?!\u200b)(?=[@!#]|[^<>\s|]{1,2000}\||https?:|mailto:|tel:)", re.IGNORECASE)
_HOST = re.compile(r"https?://(?:\[[0-9A-Fa-f:.]+\])?")


class Settings(ChannelSettings):
    """`kind: apprise`. `url` is one target in Apprise's writing, such as `discord://id/token`.

    What is longer than the service takes is cut: a message in several parts could be sent in halves and then
    again. `retry`, `optional`, `redirect`, `overflow`, `cto` and `rto` in the address have no effect here:
    this channel's own `timeout`, `optional` and the gateway's own retries take their place."""

    short_forms: ClassVar[bool] = False

    url: SecretStr

    @field_validator("url")
    @classmethod
    def _can_be_used(cls, url: SecretStr) -> SecretStr:
        service_at(url.get_secret_value(), timeout=10_000)
        return url


def connect(settings: Settings, surroundings: Surroundings) -> Apprise:
    return Apprise(settings, surroundings)


def service_at(url: str, timeout: Millis) -> apprise.NotifyBase:
    """Apprise's own object for one target, set so that one send is one attempt, cut to fit.

    Raises ValueError with a sentence that names no more of the address than its scheme."""
    hush()
    found = _SCHEME.match(url)
    if found is None:
        raise ValueError("is no address of a service; it begins like discord:// or ntfy://")
    scheme = found[1].lower()
    if _ANOTHER.search(url):
        raise ValueError("names several targets; write one channel for each, so that each is retried alone")
    _load()
    import apprise
    from apprise.exception import AppriseException

    try:
        service = apprise.Apprise.instantiate(url.strip(), asset=_asset(), suppress_exceptions=False)
    except (AppriseException, TypeError, ValueError, KeyError):
        # Their sentence repeats tokens.
        raise ValueError(f"{scheme}:// does not accept it; see the service's page in Apprise's wiki") from None
    if service is None:
        raise ValueError(_why_none(scheme))
    if _is_local(service):
        raise ValueError(f"{scheme}:// speaks to this machine only; name a service that reaches people")
    service.retry = 0
    if len(service) > 1:
        raise ValueError("names several targets; write one channel for each, so that each is retried alone")
    return _tamed(service, timeout / 1000)


def neutral(text: str) -> str:
    """Text that mentions nobody and hides no link, in the writings that Apprise's services share."""
    text = _MENTION.sub(f"@{_INVISIBLE}", text)
    text = _ANGLE.sub(f"<{_INVISIBLE}", text)
    return text.replace("](", f"]{_INVISIBLE}(")


def plain_address(url: str) -> str:
    """The same address, in which nothing can be taken for a mention or for a link with words of its own."""
    host = _HOST.match(url)
    start = host.end() if host else 0  # the brackets of an IPv6 address are no markup
    return url[:start] + re.sub(r"[@\[\]()<>|]", lambda sign: f"%{ord(sign[0]):02X}", url[start:])


class Apprise:
    """One target of Apprise's."""

    edits = False
    width = 4
    paces: tuple[Rate, ...] = (Rate(1, 1_000),)
    unknown_again: int | None = None

    def __init__(self, settings: Settings, _: Surroundings) -> None:
        self._seconds = settings.timeout / 1000
        self._service = service_at(settings.url.get_secret_value(), settings.timeout)
        self._crew: Crew[Receipt] = Crew(self.width)

    def escape(self, text: str) -> str:
        return neutral(text)

    async def send(self, message: Message, ref: Ref) -> Receipt:  # noqa: ARG002 - no service here can edit
        """Say it as a new message. A time-out is Unknown: the thread goes on and may yet deliver."""
        receipt = await self._crew.run(lambda: _told(self._service, message), self._seconds)
        if receipt is Fate.BUSY:
            return Retry("all threads for this channel are busy with earlier messages")
        if receipt is Fate.LATE:
            return Unknown(f"no end within {self._seconds:g} s")
        return receipt

    async def close(self) -> None:
        """Nothing to let go of: Apprise opens a connection for each message, and threads end by themselves."""


@cache
def _load() -> None:
    """Import Apprise and all its services, once."""
    with warnings.catch_warnings():
        # It imports what Python has deprecated: a matter for its authors, not for who reads our log.
        warnings.simplefilter("ignore", DeprecationWarning)
        from apprise.manager_plugins import NotificationManager

        known: Any = NotificationManager  # not annotated by Apprise
        known().schemas()


def _told(service: apprise.NotifyBase, message: Message) -> Receipt:
    import apprise

    title, body = _words(message)
    alone = apprise.Apprise(asset=service.asset)
    alone.add(service)
    with overheard() as statuses:
        result = alone.notify(
            body=body,
            title=title,
            notify_type=_tone(message),
            # Said aloud, so that a service that speaks HTML or Markdown escapes it.
            body_format=apprise.NotifyFormat.TEXT,
            log_level=logging.DEBUG,
        )
        lines = [entry.message for entry in result.logs()]
        return verdict(delivered=bool(result), statuses=statuses, lines=lines)


def _words(message: Message) -> tuple[str, str]:
    """Title and body. A channel's own template is in the service's markup already: used as it is."""
    title = neutral(message.title) if message.custom_title is None else message.custom_title
    if message.custom_body is None:
        facts = "\n".join(f"{label}: {value}" for label, value in message.facts)
        body = "\n".join(part for part in (neutral(facts), neutral(message.body), plain_address(message.url)) if part)
    else:
        body = message.custom_body
    body = "\n".join(part for part in (body, neutral(message.footer)) if part)
    # Apprise refuses a message without a body.
    return (title, body) if body.strip() else ("", title.strip() or message.incident.title)


def _tone(message: Message) -> Any:
    """The colour or sign that a service gives the message."""
    import apprise

    if message.incident.state == "resolved":
        return apprise.NotifyType.SUCCESS
    match message.incident.severity:
        case Severity.INFO:
            return apprise.NotifyType.INFO
        case Severity.WARNING:
            return apprise.NotifyType.WARNING
        case _:
            return apprise.NotifyType.FAILURE


def _tamed(service: apprise.NotifyBase, seconds: float) -> apprise.NotifyBase:
    import apprise

    # Its throttle sleeps in the thread, up to 5.5 s, and limits nothing between threads: pace is ours.
    service.request_rate_per_sec = 0
    service.optional = False
    service.redirects = False
    service.overflow_mode = apprise.OverflowMode.TRUNCATE
    service.socket_connect_timeout = min(seconds, _LONGEST_CONNECT)
    service.socket_read_timeout = seconds
    return service


def _asset() -> apprise.AppriseAsset:
    import apprise

    return apprise.AppriseAsset(
        app_id="Tocsin",
        app_desc="Tocsin",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        async_mode=False,
        service_timeout=0,
        http_redirects=False,
        storage_mode="memory",
        allow_templates=False,
        interpret_escapes=False,
        interpret_emojis=False,
    )


def _why_none(scheme: str) -> str:
    from apprise.manager_plugins import NotificationManager

    known: Any = NotificationManager  # not annotated by Apprise
    known = known()
    if scheme not in known:
        return f"{scheme}:// is no service of Apprise's; see the list in its wiki"
    if not known[scheme].enabled:
        return f"{scheme}:// needs a package or a system that this machine does not have"
    return f"{scheme}:// does not accept it; see the service's page in Apprise's wiki"


def _is_local(service: apprise.NotifyBase) -> bool:
    """Whether it sends to no host and with no credential: a desktop, a log, a lamp; or is code loaded from a file."""
    return service.category != "native" or "{schema}://" in service.templates
