"""What every log must do. Runs on the embedded log, on Kafka through kafka-python, and through librdkafka."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from pathlib import Path

import pytest

from domain.bus import Bus, Consumer, Position, Record, TopicPartition, partition_for
from domain.errors import BusUnavailable, InvalidInput
from domain.topics import MAX_RECORD_BYTES, Topic
from streams.bus.counted import CountedBus
from streams.bus.embedded import EmbeddedBus
from streams.bus.kafka import KafkaBus
from streams.bus.kafka_driver import KafkaSettings

PARTITIONS = 4


class Log:
    """A log that outlives the buses that open it. Names are its own, so that a broker can be shared."""

    def __init__(self, open_bus: Callable[[list[Topic]], Bus]) -> None:
        tag = uuid.uuid4().hex[:8]
        self.topic = Topic(f"kept-{tag}", None)
        self.short = Topic(f"short-{tag}", 2)
        self.compacted = Topic(f"compacted-{tag}", None, compacted=True)
        self.group = f"group-{tag}"
        self._open_bus = open_bus
        self._buses: list[Bus] = []

    @property
    def name(self) -> str:
        return self.topic.name

    async def open(self) -> Bus:
        bus = CountedBus(self._open_bus([self.topic, self.short, self.compacted]))  # as every process opens it
        await bus.start()
        self._buses.append(bus)
        return bus

    async def close(self) -> None:
        for bus in self._buses:
            await bus.close()
        self._buses.clear()


@pytest.fixture(
    params=[
        "embedded",
        pytest.param("kafka-python", marks=pytest.mark.kafka),
        pytest.param("librdkafka", marks=pytest.mark.kafka),
    ]
)
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Log]:
    if request.param == "embedded":
        log = Log(
            lambda topics: EmbeddedBus(
                tmp_path / "log", partitions=PARTITIONS, topics=topics, in_flight_bytes=10_000_000, upkeep_every_s=0.2
            )
        )
    else:
        settings = KafkaSettings(request.getfixturevalue("kafka").bootstrap, "contract")
        everything_large = request.param == "librdkafka"

        def open_kafka(topics: list[Topic]) -> Bus:
            large = frozenset(topic.name for topic in topics) if everything_large else frozenset()
            return KafkaBus(settings, partitions=PARTITIONS, topics=topics, large=large, in_flight_bytes=10_000_000)

        log = Log(open_kafka)
    yield log
    await log.close()


async def take(consumer: Consumer, count: int, *, patience_s: float = 75) -> list[Record]:
    """Take until `count` records came."""
    records: list[Record] = []
    async with asyncio.timeout(patience_s):
        while len(records) < count:
            records += await consumer.take(within_s=1)
    return records


async def until(consumers: Iterable[Consumer], reached: Callable[[], bool], *, patience_s: float = 30) -> list[Record]:
    """Let consumers take until something is so; return what they took."""
    records: list[Record] = []
    async with asyncio.timeout(patience_s):
        while not reached():
            for consumer in consumers:
                records += await consumer.take(within_s=0.05)
    return records


async def everything(bus: Bus, topic: str) -> list[Record]:
    return [
        record
        for partition in range(bus.partitions(topic))
        async for record in bus.read(TopicPartition(topic, partition), 0)
    ]


def values(records: Iterable[Record]) -> list[bytes | None]:
    return [record.value for record in records]


async def test_a_key_has_one_partition_and_its_records_keep_their_order(log: Log) -> None:
    bus = await log.open()
    keys = [f"recorder-{n}" for n in range(10)]
    calls = [bus.publish(log.name, key, f"{key} {n}".encode()) for n in range(30) for key in keys]
    positions = await asyncio.gather(*calls)
    assert {p.partition for p in positions} == {partition_for(key, PARTITIONS) for key in keys}
    read = await everything(bus, log.name)
    for key in keys:
        mine = [record for record in read if record.key == key]
        assert {record.partition for record in mine} == {partition_for(key, PARTITIONS)}
        assert values(mine) == [f"{key} {n}".encode() for n in range(30)]
    for partition in range(PARTITIONS):
        offsets = [record.offset for record in read if record.partition == partition]
        assert offsets == list(range(len(offsets)))


async def test_the_position_is_where_the_record_stands(log: Log) -> None:
    bus = await log.open()
    positions = await asyncio.gather(*(bus.publish(log.name, "k", b"%d" % n, partition=2) for n in range(5)))
    assert positions == [Position(log.name, 2, n) for n in range(5)]
    assert await bus.bounds(TopicPartition(log.name, 2)) == (0, 5)
    assert await bus.bounds(TopicPartition(log.name, 3)) == (0, 0)


async def test_a_record_comes_back_as_it_went(log: Log) -> None:
    bus = await log.open()
    await bus.publish(log.name, "钥匙", "值".encode(), headers={"event": b"\x00\xff", "empty": b""}, partition=0)
    await bus.publish(log.name, None, b"", partition=0)
    await bus.publish(log.name, "gone", None, partition=0)
    first, empty, tombstone = [record async for record in bus.read(TopicPartition(log.name, 0), 0)]
    assert (first.key, first.value) == ("钥匙", "值".encode())
    assert dict(first.headers) == {"event": b"\x00\xff", "empty": b""}
    assert (empty.key, empty.value, dict(empty.headers)) == (None, b"", {})
    assert (tombstone.key, tombstone.value) == ("gone", None)
    assert 0 <= tombstone.timestamp - first.timestamp < 60_000


@pytest.mark.parametrize("size", [MAX_RECORD_BYTES, 100_000, 65_536])
async def test_large_records(log: Log, size: int) -> None:
    bus = await log.open()
    value = bytes(range(256)) * (size // 256)
    consumer = await bus.subscribe(log.group, [log.name])
    for n in range(3):
        await bus.publish(log.name, "k", value, headers={"n": b"%d" % n})
        await bus.publish(log.name, "k", b"small")
    records = await take(consumer, 6)
    assert values(records) == [value, b"small"] * 3
    assert [dict(record.headers) for record in records[::2]] == [{"n": b"0"}, {"n": b"1"}, {"n": b"2"}]


async def test_take_keeps_to_its_limits(log: Log) -> None:
    bus = await log.open()
    await asyncio.gather(*(bus.publish(log.name, "k", bytes(400_000)) for _ in range(6)))
    consumer = await bus.subscribe(log.group, [log.name])
    seen = 0
    async with asyncio.timeout(30):
        while seen < 6:
            got = await consumer.take(max_records=3, max_bytes=1_000_000, within_s=1)
            assert len(got) <= 2
            seen += len(got)


async def test_what_cannot_be_published_names_the_field(log: Log) -> None:
    bus = await log.open()
    with pytest.raises(InvalidInput) as too_large:
        await bus.publish(log.name, "k", bytes(MAX_RECORD_BYTES + 1_000_000))
    assert too_large.value.field == "value"
    with pytest.raises(InvalidInput, match="no topic 'nowhere'"):
        await bus.publish("nowhere", "k", b"")
    with pytest.raises(InvalidInput) as nowhere:
        await bus.publish(log.name, "k", b"", partition=PARTITIONS)
    assert nowhere.value.field == "partition"
    with pytest.raises(InvalidInput) as no_key:
        await bus.publish(log.compacted.name, None, b"x")
    assert no_key.value.field == "key"
    await bus.publish(log.name, "k", b"still well")


async def test_concurrent_publishers_lose_nothing(log: Log) -> None:
    bus = await log.open()

    async def publisher(name: str) -> None:
        for n in range(100):
            await bus.publish(log.name, name, b"%d" % n)

    names = [f"r{n}" for n in range(20)]
    await asyncio.gather(*map(publisher, names))
    read = await everything(bus, log.name)
    assert len(read) == 2000
    for name in names:
        assert values(r for r in read if r.key == name) == [b"%d" % n for n in range(100)]


async def test_back_pressure_bounds_what_is_in_flight_and_keeps_the_order(log: Log) -> None:
    bus = await log.open()
    calls = [bus.publish(log.name, "k", n.to_bytes(4, "big") + bytes(700_000)) for n in range(60)]  # 42 MB into 10
    await asyncio.gather(*calls)
    seen = [
        int.from_bytes((record.value or b"")[:4], "big")
        async for record in bus.read(TopicPartition(log.name, partition_for("k", PARTITIONS)), 0)
    ]
    assert seen == list(range(60))


async def test_groups_go_on_from_what_they_committed(log: Log) -> None:
    bus = await log.open()
    for n in range(10):
        await bus.publish(log.name, "k", b"%d" % n)
    place = TopicPartition(log.name, partition_for("k", PARTITIONS))
    first = await bus.subscribe(log.group, [log.name])
    assert len(await take(first, 10)) == 10
    await first.commit({place: 4})
    await first.close()
    second = await bus.subscribe(log.group, [log.name])
    assert values(await take(second, 6)) == [b"%d" % n for n in range(4, 10)]
    other_group = await bus.subscribe(log.group + "-other", [log.name])
    assert len(await take(other_group, 10)) == 10


async def test_records_and_commits_are_there_after_reopening(log: Log) -> None:
    bus = await log.open()
    place = TopicPartition(log.name, partition_for("k", PARTITIONS))
    for n in range(6):
        await bus.publish(log.name, "k", b"%d" % n, headers={"h": b"1"})
    consumer = await bus.subscribe(log.group, [log.name])
    await take(consumer, 6)
    await consumer.commit({place: 3})
    await log.close()
    bus = await log.open()
    assert await bus.bounds(place) == (0, 6)
    assert await bus.publish(log.name, "k", b"6") == Position(*place, 6)
    consumer = await bus.subscribe(log.group, [log.name])
    assert values(await take(consumer, 4)) == [b"3", b"4", b"5", b"6"]


async def test_members_share_partitions_and_hand_them_over(log: Log) -> None:
    bus = await log.open()
    told: list[tuple[str, str, frozenset[TopicPartition]]] = []

    def listener(member: str, what: str) -> Callable[[frozenset[TopicPartition]], Awaitable[None]]:
        async def note(places: frozenset[TopicPartition]) -> None:
            await asyncio.sleep(0)
            told.append((member, what, places))

        return note

    async def join(name: str) -> Consumer:
        return await bus.subscribe(
            log.group, [log.name], on_gained=listener(name, "gained"), on_lost=listener(name, "lost")
        )

    everywhere = frozenset(TopicPartition(log.name, n) for n in range(PARTITIONS))
    a = await join("a")
    await until([a], lambda: a.assigned() == everywhere)
    assert told == [("a", "gained", everywhere)]
    b = await join("b")
    await until([a, b], lambda: len(a.assigned()) == 2 and len(b.assigned()) == 2)
    assert a.assigned() | b.assigned() == everywhere
    lost_by_a = [places for member, what, places in told if (member, what) == ("a", "lost")]
    assert b.assigned() <= frozenset().union(*lost_by_a)
    taken: dict[str, list[Record]] = {"a": [], "b": []}
    for n in range(40):
        await bus.publish(log.name, f"r{n}", b"%d" % n)
    async with asyncio.timeout(30):
        while len(taken["a"]) + len(taken["b"]) < 40:
            taken["a"] += await a.take(within_s=0.05)
            taken["b"] += await b.take(within_s=0.05)
    assert {TopicPartition(r.topic, r.partition) for r in taken["a"]} <= a.assigned()
    assert {TopicPartition(r.topic, r.partition) for r in taken["b"]} <= b.assigned()
    await a.close()
    again: set[bytes | None] = set()
    async with asyncio.timeout(30):
        while not {record.value for record in taken["a"]} <= again:  # not committed: they come again
            again |= set(values(await b.take(within_s=0.05)))
    assert b.assigned() == everywhere


async def test_a_commit_of_what_is_no_longer_held_is_passed_over(log: Log) -> None:
    bus = await log.open()
    for n in range(3):
        await bus.publish(log.name, "k", b"%d" % n)
    place = TopicPartition(log.name, partition_for("k", PARTITIONS))
    first = await bus.subscribe(log.group, [log.name])
    await take(first, 3)
    await first.close()
    await first.commit({place: 3})
    second = await bus.subscribe(log.group, [log.name])
    assert values(await take(second, 3)) == [b"0", b"1", b"2"]


async def test_what_is_committed_while_giving_up_counts(log: Log) -> None:
    bus = await log.open()
    done: dict[TopicPartition, int] = {}

    async def store(places: frozenset[TopicPartition]) -> None:
        await a.commit({place: offset for place, offset in done.items() if place in places})

    a = await bus.subscribe(log.group, [log.name], on_lost=store)
    for n in range(40):
        await bus.publish(log.name, f"r{n}", b"%d" % n)
    for record in await take(a, 40):
        done[TopicPartition(record.topic, record.partition)] = record.offset + 1
    b = await bus.subscribe(log.group, [log.name])
    again = await until([a, b], lambda: len(a.assigned()) == 2 and len(b.assigned()) == 2)
    await bus.publish(log.name, "r0", b"last")
    async with asyncio.timeout(30):
        while not again or again[-1].value != b"last":
            again += await a.take() + await b.take()
    assert values(again) == [b"last"]


async def test_seek_goes_back_and_forth(log: Log) -> None:
    bus = await log.open()
    for n in range(200):
        await bus.publish(log.name, "k", b"%d" % n)
    place = TopicPartition(log.name, partition_for("k", PARTITIONS))
    consumer = await bus.subscribe(log.group, [log.name])
    await take(consumer, 200)
    await consumer.seek(place, 17)
    assert values(await take(consumer, 183)) == [b"%d" % n for n in range(17, 200)]
    await consumer.seek(place, 199)
    assert values(await take(consumer, 1)) == [b"199"]
    with pytest.raises(InvalidInput) as not_held:
        await consumer.seek(TopicPartition("other", 0), 0)
    assert not_held.value.field == "partition"


async def test_seek_while_taking_over(log: Log) -> None:
    bus = await log.open()
    for n in range(10):
        await bus.publish(log.name, "k", b"%d" % n)
    place = TopicPartition(log.name, partition_for("k", PARTITIONS))

    async def restore(places: frozenset[TopicPartition]) -> None:
        if place in places:
            await consumer.seek(place, 7)

    consumer = await bus.subscribe(log.group, [log.name], on_gained=restore)
    assert values(await take(consumer, 3)) == [b"7", b"8", b"9"]


async def test_replay_from_any_offset(log: Log) -> None:
    bus = await log.open()
    await asyncio.gather(*(bus.publish(log.name, "k", b"%d" % n, partition=1) for n in range(1000)))
    place = TopicPartition(log.name, 1)
    for start, stop in ((0, None), (1, 3), (500, None), (999, None), (400, 600), (5, 5)):
        read = [record.offset async for record in bus.read(place, start, stop)]
        assert read == list(range(start, 1000 if stop is None else stop))
    assert [record async for record in bus.read(place, 1000)] == []


async def test_follow_waits_for_what_comes(log: Log) -> None:
    bus = await log.open()
    place = TopicPartition(log.name, 1)
    await bus.publish(log.name, "k", b"before", partition=1)
    async with asyncio.timeout(30), aclosing(bus.read(place, 0, follow=True)) as reader:  # type: ignore[type-var]
        assert (await anext(reader)).value == b"before"
        coming = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        assert not coming.done()
        await bus.publish(log.name, "k", b"after", partition=1)
        assert (await coming).value == b"after"


async def test_a_consumer_sleeps_until_something_comes(log: Log) -> None:
    bus = await log.open()
    consumer = await bus.subscribe(log.group, [log.name])
    await until([consumer], lambda: len(consumer.assigned()) == PARTITIONS)
    assert await consumer.take(within_s=0) == []
    waiting = asyncio.ensure_future(consumer.take(within_s=30))
    await asyncio.sleep(0)
    await bus.publish(log.name, "k", b"x")
    assert values(await asyncio.wait_for(waiting, 20)) == [b"x"]


async def test_records_are_dropped_by_age(log: Log) -> None:
    bus = await log.open()
    place = TopicPartition(log.short.name, 0)
    for n in range(3):
        await bus.publish(log.short.name, "k", b"old %d" % n, partition=0)
    async with asyncio.timeout(60):
        while (await bus.bounds(place))[0] < 3:
            await asyncio.sleep(0.2)
            await bus.publish(log.short.name, "k", b"new", partition=0)
    read = [record async for record in bus.read(place, 0)]
    assert all(record.offset >= 3 and record.value == b"new" for record in read)
    offsets = [record.offset for record in read]
    assert offsets == list(range(offsets[0], offsets[0] + len(offsets))) if offsets else True


async def test_the_newest_record_of_a_key_is_always_there(log: Log) -> None:
    bus = await log.open()
    name = log.compacted.name
    for n in range(50):
        for key in ("a", "b", "gone"):
            await bus.publish(name, key, b"%d" % n)
    await bus.publish(name, "gone", None)
    newest = {record.key: record.value for record in await everything(bus, name)}
    assert newest == {"a": b"49", "b": b"49", "gone": None}


async def test_a_closed_log_says_so(log: Log) -> None:
    bus = await log.open()
    consumer = await bus.subscribe(log.group, [log.name])
    await log.close()
    with pytest.raises(BusUnavailable):
        await bus.publish(log.name, "k", b"x")
    with pytest.raises(BusUnavailable):
        await consumer.take()
    with pytest.raises(BusUnavailable):
        await bus.subscribe(log.group, [log.name])
