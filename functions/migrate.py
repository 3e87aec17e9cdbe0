"""Cloud Run job: bring the database schema to the newest version, before the code that needs it."""

from core.config import settings
from core.telemetry import configure, logger
from core.wiring import migrate_database


def migrate() -> None:
    """Entry point; a schema that is the newest stays as it is."""
    own = settings()
    configure(own.log_level)
    version, missing = migrate_database(own)
    logger("migrate").info("the schema is the newest", version=version, users_not_there_yet=missing)


if __name__ == "__main__":
    migrate()
