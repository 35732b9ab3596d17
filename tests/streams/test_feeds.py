"""One feed: what it does when nothing comes, when the disk is full, and when it closes."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from domain import wire
from domain.clock import ManualClock
from domain.events import Fragment
from domain.topics import EVENTS, MEDIA, REJECTED
from streams.ingest import journal as journal_module
from streams.ingest import spool as spool_module
from streams.ingest.feeds import Feed
from streams.ingest.fragmenter import Fragmenter
from streams.ingest.journal import FeedInfo
from streams.ingest.limits import Limits
from streams.ingest.recovery import Recovered, recover
from streams.ingest.sink import NoteKind
from streams.ingest.spool import Spool
from tests.streams.flaky_bus import FlakyBus, everything, flaky
from tests.streams.units import G711, START, VIDEO, picture, sound

INFO = FeedInfo("cam-1-abc-0001", "cam-1", "s-1", "whip", False, Limits())


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[FlakyBus]:
    bus = flaky(tmp_path / "log")
    await bus.start()
    yield bus
    await bus.close()


class Rig:
    def __init__(self, bus: FlakyBus, directory: Path, max_bytes: int = 20_000_000) -> None:
        self.bus = bus
        self.directory = directory / "spool"
        self.clock = ManualClock(START)
        self.spool = Spool(self.directory, bus, max_bytes, first_wait_s=0.02)
        self.spool.start()
        self.feed = Feed(INFO, self.spool, self.directory, self.clock)

    async def fragments(self) -> list[Fragment]:
        await self.spool.drained()
        events = [wire.decode_event(record.value or b"") for record in await everything(self.bus, EVENTS.name)]
        return [event for event in events if isinstance(event, Fragment)]


@pytest.fixture
async def rig(bus: FlakyBus, tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(bus, tmp_path)
    yield rig
    await rig.spool.stop(0)


async def test_the_event_says_what_the_fragment_is(rig: Rig) -> None:
    rig.feed.on_tracks([VIDEO, G711])
    for index in range(50):
        rig.feed.on_unit(picture(index, index * 40, index == 0))
        rig.feed.on_unit(sound(index, index * 40 + 1))
    await rig.feed.close()
    await rig.feed.close()
    (event,) = await rig.fragments()
    media = await everything(rig.bus, MEDIA.name)
    assert [dict(record.headers) for record in media] == [
        {"event": wire.encode(event), "segment": b"1"},
        {"feed_end": b"cam-1-abc-0001"},
    ]
    assert (event.feed_id, event.session_id, event.seq, event.codec) == ("cam-1-abc-0001", "s-1", 0, "h264,pcma")
    assert event.captured_at == START
    assert event.duration_s == pytest.approx(2.0, abs=0.05)
    assert event.bytes == len(media[0].value or b"")
    assert not list(rig.directory.glob("*.journal"))


async def test_what_is_pending_is_cut_when_nothing_comes_any_more(rig: Rig) -> None:
    rig.feed.on_tracks([VIDEO])
    rig.feed.on_unit(picture(0, 0, True))
    rig.feed.on_unit(picture(1, 40))
    rig.clock.advance(3.9)
    rig.feed.tick()
    assert await rig.fragments() == []
    rig.clock.advance(0.2)
    rig.feed.tick()
    rig.feed.tick()
    assert [one.seq for one in await rig.fragments()] == [0]
    rig.feed.on_unit(picture(2, 4200))
    await rig.feed.close()
    assert [one.seq for one in await rig.fragments()] == [0, 1]
    assert [record.headers.get("dependent") for record in await everything(rig.bus, MEDIA.name)] == [None, b"1", None]


async def test_a_feed_that_never_began_leaves_nothing(rig: Rig) -> None:
    rig.feed.on_tracks([VIDEO])
    rig.feed.on_unit(picture(0, 0))
    await rig.feed.close()
    assert await everything(rig.bus, MEDIA.name) == []
    assert not list(rig.directory.glob("*.journal"))


async def test_the_journal_holds_what_a_tick_has_seen(rig: Rig) -> None:
    rig.feed.on_tracks([VIDEO])
    fed = [picture(index, index * 40, index == 0) for index in range(10)]
    for unit in fed:
        rig.feed.on_unit(unit)
    rig.feed.tick()
    rig.feed.on_unit(picture(10, 400))
    (found,) = recover(rig.directory)
    assert isinstance(found, Recovered)
    assert [section.units for section in found.sections] == [fed]


async def test_a_full_spool_is_told_once_and_the_numbers_show_the_hole(bus: FlakyBus, tmp_path: Path) -> None:
    rig = Rig(bus, tmp_path, spool_module.RESERVE_BYTES + 100_000)
    bus.away = True
    rig.feed.on_tracks([VIDEO])
    for index in range(250):
        rig.feed.on_unit(picture(index, index * 40, index % 25 == 0, 800))
    bus.away = False
    await rig.spool.drained()
    for index in range(250, 300):
        rig.feed.on_unit(picture(index, index * 40, index % 25 == 0, 800))
    await rig.feed.close()
    numbers = [one.seq for one in await rig.fragments()]
    assert numbers[:3] == [0, 1, 2]
    assert numbers[-1] == 11
    missing = set(range(12)) - set(numbers)
    assert missing
    (told,) = await everything(bus, REJECTED.name)
    assert told.headers["reason"] == b"spool_full"
    assert f"seq {min(missing)}" in told.headers["detail"].decode()
    await rig.spool.stop(0)


async def test_recording_goes_on_without_a_journal(
    rig: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "ROLL_BYTES", 0)
    rig.feed.on_tracks([VIDEO])
    (rig.directory / "cam-1-abc-0001.00000001.journal").mkdir()  # in the way of the next
    for index in range(75):
        rig.feed.on_unit(picture(index, index * 40, index % 25 == 0))
    await rig.feed.close()
    assert [one.seq for one in await rig.fragments()] == [0, 1, 2]
    assert caplog.text.count("no journal") == 1


async def test_what_a_person_should_know_is_told_once_a_feed(rig: Rig) -> None:
    for _ in range(5):
        rig.feed.on_note(NoteKind.UNSUPPORTED, "track 1: VP8")
        rig.feed.on_note(NoteKind.LOSS, "3 packets")
    await rig.spool.drained()
    (told,) = await everything(rig.bus, REJECTED.name)
    assert (told.key, told.headers["reason"]) == ("cam-1", b"unsupported")
    assert told.headers["detail"] == b"cam-1-abc-0001: track 1: VP8"


async def test_a_crash_at_any_spooling_cuts_the_very_same_fragment_again(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crash test of steps 4 and 5: the disk as it is when a parcel has just been written."""
    put = rig.spool.put
    seen: list[Path] = []

    def put_and_look(*arguments: Any, **options: Any) -> None:
        put(*arguments, **options)
        seen.append(tmp_path / f"seen-{len(seen)}")
        shutil.copytree(rig.directory, seen[-1], ignore=shutil.ignore_patterns("*.parcel", "reserve", "lock"))

    monkeypatch.setattr(rig.spool, "put", put_and_look)
    rig.feed.on_tracks([VIDEO, G711])
    for index in range(200):
        rig.feed.on_unit(sound(index, index * 40 - 30))
        rig.feed.on_unit(picture(index, index * 40, index % 50 == 0))
    fragments = await rig.fragments()
    assert len(fragments) == len(seen) >= 3
    for event, directory in zip(fragments, seen, strict=True):
        (found,) = recover(directory)
        assert isinstance(found, Recovered)
        (section,) = [one for one in found.sections if one.progress.seq == event.seq]
        fragmenter = Fragmenter(found.feed.limits, progress=section.progress)
        again = [fragment for unit in section.units for fragment in fragmenter.push(unit)]
        assert (again[0].seq, again[0].sha256) == (event.seq, event.sha256)


