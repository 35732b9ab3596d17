"""Who is dead, as a function of what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.watch.states import BAD_LOOKS, GOOD_LOOKS, Look, State, restored, step
from dashboards.watch.targets import Target, targets_of
from dashboards.watch.telling import message
from dashboards.watch.view import Watched, WatchView, watched
from dashboards.words import words
from domain import wire
from domain.clock import Instant
from domain.errors import InvalidSettings
from domain.settings import Settings

T0 = Instant.parse("2026-05-04T08:00:00+08:00")
EVERY_S, AFTER_S = 10, 60
GOOD = {"store": 1.0}


def looks(*said: Mapping[str, object]) -> list[State]:
    """Take looks 10 s apart into account; return the state after each."""
    states, state = [], State()
    for number, what in enumerate(said):
        s = number * EVERY_S
        state = step(state, Look(at=T0.plus(s * 1000), now_s=1000.0 + s, **what), AFTER_S)  # type: ignore[arg-type]
        states.append(state)
    return states


def moving(count: int) -> list[Mapping[str, object]]:
    return [{"figures": {"store": float(number)}} for number in range(count)]


def test_three_looks_without_an_answer_are_a_death_and_two_with_one_its_end() -> None:
    silent = {"fault": "silent", "detail": "refused"}
    states = looks(*moving(3), silent, silent, silent, silent, *moving(3))
    assert [one.condition for one in states] == [
        *("well", "well", "well", "well", "well", "ill", "ill", "ill", "well", "well")
    ]
    assert states[6].since == T0.plus(30_000)  # the first look that nobody answered
    assert (states[6].fault, states[6].detail, states[6].seen_at) == ("silent", "refused", T0.plus(20_000))
    assert (states[8].fault, states[8].since) == ("", None)


def test_a_lost_look_now_and_then_is_no_alarm() -> None:
    states = looks(*[{"fault": "silent"} if number % 3 else moving(30)[number] for number in range(30)])
    assert {one.condition for one in states} == {"well"}


def test_who_answers_and_does_not_get_on_is_dead() -> None:
    stuck = {"figures": {"store": 2.0, "backfill": 7.0}}
    going = [{"figures": {"store": 2.0, "backfill": 7.0 + number}} for number in range(12)]
    states = looks(stuck, *going)
    assert [one.condition for one in states][-6:] == ["well"] + ["ill"] * 5
    assert (states[-1].fault, states[-1].detail) == ("standing", "store")
    assert states[-1].since == T0  # when it moved last
    lost = looks(stuck, *going, *[{"figures": {"store": 3.0 + number}} for number in range(10)])
    assert (lost[14].condition, lost[-1].condition, lost[-1].detail) == ("well", "ill", "backfill")  # no longer given


def test_a_restarted_process_is_not_held_to_the_figures_of_its_former_life() -> None:
    before = [{"figures": {"store": 900.0, "gone": 1.0}, "life": 1.0}]
    after = [{"figures": {"store": float(number)}, "life": 2.0} for number in range(12)]
    assert looks(*before, *after)[-1].condition == "well"


def test_a_start_may_take_its_time_but_not_for_ever() -> None:
    starting = {"unready": "still reading the log"}
    states = looks(*[starting] * 9)
    assert [one.condition for one in states] == ["well"] * 8 + ["ill"]
    assert (states[-1].fault, states[-1].detail, states[-1].since) == ("unready", "still reading the log", T0)
    silent = [{"fault": "silent"}] * 3
    assert [one.condition for one in looks(*silent, *[starting] * 4, {}, {})][-6:] == ["ill"] * 5 + ["well"]


@given(st.lists(st.sampled_from(["", "silent", "trouble"]), max_size=60))
def test_transitions_keep_their_distance(faults: list[str]) -> None:
    conditions = [one.condition for one in looks(*({"fault": fault} for fault in faults))]
    for number, (before, after) in enumerate(pairwise(conditions), 1):
        if before != "ill" and after == "ill":
            assert all(faults[number - BAD_LOOKS + 1 : number + 1])
        if before == "ill" and after == "well":
            assert not any(faults[number - GOOD_LOOKS + 1 : number + 1])


def test_every_fault_is_said_within_120_s() -> None:
    longest = Settings(watch_every_s=10, watch_after_s=70)
    assert longest.watch_after_s + BAD_LOOKS * longest.watch_every_s + 5 + 3 + 10 <= 120  # a look, the console, a page


def ill(name: str, since: Instant = T0) -> Watched:
    return Watched(name=name, kind="liuhen", condition="ill", fault="silent", since=since)


def test_a_death_is_told_once_repeated_hourly_and_its_end_told_once() -> None:
    texts = [words("zh"), words("en")]
    well = Watched(name="store", kind="liuhen", condition="well")
    told: dict[str, Instant] = {}
    said = message([ill("store"), ill("tick")], told, T0.plus(30_000), texts)
    assert said is not None
    assert said.title == "留痕：2 个部件停止工作 / Liuhen: 2 parts have stopped"
    assert "store 没有应答，自 08:00:00 起, 30秒" in said.body
    told = dict(said.told)
    assert message([ill("store"), ill("tick")], told, T0.plus(3_600_000), texts) is None
    again = message([ill("store"), ill("tick")], told, T0.plus(3_630_000), texts)
    assert again is not None
    back = message([well, ill("tick")], dict(again.told), T0.plus(3_640_000), texts)
    assert back is not None
    assert "store 已恢复" in back.body
    assert "tick" not in back.body
    assert message([well, ill("tick")], dict(back.told), T0.plus(3_650_000), texts) is None


def test_what_was_ill_stays_so_over_a_restart_of_the_watch() -> None:
    state = restored(looks(*[{"fault": "silent"}] * 3)[-1])
    assert (state.condition, state.since, state.bad) == ("ill", T0, 0)


def test_a_view_goes_over_the_wire_and_names_the_longest_dead_first() -> None:
    state = looks(*[{"fault": "silent", "detail": "refused"}] * 3)[-1]
    view = WatchView(at=T0, targets=(ill("b", T0.plus(5)), watched(Target("a", "liuhen", "http://a"), state)))
    assert wire.convert(msgspec.json.decode(wire.encode(view)), WatchView) == view
    assert [one.name for one in view.ill] == ["a", "b"]
    assert not view.is_well


def test_targets() -> None:
    setting = "prometheus=http://p:9090, alertmanager-2=https://a:9093/am/,\ningest=http://i:8600"
    assert [(one.name, one.kind, one.url) for one in targets_of(Settings(watch=setting))] == [
        ("prometheus", "prometheus", "http://p:9090"),
        ("alertmanager-2", "alertmanager", "https://a:9093/am"),
        ("ingest", "liuhen", "http://i:8600"),
        ("alerts", "alerts", ""),
    ]


@pytest.mark.parametrize("setting", ["", "a", "a=ftp://x", "a=http://", "A=http://x", "a=http://x:99999",
                                     "a=http://x,a=http://y", "alerts=http://x", "a=http://user:hidden@x"])  # fmt: skip
def test_targets_that_are_none(setting: str) -> None:
    with pytest.raises(InvalidSettings, match="watch:") as raised:
        targets_of(Settings(watch=setting))
    assert "hidden" not in str(raised.value)
