"""Entry point that Alembic executes; the connection comes from core.stores.postgres.migrate."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
