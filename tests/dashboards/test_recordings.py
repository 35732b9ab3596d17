"""Stored footage is hashed before it is shown."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from dashboards.hls.playback import Recordings
from dashboards.hls.routes import stored_router
from dashboards.people.doors import Open
from dashboards.people.grants import NoGrants
from dashboards.people.guard import Guard
from dashboards.people.playing import Playing
from dashboards.people.rights import Place
from dashboards.people.viewing import AccessLog
from dashboards.problem import Missing
from domain.clock import Instant, SystemClock
from domain.errors import IntegrityError, LedgerUnavailable
from storage.catalog.catalog import Catalog
from storage.catalog.register import Register
from storage.catalog.rows import SegmentRow
from storage.ledger.entry import decode
from tests.storage.verify_case import Case, case


class Player:
    """A viewer of one site, and what the site told of its objects."""

    def __init__(self, one: Case, catalog: Catalog) -> None:
        self.case, self.catalog = one, catalog
        self.told: list[tuple[str, str, str]] = []
        self.recordings = Recordings(catalog, one.store, self._tell)

    async def _tell(self, recorder_id: str, key: str, fault: str) -> None:
        self.told.append((recorder_id, key, fault))

    async def fragment(self, row: SegmentRow, seq: int) -> bytes:
        found = await self.recordings.segment(row.recorder_id, token(row))
        return await self.recordings.fragment(found, seq, 0)

    def flip(self, row: SegmentRow, at: int) -> None:
        path = self.case.folder / "store" / "objects" / row.key
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.chmod(0o644)
        path.write_bytes(data)


def router(player: Player, door: Open) -> APIRouter:
    clock = SystemClock()
    playing = Playing(lambda _recorder_id, _at: Place(), NoGrants(), clock)
    return stored_router(Guard(door), player.recordings, AccessLog(player.case.ledger, clock), playing)


def token(row: SegmentRow) -> str:
    return base64.urlsafe_b64encode(row.key.encode()).decode()


@pytest.fixture
async def player(tmp_path: Path) -> AsyncIterator[Player]:
    async with case(tmp_path) as one:
        await one.fill()
        catalog = await Catalog.connect(f"sqlite:///{tmp_path}/catalog.db")
        for row in one.rows:
            await catalog.add_segment(row)
        yield Player(one, catalog)
        await catalog.close()


async def test_what_is_as_it_was_is_told_of_to_nobody(player: Player) -> None:
    """The fragments of this site are of right boxes that no player plays: they pass the hash and end at the boxes."""
    for row in player.case.rows:
        with pytest.raises(Missing, match="cannot be read"):
            await player.fragment(row, row.first_seq)
    assert player.told == []


async def test_a_fragment_that_was_changed_is_refused_and_told_of_once(player: Player) -> None:
    row = player.case.rows[0]
    player.flip(row, row.bytes // 2)  # in the second of three
    for _ in range(2):
        with pytest.raises(IntegrityError, match="fragment 1 is not what was stored"):
            await player.fragment(row, 1)
    with pytest.raises(Missing, match="cannot be read"):
        await player.fragment(row, 2)  # that one is whole
    assert player.told == [("cam-1", row.key, "altered")]


async def test_a_changed_beginning_spoils_every_fragment(player: Player) -> None:
    row = player.case.rows[0]
    player.flip(row, 5)
    with pytest.raises(IntegrityError):
        await player.recordings.init(row)
    with pytest.raises(IntegrityError):
        await player.fragment(row, 2)


async def test_an_object_that_is_gone(player: Player) -> None:
    row = player.case.rows[2]
    (player.case.folder / "store" / "objects" / row.key).unlink()
    with pytest.raises(IntegrityError):
        await player.fragment(row, 0)
    assert player.told == [("cam-2", row.key, "missing")]


async def test_what_was_deleted_at_the_end_of_its_time_is_no_fault(player: Player) -> None:
    row = player.case.rows[2]
    (player.case.folder / "store" / "objects" / row.key).unlink()
    await Register(player.catalog).deleted(row.key, Instant(0))
    with pytest.raises(Missing):
        await player.fragment(row, 0)
    assert player.told == []


async def test_a_manifest_that_was_changed_is_told_of_and_a_viewer_sees_a_gap(player: Player) -> None:
    row = player.case.rows[3]
    player.flip(row, row.bytes - 2)
    text = await player.recordings.playlist("cam-1", player.case.rows[0].from_at, row.to_at.plus(60_000))
    assert token(player.case.rows[0]) in text
    assert token(row) not in text
    assert player.told == [("cam-1", row.key, "altered")]


async def test_a_browser_gets_502_and_is_told_why(player: Player) -> None:
    app = FastAPI()
    app.include_router(router(player, Open("wang")))
    row = player.case.rows[0]
    player.flip(row, row.bytes // 2)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://console") as client:
        answer = await client.get(f"/hls/cam-1/playback/{token(row)}/1-0.m4s")
    assert answer.status_code == 502
    assert answer.json()["title"] == "Not what was stored"
    assert "fragment 1 is not what was stored, and is not shown" in answer.json()["detail"]


async def test_who_is_shown_what_stands_in_the_ledger_before_a_byte_is_served(player: Player) -> None:
    app = FastAPI()
    app.include_router(router(player, Open("wang")))
    row = player.case.rows[0]
    before = await player.case.ledger.size()
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://console") as client:
        for part in ("init.mp4", "1-0.m4s", "1-0.m4s"):
            await client.get(f"/hls/cam-1/playback/{token(row)}/{part}")
        told = [decode(line) async for _, line in player.case.ledger.read(before)]
        assert [(one.kind, one.body["by"], one.body["key"]) for one in told] == [("access", "wang", row.key)]

        async def away(_: object) -> list[int]:
            raise LedgerUnavailable("ledger: restarting")

        player.case.ledger.append = away  # type: ignore[method-assign,assignment]
        other = player.case.rows[1]
        refused = await client.get(f"/hls/cam-1/playback/{token(other)}/init.mp4")
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "2"
