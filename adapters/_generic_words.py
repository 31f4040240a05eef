"""What the words of strangers mean: which say that it burns, which that it is over, which how bad it is."""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

from gateway.model import Json, Severity

Verdict: TypeAlias = Literal["firing", "resolved"]

_OVER: Final = frozenset(
    (
        *("ok", "okay", "resolve", "resolved", "recover", "recovered", "recovery", "up", "online", "close", "closed"),
        *("clear", "cleared", "success", "successful", "succeeded", "normal", "healthy", "passed", "passing"),
        *("inactive", "deactivated", "fixed", "good", "operational", "green", "ended", "alive", "restored"),
        *("available", "solved", "reporting"),
    )
)
_BURNS: Final = frozenset(
    (
        *("firing", "alerting", "down", "offline", "fail", "fails", "failed", "failure", "failing", "error", "errored"),
        *("critical", "warning", "problem", "open", "opened", "new", "trigger", "triggered", "active", "activated"),
        *("missing", "unhealthy", "unreachable", "unavailable", "degraded", "timeout", "outage", "broken", "dead"),
        *("unresolved", "reopened", "not", "no", "unsuccessful", "breached", "exceeded", "expired", "expires"),
        *("expiring", "expiry", "stale", "unstable", "red", "disconnected", "fatal", "emergency"),
    )
)
_WORST: Final = frozenset(("down", "offline", "outage", "unreachable", "dead"))
_SOON: Final = frozenset(("expires", "expiring", "expiry", "degraded"))
# Something happened, and nothing is wrong: what a sender of plain events tells.
_CALM: Final = frozenset(
    (
        *("created", "updated", "deleted", "added", "removed", "changed", "completed", "complete", "finished", "done"),
        *("started", "running", "pending", "scheduled", "test", "testing", "info", "notice"),
    )
)
_ABOUT_A_PROBLEM: Final = frozenset(("alert", "alerts", "incident", "problem", "issue", "outage", "alarm"))
# Words that name no problem of their own: they may come and go between the failure and its end.
_NEUTRAL: Final = _ABOUT_A_PROBLEM | {"check", "monitor", "event", "status", "state", "notification"}
# Besides those that every severity knows. "alert" is none here: it is in the name of nearly everything.
_LEVELS: Final = {
    **dict.fromkeys(("sev1", "p2", "urgent"), Severity.ERROR),
    **dict.fromkeys(("sev2", "p3", "average", "degraded"), Severity.WARNING),
    **dict.fromkeys(("sev3", "sev4", "p4", "p5", "information", "informational", "normal", "trivial"), Severity.INFO),
    "disaster": Severity.CRITICAL,
    "blocker": Severity.CRITICAL,
}
_FEW: Final = 5
_LONGEST: Final = 500
_WORD = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_RECOVERED = re.compile(
    r"^\W*(?:ok|up|resolved|recovered|recovery|closed|cleared)\b\s*[\]:)–-]"
    r"|\[\W*(?:up|ok|resolved|recovered|closed|cleared)\W*\]"
    r"|\b(?:has|have) (?:been )?(?:recovered|resolved|cleared)\b"
    r"|\brecovered\b|\bis (?:now )?(?:resolved|back|up(?! to| for))\b|\bback to normal\b|\bback (?:up|online)\b",
    re.IGNORECASE,
)
_DENIED = re.compile(r"\b(?:not|never|cannot|can't|failed|unable|isn't|hasn't)\b", re.IGNORECASE)
_A_TEST = re.compile(r"(?:test|testing)(?: (?:webhook|notification|alert|message|event))", re.IGNORECASE)


def tokens(words: str) -> list[str]:
    """`ALERT_RECOVERY`, `check.down`, `alertRecovered` → the words in them, in lower case."""
    return [word.lower() for word in _WORD.findall(_HUMP.sub(" ", words[:_LONGEST]))]


def verdict(words: str) -> Verdict | None:
    """What a state, an action or a type says; None where it says neither, or is a whole sentence."""
    found = tokens(words)
    if not 0 < len(found) <= _FEW:
        return told_over(words)
    over = not _OVER.isdisjoint(found)
    if over and _BURNS.isdisjoint(found):
        return "resolved"
    if "not" in found or "no" in found:
        return "firing"
    # "problem resolved", "error cleared": the end is what is new.
    return "resolved" if over else ("firing" if not _BURNS.isdisjoint(found) else None)


def told_over(sentence: str) -> Verdict | None:
    """`resolved` where a sentence says beyond doubt that it is over. Careful: who is wrongly told "resolved"
    is told nothing at all."""
    # The beginning is enough, and a megabyte of brackets must not keep the expression busy.
    beginning = sentence[:_LONGEST]
    return "resolved" if _RECOVERED.search(beginning) and not _DENIED.search(beginning) else None


def flag(value: Json, good: bool) -> Verdict | None:
    """What `is_up: false`, `ok: 1`, `"down": "true"` say; `good`: whether true means that all is well."""
    if isinstance(value, str):
        value = value.strip().lower()
    if value in (True, 1, "true", "1", "yes"):
        return "resolved" if good else "firing"
    if value in (False, 0, "false", "0", "no"):
        return "firing" if good else "resolved"
    return None


def level(words: str) -> Severity | None:
    """How bad a severity or a priority says it is: the whole of it, else the last word in it that says so."""
    whole = Severity.read(words)
    if whole is not None:
        return whole
    for word in reversed(tokens(words)):
        found = _LEVELS.get(word) if word in _LEVELS or word == "alert" else Severity.read(word)
        if found is not None:
            return found
    return None


def level_of_state(words: str) -> Severity | None:
    """How bad a state is: `CRITICAL`, `down`, `certificate_expires_soon`; None where it says only that it is."""
    found = set(tokens(words)) if len(tokens(words)) <= _FEW else set()
    if found & _WORST:
        return Severity.CRITICAL
    if found & _SOON:
        return Severity.WARNING
    named = [known for word in found & _BURNS if (known := Severity.read(word)) is not None]
    return max(named, default=None)


def calm(words: str) -> bool:
    """Whether a type or a state only says that something happened: `contact.created`, `completed`."""
    found = set(tokens(words))
    return len(found) <= _FEW and bool(found & _CALM) and not found & (_ABOUT_A_PROBLEM | _BURNS)


def only_a_test(title: str) -> bool:
    return _A_TEST.fullmatch(title.strip()) is not None


def lasting(words: str) -> str:
    """The words without those that change between a failure and its end: `Test is DOWN` and `Test is UP` are
    the same. The words as they are where nothing in them changes, or nothing would be left."""
    found = tokens(words)
    kept = [word for word in found if word not in _OVER and word not in _BURNS and word not in ("has", "is", "from")]
    return " ".join(kept) if kept and not (_OVER | _BURNS).isdisjoint(found) else words


def lasting_kind(words: str) -> str:
    """What is left of a type without its state: `certificate_expires_soon` → `certificate soon`."""
    found = tokens(words)
    if len(found) > _FEW:
        return ""
    return " ".join(word for word in found if word not in _OVER | _BURNS | _NEUTRAL and not word.isdigit())
