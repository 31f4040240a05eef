"""The fields of a small JSON body, read one by one; all that is wrong is told at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request

from gateway.errors import BadField, BadFields
from gateway.rules.reading import clean
from gateway.web import queries

LONGEST_NAME: Final = 100
LONGEST_NOTE: Final = 2_000


class Form:
    """`given` is what was sent; null is as good as absent."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = {name: value for name, value in given.items() if value is not None}
        self._wrong: list[BadField] = []

    @classmethod
    async def of(cls, request: Request, *keys: str) -> Form:
        """Raises Refused where the body is no JSON object, or has another key."""
        return cls(await queries.document(request, set(keys)))

    def text(self, name: str, longest: int = LONGEST_NAME, *, needed: bool = False) -> str:
        """What stands there, without the space around it; '' where it is absent, or wrong."""
        value = self.given.get(name, "")
        if not isinstance(value, str):
            self.wrong(name, "must be text")
            return ""
        text = clean(value).strip()
        if len(text) > longest:
            self.wrong(name, f"must be at most {longest:,} characters long")
            return ""
        if needed and not text:
            self.wrong(name, "is needed")
        return text

    def wrong(self, path: str, sentence: str) -> None:
        """A field has one fault: the first that is found."""
        if all(error.path != path for error in self._wrong):
            self._wrong.append(BadField(path, sentence))

    def check(self) -> None:
        """Raises BadFields where anything was wrong."""
        if self._wrong:
            raise BadFields(self._wrong)
