"""What processes take: CPU time and memory of whole families, as Linux counts them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_MEMORY_LOOKS = 10
"""What a single look finds depends on how many segments happen to end just then."""


class Reading(NamedTuple):
    """What a family of processes took over a window.

    Attributes:
        cpu_s: User and system time, children that ended meanwhile included.
        wall_s: Length of the window.
        pss_bytes: Proportional set size, shared pages counted once among those who share them: mean over the window.
    """

    cpu_s: float
    wall_s: float
    pss_bytes: int

    def per_stream(self, streams: int) -> float:
        """CPU-seconds for each second of each stream."""
        return self.cpu_s / self.wall_s / streams


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    members = [pid]
    for member in members:
        with suppress(OSError):
            for task in os.listdir(f"/proc/{member}/task"):
                with open(f"/proc/{member}/task/{task}/children") as children:
                    members += [int(child) for child in children.read().split()]
    return members


def cpu_s(pids: Sequence[int]) -> float:
    """User and system time so far of these processes and their ended children, seconds."""
    total = 0
    for pid in pids:
        with suppress(OSError), open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    return total / _TICKS_PER_S


def pss_bytes(pids: Sequence[int]) -> int:
    """Proportional set size of these processes together."""
    total = 0
    for pid in pids:
        with suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as rollup:
            total += sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    return total * 1024


def measure(
    families: Mapping[str, Sequence[int]], window_s: float, at_end: Callable[[], None] | None = None
) -> dict[str, Reading]:
    """Watch families of processes, each given by its eldest, for a while.

    Args:
        families: Process ids by name; descendants count.
        window_s: How long.
        at_end: Called once the window is over.
    """

    def members(name: str) -> list[int]:
        return [member for pid in families[name] for member in family(pid)]

    before = {name: cpu_s(members(name)) for name in families}
    began_s = time.monotonic()
    memory: dict[str, list[int]] = {name: [] for name in families}
    for look in range(_MEMORY_LOOKS):
        time.sleep(max(0.0, began_s + window_s * (look + 1) / _MEMORY_LOOKS - time.monotonic()))
        for name in families:
            memory[name].append(pss_bytes(members(name)))
    after = {name: cpu_s(members(name)) for name in families}
    wall_s = time.monotonic() - began_s
    if at_end is not None:
        at_end()
    return {name: Reading(after[name] - before[name], wall_s, sum(memory[name]) // _MEMORY_LOOKS) for name in families}


def threads_cpu_s(pid: int) -> dict[str, float]:
    """CPU time so far by thread name: where in a process the time goes."""
    times: dict[str, float] = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        with suppress(OSError), open(f"/proc/{pid}/task/{task}/stat") as stat:
            head, _, tail = stat.read().rpartition(")")
            fields = tail.split()
            name = head.partition("(")[2]
            times[name] = times.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    return times
