"""Several hosts that take uploads: each has a folder of its own, and what comes to two of them is stored once."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from domain.clock import SystemClock
from domain.errors import InvalidSettings
from domain.settings import Settings
from policies.local import default
from storage.backfill import Backfill
from storage.catalog.uploads import Uploads
from storage.ledger.entry import decode
from streams.uploads.limits import Limits
from streams.uploads.routes import uploads_router
from streams.uploads.shelf import Shelf, take_shelf
from streams.workers.backfill import BackfillWorker
from tests.streams.memory_ingest import MemoryIngest
from tests.streams.store_media import Site, site
from tests.streams.uploads_client import announced, bearer, files, mp4, patch, send

LIMITS = Limits(file_bytes=100_000, recorder_bytes=150_000, recorder_files=2, free_bytes=0, expires_s=3600)
LATER = {"from": "2026-03-02T09:00:00.000+08:00", "to": "2026-03-02T09:11:00.000+08:00"}


class Host:
    """An ingest host with a folder of its own, addressed by its own name or by one that all share."""

    def __init__(self, root: Path, public_url: str = "") -> None:
        ingest = MemoryIngest()
        ingest.register("rec-1")
        self.shelf = Shelf(root)
        self.shelf.open()
        router = uploads_router(ingest, SystemClock(), self.shelf, LIMITS, public_url=public_url)
        transport = httpx.ASGITransport(Starlette(routes=router.routes))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://shared")

    def worker(self, here: Site) -> BackfillWorker:
        backfill = Backfill(here.store, Uploads(here.catalog), here.ledger, SystemClock(), default())
        return BackfillWorker(here.bus, backfill, self.shelf, lambda _: "wucheng", SystemClock(), expires_s=3600)


async def begun(host: Host, data: bytes) -> str:
    created = await host.http.post("/uploads/", headers=announced(data))
    assert created.status_code == 201
    return str(created.headers["Location"])


async def test_an_upload_goes_on_only_where_it_was_begun(tmp_path: Path) -> None:
    one, two = Host(tmp_path / "one"), Host(tmp_path / "two")
    data = mp4(1)
    place = await begun(one, data)
    assert (await one.http.patch(place, headers=patch(0), content=data[:1000])).status_code == 204
    answers = [
        await two.http.head(place, headers=bearer()),
        await two.http.patch(place, headers=patch(1000), content=data[1000:]),
        await two.http.delete(place, headers=bearer()),
    ]
    assert [answer.status_code for answer in answers] == [421] * 3
    assert "begun at another host" in answers[1].json()["detail"]
    assert files(two.shelf.partial, "*") == []
    assert (await one.http.head(place, headers=bearer())).headers["Upload-Offset"] == "1000"
    assert (await one.http.patch(place, headers=patch(1000), content=data[1000:])).status_code == 204
    unknown = place[: -len("0" * 24 + one.shelf.host)] + "0" * 24 + one.shelf.host
    assert (await one.http.head(unknown, headers=bearer())).status_code == 404


async def test_its_address_names_the_host(tmp_path: Path) -> None:
    one = Host(tmp_path / "one", "https://ingest-1.example")
    place = await begun(one, mp4(1))
    assert place.startswith("https://ingest-1.example/uploads/")
    assert place.endswith(one.shelf.host)
    again = Shelf(tmp_path / "one")
    again.open()
    assert again.host == one.shelf.host, "the same after a restart"


async def test_what_is_brought_to_two_hosts_is_one_object_one_entry_and_one_row(tmp_path: Path) -> None:
    hosts, data = [Host(tmp_path / name) for name in ("one", "two")], mp4(2)
    assert (await send(hosts[0].http, data)).status_code == 204
    assert (await send(hosts[1].http, data, session_id="s2", **LATER)).status_code == 204
    async with site(tmp_path / "site") as here:
        # Both find that the catalogue does not have it, and go on side by side.
        assert await hosts[0].worker(here).round()
        await here.catalog.database.write(lambda connection: connection.exec_driver_sql("delete from uploads"))
        assert await hosts[1].worker(here).round()
        (row,) = (await Uploads(here.catalog).page(recorder_id="rec-1")).items
        (entry,) = [decode(line) async for _, line in here.ledger.read()]
        assert [one.key async for one in here.store.list("uploads/")] == [row.key]
    assert (row.session_id, entry.session_id) == ("s1", "s1"), "the first statement is the one that counts"
    assert entry.body["delivered_at"] == row.delivered_at.rfc3339()


def test_two_processes_do_not_take_uploads_into_one_folder(tmp_path: Path) -> None:
    settings = Settings(uploads=str(tmp_path / "uploads"))
    _, lock = take_shelf(settings)
    with pytest.raises(InvalidSettings, match="a folder of its own"):
        take_shelf(settings)
    os.close(lock)
    _, lock = take_shelf(settings)
    os.close(lock)
