"""Entries: what the ledger says, one line of JSON each.

A line is UTF-8 JSON with sorted keys and no spaces; what is hashed are its bytes as they stand, so nobody ever has to
write one anew to check it. Its `id` follows from what it says: the same statement made twice is one entry.

`alg` names the hash of the leaf and of whatever the body points at. A tree has one algorithm: another one (SM3, GM/T
0004) begins a ledger of its own, whose first entry quotes the last checkpoint of the one before.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from domain.clock import Instant
from domain.errors import IntegrityError, InvalidInput
from storage.ledger import merkle

VERSION = 1
MAX_LINE_BYTES = 262_144

KINDS = frozenset(
    {
        "segment",
        "gap",
        "explanation",
        "hold",
        "release",
        "class",
        "access",
        "export",
        "deletion",
        "backfill",
        "integrity",
        "approval",
        "act",
    }
)

IDENTITY: Mapping[str, tuple[str, ...]] = {
    "segment": ("key", "sha256"),
    "deletion": ("key", "version_id", "stage"),
}
"""Of these kinds, what the body says of these fields makes the id, with the recorder and the session: whoever states it
again after a crash, by a later clock, states the same. Of all others the whole body and `at` make it."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One statement.

    Attributes:
        kind: One of `KINDS`.
        at: When it was made, or when what it tells of happened, as its kind has it.
        body: JSON values: text, whole and finite numbers, true, false, null, lists, objects.
        recorder_id: Whose footage it is about, where it is about one recorder's.
        session_id: Of which session.
    """

    kind: str
    at: Instant
    body: dict[str, Any]
    recorder_id: str | None = None
    session_id: str | None = None

    @property
    def id(self) -> str:
        """32 hex digits that follow from what is said.

        Raises:
            InvalidInput: A value that JSON cannot carry.
        """
        _check(self.body, "body")
        fields = IDENTITY.get(self.kind)
        if fields is None:
            return entry_id(self.kind, self.recorder_id, self.session_id, {"at": self.at.rfc3339(), "body": self.body})
        return entry_id(self.kind, self.recorder_id, self.session_id, {name: self.body.get(name) for name in fields})

    def line(self) -> bytes:
        """Return the bytes that the ledger keeps and hashes, without a line feed.

        Raises:
            InvalidInput: Unknown kind, a value that JSON cannot carry, or too long.
        """
        if self.kind not in KINDS:
            msg = f"kind: the ledger has no {self.kind!r}"
            raise InvalidInput(msg, "kind")
        told: dict[str, Any] = {
            "v": VERSION,
            "alg": merkle.ALGORITHM,
            "kind": self.kind,
            "id": self.id,
            "at": self.at.rfc3339(),
            "body": self.body,
        }
        for name in ("recorder_id", "session_id"):
            if (value := getattr(self, name)) is not None:
                told[name] = value
        line = _canonical(told)
        if len(line) > MAX_LINE_BYTES:
            msg = f"body: makes a line of {len(line)} bytes, more than {MAX_LINE_BYTES}"
            raise InvalidInput(msg, "body")
        return line


def entry_id(kind: str, recorder_id: str | None, session_id: str | None, identity: Mapping[str, Any]) -> str:
    """Derive an id: the first half of SHA-256 over the JSON of these four.

    Args:
        kind: Of the entry.
        recorder_id: As in the entry.
        session_id: As in the entry.
        identity: For kinds in `IDENTITY` those fields of the body (null where it has none), else `at` (RFC 3339) and
            `body`.
    """
    return hashlib.sha256(_canonical([kind, recorder_id, session_id, dict(identity)])).hexdigest()[:32]


def segment_id(recorder_id: str, session_id: str, key: str, sha256: str) -> str:
    """Return the id of a segment's entry."""
    return entry_id("segment", recorder_id, session_id, {"key": key, "sha256": sha256})


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: int
    alg: str
    kind: str
    id: str
    at: str
    body: dict[str, Any]
    recorder_id: str | None = None
    session_id: str | None = None


_lines = msgspec.json.Decoder(_Line)


def decode(line: bytes) -> Entry:
    """Read a line of the ledger.

    Raises:
        IntegrityError: It is not a line that `Entry.line` could have written.
    """
    try:
        said = _lines.decode(line)
        entry = Entry(
            kind=said.kind,
            at=Instant.parse(said.at),
            body=said.body,
            recorder_id=said.recorder_id,
            session_id=said.session_id,
        )
        again = entry.line()
    except (msgspec.DecodeError, ValueError, RecursionError, InvalidInput) as error:
        msg = f"ledger: a line that cannot be read: {error}"
        raise IntegrityError(msg) from error
    if again != line:
        msg = f"ledger: the line with id {said.id!r} is not in the form that was written"
        raise IntegrityError(msg)
    return entry


def _canonical(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value, order="sorted")
    except (TypeError, OverflowError, UnicodeEncodeError, RecursionError) as error:
        msg = f"body: no JSON for it: {error}"
        raise InvalidInput(msg, "body") from error


def _check(value: Any, where: str) -> None:
    """Refuse what would be written as something else: not-a-number as null, bytes as text, numbers as keys."""
    if isinstance(value, dict):
        for key, one in value.items():
            if not isinstance(key, str):
                msg = f"{where}: {key!r} is no name of a field"
                raise InvalidInput(msg, where)
            _check(one, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for one in value:
            _check(one, where)
    elif isinstance(value, float):
        if not math.isfinite(value):
            msg = f"{where}: {value} is no number in JSON"
            raise InvalidInput(msg, where)
    elif not isinstance(value, str | int | None):
        msg = f"{where}: {type(value).__name__} is no value of JSON"
        raise InvalidInput(msg, where)
