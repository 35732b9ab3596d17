"""Boards of Grafana as code. ``python -m dashboards.boards DIR`` writes them as JSON.

The only module that imports grafana-foundation-sdk, and nothing imports this one: the JSON is what is shipped.
"""

from __future__ import annotations

import sys
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.timeseries import Panel
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef

SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")

Query = tuple[str, str, str, str]
"""Title, unit of Grafana, PromQL, legend."""

_OF_ONE = 'recorder="$recorder"'

BOARDS: dict[str, tuple[str, tuple[Query, ...]]] = {
    "fleet": (
        "留痕 设备总览 Fleet",
        (
            ("设备数 Recorders", "short", "count(liuhen:recorder_upload_lag_seconds:max)", ""),
            ("最大滞后 Greatest lag", "s", "max by (site) (liuhen:recorder_upload_lag_seconds:max)", "{{site}}"),
            ("待入库 Pending", "bytes", "sum by (site) (liuhen:recorder_pending_bytes:max)", "{{site}}"),
            (
                "最低入库率 Completeness",
                "percentunit",
                "min by (site) (liuhen:recorder_completeness_ratio:min)",
                "{{site}}",
            ),
            ("未了结的发现 Open findings", "short", "liuhen:findings_open:max", "{{kind}} {{severity}}"),
            ("发现 Findings", "short", "sum by (kind) (liuhen_findings_total)", "{{kind}}"),
        ),
    ),
    "recorder": (
        "留痕 单台设备 One recorder",
        (
            ("滞后 Lag", "s", f"liuhen:recorder_upload_lag_seconds:max{{{_OF_ONE}}}", ""),
            ("待入库 Pending", "bytes", f"liuhen:recorder_pending_bytes:max{{{_OF_ONE}}}", ""),
            ("还需 ETA", "s", f"max(liuhen_recorder_backlog_eta_seconds{{{_OF_ONE}}})", ""),
            (
                "媒体距今 Since media",
                "s",
                f"time() - max(liuhen_recorder_last_media_timestamp_seconds{{{_OF_ONE}}})",
                "",
            ),
            (
                "遥测距今 Since telemetry",
                "s",
                f"time() - max(liuhen_recorder_last_telemetry_timestamp_seconds{{{_OF_ONE}}})",
                "",
            ),
            ("电量 Battery", "percentunit", f"max(liuhen_recorder_battery_ratio{{{_OF_ONE}}})", ""),
            ("卡剩余 Card free", "percentunit", f"max(liuhen_recorder_storage_free_ratio{{{_OF_ONE}}})", ""),
            ("时钟偏差 Clock", "s", f"max(liuhen_recorder_clock_offset_seconds{{{_OF_ONE}}})", ""),
            ("入库率 Completeness", "percentunit", f"liuhen:recorder_completeness_ratio:min{{{_OF_ONE}}}", ""),
        ),
    ),
    "pipeline": (
        "留痕 流水线 Pipeline",
        (
            ("收到 Taken in", "Bps", "liuhen:media_bytes:rate5m", "{{path}}"),
            ("入库 Stored", "Bps", "liuhen:segment_bytes_stored:rate5m", ""),
            ("各段 95% 用时 Stages, p95", "s", "liuhen:stage_seconds:p95", "{{stage}}"),
            ("本地暂存 Spool", "bytes", "sum(liuhen_spool_bytes)", ""),
            ("待写存储 Waiting for the store", "bytes", "sum(liuhen_store_waiting_bytes)", ""),
            ("存储落后 Store lag", "s", "max(liuhen_store_lag_seconds)", ""),
            ("检测 Events", "short", "sum(rate(liuhen_detect_events_total[1m]))", ""),
            ("账本 Ledger entries", "short", "max(liuhen_ledger_entries)", ""),
            ("在线 Up", "short", 'up{job=~"liuhen.*"}', "{{job}} {{instance}}"),
        ),
    ),
    "deadlines": (
        "留痕 存储期限 Deadlines",
        (
            ("滞后最大的设备 Greatest lag", "s", "topk(20, liuhen:recorder_upload_lag_seconds:max)", "{{recorder}}"),
            ("剩余时间最少 Least time left", "s", "bottomk(20, liuhen:recorder_slack_seconds:min)", "{{recorder}}"),
            ("待入库最多 Most pending", "bytes", "topk(20, liuhen:recorder_pending_bytes:max)", "{{recorder}}"),
            (
                "入库率最低 Least complete",
                "percentunit",
                "bottomk(20, liuhen:recorder_completeness_ratio:min)",
                "{{recorder}}",
            ),
        ),
    ),
}


def _panel(query: Query) -> Panel:
    title, unit, expression, legend = query
    target = Dataquery().expr(expression).legend_format(legend or title).ref_id("A").datasource(SOURCE)
    return Panel().title(title).unit(unit).datasource(SOURCE).height(8).span(8).with_target(target)


def render(name: str) -> str:
    """Return one board's JSON text, the same bytes each time."""
    title, queries = BOARDS[name]
    board = Dashboard(title).uid(f"liuhen-{name}").tags(["liuhen"]).time("now-6h", "now").refresh("30s").readonly()
    board = board.with_variable(DatasourceVariable("source").type("prometheus"))
    if name == "recorder":
        values = "label_values(liuhen_recorder_upload_lag_seconds, recorder)"
        board = board.with_variable(QueryVariable("recorder").datasource(SOURCE).query(values))
    for query in queries:
        board = board.with_panel(_panel(query))
    return JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(board.build()) + "\n"


def main(arguments: list[str]) -> int:
    """Write every board into a directory."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m dashboards.boards DIR\n")
        return 2
    for name in BOARDS:
        (Path(arguments[0]) / f"{name}.json").write_text(render(name), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
