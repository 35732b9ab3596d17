"""What the ledger asks of its database: functions of a `Connection`, each within one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, func, select, text

from domain.clock import Instant
from domain.errors import IntegrityError
from storage.ledger.entry import Entry
from storage.ledger.merkle import HASH_BYTES, Frontier, Range, Subtree, cover, fold, leaf_hash
from storage.ledger.tables import checkpoints, deliveries, entries

_APPEND_LOCK = 0x6C69_7568_6C67
"""Any number that no other user of the same PostgreSQL takes."""
_IDS_AT_ONCE = 500


class Line(NamedTuple):
    """An entry, ready to be written."""

    id: str
    kind: str
    recorder_id: str | None
    session_id: str | None
    line: bytes

    @classmethod
    def of(cls, entry: Entry) -> Line:
        """See `Entry.line`."""
        return cls(entry.id, entry.kind, entry.recorder_id, entry.session_id, entry.line())


class Row(msgspec.Struct, frozen=True):
    """An entry as it stands in the database.

    Attributes:
        index: Its number, from 0.
        id: See `Entry.id`; like the next three it repeats what the line says.
        kind: Of the entry.
        recorder_id: Of the entry.
        session_id: Of the entry.
        line: Its bytes.
        nodes: The roots of the complete subtrees that it ends, 32 bytes each, from its leaf hash upwards.
    """

    index: int
    id: str
    kind: str
    recorder_id: str | None
    session_id: str | None
    line: bytes
    nodes: bytes


class Checkpoint(msgspec.Struct, frozen=True):
    """A checkpoint as the ledger keeps it.

    Attributes:
        size: Entries it covers.
        made_at: By our clock.
        note: The signed note (C2SP tlog-checkpoint).
        timestamp: RFC 3161 token over the note's bytes, DER; None where there is none (yet).
    """

    size: int
    made_at: Instant
    note: str
    timestamp: bytes | None = None


class Delivery(msgspec.Struct, frozen=True):
    """How far a place has been served.

    Attributes:
        place: Its name.
        size: It has every checkpoint up to this size.
        delivered_at: Of the last one, by our clock.
        receipt: What it answered, such as a witness's cosignatures.
    """

    place: str
    size: int
    delivered_at: Instant
    receipt: str


def append(connection: Connection, lines: Sequence[Line]) -> list[int]:
    """Add what is not there yet; return the index of each. Whoever else appends waits until this transaction ends."""
    if connection.dialect.name == "postgresql":  # on SQLite the transaction began IMMEDIATE
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _APPEND_LOCK})
    known = _indices(connection, [line.id for line in lines])
    frontier = frontier_of(connection, size_of(connection))
    rows = []
    for line in lines:
        if line.id in known:
            continue
        known[line.id] = frontier.size
        rows.append({"index": frontier.size, "nodes": b"".join(frontier.add(leaf_hash(line.line))), **line._asdict()})
    if rows:
        connection.execute(entries.insert(), rows)
    return [known[line.id] for line in lines]


def size_of(connection: Connection) -> int:
    """Return the number of entries."""
    last = connection.execute(select(func.max(entries.c.index))).scalar_one()
    return 0 if last is None else int(last) + 1


def frontier_of(connection: Connection, size: int) -> Frontier:
    """Return the right edge of the tree as it was at a size."""
    subtrees = cover(Range(0, size))
    found = _nodes(connection, subtrees)
    return Frontier(size, [found[subtree] for subtree in subtrees])


def roots(connection: Connection, ranges: Sequence[Range]) -> list[bytes]:
    """Return the root over each range of a proof."""
    covers = [cover(part) for part in ranges]
    found = _nodes(connection, {subtree for subtrees in covers for subtree in subtrees})
    return [fold([found[subtree] for subtree in subtrees]) for subtrees in covers]


def index_of(connection: Connection, entry_id: str) -> int | None:
    """Return the index of an entry, None where there is none."""
    return _indices(connection, [entry_id]).get(entry_id)


def rows(connection: Connection, start: int, end: int, limit: int) -> list[Row]:
    """Return up to `limit` entries, in order, beginning with `start`.

    Raises:
        IntegrityError: One of them is not there.
    """
    within = select(entries).where(entries.c.index >= start, entries.c.index < end)
    asked = within.order_by(entries.c.index).limit(limit)
    found = [Row(*row) for row in connection.execute(asked)]
    for expected, row in enumerate(found, start):
        if row.index != expected:
            raise _missing(expected)
        if type(row.line) is not bytes or type(row.nodes) is not bytes:  # SQLite keeps anything anywhere
            msg = f"ledger: entry {expected} is not what was written there"
            raise IntegrityError(msg)
    if not found and start < end:
        raise _missing(start)
    return found


def count_of(connection: Connection, kind: str, start: int) -> int:
    """Return how many entries of a kind there are from `start` on."""
    asked = select(func.count()).select_from(entries).where(entries.c.index >= start, entries.c.kind == kind)
    return int(connection.execute(asked).scalar_one())


def kind_lines(connection: Connection, kinds: Sequence[str], start: int, limit: int) -> list[tuple[int, bytes]]:
    """Return index and line of up to `limit` entries of these kinds from `start` on, in order."""
    asked = select(entries.c.index, entries.c.line).where(entries.c.kind.in_(kinds), entries.c.index >= start)
    return [(row[0], row[1]) for row in connection.execute(asked.order_by(entries.c.index).limit(limit))]


def last_kind_lines(connection: Connection, kinds: Sequence[str], before: int, limit: int) -> list[tuple[int, bytes]]:
    """Return index and line of up to `limit` entries of these kinds before an index, the newest first."""
    asked = select(entries.c.index, entries.c.line).where(entries.c.kind.in_(kinds), entries.c.index < before)
    return [(row[0], row[1]) for row in connection.execute(asked.order_by(entries.c.index.desc()).limit(limit))]


def session_lines(connection: Connection, recorder_id: str, session_id: str | None) -> list[tuple[int, bytes]]:
    """Return index and line of every entry about a session."""
    asked = select(entries.c.index, entries.c.line).where(
        entries.c.recorder_id == recorder_id, entries.c.session_id == session_id
    )
    return [(index, line) for index, line in connection.execute(asked.order_by(entries.c.index))]


def recorders_of(connection: Connection, session_id: str) -> list[str]:
    """Return the recorders that have segments of a session of that id."""
    asked = select(entries.c.recorder_id).where(entries.c.session_id == session_id, entries.c.kind == "segment")
    found = connection.execute(asked.distinct()).scalars()
    return sorted(one for one in found if one is not None)


def add_checkpoint(connection: Connection, checkpoint: Checkpoint) -> Checkpoint:
    """Keep a checkpoint; return the one that stands, which is the first that was made for its size."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _APPEND_LOCK})
    standing = _checkpoints(connection, checkpoint.size, 1)
    if standing and standing[0].size == checkpoint.size:
        return standing[0]
    values = {"size": checkpoint.size, "made_at_ms": int(checkpoint.made_at), "note": checkpoint.note}
    connection.execute(checkpoints.insert().values(**values, timestamp=checkpoint.timestamp))
    return checkpoint


