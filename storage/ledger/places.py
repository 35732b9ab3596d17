"""Where copies of the checkpoints go: out of reach of whoever writes the ledger.

A place that has another checkpoint of the same size, or whose own record the new one does not follow from, raises
`IntegrityError`: the ledger has been written anew, and both versions now exist.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import AsyncIterator
from typing import Protocol

import httpx

from domain.clock import Clock
from domain.errors import IntegrityError, LedgerUnavailable, Refused
from storage.ledger.checkpoint import parse_head
from storage.ledger.ledger import Ledger
from storage.ledger.statements import Checkpoint
from storage.objects.port import ObjectStore

PREFIX = "ledger/checkpoints/"
TIMEOUT_S = 10.0
_MAX_ANSWER_BYTES = 65_536

_log = logging.getLogger(__name__)


class Place(Protocol):
    """One place.

    Attributes:
        name: As in the setting; for messages, metrics and the record of what was delivered.
        takes_all: It gets every checkpoint, not only the newest.
    """

    name: str
    takes_all: bool

    async def deliver(self, checkpoint: Checkpoint, delivered: int) -> str:
        """Put a checkpoint there, durably; again changes nothing.

        Args:
            checkpoint: The next one, or the newest.
            delivered: Size of the last one that was delivered; 0 where none was.

        Returns:
            What the place answered, to be kept.

        Raises:
            Unavailable: Try again.
            Refused: It will say no again until somebody changes something.
            IntegrityError: See the module.
        """
        ...

    def held(self) -> AsyncIterator[str]:
        """Read back the notes that it has, where it can be read, the smallest first."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class StorePlace:
    """An object store: the evidence store itself, a second bucket, or a folder. One locked, create-only object each.

    Args:
        name: See `Place`.
        store: Closed with the place where `owned`.
        lock_ms: For how long an object is locked.
        clock: For the lock's end.
        owned: Nobody else uses the store.
    """

    takes_all = True

    def __init__(self, name: str, store: ObjectStore, lock_ms: int, clock: Clock, *, owned: bool) -> None:
        self.name = name
        self._store = store
        self._lock_ms = lock_ms
        self._clock = clock
        self._owned = owned

    async def deliver(self, checkpoint: Checkpoint, delivered: int) -> str:
        """See `Place.deliver`."""
        data = checkpoint.note.encode()
        key = f"{PREFIX}{checkpoint.size:012}.txt"
        stored = await self._store.put(
            key,
            data,
            sha256=hashlib.sha256(data).hexdigest(),
            retain_until=self._clock.now().plus(self._lock_ms),
            tags={"retention": "ledger"},
            metadata={},
            content_type="text/plain",
        )
        return f"{key} {stored.version_id}".strip()

    async def held(self) -> AsyncIterator[str]:
        """See `Place.held`; each in the version written first."""
        async for listed in self._store.list(PREFIX):
            versions = [version for version in await self._store.versions(listed.key) if not version.is_delete_marker]
            data = await self._store.get(listed.key, versions[0].version_id if versions else "")
            yield data.decode("utf-8", "replace")

    async def probe(self) -> None:
        """Find out whether it can keep what it is given; see `ObjectStore.probe`."""
        await self._store.probe()

    async def close(self) -> None:
        """See `Place.close`."""
        if self._owned:
            await self._store.close()


class LogPlace:
    """A line on the process's log, which systemd, Kubernetes or a log server carries away."""

    takes_all = False

    def __init__(self, name: str = "log") -> None:
        self.name = name

    async def deliver(self, checkpoint: Checkpoint, delivered: int) -> str:
        """See `Place.deliver`."""
        text, _, signatures = checkpoint.note.partition("\n\n")
        _log.info("ledger checkpoint: %s | %s", " ".join(text.split("\n")), " | ".join(signatures.splitlines()))
        return ""

    async def held(self) -> AsyncIterator[str]:
        """See `Place.held`; a log cannot be read back from here."""
        nothing: tuple[str, ...] = ()
        for note in nothing:
            yield note

    async def close(self) -> None:
        """See `Place.close`."""


class WitnessPlace:
    """A witness that speaks C2SP tlog-witness: it checks that each checkpoint follows from the last one it has seen.

    What it answers, its cosignature, is the receipt.

    Args:
        url: Its submission prefix.
        ledger: For consistency proofs.
    """

    takes_all = False

    def __init__(self, url: str, ledger: Ledger) -> None:
        self.name = url
        self._url = f"{url.rstrip('/')}/add-checkpoint"
        self._ledger = ledger
        self._client = httpx.AsyncClient(timeout=TIMEOUT_S)

    async def deliver(self, checkpoint: Checkpoint, delivered: int) -> str:
        """See `Place.deliver`."""
        answer = await self._submit(checkpoint, delivered)
        if answer.status_code == httpx.codes.CONFLICT:  # it knows more, or less, than we remember of it
            seen = self._size_of(answer)
            if seen > checkpoint.size or seen == delivered:
                msg = f"{self.name}: has seen a checkpoint of {seen} entries that this one does not follow from"
                raise IntegrityError(msg)
            answer = await self._submit(checkpoint, seen)
        return self._receipt(answer)

    async def held(self) -> AsyncIterator[str]:
        """See `Place.held`; the protocol has no reading back."""
        nothing: tuple[str, ...] = ()
        for note in nothing:
            yield note

    async def close(self) -> None:
        """See `Place.close`."""
        await self._client.aclose()

    async def _submit(self, checkpoint: Checkpoint, old: int) -> httpx.Response:
        proof = await self._ledger.consistency(old, checkpoint.size)
        lines = [f"old {old}", *(base64.b64encode(one).decode() for one in proof), "", checkpoint.note]
        try:
            return await self._client.post(self._url, content="\n".join(lines).encode())
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            msg = f"{self.name}: {type(error).__name__}: {error}"
            raise LedgerUnavailable(msg) from error

    def _size_of(self, answer: httpx.Response) -> int:
        text = answer.text.strip()
        if not (text.isascii() and text.isdigit()):
            msg = f"{self.name}: says 409 without the size that it has seen"
            raise IntegrityError(msg)
        return int(text)

    def _receipt(self, answer: httpx.Response) -> str:
        if answer.is_success and len(answer.content) <= _MAX_ANSWER_BYTES:
            return answer.text
        msg = f"{self.name}: answered {answer.status_code}: {answer.text[:200].strip()}"
        if answer.status_code in {httpx.codes.CONFLICT, httpx.codes.UNPROCESSABLE_ENTITY}:
            raise IntegrityError(msg)
        if answer.is_client_error and answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
            raise Refused(msg)
        raise LedgerUnavailable(msg)


def size_of(note: str) -> int:
    """Return the size that a note speaks of, without regard to who signed it.

    Raises:
        IntegrityError: It is no checkpoint.
    """
    return parse_head(f"{note.partition(chr(10) * 2)[0]}\n").size