async def test_a_loss_for_whose_telling_there_was_no_room_is_told_when_there_is(
    rig: Rig, bus: FlakyBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise spool_module.SpoolFull("not a byte")

    rig.feed.on_tracks([VIDEO])
    with monkeypatch.context() as patched:
        patched.setattr(rig.spool, "put", full)
        for index in range(80):
            rig.feed.on_unit(picture(index, index * 40, index % 25 == 0))
        await rig.feed.close()  # it takes no secrets with it
        rig.spool.pay_debts()
    assert not await everything(bus, REJECTED.name)
    rig.spool.pay_debts()
    await rig.spool.drained()
    (told,) = await everything(bus, REJECTED.name)
    assert told.headers["reason"] == b"spool_full"
    assert b"seq 0 " in told.headers["detail"]


async def test_while_the_log_answers_no_parcel_is_written(rig: Rig) -> None:
    written: list[Path] = []
    rig.feed.on_tracks([VIDEO])
    for index in range(130):
        rig.feed.on_unit(picture(index, index * 40, index % 25 == 0))
        if index % 25 == 1:
            written += rig.directory.glob("*.parcel")
            await rig.spool.drained()
    assert [one.seq for one in await rig.fragments()] == [0, 1, 2, 3, 4]
    assert written == []
    rig.feed.tick()
    (found,) = recover(rig.directory)
    assert isinstance(found, Recovered)
    assert (found.safe, [section.progress.seq for section in found.sections]) == (5, [5])


async def test_what_the_log_does_not_take_in_time_is_written_and_a_crash_loses_none_of_it(
    rig: Rig, bus: FlakyBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash before the parcels are written, and one after: both times all is there, in order."""
    monkeypatch.setattr(bus, "away", True)
    rig.feed.on_tracks([VIDEO])
    for index in range(80):
        rig.feed.on_unit(picture(index, index * 40, index % 25 == 0))
    rig.feed.tick()
    unwritten = rig.directory.parent / "unwritten"
    shutil.copytree(rig.directory, unwritten, ignore=shutil.ignore_patterns("lock"))
    assert not list(unwritten.glob("*.parcel"))
    monkeypatch.setattr(spool_module, "WRITE_AFTER_S", 0.0)
    rig.spool.write_late()
    assert len(list(rig.directory.glob("*.parcel"))) == 3
    rig.feed.tick()
    written = rig.directory.parent / "written"
    shutil.copytree(rig.directory, written, ignore=shutil.ignore_patterns("lock"))
    monkeypatch.setattr(bus, "away", False)
    expected = [one.sha256 for one in await rig.fragments()]
    assert len(expected) == 3
    for directory in (unwritten, written):
        before = len(await everything(bus, EVENTS.name))
        spool = Spool(directory, bus, 20_000_000)
        spool.start()
        (found,) = recover(directory)
        assert isinstance(found, Recovered)
        Feed(found.feed, spool, directory, rig.clock).recover(found)
        await spool.drained()
        events = [wire.decode_event(record.value or b"") for record in (await everything(bus, EVENTS.name))[before:]]
        fragments = [event for event in events if isinstance(event, Fragment)]
        assert [one.seq for one in fragments] == [0, 1, 2, 3]
        assert [one.sha256 for one in fragments][:3] == expected
        assert not list(directory.glob("*.journal"))
        await spool.stop(0)


async def test_an_event_is_never_on_disk_before_the_media_in_front_of_it(rig: Rig, bus: FlakyBus) -> None:
    bus.away = True
    rig.feed.on_tracks([VIDEO])
    for index in range(80):
        rig.feed.on_unit(picture(index, index * 40, index % 25 == 0))
    assert not list(rig.directory.glob("*.parcel"))
    rig.feed.on_note(NoteKind.UNSUPPORTED, "track 1: VP8")
    parcels = sorted(rig.directory.glob("*.parcel"))
    assert [b"rejected" in path.read_bytes()[:200] for path in parcels] == [False, False, False, True]
    bus.away = False
