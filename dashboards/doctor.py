"""`liuhen doctor`: whether what the configuration needs is there, said in one line each."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Awaitable, Callable, Mapping

from domain.errors import LiuhenError

_OUT_OF_STEP = 5
"""TIME_ERROR of adjtimex(2): the kernel's clock is not being kept right."""

Say = Callable[[str], None]


async def examine(parts: Mapping[str, Callable[[], Awaitable[object]]], say: Say) -> bool:
    """Open each part and say how that went; True when all are there.

    The clock is only warned of: many containers cannot see what keeps their host's clock right.
    """
    found = [await _check(name, part, say) for name, part in parts.items()]
    trouble = clock_trouble()
    say(f"{'warn' if trouble else 'ok':6}{'clock':11}{trouble or 'kept right, says the kernel'}")
    return all(found)


async def _check(name: str, part: Callable[[], Awaitable[object]], say: Say) -> bool:
    try:
        await part()
    except LiuhenError as error:
        say(f"{'FAULT':6}{name:11}{error}")
        return False
    say(f"{'ok':6}{name}")
    return True


def clock_trouble() -> str:
    """Ask the kernel whether something keeps its clock right (adjtimex(2)); empty when so.

    Recordings must carry the actual time (Wucheng W-AV 第十条, 第十六条).
    """
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(1024))
    if state < 0:
        return f"cannot be asked: {os.strerror(ctypes.get_errno())}"
    return "nothing keeps it right; run chrony or systemd-timesyncd" if state == _OUT_OF_STEP else ""
