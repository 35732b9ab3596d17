"""What only the embedded log must do: survive kills, torn tails, bit flips and disks that fail."""

import asyncio
import errno
import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from domain.bus import Record, TopicPartition
from domain.clock import Instant, ManualClock
from domain.errors import BusUnavailable, IntegrityError, InvalidSettings
from domain.topics import Topic
from streams.bus.connect import connect
from streams.bus.embedded import EmbeddedBus
from streams.bus.files import FaultyFiles, Files
from streams.bus.framing import HEADER_BYTES, Mark, encode_header
from streams.bus.partition import Limits
from streams.bus.sharing import share

TOPIC = Topic("kept", None)
COMPACTED = Topic("compacted", None, compacted=True)
PLACE = TopicPartition(TOPIC.name, 0)
ROOT = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def opened(
    directory: Path,
    *,
    files: Files | None = None,
    limits: Limits | None = None,
    clock: ManualClock | None = None,
    in_flight_bytes: int = 32_000_000,
) -> AsyncIterator[EmbeddedBus]:
    bus = EmbeddedBus(
        directory,
        partitions=1,
        topics=[TOPIC, COMPACTED],
        files=files,
        limits=limits,
        clock=clock,
        in_flight_bytes=in_flight_bytes,
        upkeep_every_s=0.05,
    )
    await bus.start()
    try:
        yield bus
    finally:
        await bus.close()


async def read(bus: EmbeddedBus, start: int = 0, place: TopicPartition = PLACE) -> list[Record]:
    return [record async for record in bus.read(place, start)]


async def read_to_damage(bus: EmbeddedBus) -> tuple[list[int], IntegrityError | None]:
    seen: list[int] = []
    try:
        async for record in bus.read(PLACE, 0):
            seen.append(record.offset)  # noqa: PERF401 - what came before the error counts
    except IntegrityError as error:
        return seen, error
    return seen, None


async def compacted(directory: Path) -> None:
    """Wait until all closed parts have become one."""
    async with asyncio.timeout(20):
        while len(parts(directory, COMPACTED.name)) > 2:  # noqa: ASYNC110 - it happens in a thread, on disk
            await asyncio.sleep(0.02)


def parts(directory: Path, topic: str = TOPIC.name) -> list[Path]:
    return sorted((directory / topic / "0").glob("*.part"))


_CHILD = """
    import asyncio, sys
    from pathlib import Path
    from domain.topics import Topic
    from streams.bus.embedded import EmbeddedBus
    from streams.bus.partition import Limits

    async def main():
        bus = EmbeddedBus(Path(sys.argv[1]), partitions=1, topics=[Topic("kept", None)], limits=Limits(200_000, 10**9))
        await bus.start()
        first = (await bus.bounds(("kept", 0)))[1]

        async def publisher(lane):
            n = 0
            while True:
                text = f"{first} {lane} {n} ".encode()
                done = await bus.publish("kept", "k", text + bytes(n * 977 % 9000))
                sys.stdout.write(f"{done.offset} {text.decode()}\\n")
                sys.stdout.flush()
                n += 1

        await asyncio.gather(*(publisher(lane) for lane in range(8)))

    asyncio.run(main())
"""