def checkpoints_from(connection: Connection, size: int, limit: int) -> list[Checkpoint]:
    """Return up to `limit` checkpoints of at least this size, the smallest first."""
    return _checkpoints(connection, size, limit)


def latest_checkpoint(connection: Connection) -> Checkpoint | None:
    """Return the largest checkpoint."""
    row = connection.execute(select(checkpoints).order_by(checkpoints.c.size.desc()).limit(1)).first()
    return None if row is None else Checkpoint(row.size, Instant(row.made_at_ms), row.note, row.timestamp)


def checkpoints_after(connection: Connection, size: int) -> int:
    """Return how many checkpoints are larger."""
    asked = select(func.count()).select_from(checkpoints).where(checkpoints.c.size > size)
    return int(connection.execute(asked).scalar_one())


def set_timestamp(connection: Connection, size: int, token: bytes) -> None:
    """Keep a timestamp beside its checkpoint."""
    connection.execute(checkpoints.update().where(checkpoints.c.size == size).values(timestamp=token))


def all_deliveries(connection: Connection) -> list[Delivery]:
    """Return how far each place has been served."""
    asked = select(deliveries).order_by(deliveries.c.place)
    return [
        Delivery(row.place, row.size, Instant(row.delivered_at_ms), row.receipt) for row in connection.execute(asked)
    ]


def set_delivery(connection: Connection, delivery: Delivery) -> None:
    """Note how far a place has been served; never moves back."""
    place, values = delivery.place, {"delivered_at_ms": int(delivery.delivered_at), "receipt": delivery.receipt}
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _APPEND_LOCK})
    known = connection.execute(select(deliveries.c.size).where(deliveries.c.place == place)).scalar_one_or_none()
    if known is None:
        connection.execute(deliveries.insert().values(place=place, size=delivery.size, **values))
    elif known < delivery.size:
        connection.execute(deliveries.update().where(deliveries.c.place == place).values(size=delivery.size, **values))


def _checkpoints(connection: Connection, size: int, limit: int) -> list[Checkpoint]:
    asked = select(checkpoints).where(checkpoints.c.size >= size).order_by(checkpoints.c.size).limit(limit)
    return [Checkpoint(row.size, Instant(row.made_at_ms), row.note, row.timestamp) for row in connection.execute(asked)]


def _indices(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for begin in range(0, len(ids), _IDS_AT_ONCE):
        some = ids[begin : begin + _IDS_AT_ONCE]
        asked = select(entries.c.id, entries.c.index).where(entries.c.id.in_(some))
        found.update((entry_id, index) for entry_id, index in connection.execute(asked))
    return found


def _nodes(connection: Connection, subtrees: Iterable[Subtree]) -> dict[Subtree, bytes]:
    """Look complete subtrees up, each in the row of its last leaf."""
    wanted = list(subtrees)
    asked = select(entries.c.index, entries.c.nodes).where(entries.c.index.in_({one.last_leaf for one in wanted}))
    kept: dict[int, bytes] = {row[0]: row[1] for row in connection.execute(asked)}
    found = {}
    for one in wanted:
        if one.last_leaf not in kept:
            raise _missing(one.last_leaf)
        begin = HASH_BYTES * one.level
        found[one] = bytes(kept[one.last_leaf][begin : begin + HASH_BYTES])
        if len(found[one]) != HASH_BYTES:
            msg = f"ledger: entry {one.last_leaf} does not hold the nodes it should"
            raise IntegrityError(msg)
    return found


def _missing(index: int) -> IntegrityError:
    return IntegrityError(f"ledger: entry {index} is missing")
