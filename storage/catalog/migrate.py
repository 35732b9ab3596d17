"""Bring the database to the newest schema, one process at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection, text

from domain.errors import CatalogUnavailable
from storage.catalog.database import Database, translated

MIGRATIONS = Path(__file__).parents[1] / "migrations"

_LOCK_KEY = 0x6C69_7568_656E
"""Any number that no other user of the same PostgreSQL takes: "liuhen" in ASCII."""


def migrate(database: Database) -> None:
    """Run what migrations are missing, all of them in one transaction, while others wait.

    Raises:
        CatalogUnavailable: No answer, or the database is of a newer version than this program.
    """
    with translated(), _file_lock(database), database.writer.begin() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        _upgrade(connection)


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        msg = f"catalogue: its schema is not one that this program knows ({error})"
        raise CatalogUnavailable(msg) from error


@contextmanager
def _file_lock(database: Database) -> Iterator[None]:
    if not database.is_sqlite:
        yield
        return
    with Path(f"{database.url.database}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
