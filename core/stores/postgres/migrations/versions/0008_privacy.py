"""Which key a tombstone was made with, and where the log of a user begins whose oldest events have been dropped."""

from alembic import op

revision = "0008"
down_revision = "0007"

# "": plain SHA-256, from before there were keys.
TOMBSTONES = "ALTER TABLE erasures ADD COLUMN key_name text NOT NULL DEFAULT ''"

# The state after the events up to `seq`, which may be gone, and the adapter as it was then, if there was one.
CHECKPOINTS = """
CREATE TABLE checkpoints (
    user_id text PRIMARY KEY,
    seq bigint NOT NULL,
    state bytea NOT NULL,
    adapter_version bigint,
    adapter_blob bytea,
    adapter_folded_upto_seq bigint,
    adapter_generation text,
    made_at timestamptz NOT NULL
);
ALTER TABLE checkpoints ALTER COLUMN state SET STORAGE EXTERNAL, ALTER COLUMN adapter_blob SET STORAGE EXTERNAL;
"""

# Events arrive in the order of time, so a few pages say where the old ones are.
BY_ARRIVAL = (
    "CREATE INDEX interactions_received_at ON interactions USING brin (received_at)",
    "CREATE INDEX rejected_events_received_at ON rejected_events (received_at)",
)


def upgrade() -> None:
    op.execute(TOMBSTONES)
    op.execute(CHECKPOINTS)
    for statement in BY_ARRIVAL:
        op.execute(statement)
