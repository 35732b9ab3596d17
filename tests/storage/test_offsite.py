"""The copy off site: everything, verified, locked as the first one is, and going on after whatever cut it off."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from domain.clock import ManualClock, SystemClock
from domain.errors import StoreUnavailable
from domain.events import Integrity
from domain.settings import Settings
from storage.catalog.rows import SegmentRow
from storage.ledger.batches import restore
from storage.ledger.ledger import Ledger
from storage.objects.connect import connect_second
from storage.objects.port import ObjectStore
from storage.offsite.offsite import Offsite
from tests.services.minio import MinioServer
from tests.storage.verify_case import HOUR_MS, Case, case

NOW = SystemClock().now()


class TwoStores:
    """A site, a second store, and what was told of either."""

    def __init__(self, one: Case, second: ObjectStore) -> None:
        self.case, self.second = one, second
        self.told: list[Integrity] = []
        self.offsite = self.begin()

    def begin(self) -> Offsite:
        """Another life of the copying."""
        folder = self.case.folder / "work"
        return Offsite(
            self.case.store, self.second, self.case.ledger, self.case.clock, folder,
            name="second", lock_ms=HOUR_MS, tell=self.tell,
        )  # fmt: skip

    async def tell(self, event: Integrity) -> None:
        self.told.append(event)

    async def copies(self) -> list[str]:
        return [one.key async for one in self.second.list("segments/")]

    async def version(self, row: SegmentRow) -> str:
        return (await self.second.versions(row.key))[0].version_id


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.minio)])
async def both(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TwoStores]:
    """From a directory to a directory, and from a bucket to another bucket whose secret is in a file of its own."""
    minio: MinioServer | None = request.getfixturevalue("minio") if request.param == "s3" else None
    address = f"file:{tmp_path}/second"
    if minio is not None:
        bucket = f"b-{uuid.uuid4().hex}"
        minio.client().make_bucket(bucket, object_lock=True)
        (tmp_path / "second.secret").write_text(minio.secret_key)
        address = f"s3://{minio.access_key}@{minio.endpoint}/{bucket}?tls=0&secret_file={tmp_path}/second.secret"
    async with case(tmp_path, minio, clock=ManualClock(NOW)) as one:
        second = connect_second(address, Settings(), "offsite")
        yield TwoStores(one, second)
        await second.close()


async def test_everything_is_copied_with_lock_tags_and_description(both: TwoStores) -> None:
    await both.case.fill()
    held = both.case.rows[0]
    await both.case.store.hold(held.key, held.version_id, True)
    await both.offsite.run()
    assert sorted(await both.copies()) == sorted(row.key for row in both.case.rows)
    for row in both.case.rows:
        version = await both.version(row)
        head, first = await both.second.head(row.key, version), await both.case.store.head(row.key, row.version_id)
        assert head is not None
        assert first is not None
        assert hashlib.sha256(await both.second.get(row.key, version)).hexdigest() == row.sha256
        assert (head.retain_until, head.metadata, head.legal_hold) == (first.retain_until, first.metadata, row is held)
        assert await both.second.tags(row.key, version) == await both.case.store.tags(row.key, row.version_id)
    assert (await both.offsite.state()).waiting == 0
    assert both.told == []
    assert list((both.case.folder / "work").glob("*")) == []


async def test_the_ledger_can_be_taken_back_from_there(both: TwoStores) -> None:
    await both.case.fill()
    await both.offsite.run()
    ledger = await Ledger.connect(f"sqlite:///{both.case.folder}/other.db")
    assert await restore(ledger, both.second) == await both.case.ledger.size()
    assert await ledger.root() == await both.case.ledger.root()
    await ledger.close()
    sizes = [int(one.key[-16:-4]) async for one in both.second.list("ledger/checkpoints/")]
    assert sizes == [one.size async for one in both.case.ledger.checkpoints()]
    assert await both.case.check() == []  # what is noted of the second store is no fault of the first


async def test_how_far_behind_it_is(both: TwoStores) -> None:
    await both.case.fill()
    state = await both.offsite.state()
    assert (state.waiting, state.oldest_at) == (4, both.case.rows[0].stored_at)
    await both.offsite.run()
    both.case.wait(100)
    await both.case.segment("cam-1", "s9", "f9")
    both.case.wait(50)
    await both.offsite.turn()  # not under a checkpoint yet
    assert REGISTRY.get_sample_value("liuhen_offsite_waiting_segments") == 1
    assert REGISTRY.get_sample_value("liuhen_offsite_lag_seconds") == 50
    await both.case.keeper.turn()
    await both.offsite.turn()
    assert REGISTRY.get_sample_value("liuhen_offsite_waiting_segments") == 0
    assert REGISTRY.get_sample_value("liuhen_offsite_lag_seconds") == 0


async def test_it_goes_on_where_it_was_cut_off(both: TwoStores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.offsite.offsite.COPIED_AT_ONCE", 1)
    await both.case.fill()
    put, done = ObjectStore.put, []

    async def dying(self: ObjectStore, key: str, *given: object, **named: object) -> object:
        if self is both.second and key.startswith("segments/"):
            done.append(key)
            if len(done) == 3:
                raise StoreUnavailable("cut off")
        return await put(self, key, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(ObjectStore, "put", dying)
    (both.case.folder / "work").mkdir(exist_ok=True)
    (both.case.folder / "work" / "left.part").write_bytes(b"of a life before")
    with pytest.raises(StoreUnavailable):
        await both.offsite.run()
    assert len(await both.copies()) == 2
    assert (await both.offsite.state()).waiting == 2
    await both.begin().run()
    assert done == [row.key for row in (*both.case.rows[:3], *both.case.rows[2:])]
    assert len(await both.copies()) == 4
    assert list((both.case.folder / "work").glob("*")) == []


async def test_locks_holds_and_tags_follow(both: TwoStores) -> None:
    await both.case.fill()
    await both.offsite.run()
    row = both.case.rows[2]
    until = await both.case.store.retain(row.key, row.version_id, row.retain_until.plus(HOUR_MS))
    await both.case.store.hold(row.key, row.version_id, True)
    tags = {**await both.case.store.tags(row.key, row.version_id), "retention": "evidence"}
    await both.case.store.set_tags(row.key, row.version_id, tags)
    for _ in range(2):  # the lock and the hold, then the tags
        await both.begin().turn()
    version = await both.version(row)
    head = await both.second.head(row.key, version)
    assert head is not None
    assert (head.retain_until, head.legal_hold) == (until, True)
    assert await both.second.tags(row.key, version) == tags
    await both.case.store.hold(row.key, row.version_id, False)
    await both.begin().turn()
    head = await both.second.head(row.key, version)
    assert head is not None
    assert not head.legal_hold


async def test_what_is_not_what_was_stored_is_told_and_not_copied(tmp_path: Path) -> None:
    async with case(tmp_path) as one:
        await one.fill()
        second = connect_second(f"file:{tmp_path}/second", Settings(), "offsite")
        both = TwoStores(one, second)
        spoiled = one.rows[1]
        path = tmp_path / "store" / "objects" / spoiled.key
        data = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(data[:-1] + b"?")
        await both.offsite.run()
        assert {event.key for event in both.told} == {spoiled.key}
        assert sorted(await both.copies()) == sorted(row.key for row in one.rows if row is not spoiled)
        path.write_bytes(data)  # put back from somewhere: the round gets it
        await both.begin().turn()
        assert spoiled.key in await both.copies()
        await second.close()


async def test_a_copy_that_was_changed_is_told(tmp_path: Path) -> None:
    async with case(tmp_path) as one:
        await one.fill()
        second = connect_second(f"file:{tmp_path}/second", Settings(), "offsite")
        both = TwoStores(one, second)
        path = tmp_path / "second" / "objects" / one.rows[1].key
        path.parent.mkdir(parents=True)
        path.write_bytes(b"forged")
        await both.offsite.run()
        assert {event.key for event in both.told} == {one.rows[1].key}
        assert path.read_bytes() == b"forged"
        await second.close()


async def test_what_was_deleted_with_a_receipt_goes_there_too(tmp_path: Path) -> None:
    """A copy is kept until its own lock is over."""
    async with case(tmp_path) as one:
        await one.fill()
        second = connect_second(f"file:{tmp_path}/second", Settings(), "offsite")
        both = TwoStores(one, second)
        await both.offsite.run()
        gone = one.rows[2]
        (tmp_path / "store" / "objects" / gone.key).unlink()
        told = {"key": gone.key, "version_id": gone.version_id}
        await one.say("deletion", "s7", "cam-2", stage="done", **told)
        await one.keeper.turn()
        await both.offsite.run()
        assert gone.key in await both.copies()
        meta = tmp_path / "second" / "meta" / f"{gone.key}.json"
        meta.write_text(meta.read_text().replace(f'"retain_until_ms":{int(gone.retain_until)}', '"retain_until_ms":0'))
        await both.begin().turn()
        assert gone.key not in await both.copies()
        assert both.told == []
        await second.close()
