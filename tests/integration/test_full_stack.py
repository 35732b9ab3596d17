"""The stack of docker/compose.yaml, its very commands, environments and files as plain processes, the whole way.

Kafka, MinIO, PostgreSQL (catalogue, ledger and office), Prometheus, Alertmanager and every role of Liuhen; a camera and
a recorder. Not started are Grafana and the gateway, which are not to be had without an engine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from minio import Minio
from minio.error import S3Error

from house.running import ROLES
from tests.faults.house import Keeper, Program
from tests.services.access import reading
from tests.services.compose import Stack, StackPostgres, token
from tests.services.gstreamer import GstRtspServer
from tests.services.process import poll_until
from tests.services.samples import Samples

NOT_HERE = {"grafana", "gateway"}
ON = ("kafka", "minio", "postgres")
AFTER = ("prometheus", "alertmanager")
QUICK = {"_interval: 15s": "_interval: 1s", "scrape_timeout: 10s": "scrape_timeout: 1s", "_wait: 10s": "_wait: 1s"}
MORE = {"LIUHEN_SEGMENT_S": "10", "LIUHEN_WATCH_EVERY_S": "2", "LIUHEN_CHECKPOINT_S": "5"}
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
system = "{url}"
seconds = 24
[[device]]
id = "rec-1"
kind = "body_worn"
token = "{token}"
width = 320
height = 180
gop_s = 1.0
[[device.fault]]
at_s = 8
for_s = 5
do = "pull_cable"
"""


