"""The spool: nothing acknowledged is lost, order is kept, whatever the log and the disk do."""

import asyncio
import errno
import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from domain.bus import Record
from domain.clock import Instant
from domain.errors import IntegrityError, Refused
from domain.events import SessionEnded
from domain.topics import EVENT_HEADER, EVENTS, MEDIA, REJECTED
from streams.ingest import spool as spool_module
from streams.ingest.parcel import Outgoing, event_records, media, pack, unpack
from streams.ingest.spool import Spool, SpoolFull
from tests.streams.flaky_bus import FlakyBus, everything, flaky

AT = Instant.parse("2026-03-02T09:00:00+08:00")


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[FlakyBus]:
    bus = flaky(tmp_path / "log")
    await bus.start()
    yield bus
    await bus.close()


@pytest.fixture
async def spool(tmp_path: Path, bus: FlakyBus) -> AsyncIterator[Spool]:
    spool = new_spool(tmp_path, bus)
    spool.start()
    yield spool
    await spool.stop(0)


def new_spool(tmp_path: Path, bus: FlakyBus, max_bytes: int = 20_000_000) -> Spool:
    return Spool(tmp_path / "spool", bus, max_bytes, first_wait_s=0.02, most_wait_s=0.1)


def fragment(number: int, size: int = 1000, recorder_id: str = "cam-1") -> list[Outgoing]:
    event = b'{"n":%d}' % number
    return media(event, recorder_id, number.to_bytes(4, "big") * (size // 4), starts_segment=False, dependent=False)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB where the spool stands; needs root."""
    disk = tmp_path / "spool"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(spool: Spool, size: int) -> int:
    """Put fragments until one is refused; return how many were taken."""
    for number in range(100):
        try:
            spool.put("cam-1", fragment(number, size))
        except SpoolFull:
            return number
    raise AssertionError("it takes everything")


def numbers(records: list[Record]) -> list[int]:
    return [int.from_bytes((record.value or b"")[:4], "big") for record in records]


async def test_media_and_event_reach_the_log_and_the_file_goes(tmp_path: Path, bus: FlakyBus, spool: Spool) -> None:
    spool.put("cam-1", media(b"{}", "cam-1", b"moov", starts_segment=True, dependent=True))
    assert spool.waiting_bytes > 0
    await spool.drained()
    (record,) = await everything(bus, MEDIA.name)
    assert (record.key, record.value) == ("cam-1", b"moov")
    assert dict(record.headers) == {"event": b"{}", "segment": b"1", "dependent": b"1"}
    assert [event.value for event in await everything(bus, EVENTS.name)] == [b"{}"]
    assert (spool.waiting_bytes, list((tmp_path / "spool").glob("*.parcel"))) == (0, [])


async def test_the_end_of_a_session_is_told_to_the_store_first(bus: FlakyBus, spool: Spool) -> None:
    spool.put("cam-1", event_records(SessionEnded(at=AT, recorder_id="cam-1", session_id="s", completed_at=AT)))
    await spool.drained()
    (told,) = await everything(bus, MEDIA.name)
    (event,) = await everything(bus, EVENTS.name)
    assert (told.value, told.headers[EVENT_HEADER]) == (b"", event.value)


async def test_waits_for_a_log_that_is_away_and_drains_in_order(bus: FlakyBus, spool: Spool) -> None:
    bus.away = True
    for number in range(30):
        for recorder_id in ("cam-1", "cam-2"):
            spool.put(recorder_id, fragment(number, recorder_id=recorder_id))
    assert await everything(bus, MEDIA.name) == []
    bus.away = False
    await spool.drained()
    for recorder_id in ("cam-1", "cam-2"):
        assert numbers(await everything(bus, MEDIA.name, recorder_id)) == list(range(30))
        assert len(await everything(bus, EVENTS.name, recorder_id)) == 30


async def test_a_missing_acknowledgement_repeats_and_never_reorders(bus: FlakyBus, spool: Spool) -> None:
    bus.doubtful = 3
    for number in range(5):
        spool.put("cam-1", fragment(number))
    await spool.drained()
    found = numbers(await everything(bus, MEDIA.name))
    assert found == sorted(found)
    assert set(found) == set(range(5))
    assert len(found) > 5


async def test_contents_beyond_the_held_bytes_come_back_from_disk(
    bus: FlakyBus, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "HELD_BYTES", 2_500)
    bus.away = True
    for number in range(8):
        spool.put("cam-1", fragment(number))
    bus.away = False
    await spool.drained()
    assert numbers(await everything(bus, MEDIA.name)) == list(range(8))


async def test_leftovers_go_first(tmp_path: Path, bus: FlakyBus) -> None:
    before = new_spool(tmp_path, bus)
    before.start()
    bus.away = True
    for number in range(4):
        before.put("cam-1", fragment(number))
    await before.stop(0)
    bus.away = False
    after = new_spool(tmp_path, bus)
    after.start()
    after.put("cam-1", fragment(4))
    await after.drained()
    assert numbers(await everything(bus, MEDIA.name)) == list(range(5))
    await after.stop()


async def test_nothing_is_sent_before_it_is_released(tmp_path: Path, bus: FlakyBus) -> None:
    before = new_spool(tmp_path, bus)
    before.start(held=True)
    before.put("cam-1", fragment(0))
    await before.stop(0.05)
    assert before.waiting_bytes > 0
    after = new_spool(tmp_path, bus)
    after.start(held=True)
    after.put("cam-1", fragment(1))
    await asyncio.sleep(0.05)
    assert bus.published == 0
    after.release()
    await asyncio.wait_for(after.drained(), 10)
    assert numbers(await everything(bus, MEDIA.name)) == [0, 1]
    await after.stop()


async def test_two_processes_cannot_share_a_directory(tmp_path: Path, bus: FlakyBus, spool: Spool) -> None:
    with pytest.raises(Refused, match="worker_id"):
        new_spool(tmp_path, bus).start()


async def test_what_a_worker_under_another_name_left_is_adopted(tmp_path: Path, bus: FlakyBus, spool: Spool) -> None:
    gone = Spool(tmp_path / "gone", bus, 20_000_000)
    gone.start()
    bus.away = True
    for number in range(3):
        gone.put("cam-1", fragment(number))
    spool.put("cam-1", fragment(100))
    spool.adopt(tmp_path / "gone")
    assert len(list((tmp_path / "gone").glob("*.parcel"))) == 3, "it lives"
    await gone.stop(0)
    (tmp_path / "gone" / "cam-1-x-0.00000001.journal").write_bytes(b"LHJ1")
    spool.adopt(tmp_path / "gone")
    bus.away = False
    await spool.drained()
    assert numbers(await everything(bus, MEDIA.name)) == [100, 0, 1, 2]
    assert not list((tmp_path / "gone").glob("*.parcel"))
    assert list((tmp_path / "spool").glob("*.journal"))


async def test_a_damaged_leftover_is_told_and_kept_and_holds_nobody_up(tmp_path: Path, bus: FlakyBus) -> None:
    before = new_spool(tmp_path, bus)
    before.start()
    bus.away = True
    for number in range(3):
        before.put("cam-1", fragment(number))
    await before.stop(0)
    files = sorted((tmp_path / "spool").glob("*.parcel"))
    files[0].write_bytes(files[0].read_bytes()[:-5])
    damaged = bytearray(files[1].read_bytes())
    damaged[-400] ^= 1
    files[1].write_bytes(damaged)
    bus.away = False
    after = new_spool(tmp_path, bus)
    after.start()
    await after.drained()
    assert numbers(await everything(bus, MEDIA.name)) == [2]
    told = await everything(bus, REJECTED.name)
    assert [record.headers["reason"] for record in told] == [b"spool_corrupt"] * 2
    assert told[1].value == bytes(damaged)
    assert len(list((tmp_path / "spool" / "damaged").iterdir())) == 2
    await after.stop()


async def test_a_parcel_that_the_log_will_never_take_is_set_aside(bus: FlakyBus, spool: Spool) -> None:
    bus.refuse = Refused("too large")
    spool.put("cam-1", fragment(0))
    await spool.drained()
    bus.refuse = None
    spool.put("cam-1", fragment(1))
    await spool.drained()
    assert numbers(await everything(bus, MEDIA.name)) == [1]
    (told,) = await everything(bus, REJECTED.name)
    assert told.headers["reason"] == b"unaccepted"


async def test_what_does_not_fit_is_refused_and_events_have_a_reserve(tmp_path: Path, bus: FlakyBus) -> None:
    spool = new_spool(tmp_path, bus, max_bytes=spool_module.RESERVE_BYTES + 5_000)
    spool.start()
    bus.away = True
    taken = fill(spool, 1000)
    with pytest.raises(SpoolFull, match="do not fit"):
        spool.put("cam-1", fragment(taken))
    assert 1 <= taken <= 5
    spool.put(
        "cam-1", event_records(SessionEnded(at=AT, recorder_id="cam-1", session_id="s", completed_at=AT)), is_event=True
    )
    bus.away = False
    await spool.drained()
    spool.put("cam-1", fragment(99))
    await spool.drained()
    found = [record for record in await everything(bus, MEDIA.name) if record.value]
    assert numbers(found) == [*range(taken), 99]
    await spool.stop()


async def test_a_full_disk_refuses_media_and_leaves_no_rubbish(
    tmp_path: Path, bus: FlakyBus, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit on file sizes makes the system itself refuse, mid-file, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(SpoolFull, match=os.strerror(errno.EFBIG)):
            spool.put("cam-1", fragment(0, 200_000))
        spool.put("cam-1", fragment(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    await spool.drained()
    assert numbers(await everything(bus, MEDIA.name)) == [1]
    assert not list((tmp_path / "spool").glob("*.part*"))


async def test_events_still_pass_on_a_file_system_without_a_free_block(
    tmp_path: Path, bus: FlakyBus, small_disk: Path
) -> None:
    spool = new_spool(tmp_path, bus)
    spool.start()
    bus.away = True
    taken = fill(spool, 500_000)
    with pytest.raises(SpoolFull, match=os.strerror(errno.ENOSPC)):
        spool.put("cam-1", fragment(taken, 500_000))
    for number in range(5):
        end = SessionEnded(at=AT, recorder_id="cam-1", session_id=f"s{number}", completed_at=AT)
        spool.put("cam-1", event_records(end), is_event=True)
    bus.away = False
    await spool.drained()
    assert len(await everything(bus, EVENTS.name)) == taken + 5
    spool.put("cam-1", fragment(taken, 500_000))
    await spool.drained()
    assert (small_disk / "reserve").stat().st_size == spool_module.RESERVE_BYTES
    await spool.stop()


CHILD = """
    import asyncio, sys
    from pathlib import Path
    from streams.ingest.spool import Spool
    from tests.streams.flaky_bus import flaky
    from tests.streams.test_spool import fragment

    async def main():
        root = Path(sys.argv[1])
        bus = flaky(root / "log")
        await bus.start()
        spool = Spool(root / "spool", bus, 1 << 30, first_wait_s=0.02)
        spool.start()
        number = int(sys.argv[2])
        while True:
            spool.put("cam-1", fragment(number))
            print(number, flush=True)
            number += 1
            await asyncio.sleep(0.001)

    asyncio.run(main())
"""


def put_until_killed(root: Path, first: int) -> list[int]:
    """Run a child that puts, kill it, and return what it said that it had put."""
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(root), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [int(child.stdout.readline()) for _ in range(25)]
        child.kill()
        return said + [int(line) for line in child.stdout if line.endswith("\n")]


async def test_kill_9_loses_nothing_that_put_took(tmp_path: Path) -> None:
    taken = [number for generation in range(3) for number in put_until_killed(tmp_path, generation * 100_000)]
    bus = flaky(tmp_path / "log")
    await bus.start()
    spool = new_spool(tmp_path, bus)
    spool.start()
    await spool.drained()
    found = numbers(await everything(bus, MEDIA.name))
    assert set(taken) <= set(found)
    first_times = list(dict.fromkeys(found))
    assert first_times == sorted(first_times), "in order, but for repeats"
    await spool.stop()
    await bus.close()


def test_a_parcel_reads_back_as_it_was_written() -> None:
    records = fragment(7)
    assert unpack(b"".join(pack(records))) == records


@pytest.mark.parametrize("data", [b"", b"LHS1", b"PK\3\4\0\0\0\0", b"LHS1\0\0\0\x05\xff\xff\xff\xff\xff"])
def test_rubbish_is_no_parcel(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="parcel"):
        unpack(data)
