"""The scalars of routing.yaml: every plain scalar comes as text and the field decides its type.

A validator's sentence must never contain the value: it may be a credential.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr

from gateway.model import Millis
from gateway.values import frozen

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_LONGEST: Millis = 36_500 * _UNITS_MS["d"]
_SIZES = {"": 1, "b": 1, "kib": 1024, "kb": 1000, "mib": 1024**2, "mb": 1000**2}
_SIZE = re.compile(r"(\d+)\s*([a-z]*)", re.IGNORECASE)
_RATE = re.compile(r"(\d+)/(s|m|h)")


class Settings(BaseModel):
    """One block of routing.yaml. Unknown keys are errors; values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


@frozen
class Rate:
    """At most `count` in any window of `window` milliseconds."""

    count: int
    window: Millis

    def __str__(self) -> str:
        unit = {1_000: "s", 60_000: "m", 3_600_000: "h"}.get(self.window, f"{self.window}ms")
        return f"{self.count}/{unit}"


def read_duration(text: object) -> Millis:
    """'30s', '5m', '4h', '7d', '250ms', '1h30m' → milliseconds."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    parts = _DURATION.findall(text) if isinstance(text, str) else []
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("is no duration; write it like 30s, 5m, 4h or 7d")
    lasts = sum(float(number) * _UNITS_MS[unit] for number, unit in parts)
    if lasts > _LONGEST:  # no sum of it with an hour fits a date, or the store
        raise ValueError("is too long to be meant; write it like 30s, 5m, 4h or 7d")
    return round(lasts)


def lasting(hint: str) -> AfterValidator:
    """A duration that means nothing where it is none; `hint` says what to write instead."""

    def check(lasts: Millis) -> Millis:
        if lasts <= 0:
            raise ValueError(f"is no time at all; {hint}")
        return lasts

    return AfterValidator(check)


def read_flag(value: object) -> bool:
    if value in (True, "true"):
        return True
    if value in (False, "false"):
        return False
    raise ValueError("must be true or false")


def read_size(text: object) -> int:
    """'256KiB', '1MiB', '500000' → bytes."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    match = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None or match[2].lower() not in _SIZES or int(match[1]) == 0:
        raise ValueError("is no size; write it like 256KiB or 1MiB")
    return int(match[1]) * _SIZES[match[2].lower()]


def read_rate(text: object) -> Rate:
    if isinstance(text, Rate):
        return text
    match = _RATE.fullmatch(text.replace(" ", "")) if isinstance(text, str) else None
    if match is None or int(match[1]) == 0:
        raise ValueError("is no rate; write it like 1/s, 20/m or 100/h")
    return Rate(int(match[1]), _UNITS_MS[match[2]])


def read_pace(text: object) -> tuple[Rate, ...]:
    """'1/s' → one rate to hold; 'none' → no limit of ours."""
    if isinstance(text, tuple):
        return text
    return () if text == "none" else (read_rate(text),)


def read_network(text: object) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(str(text))
    except ValueError:
        raise ValueError("is no network; write it like 10.0.0.0/8 or 2001:db8::/32") from None


def _many(value: object) -> object:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _http_url(text: str) -> str:
    if not re.fullmatch(r"https?://[^/?#\s]+\S*", text):
        raise ValueError("is no address; it must start with https:// or http://")
    return text.rstrip("/")


Duration: TypeAlias = Annotated[Millis, BeforeValidator(read_duration)]
Flag: TypeAlias = Annotated[bool, BeforeValidator(read_flag)]
Size: TypeAlias = Annotated[int, BeforeValidator(read_size)]
Pace: TypeAlias = Annotated[tuple[Rate, ...], BeforeValidator(read_pace)]
RateField: TypeAlias = Annotated[Rate, BeforeValidator(read_rate)]
Network: TypeAlias = Annotated[Any, BeforeValidator(read_network)]
HttpUrl: TypeAlias = Annotated[str, AfterValidator(_http_url)]
"""An http(s) origin and prefix as the operator wrote it, without a slash at the end."""
SecretUrl: TypeAlias = Annotated[SecretStr, AfterValidator(lambda s: SecretStr(_http_url(s.get_secret_value())))]
"""An address that is itself a credential, such as a Slack webhook's."""
Secrets: TypeAlias = Annotated[tuple[SecretStr, ...], BeforeValidator(_many)]
"""One secret, or a list of them while one is being rotated."""
Texts: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_many)]
"""One text or a list of them."""
