"""Every table, once for both engines. Instants are BIGINT milliseconds; JSON is text that we write ourselves.

A change here needs a new numbered file in `migrations/versions`; a test holds the two against each other.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

HEAD = "0004"
"""The newest file in `migrations/versions`."""

VERSION_TABLE = "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
"""As Alembic would make it."""

metadata = sa.MetaData()


def word(text: str) -> sa.ColumnElement[Any]:
    """A state's name as part of the statement: a partial index is used only where its condition stands in the
    statement to the letter, and a bound value does not."""
    return sa.literal_column(f"'{text}'")


def apart(column: sa.ColumnElement[Any], nothing: Any = "") -> sa.ColumnElement[Any]:
    """The column's value, out of every index's sight: for a condition or an order by which the engine must not choose
    its way, for it knows no numbers and would take the one that is longest."""
    return sa.func.coalesce(column, nothing)


events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("adapter", sa.Text, nullable=False),
    sa.Column("received_at", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("headers", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
sa.Index(
    "events_waiting",
    events.c.id,
    sqlite_where=events.c.state == word("waiting"),
    postgresql_where=events.c.state == word("waiting"),
)
sa.Index(
    "events_unreadable",
    events.c.source,
    events.c.id,
    sqlite_where=events.c.state == word("unreadable"),
    postgresql_where=events.c.state == word("unreadable"),
)
sa.Index("events_source", events.c.source, events.c.id)

seen = sa.Table(
    "seen",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index("seen_until", seen.c.until)

incidents = sa.Table(
    "incidents",
    metadata,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("adapter", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("severity", sa.SmallInteger, nullable=False),
    sa.Column("worst", sa.SmallInteger, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("service", sa.Text, nullable=False),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("labels", sa.Text, nullable=False),
    sa.Column("fields", sa.Text, nullable=False),
    sa.Column("value", sa.Float),
    sa.Column("occurred_at", sa.BigInteger),
    sa.Column("opened_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Column("acknowledged_at", sa.BigInteger),
    sa.Column("acknowledged_by", sa.Text, nullable=False),
    sa.Column("resolved_at", sa.BigInteger),
    sa.Column("unrouted", sa.Boolean, nullable=False),
    sa.Column("muted_by", sa.Text, nullable=False),
    sa.Column("assigned_to", sa.Text, nullable=False),
    sa.Column("previous", sa.Text, nullable=False),
    sa.Column("momentary", sa.Boolean, nullable=False),
    sa.Column("fired_at", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("firing_since", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("moves", sa.Text, nullable=False, server_default="[]"),
    sqlite_autoincrement=True,
)
LIVING = incidents.c.state != word("resolved")
sa.Index(
    "incidents_living",
    incidents.c.source,
    incidents.c.fingerprint,
    unique=True,
    sqlite_where=LIVING,
    postgresql_where=LIVING,
)
sa.Index("incidents_key", incidents.c.source, incidents.c.fingerprint, incidents.c.number)
sa.Index("incidents_opened", incidents.c.opened_at, incidents.c.id)
sa.Index("incidents_state", incidents.c.state, incidents.c.opened_at, incidents.c.id)
sa.Index("incidents_source", incidents.c.source, incidents.c.opened_at, incidents.c.id)
sa.Index("incidents_service", incidents.c.service, incidents.c.opened_at, incidents.c.id)
sa.Index("incidents_updated", incidents.c.updated_at, incidents.c.id)
sa.Index("incidents_severity", incidents.c.severity, incidents.c.opened_at, incidents.c.id)

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("incident_id", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("alert", sa.Text, nullable=False),
)
sa.Index("alerts_event", alerts.c.event_id)
sa.Index("alerts_incident", alerts.c.incident_id, alerts.c.id)

changes = sa.Table(
    "changes",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("incident_id", sa.Text, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("severity", sa.SmallInteger, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("decision", sa.Text),
    sa.Column("via", sa.Text, nullable=False, server_default=""),
)
sa.Index("changes_incident", changes.c.incident_id, changes.c.revision, unique=True)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("incident_id", sa.Text, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("route", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    # 1 goes before others; -1 was taken back while it was being said.
    sa.Column("urgent", sa.SmallInteger, nullable=False),
    sa.Column("wanted", sa.Integer, nullable=False),
    sa.Column("said", sa.Integer, nullable=False),
    sa.Column("promised_at", sa.BigInteger, nullable=False),
    sa.Column("due_at", sa.BigInteger, nullable=False),
    sa.Column("lease_until", sa.BigInteger, nullable=False),
    sa.Column("token", sa.Integer, nullable=False),
    sa.Column("unsettled", sa.SmallInteger, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("unknowns", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("ref", sa.Text, nullable=False),
    sa.Column("is_digest", sa.Boolean, nullable=False, server_default="0"),
    sa.Column("digest", sa.Text, nullable=False, server_default=""),
    sa.Column("person", sa.Text, nullable=False, server_default=""),
    sa.Column("said_at", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("said_severity", sa.SmallInteger),
    sa.Column("spoken", sa.Integer, nullable=False, server_default="0"),
    sa.Column("reached", sa.Text, nullable=False, server_default="unknown"),
    sa.Column("remind", sa.Integer, nullable=False, server_default="0"),
)
sa.Index("deliveries_pair", deliveries.c.incident_id, deliveries.c.channel, unique=True)
sa.Index("deliveries_channel", deliveries.c.channel, deliveries.c.id)
sa.Index(
    "deliveries_due",
    deliveries.c.channel,
    deliveries.c.urgent.desc(),
    deliveries.c.due_at,
    deliveries.c.id,
    sqlite_where=deliveries.c.state == word("waiting"),
    postgresql_where=deliveries.c.state == word("waiting"),
)
sa.Index(
    "deliveries_told",
    deliveries.c.channel,
    deliveries.c.said_at,
    sqlite_where=deliveries.c.said_at > sa.literal_column("0"),
    postgresql_where=deliveries.c.said_at > sa.literal_column("0"),
)
sa.Index(
    "deliveries_failed",
    deliveries.c.channel,
    deliveries.c.id,
    sqlite_where=deliveries.c.state == word("failed"),
    postgresql_where=deliveries.c.state == word("failed"),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("delivery_id", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("receipt", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("took", sa.Integer, nullable=False),
)
sa.Index("attempts_delivery", attempts.c.delivery_id, attempts.c.id)

timers = sa.Table(
    "timers",
    metadata,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("due_at", sa.BigInteger, nullable=False),
    sa.Column("wall", sa.Boolean, nullable=False),
    sa.Column("about", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index("timers_due", timers.c.due_at, timers.c.subject, timers.c.kind, timers.c.name)
sa.Index("timers_name", timers.c.kind, timers.c.name)

silences = sa.Table(
    "silences",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("match", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),
    sa.Column("made_at", sa.BigInteger, nullable=False),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
)
sa.Index("silences_until", silences.c.until)

overrides = sa.Table(
    "overrides",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("rotation", sa.Text, nullable=False),
    sa.Column("member", sa.Text, nullable=False),
    sa.Column("instead_of", sa.Text, nullable=False),
    sa.Column("begin", sa.BigInteger, nullable=False),
    sa.Column("end", sa.BigInteger, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
)
sa.Index("overrides_end", overrides.c.end)

marks = sa.Table(
    "marks",
    metadata,
    sa.Column("mark", sa.Text, primary_key=True),
    sa.Column("incident_id", sa.Text, primary_key=True),
    sqlite_with_rowid=False,
)
sa.Index("marks_incident", marks.c.incident_id)

digests = sa.Table(
    "digests",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("route", sa.Text, nullable=False),
    sa.Column("opened_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("worst", sa.SmallInteger, nullable=False),
    sa.Column("members", sa.Integer, nullable=False),
    sa.Column("open", sa.Integer, nullable=False),
    sa.Column("closed", sa.Boolean, nullable=False),
)
OPEN = digests.c.closed == sa.false()
sa.Index("digests_key", digests.c.key, sqlite_where=OPEN, postgresql_where=OPEN)

members = sa.Table(
    "members",
    metadata,
    sa.Column("digest_id", sa.Text, primary_key=True),
    sa.Column("incident_id", sa.Text, primary_key=True),
    sqlite_with_rowid=False,
)
sa.Index("members_incident", members.c.incident_id, members.c.digest_id)

spent = sa.Table(
    "spent",
    metadata,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("at", sa.BigInteger, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("extra", sa.Boolean, nullable=False),
    sqlite_with_rowid=False,
)

routings = sa.Table(
    "routings",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("routes", sa.Text, nullable=False),
)

lanes = sa.Table(
    "lanes",
    metadata,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("starts", sa.Text, nullable=False),
    sa.Column("rest_until", sa.BigInteger, nullable=False),
)

replicas = sa.Table(
    "replicas",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("configuration", sa.Text, nullable=False),
    sa.Column("refused", sa.Boolean, nullable=False),
    sa.Column("started_at", sa.BigInteger, nullable=False),
    sa.Column("seen_at", sa.BigInteger, nullable=False),
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

beats = sa.Table(
    "beats",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
)
