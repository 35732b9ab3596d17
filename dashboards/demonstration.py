"""What `liuhen demo` shows in the terminal: the fleet while it runs, a summary when it ends."""

from __future__ import annotations

import asyncio
from collections import Counter

from rich.console import Console
from rich.live import Live

from dashboards.projection import Fleet
from dashboards.terminal import render
from domain.clock import Clock
from storage.catalog.catalog import Catalog

SETTLE_S = 10.0
"""How long the summary waits for what is on its way into the store."""
PLAIN_EVERY_S = 10.0


async def show(fleet: Fleet, clock: Clock) -> None:
    """Show the fleet until cancelled: live on a terminal, a line now and then where there is none."""
    console = Console()
    if not console.is_terminal:
        await _show_lines(fleet, clock, console)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(render(fleet, clock.now()), refresh=True)
            await asyncio.sleep(1)


async def _show_lines(fleet: Fleet, clock: Clock, console: Console) -> None:
    while True:
        await asyncio.sleep(PLAIN_EVERY_S)
        now = clock.now()
        recorders = list(fleet.shown())
        lag_s = max((recorder.lag_ms(now) for recorder in recorders), default=0) / 1000
        found = ", ".join(f"{kind} ×{count}" for kind, count in sorted(fleet.state.findings_total.items()))
        console.print(f"{now}  {len(recorders)} recorders, lag ≤ {lag_s:.0f} s, found: {found or '–'}", highlight=False)


async def summary(fleet: Fleet, catalog: Catalog, clock: Clock) -> bool:
    """Wait a little for the store, then say what was recorded and found; True when anything was stored.

    What is found counts up to now: the cameras have just been switched off, and are about to be missed.
    """
    found = Counter(fleet.state.findings_total)
    await _settle(fleet, clock)
    console = Console()
    segments, size = 0, 0
    for recorder_id in sorted(fleet.recorders):
        page = await catalog.list_segments(recorder_id=recorder_id, limit=1000)
        segments, size = segments + len(page.items), size + sum(row.bytes for row in page.items)
    pending = sum(recorder.pending_fragments for recorder in fleet.recorders.values())
    console.print(f"\n入库 stored: {segments} segments, {size / 1e6:.1f} MB; 待存 pending: {pending} fragments")
    for kind, count in sorted(found.items()):
        console.print(f"发现 found: {kind} ×{count}", highlight=False)
    return segments > 0


async def _settle(fleet: Fleet, clock: Clock) -> None:
    until_s = clock.monotonic() + SETTLE_S
    while clock.monotonic() < until_s and any(r.pending_fragments for r in fleet.recorders.values()):  # noqa: ASYNC110
        await asyncio.sleep(0.5)
