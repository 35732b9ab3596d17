"""`upload.overdue`, under each of the five policies, by literal logs. 2 March 2026 is a Monday."""

from __future__ import annotations

import pytest

from domain.clock import Instant
from tests.detectors.logs import Line
from tests.detectors.storing import held, line, session, span, stored, story, ticked, told

KIND = "upload.overdue"
MONDAY = "2026-03-02"
FRIDAY = "2026-03-06"


@pytest.mark.parametrize(
    ("policy", "day", "last", "over", "clauses"),
    [
        ("gansu", MONDAY, "2026-03-04T23:59:59+08:00", "2026-03-05T00:00:00+08:00", ["第二十二条"]),
        ("chongqing", MONDAY, "2026-03-04T23:59:59+08:00", "2026-03-05T00:00:00+08:00", ["第二十一条"]),
        ("wucheng", MONDAY, "2026-03-04T23:59:59+08:00", "2026-03-05T00:00:00+08:00", ["W-AV 第二十三条"]),
        # Friday: working days run over the weekend, plain days do not.
        ("gansu", FRIDAY, "2026-03-08T23:59:59+08:00", "2026-03-09T00:00:00+08:00", ["第二十二条"]),
        ("chongqing", FRIDAY, "2026-03-10T23:59:59+08:00", "2026-03-11T00:00:00+08:00", ["第二十一条"]),
        ("wucheng", FRIDAY, "2026-03-10T23:59:59+08:00", "2026-03-11T00:00:00+08:00", ["W-AV 第二十三条"]),
        # Before the National Day week of 2025, 1 to 8 October; Saturday 11 is worked.
        ("wucheng", "2025-09-30", "2025-10-10T23:59:59+08:00", "2025-10-11T00:00:00+08:00", ["W-AV 第二十三条"]),
        ("gansu", "2025-09-30", "2025-10-02T23:59:59+08:00", "2025-10-03T00:00:00+08:00", ["第二十二条"]),
    ],
)
def test_when_the_time_is_over(policy: str, day: str, last: str, over: str, clauses: list[str]) -> None:
    assert told(KIND, session(day, policy), ticked(last)) == []
    (one,) = told(KIND, session(day, policy), ticked(last, over))
    assert (one.status, one.session_id, one.clauses) == ("opened", "s1", clauses)
    assert one.began_at == one.detected_at == Instant.parse(over)
    assert one.evidence["store_by"] == Instant.parse(over).rfc3339()
    assert one.evidence["missing_s"] == 20.0
    assert told(KIND, session(day, policy), [stored(last, day)], ticked(over)) == []


@pytest.mark.parametrize("policy", ["zhuhui", "zhanhe"])
def test_no_figure_no_overdue(policy: str) -> None:
    assert told(KIND, session(MONDAY, policy), ticked("2026-03-05T00:00:00+08:00", "2026-12-31T00:00:00+08:00")) == []


@pytest.mark.parametrize(
    ("policy", "kind", "count"),
    [
        ("wucheng", "premises_camera", 0),
        ("wucheng", "room_camera", 1),
        ("chongqing", "premises_camera", 0),
        ("gansu", "premises_camera", 1),
    ],
)
def test_kinds_of_recorder(policy: str, kind: str, count: int) -> None:
    assert len(told(KIND, session(MONDAY, policy, kind), ticked("2026-03-20T00:00:00+08:00"))) == count


def test_closes_when_stored_and_says_how_late() -> None:
    lines = session(MONDAY)
    over = ticked("2026-03-05T00:00:00+08:00")
    parts = [stored("2026-03-05T01:00:00+08:00", MONDAY, high="10:00:10"), stored("2026-03-05T02:30:00+08:00", MONDAY)]
    opened, closed = told(KIND, lines, over, parts)
    assert (opened.severity, closed.status, closed.id) == ("critical", "closed", opened.id)
    assert closed.ended_at == Instant.parse("2026-03-05T02:30:00+08:00")
    assert closed.evidence["late_s"] == 9000.0
    assert closed.evidence["missing_s"] == 0.0


