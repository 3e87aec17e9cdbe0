"""Experiments with their variants, who was exposed to which, and conversions."""

from alembic import op

revision = "0006"
down_revision = "0004"

EXPERIMENTS = """
CREATE TABLE experiments (
    name text PRIMARY KEY,
    salt text NOT NULL,
    description text NOT NULL,
    status text NOT NULL,
    traffic double precision NOT NULL,
    metric text NOT NULL,
    allocation text NOT NULL,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    stopped_at timestamptz
);
CREATE TABLE variants (
    experiment text NOT NULL REFERENCES experiments ON DELETE CASCADE,
    name text NOT NULL,
    place integer NOT NULL,
    weight double precision NOT NULL,
    overrides jsonb NOT NULL,
    PRIMARY KEY (experiment, name)
);
"""

# Assignments are computed, never stored. A bandit may move a user, so one user can have an exposure per variant.
OBSERVATIONS = """
CREATE TABLE exposures (
    experiment text NOT NULL REFERENCES experiments ON DELETE CASCADE,
    user_id text NOT NULL,
    variant text NOT NULL,
    first_at timestamptz NOT NULL,
    PRIMARY KEY (experiment, user_id, variant)
);
CREATE INDEX exposures_user ON exposures (user_id);
CREATE TABLE conversions (
    experiment text NOT NULL REFERENCES experiments ON DELETE CASCADE,
    user_id text NOT NULL,
    conversion_id text NOT NULL,
    metric text NOT NULL,
    value double precision NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (experiment, user_id, conversion_id)
);
CREATE INDEX conversions_user ON conversions (user_id);
"""


def upgrade() -> None:
    op.execute(EXPERIMENTS)
    op.execute(OBSERVATIONS)
