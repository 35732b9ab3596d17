"""Uploads by tus 1.0: the protocol, the limits, and what becomes of a whole file."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
import uvicorn
from starlette.applications import Starlette
from tusclient.client import TusClient

from domain.clock import Instant, ManualClock, SystemClock
from domain.events import Backfilled
from policies.local import default
from storage.backfill import Backfill
from storage.catalog.uploads import Uploads
from storage.ledger.entry import decode
from storage.rebuild import rebuild
from storage.verify.verifier import Scope, Verifier
from streams.uploads.dropbox import Dropbox
from streams.uploads.limits import Limits
from streams.uploads.routes import uploads_router
from streams.uploads.shelf import Shelf
from streams.workers.backfill import BackfillWorker
from streams.workers.custody_entries import of_event
from tests.streams.memory_ingest import MemoryIngest
from tests.streams.store_media import Site, end_feed, events, fragment, media, publish, records, site
from tests.streams.uploads_client import FROM, TO, announced, bearer, files, mp4, patch, send

LIMITS = Limits(file_bytes=100_000, recorder_bytes=150_000, recorder_files=2, free_bytes=0, expires_s=3600)


class Desk:
    """The routes over a folder, and whom they know."""

    def __init__(self, root: Path, limits: Limits = LIMITS) -> None:
        self.ingest = MemoryIngest()
        self.ingest.register("rec-1")
        self.ingest.register("rec-2", token="other")
        self.shelf = Shelf(root)
        self.shelf.open()
        router = uploads_router(self.ingest, SystemClock(), self.shelf, limits)
        self.app = Starlette(routes=router.routes)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://here")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    opened = Desk(tmp_path / "uploads")
    async with opened.http:
        yield opened


def worker_of(here: Site, shelf: Shelf, dropbox: Dropbox | None = None) -> BackfillWorker:
    backfill = Backfill(here.store, Uploads(here.catalog), here.ledger, SystemClock(), default())
    return BackfillWorker(
        here.bus, backfill, shelf, lambda _: "wucheng", SystemClock(), expires_s=3600, dropbox=dropbox
    )


async def backfills(here: Site) -> list[Backfilled]:
    return [event for event in await events(here.bus) if isinstance(event, Backfilled)]


async def test_what_the_server_says_of_itself(desk: Desk) -> None:
    said = await desk.http.options("/uploads/")
    assert said.status_code == 204
    assert said.headers["Tus-Version"] == said.headers["Tus-Resumable"] == "1.0.0"
    assert set(said.headers["Tus-Extension"].split(",")) == {"creation", "checksum", "expiration", "termination"}
    assert said.headers["Tus-Max-Size"] == "100000"
    assert "sha1" in said.headers["Tus-Checksum-Algorithm"]
    old = await desk.http.post("/uploads/", headers={**announced(b"x"), "Tus-Resumable": "0.2.2"})
    assert (old.status_code, old.headers["Tus-Version"]) == (412, "1.0.0")


async def test_a_file_goes_in_pieces_and_is_whole(desk: Desk) -> None:
    data = mp4(1)
    created = await desk.http.post("/uploads/", headers=announced(data))
    place = created.headers["Location"]
    assert created.headers["Upload-Expires"].endswith("GMT")
    first = await desk.http.patch(place, headers=patch(0), content=data[:1500])
    assert (first.status_code, first.headers["Upload-Offset"]) == (204, "1500")
    standing = await desk.http.head(place, headers=bearer())
    assert (standing.headers["Upload-Offset"], standing.headers["Upload-Length"]) == ("1500", str(len(data)))
    assert standing.headers["Cache-Control"] == "no-store"
    assert standing.headers["Upload-Metadata"] == announced(data)["Upload-Metadata"]
    wrong = await desk.http.patch(place, headers=patch(1400), content=data[1400:])
    assert (wrong.status_code, wrong.json()["offset"]) == (409, 1500)
    last = await desk.http.patch(place, headers=patch(1500), content=data[1500:])
    assert (last.status_code, last.headers["Upload-Offset"]) == (204, str(len(data)))
    (whole,) = desk.shelf.uploads(desk.shelf.ready)
    assert (desk.shelf.ready / f"{whole.id}.bin").read_bytes() == data
    assert (whole.media, whole.delivered_ms > 0, files(desk.shelf.partial, "*")) == ("mp4", True, [])
    assert (await desk.http.head(place, headers=bearer())).headers["Upload-Offset"] == str(len(data))
    assert (await desk.http.delete(place, headers=bearer())).status_code == 409


async def test_a_recorder_out_of_use_delivers_nothing_and_goes_on_when_it_is_back(desk: Desk) -> None:
    data = mp4(1)
    place = (await desk.http.post("/uploads/", headers=announced(data))).headers["Location"]
    await desk.http.patch(place, headers=patch(0), content=data[:1500])
    for state in ("suspended", "retired"):
        desk.ingest.register("rec-1", state=state)
        assert (await desk.http.patch(place, headers=patch(1500), content=data[1500:])).status_code == 403
        assert (await desk.http.post("/uploads/", headers=announced(mp4(2)))).status_code == 403
        assert (await desk.http.head(place, headers=bearer())).status_code == 403
    desk.ingest.register("rec-1")
    last = await desk.http.patch(place, headers=patch(1500), content=data[1500:])
    assert (last.status_code, last.headers["Upload-Offset"]) == (204, str(len(data)))


async def test_a_checksum_keeps_a_bad_piece_out(desk: Desk) -> None:
    data = mp4(2)
    place = (await desk.http.post("/uploads/", headers=announced(data))).headers["Location"]
    await desk.http.patch(place, headers=patch(0), content=data[:1000])
    good = "sha1 " + base64.b64encode(hashlib.sha1(data[1000:2000]).digest()).decode()
    bad = await desk.http.patch(place, headers=patch(1000, **{"Upload-Checksum": good}), content=data[1001:2001])
    assert bad.status_code == 460
    unknown = await desk.http.patch(place, headers=patch(1000, **{"Upload-Checksum": "crc1 AAAA"}), content=b"x")
    assert unknown.status_code == 400
    assert (await desk.http.head(place, headers=bearer())).headers["Upload-Offset"] == "1000"
    again = await desk.http.patch(place, headers=patch(1000, **{"Upload-Checksum": good}), content=data[1000:2000])
    assert again.status_code == 204
    assert (await desk.http.patch(place, headers=patch(2000), content=data[2000:])).status_code == 204
    assert len(files(desk.shelf.ready, "*.bin")) == 1


async def test_a_file_that_is_another_than_announced_is_refused(desk: Desk) -> None:
    answer = await send(desk.http, mp4(3), sha256="ab" * 32)
    assert (answer.status_code, answer.json()["field"]) == (422, "sha256")
    assert files(desk.shelf.ready, "*") == files(desk.shelf.partial, "*") == []
    assert desk.ingest.rejected[0][2] == "upload_sha256"


@pytest.mark.parametrize(
    ("more", "status", "field"),
    [
        ({"sha256": "short"}, 422, "sha256"),
        ({"to": FROM}, 422, "to"),
        ({"from": "yesterday"}, 422, "from"),
        ({"session_id": ""}, 422, "session_id"),
        ({"recorder_id": "../up"}, 404, "recorder_id"),
        ({"recorder_id": "rec-9"}, 404, "recorder_id"),
    ],
)
async def test_wrong_metadata_names_the_field(desk: Desk, more: dict[str, str], status: int, field: str) -> None:
    said = await desk.http.post("/uploads/", headers=announced(mp4(4), **more))
    assert (said.status_code, said.json()["field"]) == (status, field)


async def test_only_the_recorder_itself_sends_reads_and_ends(desk: Desk) -> None:
    data = mp4(5)
    assert (await desk.http.post("/uploads/", headers={**announced(data), **bearer("other")})).status_code == 401
    assert (await desk.http.post("/uploads/", headers={**announced(data), "Authorization": ""})).status_code == 401
    place = (await desk.http.post("/uploads/", headers=announced(data))).headers["Location"]
    for method, headers in (("HEAD", {}), ("PATCH", patch(0)), ("DELETE", {})):
        answer = await desk.http.request(method, place, headers={**headers, **bearer("other")})
        assert answer.status_code == 401
    assert (await desk.http.delete(place, headers=bearer())).status_code == 204
    assert (await desk.http.head(place, headers=bearer())).status_code == 404
    assert (await desk.http.head("/uploads/" + "0" * 24 + desk.shelf.host, headers=bearer())).status_code == 404


async def test_limits_say_what_is_full_and_when_to_come_again(desk: Desk) -> None:
    too_large = await desk.http.post("/uploads/", headers={**announced(b"x"), "Upload-Length": "100001"})
    assert (too_large.status_code, too_large.json()["limit_bytes"]) == (413, 100_000)
    big = {**announced(b"x"), "Upload-Length": "90000"}
    assert (await desk.http.post("/uploads/", headers=big)).status_code == 201
    full = await desk.http.post("/uploads/", headers=big)
    assert full.status_code == 507
    assert full.headers["Retry-After"]
    assert (await desk.http.post("/uploads/", headers=announced(mp4(6)))).status_code == 201
    busy = await desk.http.post("/uploads/", headers=announced(mp4(7)))
    assert busy.status_code == 503
    other = {**announced(mp4(7), recorder_id="rec-2"), **bearer("other")}
    assert (await desk.http.post("/uploads/", headers=other)).status_code == 201


async def test_more_than_announced_is_refused_and_nothing_of_it_kept(desk: Desk) -> None:
    data = mp4(8)
    place = (await desk.http.post("/uploads/", headers=announced(data))).headers["Location"]
    assert (await desk.http.patch(place, headers=patch(0), content=data + b"more")).status_code == 413
    assert (await desk.http.head(place, headers=bearer())).headers["Upload-Offset"] == "0"
    assert (await desk.http.patch(place, headers=patch(0), content=data)).status_code == 204


async def test_what_stands_behind_the_offset_after_a_kill_is_cut_off(desk: Desk) -> None:
    data = mp4(9)
    place = (await desk.http.post("/uploads/", headers=announced(data))).headers["Location"]
    await desk.http.patch(place, headers=patch(0), content=data[:1000])
    with (desk.shelf.partial / (place.rpartition("/")[2] + ".bin")).open("ab") as file:
        file.write(b"written, and the process killed before it said so")
    after = Desk(desk.shelf.root)
    async with after.http:
        assert (await after.http.head(place, headers=bearer())).headers["Upload-Offset"] == "1000"
        assert (await after.http.patch(place, headers=patch(1000), content=data[1000:])).status_code == 204
    (whole,) = after.shelf.uploads(after.shelf.ready)
    assert (after.shelf.ready / f"{whole.id}.bin").read_bytes() == data


async def test_a_kill_between_the_renames_of_acceptance_loses_nothing(desk: Desk) -> None:
    data = mp4(10)
    place = (await desk.http.post("/uploads/", headers=announced(data))).headers["Location"]
    await desk.http.patch(place, headers=patch(0), content=data[:-1])
    upload_id = place.rpartition("/")[2]
    writer = desk.shelf.writer(upload_id)
    writer.write(data[-1:], [])
    writer.sync()
    writer.close()
    (desk.shelf.partial / f"{upload_id}.bin").rename(desk.shelf.ready / f"{upload_id}.bin")
    after = Desk(desk.shelf.root)
    async with after.http:
        assert (await after.http.head(place, headers=bearer())).headers["Upload-Offset"] == str(len(data))
    assert [one.id for one in after.shelf.uploads(after.shelf.ready)] == [upload_id]


async def test_what_nobody_goes_on_with_expires(desk: Desk) -> None:
    place = (await desk.http.post("/uploads/", headers=announced(mp4(11)))).headers["Location"]
    offset = desk.shelf.partial / (place.rpartition("/")[2] + ".offset")
    assert desk.shelf.expire(int(SystemClock().now()) - 60_000) == 0
    os.utime(offset, (1, 1))
    assert desk.shelf.expire(int(SystemClock().now()) - 60_000) == 1
    assert (await desk.http.head(place, headers=bearer())).status_code == 404


async def test_a_public_client_delivers(desk: Desk, tmp_path: Path) -> None:
    data = mp4(12, size=60_000)
    async with served(desk.app) as address:
        await asyncio.to_thread(tus_upload, address, data, dict(tuspy_metadata(data)))
    (whole,) = desk.shelf.uploads(desk.shelf.ready)
    assert (desk.shelf.ready / f"{whole.id}.bin").read_bytes() == data


def tuspy_metadata(data: bytes) -> dict[str, str]:
    digest = hashlib.sha256(data).hexdigest()
    return {"recorder_id": "rec-1", "session_id": "s1", "from": FROM, "to": TO, "sha256": digest}


def tus_upload(address: str, data: bytes, said: dict[str, str]) -> None:
    client = TusClient(f"{address}/uploads/", headers={"Authorization": "Bearer t0ken"})
    uploader = client.uploader(file_stream=io.BytesIO(data), chunk_size=17_000, metadata=said, upload_checksum=True)
    uploader.upload(stop_at=20_000)  # and then another one goes on where this one was
    later = client.uploader(file_stream=io.BytesIO(data), chunk_size=17_000, url=uploader.url, upload_checksum=True)
    assert later.offset == 20_000
    later.upload()


@asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


# Into the store


async def test_a_delivered_file_is_stored_as_it_came_and_told_of_last(desk: Desk, tmp_path: Path) -> None:
    data = mp4(20)
    assert (await send(desk.http, data)).status_code == 204
    async with site(tmp_path) as here:
        assert await worker_of(here, desk.shelf).round()
        (row,) = (await Uploads(here.catalog).page(recorder_id="rec-1")).items
        (event,) = await backfills(here)
        entries = [decode(line) async for _, line in here.ledger.read()]
        head = await here.store.head(row.key, row.version_id)
        assert await here.store.get(row.key) == data
        tags = await here.store.tags(row.key)
    assert row.key == f"uploads/rec-1/{hashlib.sha256(data).hexdigest()}.mp4"
    assert head is not None
    assert head.retain_until == row.retain_until
    assert tags == {"retention": "minimum", "recorder": "rec-1", "session": "s1", "policy": "wucheng"}
    assert (event.from_, event.to, event.key) == (Instant.parse(FROM), Instant.parse(TO), row.key)
    assert event.delivered_at == row.delivered_at
    (entry,) = entries
    assert (entry.kind, entry.body["sha256"], entry.body["bytes"]) == ("backfill", row.sha256, len(data))
    assert (entry.body["from"], entry.body["delivered_at"]) == (FROM, row.delivered_at.rfc3339())
    assert of_event(event) is None, "attested where it was stored, not once more"
    assert files(desk.shelf.ready, "*") == []
    assert len(files(desk.shelf.done, "*.json")) == 1


async def test_the_same_file_delivered_twice_is_stored_once(desk: Desk, tmp_path: Path) -> None:
    data = mp4(21)
    await send(desk.http, data)
    async with site(tmp_path) as here:
        worker = worker_of(here, desk.shelf)
        await worker.round()
        await send(desk.http, data)
        await send(desk.http, data)
        await worker.round()
        assert len((await Uploads(here.catalog).page(recorder_id="rec-1")).items) == 1
        assert [listed.key async for listed in here.store.list("uploads/")] == [
            f"uploads/rec-1/{hashlib.sha256(data).hexdigest()}.mp4"
        ]
        assert await here.ledger.size() == 1
        told = await backfills(here)
    assert told == [told[0]] * 3, "the same statement, which changes nothing"
    assert files(desk.shelf.ready, "*") == []


@pytest.mark.parametrize("done", ["put", "ledger", "catalogue"])
async def test_a_crash_after_any_step_changes_nothing(desk: Desk, tmp_path: Path, done: str) -> None:
    data = mp4(22)
    await send(desk.http, data)
    (upload,) = desk.shelf.uploads(desk.shelf.ready)
    description = (desk.shelf.ready / f"{upload.id}.json").read_bytes()
    async with site(tmp_path) as here:
        worker = worker_of(here, desk.shelf)
        await worker.round()
        (desk.shelf.ready / f"{upload.id}.json").write_bytes(description)  # as if it had not been finished
        if done in {"put", "ledger"}:
            await here.catalog.database.write(lambda connection: connection.exec_driver_sql("delete from uploads"))
        if done == "put":
            other = type(here.ledger)
            here.ledger = await other.connect(f"sqlite:///{tmp_path}/other.db")
            worker = worker_of(here, desk.shelf)
        assert await worker.round()
        assert await here.ledger.size() == 1
        assert len((await Uploads(here.catalog).page(recorder_id="rec-1")).items) == 1
        assert files(desk.shelf.ready, "*") == []


async def test_overlap_with_what_is_stored_is_noted(desk: Desk, tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        begin = fragment("rec-1", "f1", 0, media("rec-1", "f1", 0)).captured_at
        for seq in range(5):
            data = media("rec-1", "f1", seq)
            await publish(here.bus, fragment("rec-1", "f1", seq, data), data, starts=seq == 0)
        await end_feed(here.bus, "rec-1", "f1")
        async with here.worker():
            await here.until_stored(1)
        uploads = Uploads(here.catalog)
        assert await uploads.overlap_ms("rec-1", begin.plus(4000), begin.plus(60_000)) == 6000
        assert await uploads.overlap_ms("rec-1", begin.plus(60_000), begin.plus(70_000)) == 0


async def test_bytes_that_changed_on_our_disk_are_kept_for_a_person(desk: Desk, tmp_path: Path) -> None:
    await send(desk.http, mp4(23))
    (upload,) = desk.shelf.uploads(desk.shelf.ready)
    async with site(tmp_path) as here:
        key = f"uploads/rec-1/{upload.sha256}.mp4"
        await here.store.put(
            key,
            b"else",
            sha256=hashlib.sha256(b"else").hexdigest(),
            retain_until=Instant(4_000_000_000_000),
            tags={},
            metadata={},
        )
        assert await worker_of(here, desk.shelf).round()
        assert await backfills(here) == []
        assert [record.headers["reason"] for record in await records(here.bus, "rejected")] == [b"upload_refused"]
    assert files(desk.shelf.rejected, "*") == sorted(f"{upload.id}.{suffix}" for suffix in ("bin", "json", "reason"))


# The watched folder


class Station:
    """A docking station's folder, and a clock that the test moves."""

    def __init__(self, root: Path, shelf: Shelf) -> None:
        self.root, self.shelf = root, shelf
        self.clock = ManualClock(Instant.parse("2026-03-03T08:00:00+08:00"))
        self.dropbox = Dropbox(root, shelf, LIMITS, self.clock, lambda one: one == "rec-1", stable_s=10)

    def copy(
        self,
        data: bytes,
        place: str = "rec-1/s1",
        name: str = "20260302T090000+0800_20260302T091000+0800.mp4",
        **sidecar: str,
    ) -> Path:
        path = self.root / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if sidecar:
            path.with_name(name + ".json").write_text(json.dumps(sidecar))
        return path

    def look(self, after_s: float = 0) -> int:
        self.clock.advance(after_s)
        return self.dropbox.look()


