"""Classes, holds and expiry applied to real stores, a real catalogue and a real ledger."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from domain.clock import Instant, SystemClock
from domain.errors import Refused
from domain.events import Explanation, SegmentStored, SessionOpened
from domain.findings import Finding
from storage.catalog.rows import SegmentRow
from storage.retention.rules import DAY_MS, RENEW_BEFORE_MS
from tests.services.minio import MinioServer
from tests.services.process import poll_until
from tests.storage.retention_house import T0, RetentionHouse

YEAR_DAYS = 366
HALF_A_YEAR_DAYS = 184.1


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[RetentionHouse]:
    opened = await RetentionHouse.on_disk(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
async def zhanhe(tmp_path: Path) -> AsyncIterator[RetentionHouse]:
    opened = await RetentionHouse.on_disk(tmp_path, "zhanhe")
    yield opened
    await opened.close()


def stored(row: SegmentRow) -> SegmentStored:
    return SegmentStored(
        at=row.stored_at,
        recorder_id=row.recorder_id,
        session_id=row.session_id,
        from_=row.from_at,
        to=row.to_at,
        key=row.key,
        version_id=row.version_id,
        sha256=row.sha256,
        bytes=row.bytes,
    )


async def lock(house: RetentionHouse, row: SegmentRow) -> Instant:
    head = await house.head(row)
    known = await house.catalog.get_segment(row.key)
    assert head is not None
    assert known is not None
    assert head.retain_until == known.retain_until
    return known.retain_until


# Classes


async def test_a_class_lengthens_the_lock_and_says_so_in_tag_and_ledger(house: RetentionHouse) -> None:
    row, other = await house.segment(), await house.segment(session_id="s2")
    before = await lock(house, row)
    until = T0.plus(3 * YEAR_DAYS * DAY_MS)
    await house.classify("evidence", document="12号", case="7号", closed_at=T0, keep_until=until)
    assert await lock(house, row) == until > before
    assert (await house.store.tags(row.key))["retention"] == "evidence"
    assert (await house.store.tags(row.key))["session"] == "s1"
    assert await lock(house, other) == before
    (said,) = await house.entries("class")
    assert (said.recorder_id, said.session_id, said.body["class"]) == ("cam-1", "s1", "evidence")
    assert said.body["document"] == "12号"


async def test_a_weaker_class_leaves_the_lock(house: RetentionHouse) -> None:
    row = await house.segment()
    await house.classify("evidence", closed_at=T0, case="7号", keep_until=T0.plus(3 * YEAR_DAYS * DAY_MS))
    before = await lock(house, row)
    await house.classify("ordinary", document="13号", at=T0.plus(1))
    assert await lock(house, row) == before
    assert (await house.store.tags(row.key))["retention"] == "ordinary"


async def test_the_same_event_again_changes_nothing(house: RetentionHouse) -> None:
    row = await house.segment()
    for _ in range(3):
        await house.classify("ordinary")
        await house.retention.apply(house.hold())
    assert len(await house.entries("class")) == 1
    assert len(await house.entries("hold")) == 1
    assert len(await house.register.holds("cam-1")) == 1
    assert await house.held(row) == [True]


async def test_footage_that_is_stored_after_the_decision_gets_the_same(house: RetentionHouse) -> None:
    await house.classify("evidence", case="7号", closed_at=T0, keep_until=T0.plus(3 * YEAR_DAYS * DAY_MS))
    row = await house.segment()
    assert (await lock(house, row)) < T0.plus(YEAR_DAYS * DAY_MS)
    await house.retention.apply(stored(row))
    assert await lock(house, row) == T0.plus(3 * YEAR_DAYS * DAY_MS)
    assert (await house.store.tags(row.key))["retention"] == "evidence"


async def test_what_is_stored_of_an_undecided_session_is_left_as_it_was_put(house: RetentionHouse) -> None:
    row = await house.segment()
    await house.retention.apply(stored(row))
    assert (await house.store.tags(row.key))["retention"] == "minimum"
    assert (await house.head(row)) == (await house.store.head(row.key))


async def test_an_act_that_the_policy_keeps_long_is_kept_long_from_its_beginning(house: RetentionHouse) -> None:
    opened = SessionOpened(at=T0, recorder_id="cam-1", session_id="s1", act="coercion", unbroken=True)
    await house.retention.apply(opened)
    await house.retention.apply(SessionOpened(at=T0, recorder_id="cam-1", session_id="s2", act="inspection"))
    row = await house.segment()
    await house.retention.apply(stored(row))
    assert (await house.store.tags(row.key))["retention"] == "long_term"
    (said,) = await house.entries("class")
    assert (said.session_id, said.body["by"]) == ("s1", "policy")
    assert said.body["clauses"] == ["W-AV 第十二条（一）", "W-AV 第十三条（一）"]
    assert await house.register.decisions("cam-1", "s2") == []
    await house.classify("ordinary", at=T0.plus(5))
    assert (await house.store.tags(row.key))["retention"] == "long_term"


async def test_obstruction_that_stopped_a_recording_is_kept_long(zhanhe: RetentionHouse) -> None:
    row = await zhanhe.segment()
    said = Explanation(
        at=T0, recorder_id="cam-1", session_id="s1", method="work_record", cause="obstruction", by="李四"
    )
    await zhanhe.retention.apply(said)
    assert (await zhanhe.store.tags(row.key))["retention"] == "long_term"
    (entry,) = await zhanhe.entries("class")
    assert entry.body["clauses"] == ["Z-AV 第十六条（二）"]


# Holds


async def test_a_hold_is_a_legal_hold_until_it_is_released(house: RetentionHouse) -> None:
    rows = [await house.segment(minute) for minute in range(4)]
    part = house.hold(from_=T0.plus(70_000), to=T0.plus(130_000))
    await house.retention.apply(part)
    assert await house.held(*rows) == [False, True, True, False]
    await house.retention.apply(house.hold(by="王五"))
    assert await house.held(*rows) == [True] * 4
    await house.retention.apply(house.hold(by="赵六", released=True, reason="无异议", at=T0.plus(9)))
    assert await house.held(*rows) == [False, True, True, False]
    (standing,) = await house.register.holds("cam-1")
    for second in (None, "", "李四", " 李四 "):
        alone = house.hold(released=True, hold_id=standing.id, at=T0.plus(9), confirmed_by=second)
        await house.retention.apply(alone)
    assert await house.held(*rows) == [False, True, True, False], "one person alone lifts nothing"
    await house.retention.apply(house.hold(released=True, hold_id=standing.id, at=T0.plus(9)))
    assert await house.held(*rows) == [False] * 4
    assert len(await house.entries("release")) == 2


async def test_an_open_case_holds_and_its_closing_does_not_lift_other_holds(house: RetentionHouse) -> None:
    row = await house.segment()
    await house.classify("ordinary", case="7号")
    assert await house.held(row) == [True]
    await house.retention.apply(house.hold(origin="case", ref="8号"))
    await house.classify("ordinary", case="7号", closed_at=T0, at=T0.plus(1))
    assert await house.held(row) == [True]
    await house.retention.apply(house.hold(origin="case", ref="8号", released=True, at=T0.plus(2)))
    assert await house.held(row) == [False]


async def test_a_finding_holds_ten_minutes_either_side_and_outlives_its_closing(house: RetentionHouse) -> None:
    minutes = list(range(-13, 16))
    rows = [await house.segment(minute) for minute in minutes]
    opened = house.finding()
    closed = house.finding(status="closed", ended_at=T0.plus(120_000), detected_at=T0.plus(130_000))
    await house.retention.apply_finding(opened)
    assert await house.held(*rows) == [minute >= -11 for minute in minutes]
    for again in (closed, opened, closed):
        await house.retention.apply_finding(again)
    assert await house.held(*rows) == [-11 <= minute <= 12 for minute in minutes]
    assert [entry.body["ref"] for entry in await house.entries("hold")][-1] == opened.id
    (standing,) = await house.register.holds("cam-1")
    await house.retention.apply(house.hold(released=True, hold_id=standing.id, at=T0.plus(200_000)))
    assert await house.held(*rows) == [False] * len(rows)
    await house.retention.apply_finding(closed)
    assert await house.held(*rows) == [False] * len(rows)


async def test_an_object_that_is_gone_is_told_of_and_stops_nothing(house: RetentionHouse) -> None:
    rows = [await house.segment(minute) for minute in range(3)]
    path = house.folder / "store" / "objects" / rows[1].key
    path.chmod(0o644)
    path.unlink()
    await house.retention.apply(house.hold())
    assert [(fault.key, fault.fault) for fault in house.faults] == [(rows[1].key, "missing")]
    assert await house.held(rows[0], rows[2]) == [True, True]


# Expiry


async def test_ordinary_footage_is_listed_and_then_deleted_with_a_receipt(house: RetentionHouse) -> None:
    row = await house.segment()
    await house.classify("ordinary")
    assert await house.expire() == {}
    house.pass_days(HALF_A_YEAR_DAYS - 20)
    assert await house.expire() == {}
    house.pass_days(20)
    assert await house.expire() == {"listed": 1}
    assert await house.expire() == {}
    house.pass_days(6.9)
    assert await house.expire() == {}
    assert await house.head(row) is not None
    house.pass_days(0.2)
    assert await house.expire() == {"deleted": 1}
    assert await house.head(row) is None
    assert (await house.catalog.list_segments()).items == []
    intent, done = await house.entries("deletion")
    assert (intent.body["stage"], done.body["stage"]) == ("intent", "done")
    for entry in (intent, done):
        assert (entry.body["key"], entry.body["sha256"]) == (row.key, row.sha256)
        assert (entry.body["by"], entry.body["reason"]) == ("policy", "W-AV 第二十八条")
    assert await house.expire() == {}
    assert len(await house.entries("deletion")) == 2


async def test_where_the_policy_wants_a_person_nothing_is_deleted_without_one(zhanhe: RetentionHouse) -> None:
    rows = [await zhanhe.segment(minute) for minute in range(2)]
    await zhanhe.classify("ordinary")
    zhanhe.pass_days(YEAR_DAYS)
    assert await zhanhe.expire() == {"listed": 2}
    assert await zhanhe.held(*rows) == [True, True]
    zhanhe.pass_days(400)
    assert await zhanhe.expire() == {}
    with pytest.raises(Refused):
        await zhanhe.store.delete(rows[0].key)
    await zhanhe.decide("delete", key=rows[0].key)
    assert await zhanhe.expire() == {"deleted": 1}
    assert [await zhanhe.head(row) is None for row in rows] == [True, False]
    done = (await zhanhe.entries("deletion"))[-1]
    assert (done.body["by"], done.body["reason"]) == ("王五", "无保存意义")


async def test_what_a_person_keeps_comes_again(zhanhe: RetentionHouse) -> None:
    row = await zhanhe.segment()
    await zhanhe.classify("ordinary")
    zhanhe.pass_days(YEAR_DAYS)
    await zhanhe.expire()
    await zhanhe.decide("keep", again_at=zhanhe.clock.now().plus(300 * DAY_MS))
    assert await zhanhe.expire() == {"renewed": 1}
    assert await lock(zhanhe, row) >= zhanhe.clock.now().plus(RENEW_BEFORE_MS)
    zhanhe.pass_days(301)
    assert await zhanhe.expire() == {"listed": 1}
    listed = await zhanhe.register.expiry(row.key)
    assert listed is not None
    assert (listed.state, listed.by) == ("review", None)


async def test_a_decision_counts_only_for_what_was_listed_when_it_was_made(zhanhe: RetentionHouse) -> None:
    row = await zhanhe.segment()
    await zhanhe.classify("ordinary")
    zhanhe.pass_days(YEAR_DAYS)
    await zhanhe.decide("delete")
    await zhanhe.retention.follow()
    zhanhe.pass_days(1)
    assert await zhanhe.expire() == {"listed": 1}
    await zhanhe.decide("delete", listed_until=zhanhe.clock.now().plus(-1))
    assert await zhanhe.expire() == {}
    assert await zhanhe.head(row) is not None


async def test_evidence_is_deleted_only_by_a_signed_decision(house: RetentionHouse) -> None:
    row = await house.segment()
    await house.classify("evidence", case="7号", closed_at=T0, keep_until=T0.plus(400 * DAY_MS))
    house.pass_days(401)
    assert await house.expire() == {"listed": 1}
    await house.decide("delete")
    assert await house.expire() == {}
    await house.decide("delete", document="20号", listed_until=house.clock.now().plus(1))
    assert await house.expire() == {"deleted": 1}
    assert await house.head(row) is None
    assert (await house.entries("deletion"))[-1].body["document"] == "20号"


@pytest.mark.parametrize("why", ["unsettled", "long_term", "held", "finding", "case", "no period"])
async def test_what_must_stay_stays_and_is_never_without_a_lock(house: RetentionHouse, why: str) -> None:
    row = await house.segment()
    match why:
        case "long_term":
            await house.classify("long_term")
        case "held":
            await house.classify("ordinary")
            await house.retention.apply(house.hold())
        case "finding":
            await house.classify("ordinary")
            await house.retention.apply_finding(house.finding("upload.overdue"))
        case "case":
            await house.classify("ordinary", case="7号")
        case "no period":
            await house.classify("evidence")
    for _ in range(10):
        house.pass_days(29)
        await house.expire()
        locked = await lock(house, row)
        assert locked >= house.clock.now().plus(RENEW_BEFORE_MS)
        with pytest.raises(Refused):
            await house.store.delete(row.key)
    assert await house.entries("deletion") == []


async def test_what_stood_against_it_is_lifted_and_its_end_comes(house: RetentionHouse) -> None:
    row = await house.segment()
    await house.retention.apply_finding(house.finding("upload.overdue"))
    await house.classify("ordinary")
    house.pass_days(HALF_A_YEAR_DAYS)
    assert await house.expire() == {"renewed": 1}
    closed = house.finding("upload.overdue", status="closed", detected_at=house.clock.now())
    await house.retention.apply_finding(closed)
    assert await house.expire() == {}
    house.pass_days(91)
    assert await house.expire() == {"listed": 1}
    house.pass_days(7)
    assert await house.expire() == {"deleted": 1}
    assert await house.head(row) is None


async def test_a_gap_that_nobody_can_fill_keeps_its_session_until_a_person_has_judged_it(house: RetentionHouse) -> None:
    row = await house.segment()
    await house.retention.apply_finding(house.finding("recording.gap"))
    await house.classify("ordinary")
    house.pass_days(HALF_A_YEAR_DAYS)
    assert await house.expire() == {"renewed": 1}
    (standing,) = await house.register.holds("cam-1")
    now = house.clock.now()
    await house.retention.apply(house.hold(released=True, hold_id=standing.id, at=now, reason="缺口已查明"))
    house.pass_days(91)
    assert await house.expire() == {"listed": 1}
    house.pass_days(7)
    assert await house.expire() == {"deleted": 1}
    assert await house.head(row) is None


async def test_a_hold_voids_an_approval(zhanhe: RetentionHouse) -> None:
    row = await zhanhe.segment()
    await zhanhe.classify("ordinary")
    zhanhe.pass_days(YEAR_DAYS)
    await zhanhe.expire()
    await zhanhe.decide("delete")
    await zhanhe.retention.follow()
    hold = zhanhe.hold()
    await zhanhe.retention.apply(hold)
    assert await zhanhe.register.expiry(row.key) is None
    assert await zhanhe.expire() == {}
    await zhanhe.retention.apply(zhanhe.hold(released=True, at=zhanhe.clock.now().plus(1)))
    zhanhe.pass_days(91)
    assert await zhanhe.expire() == {"listed": 1}
    assert await zhanhe.expire() == {}
    assert await zhanhe.head(row) is not None


async def test_a_hold_that_was_said_before_the_intent_is_seen_before_the_deletion(house: RetentionHouse) -> None:
    """Another process writes it to the ledger while the run is under way."""
    from storage.retention import entries, holds

    row = await house.segment()
    await house.classify("ordinary")
    house.pass_days(HALF_A_YEAR_DAYS)
    await house.expire()
    house.pass_days(7)
    said = house.hold()

    class Meanwhile(Exception):
        pass

    def stop(step: int) -> None:
        if step == 1:
            raise Meanwhile

    with pytest.raises(Meanwhile):
        await house.expire(stop)
    await house.ledger.append([entries.of_event(said, holds.hold_id("cam-1", said))])
    assert await house.expire() == {}
    assert await house.register.expiry(row.key) is None
    assert await house.head(row) is not None
    assert await house.held(row) == [True]


async def test_a_longer_lock_by_somebody_else_is_taken_over(house: RetentionHouse) -> None:
    row = await house.segment()
    await house.classify("ordinary")
    longer = await house.store.retain(row.key, "", T0.plus(300 * DAY_MS))
    house.pass_days(HALF_A_YEAR_DAYS)
    assert await house.expire() == {}
    assert await lock(house, row) == longer
    house.pass_days(120)
    assert await house.expire() == {"listed": 1}
    even_longer = await house.store.retain(row.key, "", house.clock.now().plus(40 * DAY_MS))
    house.pass_days(7)
    assert await house.expire() == {"withdrawn": 1}
    assert await lock(house, row) == even_longer
    assert [entry.body["stage"] for entry in await house.entries("deletion")] == ["intent"]


async def test_what_somebody_else_deleted_is_a_fault_and_gets_no_receipt(house: RetentionHouse) -> None:
    row = await house.segment()
    await house.classify("ordinary")
    house.pass_days(HALF_A_YEAR_DAYS)
    await house.expire()
    await house.store.delete(row.key)
    house.pass_days(8)
    assert await house.expire() == {"fault": 1}
    assert [(fault.key, fault.fault) for fault in house.faults][-1:] == [(row.key, "missing")]
    assert await house.entries("deletion") == []


async def test_what_was_cut_off_is_a_fault_and_not_deleted(house: RetentionHouse) -> None:
    row, other = await house.segment(), await house.segment(1)
    await house.classify("ordinary")
    house.pass_days(HALF_A_YEAR_DAYS)
    await house.expire()
    path = house.folder / "store" / "objects" / row.key
    path.chmod(0o644)
    path.write_bytes(b"x")
    house.pass_days(8)
    assert await house.expire() == {"deleted": 1, "withdrawn": 1}
    assert [(fault.key, fault.fault) for fault in house.faults] == [(row.key, "altered")]
    assert path.exists()
    assert await house.head(other) is None


# Killed between two steps


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("step", range(1, 8))
@pytest.mark.parametrize("policy", ["wucheng", "zhanhe"])
async def test_killed_after_any_step_the_next_life_finishes_once(tmp_path: Path, policy: str, step: int) -> None:
    house = await RetentionHouse.on_disk(tmp_path, policy)
    row, other = await house.segment(), await house.segment(session_id="s2")
    await house.classify("ordinary")
    house.pass_days(YEAR_DAYS)
    await house.expire()
    if policy == "zhanhe":
        await house.decide("delete")
    house.pass_days(7)

    def kill(done: int) -> None:
        if done == step:
            raise Killed

    with pytest.raises(Killed):
        await house.expire(kill)
    kinds = [entry.body["stage"] for entry in await house.entries("deletion")]
    assert (await house.head(row) is None) <= ("intent" in kinds)  # never gone before it was said
    assert ("done" in kinds) <= (await house.head(row) is None)  # never said to be gone while it is there
    await house.close(store=False)
    await house.open()
    await house.expire()
    assert await house.head(row) is None
    assert await house.head(other) is not None
    stages = [entry.body["stage"] for entry in await house.entries("deletion")]
    assert stages == ["intent", "done"]
    known = await house.register.expiry(row.key)
    assert known is not None
    assert known.state == "deleted"
    assert (await house.catalog.list_segments(session_id="s1")).items == []
    assert house.faults == []
    await house.close()


class Chance:
    """Random decisions, holds, findings, days and lives."""

    def __init__(self, house: RetentionHouse, pick: random.Random) -> None:
        self.house = house
        self.pick = pick
        self.found: Finding | None = None

    async def happen(self) -> None:
        """One of them."""
        happening = self.pick.choice([self.classify, self.classify, self.hold, self.find, self.decide, self.restart])
        await happening(f"s{self.pick.randrange(3)}")
        self.house.pass_days(0.001)

    async def classify(self, session_id: str) -> None:
        until = self.house.clock.now().plus(self.pick.randrange(500) * DAY_MS)
        await self.house.classify(
            self.pick.choice(["unknown", "ordinary", "ordinary", "evidence", "long_term"]),
            session_id,
            document=self.pick.choice([None, "12号"]),
            keep_until=self.pick.choice([None, until]),
        )

    async def hold(self, session_id: str) -> None:
        released = self.pick.choice([False, True])
        await self.house.retention.apply(self.house.hold(session_id=session_id, released=released))

    async def find(self, session_id: str) -> None:
        now = self.house.clock.now()
        if self.found is None:
            self.found = self.house.finding("device.silent", began_at=now, detected_at=now, session_id=session_id)
        else:
            self.found = msgspec.structs.replace(self.found, status="closed", ended_at=now, detected_at=now)
        await self.house.retention.apply_finding(self.found)
        self.found = None if self.found.status == "closed" else self.found

    async def decide(self, session_id: str) -> None:
        decision = self.pick.choice(["delete", "keep"])
        await self.house.decide(decision, session_id, document=self.pick.choice([None, "20号"]))

    async def restart(self, _: str) -> None:
        await self.house.close(store=False)
        await self.house.open()


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_no_lock_shrinks_and_nothing_goes_that_must_stay(tmp_path: Path, seed: int) -> None:
    pick = random.Random(seed)
    house = await RetentionHouse.on_disk(tmp_path, pick.choice(["wucheng", "zhanhe", "chongqing"]))
    rows = [await house.segment(minute, session_id=f"s{minute % 3}") for minute in range(6)]
    locks = {row.key: row.retain_until for row in rows}
    chance = Chance(house, pick)
    for _ in range(15):
        for _ in range(pick.randrange(3)):
            await chance.happen()
        house.pass_days(pick.choice([1, 8, 60, 200]))
        protected = [row for row in rows if await house.head(row) is not None and await _must_stay(house, row)]
        await house.expire()
        for row in protected:
            assert await house.head(row) is not None
        for row in rows:
            head = await house.head(row)
            if head is not None:
                assert head.retain_until is not None
                assert head.retain_until >= locks[row.key]
                locks[row.key] = head.retain_until
    receipts = {entry.body["key"] for entry in await house.entries("deletion") if entry.body["stage"] == "done"}
    assert {row.key for row in rows if await house.head(row) is None} == receipts
    assert house.faults == []
    await house.close()


async def _must_stay(house: RetentionHouse, row: SegmentRow) -> bool:
    """By the words of the rule, not by its code: held, or an open finding about it, or not settled."""
    held = any(hold.session_id == row.session_id for hold in await house.register.holds("cam-1"))
    found = (await house.catalog.list_findings(open_only=True)).items
    said = await house.register.decisions("cam-1", row.session_id)
    unsettled = not said or said[-1].retention_class == "unknown"
    return held or unsettled or any(one.session_id == row.session_id for one in found)


# On a real S3


@pytest.mark.minio
async def test_on_a_real_server_a_class_and_a_finding_do_the_same(tmp_path: Path, minio: MinioServer) -> None:
    house = await RetentionHouse.on_minio(tmp_path, minio)
    now = SystemClock().now()
    rows = [await house.segment(minute, began=now.plus(-3_600_000)) for minute in (0, 30)]
    until = now.plus(3 * YEAR_DAYS * DAY_MS)
    await house.classify("evidence", document="12号", case="7号", closed_at=now, keep_until=until)
    assert 0 <= await lock(house, rows[0]) - until < 1000
    assert (await house.store.tags(rows[0].key, rows[0].version_id))["retention"] == "evidence"
    began = now.plus(-3_600_000)
    found = house.finding(began_at=began, status="closed", ended_at=began, detected_at=now)
    await house.retention.apply_finding(found)
    assert await house.held(*rows) == [True, False]
    with pytest.raises(Refused, match="never shortened"):
        await house.store.retain(rows[0].key, rows[0].version_id, now.plus(DAY_MS))
    await house.close()


@pytest.mark.minio
async def test_on_a_real_server_the_exact_version_goes_when_its_lock_is_over(
    tmp_path: Path, minio: MinioServer
) -> None:
    house = await RetentionHouse.on_minio(tmp_path, minio, "zhanhe")
    old = SystemClock().now().plus(-2 * YEAR_DAYS * DAY_MS)
    row = await house.segment(began=old, lock_ms=1500)
    locked = row.retain_until
    await house.classify("ordinary")
    assert await house.expire() == {}  # its time is over, its lock is not
    poll_until(lambda: SystemClock().now() > locked.plus(200), "the lock is over")
    assert await house.expire() == {"listed": 1}
    assert await house.held(row) == [True]
    await house.decide("delete")
    assert await house.expire() == {"deleted": 1}
    assert await house.store.versions(row.key) == []
    assert [entry.body["stage"] for entry in await house.entries("deletion")] == ["intent", "done"]
    await house.close()
