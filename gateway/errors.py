"""Refusals and faults with a name. Expected failures of a send are values (`model.Receipt`), not exceptions."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.values import frozen


class TocsinError(Exception):
    """What went wrong in one sentence fit for a user: what, where, what to do; never a secret."""


class BadCredential(TocsinError):
    """The request does not prove that it comes from its source: 401, nothing stored."""


class NotJson(TocsinError):
    """The body is no JSON we read (syntax, encoding, depth): 400."""


class WrongType(TocsinError):
    """The content type or content encoding is none that the source reads: 415."""


class TooLarge(TocsinError):
    """The body is over the source's cap: 413."""


class Unreadable(TocsinError):
    """The body is JSON, but of no shape that the adapter knows: kept, shown and replayable."""


class BadField(TocsinError):
    """A field of a generic alert is wrong. `path` names it: `severity`, `labels.team`."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


class BadFields(TocsinError):
    """Several fields of a generic alert are wrong: each is named."""

    def __init__(self, errors: Iterable[BadField]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(f"{error.path}: {error.message}" for error in self.errors))


class StoreUnavailable(TocsinError):
    """Nothing can be written now: 503. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotFound(TocsinError):
    """No such thing: 404."""


class Conflict(TocsinError):
    """The thing is not in a state that allows this: 409."""


@frozen
class Problem:
    """One thing wrong in a configuration file. `line` counts from 1; 0 where no line can be named."""

    file: str
    line: int
    path: str
    what: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        return f"{place}{self.path}: {self.what}" if self.path else f"{place}{self.what}"


class BadConfiguration(TocsinError):
    """The file cannot be used. Carries every problem found, not only the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
