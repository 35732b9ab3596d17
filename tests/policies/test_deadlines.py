"""Store-by times against a table worked out by hand from the holiday notices, and what must hold for every table."""

from __future__ import annotations

from datetime import date, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.clock import Instant
from domain.errors import InvalidInput
from policies import load, names
from policies.deadlines import Deadline, store_by
from policies.values import Approval
from policies.workdays import WorkCalendar, official

UNKNOWN = "放假安排未知"


def at(text: str) -> Instant:
    """Read a moment in China time: ``2026-02-13 15:00`` or ``2026-02-13 24:00``."""
    day, _, clock = text.partition(" ")
    if clock == "24:00":
        return Instant.parse(f"{date.fromisoformat(day) + timedelta(days=1)}T00:00:00+08:00")
    return Instant.parse(f"{day}T{clock}:00+08:00")


def due(policy: str, completed: str, kind: str = "body_worn") -> Deadline:
    return store_by(load(policy), kind, at(completed))


# Two working days, as Wucheng and Chongqing count them: completed → last day. The notices, day by day:
WORKING = [
    # an ordinary week; Monday, Thursday and Friday
    ("2026-03-09 10:00", "2026-03-11"),
    ("2026-03-12 10:00", "2026-03-16"),
    ("2026-03-13 10:00", "2026-03-17"),
    # completed on a Saturday, on a Sunday
    ("2026-03-14 10:00", "2026-03-17"),
    ("2026-03-15 10:00", "2026-03-17"),
    # the edges of a day
    ("2026-03-11 00:00", "2026-03-13"),
    ("2026-03-11 23:59", "2026-03-13"),
    # Spring Festival 2026: off 15–23 February, work on Saturdays 14 and 28
    ("2026-02-12 09:00", "2026-02-14"),
    ("2026-02-13 15:00", "2026-02-24"),
    ("2026-02-14 15:00", "2026-02-25"),
    ("2026-02-17 12:00", "2026-02-25"),
    ("2026-02-26 12:00", "2026-02-28"),
    ("2026-02-27 12:00", "2026-03-02"),
    # Spring Festival 2025: off 28 January – 4 February, work on Sunday 26 January and Saturday 8 February
    ("2025-01-24 18:00", "2025-01-27"),
    ("2025-01-25 18:00", "2025-01-27"),
    ("2025-01-26 18:00", "2025-02-05"),
    ("2025-01-27 18:00", "2025-02-06"),
    ("2025-02-06 18:00", "2025-02-08"),
    # Qingming and Labour Day 2026: off 4–6 April and 1–5 May, work on Saturday 9 May
    ("2026-04-03 08:00", "2026-04-08"),
    ("2026-04-30 08:00", "2026-05-07"),
    ("2026-05-07 08:00", "2026-05-09"),
    ("2026-05-08 08:00", "2026-05-11"),
    # Mid-Autumn and National Day 2026: off 25–27 September and 1–7 October,
    # work on Sunday 20 September and Saturday 10 October
    ("2026-09-18 08:00", "2026-09-21"),
    ("2026-09-23 08:00", "2026-09-28"),
    ("2026-09-29 08:00", "2026-10-08"),
    ("2026-09-30 15:00", "2026-10-09"),
    ("2026-10-03 15:00", "2026-10-09"),
    ("2026-10-08 15:00", "2026-10-10"),
    ("2026-10-09 15:00", "2026-10-12"),
    # National Day with Mid-Autumn 2025: off 1–8 October, work on Sunday 28 September and Saturday 11 October
    ("2025-09-26 15:00", "2025-09-29"),
    ("2025-09-30 15:00", "2025-10-10"),
    ("2025-10-09 15:00", "2025-10-11"),
    # year ends: off 30 December 2023 – 1 January 2024; off 1 January 2025 alone; off 1–3 January 2026, work on Sunday 4
    ("2023-12-28 11:00", "2024-01-02"),
    ("2023-12-29 11:00", "2024-01-03"),
    ("2024-12-31 11:00", "2025-01-03"),
    ("2025-12-30 11:00", "2026-01-04"),
    ("2025-12-31 11:00", "2026-01-05"),
    ("2026-01-02 11:00", "2026-01-05"),
]


@pytest.mark.parametrize("policy", ["wucheng", "chongqing"])
@pytest.mark.parametrize(("completed", "last"), WORKING)
def test_two_working_days(policy: str, completed: str, last: str) -> None:
    found = due(policy, completed)
    assert found.store_by == at(f"{last} 24:00")
    assert found.note is None
    assert found.store_by_working is None


