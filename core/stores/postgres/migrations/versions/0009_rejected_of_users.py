"""Whose rejected event it is, so that it is handed out and erased with the rest, whatever is left of its bytes."""

from alembic import op

revision = "0009"
down_revision = "0008"

# The user's pseudonym, as in erasures; NULL: nobody knows, or it came before there was this column.
USERS = "ALTER TABLE rejected_events ADD COLUMN user_hash bytea"


def upgrade() -> None:
    op.execute(USERS)
