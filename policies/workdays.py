"""Working days by the official Chinese calendar, weekends moved to work included."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable
from datetime import date, datetime, timedelta

import chinese_calendar
import msgspec

from domain.clock import CHINA, Instant
from domain.errors import InvalidPolicy
from policies.files import read

FILE = "data/calendar.toml"

_SATURDAY = 5
_ONE_DAY = timedelta(days=1)
# New Year's holiday sometimes begins in December, and is then told by the next year's notice.
_NEW_YEAR_LEAD = (12, 26)


class Year(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The holiday notice of one year.

    Attributes:
        year: The year.
        source: The notice.
        days_off: Days off; weekends need not be named.
        workdays: Weekend days on which work is done.
    """

    year: int
    source: str
    days_off: tuple[date, ...] = ()
    workdays: tuple[date, ...] = ()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    year: tuple[Year, ...] = ()


class WorkCalendar(msgspec.Struct, frozen=True, kw_only=True):
    """Which days are working days, and which years are known.

    Attributes:
        base: Tells a working day from a day off; None for a day it knows nothing of.
        years: Further years, by number; they win over the base.
        off: Days off of those years.
        work: Weekend working days of those years.
    """

    base: Callable[[date], bool | None]
    years: frozenset[int] = frozenset()
    off: frozenset[date] = frozenset()
    work: frozenset[date] = frozenset()

    def is_working_day(self, day: date) -> bool:
        """Tell whether work is done; a day of an unknown year goes by its weekday alone."""
        if day in self.work:
            return True
        if day in self.off:
            return False
        known = None if day.year in self.years else self.base(day)
        return day.weekday() < _SATURDAY if known is None else known

    def knows(self, day: date) -> bool:
        """Tell whether the holiday notices that decide on this day are known."""
        if not self.knows_year(day.year):
            return False
        return (day.month, day.day) < _NEW_YEAR_LEAD or self.knows_year(day.year + 1)

    def knows_year(self, year: int) -> bool:
        """Tell whether the holiday notice of a year is known."""
        return year in self.years or self.base(date(year, 1, 1)) is not None

    def extended(self, text: str, where: str) -> WorkCalendar:
        """Return a calendar that also knows the years of this text; they win over those known before.

        Raises:
            InvalidPolicy: Not TOML, an unknown key, a year twice, a date outside its year, a working day that is
                no weekend day; names file and key.
        """
        try:
            years = msgspec.convert(tomllib.loads(text), _File).year
        except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            msg = f"{where}: {error}"
            raise InvalidPolicy(msg) from error
        _check(years, where)
        new = frozenset(year.year for year in years)
        off = frozenset(day for year in years for day in year.days_off)
        work = frozenset(day for year in years for day in year.workdays)
        kept_off = frozenset(day for day in self.off if day.year not in new) - work
        kept_work = frozenset(day for day in self.work if day.year not in new) - off
        return WorkCalendar(base=self.base, years=self.years | new, off=kept_off | off, work=kept_work | work)

    def end_of_days(self, start: Instant, days: int) -> Instant:
        """Return the end (24:00, China time) of the last of so many days; the day of `start` is not counted."""
        return _midnight_after(start.datetime().date() + days * _ONE_DAY)

    def end_of_working_days(self, start: Instant, days: int) -> tuple[Instant, tuple[int, ...]]:
        """Return the end (24:00, China time) of the last of so many working days; the day of `start` is not counted.

        Returns:
            The end, and the years on the way whose holidays are not known.
        """
        day = start.datetime().date()
        unknown: set[int] = set()
        while days:
            day += _ONE_DAY
            if not self.knows(day):
                unknown.add(day.year if not self.knows_year(day.year) else day.year + 1)
            days -= self.is_working_day(day)
        return _midnight_after(day), tuple(sorted(unknown))


def _midnight_after(day: date) -> Instant:
    midnight = datetime(day.year, day.month, day.day, tzinfo=CHINA) + _ONE_DAY
    return Instant.of(midnight)


def _check(years: tuple[Year, ...], where: str) -> None:
    seen: set[int] = set()
    for year in years:
        key = f"year {year.year}"
        if year.year in seen:
            raise _refused(where, key, "twice")
        seen.add(year.year)
        if not year.source:
            raise _refused(where, f"{key}: source", "missing")
        for day in (*year.days_off, *year.workdays):
            if day.year != year.year and (day.year, day.month) != (year.year - 1, 12):
                raise _refused(where, key, f"{day} is not in it, nor in the December before")
        for day in year.workdays:
            if day.weekday() < _SATURDAY:
                raise _refused(where, f"{key}: workdays", f"{day} is no weekend day")
            if day in year.days_off:
                raise _refused(where, key, f"{day} is both")


def _refused(where: str, key: str, why: str) -> InvalidPolicy:
    return InvalidPolicy(f"{where}: {key}: {why}", key)


@functools.lru_cache(maxsize=4096)
def _from_library(day: date) -> bool | None:
    # The library goes through all its years at each call; it says by this exception that it has no notice for one.
    try:
        return bool(chinese_calendar.is_workday(day))
    except NotImplementedError:
        return None


@functools.cache
def official() -> WorkCalendar:
    """Return the calendar of this package: chinesecalendar, and what ``data/calendar.toml`` adds."""
    return WorkCalendar(base=_from_library).extended(read(FILE), FILE)