@pytest.fixture
def station(tmp_path: Path) -> Station:
    shelf = Shelf(tmp_path / "uploads")
    shelf.open()
    return Station(tmp_path / "dock", shelf)


async def test_a_station_copies_and_the_file_is_stored(station: Station, tmp_path: Path) -> None:
    data = mp4(30)
    path = station.copy(data, sha256=hashlib.sha256(data).hexdigest())
    assert station.look() == 0, "it may still be written to"
    path.write_bytes(data + b"x")
    assert station.look(20) == 0, "it was"
    path.write_bytes(data)
    os.utime(path, (5, 5))
    assert station.look(1) == 0
    assert station.look(20) == 1
    assert files(station.root / "rec-1" / "s1", "*") == []
    async with site(tmp_path) as here:
        assert await worker_of(here, station.shelf).round()
        (row,) = (await Uploads(here.catalog).page(recorder_id="rec-1", session_id="s1")).items
        assert await here.store.get(row.key) == data
    assert (row.via, row.from_at, row.to_at) == ("folder", Instant.parse(FROM), Instant.parse(TO))


@pytest.mark.parametrize(
    ("place", "name", "sidecar", "says"),
    [
        ("rec-9/s1", "20260302T090000_20260302T091000.avi", {}, "not registered"),
        ("rec-1/s1", "movie.mp4", {}, "<from>_<to>"),
        ("rec-1/s1", "20260302T091000_20260302T090000.ts", {}, "to: not after from"),
        ("rec-1/s1", "20260302T090000_20260302T091000.ts", {"sha256": "00" * 32}, "sidecar"),
        ("UP/s1", "20260302T090000_20260302T091000.ts", {}, "recorder_id"),
    ],
)
def test_what_cannot_be_taken_is_moved_aside_with_the_reason(
    station: Station, place: str, name: str, sidecar: dict[str, str], says: str
) -> None:
    path = station.copy(mp4(31), place, name, **sidecar)
    station.look()
    assert station.look(20) == 0
    aside = station.root / "_rejected" / place
    assert not path.exists()
    assert says in (aside / f"{name}.reason").read_text()
    assert (aside / name).read_bytes() == mp4(31)
    assert files(station.shelf.ready, "*") == []


