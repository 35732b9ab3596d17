"""The whole way at scale's size: five roles as processes on real Kafka and MinIO, a real Prometheus looking on.

GStreamer's server plays a camera that breaks off every ten seconds, a simulated recorder publishes over WHIP and loses
its network once. What is stored is asked of MinIO by its own client.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from minio import Minio
from minio.error import S3Error

from domain.clock import Instant
from policies.retention import retain_until
from tests.faults.house import BUCKET, TOKEN, House, Program
from tests.integration.framehash import framehash, play
from tests.services.access import reading
from tests.services.gstreamer import GstRtspServer
from tests.services.kafka import KafkaServer
from tests.services.minio import MinioServer
from tests.services.process import free_port, poll_until
from tests.services.prometheus import PrometheusServer
from tests.services.samples import Samples

RECORDERS = """
[[recorder]]
recorder_id = "cam-1"
kind = "premises_camera"
site_id = "登记大厅"
url = "{url}"

[[recorder]]
recorder_id = "rec-1"
kind = "body_worn"
token = "{token}"
"""
SCRIPT = """
system = "http://127.0.0.1:{port}"
seconds = 36
[[device]]
id = "rec-1"
kind = "body_worn"
token = "{token}"
width = 320
height = 180
gop_s = 1.0
[[device.fault]]
at_s = 12
for_s = 6
do = "pull_cable"
"""
LAG = "liuhen_recorder_upload_lag_seconds"


def items(console: httpx.Client, path: str, **parameters: str) -> list[dict[str, Any]]:
    answer = console.get(f"/api/v1/{path}", params={"limit": "1000", **parameters})
    if answer.status_code == 503:
        return []  # it is still reading the log
    found: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
    return found


def segments(console: httpx.Client, recorder: str) -> list[dict[str, Any]]:
    timelines = [
        items(console, f"sessions/{session['session_id']}/timeline", recorder=recorder)
        for session in items(console, "sessions", recorder=recorder)
    ]
    return [item["segment"] for timeline in timelines for item in timeline if item["type"] == "segment"]


def check_evidence(client: Minio, row: dict[str, Any]) -> bytes:
    """What MinIO says of an object is what the catalogue says, and it can be neither replaced unseen nor deleted."""
    key, version = row["key"], row["version_id"]
    versions = [one.version_id for one in client.list_objects(BUCKET, prefix=key, include_version=True)]
    assert versions == [version]
    lock = client.get_object_retention(BUCKET, key, version_id=version)
    assert lock is not None
    assert lock.mode == "COMPLIANCE"
    owed = retain_until(Instant.parse(row["to_at"]), row["policy"])
    assert lock.retain_until_date.timestamp() >= owed // 1000
    tags = client.get_object_tags(BUCKET, key, version_id=version)
    assert tags == {
        "retention": "minimum",
        "recorder": row["recorder_id"],
        "session": row["session_id"],
        "policy": row["policy"],
    }
    with pytest.raises(S3Error, match="WORM"):
        client.remove_object(BUCKET, key, version_id=version)
    data: bytes = client.get_object(BUCKET, key, version_id=version).read()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (row["bytes"], row["sha256"])
    return data


@pytest.mark.timeout(300)
def test_a_camera_and_a_recorder_become_evidence_on_kafka_and_minio(  # noqa: PLR0917 - fixtures
    tmp_path: Path,
    samples: Samples,
    kafka_factory: Callable[..., KafkaServer],
    minio_factory: Callable[..., MinioServer],
    gst_rtsp_factory: Callable[..., GstRtspServer],
    prometheus_factory: Callable[..., PrometheusServer],
) -> None:
    kafka, minio = kafka_factory(), minio_factory()
    minio.client().make_bucket(BUCKET, object_lock=True)
    sample = samples.get("small")
    camera = gst_rtsp_factory({"/cam": sample.pipeline().replace("config-interval=-1", "config-interval=0")})
    device_port = free_port()
    (tmp_path / "recorders.toml").write_text(RECORDERS.format(url=camera.url("/cam"), token=TOKEN), encoding="utf-8")
    (tmp_path / "script.toml").write_text(SCRIPT.format(port=device_port, token=TOKEN), encoding="utf-8")
    with House(tmp_path, kafka.bootstrap, minio, minio.endpoint, device_port) as house:
        port = house.programs["console"].port
        console = reading(f"http://127.0.0.1:{port}", house.programs["console"].directory)
        poll_until(lambda: len(items(console, "recorders")) == 2, "both are registered", 60, 0.2)
        prometheus = prometheus_factory([f"127.0.0.1:{port}"])
        with Program(tmp_path / "sim", ["simulate", "--script", str(tmp_path / "script.toml")], {}):
            check_lag(prometheus, console)
            poll_until(lambda: len(segments(console, "rec-1")) >= 2, "the recorder's footage is stored", 90, 0.5)
            poll_until(lambda: len(segments(console, "cam-1")) >= 2, "the camera's footage is stored", 60, 0.5)
            for recorder in ("cam-1", "rec-1"):
                check_gap(console, recorder)
            prometheus.wait_for(f'{LAG}{{recorder="rec-1"}} == 0', 90)  # its session is over, and all of it stored
        assert (tmp_path / "work/faust").is_dir()  # the detectors ran under Faust
        rows = {recorder: segments(console, recorder) for recorder in ("cam-1", "rec-1")}
    for recorder, found in rows.items():
        for number, row in enumerate(found):
            path = tmp_path / f"{recorder}-{number}.mp4"
            path.write_bytes(check_evidence(minio.client(), row))
            assert play(path) == ""
    kept = framehash(tmp_path / "cam-1-0.mp4")["video"].hashes()
    assert kept == framehash(sample.path)["video"].hashes()[: len(kept)]
    assert len(kept) >= 25  # one fragment at least, however near the clock was to a boundary


def check_lag(prometheus: PrometheusServer, console: httpx.Client) -> None:
    """Footage that is on its way is behind, by about what the console says, under the labels of its recorder."""
    ((labels, lag),) = prometheus.wait_for(f'{LAG}{{recorder="cam-1"}} > 3', 90)
    assert (labels["site"], labels["policy"]) == ("登记大厅", "wucheng")
    said = console.get("/api/v1/recorders/cam-1").json()["upload_lag_s"]
    assert 0 <= said < lag + 30  # it has grown, or some has been stored since


def check_gap(console: httpx.Client, recorder: str) -> None:
    """A gap has been found, with its figures and articles, and stands on the timeline of its session."""
    poll_until(
        lambda: bool(items(console, "findings", kind="recording.gap", recorder=recorder)), f"gap of {recorder}", 60, 0.5
    )
    finding = items(console, "findings", kind="recording.gap", recorder=recorder)[-1]
    assert finding["evidence"]["seconds"] > 1
    assert finding["clauses"]
    timeline = items(console, f"sessions/{finding['session_id']}/timeline", recorder=recorder)
    assert finding["id"] in {item["finding"]["id"] for item in timeline if item["type"] == "finding"}
