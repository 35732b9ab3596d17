"""The batch engine: a detector that raises spoils nothing but its own step; tick work is for those who asked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from detectors.contract import Context, Step, Thresholds
from detectors.recorder import Recorder, Rules
from detectors.registry import ALL
from domain.events import AnyEvent, Fragment
from streams.runners.engine import Partition
from tests.detectors.logs import fragments, in_order, inputs, opened, recording, registered, said, ticks


class State(msgspec.Struct, frozen=True):
    """How many steps were taken."""

    steps: int = 0


class Clumsy:
    """Raises on every third fragment of one recorder, and when it is woken."""

    name = "clumsy/1"
    wants = frozenset[type[AnyEvent]]({Fragment})
    state_type = State

    def step(self, state: Any, event: AnyEvent, context: Context) -> Step:
        """Answer to one event or tick."""
        if context.recorder_id == "rec-1" and (not isinstance(event, Fragment) or event.seq % 3 == 2):
            msg = "did not think of that"
            raise ZeroDivisionError(msg)
        return Step(State(state.steps + 1), (), context.now + 1000)


def test_a_detector_that_raises_stops_no_other() -> None:
    lines = recording(8)
    rules = Rules((Clumsy(), *ALL), Thresholds())
    partition = Partition(rules)
    result = partition.run(inputs(lines))
    partition.fold(result)
    assert [one.finding for one in result.said] == said(lines)
    assert {bad.reason for bad in result.rejected} == {"step_failed"}
    assert {bad.detail for bad in result.rejected} == {"clumsy/1: ZeroDivisionError: did not think of that"}
    assert all(b'"rec-1"' in bad.value or b'"tick"' in bad.value for bad in result.rejected)
    assert Recorder("rec-0", rules, partition.save().recorders["rec-0"]).take_failures() == []


def test_a_tick_costs_only_those_who_asked_for_it() -> None:
    lines = in_order(
        *([registered(0, f"rec-{n}"), opened(0.1, f"rec-{n}", f"s{n}")] for n in range(50)),
        *(fragments(0, 30, 0, feed=f"f{n}", session=f"s{n}", recorder=f"rec-{n}") for n in range(50)),
        ticks(0, 60),
    )
    records = inputs(lines)
    partition = Partition(Rules(ALL, Thresholds()))
    last_tick = len(records) - 1
    before = next(index for index, line in enumerate(lines) if line["type"] == "tick" and index > last_tick // 2)
    partition.fold(partition.run(records[:before]))
    outcome = partition.run(records[before : before + 1])
    assert outcome.touched == {}
    assert outcome.said == []


def test_state_of_a_detector_that_is_gone_is_dropped_and_of_a_new_one_begins() -> None:
    lines = recording(8, recorders=1)
    first = Partition(Rules((Clumsy(), *ALL[:1]), Thresholds()))
    first.fold(first.run(inputs(lines)[:40]))
    partition = Partition(Rules(ALL, Thresholds()))
    partition.restore(first.save().recorders.items())
    kinds = {one.finding.kind for one in partition.run(inputs(lines)).said}
    assert "recording.gap" in kinds


def test_few_live_copies_say_the_same_as_many() -> None:
    lines = recording(9, recorders=6)
    partition, findings = Partition(Rules(ALL, Thresholds()), max_live=2), []
    records = inputs(lines)
    for start in range(0, len(records), 25):
        outcome = partition.run(records[start : start + 25])
        partition.fold(outcome)
        findings += [one.finding for one in outcome.said]
    assert findings == said(lines)


def test_a_batch_that_is_given_up_leaves_what_was_saved() -> None:
    records = inputs(recording(9))
    partition = Partition(Rules(ALL, Thresholds()))
    partition.fold(partition.run(records[:100]))
    partition.save()
    given_up = partition.run(records[100:300])
    again = partition.run(records[100:300])
    assert [one.finding for one in again.said] == [one.finding for one in given_up.said]
    partition.fold(again)
    partition.run(records[300:])
    with pytest.raises(RuntimeError, match="not saved"):
        partition.run(records[300:])


def test_a_state_saved_read_and_saved_again_has_the_same_bytes() -> None:
    partition = Partition(Rules(ALL, Thresholds()))
    partition.fold(partition.run(inputs(recording(9))))
    for name, value in partition.save().recorders.items():
        assert Recorder(name, partition.rules, value).save() == value
