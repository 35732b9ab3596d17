"""Whatever is done to evidence is found and named, on a directory and on a real MinIO; a whole site has no fault."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from domain.clock import ManualClock, SystemClock
from domain.errors import InvalidInput, StoreUnavailable
from storage.catalog.rows import SegmentRow
from storage.ledger.entry import decode
from storage.ledger.notary import Notary
from storage.objects.port import ObjectStore, Version
from storage.retention.entries import ClassBody, HoldBody, ReleaseBody
from storage.verify.books import Books
from storage.verify.fault import Fault
from storage.verify.verifier import Progress, Scope
from tests.services.minio import MinioServer
from tests.storage.verify_case import GRACE_S, HOUR_MS, Case, case

BIG = 60_000
"""Of a fragment: objects of three are beyond what MinIO keeps inside its own description."""
NOW = SystemClock().now()


class Site:
    """A case and the disk under its store."""

    def __init__(self, one: Case, minio: MinioServer | None) -> None:
        self.case, self.minio = one, minio

    def folder(self, row: SegmentRow) -> Path:
        if self.minio is None:
            return self.case.folder / "store" / "objects" / row.key
        return self.minio.directory / "data" / self.case.bucket / row.key

    def data(self, row: SegmentRow) -> Path:
        """The file of an object's bytes, made writable."""
        found = self.folder(row)
        if self.minio is not None:
            (found,) = found.rglob("part.1")
        found.chmod(0o644)
        return found

    def drop(self, row: SegmentRow) -> None:
        if self.minio is None:
            self.folder(row).unlink()
        else:
            shutil.rmtree(self.folder(row))


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.minio)])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    minio: MinioServer | None = request.getfixturevalue("minio") if request.param == "s3" else None
    async with case(tmp_path, minio) as one:
        for first in (0, 3):
            await one.segment(seqs=range(first, first + 3), size=BIG)
        await one.keeper.turn()
        await one.segment("cam-2", "s7", seqs=range(4))
        await one.say("access", by="somebody", what="playback")
        await one.keeper.turn()
        await one.segment("cam-1", "s2", "f2", seqs=range(2))
        await one.keeper.turn()
        yield Site(one, minio)


@pytest.fixture
async def quick(tmp_path: Path) -> AsyncIterator[Case]:
    """On a directory, with a clock of its own, everything older than what may be on its way."""
    async with case(tmp_path, clock=ManualClock(NOW)) as one:
        await one.fill()
        one.wait()
        yield one


def named(faults: list[Fault]) -> list[tuple[str, str]]:
    return sorted((fault.fault, fault.where) for fault in faults)


async def test_a_whole_site_has_no_fault(site: Site) -> None:
    verifier = site.case.verifier()
    assert [fault async for fault in verifier.run(Scope())] == []
    summary = verifier.summary
    assert (summary.entries, summary.objects, summary.pending, summary.unreached) == (5, 4, 0, {})
    assert summary.bytes == sum(row.bytes for row in site.case.rows)


# Objects


async def test_a_dropped_object(site: Site) -> None:
    site.drop(site.case.rows[0])
    assert named(await site.case.check()) == [("missing", site.case.rows[0].key)]


async def test_two_swapped_objects(site: Site) -> None:
    one, other = site.data(site.case.rows[0]), site.data(site.case.rows[1])
    first, second = one.read_bytes(), other.read_bytes()
    assert len(first) == len(second)
    one.write_bytes(second)
    other.write_bytes(first)
    assert named(await site.case.check()) == sorted(("altered", row.key) for row in site.case.rows[:2])


