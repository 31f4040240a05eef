"""Value objects: compared and hashed by what they hold, and never changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """A dataclass that is frozen in the eyes of the type checker, which `make check` asks, and of no one else.

    One that is frozen as it runs sets each field through `object.__setattr__`: making it takes three to five times as
    long, and an alert makes some forty of them on its way (docs/decisions/0020)."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
