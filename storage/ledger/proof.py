"""A proof that stands by itself (C2SP tlog-proof): index, inclusion proof and checkpoint in one text.

With the entry's line and our public key it shows, without anything else of ours, that the entry is in the ledger.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence

import msgspec

from domain.errors import IntegrityError, InvalidInput
from storage.ledger.checkpoint import TreeHead, open_checkpoint
from storage.ledger.ledger import Ledger
from storage.ledger.merkle import leaf_hash, verify_inclusion
from storage.ledger.note import VerifierKey

_FIRST = "c2sp.org/tlog-proof@v1"
_EXTRA = "extra "
_INDEX = "index "


class Proof(msgspec.Struct, frozen=True):
    """That an entry is under a checkpoint.

    Attributes:
        index: Of the entry.
        path: Inclusion proof (RFC 9162 §2.1.3) in the checkpoint's tree.
        note: The checkpoint, with whatever signatures it has.
    """

    index: int
    path: Sequence[bytes]
    note: str

    def text(self) -> str:
        """Return the proof as a text, for a file that ends in `.tlog-proof`."""
        hashes = [base64.b64encode(one).decode() for one in self.path]
        return "\n".join([_FIRST, f"{_INDEX}{self.index}", *hashes, "", self.note])

    def check(self, line: bytes, keys: Iterable[VerifierKey]) -> TreeHead:
        """Return what the checkpoint says, if this entry is under it and one of these keys has signed it.

        Raises:
            IntegrityError: It is not, or none has.
        """
        head = open_checkpoint(self.note, keys)
        if not verify_inclusion(leaf_hash(line), self.index, head.size, self.path, head.root):
            msg = f"proof: not of this entry as number {self.index} of {head.size}"
            raise IntegrityError(msg)
        return head


def parse_proof(text: str) -> Proof:
    """Read the text of a proof; extra data in it is passed over.

    Raises:
        IntegrityError: It is none.
    """
    said, gap, note = text.partition("\n\n")
    first, *lines = said.split("\n")
    if lines and lines[0].startswith(_EXTRA):
        text = text.replace(f"{lines.pop(0)}\n", "", 1)
    number = lines[0].removeprefix(_INDEX) if lines else ""
    try:
        if first != _FIRST or not gap or not (number.isascii() and number.isdigit()):
            raise ValueError(first)
        proof = Proof(int(number), [base64.b64decode(one, validate=True) for one in lines[1:]], note)
        if proof.text() != text:  # the same in other words, such as base64 with bits that nobody reads
            raise ValueError(text)
    except (ValueError, binascii.Error) as error:
        msg = "proof: not of the form of c2sp.org/tlog-proof"
        raise IntegrityError(msg) from error
    return proof


async def prove(ledger: Ledger, index: int) -> Proof:
    """Prove an entry under the first checkpoint that covers it: the one that was made within a minute of it.

    Raises:
        InvalidInput: There is no such entry, or no checkpoint covers it yet.
    """
    checkpoint = await anext(ledger.checkpoints(index + 1), None) if index >= 0 else None
    if checkpoint is None:
        msg = f"index: no checkpoint covers an entry {index}"
        raise InvalidInput(msg, "index")
    return Proof(index, await ledger.inclusion(index, checkpoint.size), checkpoint.note)
