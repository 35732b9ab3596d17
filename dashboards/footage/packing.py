"""Copies that were granted, made one at a time beside the console's other work, each fetched once.

What waits is a state in the office's database (`waiting`, `packing`), so a restart begins again what was not finished
and nothing is queued in memory. A made copy is one ZIP file, nothing packed smaller, in `copies` of the work folder; it
goes when it was fetched, and when its grant is over.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec

from dashboards.parts import Parts
from domain.clock import Instant
from domain.errors import InvalidSettings, LiuhenError, Unavailable
from domain.settings import Settings
from storage.export import sheet
from storage.export.basis import clock_findings
from storage.export.package import Exporter
from storage.export.package import Request as Asked
from storage.ledger.keys import Keys, load_keys
from storage.office import requests
from storage.office.request_steps import Application, Request
from storage.office.requests import Kept

CHUNK = 1 << 20
BEGINS_MS = 60_000
"""A copy of which nothing has been read so long after it was noted as handed over is not being fetched."""
AGAIN_S = 30.0
"""After an outage of store, ledger or office; and how often the folder is looked through for copies that are over."""

log = logging.getLogger(__name__)


class Progress(msgspec.Struct, frozen=True):
    """How far a copy is: so many of so many recordings."""

    done: int
    whole: int


class Packer:
    """See the module.

    Args:
        parts: Of this console.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._folder = Path(parts.settings.work) / "copies"
        self._wake = asyncio.Event()
        self._read: set[str] = set()
        self._progress: dict[str, Progress] = {}  # of the one that is being made

    def wake(self) -> None:
        """Look for work: a copy was granted."""
        self._wake.set()

    def progress(self, one: str) -> Progress | None:
        """Return how far a copy is; None where it is not being made in this process."""
        return self._progress.get(one)

    async def run(self, recover: Callable[[Kept], Awaitable[object]]) -> None:
        """Make copies until cancelled.

        Args:
            recover: Told of each request whose copy was being fetched by somebody who went away unheard.
        """
        while True:
            self._wake.clear()
            try:
                for kept in await self.left_over():
                    await recover(kept)
                await self._sweep()
                while waiting := await requests.to_pack(self._parts.office):
                    await self._one(waiting[0])
            except Unavailable as error:
                log.warning("copies: %s", error)
            await self._rest()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(AGAIN_S):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _one(self, kept: Kept) -> None:
        """Make one copy; what cannot be made is noted with its reason, and whoever asked reads it."""
        office = self._parts.office
        if not kept.request.wants_package(self._parts.clock.now()):
            await requests.set_packing(office, kept.id, "")
            return
        await requests.set_packing(office, kept.id, "packing")
        try:
            sha256 = await self._make(kept.request)
        except Unavailable:
            await requests.set_packing(office, kept.id, "waiting")
            raise
        except (LiuhenError, OSError) as error:
            log.error("copies: %s: %s", kept.id, error)
            await requests.set_packing(office, kept.id, "failed", note=str(error))
        else:
            await requests.set_packing(office, kept.id, "ready", sha256=sha256)
        finally:
            self._progress.pop(kept.id, None)

    async def _make(self, request: Request) -> str:
        """Make the package and its ZIP; return the hash of its list."""
        asked = request.application
        parts = self._parts
        keys = await asyncio.to_thread(_keys, parts.settings)
        exporter = Exporter(parts.ledger, parts.store, keys, parts.clock, sheet.write)
        folder = self._folder / asked.id
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        await exporter.make(
            folder,
            asked.recorder_id,
            asked.session_id,
            _told(request),
            from_at=asked.from_at,
            to_at=asked.to_at,
            clock=await clock_findings(parts.catalog, asked.recorder_id),
            progress=lambda done, whole: self._progress.update({asked.id: Progress(done, whole)}),
        )
        return await asyncio.to_thread(_zip, folder, self.path(asked.id))

    async def left_over(self) -> list[Kept]:
        """Return what nobody is fetching any more though its copy is still here: a life of this process ended."""
        there = await asyncio.to_thread(lambda: {path.stem for path in self._folder.glob("*.zip")} - self._read)
        found = [kept for one in sorted(there) if (kept := await requests.get(self._parts.office, one)) is not None]
        since = self._parts.clock.now().plus(-BEGINS_MS)
        return [one for one in found if one.request.state == "delivered" and (one.request.delivered_at or 0) < since]

    def path(self, one: str) -> Path:
        """Return where a copy's ZIP stands, or would."""
        return self._folder / f"{one}.zip"

    async def read(self, one: str) -> AsyncIterator[bytes]:
        """Read a copy piece by piece.

        Raises:
            OSError: It is not there.
        """
        self._read.add(one)
        stream = await asyncio.to_thread(self.path(one).open, "rb")
        try:
            while piece := await asyncio.to_thread(stream.read, CHUNK):
                yield piece
        finally:
            self._read.discard(one)
            stream.close()

    async def size(self, one: str) -> int | None:
        """Return the size of a copy; None where there is none here."""
        path = self.path(one)
        return await asyncio.to_thread(lambda: path.stat().st_size if path.exists() else None)

    async def handed_over(self, kept: Kept, *, whole: bool, broke_off: Callable[[Kept], Awaitable[object]]) -> None:
        """Take a copy away that was fetched; one that was not, whole, may be fetched again."""
        if whole:
            await asyncio.to_thread(self.path(kept.id).unlink, missing_ok=True)
            return
        telling = asyncio.ensure_future(broke_off(kept))
        try:
            await asyncio.shield(telling)  # whoever went away takes this answer's task with them
        except asyncio.CancelledError:
            await telling
            raise

    async def _sweep(self) -> None:
        """Take away copies whose grant is over, and what a life that was cut off has left."""
        now = self._parts.clock.now()
        for path in await asyncio.to_thread(lambda: sorted(self._folder.glob("*"))):
            name = path.name.removeprefix(".").partition(".")[0]
            kept = await requests.get(self._parts.office, name)
            if kept is None or not _is_wanted(kept, path, now):
                await asyncio.to_thread(_remove, path)


def _is_wanted(kept: Kept, path: Path, now: Instant) -> bool:
    return path.suffix == ".zip" and kept.packing == "ready" and kept.request.shown(now) in ("granted", "delivered")


def _keys(settings: Settings) -> Keys:
    """Load the ledger's key, which this process must not make: another one keeps the ledger."""
    path = Path(settings.ledger_key_file)
    if not path.exists():
        raise InvalidSettings(
            "ledger_key_file: the process that makes copies needs the ledger's key", "ledger_key_file"
        )
    return load_keys(path, settings.ledger_origin)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _told(request: Request) -> Asked:
    asked = request.application
    agreed = [f"{one.name}（{one.acting_as}）" if one.acting_as else one.name for one in request.decisions]
    return Asked(
        by=asked.asked_name,
        purpose=asked.reason,
        approved_by="、".join(agreed),
        application=asked.id,
        document=asked.id,
        clauses=list(asked.clauses),
        party=_outside(asked),
        matter=asked.matter,
        unit=asked.unit_id,
    )


def _outside(asked: Application) -> str:
    return asked.applicant if asked.who == "party" else ""


def _zip(folder: Path, out: Path) -> str:
    """Put a package into one file, under its own name, and take the folder away."""
    sha256 = hashlib.sha256((folder / "package.json").read_bytes()).hexdigest()
    part = out.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED, allowZip64=True) as target:
        for path in sorted(folder.rglob("*")):
            target.write(path, Path(folder.name) / path.relative_to(folder))
    part.replace(out)
    shutil.rmtree(folder)
    return sha256
