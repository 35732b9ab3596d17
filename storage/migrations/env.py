"""Alembic's entry: runs on the connection that `storage.catalog.migrate` hands over, in its transaction."""

from alembic import context

from storage.catalog.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
