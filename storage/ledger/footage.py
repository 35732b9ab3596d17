"""What the ledger says of footage in our store, whichever way it came."""

from __future__ import annotations

from storage.catalog.rows import ObjectRow
from storage.ledger import delivery, segment
from storage.ledger.entry import Entry

KINDS = ("segment", "backfill")
"""Kinds of entries about footage; those of the second that name no object are about somebody else's store."""


def is_stored(entry: Entry) -> bool:
    """Tell whether an entry is about an object in our store."""
    return entry.kind == "segment" or (entry.kind == "backfill" and "key" in entry.body)


def row_of(entry: Entry) -> ObjectRow:
    """Return the row of an object's entry.

    Raises:
        IntegrityError: It says nothing of an object.
    """
    return segment.row_of(entry) if entry.kind == "segment" else delivery.row_of(entry)
