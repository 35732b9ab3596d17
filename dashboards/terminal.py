"""The fleet as a table in a terminal, for the demonstration and for a person without a browser."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group
from rich.table import Table
from rich.text import Text

from dashboards.projection import Fleet
from dashboards.recorder import OpenFinding
from dashboards.view import Condition, RecorderView, worst_first
from domain.clock import Instant

MAX_ROWS = 20

_SIGN: dict[Condition, tuple[str, str]] = {
    "critical": ("✖ 严重", "bold red"),
    "warning": ("▲ 警告", "yellow"),
    "notice": ("● 提示", "cyan"),
    "recording": ("● 录制", "green"),
    "idle": ("○ 空闲", "dim"),
    "off": ("– 停用", "dim"),
}


def render(fleet: Fleet, now: Instant) -> Group:
    """Return the recorders, worst first, and what is open on them."""
    views = worst_first(fleet.shown(), now, MAX_ROWS)
    table = Table(title=f"留痕 {now.datetime():%Y-%m-%d %H:%M:%S}", expand=False)
    for name in ("", "记录设备", "上传滞后", "待存", "最近画面", "电量", "未结发现"):
        table.add_column(name, justify="left" if name in {"", "记录设备", "未结发现"} else "right")
    for view in views:
        table.add_row(*_row(view, fleet.recorders[view.recorder_id].findings.values(), now))
    return Group(table)


def _row(view: RecorderView, findings: Iterable[OpenFinding], now: Instant) -> tuple[Text | str, ...]:
    word, style = _SIGN[view.condition]
    said = list(findings)
    return (
        Text(word, style=style),
        Text(view.recorder_id),
        f"{view.upload_lag_s:.0f} s",
        f"{view.pending_bytes / 1e6:.1f} MB",
        "–" if view.last_media_at is None else f"{max(0, now - view.last_media_at) / 1000:.0f} s",
        "–" if view.battery_ratio is None else f"{view.battery_ratio:.0%}",
        Text("; ".join(f"{f.kind}({f.cause})" if f.cause else f.kind for f in said[-3:])),
    )
