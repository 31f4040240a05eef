"""Lists: what one asks for by source, service, severity or channel is found as quickly among a million as among ten."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.drop_index("incidents_open", "incidents")
    for column in ("state", "source", "service", "severity"):
        op.create_index(f"incidents_{column}", "incidents", [column, "opened_at", "id"])
    op.create_index("incidents_updated", "incidents", ["updated_at", "id"])
    op.create_index("events_source", "events", ["source", "id"])
    op.create_index("deliveries_channel", "deliveries", ["channel", "id"])
    failed = sa.text("state = 'failed'")
    op.drop_index("deliveries_failed", "deliveries")
    op.create_index("deliveries_failed", "deliveries", ["channel", "id"], sqlite_where=failed, postgresql_where=failed)
