"""An evidence package: made whole under a name that nobody looks at, said in the ledger, and only then given its name.

1. **Gather** what the ledger says (`holdings`).
2. **Copy** the originals, each checked against its hash on the way.
3. **Play**: the playable copy (`remux`). **Sheet**: what people read (`sheet`).
4. **Seal**: `package.json`, with the hash of every file.
5. **Say**: the `export` entry, with the hash of `package.json`.
6. **Sign**: a checkpoint over it, and the proofs that lead to it.
7. **Give**: the folder gets its name.

A crash before step 7 leaves a folder `.NAME.part`, which the next try removes; after step 5 the ledger says that an
export was made that nobody received, which is the right way round.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from domain.clock import Clock, Instant
from domain.errors import IntegrityError, InvalidInput
from domain.findings import Finding
from domain.wire import to_builtins
from storage.catalog.rows import ObjectRow, UploadRow
from storage.export.delivered import play
from storage.export.holdings import Gap, Holdings, Line, gather
from storage.export.original import Original, original_of
from storage.export.remux import Copy, Source, remux
from storage.ledger.checkpoint import open_checkpoint
from storage.ledger.entry import Entry
from storage.ledger.keys import Keys
from storage.ledger.ledger import Ledger
from storage.ledger.notary import Notary
from storage.objects.port import ObjectStore

VERSION = 1
MAX_CHECKPOINTS = 500
"""Earlier checkpoints that go into a package, at most; thinned out evenly beyond it."""
_CHUNK = 1 << 20


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a package is made.

    Attributes:
        by: Who takes it out (提取人).
        purpose: What for.
        approved_by: Who agreed; empty where the policy wants nobody.
        application: Id of the request on which they did, here, step by step, before this was made: its entries are in
            the ledger. Empty where `approved_by` is only what whoever took it out has said.
        document: Number of the application or approval.
        made_by: Who recorded it (制作人); empty where unknown.
        clauses: Articles that the approval rests on.
        party: Whom it is about (当事人).
        matter: What it is about (案由).
        officers: Who acted (执法人员).
        place: Where (执法地点).
        unit: Of whom the package is (单位).
    """

    by: str
    purpose: str = ""
    approved_by: str = ""
    application: str = ""
    document: str = ""
    made_by: str = ""
    clauses: list[str] = []
    party: str = ""
    matter: str = ""
    officers: list[str] = []
    place: str = ""
    unit: str = ""


class ClockOffset(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}, omit_defaults=True):
    """When a device's own clock was off by more than the policy's few seconds.

    Attributes:
        from_: Since when, RFC 3339 by our clock.
        offset_s: Its clock less ours, seconds.
        to: Until when; None while it lasts.
    """

    from_: str
    offset_s: float
    to: str | None = None