@pytest.mark.faults
async def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    randomness = random.Random(20)
    acknowledged: dict[int, str] = {}
    for _ in range(20):
        child = subprocess.Popen(  # noqa: ASYNC220 - a pipe to read to its end in a thread
            [sys.executable, "-c", textwrap.dedent(_CHILD), str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        lines = [child.stdout.readline()]  # it is publishing now
        timer = asyncio.get_running_loop().call_later(randomness.uniform(0, 0.25), child.send_signal, signal.SIGKILL)
        lines += (await asyncio.to_thread(child.stdout.read)).splitlines(keepends=True)
        timer.cancel()
        assert child.wait() == -signal.SIGKILL
        child.stdout.close()
        for line in lines:
            if line.endswith("\n"):
                offset, _, text = line.rstrip("\n").partition(" ")
                assert int(offset) not in acknowledged
                acknowledged[int(offset)] = text
    async with opened(tmp_path) as bus:
        records = await read(bus)
    assert [record.offset for record in records] == list(range(len(records)))
    assert len(acknowledged) > 100
    stored = {record.offset: record.value or b"" for record in records}
    for place, text in acknowledged.items():
        assert stored[place].startswith(text.encode()), place
    lanes: dict[tuple[bytes, bytes], int] = {}
    for value in stored.values():
        life, lane, n, rest = value.split(b" ", 3)
        assert int(n) == lanes.get((life, lane), -1) + 1  # each publisher's own order, without holes
        assert rest == bytes(int(n) * 977 % 9000)
        lanes[life, lane] = int(n)


@pytest.mark.parametrize("garbage", [b"\x01", b"\x10\0\0\0garbage that is long enough to be a record", bytes(5000)])
async def test_a_torn_tail_is_cut_off(tmp_path: Path, garbage: bytes) -> None:
    async with opened(tmp_path) as bus:
        for n in range(5):
            await bus.publish(TOPIC.name, "k", b"%d" % n)
    (part,) = parts(tmp_path)
    size = part.stat().st_size
    with part.open("ab") as file:
        file.write(garbage)
    async with opened(tmp_path) as bus:
        assert part.stat().st_size == size
        assert (await bus.publish(TOPIC.name, "k", b"5")).offset == 5
        assert [record.value for record in await read(bus)] == [b"%d" % n for n in range(6)]


async def test_a_part_begun_and_not_finished_is_no_part(tmp_path: Path) -> None:
    async with opened(tmp_path) as bus:
        await bus.publish(TOPIC.name, "k", b"0")
    (tmp_path / TOPIC.name / "0" / f"{1:020d}.part").write_bytes(bytes(HEADER_BYTES // 2))
    async with opened(tmp_path) as bus:
        assert (await bus.publish(TOPIC.name, "k", b"1")).offset == 1
        assert len(await read(bus)) == 2


@pytest.mark.parametrize("within", [0, 4, 8, 20, 60])
async def test_a_flipped_bit_in_the_middle_is_named_and_nothing_thrown_away(tmp_path: Path, within: int) -> None:
    async with opened(tmp_path) as bus:
        for n in range(10):
            await bus.publish(TOPIC.name, "k", b"%02d" % n + bytes(98))
    (part,) = parts(tmp_path)
    data = bytearray(part.read_bytes())
    frame_bytes = (len(data) - HEADER_BYTES) // 10
    bad_at = HEADER_BYTES + 6 * frame_bytes
    data[bad_at + within] ^= 0x10
    part.write_bytes(data)
    async with opened(tmp_path) as bus:
        assert (await bus.publish(TOPIC.name, "k", b"after")).offset == 10
        seen, damage = await read_to_damage(bus)
        assert seen == list(range(6))
        assert str(part) in str(damage)
        assert f"offset 6, byte {bad_at}" in str(damage)
        assert [record.value for record in await read(bus, 10)] == [b"after"]
    assert bytes(data) == part.read_bytes()


async def test_a_consumer_meets_the_damage_and_can_go_around_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as bus:
        for n in range(4):
            await bus.publish(TOPIC.name, "k", b"%d" % n)
    (part,) = parts(tmp_path)
    data = bytearray(part.read_bytes())
    data[-1] ^= 1
    part.write_bytes(data)
    async with opened(tmp_path) as bus:
        await bus.publish(TOPIC.name, "k", b"4")
        consumer = await bus.subscribe("g", [TOPIC.name])
        assert len(await consumer.take(within_s=5)) == 3
        for _ in range(2):
            with pytest.raises(IntegrityError, match="offset 3"):
                await consumer.take(within_s=5)
        await consumer.seek(PLACE, 4)
        assert [record.value for record in await consumer.take(within_s=5)] == [b"4"]


@pytest.mark.parametrize("call", ["write", "sync"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
async def test_what_failed_is_never_acknowledged_and_the_next_goes_well(tmp_path: Path, call: str, number: int) -> None:
    files = FaultyFiles()
    async with opened(tmp_path, files=files) as bus:
        await bus.publish(TOPIC.name, "k", b"0")
        files.fail(call, number)
        with pytest.raises(BusUnavailable, match=os.strerror(number)):
            await bus.publish(TOPIC.name, "k", b"lost")
        assert await bus.bounds(PLACE) == (0, 1)
        assert (await bus.publish(TOPIC.name, "k", b"1")).offset == 1
        assert [record.value for record in await read(bus)] == [b"0", b"1"]
    assert len(parts(tmp_path)) == (2 if call == "sync" else 1)  # pages of a failed sync are not trusted
    async with opened(tmp_path) as bus:
        assert [record.value for record in await read(bus)] == [b"0", b"1"]


async def test_a_disk_that_fails_for_long_is_refused_each_time(tmp_path: Path) -> None:
    files = FaultyFiles()
    async with opened(tmp_path, files=files) as bus:
        await bus.publish(TOPIC.name, "k", b"0")
        for call in ("sync", "open", "write"):
            files.fail("sync", errno.EIO)  # from then on it must begin a new part
            files.fail(call, errno.EIO, times=50)
            for _ in range(5):
                with pytest.raises(BusUnavailable):
                    await bus.publish(TOPIC.name, "k", b"lost")
            files.heal()
        assert (await bus.publish(TOPIC.name, "k", b"1")).offset == 1
        assert [record.value for record in await read(bus)] == [b"0", b"1"]


async def test_a_full_disk_heals_when_there_is_space_again(tmp_path: Path) -> None:
    files = FaultyFiles()
    async with opened(tmp_path, files=files) as bus:
        await bus.publish(TOPIC.name, "k", b"0")
        files.fill_after(100_000)
        calls = [bus.publish(TOPIC.name, "k", b"%d" % n + bytes(30_000)) for n in range(10)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert any(isinstance(outcome, BusUnavailable) for outcome in outcomes)
        files.heal()
        await bus.publish(TOPIC.name, "k", b"last")
        stored = [record.value for record in await read(bus)]
        kept = [b"%d" % n + bytes(30_000) for n, o in enumerate(outcomes) if not isinstance(o, BaseException)]
        assert stored == [b"0", *kept, b"last"]


@pytest.mark.faults
async def test_a_real_limit_on_file_size(tmp_path: Path) -> None:
    script = """
        import asyncio, resource, signal, sys
        from pathlib import Path
        from domain.bus import TopicPartition
        from domain.errors import BusUnavailable
        from domain.topics import Topic
        from streams.bus.embedded import EmbeddedBus

        async def main():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            bus = EmbeddedBus(Path(sys.argv[1]), partitions=1, topics=[Topic("kept", None)])
            await bus.start()
            await bus.publish("kept", "k", b"first")
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
            try:
                await bus.publish("kept", "k", bytes(500_000))
            except BusUnavailable as error:
                print("refused")
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            print((await bus.publish("kept", "k", bytes(500_000))).offset)
            print([len(r.value) async for r in bus.read(TopicPartition("kept", 0), 0)])
            await bus.close()

        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["refused", "1", "[5, 500000]"], done.stderr


async def test_one_process_at_a_time(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(BusUnavailable, match=f"in use by another process .pid {os.getpid()}"):
            async with opened(tmp_path):
                pass
    async with opened(tmp_path) as bus:
        await bus.publish(TOPIC.name, "k", b"free again")


async def test_parts_roll_by_size_and_read_as_one(tmp_path: Path) -> None:
    async with opened(tmp_path, limits=Limits(50_000, 10**9)) as bus:
        for n in range(100):
            await bus.publish(TOPIC.name, "k", b"%d" % n + bytes(5000))
        assert len(parts(tmp_path)) > 5
        assert [record.offset for record in await read(bus)] == list(range(100))
    async with opened(tmp_path, limits=Limits(50_000, 10**9)) as bus:
        for start in (0, 1, 37, 99):
            assert [record.offset for record in await read(bus, start)] == list(range(start, 100))


async def test_a_part_that_is_missing_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(tmp_path, limits=Limits(50_000, 10**9)) as bus:
        for n in range(100):
            await bus.publish(TOPIC.name, "k", b"%d" % n + bytes(5000))
    parts(tmp_path)[2].unlink()
    async with opened(tmp_path, limits=Limits(50_000, 10**9)):
        assert "the next part begins at" in caplog.text


async def test_compaction_keeps_the_newest_and_survives_reopening(tmp_path: Path) -> None:
    clock = ManualClock(Instant(1_700_000_000_000))
    place = TopicPartition(COMPACTED.name, 0)
    async with opened(tmp_path, limits=Limits(20_000, 10**9), clock=clock) as bus:
        for n in range(300):
            await bus.publish(COMPACTED.name, f"key-{n % 7}", b"%d" % n + bytes(500))
        await bus.publish(COMPACTED.name, "key-3", None)
        await compacted(tmp_path)
        records = await read(bus, 0, place)
        assert len(records) < 100
        assert [record.offset for record in records] == sorted(record.offset for record in records)
        newest = {record.key: (record.value or b"").rstrip(b"\0") for record in records}
        assert newest == {f"key-{n % 7}": b"" if n % 7 == 3 else b"%d" % n for n in range(293, 300)}
    async with opened(tmp_path, limits=Limits(20_000, 10**9), clock=clock) as bus:
        assert {r.key: (r.value or b"").rstrip(b"\0") for r in await read(bus, 0, place)} == newest
        assert (await bus.bounds(place))[1] == 301


async def test_a_compaction_that_died_half_way_is_finished(tmp_path: Path) -> None:
    limits = Limits(20_000, 10**9)
    place = TopicPartition(COMPACTED.name, 0)
    async with opened(tmp_path, limits=limits) as bus:
        for n in range(150):
            await bus.publish(COMPACTED.name, "key", b"%d" % n + bytes(500))
        await compacted(tmp_path)
        expected = await read(bus, 0, place)
    merged, last = parts(tmp_path, COMPACTED.name)
    # Died before an old part was deleted, and another time before its draft was whole.
    old = int(last.stem) - 1
    header = encode_header(old, Instant(0), Mark(HEADER_BYTES, old, Instant(0)))
    merged.with_name(f"{old:020d}.part").write_bytes(header)
    draft = merged.with_suffix(".draft")
    draft.write_bytes(b"half")
    async with opened(tmp_path, limits=limits) as bus:
        assert await read(bus, 0, place) == expected
    assert parts(tmp_path, COMPACTED.name) == [merged, last]
    assert not draft.exists()


async def test_a_cancelled_publisher_disturbs_no_other(tmp_path: Path) -> None:
    async with opened(tmp_path, in_flight_bytes=50_000) as bus:
        calls = [asyncio.ensure_future(bus.publish(TOPIC.name, "k", bytes(30_000))) for _ in range(20)]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[::2])
        assert not any(isinstance(outcome, BaseException) for outcome in outcomes[1::2])


@pytest.mark.parametrize("address", ["embedded:", "kafka://", "kafka://host", "kafka://h:99999", "redis://h:1", ""])
def test_addresses_that_lead_nowhere(address: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        connect(address, partitions=1, client_id="c")
    assert refused.value.field == "bus"


def test_sharing_is_even_and_moves_little() -> None:
    items = list(range(8))
    alone = share({"a": items}, {})
    assert alone == {"a": frozenset(items)}
    two = share({"a": items, "b": items}, alone)
    assert len(two["a"]) == len(two["b"]) == 4
    three = share({"a": items, "b": items, "c": items}, two)
    assert sorted(map(len, three.values())) == [2, 3, 3]
    assert three["a"] <= two["a"]
    assert three["b"] <= two["b"]
    back = share({"a": items, "b": items}, {"a": three["a"], "b": three["b"]})
    assert three["a"] <= back["a"]
    assert back["a"] | back["b"] == frozenset(items)
    apart = share({"a": [1, 2], "b": [3]}, {})
    assert apart == {"a": frozenset({1, 2}), "b": frozenset({3})}
