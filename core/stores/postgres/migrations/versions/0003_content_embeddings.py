"""Vectors of titles, several model versions side by side."""

from alembic import op

revision = "0003"
down_revision = "0002"

# A vector belongs to a text (content_hash) and to a model. Dimensions are the model's, so the column has none; an index
# needs them, and there is one per model version, made when that version is complete (core.stores.postgres.embeddings).
# Vectors do not compress.
CONTENT_EMBEDDINGS = """
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE content_embeddings (
    content_id text NOT NULL REFERENCES content ON DELETE CASCADE,
    model_version text NOT NULL,
    content_hash text NOT NULL,
    embedding halfvec NOT NULL,
    generated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model_version, content_id)
);
ALTER TABLE content_embeddings ALTER COLUMN embedding SET STORAGE EXTERNAL;
CREATE INDEX content_embeddings_content ON content_embeddings (content_id);
"""


def upgrade() -> None:
    op.execute(CONTENT_EMBEDDINGS)
