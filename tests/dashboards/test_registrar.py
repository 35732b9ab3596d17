"""Topic `registry` is what the office has, whatever happens in between; what nobody entered stays as it is."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from dashboards.registration.addresses import HIDDEN, address_of
from dashboards.registration.holders import Holders
from dashboards.registration.registrar import Registrar
from domain.bus import TopicPartition
from domain.clock import Instant, ManualClock
from domain.errors import InvalidInput
from domain.registry import Registration
from domain.topics import REGISTRY
from domain.wire import decode_registration, encode
from storage.office import premises, recorders
from storage.office.dossier import Camera, Site
from storage.office.office import Office
from storage.office.recorders import Card
from tests.streams.flaky_bus import FlakyBus, flaky

AT = Instant.parse("2026-03-02T09:00:00+08:00")
SITE = Site(site_id="renhe", unit_id="u1", name="仁和")
CAMERA = Camera(camera_id="renhe-1", site_id="renhe", name="消毒间", url="rtsp://10.0.0.5/1", state="active")
WHOLE = "rtsp://admin:hunter2@10.0.0.5/1"
BY_FILE = Registration(recorder_id="file-1", kind="premises_camera", policy="wucheng", name="文件")


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    opened = await Office.connect(f"sqlite:///{tmp_path}/office.db")
    await premises.put_site(opened, SITE, by="op", at=AT, is_new=True)
    await premises.add_camera(opened, CAMERA, WHOLE, by="op", at=AT)
    yield opened
    await opened.close()


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[FlakyBus]:
    made = flaky(tmp_path / "log")
    await made.start()
    yield made
    await made.close()


async def said(bus: FlakyBus) -> list[Registration]:
    return [
        decode_registration(record.value or b"")
        for partition in range(bus.partitions(REGISTRY.name))
        async for record in bus.read(TopicPartition(REGISTRY.name, partition), 0)
    ]


async def newest(bus: FlakyBus, recorder_id: str) -> Registration:
    return [one for one in await said(bus) if one.recorder_id == recorder_id][-1]


async def test_what_is_entered_is_told_once(office: Office, bus: FlakyBus) -> None:
    registrar = Registrar(bus, office, ManualClock(AT))
    assert await registrar.settle() == 1
    assert await registrar.settle() == 0
    assert await Registrar(bus, office, ManualClock(AT)).settle() == 0, "another console finds it told"
    (told,) = await said(bus)
    assert (told.url, told.state, told.unit_id, told.site_id) == (WHOLE, "active", "u1", "renhe")
    assert told.name == "仁和 消毒间"


async def test_a_password_is_told_only_while_it_is_needed(office: Office, bus: FlakyBus) -> None:
    registrar = Registrar(bus, office, ManualClock(AT))
    for state in ("draft", "suspended", "retired", "active"):
        await premises.change_camera(
            office,
            "renhe-1",
            lambda _, camera, state=state: msgspec.structs.replace(camera, state=state),  # type: ignore[misc]
            what="x",
            by="op",
            at=AT,
        )
        await registrar.settle()
        assert ((await newest(bus, "renhe-1")).url == WHOLE) == (state == "active")


async def test_the_office_wins_and_others_are_left_alone(office: Office, bus: FlakyBus) -> None:
    registrar = Registrar(bus, office, ManualClock(AT))
    await bus.publish(REGISTRY.name, "file-1", encode(BY_FILE))
    await registrar.settle()
    assert registrar.foreign == [BY_FILE]
    assert (registrar.knows("file-1"), registrar.knows("renhe-1"), registrar.knows("x")) == (True, True, False)
    other = Registration(recorder_id="renhe-1", kind="premises_camera", policy="gansu", url="rtsp://10.0.0.9/")
    await bus.publish(REGISTRY.name, "renhe-1", encode(other))
    assert await registrar.settle() == 1
    assert (await newest(bus, "renhe-1")).policy == "wucheng"
    assert await newest(bus, "file-1") == BY_FILE
    await bus.publish(REGISTRY.name, "file-1", None)
    await registrar.settle()
    assert registrar.foreign == []


async def test_a_log_that_was_away_is_told_when_it_is_back(office: Office, bus: FlakyBus) -> None:
    registrar = Registrar(bus, office, ManualClock(AT))
    bus.away = True
    assert not await registrar.told()
    running = asyncio.create_task(registrar.run())
    bus.away = False
    async with asyncio.timeout(20):
        while not await said(bus):  # noqa: ASYNC110 - polls the log, as others do
            await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_token_that_ran_out_leaves_the_log(office: Office, bus: FlakyBus) -> None:
    clock = ManualClock(AT)
    registrar = Registrar(bus, office, clock)
    await recorders.add_card(office, Card(recorder_id="bw-1"), by="k", at=AT)
    await recorders.renew_token(office, "bw-1", "a" * 64, old_until=AT, by="k", at=AT)
    await recorders.renew_token(office, "bw-1", "b" * 64, old_until=AT.plus(5_000), by="k", at=AT)
    await registrar.settle()
    assert [one.sha256[0] for one in (await newest(bus, "bw-1")).old_tokens] == ["a"]
    clock.advance(6)
    assert await registrar.settle() == 1
    assert (await newest(bus, "bw-1")).old_tokens == ()


async def test_whose_a_recorder_was(office: Office) -> None:
    holders = Holders(office)
    await recorders.add_card(office, Card(recorder_id="bw-1"), by="k", at=AT)
    await recorders.issue(office, "bw-1", "zhang", by="k", at=AT)
    await recorders.issue(office, "bw-1", "li", by="k", at=AT.plus(1000))
    assert holders.of("bw-1", AT) == frozenset(), "not read yet"
    await holders.look()
    found = [holders.of("bw-1", AT.plus(after)) for after in (-1, 0, 999, 1000, 10_000)]
    assert found == [frozenset(), {"zhang"}, {"zhang"}, {"li"}, {"li"}]


@pytest.mark.parametrize(
    ("typed", "shown", "whole"),
    [
        ("rtsp://10.0.0.5/1", "rtsp://10.0.0.5/1", ""),
        ("RTSP://10.0.0.5:8554/1?channel=2", "rtsp://10.0.0.5:8554/1?channel=2", ""),
        ("rtsp://a:b%40c@10.0.0.5/1", "rtsp://10.0.0.5/1", "rtsp://a:b%40c@10.0.0.5/1"),
        ("rtsps://a:b@[fd00::1]:322/x", "rtsps://[fd00::1]:322/x", "rtsps://a:b@[fd00::1]:322/x"),
        (
            "rtsp://h/a?user=x&password=y&c=1",
            f"rtsp://h/a?user=x&password={HIDDEN}&c=1",
            "rtsp://h/a?user=x&password=y&c=1",
        ),
    ],
)
def test_addresses_as_they_may_be_shown(typed: str, shown: str, whole: str) -> None:
    assert address_of(typed) == (shown, whole)


def test_what_is_typed_beside_an_address_stands_before_what_stands_in_it() -> None:
    assert address_of("rtsp://a:b@h/", "c", "d:/@").whole == "rtsp://c:d%3A%2F%40@h/"


@pytest.mark.parametrize(
    "typed", ["", "http://h/", "rtsp://", "rtsp://a b/", "rtsp://h:99999/", "rtsp://h/" + "x" * 2000]
)
def test_what_is_no_address_is_not_repeated(typed: str) -> None:
    with pytest.raises(InvalidInput) as told:
        address_of(typed, "user", "hunter2")
    assert told.value.field == "address.url"
    assert "hunter2" not in str(told.value)
