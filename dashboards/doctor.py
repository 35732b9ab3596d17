"""`liuhen doctor`: whether what the configuration needs is there, said in one line each."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Awaitable, Callable, Mapping

from domain.clock import Clock
from domain.errors import LiuhenError
from policies.workdays import WorkCalendar

_OUT_OF_STEP = 5
"""TIME_ERROR of adjtimex(2): the kernel's clock is not being kept right."""

Say = Callable[[str], None]


async def examine(
    parts: Mapping[str, Callable[[], Awaitable[object]]], calendar: WorkCalendar, clock: Clock, say: Say
) -> bool:
    """Open each part and say how that went, and what it says of itself; True when all are there.

    The clock is only warned of: many containers cannot see what keeps their host's clock right. So are working days
    that nobody knows: the notice of a year comes late in the year before.
    """
    found = [await _check(name, part, say) for name, part in parts.items()]
    _warn("clock", clock_trouble(), "kept right, says the kernel", say)
    year = clock.now().datetime().year
    _warn("calendar", calendar_trouble(calendar, year), f"working days of {year} and {year + 1} are known", say)
    return all(found)


def _warn(name: str, trouble: str, well: str, say: Say) -> None:
    say(f"{'warn' if trouble else 'ok':6}{name:11}{trouble or well}")


async def _check(name: str, part: Callable[[], Awaitable[object]], say: Say) -> bool:
    try:
        found = await part()
    except LiuhenError as error:
        say(f"{'FAULT':6}{name:11}{error}")
        return False
    say(f"{'ok':6}{name:11}{found if isinstance(found, str) else ''}".rstrip())
    return True


def calendar_trouble(calendar: WorkCalendar, year: int) -> str:
    """Say of which years, this one and the next, the working days are not known; empty when of none.

    Store-by times reach into the next year: from its first days on, and from its holiday that begins in December.
    """
    unknown = " and ".join(str(one) for one in (year, year + 1) if not calendar.knows_year(one))
    if not unknown:
        return ""
    return f"working days of {unknown} are not known, only weekends count; name the notice's file in calendar_files"


def clock_trouble() -> str:
    """Ask the kernel whether something keeps its clock right (adjtimex(2)); empty when so.

    Recordings must carry the actual time (Wucheng W-AV 第十条, 第十六条).
    """
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(1024))
    if state < 0:
        return f"cannot be asked: {os.strerror(ctypes.get_errno())}"
    return "nothing keeps it right; run chrony or systemd-timesyncd" if state == _OUT_OF_STEP else ""
