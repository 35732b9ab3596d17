"""Checkpoints: the ledger's size and root, signed (C2SP tlog-checkpoint).

Origin, size and root, an extension line with the time by the signer's clock, a blank line, the signature:

    example.org/ledger
    20417
    <base64 of the root>
    at 2026-05-04T08:00:00.000+08:00

    — example.org/ledger <base64 of key id and signature>
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

import msgspec

from domain.clock import Instant
from domain.errors import IntegrityError
from storage.ledger.merkle import HASH_BYTES
from storage.ledger.note import SigningKey, VerifierKey, open_note

_AT = "at "


class TreeHead(msgspec.Struct, frozen=True):
    """What a checkpoint says.

    Attributes:
        origin: Name of the ledger.
        size: Entries.
        root: Of the tree of that size.
        at: When it was signed, by the signer's clock; None where the checkpoint does not say.
    """

    origin: str
    size: int
    root: bytes
    at: Instant | None = None

    def text(self) -> str:
        """Return the note's text."""
        when = "" if self.at is None else f"{_AT}{self.at}\n"
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n{when}"

    def signed(self, key: SigningKey) -> str:
        """Return the checkpoint as a signed note."""
        return key.sign(self.text())


def parse_head(text: str) -> TreeHead:
    """Read the text of a checkpoint; extension lines that are none of ours are ignored.

    Raises:
        IntegrityError: It is none.
    """
    lines = text.split("\n")
    if len(lines) < 4 or not lines[0] or not (lines[1].isascii() and lines[1].isdigit()):
        msg = "checkpoint: not of the form origin, size, root"
        raise IntegrityError(msg)
    try:
        root = base64.b64decode(lines[2], validate=True)
    except binascii.Error as error:
        msg = f"checkpoint: its root is not base64: {error}"
        raise IntegrityError(msg) from error
    head = TreeHead(lines[0], int(lines[1]), root, _time(lines[3]))
    if len(root) != HASH_BYTES or not text.startswith(head.text()):
        msg = "checkpoint: its size or its root is not written as it must be"
        raise IntegrityError(msg)
    return head


def _time(line: str) -> Instant | None:
    try:
        return Instant.parse(line.removeprefix(_AT)) if line.startswith(_AT) else None
    except ValueError as error:
        msg = f"checkpoint: {line!r} is no time"
        raise IntegrityError(msg) from error


def open_checkpoint(note: str, keys: Iterable[VerifierKey]) -> TreeHead:
    """Return what a checkpoint says, if one of these keys has signed it, in its own name.

    Raises:
        IntegrityError: It is no checkpoint, or not signed by them; see `open_note`.
    """
    trusted = list(keys)
    head = parse_head(open_note(note, trusted))
    if head.origin not in {key.name for key in trusted}:
        msg = f"checkpoint: of {head.origin!r}, which is not the name of a known key"
        raise IntegrityError(msg)
    return head
