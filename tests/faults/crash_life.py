"""Lives of a store worker under a shim that breaks one call, and what must hold behind each.

Runs as a process of its own with `crash_shim.c` preloaded; every life is a fork of it, so that nothing is imported
anew. Prints one line of JSON a point.

    LD_PRELOAD=SHIM python crash_life.py FOLDER SHIM PLAN

PLAN is JSON: `sample` (points to try, 0 for all), `seed`, and of S3 `store` (`{}` is the point's number) and `secret`.
"""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import io
import json
import os
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from domain.bus import TopicPartition
from domain.events import Fragment
from domain.wire import decode_event
from policies.retention import retain_until
from storage import manifest
from storage.catalog.rows import SegmentRow
from storage.ledger.entry import Entry, decode
from storage.ledger.merkle import Frontier, leaf_hash
from storage.ledger.segment import entry_of
from streams.workers import store as store_worker
from tests.streams.store_media import Site, end_feed, end_session, media, publish_feed, records, site, stored

FEEDS = [("cam-1", "f1", 6), ("cam-2", "f1", 4)]
LIFE_S = 90
FAULTS = ("calm", "kill", "kill-behind", "power", "EIO", "ENOSPC", "short", "torn", "reset", "timeout")
"""As numbered in the shim."""
WRITES = ("kill", "kill-behind", "power", "EIO", "ENOSPC", "short", "torn")
KINDS = {
    "write": WRITES,
    "pwrite": WRITES,
    "pwritev": WRITES,
    "sendfile": WRITES,
    "ftruncate": ("kill", "power", "EIO"),
    "fsync": ("kill", "power", "EIO", "ENOSPC"),
    "fdatasync": ("kill", "power", "EIO", "ENOSPC"),
    "create": ("kill", "power", "EIO", "ENOSPC"),
    "mkdir": ("kill", "power", "ENOSPC"),
    "link": ("kill", "kill-behind", "power", "EIO", "ENOSPC"),
    "rename": ("kill", "kill-behind", "power", "EIO"),
    "unlink": ("kill", "power", "EIO"),
    "send": ("kill", "kill-behind", "reset", "timeout"),
    "recv": ("kill", "kill-behind", "reset", "timeout"),
}
"""What can become of each call; `kill-behind` of a write comes when half of it is written."""


class Point(NamedTuple):
    """What is broken: the `nth` call of its text, and how."""

    call: str
    nth: int
    fault: str

    @property
    def kind(self) -> tuple[str, str]:
        return self.call.split()[0], self.fault