# Gansu: two plain days; and the day on which two working days would have ended.
PLAIN = [
    ("2026-03-09 10:00", "2026-03-11", "2026-03-11"),
    ("2026-03-13 10:00", "2026-03-15", "2026-03-17"),
    ("2026-03-11 00:00", "2026-03-13", "2026-03-13"),
    ("2026-03-11 23:59", "2026-03-13", "2026-03-13"),
    ("2026-02-13 15:00", "2026-02-15", "2026-02-24"),
    ("2026-02-26 12:00", "2026-02-28", "2026-02-28"),
    ("2026-09-30 15:00", "2026-10-02", "2026-10-09"),
    ("2025-12-31 11:00", "2026-01-02", "2026-01-05"),
    ("2024-02-27 11:00", "2024-02-29", "2024-02-29"),
]


@pytest.mark.parametrize(("completed", "last", "working"), PLAIN)
def test_two_plain_days(completed: str, last: str, working: str) -> None:
    found = due("gansu", completed)
    assert found.store_by == at(f"{last} 24:00")
    assert found.store_by_working == at(f"{working} 24:00")
    assert found.clauses == ("第二十二条",)


def test_overdue_only_for_days_off() -> None:
    found = due("gansu", "2026-09-30 15:00")
    assert not found.overdue(at("2026-10-02 24:00").plus(-1))
    assert not found.days_off_only(at("2026-10-02 24:00").plus(-1))
    assert found.overdue(at("2026-10-02 24:00"))
    assert found.days_off_only(at("2026-10-02 24:00"))
    assert found.days_off_only(at("2026-10-09 24:00").plus(-1))
    assert not found.days_off_only(at("2026-10-09 24:00"))
    assert found.overdue(at("2026-10-09 24:00"))


@pytest.mark.parametrize(("policy", "article"), [("zhuhui", "第四十二条"), ("zhanhe", "Z-AV 第十三条")])
@pytest.mark.parametrize(("completed", "last"), WORKING)
def test_where_the_rule_says_only_in_good_time(policy: str, article: str, completed: str, last: str) -> None:
    found = due(policy, completed)
    assert found.store_by is None
    assert found.seconds_left(at("2030-01-01 00:00")) is None
    assert not found.overdue(at("2030-01-01 00:00"))
    assert found.warn_at == at(f"{last} 24:00")
    assert found.clauses == (article,)
    assert found.note is not None
    assert "没有期限" in found.note


def test_a_quarter_of_the_wall_clock_is_left_at_the_warning() -> None:
    # 15:00 on 30 September to 24:00 on 9 October is 225 hours; a quarter of it is 56¼.
    found = due("wucheng", "2026-09-30 15:00")
    assert found.warn_at == at("2026-10-07 15:45")
    assert found.seconds_left(at("2026-10-07 15:45")) == 56.25 * 3600
    # 15:00 to 24:00 two days later is 57 hours; a quarter of it is 14¼.
    assert due("gansu", "2026-09-30 15:00").warn_at == at("2026-10-02 09:45")


def test_seconds_left_turn_negative() -> None:
    found = due("wucheng", "2026-03-09 10:00")
    assert found.seconds_left(at("2026-03-11 23:59")) == 60.0
    assert found.seconds_left(at("2026-03-11 24:00")) == 0.0
    assert found.overdue(at("2026-03-11 24:00"))
    assert found.seconds_left(at("2026-03-12 00:01")) == -60.0


def test_the_day_is_the_one_in_china() -> None:
    # 16:30 UTC on Wednesday the 11th is half past midnight on the 12th in China.
    late = Instant.parse("2026-03-11T16:30:00Z")
    assert store_by(load("wucheng"), "body_worn", late).store_by == at("2026-03-16 24:00")
    assert store_by(load("gansu"), "body_worn", late).store_by == at("2026-03-14 24:00")


def test_feeds_from_premises_are_no_on_site_enforcement() -> None:
    for policy in ("wucheng", "chongqing", "zhuhui", "zhanhe"):
        found = due(policy, "2026-03-09 10:00", "premises_camera")
        assert (found.store_by, found.warn_at, found.clauses) == (None, None, ())
        assert found.note is not None
        assert "不及此类记录" in found.note
        assert due(policy, "2026-03-09 10:00", "room_camera").warn_at is not None
    assert due("gansu", "2026-03-09 10:00", "premises_camera").store_by == at("2026-03-11 24:00")


# Remote work: policy, completed, returned, end, article of the rule.
REMOTE = [
    # back late: 24 hours from the minute of return
    ("gansu", "2026-03-09 10:00", "2026-03-12 18:20", "2026-03-13 18:20"),
    # back soon: the two days last longer, and the rule takes none of them
    ("gansu", "2026-03-09 10:00", "2026-03-09 12:00", "2026-03-11 24:00"),
    # back on a holiday: hours do not wait
    ("gansu", "2026-09-30 10:00", "2026-10-04 08:00", "2026-10-05 08:00"),
    ("zhanhe", "2026-03-09 10:00", "2026-03-09 12:00", "2026-03-10 12:00"),
    ("zhanhe", "2026-09-30 10:00", "2026-10-04 08:00", "2026-10-05 08:00"),
    # completed after the return: the time cannot run before there is a recording
    ("zhanhe", "2026-03-09 10:00", "2026-03-08 12:00", "2026-03-10 10:00"),
]