def test_gansu_says_when_it_is_over_only_for_days_off() -> None:
    over, working = "2026-03-09T00:00:00+08:00", "2026-03-11T00:00:00+08:00"
    found = told(KIND, session(FRIDAY, "gansu"), ticked(over, "2026-03-10T23:59:59+08:00", working))
    assert story(found) == [("opened", "2026-03-09T00:00:00"), ("updated", "2026-03-11T00:00:00")]
    assert found[0].evidence["days_off_only"] is True
    assert "days_off_only" not in found[1].evidence
    assert [one.severity for one in found] == ["warning", "critical"]
    assert "days_off_only" not in told(KIND, session(MONDAY, "gansu"), ticked(over))[0].evidence


# ── remote work ──


def returned(when: str, **fields: object) -> list[Line]:
    return [line("returned", when, **fields)]


@pytest.mark.parametrize(
    ("policy", "back", "over"),
    [
        ("gansu", "2026-03-07T08:00:00+08:00", "2026-03-08T08:00:00+08:00"),
        ("gansu", "2026-03-03T08:00:00+08:00", "2026-03-05T00:00:00+08:00"),  # the later of the two
        ("zhanhe", "2026-03-07T08:00:00+08:00", "2026-03-08T08:00:00+08:00"),
        ("zhanhe", "2026-03-02T09:00:00+08:00", None),  # before the session was opened: not from it
        ("wucheng", "2026-03-07T08:00:00+08:00", "2026-03-05T00:00:00+08:00"),  # it has no such rule
        ("chongqing", "2026-03-07T08:00:00+08:00", "2026-03-05T00:00:00+08:00"),
        ("zhuhui", "2026-03-07T08:00:00+08:00", None),
    ],
)
def test_remote_work_runs_from_the_return(policy: str, back: str, over: str | None) -> None:
    every_hour = [f"2026-03-{day:02d}T{hour:02d}:00:00+08:00" for day in range(3, 10) for hour in range(24)]
    for session_id in ({}, {"session_id": "s1"}):
        found = told(KIND, session(MONDAY, policy, remote=True), returned(back, **session_id), ticked(*every_hour))
        assert [one.began_at.rfc3339() for one in found] == ([Instant.parse(over).rfc3339()] if over else [])


def test_while_the_return_is_not_known_nothing_is_overdue() -> None:
    found = told(KIND, session(MONDAY, "gansu", remote=True), ticked("2026-04-01T00:00:00+08:00"))
    assert found == []


def test_a_return_that_names_another_session_is_not_meant() -> None:
    back = returned("2026-03-07T08:00:00+08:00", session_id="s2")
    assert told(KIND, session(MONDAY, "gansu", remote=True), back, ticked("2026-04-01T00:00:00+08:00")) == []


# ── what is not stored ──

LOW, HIGH = f"{MONDAY}T10:00:20+08:00", f"{MONDAY}T10:05:00+08:00"
OVER = ticked("2026-03-05T00:00:00+08:00")


def test_what_the_device_still_holds_is_not_stored() -> None:
    streamed = [stored(f"{MONDAY}T10:02:00+08:00", MONDAY)]
    assert told(KIND, session(MONDAY), streamed, OVER) == []
    holding = [held(f"{MONDAY}T10:10:00+08:00", (LOW, HIGH))]
    (one,) = told(KIND, session(MONDAY), streamed, holding, OVER)
    assert (one.evidence["missing_s"], one.evidence["on_device_s"]) == (280.0, 280.0)
    delivered = [span("backfilled", "2026-03-04T10:00:00+08:00", LOW, HIGH)]
    assert told(KIND, session(MONDAY), streamed, holding, delivered, OVER) == []
    late = [span("backfilled", "2026-03-05T00:01:00+08:00", LOW, HIGH)]
    assert told(KIND, session(MONDAY), streamed, holding, late, OVER)[1].evidence["late_s"] == 60.0


