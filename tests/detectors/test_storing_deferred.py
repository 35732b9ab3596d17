"""Leave to store later (`storing_deferred`), and what both upload findings make of it. 2 March 2026 is a Monday."""

from __future__ import annotations

import pytest

from domain.clock import Instant
from tests.detectors.logs import Line
from tests.detectors.storing import line, session, stored, story, ticked, told

MONDAY = "2026-03-02"
QUARTER = "2026-03-04T08:30:05+08:00"
OVER = "2026-03-05T00:00:00+08:00"
UNTIL = "2026-03-12T00:00:00+08:00"
HOURS = [f"2026-03-{day:02d}T{hour:02d}:00:00+08:00" for day in range(3, 14) for hour in range(24)]


def leave(when: str, until: str = UNTIL, **fields: object) -> list[Line]:
    given = {"approved_by": "主管领导", "reason": "道路中断", "session_id": "s1", **fields}
    return [line("storing_deferred", when, until=until, **given)]


@pytest.mark.parametrize("policy", ["wucheng", "chongqing"])
@pytest.mark.parametrize("given", [f"{MONDAY}T10:00:10+08:00", f"{MONDAY}T12:00:00+08:00", "2026-03-04T23:59:59+08:00"])
def test_overdue_waits_for_the_time_that_was_given(policy: str, given: str) -> None:
    (one,) = told("upload.overdue", session(MONDAY, policy), leave(given), ticked(*HOURS))
    assert one.began_at == one.detected_at == Instant.parse(UNTIL)
    assert one.evidence["store_by"] == Instant.parse(UNTIL).rfc3339()
    assert (one.evidence["deferred_by"], one.evidence["deferred_at"]) == ("主管领导", Instant.parse(given).rfc3339())
    assert one.evidence["note"] == "经批准延期到2026年3月11日24时"


@pytest.mark.parametrize("policy", ["wucheng", "chongqing"])
def test_lagging_is_over_while_there_is_time_again(policy: str) -> None:
    given = "2026-03-04T09:00:00+08:00"
    found = told("upload.lagging", session(MONDAY, policy), ticked(QUARTER), leave(given), ticked(*HOURS))
    # From Monday 10:00:20 to the 12th at 0:00 there are 229 h 59 min 40 s; the last quarter is 57 h 29 min 55 s.
    assert story(found) == [
        ("opened", "2026-03-04T08:30:05"),
        ("closed", "2026-03-04T09:00:00"),
        ("opened", "2026-03-09T15:00:00"),
    ]
    assert found[1].evidence["missing_s"] == 20.0
    assert found[1].evidence["deferred_by"] == "主管领导"
    assert found[2].began_at == Instant.parse("2026-03-09T14:30:05+08:00")
    assert found[2].id != found[0].id


def test_leave_given_too_late_changes_nothing_and_is_named() -> None:
    late = leave("2026-03-05T00:00:00.001+08:00")
    opened, updated, closed = told(
        "upload.overdue", session(MONDAY), ticked(OVER), late, [stored("2026-03-05T02:00:00+08:00", MONDAY)]
    )
    assert "deferred_by" not in opened.evidence
    assert (updated.status, updated.id, updated.evidence["store_by"]) == (
        "updated",
        opened.id,
        Instant.parse(OVER).rfc3339(),
    )
    assert "不算" in str(updated.evidence["note"])
    assert (closed.status, closed.evidence["late_s"]) == ("closed", 7200.0)


@pytest.mark.parametrize("policy", ["gansu", "zhanhe", "zhuhui"])
def test_where_the_document_knows_no_leave_it_changes_nothing(policy: str) -> None:
    given = leave(f"{MONDAY}T12:00:00+08:00")
    with_, without = (told("upload.overdue", session(MONDAY, policy), more, ticked(*HOURS)) for more in (given, []))
    assert [one.began_at for one in with_] == [one.began_at for one in without]
    if policy == "gansu":
        assert "没有延期批准" in str(with_[0].evidence["note"])


def test_leave_for_another_session_is_not_meant() -> None:
    for other in ("s2", "s9"):
        (one,) = told(
            "upload.overdue", session(MONDAY), leave(f"{MONDAY}T12:00:00+08:00", session_id=other), ticked(*HOURS)
        )
        assert one.began_at == Instant.parse(OVER)


def test_leave_may_be_given_again_and_never_shortens() -> None:
    more = [
        *leave(f"{MONDAY}T12:00:00+08:00", "2026-03-06T00:00:00+08:00"),
        *leave("2026-03-05T12:00:00+08:00", UNTIL),
        *leave("2026-03-05T13:00:00+08:00", "2026-03-05T14:00:00+08:00"),
    ]
    (one,) = told("upload.overdue", session(MONDAY), more, ticked(*HOURS))
    assert one.began_at == Instant.parse(UNTIL)
