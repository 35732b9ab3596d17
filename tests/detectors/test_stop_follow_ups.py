"""What Chongqing and Gansu demand besides an explanation. Moments are seconds after 09:00:00, China time."""

from __future__ import annotations

import pytest

from tests.detectors.logs import Line, ended, second, stopped, ticks
from tests.detectors.test_recording_unexplained_stop import (
    DAY,
    KIND,
    explanation,
    found,
    heard,
    moments,
    restart,
    story,
)

END = 300.0
DUE = moments(DAY + END)


def voiced(cause: str = "bad_weather", policy: str = "chongqing", *parts: Line) -> list[tuple[str, float, object]]:
    """Explained by voice in time, the session ended, and looked at when the day after it is over."""
    given = [explanation(60, cause=cause, **({} if cause != "other" else {"text": "停电", "approved_by": "队长"}))]
    return story(found(policy, restart(), given, ticks(0, 200), [ended(END, 120), *parts], DUE))


# ── Chongqing: a reviewed work record for weather, force majeure and secrets ──


@pytest.mark.parametrize("cause", ["bad_weather", "force_majeure", "secrecy"])
def test_chongqing_demands_a_work_record_besides_what_was_said(cause: str) -> None:
    assert voiced(cause) == [("opened", DAY + END, "follow_up_missing")]


def test_it_says_what_is_missing() -> None:
    (one,) = found("chongqing", restart(), [explanation(60)], ticks(0, 200), [ended(END, 120)], DUE)
    assert (one.severity, one.clauses, one.message.key) == ("warning", ["第十一条", "第十三条"], f"{KIND}.work_record")
    assert (second(one.began_at), one.evidence["asked"], one.evidence["explained"]) == (
        20,
        "work_record",
        "bad_weather",
    )


@pytest.mark.parametrize(
    ("policy", "cause"), [("chongqing", "other"), ("wucheng", "bad_weather"), ("gansu", "bad_weather")]
)
def test_for_other_causes_and_elsewhere_nothing_more_is_demanded(policy: str, cause: str) -> None:
    assert voiced(cause, policy) == []


def test_speech_alone_names_no_cause_and_what_names_it_later_does() -> None:
    parts = (restart(), [heard(42, 3)], ticks(0, 200), [ended(END, 120)])
    assert found("chongqing", *parts, DUE) == []
    assert story(found("chongqing", *parts, [explanation(150)], DUE)) == [("opened", DAY + END, "follow_up_missing")]


@pytest.mark.parametrize("when", [70, 1000])
def test_a_reviewed_work_record_in_time_is_enough(when: float) -> None:
    record = explanation(when, "work_record", approved_by="主任")
    assert voiced("bad_weather", "chongqing", record) == []


def test_one_that_nobody_reviewed_awaits_review() -> None:
    record = explanation(1000, "work_record")
    reviewed = explanation(DAY + END + 60, "work_record", approved_by="主任")
    assert voiced("bad_weather", "chongqing", record) == [
        ("opened", DAY + END, "follow_up_missing"),
        ("updated", DAY + END, "awaiting_review"),
    ]
    parts = (restart(), [explanation(60), record], ticks(0, 200), [ended(END, 120)], DUE, [reviewed])
    findings = found("chongqing", *parts)
    assert story(findings)[2] == ("closed", DAY + END + 60, "explained")
    assert (findings[2].evidence["late_s"], findings[2].evidence["approved_by"]) == (60.0, "主任")
    assert len({one.id for one in findings}) == 1


def test_the_work_record_itself_may_be_the_explanation() -> None:
    record = [explanation(60, "work_record", approved_by="主任")]
    assert found("chongqing", restart(), record, ticks(0, 200), [ended(END, 120)], DUE) == []


def test_it_is_a_finding_beside_the_stops_own() -> None:
    late = [explanation(130.2)]
    findings = found("chongqing", restart(), late, ticks(0, 200), [ended(END, 120)], DUE)
    assert story(findings) == [
        ("opened", 100.2, "unexplained"),
        ("closed", 130.2, "explained"),
        ("opened", DAY + END, "follow_up_missing"),
    ]
    assert findings[0].id == findings[1].id != findings[2].id


# ── Gansu: what was reported at once is explained in writing afterwards ──


def reported(method: str, *parts: Line) -> list[tuple[str, float, object]]:
    lines = [stopped(20.3, "battery", 20), explanation(80, method, "low_battery"), ended(END, 20), *parts]
    return story(found("gansu", lines, ticks(0, 700), DUE))


def test_gansu_demands_the_writing_after_the_report() -> None:
    assert reported("voice") == [("opened", DAY + END, "follow_up_missing")]
    assert reported("written") == []
    assert reported("voice", explanation(5000, "written", "low_battery")) == []
    assert reported("voice", explanation(5000, "voice", "low_battery")) == [("opened", DAY + END, "follow_up_missing")]
    late = explanation(DAY + END + 30, "written", "low_battery")
    assert reported("voice", late)[1] == ("closed", DAY + END + 30, "explained")


def test_not_where_recording_went_on_after_all() -> None:
    lines = [stopped(20.3, "battery", 20), explanation(80, "voice", "low_battery")]
    again = restart(at_s=200)[1:]
    assert found("gansu", lines, again, [ended(END, 280)], ticks(0, 700), DUE) == []
