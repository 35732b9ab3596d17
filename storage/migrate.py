"""Bring a database to the newest schema, one process at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection, MetaData, text

from storage.database import Database

_MIGRATIONS = Path(__file__).with_name("migrations")

_LOCK_KEY = 0x6C69_7568_656E
"""Any number that no other user of the same PostgreSQL takes: "liuhen" in ASCII."""


def migrate(database: Database, metadata: MetaData, versions: str = "versions") -> None:
    """Run what migrations are missing, all of them in one transaction, while others wait.

    Args:
        database: To be brought up to date.
        metadata: Its tables.
        versions: Folder of its migrations. Each folder counts in a table of its own, so that two of them may share a
            PostgreSQL database.

    Raises:
        Unavailable: No answer, or the database is of a newer version than this program.
    """
    with database.translated(), _file_lock(database), database.writer.begin() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        _upgrade(database, connection, metadata, versions)


def _upgrade(database: Database, connection: Connection, metadata: MetaData, versions: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(_MIGRATIONS / versions).replace("%", "%%"))
    table = "alembic_version" if versions == "versions" else f"alembic_version_{versions}"
    config.attributes.update(connection=connection, metadata=metadata, version_table=table)
    try:
        command.upgrade(config, "heads")
    except CommandError as error:
        msg = f"{database.use.name}: its schema is not one that this program knows ({error})"
        raise database.use.unavailable(msg) from error


@contextmanager
def _file_lock(database: Database) -> Iterator[None]:
    if not database.is_sqlite:
        yield
        return
    with Path(f"{database.url.database}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