class File(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Another file in the package.

    Attributes:
        file: Its path in the package.
        sha256: Of its bytes.
        bytes: Their number.
        what: `play`, `sheet`, `label`, `readme` or `verifier`.
        more: Of a playable copy: its times and pauses.
    """

    file: str
    sha256: str
    bytes: int
    what: str
    more: dict[str, Any] | None = None


class Told(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}, omit_defaults=True):
    """What `package.json` says."""

    v: int
    origin: str
    made_at: str
    recorder_id: str
    session_id: str
    request: Request
    objects: list[Original]
    gaps: list[Gap]
    clock: list[ClockOffset] | None = None
    from_: str | None = None
    to: str | None = None
    files: list[File] = []


Progress = Callable[[int, int], None]
"""Told how many originals are copied, and how many there are."""


def no_progress(_done: int, _whole: int) -> None:
    """Nobody wants to know."""


Sheet = Callable[[Path, Told, Holdings, Sequence[Copy]], Sequence[tuple[str, str]]]
"""Writes what people read into a folder; returns path in it and `what` of each file."""


class Exporter:
    """Makes packages.

    Args:
        ledger: Says what there is, and that it was taken out.
        store: Has the originals.
        keys: Sign the checkpoint.
        clock: For `made_at`.
        sheet: See `Sheet`.
    """

    def __init__(self, ledger: Ledger, store: ObjectStore, keys: Keys, clock: Clock, sheet: Sheet) -> None:
        self._ledger = ledger
        self._store = store
        self._keys = keys
        self._clock = clock
        self._sheet = sheet

    async def make(
        self,
        out: Path,
        recorder_id: str,
        session_id: str,
        request: Request,
        *,
        from_at: Instant | None = None,
        to_at: Instant | None = None,
        clock: Sequence[Finding] | None = None,
        progress: Progress = no_progress,
    ) -> Told:
        """Make a package of a session, or of a part of it.

        Args:
            out: The folder to be made; must not be there.
            recorder_id: Whose footage.
            session_id: Of which session.
            request: Why.
            from_at: Only recordings that reach beyond this.
            to_at: Only recordings that begin before this.
            clock: What was found of the recorder's clock (`clock.drift`); None where nobody knows.
            progress: Told of each original that is copied.

        Raises:
            InvalidInput: There is nothing of it, or `out` is there.
            InvalidMedia: A recording cannot be made playable.
            IntegrityError: An original is not what the ledger says; nothing is given out.
            Unavailable: Store or ledger are away.
        """
        if await asyncio.to_thread(out.exists):
            msg = f"out: {out} is there already"
            raise InvalidInput(msg, "out")
        holdings = await gather(self._ledger, recorder_id, session_id, from_at, to_at)  # step 1
        holdings = holdings.without_others(request.application)
        part = out.with_name(f".{out.name}.part")
        await asyncio.to_thread(_begin, part)
        try:
            told = await self._fill(part, holdings, request, clock, progress)
            await self._attest(part, told, holdings)
            await asyncio.to_thread(_give, part, out)  # step 7
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, part, ignore_errors=True)
            raise
        return told

    async def _fill(
        self,
        folder: Path,
        holdings: Holdings,
        request: Request,
        clock: Sequence[Finding] | None,
        progress: Progress,
    ) -> Told:
        """Steps 2 to 4."""
        originals: list[Original] = []
        sources: list[Source] = []
        delivered: list[tuple[Path, UploadRow]] = []
        for number, one in enumerate(holdings.recordings, 1):
            row = one.row
            name = f"objects/{number:05}-{row.key.rpartition('/')[2]}"
            await self._copy(folder / name, row)
            originals.append(original_of(name, row, one.entry))
            if isinstance(row, UploadRow):
                delivered.append((folder / name, row))
            else:
                sources.append(Source(folder / name, row.from_at, row.to_at))
            progress(number, len(holdings.recordings))
        copies = await asyncio.to_thread(remux, sources, folder / "play")
        copies += await play(delivered, folder / "play", len(copies) + 1)
        told = Told(
            v=VERSION,
            origin=self._keys.signer.verifier.name,
            made_at=self._clock.now().rfc3339(),
            recorder_id=holdings.recorder_id,
            session_id=holdings.session_id,
            request=request,
            objects=originals,
            gaps=list(holdings.gaps),
            clock=None if clock is None else _offsets(clock, holdings),
            from_=None if holdings.from_at is None else holdings.from_at.rfc3339(),
            to=None if holdings.to_at is None else holdings.to_at.rfc3339(),
        )
        return await asyncio.to_thread(self._seal, folder, told, holdings, copies)

    async def _copy(self, path: Path, row: ObjectRow) -> None:
        digest, size = hashlib.sha256(), 0
        with path.open("xb") as target:
            async for piece in self._store.open_range(row.key, row.version_id):
                digest.update(piece)
                size += len(piece)
                target.write(piece)
        if (digest.hexdigest(), size) != (row.sha256, row.bytes):
            msg = f"{row.key}: its bytes are not those that the ledger tells of; nothing is given out"
            raise IntegrityError(msg)

    def _seal(self, folder: Path, told: Told, holdings: Holdings, copies: Sequence[Copy]) -> Told:
        files = [_file(folder, f"play/{copy.path.name}", "play", _times(copy)) for copy in copies]
        verifier = resources.files("storage.export").joinpath("verifier.py").read_bytes()
        (folder / "verify.py").write_bytes(verifier)
        files.append(_file(folder, "verify.py", "verifier"))
        written = self._sheet(folder, msgspec.structs.replace(told, files=files), holdings, copies)
        files += [_file(folder, name, what) for name, what in written]
        sealed = msgspec.structs.replace(told, files=files)
        (folder / "package.json").write_bytes(msgspec.json.encode(to_builtins(sealed), order="sorted"))
        return sealed

    async def _attest(self, folder: Path, told: Told, holdings: Holdings) -> None:
        """Steps 5 and 6."""
        data = (folder / "package.json").read_bytes()
        body = {
            "package_sha256": hashlib.sha256(data).hexdigest(),
            "objects": len(told.objects),
            "bytes": sum(one.bytes for one in told.objects),
            "request": to_builtins(told.request),
            "from": told.from_ or told.objects[0].from_,
            "to": told.to or max(one.to for one in told.objects),
        }
        entry = Entry(
            kind="export",
            at=Instant.parse(told.made_at),
            recorder_id=told.recorder_id,
            session_id=told.session_id,
            body=body,
        )
        (index,) = await self._ledger.append([entry])
        await Notary(self._ledger, self._keys, self._clock).make()
        newest = await self._ledger.latest_checkpoint()
        if newest is None or newest.size <= index:
            msg = "ledger: its newest checkpoint does not cover the export"
            raise IntegrityError(msg)
        (folder / "ledger").mkdir()
        (folder / "ledger/checkpoint.txt").write_text(newest.note, encoding="utf-8")
        keys = "".join(f"{key}\n" for key in self._keys.trusted)
        (folder / "ledger/keys.txt").write_text(keys, encoding="utf-8")
        await self._write_entries(
            folder / "ledger/entries.ndjson", [*holdings.lines, Line(index, entry.line(), entry)], newest.size
        )
        await self._write_consistency(folder / "ledger/consistency.ndjson", holdings, newest.size)

    async def _write_entries(self, path: Path, lines: Sequence[Line], size: int) -> None:
        with path.open("x", encoding="utf-8") as target:
            for line in lines:
                proof = await self._ledger.inclusion(line.index, size)
                told = {"index": line.index, "line": line.line.decode(), "proof": [step.hex() for step in proof]}
                target.write(msgspec.json.encode(told).decode() + "\n")

    async def _write_consistency(self, path: Path, holdings: Holdings, size: int) -> None:
        """Write the checkpoints from the first recording's entry on, and that the tree only grew since each."""
        first = min(line.index for line in holdings.lines) + 1
        known = [one async for one in self._ledger.checkpoints(first) if one.size < size]
        step = max(1, -(-len(known) // MAX_CHECKPOINTS))
        with path.open("x", encoding="utf-8") as target:
            for one in known[::step]:
                old = open_checkpoint(one.note, self._keys.trusted)
                proof = await self._ledger.consistency(old.size, size)
                told = {"size": old.size, "note": one.note, "proof": [step.hex() for step in proof]}
                target.write(msgspec.json.encode(told).decode() + "\n")


def _begin(part: Path) -> None:
    part.parent.mkdir(parents=True, exist_ok=True)
    if part.exists():  # of a try that was cut off
        shutil.rmtree(part)
    (part / "objects").mkdir(parents=True)


def _give(part: Path, out: Path) -> None:
    for path in sorted(part.rglob("*"), reverse=True):
        _sync(path)
    _sync(part)
    part.rename(out)
    _sync(out.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _offsets(found: Sequence[Finding], holdings: Holdings) -> list[ClockOffset]:
    """Return what was found of the clock while any of it was recorded, in order."""
    begin = holdings.recordings[0].row.from_at
    end = max(one.row.to_at for one in holdings.recordings)
    offsets = []
    for one in sorted(found, key=lambda finding: finding.began_at):
        offset_s = one.evidence.get("offset_s")
        within = one.began_at < end and (one.ended_at is None or one.ended_at > begin)
        if one.kind == "clock.drift" and within and isinstance(offset_s, int | float):
            until = None if one.ended_at is None else one.ended_at.rfc3339()
            offsets.append(ClockOffset(from_=one.began_at.rfc3339(), offset_s=float(offset_s), to=until))
    return offsets


def _times(copy: Copy) -> dict[str, Any]:
    return {
        "from": copy.from_at.rfc3339(),
        "to": copy.to_at.rfc3339(),
        "pauses": [{"at_s": pause.at_s, "seconds": pause.seconds} for pause in copy.pauses],
    }


def _file(folder: Path, name: str, what: str, more: dict[str, Any] | None = None) -> File:
    digest = hashlib.sha256()
    with (folder / name).open("rb") as stream:
        while piece := stream.read(_CHUNK):
            digest.update(piece)
        size = stream.tell()
    return File(file=name, sha256=digest.hexdigest(), bytes=size, what=what, more=more)