@pytest.mark.parametrize("spoil", ["truncated", "flipped"])
async def test_spoiled_bytes(site: Site, spoil: str) -> None:
    row = site.case.rows[1]
    data = site.data(row)
    if spoil == "truncated":
        os.truncate(data, data.stat().st_size * 2 // 3)
    else:
        changed = bytearray(data.read_bytes())
        changed[len(changed) // 2] ^= 0x10
        data.write_bytes(changed)
    # MinIO finds what became of its own disk, and gives nothing of the object any more.
    name = "altered" if site.minio is None else "unreadable"
    assert named(await site.case.check()) == [(name, row.key)]


async def test_the_fragments_that_are_not_what_they_were_are_named(quick: Case) -> None:
    path = quick.folder / "store" / "objects" / quick.rows[1].key
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(changed)
    (fault,) = await quick.check()
    assert fault.fault == "altered"
    assert fault.detail.endswith("not as they were: fragments 4")
    assert quick.rows[1].sha256 in fault.detail


async def test_other_bytes_with_a_description_to_match(quick: Case) -> None:
    """The file store's own description says that they are right; the ledger does not."""
    row = quick.rows[0]
    path, meta = (
        quick.folder / "store" / kind / f"{row.key}{end}" for kind, end in (("objects", ""), ("meta", ".json"))
    )
    forged = path.read_bytes()[::-1]
    path.chmod(0o644)
    path.write_bytes(forged)
    told = msgspec.json.decode(meta.read_bytes())
    meta.write_bytes(msgspec.json.encode({**told, "sha256": hashlib.sha256(forged).hexdigest()}))
    (fault,) = await quick.check()
    assert (fault.fault, fault.where) == ("altered", row.key)


async def test_a_description_that_is_gone(quick: Case) -> None:
    (quick.folder / "store" / "meta" / f"{quick.rows[0].key}.json").unlink()
    assert named(await quick.check()) == [("altered", quick.rows[0].key)]


@pytest.mark.minio
@pytest.mark.parametrize("how", ["marker", "version"])
async def test_an_object_hidden_on_s3(minio: MinioServer, tmp_path: Path, how: str) -> None:
    async with case(tmp_path, minio) as one:
        await one.fill()
        row = one.rows[2]
        if how == "marker":
            minio.client().remove_object(one.bucket, row.key)
        else:
            minio.client().put_object(one.bucket, row.key, io.BytesIO(b"forged"), 6)
        (fault,) = await one.check()
        assert (fault.fault, fault.where, fault.recorder_id) == ("hidden", row.key, "cam-2")
        assert ("a delete marker" in fault.detail) == (how == "marker")


@pytest.mark.minio
async def test_entries_and_checkpoints_hidden_on_s3(minio: MinioServer, tmp_path: Path) -> None:
    async with case(tmp_path, minio) as one:
        await one.fill()
        minio.client().put_object(one.bucket, "ledger/checkpoints/000000000004.txt", io.BytesIO(b"x"), 1)
        assert named(await one.check()) == [("hidden", "ledger/checkpoints/000000000004.txt")]
        minio.client().remove_object(one.bucket, "ledger/entries/000000000002-000000000004.ndjson")
        assert await one.names() == {"hidden", "ledger_batch"}


async def test_an_object_that_the_ledger_does_not_know(site: Site) -> None:
    stray = await site.case.segment("cam-9", "s1", seqs=range(2), listed=False)
    verifier = site.case.verifier()
    assert [fault async for fault in verifier.run(Scope())] == []
    assert verifier.summary.pending == 1
    later = ManualClock(site.case.clock.now())
    site.case.clock = later
    later.advance(GRACE_S)
    (fault,) = await site.case.check()
    assert (fault.fault, fault.where, fault.recorder_id) == ("unlisted", stray.key, "cam-9")


@pytest.mark.parametrize("key", ["segments/loose.mp4", "ledger/entries/x.txt", "elsewhere/a"])
async def test_an_object_of_no_kind_of_ours(quick: Case, key: str) -> None:
    path = quick.folder / "store" / "objects" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"?")
    os.utime(path, (1, 1))
    assert ("unlisted", key) in named(await quick.check())


async def test_an_entry_that_is_not_covered_yet_is_known(quick: Case) -> None:
    """Stored between the survey and the listing, and before the next checkpoint."""
    await quick.segment("cam-1", "s3", "f3")
    assert await quick.check() == []


# Locks, holds, tags, classes


async def test_a_lock_that_is_too_short(site: Site) -> None:
    row = site.case.rows[0]
    claimed = msgspec.structs.replace(row, key=row.key, retain_until=row.retain_until.plus(86_400_000))
    short = await site.case.segment("cam-3", "s1", lock_ms=HOUR_MS)
    assert claimed.retain_until > row.retain_until
    (fault,) = await site.case.check()
    assert (fault.fault, fault.where) == ("unlocked", short.key)


async def test_a_lock_taken_away_behind_our_back(quick: Case) -> None:
    meta = quick.folder / "store" / "meta" / f"{quick.rows[0].key}.json"
    told = msgspec.json.decode(meta.read_bytes())
    meta.write_bytes(msgspec.json.encode({**told, "retain_until_ms": told["retain_until_ms"] - 86_400_000}))
    (fault,) = await quick.check()
    assert (fault.fault, fault.where) == ("unlocked", quick.rows[0].key)


async def test_a_lock_that_lapsed_while_the_object_must_stay(quick: Case) -> None:
    quick.wait(400 * 86_400)
    assert await quick.names() == {"unlocked"}


async def test_a_hold_that_the_store_does_not_have(quick: Case) -> None:
    row = quick.rows[2]
    hold = HoldBody(hold_id="h1", origin="person", by="chief", reason="complaint")
    await quick.say("hold", "s7", "cam-2", **msgspec.to_builtins(hold))
    assert await quick.check() == []  # it may be on its way
    quick.wait()
    (fault,) = await quick.check()
    assert (fault.fault, fault.where, "legal hold" in fault.detail) == ("unlocked", row.key, True)
    await quick.store.hold(row.key, row.version_id, True)
    assert await quick.check() == []
    await quick.store.hold(row.key, row.version_id, False)
    lifted = ReleaseBody(hold_id="h1", origin="person", by="chief", reason="settled")
    await quick.say("release", "s7", "cam-2", **msgspec.to_builtins(lifted))
    assert await quick.check() == []


async def test_a_class_lengthens_the_lock_and_changes_the_tag(quick: Case) -> None:
    until = quick.clock.now().plus(3 * 365 * 86_400_000)
    body = ClassBody(
        retention_class="evidence",
        by="officer",
        reason="case",
        case="2026-1",
        closed_at=quick.clock.now(),
        keep_until=until,
    )
    await quick.say("class", "s2", "cam-1", **{k: str(v) if k.endswith(("at", "until")) else v
                                               for k, v in msgspec.structs.asdict(body).items() if v}
                    | {"class": "evidence"})  # fmt: skip
    assert await quick.check() == []
    quick.wait()
    row = quick.rows[3]
    assert named(await quick.check()) == [("mistagged", row.key), ("unlocked", row.key)]
    await quick.store.retain(row.key, row.version_id, until)
    tags = await quick.store.tags(row.key, row.version_id)
    await quick.store.set_tags(row.key, row.version_id, {**tags, "retention": "evidence"})
    assert await quick.check() == []


async def test_tags_that_were_changed(site: Site) -> None:
    row = site.case.rows[3]
    tags = await site.case.store.tags(row.key, row.version_id)
    await site.case.store.set_tags(row.key, row.version_id, {**tags, "recorder": "cam-2"})
    assert named(await site.case.check()) == [("mistagged", row.key)]


# Deletions and gaps


async def test_what_was_deleted_with_a_receipt_is_expected_to_be_gone(quick: Case) -> None:
    row = quick.rows[1]
    told = {"key": row.key, "version_id": row.version_id, "sha256": row.sha256}
    (quick.folder / "store" / "objects" / row.key).unlink()
    assert await quick.names() == {"missing"}
    await quick.say("deletion", "s1", stage="intent", **told)
    assert await quick.check() == []  # its receipt may be on the way
    quick.wait()
    (fault,) = await quick.check()
    assert "has no receipt" in fault.detail
    await quick.say("deletion", "s1", stage="done", **told)
    assert await quick.check() == []


async def test_what_was_deleted_and_is_still_there(quick: Case) -> None:
    row = quick.rows[1]
    await quick.say("deletion", "s1", stage="done", key=row.key, version_id=row.version_id)
    assert named(await quick.check()) == [("undeleted", row.key)]


async def test_a_hole_in_a_feed_needs_a_gap_in_the_ledger(quick: Case) -> None:
    row = await quick.segment(seqs=range(9, 12))
    assert await quick.check() == []  # the finding may be on its way
    quick.wait()
    (fault,) = await quick.check()
    assert (fault.fault, fault.where) == ("unrecorded_gap", row.key)
    assert "fragments 6 to 8 of feed f1" in fault.detail
    span = {"from": str(quick.rows[1].to_at), "to": str(row.from_at)}
    await quick.say("gap", status="opened", evidence=span)
    assert await quick.check() == []


async def test_a_feed_that_begins_in_the_middle(quick: Case) -> None:
    row = await quick.segment("cam-5", "s1", "f9", range(4, 6))
    quick.wait()
    assert named(await quick.check()) == [("unrecorded_gap", row.key)]
    early = {"from": str(row.from_at.plus(-10 * HOUR_MS)), "to": str(row.from_at.plus(-9 * HOUR_MS))}
    await quick.say("gap", "s1", "cam-5", evidence=early)
    assert await quick.names() == {"unrecorded_gap"}
    await quick.say("gap", "s1", "cam-5", evidence={**early, "to": str(row.from_at)})
    assert await quick.check() == []


# The ledger


async def test_a_changed_line(site: Site) -> None:
    changed = "CAST(replace(CAST(line AS TEXT), 'playback', 'nothing!') AS BLOB)"
    site.case.sql(f"UPDATE ledger_entries SET line = {changed} WHERE kind = 'access'")
    assert await site.case.names() == {"ledger_entry", "ledger_checkpoint", "ledger_batch"}


async def test_lines_in_another_order(site: Site) -> None:
    one = site.case
    one.sql('UPDATE ledger_entries SET "index" = -1 WHERE "index" = 0')
    one.sql('UPDATE ledger_entries SET "index" = 0 WHERE "index" = 1')
    one.sql('UPDATE ledger_entries SET "index" = 1 WHERE "index" = -1')
    assert await one.names() == {"ledger_entry", "ledger_checkpoint", "ledger_batch"}


async def test_a_line_that_is_gone(site: Site) -> None:
    site.case.sql('DELETE FROM ledger_entries WHERE "index" = 3')
    faults = await site.case.check()
    assert {fault.fault for fault in faults} == {"ledger_entry", "ledger_batch"}
    assert any("entry 3 is missing" in fault.detail for fault in faults)


async def test_a_tail_that_was_cut(site: Site) -> None:
    site.case.sql('DELETE FROM ledger_entries WHERE "index" > 2')
    names = await site.case.names()
    assert {"ledger_checkpoint", "ledger_batch"} <= names


async def test_a_tail_that_was_cut_with_its_checkpoints(site: Site) -> None:
    """Nothing in the database shows it: the copies and the entries in the store do."""
    site.case.sql('DELETE FROM ledger_entries WHERE "index" > 2')
    site.case.sql("DELETE FROM ledger_checkpoints WHERE size > 3")
    site.case.sql("DELETE FROM ledger_deliveries")
    assert {"ledger_copy", "ledger_batch"} <= await site.case.names()


async def test_a_ledger_written_anew_with_our_own_key(site: Site) -> None:
    """Whoever has the key and the database makes a ledger that is sound in itself, without one access."""
    one = site.case
    kept = [decode(line) async for _, line in one.ledger.read()]
    for table in ("ledger_entries", "ledger_checkpoints"):
        one.sql(f"DELETE FROM {table}")
    forger = Notary(one.ledger, one.keys, one.clock)
    for entry in kept:
        if entry.kind != "access":
            await one.ledger.append([entry])
            await forger.make()
    names = await one.names()
    assert {"ledger_copy", "ledger_batch"} <= names
    # Without anything outside, there would be nothing to see.
    for place in one.keeper.copier.places:
        await place.close()
    inside = [fault async for fault in Books(one.ledger, one.keys.trusted, []).run()]
    assert {fault.fault for fault in inside} <= {"ledger_copy"}
    assert [fault for fault in inside if fault.where.startswith(("entry", "checkpoint"))] == []


async def test_checkpoints_signed_by_somebody_else(site: Site) -> None:
    site.case.sql("UPDATE ledger_checkpoints SET note = replace(note, 'liuhen/ledger', 'other/ledger') WHERE size = 4")
    assert await site.case.names() == {"ledger_checkpoint", "ledger_copy"}


async def test_a_copy_that_is_gone_or_another(quick: Case) -> None:
    copy = quick.folder / "copies" / "objects" / "ledger" / "checkpoints" / "000000000004.txt"
    note = copy.read_bytes()
    copy.chmod(0o644)
    copy.write_bytes(note.replace(b"4\n", b"3\n", 1))
    assert "ledger_copy" in await quick.names()
    copy.unlink()
    assert named(await quick.check()) == [("ledger_copy", f"checkpoint 4 in file:{quick.folder}/copies")]


async def test_entries_in_the_store_that_are_not_what_the_ledger_has(quick: Case) -> None:
    batch = quick.folder / "store" / "objects" / "ledger" / "entries" / "000000000002-000000000004.ndjson"
    data = batch.read_bytes()
    batch.chmod(0o644)
    batch.write_bytes(data.replace(b"playback", b"playbook"))
    assert named(await quick.check()) == [
        ("altered", "ledger/entries/000000000002-000000000004.ndjson"),
        ("ledger_batch", "entry 3"),
    ]
    batch.unlink()
    assert await quick.names() == {"ledger_batch"}


async def test_the_last_entries_gone_from_the_store(quick: Case) -> None:
    (quick.folder / "store" / "objects" / "ledger" / "entries" / "000000000004-000000000005.ndjson").unlink()
    assert named(await quick.check()) == [("ledger_batch", "entry 4")]


async def test_a_place_that_does_not_answer_is_told_and_is_no_fault(quick: Case) -> None:
    class Away:
        name, takes_all = "s3://away", True

        async def held(self) -> AsyncIterator[str]:
            raise StoreUnavailable("away")
            yield ""

    verifier = quick.verifier()
    verifier._books._places.append(Away())  # type: ignore[arg-type]
    assert [fault async for fault in verifier.run(Scope())] == []
    assert verifier.summary.unreached == {"s3://away": "away"}


async def test_a_site_that_goes_on_recording_gives_no_false_alarm(tmp_path: Path) -> None:
    """Segments, entries, checkpoints and copies come while the check runs."""
    async with case(tmp_path) as one:
        await one.fill()
        before = len(one.rows)
        stop = asyncio.Event()

        async def record() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                await one.segment("cam-4", f"s{number % 3}", f"f{number}", range(2))
                await one.keeper.turn()
                await asyncio.sleep(0.05)  # a check takes as long as there is more to check

        recording = asyncio.create_task(record())
        try:
            for _ in range(10):
                assert await one.check() == []
        finally:
            stop.set()
            await recording
        assert await one.check() == []
        assert len(one.rows) > before + 1


# One session, going on, a store that is away


async def test_one_session_alone(quick: Case) -> None:
    for row in quick.rows:
        (quick.folder / "store" / "objects" / row.key).unlink()
    faults = await quick.check(Scope("s2"))
    assert named(faults) == [("missing", quick.rows[3].key)]
    assert named(await quick.check(Scope("s1", "cam-2"))) == []


async def test_a_stray_object_beside_one_sessions(quick: Case) -> None:
    stray = quick.folder / "store" / "objects" / Path(quick.rows[3].key).with_name("20260504T080000000-0-aa.mp4")
    stray.write_bytes(b"?")
    os.utime(stray, (1, 1))
    assert {fault.fault for fault in await quick.check(Scope("s2"))} == {"unlisted"}
    assert await quick.check(Scope("s7")) == []


async def test_a_check_that_was_cut_off_goes_on(quick: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.verify.verifier.WINDOW_SEGMENTS", 1)
    (quick.folder / "store" / "objects" / quick.rows[0].key).unlink()
    path = quick.folder / "verify.state"
    first = quick.verifier()
    running = first.run(Scope(), path)
    assert (await anext(running)).fault == "missing"
    await running.aclose()  # type: ignore[attr-defined]
    seen: list[Progress] = []
    second = quick.verifier()
    second._tell = seen.append
    again = [fault async for fault in second.run(Scope(), path, resume=True)]
    assert named(again) == [("missing", quick.rows[0].key)]
    assert [one.objects for one in seen if one.step == "objects"] == [2, 3, 4]
    assert not path.exists()


async def test_without_resume_it_begins_anew_and_another_scope_too(quick: Case) -> None:
    path = quick.folder / "verify.state"
    for scope, resume, expected in ((Scope(), False, 4), (Scope("s1"), True, 2)):
        running = quick.verifier().run(Scope("s9") if resume else Scope(), path)
        await anext(running, None)
        await running.aclose()  # type: ignore[attr-defined]
        verifier = quick.verifier()
        assert [fault async for fault in verifier.run(scope, path, resume=resume)] == []
        assert verifier.summary.objects == expected


async def test_a_state_that_is_none(quick: Case) -> None:
    path = quick.folder / "verify.state"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(InvalidInput, match="delete it to begin anew"):
        await anext(quick.verifier().run(Scope(), path, resume=True))


async def test_a_store_that_is_away_is_no_fault(quick: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.verify.objects.RETRY_S", 0.01)

    async def away(self: ObjectStore, key: str, version_id: str = "") -> list[Version]:
        raise StoreUnavailable("away")

    monkeypatch.setattr(ObjectStore, "head", away)
    with pytest.raises(StoreUnavailable):
        await quick.check()


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("storage.verify.objects.RETRY_S", 0.02)
    yield
    asyncio.set_event_loop_policy(None)