class House:
    """Where the lives are led."""

    def __init__(self, folder: Path, shim: ctypes.CDLL, plan: dict[str, Any]) -> None:
        self.folder, self.shim, self.plan = folder, shim, plan
        self.template = folder / "template"

    def options(self, number: int) -> dict[str, str]:
        if not self.plan.get("store"):
            return {}
        return {"store": self.plan["store"].format(number), "store_secret": self.plan["secret"]}

    def fork(self, where: Path, number: int, armed: Point | None) -> str:
        """Lead one life, or with None a healthy one that ends with the checks; returns how it ended."""
        pid = os.fork()
        if pid == 0:
            self._child(where, number, armed)
        deadline = time.monotonic() + LIFE_S
        while time.monotonic() < deadline:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                code = os.waitstatus_to_exitcode(status)
                return "went on" if code == 0 else "killed" if code < 0 else "ended"
            time.sleep(0.01)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        return "hung"

    def _child(self, where: Path, number: int, armed: Point | None) -> None:
        code = 1
        try:
            said = os.open(where.with_suffix(".said"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(said, 1)
            os.dup2(said, 2)
            store_worker.RETRY_FIRST_S = 0.02
            if armed is not None:
                self.shim.crash_arm(str(where).encode(), armed.call.encode(), armed.nth, FAULTS.index(armed.fault))
                asyncio.run(live(where, self.options(number)))
            else:
                asyncio.run(recover(where, self.options(number)))
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)

    def point(self, number: int, point: Point) -> dict[str, Any]:
        """Break one call of one life, and recover."""
        where = self.folder / f"life-{number}"
        shutil.copytree(self.template, where)
        ended = self.fork(where, number, point)
        hit = bool(self.shim.crash_hit())
        after = self.fork(where, number, None)
        said = where.with_suffix(".said")
        for kept in self.folder.glob(f"{where.name}.kept-*"):
            kept.unlink()
        what: dict[str, Any] = {**point._asdict(), "hit": hit, "ended": ended, "held": True}
        if ended == "hung" or after != "went on":
            what |= {"held": False, "after": after, "said": said.read_text()[-4000:], "kept": str(where)}
        else:
            shutil.rmtree(where)
            said.unlink()
        return what

    def calls(self) -> list[tuple[str, int]]:
        """Return the calls of the last life, and which of the same text each is."""
        texts = [str(self.shim.crash_text(number).decode()) for number in range(1, self.shim.crash_count() + 1)]
        return [(text, texts[: at + 1].count(text)) for at, text in enumerate(texts)]


async def fill(folder: Path) -> None:
    """Two recorders on one partition, three segments, everything ended."""
    async with site(folder, partitions=1) as here:
        for recorder, feed, count in FEEDS:
            await publish_feed(here.bus, recorder, feed, range(count), per_segment=4)
        await end_feed(here.bus, "cam-1", "f1")
        await end_session(here.bus, "cam-2")


async def live(folder: Path, options: dict[str, str]) -> None:
    """Store everything that is on the log; whatever comes up comes out of here."""
    async with site(folder, partitions=1, **options) as here:
        await work(here)


async def work(here: Site) -> None:
    place = TopicPartition("media", 0)
    end = (await here.bus.bounds(place))[1]
    async with here.worker() as worker:
        task = next(task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__name__", "") == "run")
        while worker.committed().get(place, 0) < end and not task.done():  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(0.02)


async def recover(folder: Path, options: dict[str, str]) -> None:
    """What the crash has left may be too little but not wrong; after a healthy life it is whole."""
    async with site(folder, partitions=1, **options) as here:
        await check_left(here)
        await end_feed(here.bus, "cam-1", "none")  # something to commit, even where all was committed
        await work(here)
        await check_whole(here)


async def check_left(here: Site) -> None:
    """Before anything is mended: nothing half, nothing said or committed ahead of what is stored."""
    keys = {one.key async for one in here.store.list("segments/")}
    seqs = {key: await check_object(here, key) for key in keys}
    rows = (await here.catalog.list_segments(limit=1000)).items
    attested = [str(decode(line).body["key"]) async for _, line in here.ledger.read()]
    assert len(attested) == len(set(attested)), "one entry of each"
    announced = {event.key for event in await stored(here.bus)}
    assert announced <= {row.key for row in rows} <= set(attested) <= keys, "announced, in the catalogue, attested"
    there = {one for found in seqs.values() for one in found}
    committed = await commit_of(here)
    for record in await records(here.bus, "media"):
        if record.value and record.offset < committed:
            event = decode_event(record.headers["event"])
            assert isinstance(event, Fragment)
            assert (event.recorder_id, event.feed_id, event.seq) in there, "committed is stored"
    if committed:
        assert announced, "committed is announced"


async def commit_of(here: Site) -> int:
    nobody = frozenset[TopicPartition]

    async def ignore(_: nobody) -> None:
        return

    consumer = await here.bus.subscribe("store", ["media"], on_gained=ignore, on_lost=ignore)
    try:
        taken = await consumer.take(max_records=1, within_s=0.2)
        return taken[0].offset if taken else (await here.bus.bounds(TopicPartition("media", 0)))[1]
    finally:
        await consumer.close()


async def check_object(here: Site, key: str) -> list[tuple[str, str, int]]:
    """Whole, of one version, under its own hash, locked; returns recorder, feed and number of its fragments."""
    (version,) = await here.store.versions(key)
    data = await here.store.get(key, version.version_id)
    sha256 = hashlib.sha256(data).hexdigest()
    assert f"-{sha256[:16]}.mp4" in key, f"{key} has other bytes"
    head = await here.store.head(key, version.version_id)
    assert head is not None
    assert (head.sha256, head.size) == (sha256, len(data))
    found = manifest.check(io.BytesIO(data))
    last = found.fragments[-1]
    over = last.captured_at.plus(round(1000 * last.duration_s))
    assert head.retain_until is not None
    assert head.retain_until >= retain_until(over, here.settings.policy) - 1000
    assert (await here.store.tags(key, version.version_id))["recorder"] == found.recorder_id
    for entry in found.fragments:
        assert entry.sha256 == hashlib.sha256(media(found.recorder_id, found.feed_id, entry.seq)).hexdigest()
    return [(found.recorder_id, found.feed_id, entry.seq) for entry in found.fragments]


async def check_whole(here: Site) -> None:
    """Each fragment in one object; object, row, entry and announcement one of each, and they agree."""
    rows = (await here.catalog.list_segments(limit=1000)).items
    keys = [one.key async for one in here.store.list("segments/")]
    assert sorted(keys) == sorted(row.key for row in rows)
    seen = [one for key in keys for one in await check_object(here, key)]
    assert sorted(seen) == sorted((recorder, feed, seq) for recorder, feed, count in FEEDS for seq in range(count))
    announced = {(event.key, event.version_id, event.sha256, event.at) for event in await stored(here.bus)}
    assert announced == {(row.key, row.version_id, row.sha256, row.stored_at) for row in rows}, "under one line"
    await check_ledger(here, rows)
    assert await records(here.bus, "rejected") == []
    assert left_over(Path(here.settings.work)) == []


def left_over(work: Path) -> list[Path]:
    return [*work.rglob("*.part"), *work.rglob("quarantine")]


async def check_ledger(here: Site, rows: list[SegmentRow]) -> None:
    frontier = Frontier()
    entries: list[Entry] = []
    async for one in here.ledger.rows():
        assert one.index == len(entries), "no hole"
        assert b"".join(frontier.add(leaf_hash(one.line))) == one.nodes, "the root is that of its nodes"
        entries.append(decode(one.line))
    key = [str(entry.body["key"]) for entry in entries]
    assert sorted(key) == sorted(row.key for row in rows), "one entry of each object"
    for row in rows:
        assert entries[key.index(row.key)] == entry_of(row)
    assert await here.ledger.root() == frontier.root()


def choose(calls: list[tuple[str, int]], plan: dict[str, Any]) -> list[Point]:
    """Every point with everything that can become of it, or so many of them: first, one of each call and fault."""
    every = [Point(text, nth, fault) for text, nth in calls for fault in KINDS[text.split()[0]]]
    every = [one for one in every if one.kind[0] in plan.get("only", KINDS) and one.fault in plan.get("faults", FAULTS)]
    random.Random(plan["seed"]).shuffle(every)
    seen: set[tuple[str, str]] = set()
    first: list[Point] = []
    rest: list[Point] = []
    for one in every:
        (rest if one.kind in seen else first).append(one)
        seen.add(one.kind)
    part, parts = plan.get("part", (0, 1))
    return (first + rest)[: plan["sample"] or None][part::parts]


def tell(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main(folder: str, shim_path: str, plan_text: str) -> None:
    shim = ctypes.CDLL(shim_path)
    shim.crash_text.restype = ctypes.c_char_p
    assert shim.crash_setup() == 0
    plan: dict[str, Any] = json.loads(plan_text)
    house = House(Path(folder), shim, plan)
    pid = os.fork()  # the log's threads must not be there when the lives are forked
    if pid == 0:
        asyncio.run(fill(house.template))
        os._exit(0)
    os.waitpid(pid, 0)
    calm = house.point(0, Point("", 0, "calm"))
    assert (calm["held"], calm["ended"]) == (True, "went on"), calm
    calls = house.calls()
    chosen = choose(calls, plan)
    tell({"points": len(calls), "chosen": len(chosen)})
    for number, point in enumerate(chosen, 1):
        tell(house.point(number, point))


if __name__ == "__main__":
    main(*sys.argv[1:])
