"""The ReasoningBank: patterns with what they lead to, the sessions behind them, how they fared, and every run of their
maintenance."""

from alembic import op

revision = "0004"
down_revision = "0003"

# One row each. `version` counts the bank's changes: whoever writes takes the row lock, so versions commit in order and
# a reader who has version v misses nothing below. Removals before `floor` are forgotten.
BANK = """
CREATE TABLE pattern_bank (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    version bigint NOT NULL DEFAULT 0,
    floor bigint NOT NULL DEFAULT 0,
    counted_until timestamptz NOT NULL DEFAULT to_timestamp(0),
    reinforced_until timestamptz NOT NULL DEFAULT to_timestamp(0)
);
INSERT INTO pattern_bank DEFAULT VALUES;
"""

# halfvec: 512 dimensions are 1 KB and stay in the row. Dimensions may differ from space to space, so the column has
# none, and an index covers those of one size: topics of the content space, an encoder's, and the widest.
PATTERNS = """
CREATE TABLE reasoning_patterns (
    pattern_id text PRIMARY KEY,
    space text NOT NULL,
    embedding halfvec NOT NULL,
    anchors jsonb NOT NULL,
    context jsonb NOT NULL,
    quality double precision NOT NULL,
    confidence double precision NOT NULL,
    size integer NOT NULL,
    usage_count bigint NOT NULL DEFAULT 0,
    segment text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    last_used timestamptz NOT NULL,
    version bigint NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX reasoning_patterns_version ON reasoning_patterns (version);
CREATE TABLE pattern_results (
    pattern_id text NOT NULL REFERENCES reasoning_patterns ON DELETE CASCADE,
    content_id text NOT NULL,
    weight double precision NOT NULL,
    PRIMARY KEY (pattern_id, content_id)
);
CREATE INDEX pattern_results_content ON pattern_results (content_id);
CREATE TABLE pattern_removals (
    pattern_id text PRIMARY KEY,
    became text,
    version bigint NOT NULL,
    removed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX pattern_removals_version ON pattern_removals (version);
"""
INDEXED_DIMS = (32, 384, 512)

# A session is about a person: it goes with its user, and after some months anyway.
SESSIONS = """
CREATE TABLE pattern_sessions (
    session_id text PRIMARY KEY,
    user_id text NOT NULL,
    pattern_id text NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    seq bigint NOT NULL,
    anchors jsonb NOT NULL,
    circumstances jsonb NOT NULL,
    results jsonb NOT NULL
);
CREATE INDEX pattern_sessions_user ON pattern_sessions (user_id);
CREATE INDEX pattern_sessions_ended_at ON pattern_sessions (ended_at);
CREATE TABLE pattern_members (
    user_id text PRIMARY KEY,
    segment text NOT NULL
);
CREATE TABLE pattern_applications (
    pattern_id text NOT NULL,
    segment text NOT NULL,
    applications bigint NOT NULL,
    successes bigint NOT NULL,
    failures bigint NOT NULL,
    PRIMARY KEY (pattern_id, segment)
);
CREATE INDEX interactions_pattern ON interactions (received_at) WHERE payload ? 'pattern_id';
"""

RUNS = """
CREATE TABLE pattern_runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    dry_run boolean NOT NULL,
    status text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    as_of timestamptz NOT NULL,
    steps json NOT NULL DEFAULT '{}'  -- in the order in which they were done
);
"""


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS vector")
    op.execute(BANK)
    op.execute(PATTERNS)
    for dims in INDEXED_DIMS:
        op.execute(
            f"CREATE INDEX reasoning_patterns_near_{dims} ON reasoning_patterns "
            f"USING hnsw ((embedding::halfvec({dims})) halfvec_cosine_ops) WHERE vector_dims(embedding) = {dims}"
        )
    op.execute(SESSIONS)
    op.execute(RUNS)
