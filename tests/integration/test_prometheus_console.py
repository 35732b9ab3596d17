"""A real Prometheus scrapes a running console, and its queries give the right numbers."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from domain.events import SegmentStored, Telemetry
from domain.registry import Registration
from tests.dashboards.feeds import SHA, Piece, finding, media_event
from tests.dashboards.serving import served
from tests.services.prometheus import PrometheusServer

LAG = 'liuhen_recorder_upload_lag_seconds{recorder="cam-1"}'


@pytest.mark.prometheus
async def test_prometheus_reads_lag_pending_and_findings(
    tmp_path: Path, prometheus_factory: Callable[..., PrometheusServer]
) -> None:
    async with served(tmp_path) as site:
        now = site.clock.now()
        piece = Piece(bytes(5000), 2.0, True)
        fragments = [
            media_event(piece, seq, now.plus(-60_000 + 2000 * seq), now, session_id="s1", feed_id="f1")
            for seq in (0, 1)
        ]
        await site.publish(
            Registration(recorder_id="cam-1", kind="premises_camera", policy="wucheng", site_id="仁和口腔"),
            Telemetry(at=now, recorder_id="cam-1", device_at=now, battery_percent=37),
            *fragments,
            finding(1),
        )
        prometheus = await asyncio.to_thread(prometheus_factory, [site.address])

        async def ask(expression: str) -> list[tuple[dict[str, str], float]]:
            return await asyncio.to_thread(prometheus.wait_for, expression)

        # Prometheus takes the lag as it was at the scrape, at most a scrape ago.
        ((labels, lag),) = await ask(LAG)
        assert 60 <= lag <= (site.clock.now() - now) / 1000 + 60
        assert (labels["site"], labels["policy"]) == ("仁和口腔", "wucheng")
        assert (await ask("liuhen_recorder_pending_bytes"))[0][1] == 10_000
        assert (await ask("liuhen_recorder_battery_ratio"))[0][1] == 0.37
        assert (await ask('liuhen_findings_open{kind="recording.stalled",severity="critical"}'))[0][1] == 1
        assert (await ask("liuhen_findings_total"))[0][1] == 1
        assert (await ask("liuhen_recorder_backlog_eta_seconds == +Inf"))[0][0]["recorder"] == "cam-1"
        assert (await ask(f"delta({LAG}[5s]) > 1"))[0][1] > 1, "it grows between scrapes, without any event"

        await site.publish(
            SegmentStored(
                at=now,
                recorder_id="cam-1",
                session_id="s1",
                from_=fragments[0].captured_at,
                to=now.plus(-56_000),
                key="k",
                version_id="",
                sha256=SHA,
                bytes=9000,
            )
        )
        assert await ask(f"{LAG} == 0")
        assert await ask("liuhen_recorder_completeness_ratio == 1")
        retired = Registration(recorder_id="cam-1", kind="premises_camera", policy="wucheng", state="retired")
        await site.publish(retired)
        assert await ask(f"absent({LAG})")
