"""Rubbish on the log, then the log away, then the object store, while four feeds run undisturbed.

Nothing is lost, the rubbish is rejected with its reason, and each backlog drains by itself.

`FAULT_AWAY_S` sets for how long each, seconds.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.evidence import check_bucket, check_findings, gaps, read_trace
from tests.faults.house import BUCKET, House, Program, now_ms, write_fleet
from tests.faults.log_garbage import put_garbage, told_reasons
from tests.faults.settling import drained, wait_until
from tests.services.kafka import KafkaServer
from tests.services.minio import MinioServer
from tests.services.process import free_port

pytestmark = pytest.mark.faults

AWAY_S = float(os.environ.get("FAULT_AWAY_S", "10"))
RECORDERS = ("cam-1", "cam-2", "rec-1", "rec-2")
SEGMENT_S = 20
USUAL_LAG_S = 2 * SEGMENT_S + 5
"""The oldest second not stored is as old as a segment that is nearly done, and it takes a little to store it."""


def was_reassigned(program: Program) -> bool:
    """Did it end only because Faust did not hand over what a busy machine's rebalance left? Its supervisor's case."""
    ends = re.findall(r"^streams\.runners\.faust_app\.(\w+): ", program.log_path.read_text(errors="replace"), re.M)
    return bool(ends) and set(ends) <= {"HoleError", "StandstillError"}


@pytest.mark.timeout(300 + 4 * AWAY_S)
async def test_nothing_is_lost_while_the_log_or_the_store_is_away(
    tmp_path: Path, kafka_factory: Callable[..., KafkaServer], minio_factory: Callable[..., MinioServer]
) -> None:
    kafka, minio = kafka_factory(), minio_factory()
    minio.client().make_bucket(BUCKET, object_lock=True)
    device_port, rtsp_port = free_port(), free_port()
    script = write_fleet(tmp_path, device_port, rtsp_port)
    address = f"kafka://{kafka.bootstrap}"
    with House(tmp_path, kafka.bootstrap, minio, minio.endpoint, device_port) as house:
        ingest, console = house.programs["ingest"], house.programs["console"]

        def lag_s() -> float:
            return max(console.samples("liuhen_recorder_upload_lag_seconds"), default=0.0)

        def spooled() -> float:
            return sum(ingest.samples("liuhen_spool_bytes"))

        with Program(tmp_path / "sim", ["simulate", "--script", str(script)], {}):
            wait_until(lambda: lag_s() > 5, "four feeds run")
            put = put_garbage(kafka.bootstrap, partitions=4)
            pids = {role: program.pid for role, program in house.programs.items()}
            wait_until(lambda: told_reasons(kafka.bootstrap, 4).total() > put / 4, "rubbish is told")
            time.sleep(5)
            ended = [role for role, pid in pids.items() if house.programs[role].pid != pid]
            assert [role for role in ended if not was_reassigned(house.programs[role])] == [], "rubbish ends no process"
            counted = {role: sum(house.programs[role].samples("liuhen_rejected_total")) for role in ("ingest", "store")}
            assert min(counted.values()) > 0, counted
            before = spooled()

            kafka.kill()
            time.sleep(AWAY_S)
            full = spooled()
            assert full > before + 20_000 * AWAY_S, f"the spool holds what the log cannot take: {full} bytes"
            kafka.start()
            wait_until(lambda: spooled() < full / 10, "the spool has emptied", 60)
            wait_until(lambda: 0 < lag_s() < USUAL_LAG_S, "the store has caught up", 90)

            minio.pause()
            time.sleep(AWAY_S)
            assert lag_s() >= AWAY_S, "what is not stored grows old"
            minio.resume()
            wait_until(lambda: 0 < lag_s() < USUAL_LAG_S, "the store has caught up", 120)
            time.sleep(25)
            running = await read_trace(address)
            until_ms = now_ms() - 22_000
        trace = await drained(address, lambda trace: check_bucket(minio.client(), BUCKET, trace))
    for recorder in RECORDERS:
        assert gaps(trace.of(recorder)) == [], recorder
    check_findings(running, RECORDERS, until_ms)