@pytest.mark.parametrize(("policy", "completed", "returned", "end"), REMOTE)
def test_remote_work(policy: str, completed: str, returned: str, end: str) -> None:
    found = store_by(load(policy), "body_worn", at(completed), remote=True, returned=at(returned))
    assert found.store_by == at(end)
    assert found.note is None


def test_a_remote_return_that_is_not_known_yet() -> None:
    found = store_by(load("gansu"), "body_worn", at("2026-09-30 15:00"), remote=True)
    assert found.store_by is None
    assert found.warn_at == at("2026-10-02 09:45"), "the warning does not wait for the return"
    assert found.note is not None
    assert "返回单位的时间未知" in found.note
    found = store_by(load("zhanhe"), "body_worn", at("2026-09-30 15:00"), remote=True)
    assert (found.store_by, found.warn_at) == (None, at("2026-10-09 24:00"))


@pytest.mark.parametrize("policy", ["wucheng", "chongqing"])
def test_where_there_is_no_rule_on_remote_work(policy: str) -> None:
    plain = due(policy, "2026-03-09 10:00")
    found = store_by(load(policy), "body_worn", at("2026-03-09 10:00"), remote=True)
    assert (found.store_by, found.warn_at) == (plain.store_by, plain.warn_at)
    assert found.note is not None
    assert "没有边远等情形" in found.note


def test_a_return_means_nothing_unless_the_work_was_remote() -> None:
    found = store_by(load("gansu"), "body_worn", at("2026-03-09 10:00"), returned=at("2026-03-20 10:00"))
    assert found.store_by == at("2026-03-11 24:00")


@pytest.mark.parametrize("policy", ["wucheng", "chongqing"])
def test_leave_given_in_time_moves_the_end(policy: str) -> None:
    early = Approval(approved_at=at("2026-03-11 23:59"), until=at("2026-03-18 24:00"))
    found = store_by(load(policy), "body_worn", at("2026-03-09 10:00"), approvals=[early])
    assert found.store_by == at("2026-03-18 24:00")
    assert found.note == "经批准延期到2026年3月18日24时"
    # 10:00 on the 9th to 24:00 on the 18th is 230 hours; a quarter of it is 57½.
    assert found.warn_at == at("2026-03-16 14:30")


@pytest.mark.parametrize("policy", ["wucheng", "chongqing"])
def test_leave_given_too_late_does_not(policy: str) -> None:
    late = Approval(approved_at=at("2026-03-11 24:00"), until=at("2026-03-18 24:00"))
    found = store_by(load(policy), "body_worn", at("2026-03-09 10:00"), approvals=[late])
    assert found.store_by == at("2026-03-11 24:00")
    assert found.note is not None
    assert "不算" in found.note


def test_leave_may_be_given_again_before_the_first_is_over() -> None:
    first = Approval(approved_at=at("2026-03-10 09:00"), until=at("2026-03-18 24:00"))
    second = Approval(approved_at=at("2026-03-18 09:00"), until=at("2026-03-25 24:00"))
    shorter = Approval(approved_at=at("2026-03-18 10:00"), until=at("2026-03-20 24:00"))
    found = store_by(load("chongqing"), "body_worn", at("2026-03-09 10:00"), approvals=[shorter, second, first])
    assert found.store_by == at("2026-03-25 24:00")
    alone = store_by(load("chongqing"), "body_worn", at("2026-03-09 10:00"), approvals=[second])
    assert alone.store_by == at("2026-03-11 24:00")


def test_leave_where_the_document_knows_none() -> None:
    leave = Approval(approved_at=at("2026-03-10 09:00"), until=at("2026-03-18 24:00"))
    found = store_by(load("gansu"), "body_worn", at("2026-03-09 10:00"), approvals=[leave])
    assert found.store_by == at("2026-03-11 24:00")
    assert found.note is not None
    assert "没有延期批准" in found.note


YEARS_TO_COME = """
[[year]]
year = 2031
source = "some notice"
days_off = ["2030-12-31", "2031-01-01", "2031-01-02"]
workdays = ["2030-12-28"]
"""


def test_an_unknown_year_goes_by_weekends_and_says_so() -> None:
    # 2031-01-01 is a Wednesday; without the notice it counts as a working day.
    found = due("wucheng", "2030-12-31 10:00")
    assert found.store_by == at("2031-01-02 24:00")
    assert found.note is not None
    assert "2031年的放假安排未知" in found.note
    assert "2026" not in (due("wucheng", "2026-06-03 10:00").note or "")


