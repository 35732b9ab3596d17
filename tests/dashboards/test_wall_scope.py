"""What each watcher is told of the wall: what they may see, once, and drawn once for all who are alike."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dashboards import stream
from dashboards.pages.shell import Shell
from dashboards.people.rights import Duty, Person, Place, Role
from dashboards.projection import Change, Fleet
from dashboards.stream import Hub
from dashboards.wall.board import Board
from dashboards.wall.wall import Wall
from domain.clock import ManualClock
from domain.events import Event
from domain.findings import Finding
from domain.registry import Registration
from domain.wire import decode_finding
from tests.dashboards.feeds import Log, at, finding, fragment

HOUSE = Person(account_id="a", name="a", duties=(Duty(role=Role.DUTY_OFFICER),))
UNIT_1 = Person(account_id="b", name="b", duties=(Duty(role=Role.DUTY_OFFICER, unit_id="u1"),))
OFFICER = Person(account_id="wang", name="王", duties=(Duty(role=Role.OFFICER),))


class Scene:
    """A fleet, its wall and a hub, fed by hand."""

    def __init__(self) -> None:
        self.fleet, self.log, self.clock = Fleet(), Log(), ManualClock(at(10))
        self.handed: dict[str, frozenset[str]] = {}
        self.wall = Wall(self.fleet, self.clock, Shell(self.clock), self.place)
        self.hub = Hub(self.fleet, self.clock, self.place, self.wall)

    def place(self, name: str) -> Place:
        found = self.fleet.recorders.get(name)
        unit = found.unit_id if found else ""
        return Place(unit_id=unit, officers=self.handed.get(name, frozenset()))

    def say(self, *what: Event | Finding | Registration) -> None:
        changes = [change for each in what if (change := self.fleet.apply(self.log(each))) is not None]
        self.hub.publish(changes)

    def register(self, name: str, unit: str) -> None:
        self.say(Registration(recorder_id=name, kind="body_worn", policy="wucheng", unit_id=unit, name=f"<{name}>"))


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(stream, "GATHER_S", 0.01)
    return Scene()


async def message(watch: AsyncIterator[bytes]) -> tuple[str, Any]:
    async with asyncio.timeout(5):
        while True:
            lines = (await anext(watch)).decode().splitlines()
            if lines[0].startswith("event: "):
                data = next(line for line in lines if line.startswith("data: "))
                return lines[0][7:], json.loads(data[6:])


def ids(data: dict[str, Any]) -> list[str]:
    return [row["id"] for row in data["rows"]]


async def test_each_is_told_what_is_theirs(scene: Scene) -> None:
    scene.handed["cam-3"] = frozenset({"wang"})
    watches = [scene.hub.watch(who, frozenset({"wall"}), look="zh/row", since="") for who in (HOUSE, UNIT_1, OFFICER)]
    for watch in watches:
        await anext(watch)
    for number, unit in enumerate(("u1", "u2", "u2"), start=1):
        scene.register(f"cam-{number}", unit)
    told = [(await message(watch))[1] for watch in watches]
    assert [sorted(ids(data)) for data in told] == [["cam-1", "cam-2", "cam-3"], ["cam-1"], ["cam-3"]]
    assert "&lt;cam-1&gt;" in told[1]["rows"][0]["html"]
    assert "u2" not in told[1]["summary"]
    scene.register("cam-1", "u2")
    moved = [(await message(watch))[1] for watch in watches[:2]]
    assert (ids(moved[0]), moved[0]["removed"]) == (["cam-1"], [])
    assert (ids(moved[1]), moved[1]["removed"]) == ([], ["cam-1"]), "it is theirs no longer"
    scene.hub.close()


async def test_findings_and_other_events_go_to_those_who_may(scene: Scene) -> None:
    scene.register("cam-1", "u1")
    scene.register("cam-2", "u2")
    watch = scene.hub.watch(UNIT_1, frozenset({"finding"}))
    await anext(watch)
    scene.say(finding(1, recorder_id="cam-2"), finding(2, recorder_id="cam-1"))
    name, data = await message(watch)
    assert (name, decode_finding(json.dumps(data)).recorder_id) == ("finding", "cam-1")
    scene.hub.close()


async def test_a_row_that_looks_the_same_is_not_sent_and_rows_are_drawn_once(scene: Scene) -> None:
    scene.register("cam-1", "u1")
    drawn = 0
    draw = scene.wall._shell.draw

    def counted(template: str, *rest: Any, **more: Any) -> str:
        nonlocal drawn
        drawn += template == "wall_row.html"
        return draw(template, *rest, **more)

    scene.wall._shell.draw = counted  # type: ignore[method-assign]
    watches = [scene.hub.watch(HOUSE, frozenset({"wall"}), look="zh/row") for _ in range(20)]
    for watch in watches:
        await anext(watch)
    scene.say(fragment(0))
    assert [ids((await message(watch))[1]) for watch in watches] == [["cam-1"]] * 20
    assert drawn == 1
    scene.say(fragment(2), fragment(4))
    assert scene.wall.turn(at(11)) is False
    scene.hub.close()


async def test_who_comes_back_is_told_what_was_missed_or_to_begin_anew(scene: Scene) -> None:
    scene.register("cam-1", "u1")
    scene.wall.turn(at(10))
    had = scene.wall.version
    scene.register("cam-2", "u1")
    scene.wall.turn(at(10))
    watch = scene.hub.watch(HOUSE, frozenset({"wall"}), look="en/row", since=had)
    await anext(watch)
    _, data = await message(watch)
    assert ids(data) == ["cam-2"]
    for other in ("0badf00d-1", "nonsense", f"{scene.wall.board.life}-999999"):
        watch = scene.hub.watch(HOUSE, frozenset({"wall"}), look="en/row", since=other)
        await anext(watch)
        assert (await message(watch))[1]["reset"] is True
    watch = scene.hub.watch(HOUSE, frozenset({"wall"}), look="en/row", since=scene.wall.nothing)
    await anext(watch)
    assert sorted(ids((await message(watch))[1])) == ["cam-1", "cam-2"]
    scene.hub.close()


async def test_who_may_no_longer_watch_is_sent_away(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "KEEPALIVE_S", 0.02)
    answers = iter((True, False))

    async def still() -> bool:
        return next(answers)

    watch = scene.hub.watch(HOUSE, still=still)
    async with asyncio.timeout(5):
        assert len([one async for one in watch]) == 2  # the greeting, and one sign of life
    assert scene.hub.watchers == 0


def test_so_much_is_remembered_of_what_went_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboards.wall.board.MAX_GONE", 2)
    fleet, log = Fleet(), Log()
    board = Board(fleet, lambda _name: Place())
    for number in range(4):
        registered = Registration(recorder_id=f"cam-{number}", kind="body_worn", policy="wucheng")
        fleet.apply(log(registered))
        board.hear([f"cam-{number}"])
    board.look(at(0))
    had = board.version
    for number in range(3):
        change = fleet.apply(log.raw("registry", f"cam-{number}", None))
        assert isinstance(change, Change)
        board.hear([change.recorder_id])
        board.look(at(1 + number))
    assert board.news(HOUSE, had) is None
    late = board.news(HOUSE, had + 1)
    assert late is not None
    assert (late.tiles, sorted(late.removed)) == ([], ["cam-1", "cam-2"])
