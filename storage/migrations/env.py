"""Alembic's entry: runs on the connection that `storage.migrate` hands over, in its transaction."""

from alembic import context

given = context.config.attributes
context.configure(
    connection=given["connection"], target_metadata=given["metadata"], version_table=given["version_table"]
)
context.run_migrations()