def test_a_year_is_added_by_a_file() -> None:
    calendar = official().extended(YEARS_TO_COME, "more.toml")
    found = store_by(load("wucheng"), "body_worn", at("2030-12-31 10:00"), calendar=calendar)
    assert found.store_by == at("2031-01-06 24:00")
    assert found.note is None
    # A Saturday of the year before that the same notice makes a working day; 2030 itself is still unknown.
    found = store_by(load("wucheng"), "body_worn", at("2030-12-26 10:00"), calendar=calendar)
    assert found.store_by == at("2030-12-28 24:00")
    assert found.note is not None
    assert "2030年的放假安排未知" in found.note


def test_the_end_of_a_known_year_may_depend_on_the_next_notice() -> None:
    only = WorkCalendar(base=lambda _: None).extended(YEARS_TO_COME, "more.toml")
    found = store_by(load("wucheng"), "body_worn", at("2031-12-26 10:00"), calendar=only)
    assert found.note is not None
    assert "2032年的放假安排未知" in found.note
    found = store_by(load("wucheng"), "body_worn", at("2031-12-22 10:00"), calendar=only)
    assert found.note is None


def test_gansu_says_when_the_days_off_are_not_known() -> None:
    found = due("gansu", "2030-12-31 10:00")
    assert found.store_by == at("2031-01-02 24:00")
    assert found.note is not None
    assert UNKNOWN in found.note


@pytest.mark.parametrize("absurd", ["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59+08:00"])
def test_a_time_outside_the_calendar_is_the_callers_mistake(absurd: str) -> None:
    for name in names():
        with pytest.raises(InvalidInput, match=r"completed: .* outside the calendar"):
            store_by(load(name), "body_worn", Instant.parse(absurd))
        with pytest.raises(InvalidInput, match="returned: "):
            store_by(load(name), "body_worn", FIRST, remote=True, returned=Instant.parse(absurd))


FIRST, LAST = at("2024-01-01 00:00"), at("2027-12-31 00:00")
moments = st.integers(FIRST, LAST).map(Instant)
policies = st.sampled_from(names())


@settings(deadline=None)
@given(policies, moments, st.integers(0, 40 * 86_400_000), st.booleans(), st.none() | moments)
def test_later_completion_is_never_due_earlier(
    name: str, completed: Instant, later_ms: int, remote: bool, returned: Instant | None
) -> None:
    def end(moment: Instant) -> Deadline:
        return store_by(load(name), "body_worn", moment, remote=remote, returned=returned)

    one, other = end(completed), end(completed.plus(later_ms))
    assert (one.store_by is None) == (other.store_by is None)
    if one.store_by is not None and other.store_by is not None:
        assert one.store_by <= other.store_by
    assert one.warn_at is not None
    assert other.warn_at is not None
    assert one.warn_at <= other.warn_at


@settings(deadline=None)
@given(policies, moments, st.lists(st.integers(0, 30), max_size=8))
def test_a_further_day_off_never_makes_it_earlier(name: str, completed: Instant, ahead: list[int]) -> None:
    day = completed.datetime().date()
    off = frozenset(day + timedelta(days=days) for days in ahead)
    busier = msgspec.structs.replace(official(), off=official().off | off, work=official().work - off)
    one = store_by(load(name), "body_worn", completed)
    other = store_by(load(name), "body_worn", completed, calendar=busier)
    assert (one.store_by or 0) <= (other.store_by or 0)
    assert (one.warn_at or 0) <= (other.warn_at or 0)
    assert (one.store_by_working or 0) <= (other.store_by_working or 0)


@settings(deadline=None)
@given(policies, moments, st.booleans(), st.none() | moments)
def test_the_warning_comes_between_completion_and_the_end(
    name: str, completed: Instant, remote: bool, returned: Instant | None
) -> None:
    found = store_by(load(name), "body_worn", completed, remote=remote, returned=returned)
    assert found.warn_at is not None
    assert completed < found.warn_at
    if found.store_by is not None:
        assert found.warn_at < found.store_by
    if found.store_by_working is not None and found.store_by is not None:
        assert found.store_by_working >= found.store_by


@settings(deadline=None)
@given(moments, st.lists(st.tuples(moments, moments), max_size=4))
def test_leave_never_makes_it_earlier(completed: Instant, given_: list[tuple[Instant, Instant]]) -> None:
    leave = [Approval(approved_at=one, until=until) for one, until in given_]
    for name in ("chongqing", "wucheng"):
        plain = store_by(load(name), "body_worn", completed).store_by
        found = store_by(load(name), "body_worn", completed, approvals=leave).store_by
        assert plain is not None
        assert found is not None
        assert plain <= found
