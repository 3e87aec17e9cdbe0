"""Users' adapters with their last versions, the log of adaptations, and a quick way to the users who are due."""

from alembic import op

revision = "0002"
down_revision = "0001"

# created_at is the first version's time, updated_at this version's. hot_stale_at is set with the row and taken away
# when the hot copy has it, so that a process that dies in between leaves the mark. Weights do not compress.
USER_LORA_ADAPTERS = """
CREATE TABLE user_lora_adapters (
    user_id text NOT NULL,
    version bigint NOT NULL,
    generation text NOT NULL,
    adapter_blob bytea NOT NULL,
    folded_upto_seq bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    hot_stale_at timestamptz DEFAULT now(),
    PRIMARY KEY (user_id, version)
);
ALTER TABLE user_lora_adapters ALTER COLUMN adapter_blob SET STORAGE EXTERNAL;
CREATE INDEX user_lora_adapters_hot_stale ON user_lora_adapters (hot_stale_at) WHERE hot_stale_at IS NOT NULL;
"""

ADAPTATIONS = """
CREATE TABLE adaptations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id text NOT NULL,
    at timestamptz NOT NULL,
    from_seq bigint NOT NULL,
    upto_seq bigint NOT NULL,
    snapshot text NOT NULL,
    generation text NOT NULL,
    seed bigint NOT NULL,
    verdict text NOT NULL,
    metrics jsonb NOT NULL
);
CREATE INDEX adaptations_user ON adaptations (user_id, id DESC);
"""

# Only rows that are due, and no column that an event changes: writing a state stays an update in place.
DUE = "CREATE INDEX user_states_adaptation_due ON user_states (user_id) WHERE adaptation_due"


def upgrade() -> None:
    op.execute(USER_LORA_ADAPTERS)
    op.execute(ADAPTATIONS)
    op.execute(DUE)
