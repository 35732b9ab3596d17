"""`upload.lagging`, under each of the five policies, by literal logs. 2 March 2026 is a Monday."""

from __future__ import annotations

import pytest

from domain.clock import Instant
from tests.detectors.storing import line, session, stored, story, ticked, told

KIND = "upload.lagging"
MONDAY = "2026-03-02"

# From Monday 10:00:20 to Thursday 0:00 there are 61 h 59 min 40 s; a quarter of it is 15 h 29 min 55 s.
QUARTER = "2026-03-04T08:30:05+08:00"


@pytest.mark.parametrize(
    ("policy", "clauses"),
    [("gansu", ["第二十二条"]), ("chongqing", ["第二十一条"]), ("wucheng", ["W-AV 第二十三条"])],
)
def test_a_quarter_of_the_time_is_left(policy: str, clauses: list[str]) -> None:
    assert told(KIND, session(MONDAY, policy), ticked("2026-03-04T08:30:04+08:00")) == []
    (one,) = told(KIND, session(MONDAY, policy), ticked("2026-03-04T08:30:04+08:00", QUARTER))
    assert (one.status, one.severity, one.clauses, one.message.key) == ("opened", "warning", clauses, KIND)
    assert one.began_at == one.detected_at == Instant.parse(QUARTER)
    assert one.evidence == {
        "completed_at": "2026-03-02T10:00:20.000+08:00",
        "store_by": "2026-03-05T00:00:00.000+08:00",
        "missing_s": 20.0,
        "on_device_s": 0.0,
        "seconds_left": 55_795.0,
    }


def test_it_is_wall_clock_time_over_a_weekend() -> None:
    """Friday 10:00:20 to Wednesday 0:00: 109 h 59 min 40 s, of which the last quarter begins on Monday at 20:30:05."""
    found = told(KIND, session("2026-03-06"), ticked("2026-03-09T20:30:04+08:00", "2026-03-09T20:30:05+08:00"))
    assert story(found) == [("opened", "2026-03-09T20:30:05")]


@pytest.mark.parametrize(("policy", "clauses"), [("zhuhui", ["第四十二条"]), ("zhanhe", ["Z-AV 第十三条"])])
def test_where_the_rule_says_only_in_good_time(policy: str, clauses: list[str]) -> None:
    after = ticked("2026-03-04T23:59:59+08:00", "2026-03-05T00:00:00+08:00")
    (one,) = told(KIND, session(MONDAY, policy), after)
    assert (one.clauses, one.message.key) == (clauses, f"{KIND}.timely")
    assert one.began_at == Instant.parse("2026-03-05T00:00:00+08:00")
    assert (one.evidence["store_by"], one.evidence["seconds_left"]) == (None, None)
    assert "没有期限" in str(one.evidence["note"])


def test_stored_before_it_is_nothing_and_after_it_closes() -> None:
    assert told(KIND, session(MONDAY), [stored("2026-03-04T08:30:04+08:00", MONDAY)], ticked(QUARTER)) == []
    late = [stored("2026-03-04T09:00:00+08:00", MONDAY)]
    opened, closed = told(KIND, session(MONDAY), ticked(QUARTER), late)
    assert (closed.status, closed.id) == ("closed", opened.id)
    assert closed.ended_at == Instant.parse("2026-03-04T09:00:00+08:00")


def test_partly_stored_is_not_stored() -> None:
    part = [stored(f"{MONDAY}T10:10:00+08:00", MONDAY, high="10:00:12")]
    (one,) = told(KIND, session(MONDAY), part, ticked(QUARTER))
    assert one.evidence["missing_s"] == 8.0


def test_feeds_from_premises_in_wucheng_have_no_time() -> None:
    assert told(KIND, session(MONDAY, kind="premises_camera"), ticked("2026-04-01T00:00:00+08:00")) == []


@pytest.mark.parametrize("policy", ["gansu", "zhanhe"])
def test_remote_work_is_warned_of_as_the_other_until_the_return_is_known(policy: str) -> None:
    when = QUARTER if policy == "gansu" else "2026-03-05T00:00:00+08:00"
    back = [line("returned", "2026-03-03T20:00:00+08:00")]
    unknown = told(KIND, session(MONDAY, policy, remote=True), ticked(when))
    assert [one.began_at for one in unknown] == [Instant.parse(when)]
    assert (unknown[0].evidence["returned_at"], unknown[0].message.key) == (None, KIND)
    # Back on Tuesday at 20:00: a quarter is left on Wednesday at 10:30:05 of the 24 hours, in Gansu of the two days.
    known = told(KIND, session(MONDAY, policy, remote=True), back, ticked("2026-03-04T12:00:00+08:00"))
    assert len(known) == 1


def test_a_session_that_has_not_ended_has_no_time_yet() -> None:
    lines = [one for one in session(MONDAY) if one["type"] != "session_ended"]
    assert told(KIND, lines, ticked("2026-04-01T00:00:00+08:00")) == []


def test_a_policy_registered_afterwards_is_the_one_that_counts() -> None:
    lines = [one for one in session(MONDAY, "zhuhui") if one["type"] != "recorder_registered"]
    late = [line("recorder_registered", f"{MONDAY}T12:00:00+08:00", kind="premises_camera", policy="wucheng")]
    assert told(KIND, lines, late, ticked("2026-04-01T00:00:00+08:00")) == []
