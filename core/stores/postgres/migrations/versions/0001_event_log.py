"""The event log with the states folded from it, the catalogue, rejected events, tombstones of erased users."""

from alembic import op

revision = "0001"
down_revision = None

# Both extensions come with Cloud SQL and with the embedded server; a server without them still serves the loop.
EXTENSIONS = """
DO $$
DECLARE wanted text;
BEGIN
    FOR wanted IN SELECT name FROM pg_available_extensions WHERE name IN ('vector', 'pg_trgm') LOOP
        EXECUTE format('CREATE EXTENSION IF NOT EXISTS %I', wanted);
    END LOOP;
END $$
"""

CONTENT = """
CREATE TABLE content (
    content_id text PRIMARY KEY,
    content_key bigint NOT NULL UNIQUE,  -- the unsigned 64-bit key of core.catalog in two's complement
    doc jsonb NOT NULL,
    content_hash text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE availability (
    content_id text NOT NULL REFERENCES content ON DELETE CASCADE,
    service text NOT NULL,
    region text NOT NULL,
    added_at timestamptz NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (content_id, service, region, added_at)
);
CREATE TABLE content_relationships (
    source_id text NOT NULL,
    target_id text NOT NULL,
    type text NOT NULL,
    weight double precision NOT NULL,
    reinforcement double precision NOT NULL DEFAULT 1.0,
    PRIMARY KEY (source_id, target_id, type)
);
CREATE INDEX content_relationships_target ON content_relationships (target_id);
"""

INTERACTIONS = """
CREATE TABLE interactions (
    user_id text NOT NULL,
    event_id text NOT NULL,
    seq bigint NOT NULL,
    type text NOT NULL,
    content_id text,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    payload jsonb NOT NULL,
    PRIMARY KEY (user_id, event_id),
    UNIQUE (user_id, seq)
) PARTITION BY HASH (user_id);
CREATE INDEX interactions_occurred_at ON interactions (occurred_at);
"""

PARTITIONS = 8

# fillfactor and plain storage: a state is small, dense, and rewritten in place with every event.
USER_STATES = """
CREATE TABLE user_states (
    user_id text PRIMARY KEY,
    version bigint NOT NULL DEFAULT 0,
    seq bigint NOT NULL DEFAULT 0,
    state bytea NOT NULL DEFAULT '',
    adaptation_due boolean NOT NULL DEFAULT false,
    hot_stale_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);
ALTER TABLE user_states ALTER COLUMN state SET STORAGE EXTERNAL;
CREATE INDEX user_states_hot_stale ON user_states (hot_stale_at) WHERE hot_stale_at IS NOT NULL;
CREATE TABLE rejected_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id text NOT NULL,
    reason text NOT NULL,
    payload bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX rejected_events_once ON rejected_events (message_id, md5(payload));
CREATE TABLE erasures (
    user_hash bytea PRIMARY KEY,
    erased_at timestamptz NOT NULL DEFAULT now()
);
"""


def upgrade() -> None:
    op.execute(EXTENSIONS)
    op.execute(CONTENT)
    op.execute(INTERACTIONS)
    for number in range(PARTITIONS):
        op.execute(
            f"CREATE TABLE interactions_{number} PARTITION OF interactions "
            f"FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number})"
        )
    op.execute(USER_STATES)
