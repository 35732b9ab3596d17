"""The office's database: connections, transactions, schema. What stands in it, the modules beside this one say.

Each noun has a module with its tables, rows and functions of a `Connection`, and a branch of migrations of its own
(`storage/migrations/office/<noun>_0001.py`, with no parent), so that one can grow without the others.

Several processes write: the console, the notifier, commands. So SQLite keeps a rollback journal (see
`storage.ledger.ledger`), and whatever is read to be changed is read in the transaction that changes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, MetaData, select
from sqlalchemy.dialects import postgresql, sqlite

from domain.errors import OfficeUnavailable
from storage.database import Database, Use
from storage.migrate import migrate

T = TypeVar("T")

OFFICE = Use("office", "office", OfficeUnavailable, journal="TRUNCATE")

metadata = MetaData()
"""All tables of the office; each noun's module adds its own."""


class Office:
    """Asynchronous face of the database; any method may raise `OfficeUnavailable` and may be called again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.insert: Any = sqlite.insert if database.is_sqlite else postgresql.insert
        """The dialect's INSERT, which knows `on_conflict_do_update` and `on_conflict_do_nothing`."""

    @classmethod
    async def connect(cls, address: str) -> Self:
        """Open `sqlite:///FILE` or `postgresql+psycopg://…` and bring its schema up to date.

        Raises:
            InvalidSettings: The address is of no known kind.
            OfficeUnavailable: No answer, or made by a newer program.
        """
        database = Database(address, OFFICE)
        try:
            await asyncio.to_thread(migrate, database, metadata, "office")
        except BaseException:
            await database.close()
            raise
        return cls(database)

    async def close(self) -> None:
        """Finish what is running and disconnect."""
        await self._database.close()

    async def ping(self) -> None:
        """Ask the database for a sign of life."""
        await self.read(lambda connection: connection.execute(select(1)).scalar_one())

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run in a reading transaction."""
        return await self._database.read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run in a writing transaction; committed durably when this returns, all or nothing."""
        return await self._database.write(work)
