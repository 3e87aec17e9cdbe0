"""People and franchises as ways from title to title: who else has this one?"""

from alembic import op

revision = "0007"
down_revision = "0006"

# For doc @> '{"cast": ["..."]}'. A walk (core.stores.postgres.ways) asks for every name that it meets, so new entries
# must not wait in a list that every question would read.
FACTS = "CREATE INDEX content_facts ON content USING gin (doc jsonb_path_ops) WITH (fastupdate = off)"


def upgrade() -> None:
    op.execute(FACTS)
