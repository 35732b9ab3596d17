"""What the custody worker makes of a log, with a real log, store, catalogue and ledger."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from domain.clock import SystemClock
from domain.errors import LedgerUnavailable
from domain.events import AnyEvent, Explanation, Hold, Integrity
from domain.findings import Finding, Message
from domain.topics import EVENTS, FINDINGS
from domain.wire import encode
from storage.ledger.entry import Entry, decode
from storage.ledger.keeper import keeper
from storage.ledger.keys import load_keys
from storage.ledger.statements import Checkpoint
from storage.retention.retention import Retention
from streams.workers.custody import Checkpoints, Chore, CustodyWorker
from tests.streams.store_media import T0, Site, end_feed, publish_feed, records, site


def gap(status: str = "opened", **more: Any) -> Finding:
    return Finding(
        id="a" * 32,
        kind="recording.gap",
        status=status,  # type: ignore[arg-type]
        severity="warning",
        recorder_id="cam-1",
        session_id="s1",
        began_at=T0,
        detected_at=more.pop("detected_at", T0.plus(9_000)),
        evidence=more.pop("evidence", {"seconds": 7.25}),
        clauses=["W-AV 第十二条"],
        message=Message(key="recording.gap", params={}),
        cause="network",
        **more,
    )


def explanation(text: str = "电量耗尽") -> Explanation:
    return Explanation(
        at=T0, recorder_id="cam-1", session_id="s1", method="written", cause="battery", by="王五", text=text
    )


async def tell(here: Site, *said: AnyEvent | Finding) -> None:
    for one in said:
        topic = FINDINGS if isinstance(one, Finding) else EVENTS
        await here.bus.publish(topic.name, one.recorder_id, encode(one))  # type: ignore[union-attr]


def worker(here: Site, chores: Sequence[Chore] = ()) -> CustodyWorker:
    retention = Retention(here.store, here.catalog, here.ledger, clock=SystemClock(), policy_of=lambda _: "wucheng")
    return CustodyWorker(here.bus, here.catalog, here.ledger, retention, chores)


@asynccontextmanager
async def running(here: Site, chores: Sequence[Chore] = ()) -> AsyncIterator[CustodyWorker]:
    made = worker(here, chores)
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def entries(here: Site) -> list[Entry]:
    return [decode(line) async for _, line in here.ledger.read()]


async def until_entries(here: Site, count: int) -> list[Entry]:
    for _ in range(400):
        if len(found := await entries(here)) >= count:
            return found
        await asyncio.sleep(0.05)
    msg = f"{len(found)} entries, not {count}"
    raise TimeoutError(msg)


async def until_held(here: Site, key: str, version_id: str) -> None:
    for _ in range(400):
        head = await here.store.head(key, version_id)
        if head is not None and head.legal_hold:
            return
        await asyncio.sleep(0.05)
    raise TimeoutError(key)


async def test_what_is_said_of_evidence_stands_in_the_ledger_once(tmp_path: Path) -> None:
    altered = Integrity(at=T0, recorder_id="cam-1", key="segments/x", fault="altered")
    filled = gap("closed", detected_at=T0.plus(99_000), ended_at=T0.plus(99_000))
    async with site(tmp_path) as here:
        await tell(here, explanation(), altered, gap(), filled)
        async with running(here):
            await until_entries(here, 5)  # the policy holds what is about a gap: an entry of its own
        again = [one for topic in ("events", "findings") for one in await records(here.bus, topic)]
        before = await entries(here)
        await worker(here).absorb(again)
        assert await entries(here) == before
    found = [one for one in before if one.kind != "hold"]
    assert sorted(one.kind for one in found) == ["explanation", "gap", "gap", "integrity"]
    by_kind = {one.kind: one for one in found}
    assert by_kind["explanation"].body["text"] == "电量耗尽"
    assert (by_kind["explanation"].recorder_id, by_kind["explanation"].session_id) == ("cam-1", "s1")
    assert {one.body["status"] for one in found if one.kind == "gap"} == {"opened", "closed"}
    assert all(one.body["evidence"] == {"seconds": 7.25} for one in found if one.kind == "gap")


async def test_a_hold_on_the_log_locks_what_is_stored(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await publish_feed(here.bus, "cam-1", "f1", range(5))
        await end_feed(here.bus, "cam-1", "f1")
        async with here.worker():
            (stored,) = await here.until_stored(1)
        await tell(here, Hold(at=T0, recorder_id="cam-1", session_id="s1", reason="投诉", by="李四", released=False))
        async with running(here):
            found = await until_entries(here, 2)
            await until_held(here, stored.key, stored.version_id)
    assert [one.kind for one in found] == ["segment", "hold"]


async def test_a_segment_that_the_ledger_did_not_take_is_told_to_it_later(tmp_path: Path) -> None:
    async with site(tmp_path / "first") as here:
        await publish_feed(here.bus, "cam-1", "f1", range(5))
        await end_feed(here.bus, "cam-1", "f1")
        async with here.worker():
            await here.until_stored(1)
        (told,) = await entries(here)
    (tmp_path / "first/ledger.db").unlink()
    async with site(tmp_path / "first") as here, running(here):
        assert await until_entries(here, 1) == [told]


async def test_what_a_line_cannot_hold_is_attested_by_its_hash(tmp_path: Path) -> None:
    long = gap(evidence={"seconds": 7.25, "seq": list(range(60_000))})
    async with site(tmp_path) as here:
        await tell(here, long, explanation())
        async with running(here):
            found = {one.kind: one for one in await until_entries(here, 3)}
    body = found["gap"].body
    assert body["sha256"] == hashlib.sha256(encode(long)).hexdigest()
    assert (body["id"], body["status"], body["evidence"]) == (long.id, long.status, {"seconds": 7.25})
    assert found["explanation"].body["text"] == "电量耗尽"


async def test_what_cannot_be_read_stands_in_nobodys_way(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        for topic in ("events", "findings"):
            for value in (b"", b"{", b"[]", b"\xff\xfe", b'{"type":"hold"}', b'{"type":7}'):
                await here.bus.publish(topic, "cam-1", value)
        await tell(here, explanation())
        async with running(here):
            (only,) = await until_entries(here, 1)
    assert only.kind == "explanation"


async def test_a_ledger_that_is_away_is_told_when_it_is_back(tmp_path: Path) -> None:
    class Away:
        """Fails as a database server does that is being restarted, for the first two calls."""

        def __init__(self, here: Site) -> None:
            self.left, self._append = 2, here.ledger.append

        async def append(self, said: Sequence[Entry]) -> list[int]:
            self.left -= 1
            if self.left >= 0:
                raise LedgerUnavailable("ledger: restarting")
            return await self._append(said)

    async with site(tmp_path) as here:
        here.ledger.append = Away(here).append  # type: ignore[method-assign,assignment]
        await tell(here, explanation())
        async with running(here):
            assert [one.kind for one in await until_entries(here, 1)] == ["explanation"]


async def test_checkpoints_are_made_and_a_ledger_that_was_changed_is_said_on_the_log(tmp_path: Path) -> None:
    async with site(tmp_path, ledger_key_file=f"{tmp_path}/ledger.key") as here:
        clock = SystemClock()
        keys = load_keys(Path(here.settings.ledger_key_file), here.settings.ledger_origin)
        keeps = keeper(here.settings, here.ledger, keys, here.store, clock)
        chore = Checkpoints(keeps, here.ledger, here.bus, clock)
        await here.ledger.append([Entry(kind="access", at=T0, body={"by": str(number)}) for number in range(9)])
        await chore.run()
        latest = await here.ledger.latest_checkpoint()
        assert isinstance(latest, Checkpoint)
        assert latest.size == 9
        assert [one async for one in here.store.list("ledger/")] != []
        with sqlite3.connect(tmp_path / "ledger.db") as database:
            database.execute('delete from ledger_entries where "index" >= 5')
        await chore.run()
        await chore.run()
        told = [one for one in await records(here.bus, "events") if b'"integrity"' in (one.value or b"")]
        assert len(told) == 1
        await keeps.close()
