"""Each service of the tests starts, answers, and keeps its data over a kill and a restart."""

import io
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import httpx
import psutil
import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.services.browser import Browser
from tests.services.cache import ServiceMissingError
from tests.services.gstreamer import GstRtspServer
from tests.services.kafka import KafkaServer
from tests.services.minio import MinioServer
from tests.services.postgres import PostgresServer
from tests.services.process import free_port, poll_until
from tests.services.prometheus import PrometheusServer
from tests.services.samples import RECIPES, Sample, Samples
from tests.services.toxiproxy import ToxiproxyServer

_LARGEST_RECORD_BYTES = 8 * 1024 * 1024


def _produce(kafka: KafkaServer, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "acks": "all", "message.max.bytes": 9 * 1024 * 1024})
    failures: list[object] = []
    producer.produce(topic, value, headers={"schema": b"1"}, on_delivery=lambda error, _: failures.append(error))
    producer.flush(30)
    assert failures == [None]


def _first_record(kafka: KafkaServer, topic: str) -> bytes | None:
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": uuid.uuid4().hex})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        message = consumer.poll(30)
        assert message is not None
        assert message.error() is None
        return message.value()
    finally:
        consumer.close()


def test_kafka_takes_records_of_8_mib(kafka: KafkaServer) -> None:
    kafka.create_topic("large", 3)
    assert kafka.topics()["large"] == 3
    kafka.create_topic("large-one")
    _produce(kafka, "large-one", bytes(_LARGEST_RECORD_BYTES))
    assert _first_record(kafka, "large-one") == bytes(_LARGEST_RECORD_BYTES)


def test_kafka_keeps_its_log_over_a_kill(kafka_factory: Callable[..., KafkaServer]) -> None:
    kafka = kafka_factory()
    kafka.create_topic("kept")
    _produce(kafka, "kept", b"before the kill")
    kafka.kill()
    assert not kafka.alive
    kafka.start()
    with kafka.paused():
        assert kafka.alive
    assert _first_record(kafka, "kept") == b"before the kill"


def test_minio_keeps_its_objects_over_a_kill(minio_factory: Callable[[], MinioServer]) -> None:
    minio = minio_factory()
    client = minio.client()
    client.make_bucket("kept", object_lock=True)
    client.put_object("kept", "a", io.BytesIO(b"evidence"), 8)
    minio.kill()
    minio.start()
    answer = client.get_object("kept", "a")
    try:
        assert answer.data == b"evidence"
    finally:
        answer.close()
        answer.release_conn()


def test_shared_minio_answers(minio: MinioServer) -> None:
    minio.client().make_bucket("services")
    assert minio.client().bucket_exists("services")


@pytest.mark.postgres
def test_postgres_keeps_its_rows_over_a_kill() -> None:
    with PostgresServer() as server:
        address = server.create_database("kept").replace("+psycopg", "")
        with psycopg.connect(address) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        server.kill()
        server.start()
        with psycopg.connect(address) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


