"""Is the ledger what it was? Everything in it against itself, against its checkpoints, and these against their copies.

One pass over the entries, in order; what is kept in memory are the tree heads, about 200 bytes a checkpoint.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

import msgspec
from cryptography.x509 import Certificate

from domain.errors import IntegrityError
from storage.ledger import timestamps
from storage.ledger.checkpoint import TreeHead, open_checkpoint
from storage.ledger.entry import decode
from storage.ledger.ledger import Ledger
from storage.ledger.merkle import EMPTY_ROOT, Frontier, leaf_hash
from storage.ledger.note import VerifierKey
from storage.ledger.places import Place
from storage.ledger.statements import Checkpoint, Row
from storage.objects.port import ObjectStore


class Fault(msgspec.Struct, frozen=True):
    """Something that is not as it was.

    Attributes:
        where: `entry 17`, `checkpoint 120`, or `checkpoint 120 in file:DIR`.
        what: What is wrong.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class Check:
    """One check. After `run`, `size` and `newest` say how far it came.

    Args:
        ledger: To be checked.
        keys: Whoever may have signed.
        places: Whose copies are read back.
        roots: Certificates for the timestamps; without them their signatures are not checked.
        store: Where timestamps are kept a second time; without it they are not compared.
        start: Entries that need no reading, because a check came so far before: the size of a checkpoint.
    """

    def __init__(
        self,
        ledger: Ledger,
        keys: Sequence[VerifierKey],
        places: Sequence[Place] = (),
        roots: Sequence[Certificate] = (),
        *,
        store: ObjectStore | None = None,
        start: int = 0,
    ) -> None:
        self.size = start
        self.newest = 0
        self._ledger = ledger
        self._keys = list(keys)
        self._places = list(places)
        self._roots = list(roots)
        self._store = store
        self._heads: dict[int, list[tuple[str, TreeHead]]] = defaultdict(list)

    async def run(self) -> AsyncIterator[Fault]:
        """Check everything and tell what is wrong.

        Raises:
            Unavailable: The ledger or a place did not answer.
        """
        async for fault in self._read_heads():
            yield fault
        size = await self._ledger.size()  # after what was signed: the ledger may be growing meanwhile
        async for fault in self._walk(size):
            yield fault
        for beyond in sorted(self._heads):
            if beyond > size:
                yield Fault(self._heads[beyond][0][0], f"signed for {beyond} entries, and the ledger has {size}")

    # Checkpoints and their copies

    async def _read_heads(self) -> AsyncIterator[Fault]:
        delivered = {one.place: one.size for one in await self._ledger.deliveries()}
        kept: dict[int, str] = {}
        async for checkpoint in self._ledger.checkpoints():
            kept[checkpoint.size] = checkpoint.note
            for fault in self._check_kept(checkpoint):
                yield fault
            if checkpoint.timestamp is not None and not await self._is_stored(checkpoint.size, checkpoint.timestamp):
                yield Fault(f"checkpoint {checkpoint.size}", "its timestamp is not the one in the store")
        self.newest = max(kept, default=0)
        for name, size in delivered.items():
            if size > self.newest:
                yield Fault(name, f"is said to have got {size} entries, and no checkpoint goes so far")
        for place in self._places:
            async for fault in self._compare(place, kept, delivered.get(place.name, 0)):
                yield fault

    def _check_kept(self, checkpoint: Checkpoint) -> list[Fault]:
        where = f"checkpoint {checkpoint.size}"
        head = self._open(where, checkpoint.note)
        if isinstance(head, Fault):
            return [head]
        found = []
        if head.size != checkpoint.size or head.at not in {None, checkpoint.made_at}:
            found.append(Fault(where, f"is signed for {head.size} entries at {head.at}"))
        if checkpoint.timestamp is not None:
            try:
                timestamps.check(checkpoint.timestamp, checkpoint.note.encode(), self._roots)
            except IntegrityError as error:
                found.append(Fault(where, str(error)))
        return found

    async def _is_stored(self, size: int, token: bytes) -> bool:
        if self._store is None:
            return True
        key = f"{timestamps.PREFIX}{size:012}.tsr"
        versions = [one.version_id for one in await self._store.versions(key) if not one.is_delete_marker]
        return bool(versions) and await self._store.get(key, versions[0]) == token

    async def _compare(self, place: Place, kept: dict[int, str], delivered: int) -> AsyncIterator[Fault]:
        held = set()
        async for note in place.held():
            head = self._open(f"a checkpoint in {place.name}", note)
            if isinstance(head, Fault):
                yield head
                continue
            held.add(head.size)
            where = f"checkpoint {head.size} in {place.name}"
            if head.size > self.newest and (new := await self._made_since(head.size)) is not None:
                kept[head.size] = new
            if head.size not in kept:
                yield Fault(where, "is not in the ledger")
            elif kept[head.size] != note:
                yield Fault(where, "is another one than in the ledger")
        if held or place.takes_all:
            for size in sorted(size for size in kept if size <= delivered and size not in held):
                yield Fault(f"checkpoint {size} in {place.name}", "was delivered and is gone")

    async def _made_since(self, size: int) -> str | None:
        """Look again for a checkpoint of this size: it may have been made after the others were read."""
        async for checkpoint in self._ledger.checkpoints(size):
            return checkpoint.note if checkpoint.size == size else None
        return None

    def _open(self, where: str, note: str) -> TreeHead | Fault:
        try:
            head = open_checkpoint(note, self._keys)
        except IntegrityError as error:
            return Fault(where, str(error))
        heads = self._heads[head.size]
        if head not in [known for _, known in heads]:
            heads.append((where, head))
        return head

    # Entries

    async def _walk(self, size: int) -> AsyncIterator[Fault]:
        try:
            frontier = await self._ledger.frontier(self.size) if self.size else Frontier()
        except IntegrityError as error:
            yield Fault(f"checkpoint {self.size}", str(error))
            return
        if self.size and self.size not in self._heads:
            yield Fault(f"checkpoint {self.size}", "is not there, and an earlier check ended with it")
        bad = 0
        for fault in self._check_heads(frontier):
            bad += 1
            yield fault
        try:
            async for row in self._ledger.rows(self.size, size):
                for fault in _check_row(row, frontier):
                    yield fault
                self.size = frontier.size
                for fault in self._check_heads(frontier):
                    bad += 1
                    if bad == 1:  # all that follow disagree too
                        yield fault
        except IntegrityError as error:
            yield Fault(f"entries from {self.size}", str(error))
        if bad > 1:
            yield Fault("checkpoints", f"{bad - 1} more do not agree with the entries")

    def _check_heads(self, frontier: Frontier) -> list[Fault]:
        heads = self._heads.get(frontier.size)
        if not heads:
            return []
        root = frontier.root() if frontier.size else EMPTY_ROOT
        return [Fault(where, "has signed other entries than there are") for where, head in heads if head.root != root]


def _check_row(row: Row, frontier: Frontier) -> list[Fault]:
    where = f"entry {row.index}"
    found = []
    if b"".join(frontier.add(leaf_hash(row.line))) != row.nodes:
        found.append(Fault(where, "its hashes are not those of the entries up to it"))
    try:
        entry = decode(row.line)
    except IntegrityError as error:
        return [*found, Fault(where, str(error))]
    if (row.id, row.kind, row.recorder_id, row.session_id) != (
        entry.id,
        entry.kind,
        entry.recorder_id,
        entry.session_id,
    ):
        found.append(Fault(where, "what it can be found by is not what it says"))
    return found
