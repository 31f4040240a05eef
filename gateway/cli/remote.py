"""How commands speak to a running gateway: `TOCSIN_URL`, with `TOCSIN_TOKEN` or `TOCSIN_ADMIN_TOKEN`."""

from __future__ import annotations

import getpass
import os
from typing import Any
from urllib.parse import quote

from gateway.cli.serve import environment
from gateway.errors import TocsinError

DEFAULT_URL = "http://127.0.0.1:8080"


def quoted(name: str) -> str:
    return quote(name, safe="")


def address() -> str:
    """Where the gateway is, without a slash at the end."""
    return (os.environ.get("TOCSIN_URL") or DEFAULT_URL).rstrip("/")


def actor(by: str | None) -> str:
    """Who acts: who was named, $TOCSIN_USER, whoever is logged in, or 'cli' where nobody is."""
    if by or (by := os.environ.get("TOCSIN_USER")):
        return by
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a number without a name, as in a container
        return "cli"


class Gateway:
    """A running gateway. Every call raises TocsinError with the gateway's own sentence where it refuses."""

    def __init__(self) -> None:
        self._url = address()

    def get(self, path: str, query: dict[str, str] | None = None) -> Any:
        return self._call("GET", path, query, None, _admin())

    def post(self, path: str, body: Any = None) -> Any:
        return self._call("POST", path, None, body, _admin())

    def delete(self, path: str) -> Any:
        return self._call("DELETE", path, None, None, _admin())

    def send(self, alert: Any) -> Any:
        """A generic alert, with a source's token."""
        token = environment().get("TOCSIN_TOKEN", "")
        return self._call("POST", "/api/v1/alerts", None, alert, {"authorization": f"Bearer {token}"} if token else {})

    def _call(self, method: str, path: str, query: dict[str, str] | None, body: Any, headers: dict[str, str]) -> Any:
        import httpx2

        try:
            answer = httpx2.request(
                method, self._url + path, params=query, json=body, headers=headers, timeout=30, trust_env=False
            )
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise TocsinError(
                f"no gateway answers at {self._url} ({type(error).__name__}); is it running, is TOCSIN_URL right?"
            ) from None
        try:
            said = answer.json()
        except ValueError:
            said = None
        if answer.is_success and said is not None:
            return said
        raise TocsinError(_sentence(answer.status_code, said))


def _admin() -> dict[str, str]:
    token = os.environ.get("TOCSIN_ADMIN_TOKEN", "")
    return {"authorization": f"Bearer {token}"} if token else {}


def _sentence(status: int, said: Any) -> str:
    if isinstance(said, dict) and "detail" in said:
        wrong = "; ".join(f"{error['path']}: {error['message']}" for error in said.get("errors", []))
        return f"{status}: {wrong or said['detail']}"
    return f"{status}: the answer is none of a Tocsin gateway"
