"""Quiet and paging: timers, silences, overrides, marks, digests, what a storm budget spent, and keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _more_columns()
    _timers()
    _wishes()
    _digests()
    op.create_table(
        "routings",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("routes", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "keys",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    # What was opened by an older version has fired and has been firing since then.
    op.execute("UPDATE incidents SET fired_at = updated_at, firing_since = opened_at")


def _more_columns() -> None:
    for table, column in (
        ("incidents", sa.Column("fired_at", sa.BigInteger(), nullable=False, server_default="0")),
        ("incidents", sa.Column("firing_since", sa.BigInteger(), nullable=False, server_default="0")),
        ("incidents", sa.Column("moves", sa.Text(), nullable=False, server_default="[]")),
        ("changes", sa.Column("via", sa.Text(), nullable=False, server_default="")),
        ("deliveries", sa.Column("is_digest", sa.Boolean(), nullable=False, server_default="0")),
        ("deliveries", sa.Column("digest", sa.Text(), nullable=False, server_default="")),
        ("deliveries", sa.Column("person", sa.Text(), nullable=False, server_default="")),
        ("deliveries", sa.Column("said_at", sa.BigInteger(), nullable=False, server_default="0")),
        ("deliveries", sa.Column("said_severity", sa.SmallInteger(), nullable=True)),
        ("deliveries", sa.Column("spoken", sa.Integer(), nullable=False, server_default="0")),
        ("deliveries", sa.Column("reached", sa.Text(), nullable=False, server_default="unknown")),
    ):
        op.add_column(table, column)
    told = sa.text("said_at > 0")
    op.create_index("deliveries_told", "deliveries", ["channel", "said_at"], sqlite_where=told, postgresql_where=told)


def _timers() -> None:
    op.create_table(
        "timers",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("wall", sa.Boolean(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "kind", "name"),
        sqlite_with_rowid=False,
    )
    op.create_index("timers_due", "timers", ["due_at", "subject", "kind", "name"])
    op.create_index("timers_name", "timers", ["kind", "name"])


def _wishes() -> None:
    op.create_table(
        "silences",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("match", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("silences_until", "silences", ["until"])
    op.create_table(
        "overrides",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("rotation", sa.Text(), nullable=False),
        sa.Column("member", sa.Text(), nullable=False),
        sa.Column("instead_of", sa.Text(), nullable=False),
        sa.Column("begin", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("overrides_end", "overrides", ["end"])
    op.create_table(
        "marks",
        sa.Column("mark", sa.Text(), nullable=False),
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("mark", "incident_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("marks_incident", "marks", ["incident_id"])


def _digests() -> None:
    op.create_table(
        "digests",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("worst", sa.SmallInteger(), nullable=False),
        sa.Column("members", sa.Integer(), nullable=False),
        sa.Column("open", sa.Integer(), nullable=False),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "digests_key",
        "digests",
        ["key"],
        sqlite_where=sa.text("closed = 0"),
        postgresql_where=sa.text("closed = false"),
    )
    op.create_table(
        "members",
        sa.Column("digest_id", sa.Text(), nullable=False),
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest_id", "incident_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("members_incident", "members", ["incident_id", "digest_id"])
    op.create_table(
        "spent",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("extra", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "at", "id"),
        sqlite_with_rowid=False,
    )