def test_links_in_the_watched_folder_are_left_alone(station: Station, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"not footage")
    place = station.root / "rec-1" / "s1"
    place.mkdir(parents=True)
    (place / "20260302T090000_20260302T091000.mp4").symlink_to(tmp_path / "secret")
    station.look()
    assert station.look(20) == 0
    assert files(station.shelf.ready, "*") == []


async def faults_of_uploads(here: Site) -> list[str]:
    verifier = Verifier(here.store, here.ledger, [], [], SystemClock())
    return [found.fault async for found in verifier.run(Scope()) if found.where.startswith("uploads/")]


async def test_a_check_of_all_evidence_knows_what_was_delivered_and_reads_it(desk: Desk, tmp_path: Path) -> None:
    await send(desk.http, mp4(40))
    async with site(tmp_path) as here:
        await worker_of(here, desk.shelf).round()
        (row,) = (await Uploads(here.catalog).page(recorder_id="rec-1")).items
        assert await faults_of_uploads(here) == []
        stored = tmp_path / "store" / "objects" / row.key
        stored.chmod(0o600)
        stored.write_bytes(mp4(41))
        assert await faults_of_uploads(here) == ["altered"]


async def test_a_catalogue_made_anew_knows_what_was_delivered(desk: Desk, tmp_path: Path) -> None:
    await send(desk.http, mp4(42))
    async with site(tmp_path) as here:
        await worker_of(here, desk.shelf).round()
        (row,) = (await Uploads(here.catalog).page(recorder_id="rec-1")).items
        anew = await type(here.catalog).connect(f"sqlite:///{tmp_path}/anew.db")
        try:
            made = await rebuild(anew, here.store, here.ledger, Instant(0))
            assert (made.uploads, made.absent) == (1, [])
            (again,) = (await Uploads(anew).page(recorder_id="rec-1")).items
            assert again == msgspec.structs.replace(row, stored_at=row.delivered_at)
        finally:
            await anew.close()