def test_a_newer_list_replaces_the_one_before() -> None:
    streamed = [stored(f"{MONDAY}T10:02:00+08:00", MONDAY)]
    lists = [held(f"{MONDAY}T10:10:00+08:00", (LOW, HIGH)), held("2026-03-03T10:10:00+08:00")]
    assert told(KIND, session(MONDAY), streamed, lists, OVER) == []


def test_a_list_made_before_the_delivery_was_known_does_no_harm() -> None:
    streamed = [stored(f"{MONDAY}T10:02:00+08:00", MONDAY)]
    parts = [
        span("backfilled", f"{MONDAY}T10:10:00+08:00", LOW, HIGH),
        held(f"{MONDAY}T10:10:01+08:00", (LOW, HIGH)),
    ]
    assert told(KIND, session(MONDAY), streamed, parts, OVER) == []


def offline(*parts: Line) -> list[Line]:
    """A session of which nothing was ever sent."""
    return [
        line("recorder_registered", f"{MONDAY}T09:59:00+08:00", kind="body_worn", policy="wucheng"),
        line("session_opened", f"{MONDAY}T10:00:00+08:00", session_id="s1"),
        line("session_ended", f"{MONDAY}T10:30:00+08:00", session_id="s1", completed_at=f"{MONDAY}T10:29:00+08:00"),
        *parts,
    ]


def test_a_session_of_which_nothing_came_is_not_stored() -> None:
    (one,) = told(KIND, offline(), OVER)
    assert one.evidence["missing_s"] == 1740.0
    # The device's list says that there is nothing; or what was delivered says what there was.
    assert told(KIND, offline(held("2026-03-03T10:00:00+08:00")), OVER) == []
    got = span("backfilled", "2026-03-03T10:00:00+08:00", f"{MONDAY}T10:01:00+08:00", f"{MONDAY}T10:28:00+08:00")
    assert told(KIND, offline(got), OVER) == []


def test_a_list_that_changes_each_second_is_at_most_two_findings() -> None:
    streamed = [stored(f"{MONDAY}T10:02:00+08:00", MONDAY)]
    flapping = [
        held(f"2026-03-05T01:{n // 60:02d}:{n % 60:02d}+08:00", *([(LOW, HIGH)] if n % 2 else [])) for n in range(600)
    ]
    found = told(KIND, session(MONDAY), streamed, flapping, OVER)
    assert 1 <= len({one.id for one in found}) <= 2


def test_what_turns_up_later_is_said_again_once_it_lasts() -> None:
    late = [stored("2026-03-05T00:30:00+08:00", MONDAY), held("2026-03-06T10:00:00+08:00", (LOW, HIGH))]
    found = told(KIND, session(MONDAY), late, OVER, ticked("2026-03-06T10:09:59+08:00", "2026-03-06T10:10:00+08:00"))
    assert story(found) == [
        ("opened", "2026-03-05T00:00:00"),
        ("closed", "2026-03-05T00:30:00"),
        ("opened", "2026-03-06T10:10:00"),
    ]
    assert found[2].id != found[0].id
    assert found[2].began_at == Instant.parse("2026-03-06T10:00:00+08:00")


@pytest.mark.parametrize("completed", ["0001-01-02T00:00:00+00:00", "9998-01-01T00:00:00+08:00"])
def test_a_completion_of_another_age_harms_nobody(completed: str) -> None:
    lines = session(MONDAY)
    lines[-1] = {**lines[-1], "completed_at": completed}
    assert len(told(KIND, lines, OVER)) == (1 if completed > "9" else 0)


def test_a_year_whose_calendar_is_not_known_is_noted() -> None:
    (one,) = told(KIND, session("2031-03-03"), ticked("2031-03-07T00:00:00+08:00"))
    assert "2031年的放假安排未知" in str(one.evidence["note"])
