"""Single bits flipped at random in objects, ledger, checkpoints and their copies: each is found, and nothing else is.

`FLIPS=10000` makes the long run; docs/reference/verification.md has its figures.
"""

from __future__ import annotations

import os
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.storage.verify_case import Case, case

FLIPS = int(os.environ.get("FLIPS", "100"))
SEED = int(os.environ.get("FLIPS_SEED", "5"))

_ENTRY_COLUMNS = ("line", "nodes", "id", "kind", "recorder_id", "session_id", '"index"')
_CHECKPOINT_COLUMNS = ("note", "made_at_ms", "size")
_KEYS = frozenset({'"index"', "size"})


@contextmanager
def flipped_file(path: Path, draw: random.Random) -> Iterator[None]:
    """Flip one bit of a file for as long as the block runs."""
    data = path.read_bytes()
    changed = bytearray(data)
    changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    path.chmod(0o644)
    path.write_bytes(changed)
    yield
    path.write_bytes(data)


@contextmanager
def flipped_value(database: Path, table: str, column: str, draw: random.Random) -> Iterator[None]:
    """Flip one bit of one value in one row for as long as the block runs."""
    with sqlite3.connect(database, isolation_level=None) as connection:
        cell, value = drawn_cell(connection, table, column, draw)
        while not update(connection, cell, changed := flipped(value, draw)):
            cell, value = drawn_cell(connection, table, column, draw)
        yield
        if column in _KEYS:  # the key is the row's number
            cell = cell._replace(rowid=int(changed))
        assert update(connection, cell, value)
    connection.close()


class Cell(NamedTuple):
    """One value in the database."""

    table: str
    column: str
    rowid: int
    kind: str


def drawn_cell(
    connection: sqlite3.Connection, table: str, column: str, draw: random.Random
) -> tuple[Cell, bytes | int]:
    asked = f"SELECT rowid, typeof({column}), CASE typeof({column}) WHEN 'text' THEN CAST({column} AS BLOB)"
    asked += f" ELSE {column} END FROM {table} WHERE {column} IS NOT NULL"
    rowid, kind, value = draw.choice(connection.execute(asked).fetchall())
    return Cell(table, column, rowid, kind), value


def flipped(value: bytes | int, draw: random.Random) -> bytes | int:
    if isinstance(value, int):
        return value ^ 1 << draw.randrange(40)
    data = bytearray(value)
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def update(connection: sqlite3.Connection, cell: Cell, value: bytes | int) -> bool:
    """Write a value; False where another row has it already."""
    statement = f"UPDATE {cell.table} SET {cell.column} = CAST(? AS {cell.kind}) WHERE rowid = ?"
    try:
        connection.execute(statement, (value, cell.rowid))
    except sqlite3.IntegrityError:
        return False
    return True


def targets(one: Case, draw: random.Random) -> dict[str, Callable[[], AbstractContextManager[None]]]:
    """What can be flipped: a name, and what flips it."""
    root, copies, database = (
        one.folder / "store" / "objects",
        one.folder / "copies" / "objects",
        one.folder / "ledger.db",
    )

    def any_file(folder: Path) -> Path:
        return draw.choice(sorted(path for path in folder.rglob("*") if path.is_file()))

    return {
        "object": lambda: flipped_file(any_file(root / "segments"), draw),
        "entries in the store": lambda: flipped_file(any_file(root / "ledger" / "entries"), draw),
        "checkpoint in the store": lambda: flipped_file(any_file(root / "ledger" / "checkpoints"), draw),
        "checkpoint in a second place": lambda: flipped_file(any_file(copies), draw),
        "ledger": lambda: flipped_value(database, "ledger_entries", draw.choice(_ENTRY_COLUMNS), draw),
        "checkpoint": lambda: flipped_value(database, "ledger_checkpoints", draw.choice(_CHECKPOINT_COLUMNS), draw),
    }


async def test_every_flipped_bit_is_found_and_nothing_else(tmp_path: Path) -> None:
    draw = random.Random(SEED)
    found: Counter[str] = Counter()
    async with case(tmp_path) as one:
        await one.fill()
        for number in range(FLIPS):
            assert await one.check() == [], f"false alarm after {number} flips"
            name, flip = draw.choice(sorted(targets(one, draw).items()))
            with flip():
                faults = await one.check()
            assert faults, f"flip {number} of seed {SEED}: {name}"
            found[name] += 1
        assert await one.check() == []
    assert found.total() == FLIPS
    assert FLIPS < 100 or len(found) == 6
