"""Files that were delivered later are evidence as live footage is: held, kept, ended, copied, checked, made anew."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from domain.clock import Clock, Instant, ManualClock, SystemClock
from domain.errors import InvalidInput
from domain.settings import Settings
from policies.local import default
from storage.backfill import Backfill, Delivery, announcement
from storage.catalog.catalog import Catalog
from storage.catalog.register import Register
from storage.catalog.rows import UploadRow
from storage.catalog.uploads import Uploads
from storage.ledger.ledger import Ledger
from storage.objects.connect import connect_second
from storage.objects.port import ObjectStore
from storage.offsite.offsite import Offsite
from storage.rebuild import rebuild
from storage.retention.desk import Desk
from storage.verify.verifier import Scope
from tests.services.minio import MinioServer
from tests.storage.retention_house import DAY_MS, T0, RetentionHouse
from tests.storage.verify_case import GRACE_S, HOUR_MS, Case, case

DATA = b"\x00\x00\x00\x18ftypisom" + bytes(range(256)) * 40
MINUTE_MS = 60_000


class Delivering:
    """Whoever brings files of `cam-1` into a store."""

    def __init__(self, folder: Path, store: ObjectStore, catalog: Catalog, ledger: Ledger, clock: Clock) -> None:
        self._folder, self._clock = folder, clock
        self._backfill = Backfill(store, Uploads(catalog), ledger, clock, default())

    async def __call__(self, minute: int = 0, *, session_id: str = "s1", began: Instant = T0) -> UploadRow:
        """Deliver a minute of footage an hour after it was recorded."""
        data = DATA + f"{session_id} {minute}".encode()
        path = self._folder / f"{session_id}-{minute}.bin"
        path.write_bytes(data)
        begin = began.plus(minute * MINUTE_MS)
        one = Delivery(
            path=path,
            recorder_id="cam-1",
            session_id=session_id,
            from_at=begin,
            to_at=begin.plus(MINUTE_MS),
            sha256=hashlib.sha256(data).hexdigest(),
            bytes=len(data),
            media="mp4",
            via="tus",
            delivered_at=self._clock.now(),
        )
        return await self._backfill.run(one, "wucheng")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[RetentionHouse]:
    opened = await RetentionHouse.on_disk(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
def deliver(house: RetentionHouse) -> Delivering:
    return Delivering(house.folder, house.store, house.catalog, house.ledger, house.clock)


async def row_of(house: RetentionHouse, key: str) -> UploadRow:
    row = await Uploads(house.catalog).get(key)
    assert row is not None
    return row


# Holds, classes, the end


async def test_a_hold_and_its_release_reach_it(house: RetentionHouse, deliver: Delivering) -> None:
    row, other = await deliver(), await deliver(session_id="s2")
    await house.retention.apply(house.hold())
    assert await house.held(row, other) == [True, False]
    await house.retention.apply(house.hold(released=True))
    assert await house.held(row) == [False]


async def test_a_hold_on_a_span_reaches_what_lies_in_it(house: RetentionHouse, deliver: Delivering) -> None:
    first, second = await deliver(0), await deliver(30)
    await house.retention.apply(house.hold(from_=T0.plus(20 * MINUTE_MS), to=T0.plus(40 * MINUTE_MS)))
    assert await house.held(first, second) == [False, True]


async def test_a_finding_holds_it(house: RetentionHouse, deliver: Delivering) -> None:
    near, far = await deliver(5), await deliver(90)
    await house.retention.apply_finding(house.finding("recording.gap", ended_at=T0.plus(MINUTE_MS)))
    assert await house.held(near, far) == [True, False]


async def test_a_class_decided_before_it_came_lengthens_its_lock(house: RetentionHouse, deliver: Delivering) -> None:
    until = T0.plus(3 * 365 * DAY_MS)
    await house.classify("evidence", document="12号", case="7号", closed_at=T0, keep_until=until)
    row = await deliver()
    assert row.retain_until < until
    await house.retention.apply(announcement(row))
    head = await house.store.head(row.key)
    assert head is not None
    assert head.retain_until == until
    assert (await house.store.tags(row.key))["retention"] == "evidence"
    assert (await row_of(house, row.key)).retain_until == until


async def test_a_class_decided_later_reaches_it(house: RetentionHouse, deliver: Delivering) -> None:
    row = await deliver()
    until = T0.plus(3 * 365 * DAY_MS)
    await house.classify("evidence", document="12号", case="7号", closed_at=T0, keep_until=until)
    assert (await row_of(house, row.key)).retain_until == until


async def test_it_is_listed_and_deleted_with_a_receipt(house: RetentionHouse, deliver: Delivering) -> None:
    row, live = await deliver(), await house.segment()
    await house.classify("ordinary")
    desk = Desk(house.retention)
    assert {one.row.key for one in await desk.why("cam-1", "s1", house.clock.now())} == {row.key, live.key}
    house.pass_days(400)
    assert (await house.expire())["listed"] == 2
    house.pass_days(8)
    assert (await house.expire())["deleted"] == 2
    assert await house.store.versions(row.key) == []
    assert (await row_of(house, row.key)).deleted_at == house.clock.now()
    assert (await Uploads(house.catalog).page(recorder_id="cam-1")).items == []
    said = [(one.body["stage"], one.body["key"]) for one in await house.entries("deletion")]
    assert sorted(said) == sorted((stage, key) for stage in ("intent", "done") for key in (row.key, live.key))
    assert house.faults == []
    with pytest.raises(InvalidInput, match="the next checkpoint will sign it"):
        await desk.receipt(row.key)


async def test_an_undecided_one_is_renewed_and_stays(house: RetentionHouse, deliver: Delivering) -> None:
    row = await deliver()
    house.pass_days((row.retain_until - house.clock.now()) / DAY_MS - 10)
    assert (await house.expire())["renewed"] == 1
    assert (await row_of(house, row.key)).retain_until == house.clock.now().plus(90 * DAY_MS)


async def test_one_that_somebody_deleted_is_told(house: RetentionHouse, deliver: Delivering) -> None:
    row = await deliver()
    stored = house.folder / "store" / "objects" / row.key
    stored.chmod(0o600)
    stored.unlink()
    await house.classify("evidence")
    assert [(one.key, one.fault) for one in house.faults] == [(row.key, "missing")]


# Checks


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[tuple[Case, Delivering]]:
    async with case(tmp_path, clock=ManualClock(SystemClock().now())) as one:
        catalog = await Catalog.connect(f"sqlite:///{tmp_path}/catalog.db")
        yield one, Delivering(tmp_path, one.store, catalog, one.ledger, one.clock)
        await catalog.close()


Site = tuple[Case, Delivering]


def began(one: Case) -> Instant:
    return one.clock.now().plus(-HOUR_MS)


async def faults(one: Case, scope: Scope | None = None) -> list[tuple[str, str]]:
    return [(fault.fault, fault.where) for fault in await one.check(scope)]


async def test_one_that_is_there_is_read_and_counted(site: Site) -> None:
    one, deliver = site
    live, row = await one.segment(), await deliver(began=began(one))
    await one.keeper.turn()
    one.wait(GRACE_S)
    verifier = one.verifier()
    assert [fault async for fault in verifier.run(Scope())] == []
    assert (verifier.summary.objects, verifier.summary.bytes) == (2, live.bytes + row.bytes)


async def test_one_that_is_gone_is_named(site: Site) -> None:
    one, deliver = site
    row = await deliver(began=began(one))
    await deliver(7, session_id="s2", began=began(one))
    stored = one.folder / "store" / "objects" / row.key
    stored.chmod(0o600)
    stored.unlink()
    await one.keeper.turn()
    one.wait(GRACE_S)
    assert await faults(one) == [("missing", row.key)]
    assert await faults(one, Scope("s1", "cam-1")) == await faults(one)
    assert await faults(one, Scope("s2", "cam-1")) == []


async def test_one_that_was_altered_is_named(site: Site) -> None:
    one, deliver = site
    row = await deliver(began=began(one))
    stored = one.folder / "store" / "objects" / row.key
    stored.chmod(0o600)
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    await one.keeper.turn()
    one.wait(GRACE_S)
    assert await faults(one) == [("altered", row.key)]


async def test_a_lock_taken_away_behind_our_back_is_named(site: Site) -> None:
    one, deliver = site
    row = await deliver(began=began(one))
    await one.keeper.turn()
    one.wait(GRACE_S)
    meta = one.folder / "store" / "meta" / f"{row.key}.json"
    told = msgspec.json.decode(meta.read_bytes())
    meta.write_bytes(msgspec.json.encode({**told, "retain_until_ms": told["retain_until_ms"] - DAY_MS}))
    assert await faults(one) == [("unlocked", row.key)]


async def test_a_hold_that_the_store_does_not_have_is_named(site: Site) -> None:
    one, deliver = site
    row = await deliver(began=began(one))
    await one.say("class", **{"class": "evidence", "by": "李四", "reason": "审查", "document": "12号", "case": "7号"})
    await one.keeper.turn()
    one.wait(GRACE_S)
    assert ("unlocked", row.key) in await faults(one), "an open case holds, and nobody held it"
    await one.store.hold(row.key, row.version_id, True)
    await one.store.set_tags(
        row.key, row.version_id, {**await one.store.tags(row.key, row.version_id), "retention": "evidence"}
    )
    assert await faults(one) == []


async def test_one_with_a_receipt_of_its_deletion_is_no_fault(house: RetentionHouse, deliver: Delivering) -> None:
    row = await deliver()
    await house.classify("ordinary")
    house.pass_days(400)
    await house.expire()
    house.pass_days(8)
    assert (await house.expire())["deleted"] == 1
    anew = await Catalog.connect(f"sqlite:///{house.folder}/anew.db")
    made = await rebuild(anew, house.store, house.ledger, Instant(0))
    again = await Uploads(anew).get(row.key)
    await anew.close()
    assert (made.uploads, made.deleted, made.absent) == (1, 1, [])
    assert again is not None
    assert again.deleted_at == house.clock.now()


async def test_a_catalogue_made_anew_has_lock_session_and_hold(house: RetentionHouse, deliver: Delivering) -> None:
    row = await deliver()
    await house.retention.apply(house.hold())
    until = T0.plus(3 * 365 * DAY_MS)
    await house.classify("evidence", document="12号", case="7号", closed_at=T0, keep_until=until)
    anew = await Catalog.connect(f"sqlite:///{house.folder}/anew.db")
    made = await rebuild(anew, house.store, house.ledger, T0.plus(DAY_MS))
    again, session = await Uploads(anew).get(row.key), await anew.get_session("cam-1", "s1")
    assert (made.uploads, made.sessions, made.absent) == (1, 1, [])
    known = await row_of(house, row.key)
    assert again == msgspec.structs.replace(known, stored_at=row.delivered_at)
    assert session is not None
    assert (session.opened_at, session.completed_at) == (row.from_at, row.to_at)
    assert [one.by for one in await Register(anew).holds("cam-1")] == ["李四"]
    await anew.close()


# The second place


async def test_it_is_copied_off_site_with_its_lock(site: Site) -> None:
    one, deliver = site
    row = await deliver(began=began(one))
    second = connect_second(f"file:{one.folder}/second", Settings(), "offsite")

    async def tell(_event: object) -> None:
        raise AssertionError

    offsite = Offsite(
        one.store, second, one.ledger, one.clock, one.folder / "work", name="second", lock_ms=HOUR_MS, tell=tell
    )
    await one.keeper.turn()
    assert ((await offsite.state()).waiting, (await offsite.state()).oldest_at) == (1, row.delivered_at)
    await offsite.run()
    head, first = await second.head(row.key), await one.store.head(row.key)
    assert head is not None
    assert first is not None
    assert (head.sha256, head.retain_until, head.metadata) == (row.sha256, first.retain_until, first.metadata)
    assert await second.get(row.key) == await one.store.get(row.key)
    await one.store.hold(row.key, row.version_id, True)
    await offsite.turn()
    held = await second.head(row.key)
    assert held is not None
    assert held.legal_hold
    await second.close()


@pytest.mark.minio
async def test_on_a_real_server_it_is_held_and_its_lock_cannot_be_shortened(tmp_path: Path, minio: MinioServer) -> None:
    house = await RetentionHouse.on_minio(tmp_path, minio)
    deliver = Delivering(tmp_path, house.store, house.catalog, house.ledger, house.clock)
    row = await deliver(began=house.clock.now())
    await house.retention.apply(house.hold())
    until = row.retain_until.plus(300 * DAY_MS)
    await house.classify("evidence", document="12号", case="7号", closed_at=house.clock.now(), keep_until=until)
    head = await house.store.head(row.key, row.version_id)
    assert head is not None
    assert head.legal_hold
    assert head.retain_until is not None
    assert abs(head.retain_until - until) <= 1000
    await house.close()
