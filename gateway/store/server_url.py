"""The URL of a PostgreSQL, read by libpq's own parser, and fit to be shown.

What cannot be read is never repeated: libpq's own words quote the text with the password in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from gateway.errors import TocsinError
from gateway.values import frozen

_NAMED: Final = ("postgresql:", "postgres:", "postgresql+")
_AS_LIBPQ_TAKES_IT: Final = ("postgresql://", "postgres://")
_OF_SQLALCHEMY: Final = "postgresql+psycopg://"
_SECRET: Final = frozenset({"password", "sslpassword"})
_UNREADABLE: Final = (
    "the database's URL cannot be read; write it like postgresql://user@host/name, with %-escapes for what is special "
    "in the password"
)


@frozen
class ServerUrl:
    """`url`: as libpq takes it, with its secrets. `shown`: the same database, without them."""

    url: str
    shown: str


def names_server(url: str) -> bool:
    """Whether a PostgreSQL is meant; the URL may be wrong all the same."""
    return url.startswith(_NAMED)


def server_url(url: str) -> ServerUrl:
    """Raises TocsinError in one fixed sentence for what cannot be read, or would be read otherwise than meant."""
    if url.startswith(_OF_SQLALCHEMY):
        url = "postgresql://" + url.removeprefix(_OF_SQLALCHEMY)
    parts = _parts(url) if url.startswith(_AS_LIBPQ_TAKES_IT) else None
    if parts is None or _split_in_the_password(url, parts):
        raise TocsinError(_UNREADABLE)
    return ServerUrl(url, _shown({name: value for name, value in parts.items() if name not in _SECRET}))


def _parts(url: str) -> Mapping[str, str] | None:
    """What it says by libpq's names for it; None where libpq cannot read it."""
    import psycopg  # 60 ms, which a gateway on SQLite need not pay
    from psycopg.conninfo import conninfo_to_dict

    try:
        return {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except (psycopg.ProgrammingError, ValueError):  # the latter: bytes that are no UTF-8
        return None


def _split_in_the_password(url: str, parts: Mapping[str, str]) -> bool:
    """Whether a raw / or @ of the password has made a part of it the host, the port or the name, which are shown."""
    before, _, behind = url.partition("://")[2].partition("/")
    asked = before.rpartition("@")[2].partition("?")[2]
    path = "" if asked else behind.partition("?")[0]  # a ? before the / begins the query, and the / is within that
    host = parts.get("host", "")
    if f"{asked}/{behind}".find("host=@") >= 0:
        host = host.removeprefix("@")  # the name of an abstract socket
    ports = parts.get("port", "").split(",")
    return "@" in host or "@" in path or not all(port.isdecimal() for port in ports if port)


def _shown(parts: Mapping[str, str]) -> str:
    rest = dict(parts)
    user, name = (quote(rest.pop(part, ""), safe="") for part in ("user", "dbname"))
    where = ""
    # Several hosts, or a socket's folder, follow in the query.
    if not any(mark in rest.get("host", "") for mark in "/,"):
        host, port = rest.pop("host", ""), rest.pop("port", "")
        where = (f"[{quote(host, safe=':')}]" if ":" in host else quote(host, safe="")) + (f":{port}" if port else "")
    asked = "&".join(f"{key}={quote(value, safe='/,:')}" for key, value in rest.items())
    return f"postgresql://{user}{'@' if user else ''}{where}/{name}" + (f"?{asked}" if asked else "")