class Running:
    """The stack, all started."""

    def __init__(self, folder: Path, camera_url: str, started: ExitStack) -> None:
        self.stack = Stack(folder, QUICK, MORE)
        self.token = token()
        recorders = self.stack.secrets / "recorders.toml"
        recorders.unlink()
        recorders.write_text(RECORDERS.format(url=camera_url, token=self.token), encoding="utf-8")
        self.processes = {name: self.stack.process(name) for name in (*ON, *ROLES, *AFTER)}
        for server in self.processes.values():
            started.callback(server.stop)
        self._start(*ON)
        for _ in range(2):  # again it changes nothing
            done = self.stack.run_once("bucket")
            assert done.returncode == 0, done.stderr
        self._start(*ROLES, *AFTER)
        started.enter_context(Keeper([self.processes[name] for name in ROLES]))  # restart: unless-stopped
        office = self.stack.environment("console")["LIUHEN_OFFICE"]
        self.console = started.enter_context(reading(self.stack.url("console"), office))

    def _start(self, *names: str) -> None:
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(lambda name: self.processes[name].start(), names))

    def items(self, path: str, **parameters: str) -> list[dict[str, Any]]:
        answer = self.console.get(f"/api/v1/{path}", params={"limit": "1000", **parameters})
        if answer.status_code == 503:
            return []  # it is still reading the log
        found: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
        return found

    def segments(self, recorder: str) -> list[dict[str, Any]]:
        timelines = [
            self.items(f"sessions/{session['session_id']}/timeline", recorder=recorder)
            for session in self.items("sessions", recorder=recorder)
        ]
        return [item["segment"] for timeline in timelines for item in timeline if item["type"] == "segment"]

    def rows(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """Ask PostgreSQL itself."""
        server = self.processes["postgres"]
        assert isinstance(server, StackPostgres)
        with psycopg.connect(server.url(database).replace("+psycopg", "")) as connection:
            return connection.execute(query.encode()).fetchall()

    def prometheus(self, path: str, **parameters: str) -> Any:
        answer = httpx.get(f"{self.stack.url('prometheus', 9090)}/api/v1/{path}", params=parameters, timeout=10)
        return answer.raise_for_status().json()["data"]


@pytest.fixture
def running(tmp_path: Path, samples: Samples, gst_rtsp_factory: Callable[..., GstRtspServer]) -> Iterator[Running]:
    pipeline = samples.get("small").pipeline().replace("config-interval=-1", "config-interval=0")
    camera = gst_rtsp_factory({"/cam": pipeline})
    with ExitStack() as started:
        yield Running(tmp_path / "stack", camera.url("/cam"), started)


@pytest.mark.kafka
@pytest.mark.minio
@pytest.mark.postgres
@pytest.mark.prometheus
@pytest.mark.timeout(420)
def test_the_stack_as_composed_keeps_what_a_camera_and_a_recorder_send(running: Running, tmp_path: Path) -> None:
    assert set(running.stack.services) == {*running.processes, *NOT_HERE, "bucket"}
    script = tmp_path / "script.toml"
    script.write_text(SCRIPT.format(url=running.stack.url("ingest"), token=running.token), encoding="utf-8")
    with Program(tmp_path / "sim", ["simulate", "--script", str(script)], {}):
        check_who_looks_after_it(running)
        check_alert(running)
        poll_until(lambda: bool(running.segments("cam-1")), "the camera's footage is stored", 90, 0.5)
        poll_until(lambda: bool(running.segments("rec-1")), "the recorder's footage is stored", 90, 0.5)
        gaps = {"kind": "recording.gap", "recorder": "rec-1"}
        poll_until(lambda: bool(running.items("findings", **gaps)), "the gap is found", 60, 0.5)
    check_evidence(running)
    check_databases(running)
    check_databases_come_back(running)
    check_commands(running, tmp_path)


def check_who_looks_after_it(running: Running) -> None:
    """Prometheus scrapes everybody, its rules are loaded, and its alerts come by Alertmanager to the watch."""
    here = {f"127.0.0.1:{running.stack.port(name, 8600)}" for name in ROLES}

    def up() -> set[str]:
        active = running.prometheus("targets")["activeTargets"]
        return {one["labels"]["instance"] for one in active if one["health"] == "up"}

    poll_until(lambda: here <= up(), "Prometheus scrapes every role", 60, 0.5)
    groups = {group["name"] for group in running.prometheus("rules")["groups"]}
    assert {"liuhen-recording", "liuhen-pipeline", "liuhen-watchdog"} <= groups
    beat = "liuhen_watch_beat_timestamp_seconds > 0"
    poll_until(lambda: bool(running.prometheus("query", query=beat)["result"]), "the watch gets the alert", 60, 0.5)
    bearer = {"Authorization": f"Bearer {running.stack.secret('webhook_token')}"}

    def ill() -> dict[str, str]:
        seen = httpx.get(f"{running.stack.url('watch')}/watch", headers=bearer, timeout=10).raise_for_status().json()
        return {one["name"]: one.get("fault", "") for one in seen["targets"] if one["condition"] != "well"}

    poll_until(lambda: not ill(), "the watch finds everybody well", 60, 0.5)
    assert httpx.get(f"{running.stack.url('watch')}/watch", timeout=10).status_code == 401

    def banner() -> list[str]:
        return re.findall(r"<p>(.*?)</p>", running.console.get("/watch").raise_for_status().text)

    poll_until(lambda: banner() == [], "the console's banner has nothing to say", 60, 0.5)


def check_alert(running: Running) -> None:
    """An alert of Prometheus' kind, given to Alertmanager, stands in the list that people look at."""
    alert = {"labels": {"alertname": "LiuhenSpoolGrowing", "severity": "warning", "owner": "operator"}}
    url = f"{running.stack.url('alertmanager', 9093)}/api/v2/alerts"
    httpx.post(url, json=[alert], timeout=10).raise_for_status()

    def listed() -> bool:
        return any("LiuhenSpoolGrowing" in json.dumps(one) for one in running.items("alerts"))

    poll_until(listed, "the alert is in the list", 60, 0.5)


def check_evidence(running: Running) -> None:
    """Every object is locked, in one version, and Liuhen's own user cannot take the lock away."""
    client = evidence_of(running)
    for row in running.segments("rec-1") + running.segments("cam-1"):
        key, version = row["key"], row["version_id"]
        assert [one.version_id for one in client.list_objects("evidence", key, include_version=True)] == [version]
        lock = client.get_object_retention("evidence", key, version_id=version)
        assert lock is not None
        assert lock.mode == "COMPLIANCE"
        with pytest.raises(S3Error, match="WORM"):
            client.remove_object("evidence", key, version_id=version)
    with pytest.raises(S3Error, match="Denied"):
        client.make_bucket("another")


def check_databases(running: Running) -> None:
    """Catalogue and ledger are PostgreSQL's, and say the same of every segment."""
    stored = {key for (key,) in running.rows("catalog", "SELECT key FROM segments")}
    assert len(stored) >= 2

    def attested() -> set[str]:
        lines = running.rows("ledger", "SELECT line FROM ledger_entries WHERE kind = 'segment'")
        return {json.loads(bytes(line))["body"]["key"] for (line,) in lines}

    poll_until(lambda: stored <= attested(), "the ledger has every segment", 30, 0.5)
    signed = "SELECT max(size) FROM ledger_checkpoints"
    poll_until(lambda: bool(running.rows("ledger", signed)[0][0]), "the ledger is signed", 90, 0.5)
    assert running.rows("ledger", "SELECT count(*) FROM ledger_entries WHERE kind = 'gap'")[0][0] >= 1
    (key_holder,) = [path for path in running.stack.folder.rglob("ledger.key") if path.is_file()]
    assert key_holder.parent.name == "ledger-key"


def check_databases_come_back(running: Running) -> None:
    """kill -9 of PostgreSQL: recording goes on, and what came meanwhile is in catalogue and ledger afterwards."""
    before = {key for (key,) in running.rows("catalog", "SELECT key FROM segments")}
    server = running.processes["postgres"]
    server.kill()
    server.start()
    count = "SELECT count(*) FROM segments WHERE recorder_id = 'cam-1'"
    then = running.rows("catalog", count)[0][0]
    poll_until(lambda: running.rows("catalog", count)[0][0] > then, "the camera's next segments are stored", 90, 0.5)
    assert before < {key for (key,) in running.rows("catalog", "SELECT key FROM segments")}
    check_databases(running)
    assert running.items("sessions", recorder="cam-1")


def check_commands(running: Running, folder: Path) -> None:
    """What people do by hand, against PostgreSQL and the object store."""
    session = running.items("sessions", recorder="rec-1")[0]["session_id"]
    who = ("--by", "李四")
    one = ("--recorder", "rec-1", "--session", session, *who, "--reason", "当事人投诉")
    out = ("--out", str(folder / "package"))
    for command in (
        ("doctor",),
        ("hold", "set", *one),
        ("hold", "list", "--recorder", "rec-1"),
        ("retention", "due"),
        ("export", "--session", f"rec-1/{session}", *out, *who, "--approved-by", "张三"),
        ("verify",),
    ):
        done = running.stack.run_once("custody", *command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    done = running.stack.run_once("console", "doctor")
    assert (done.returncode, " watched, not well: " in done.stdout) == (0, True), done.stdout
    client = evidence_of(running)
    held = [(row["key"], row["version_id"]) for row in running.segments("rec-1")]
    poll_until(
        lambda: all(client.is_object_legal_hold_enabled("evidence", key, version) for key, version in held),
        "the hold is on every object",
        30,
        0.5,
    )


def evidence_of(running: Running) -> Minio:
    """The object store, as Liuhen's own user sees it."""
    port = running.stack.port("minio", 9000)
    return Minio(f"127.0.0.1:{port}", "liuhen", running.stack.secret("store"), secure=False)
