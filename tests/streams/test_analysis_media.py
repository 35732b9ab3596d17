"""From encoded pictures and sound to findings: simulated faults, real decoding, the real detectors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from domain import wire
from domain.events import Observation
from domain.findings import Finding
from streams.analysis.agenda import Agenda
from streams.analysis.children import Child
from streams.analysis.observing import observe
from streams.analysis.scene import Memory
from streams.analysis.wire import Job
from streams.simulate.script import Device, Do
from tests.detectors.logs import Line, in_order, opened, registered, said, ticks
from tests.streams.footage import DELAY_MS, Piece, device, footage

LENGTH = 112


@pytest.fixture
async def child() -> AsyncIterator[Child]:
    one = Child()
    yield one
    await one.close()


async def observed(child: Child, pieces: list[Piece]) -> list[Observation]:
    """What the worker would publish with time for everything."""
    agenda, memory, found = Agenda(4_000), Memory(), []
    for event, data in pieces:
        agenda.offer(event, data, int(event.at))
        while (task := agenda.take(int(event.at))) is not None:
            seen = await child.ask(Job(task.data, task.look, task.hear, task.listen))
            assert seen.problems == []
            observation = observe(task.event, seen, memory, task.event.at.plus(DELAY_MS))
            if observation is not None:
                found.append(observation)
    return found


def findings(of: Device, pieces: list[Piece], seen: list[Observation]) -> list[Finding]:
    def lines(events: list[Observation]) -> list[Line]:
        return [json.loads(wire.encode(event)) for event in events]

    media: list[Line] = [json.loads(wire.encode(event)) for event, _ in pieces]
    start = [registered(0, of.id, kind=of.kind, expects_audio=of.audio), opened(0.1, of.id)]
    return said(in_order(start, media, lines(seen), ticks(0, LENGTH + 5)))


async def found(child: Child, of: Device) -> list[tuple[str, str]]:
    pieces = footage(of, LENGTH)
    every = findings(of, pieces, await observed(child, pieces))
    return [(one.kind, one.status) for one in every if one.kind.startswith(("picture.", "sound."))]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("cover", "picture.covered"),
        ("freeze", "picture.frozen"),
        ("turn", "picture.moved"),
        ("blur", "picture.blurred"),
    ],
)
async def test_a_fault_is_found_and_is_over(child: Child, fault: Do, kind: str) -> None:
    assert await found(child, device((fault, 20))) == [(kind, "opened"), (kind, "closed")]


async def test_a_good_day_and_a_night_say_nothing(child: Child) -> None:
    assert await found(child, device(audio=True)) == []
    assert await found(child, device(("night", 20))) == []


async def test_a_recorder_on_a_body_may_turn(child: Child) -> None:
    assert await found(child, device(("turn", 20), fixed=False)) == []


async def test_turned_at_night_shows_by_day(child: Child) -> None:
    """What was learnt in colour is not forgotten in grey."""
    of = device(("night", 10), ("turn", 40))
    assert ("picture.moved", "opened") in await found(child, of)


@pytest.mark.parametrize("fixed", [True, False])
async def test_a_dead_microphone(child: Child, fixed: bool) -> None:
    mute = device(("mute", 20), fixed=fixed, audio=True)
    assert await found(child, mute) == [("sound.missing", "opened"), ("sound.missing", "closed")]


async def test_speech_after_a_beginning_is_heard(child: Child) -> None:
    async def speech_s(*faults: tuple[Do, float]) -> float:
        pieces = footage(device(*faults, fixed=False, audio=True), 20)
        return sum(one.speech_s or 0 for one in await observed(child, pieces))

    assert await speech_s() < 0.2
    assert await speech_s(("speak", 5)) > 8


async def test_levels_are_those_of_the_sound(child: Child) -> None:
    seen = await observed(child, footage(device(("mute", 10), fixed=False, audio=True), 20))
    loud = [one.audio_dbfs for one in seen if (one.captured_at.datetime().second) < 9]
    mute = [one.audio_dbfs for one in seen if 11 < (one.captured_at.datetime().second) < 19]
    assert all(level is not None and -35 < level < -15 for level in loud)
    assert mute
    assert all(level is not None and level < -90 for level in mute)
