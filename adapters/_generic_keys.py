"""Which keys strangers use for what, and the scalars of a document by those keys.

What stands higher in the document goes before what stands deeper; what tells about accounts, people and
projects is left aside, and credentials (`routing_key`, `token`, …) are never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from adapters import _shapes
from gateway.model import Json
from gateway.values import frozen

_DEEPEST: Final = 3
_MOST: Final = 400
_PLAIN = re.compile(r"[^a-z0-9]+")
_SECRET = re.compile(r"token|secret|passw|authori[sz]ation|credential|apikey|(?:routing|integration|private)key|cookie")
_ASIDE: Final = frozenset(
    (
        *("account", "accounts", "user", "users", "owner", "sender", "author", "actor", "organization", "company"),
        *("project", "team", "client", "integration", "source", "metadata", "meta", "recipient", "previous"),
        *("relationships", "first_probe", "second_probe", "contexts"),
    )
)

TITLES = ("title", "alerttitle", "eventtitle", "problemtitle", "incidenttitle", "headline", "heading")
NAMES = (
    *("name", "alertname", "rulename", "alertrule", "checkname", "monitorname", "monitorfriendlyname"),
    *("conditionname", "policyname", "servicename", "displayname", "jobname", "resourcename", "nodename"),
    *("monitor", "check", "service", "job", "task", "host", "hostname", "server", "device", "instance"),
)
WORDS = (
    *("message", "subject", "summary", "msg", "text", "alertmessage", "errormessage", "description"),
    *("alertdescription", "shortoutput", "output", "checkoutput", "details", "alertdetails", "cause", "reason"),
    *("error", "info", "content", "body"),
)
EVENTS = ("event", "alerttype", "eventtype", "eventaction", "type", "action", "actiontype", "rule", "status", "state")
TARGETS = ("url", "target", "checkurl", "monitorurl", "siteurl", "host", "hostname", "id", "dedupkey")
SEVERITIES = (
    *("severity", "level", "priority", "criticality", "importance", "importancelevel", "urgency", "loglevel"),
    *("alertlevel", "alertseverity", "eventseverity", "severityname", "levelname"),
)
STATES = (
    *("status", "state", "currentstate", "newstate", "alertstate", "alertstatus", "incidentstate", "incidentstatus"),
    *("monitorstatus", "monitorstate", "monitorcondition", "resolutionstate", "checkresult", "result", "outcome"),
    *("conclusion", "alerttransition", "transition", "eventaction", "action", "actiontype", "alerttype"),
    *("alerttypefriendlyname", "eventtype", "event", "type"),
)
UP = ("isok", "isup", "up", "healthy", "ishealthy", "stateisup")
WELL = ("issuccess", "success", "ok", "isresolved", "resolved")
DOWN = ("down", "isdown", "failed", "isfiring", "firing")
LINKS = (
    *("url", "link", "htmlurl", "weburl", "alerturl", "incidenturl", "issueurl", "problemurl", "alertdetailsurl"),
    *("detailsurl", "dashboardurl", "permalink", "linktoupstreamdetails", "monitorurl", "generatorurl", "ruleurl"),
    *("alertdetails", "target", "clienturl", "href", "runbookurl"),
)
SERVICES = (
    *("service", "servicename", "application", "applicationname", "app", "component", "host", "hostname", "nodename"),
    *("node", "servername", "server", "resourcename", "resource", "device", "impactedentity", "monitor"),
    *("monitorname", "monitorfriendlyname", "checkname", "sitename", "snitchname", "entity", "instance", "job"),
)
HOSTS = ("host", "hostname", "nodename", "servername", "server", "serveraddress", "instance")
ENVIRONMENTS = ("environment", "env", "environmentname", "deploymentenvironment", "stage")
KINDS = ("kind", "alerttype", "eventtype", "category", "type")
MOMENTS = (
    *("occurredat", "timestamp", "time", "datetime", "date", "ts", "startedat", "startsat", "startdate", "triggeredat"),
    *("firedat", "firstoccurrence", "createdat", "eventtime", "updatedat", "lastupdated", "statechangedtimestamp"),
)
NAMED_BY_SENDER = ("fingerprint", "dedupkey", "deduplicationkey", "incidentkey", "alias", "alertuid", "groupkey")
IDS = (
    *("incidentid", "problemid", "pid", "issueid", "monitorid", "checkid", "testid", "siteid"),
    *("domainnameid", "alertid"),
)


@frozen
class Found:
    """One scalar of the document: its key as written, its value, and the same as trimmed text."""

    key: str
    value: Json
    text: str


class Index:
    """The scalars of one document by the plain form of their keys, `monitor.url` also as `monitorurl`."""

    def __init__(self, document: Mapping[str, Json]) -> None:
        self._levels: dict[int, dict[str, Found]] = {}
        self.shown: list[Found] = []
        for depth, parent, key, value in _scalars(document):
            found = Found(key, value, _shapes.text(value))
            if not found.text or secret(key):
                continue
            level = self._levels.setdefault(depth, {})
            level.setdefault(plain(key), found)
            level.setdefault(plain(parent) + plain(key), found)
            if depth <= 1:
                self.shown.append(found)

    def all(self, keys: tuple[str, ...]) -> Iterator[Found]:
        """What stands under any of the keys: the highest first, then in the order of the keys."""
        for depth in sorted(self._levels):
            level = self._levels[depth]
            yield from (level[key] for key in keys if key in level)

    def first(self, keys: tuple[str, ...]) -> str:
        return next((found.text for found in self.all(keys)), "")

    def best(self, keys: tuple[str, ...]) -> str:
        """The same, but the order of the keys goes before the depth."""
        return _shapes.first(*(self.first((key,)) for key in keys))


def _scalars(document: Mapping[str, Json]) -> Iterator[tuple[int, str, str, Json]]:
    """(depth, key of the parent, key, value), the highest first, at most 400."""
    waiting: list[tuple[int, str, Mapping[str, Json]]] = [(0, "", document)]
    given = 0
    while waiting and given < _MOST:
        depth, parent, mapping = waiting.pop(0)
        for key, value in mapping.items():
            if isinstance(value, dict):
                if depth < _DEEPEST and key.lower() not in _ASIDE:
                    waiting.append((depth + 1, key, value))
            elif not isinstance(value, list):
                given += 1
                yield depth, parent, key, value


@lru_cache(maxsize=4_096)
def plain(key: str) -> str:
    """`Problem URL`, `problem_url`, `problemUrl` → `problemurl`."""
    return _PLAIN.sub("", key.lower())


def secret(key: str) -> bool:
    """Whether what stands under the key may be a credential."""
    return _SECRET.search(plain(key)) is not None
