"""Who may: a source by its own credential, an administrator by the token or, while none is set, from this
machine alone.

Everything is compared as bytes of equal length in constant time: `compare_digest` on text raises for a
non-ASCII header, which would be a 500 on demand for anybody.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import SecretStr
from starlette.requests import Request
from starlette.types import Scope

from gateway.config import Source
from gateway.errors import BadField, NotFound
from gateway.model import Millis
from gateway.telemetry import logger
from gateway.web.house import House
from gateway.web.problems import Refused

log = logger()

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
_PROXY_HEADERS = ("origin", "forwarded", "via")


def headers_of(scope: Scope) -> dict[str, str]:
    """Header names in lower case; the last of several wins."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def presented(headers: Mapping[str, str], in_path: str = "") -> list[str]:
    """The tokens a request shows: `Authorization: Bearer`, `X-API-Key`, or the last part of its path."""
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    shown = [bearer.strip() if scheme.lower() == "bearer" else "", headers.get("x-api-key", "")]
    return [token for token in (*map(_as_utf8, shown), in_path) if token]


def fits(shown: Iterable[str], wanted: Sequence[SecretStr]) -> bool:
    """Whether one of the tokens shown is one of those wanted, in time that depends on neither."""
    return any(_fitting(shown, wanted))


def authentic(source: Source, headers: Mapping[str, str], in_path: str, body: bytes, now: Millis) -> str:
    """The place of the credential that proves the request to come from its source, as `tocsin check` names it:
    `secret.1`, `token.0`; 'none' where the operator said that no proof is needed; '' where nothing proves it.

    By signature alone where it carries one and we have a secret, else by token."""
    settings, adapter = source.settings, source.adapter
    if settings.secret and adapter.signed(headers):
        return _place("secret", _signed_well(source, headers, body, now))
    place = _place("token", _fitting(presented(headers, in_path), settings.token))
    return place or ("none" if settings.unauthenticated else "")


def client_of(scope: Scope, trusted: Sequence[Any]) -> str:
    """The address that speaks to us; behind a trusted proxy, the nearest one it names that is none itself."""
    peer = scope["client"][0] if scope.get("client") else ""
    if not trusted or not within(peer, trusted):
        return peer
    # Each proxy may add a line of its own instead of a word: all lines are one list (RFC 9110 §5.3).
    lines = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    named = [part.strip() for part in ",".join(lines).split(",") if part.strip()]
    for address in reversed(named):
        if not within(address, trusted):
            return address if _address(address) is not None else peer
    return peer


def allowed(client: str, networks: Sequence[Any]) -> bool:
    return not networks or within(client, networks)


def require_admin(house: House, scope: Scope) -> None:
    """Raises Refused (401) unless an administrator asks."""
    if not is_admin(house, scope):
        raise Refused(401, "An administrator's token is needed: TOCSIN_ADMIN_TOKEN.", "no_admin", headers=_CHALLENGE)


def house_of(request: Request) -> House:
    house: House = request.app.state.house
    return house


def admins_house(request: Request) -> House:
    """The house, for an administrator. Raises Refused (401) for anybody else; NotFound or Refused (422) for a NUL:
    nothing is called so, and PostgreSQL takes none to look for."""
    house = house_of(request)
    require_admin(house, request.scope)
    if "\x00" in request.scope["path"]:
        raise NotFound("There is no such thing.")
    for name, value in request.query_params.multi_items():
        if "\x00" in value:
            raise Refused(422, f"{name} holds a NUL.", "bad_field", errors=[BadField(name, "holds a NUL")])
    return house


def is_admin(house: House, scope: Scope) -> bool:
    """With a token set, by that alone. Without one, only whoever sits at this machine: a loopback peer alone
    proves nothing behind a proxy, so Host must be local and no trace of a proxy or a browser's page be there."""
    headers = headers_of(scope)
    if house.admin_token:
        return fits(presented(headers), [SecretStr(house.admin_token)])
    peer = _address(scope["client"][0]) if scope.get("client") else None
    if peer is None or not (peer.is_loopback or _mapped_loopback(peer)):
        return False
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    if len(hosts) != 1 or hosts[0].lower().removesuffix(_port_of(hosts[0])) not in _LOCAL_HOSTS:
        return False
    return not any(name in _PROXY_HEADERS or name.startswith("x-forwarded-") for name in headers)


_CHALLENGE = {"www-authenticate": "Bearer"}


def _signed_well(source: Source, headers: Mapping[str, str], body: bytes, now: Millis) -> list[bool]:
    """Of each secret, whether it made the signature. All are asked: the time tells nobody which one it was.

    Catch-all 1 of 4: whatever a stranger's header does to a verifier, it is a bad credential."""
    good = []
    for secret in source.settings.secret:
        try:
            good.append(source.adapter.verify(headers, body, secret.get_secret_value(), now))
        except Exception:
            good.append(False)
            log.exception("verifier failed", source=source.name)
    return good


def _fitting(shown: Iterable[str], wanted: Sequence[SecretStr]) -> list[bool]:
    """Of each token wanted, whether it was shown. All are compared, for the same reason."""
    tokens = [_digest(token) for token in shown]
    fitting = []
    for secret in wanted:
        digest, found = _digest(secret.get_secret_value()), False
        for token in tokens:
            found |= hmac.compare_digest(token, digest)
        fitting.append(found)
    return fitting


def _place(kind: str, fitting: Sequence[bool]) -> str:
    """'secret.1' where the second of them fits, '' where none does."""
    return f"{kind}.{fitting.index(True)}" if any(fitting) else ""


def _as_utf8(shown: str) -> str:
    """Headers are read as Latin-1, but a token outside ASCII is sent as the UTF-8 that it was written in."""
    try:
        return shown if shown.isascii() else shown.encode("latin-1").decode()
    except UnicodeError:
        return shown


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def within(text: str, networks: Sequence[Any]) -> bool:
    """Whether an address lies in one of the networks; False for what is no address."""
    address = _address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address is not None and any(address in network for network in networks)


def _mapped_loopback(peer: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped is not None and peer.ipv4_mapped.is_loopback


def _port_of(host: str) -> str:
    """':8080' of 'localhost:8080', of '[::1]:8080'; '' where no port is named."""
    name, colon, port = host.rpartition(":")
    return f":{port}" if colon and port.isdigit() and (not name.count(":") or name.endswith("]")) else ""