def test_shared_postgres_gives_a_database(postgres: PostgresServer) -> None:
    with psycopg.connect(postgres.create_database("services").replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("services",)


def test_toxiproxy_cuts_and_heals(minio: MinioServer, toxiproxy: ToxiproxyServer) -> None:
    proxy = toxiproxy.add("services-minio", minio.endpoint)
    health = f"http://{proxy.address}/minio/health/live"
    assert httpx.get(health).is_success
    proxy.disable()
    with pytest.raises(httpx.TransportError):
        httpx.get(health)
    proxy.heal()
    proxy.black_hole()
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(health, timeout=0.5)
    proxy.heal()
    assert httpx.get(health).is_success
    proxy.remove()


def test_kafka_clients_stay_behind_their_proxy(kafka: KafkaServer, toxiproxy: ToxiproxyServer) -> None:
    proxy = toxiproxy.add("services-kafka", kafka.proxied_upstream, kafka.proxied_bootstrap)
    brokers = (
        AdminClient({"bootstrap.servers": kafka.proxied_bootstrap, "log_level": 0}).list_topics(timeout=20).brokers
    )
    assert [f"{broker.host}:{broker.port}" for broker in brokers.values()] == [kafka.proxied_bootstrap]
    proxy.remove()


def test_prometheus_sees_a_target_that_is_down(prometheus_factory: Callable[..., PrometheusServer]) -> None:
    dead = f"127.0.0.1:{free_port()}"
    prometheus = prometheus_factory([dead])
    assert prometheus.wait_for("up == 0") == [
        ({"__name__": "up", "instance": dead, "job": "liuhen"}, 0.0),
    ]
    assert prometheus.targets() == {dead: "down"}


def _probe(url: str) -> set[str]:
    shown = subprocess.run(
        [
            "ffprobe",
            "-v",
            "error",
            "-rtsp_transport",
            "tcp",
            "-show_entries",
            "stream=codec_name",
            "-of",
            "csv=p=0",
            url,
        ],
        capture_output=True,
        text=True,
        timeout=30,
    )
    return set(shown.stdout.split()) or {shown.stderr.strip()}


_FFMPEG_NAMES = {"h265": "hevc", "alaw": "pcm_alaw", "mulaw": "pcm_mulaw"}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_gstreamer_plays_every_sample(gst_rtsp: GstRtspServer, name: str) -> None:
    recipe = RECIPES[name]
    codecs = [codec for codec in (recipe.video, recipe.audio) if codec]
    assert _probe(gst_rtsp.url(f"/{name}")) == {_FFMPEG_NAMES.get(codec, codec) for codec in codecs}


@pytest.mark.parametrize("method", ["basic", "digest"])
def test_gstreamer_asks_who_is_there(
    gst_rtsp_factory: Callable[..., GstRtspServer], samples: Samples, method: str
) -> None:
    server = gst_rtsp_factory({"/cam": samples.get("silent").pipeline()}, auth=method)
    assert "401" in _probe(server.url("/cam")).pop()
    login = f"rtsp://{server.username}:{quote(server.password, safe='')}@"
    assert _probe(server.url("/cam").replace("rtsp://", login)) == {"h264"}


def test_samples_are_what_they_say(samples: Samples) -> None:
    bframes = _frames(samples.get("bframes"))
    assert "B" in bframes
    assert "B" not in _frames(samples.get("small"))
    assert _frames(samples.get("long-gop")).count("I") == 3
    assert 125 < len(_frames(samples.get("irregular"))) < 245


def _frames(sample: Sample) -> str:
    shown = subprocess.run(
        [
            "ffprobe",
            "-v",
            "error",
            "-select_streams",
            "v",
            "-show_entries",
            "frame=pict_type",
            "-of",
            "csv=p=0",
            sample.path,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return "".join(line[0] for line in shown.stdout.split())


def test_browser_has_a_camera_and_runs_scripts(browser: Browser, tmp_path: Path) -> None:
    browser.driver.get("data:text/html,<title>here</title>")
    assert browser.driver.title == "here"
    assert browser.screenshot(tmp_path / "window.png").read_bytes().startswith(b"\x89PNG")
    assert browser.driver.execute_script(
        "return document.createElement('video').canPlayType('video/mp4; codecs=avc1.64001f')"
    )


@pytest.mark.faults
def test_nothing_outlives_a_run_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from tests.services.toxiproxy import ToxiproxyServer\n"
        "server = ToxiproxyServer(Path(sys.argv[1])).start(); print(server.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        server = int(run.stdout.readline())
        assert psutil.pid_exists(server)
        run.kill()
    poll_until(
        lambda: not psutil.pid_exists(server) or psutil.Process(server).status() == "zombie", "the server is gone"
    )


def test_a_missing_service_says_how_to_fetch_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIUHEN_CACHE", str(tmp_path))
    with pytest.raises(ServiceMissingError, match="make services"):
        MinioServer(tmp_path).start()
