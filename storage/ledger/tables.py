"""The ledger's tables. The migrations make what stands here, and a test compares them.

An entry's row also holds the roots of the complete subtrees that it ends, from its own leaf hash upwards: the root of
subtree `(level, number)` is the 32 bytes at `32 * level` in the row of its last leaf. A leaf and all that follows from
it are one row, so that no crash can part them, and every node of a proof is one look-up by primary key.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()

_ID = String(200)
_NUMBER = BigInteger().with_variant(Integer, "sqlite")

entries = Table(
    "ledger_entries",
    metadata,
    Column("index", _NUMBER, primary_key=True, autoincrement=False),
    Column("id", String(32), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("recorder_id", _ID),
    Column("session_id", _ID),
    Column("line", LargeBinary, nullable=False),
    Column("nodes", LargeBinary, nullable=False),
    Index("ledger_entries_by_id", "id", unique=True),
    Index("ledger_entries_by_session", "recorder_id", "session_id", "index"),
    Index("ledger_entries_by_kind", "kind", "index"),
)

checkpoints = Table(
    "ledger_checkpoints",
    metadata,
    Column("size", _NUMBER, primary_key=True, autoincrement=False),
    Column("made_at_ms", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    Column("timestamp", LargeBinary),
)

deliveries = Table(
    "ledger_deliveries",
    metadata,
    Column("place", String(500), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("delivered_at_ms", BigInteger, nullable=False),
    Column("receipt", Text, nullable=False),
)
