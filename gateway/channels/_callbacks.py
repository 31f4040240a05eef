"""What comes back from a vendor, read with suspicion: once for all channels. Pure."""

from __future__ import annotations

import hmac
import json
import urllib.parse
from collections.abc import Mapping

from gateway.model import Json, Ref

MOST_FIELDS = 200


def same(shown: str, wanted: str) -> bool:
    """Whether two texts are the same, in time that tells nothing of the second; whatever stands in the first."""
    return hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), wanted.encode("utf-8", "surrogatepass"))


def form(body: bytes) -> list[tuple[str, str]]:
    """The pairs of a form in their order, blank values kept; [] for what is no form, or has over 200 fields."""
    try:
        return urllib.parse.parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        return []


def document(text: str | bytes) -> Mapping[str, Json]:
    """The JSON object; {} for anything else. Half a surrogate pair in it is a question mark."""
    try:
        found = json.loads(text)
        found = json.loads(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def within(found: Json, *path: str) -> Mapping[str, Json]:
    """The object at a path of keys; {} where there is none."""
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def text_of(found: Json, most: int = 255) -> str:
    """The text, one line of at most so many characters; '' for what is no text."""
    return " ".join(found.split())[:most] if isinstance(found, str) else ""


def agree(where: Mapping[str, Json], ref: Ref, *needed: str) -> bool:
    """Whether all that both name is the same, and both name what is needed."""
    if not all(where.get(key) and ref.get(key) for key in needed):
        return False
    return all(ref[key] == value for key, value in where.items() if key in ref)
