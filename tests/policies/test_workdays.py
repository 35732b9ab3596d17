"""Working days: the library's calendar, and files that add to it."""

from datetime import date

import pytest

from domain.clock import Instant
from domain.errors import InvalidPolicy
from policies.workdays import WorkCalendar, official

GOOD = """
[[year]]
year = 2031
source = "some notice"
days_off = ["2031-01-01"]
workdays = ["2031-01-04"]
"""


@pytest.mark.parametrize(
    ("day", "working"),
    [
        ("2026-02-14", True),  # Saturday, moved to work
        ("2026-02-16", False),  # Monday of Spring Festival
        ("2026-02-24", True),
        ("2026-10-10", True),  # Saturday, moved to work
        ("2026-10-11", False),  # Sunday
        ("2031-01-01", True),  # unknown year: by its weekday
        ("2031-01-04", False),  # unknown year: Saturday
    ],
)
def test_official_days(day: str, working: bool) -> None:
    assert official().is_working_day(date.fromisoformat(day)) is working


def test_what_is_known() -> None:
    assert official().knows(date(2026, 10, 1))
    assert official().knows(date(2025, 12, 31))
    assert not official().knows(date(2031, 1, 1))


def test_a_file_wins_over_the_library() -> None:
    text = GOOD.replace("2031", "2026").replace("2026-01-04", "2026-01-10")
    calendar = official().extended(text, "x.toml")
    assert calendar.is_working_day(date(2026, 1, 10))
    assert calendar.is_working_day(date(2026, 1, 2)), "the year is the file's alone"
    assert not official().is_working_day(date(2026, 1, 2))


def test_a_later_file_replaces_its_years_and_keeps_the_others() -> None:
    first = official().extended(GOOD, "a.toml")
    other = first.extended(GOOD.replace("2031", "2032").replace("2032-01-04", "2032-01-03"), "b.toml")
    assert other.years == {2031, 2032}
    assert not other.is_working_day(date(2031, 1, 1))
    again = other.extended('[[year]]\nyear = 2031\nsource = "another notice"', "c.toml")
    assert again.is_working_day(date(2031, 1, 1))
    assert not again.is_working_day(date(2031, 1, 4))
    assert not again.is_working_day(date(2032, 1, 1))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("year = [", "x.toml"),
        (GOOD.replace("days_off", "holidays"), "holidays"),
        (GOOD.replace('source = "some notice"', ""), "source"),
        (GOOD.replace('"some notice"', '""'), "year 2031: source"),
        (GOOD + GOOD, "year 2031: twice"),
        (GOOD.replace('"2031-01-01"', '"2031-13-01"'), "x.toml"),
        (GOOD.replace('"2031-01-01"', '"2030-11-30"'), "2030-11-30 is not in it"),
        (GOOD.replace('"2031-01-04"', '"2031-01-06"'), "2031-01-06 is no weekend day"),
        (GOOD.replace('"2031-01-01"', '"2031-01-04"'), "2031-01-04 is both"),
    ],
)
def test_refused_files(text: str, said: str) -> None:
    with pytest.raises(InvalidPolicy, match=r"^x\.toml: ") as refused:
        official().extended(text, "x.toml")
    assert said in str(refused.value)


def test_a_calendar_that_knows_nothing_still_counts() -> None:
    end, unknown = WorkCalendar(base=lambda _: None).end_of_working_days(Instant.parse("2026-02-13T15:00:00+08:00"), 2)
    assert end == Instant.parse("2026-02-18T00:00:00+08:00")
    assert unknown == (2026,)
