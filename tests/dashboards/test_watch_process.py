"""The watch with real sockets: it looks, remembers, and tells people through Apprise."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import msgspec
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge
from starlette.applications import Starlette

from dashboards.health import health_router
from dashboards.watch.routes import watch_router
from dashboards.watch.seen import Seen
from dashboards.watch.sending import Sender
from dashboards.watch.targets import targets_of
from dashboards.watch.telling import Message
from dashboards.watch.watch import Watch
from domain.clock import Instant, ManualClock
from domain.errors import InvalidSettings, Unavailable
from domain.settings import Settings

T0 = Instant.parse("2026-05-04T08:00:00+08:00")


class Stub:
    """An HTTP server whose answers are set by path; posts are kept."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str]] = {}
        self.posted: list[bytes] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, text = stub.answers.get(self.path.partition("?")[0], (404, "no such page"))
                self._answer(status, text)

            def do_POST(self) -> None:
                stub.posted.append(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer(*stub.answers.get(self.path, (200, "")))

            def _answer(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def stub() -> Iterator[Stub]:
    server = Stub()
    yield server
    server.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(T0)


def healthy(stub: Stub, turns: int) -> None:
    stub.answers |= {
        "/healthz": (200, "ok\n"),
        "/readyz": (200, "ok\n"),
        "/metrics": (200, f'liuhen_progress_total{{reader="store"}} {turns}.0\nprocess_start_time_seconds 1.5e+09\n'),
    }


def a_watch(setting: str, clock: ManualClock, folder: Path, sender: Sender | None = None) -> Watch:
    targets = targets_of(Settings(watch=setting))
    return Watch(targets, clock, every_s=10, after_s=60, memory=folder / "watch.json", sender=sender)


async def rounds(watch: Watch, clock: ManualClock, count: int) -> None:
    for _ in range(count):
        await watch.round()
        clock.advance(10)


@pytest.fixture
def sender(stub: Stub, tmp_path: Path) -> Sender:
    file = tmp_path / "ways"
    file.write_text(f"# the duty phone\n\njson://{stub.address}/notify\n")
    return Sender(str(file))


async def test_a_death_is_seen_told_once_and_so_is_the_return(
    stub: Stub, clock: ManualClock, tmp_path: Path, sender: Sender
) -> None:
    healthy(stub, 1)
    watch = a_watch(f"store=http://{stub.address}", clock, tmp_path, sender)
    await rounds(watch, clock, 2)
    assert watch.view.is_well
    stub.answers["/healthz"] = (503, "detect: a hole in the log\n")
    await rounds(watch, clock, 5)
    (dead,) = watch.view.ill
    assert (dead.fault, dead.detail, dead.since) == ("trouble", "503 detect: a hole in the log", T0.plus(20_000))
    assert len(stub.posted) == 1
    assert "store 报告自身故障" in json.loads(stub.posted[0])["message"]
    await watch.close()
    watch = a_watch(f"store=http://{stub.address}", clock, tmp_path, sender)  # restarted: it remembers
    await rounds(watch, clock, 4)
    assert watch.view.ill[0].since == T0.plus(20_000)
    assert len(stub.posted) == 1
    for turns in range(2, 5):
        healthy(stub, turns)
        await rounds(watch, clock, 1)
    assert watch.view.is_well
    assert len(stub.posted) == 2
    assert "store 已恢复" in json.loads(stub.posted[1])["message"]
    await watch.close()


async def test_who_answers_and_stands_is_seen(stub: Stub, clock: ManualClock, tmp_path: Path) -> None:
    healthy(stub, 7)
    watch = a_watch(f"store=http://{stub.address}", clock, tmp_path)
    await rounds(watch, clock, 9)
    assert [(one.fault, one.detail, one.since) for one in watch.view.ill] == [("standing", "store", T0)]
    await watch.close()


async def test_prometheus_that_evaluates_no_rules_is_seen(stub: Stub, clock: ManualClock, tmp_path: Path) -> None:
    answer = '{"status":"success","data":{"resultType":"vector","result":[%s]}}'
    stub.answers |= {"/-/healthy": (200, ""), "/-/ready": (200, ""), "/api/v1/query": (200, answer % "")}
    watch = a_watch(f"prometheus=http://{stub.address}", clock, tmp_path)
    await rounds(watch, clock, 9)
    assert [(one.fault, one.kind) for one in watch.view.ill] == [("standing", "prometheus")]
    for second in range(3):
        stub.answers["/api/v1/query"] = (200, answer % f'{{"metric":{{}},"value":[1,"17000000{second}.5"]}}')
        await rounds(watch, clock, 1)
    assert watch.view.is_well
    stub.answers["/api/v1/query"] = (200, '{"data": {"result": 3}}')
    await rounds(watch, clock, 3)
    assert watch.view.ill[0].fault == "silent"  # whoever answers there, it is not Prometheus
    await watch.close()


async def test_what_was_not_sent_is_tried_again_and_said(
    stub: Stub, clock: ManualClock, tmp_path: Path, sender: Sender
) -> None:
    stub.answers["/notify"] = (500, "no")
    watch = a_watch("store=http://127.0.0.1:1", clock, tmp_path, sender)
    await rounds(watch, clock, 4)
    assert "watch_notify_file" in watch.view.telling
    tries = len(stub.posted)
    assert tries >= 2
    stub.answers["/notify"] = (200, "")
    await rounds(watch, clock, 3)
    assert (watch.view.telling, len(stub.posted)) == ("", tries + 1)
    await watch.close()


class Heard(logging.Handler):
    """What comes to the process's own log; pytest's fixture listens to loggers that do not pass on, too."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += record.getMessage()


async def test_a_way_that_cannot_be_used_is_named_by_its_line(
    tmp_path: Path, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    heard = Heard()
    logging.getLogger().addHandler(heard)
    request.addfinalizer(lambda: logging.getLogger().removeHandler(heard))
    file = tmp_path / "ways"
    for content, named in [("json://h/\nnonsense hidden\n", "line 2"), (None, "read")]:
        file.write_text(content) if content is not None else file.unlink()
        with pytest.raises(InvalidSettings, match=named) as raised:
            Sender(str(file))
        assert "hidden" not in str(raised.value)
    file.write_text("# none\n")
    await Sender(str(file)).send(Message("t", "b", {}))  # nobody to tell
    file.write_text("json://user:hidden@127.0.0.1:1/\n")
    with pytest.raises(Unavailable):
        await Sender(str(file)).send(Message("t", "b", {}))
    assert "names nobody" in heard.text
    assert "hidden" not in heard.text + "".join(capfd.readouterr())


def alert(status: str, name: str = "LiuhenWatchdog", **annotations: str) -> dict[str, object]:
    return {"alerts": [{"status": status, "labels": {"alertname": name}, "annotations": annotations}]}


async def test_the_way_of_alerts_lives_by_fresh_ones(clock: ManualClock, tmp_path: Path, stub: Stub) -> None:
    stub.answers |= {"/-/healthy": (200, ""), "/-/ready": (200, "")}
    watch = a_watch(f"alertmanager=http://{stub.address}", clock, tmp_path)
    app = Starlette(routes=watch_router(watch, "s3cret").routes)
    headers = {"Authorization": "Bearer s3cret"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://watch") as client:
        for number in range(9):
            sent = await client.post("/watchdog", json=alert("firing", evaluated=f"{number}.5"), headers=headers)
            assert sent.status_code == 204
            await rounds(watch, clock, 1)
        assert watch.view.is_well
        for _ in range(9):  # Alertmanager repeats what it has, a resolved one comes, and other alerts
            for body in (alert("firing", evaluated="8.5"), alert("resolved"), alert("firing", "LiuhenRejected")):
                await client.post("/watchdog", json=body, headers=headers)
            await rounds(watch, clock, 1)
        assert [(one.name, one.fault) for one in watch.view.ill] == [("alerts", "standing")]
        assert (await client.post("/watchdog", content=b"[", headers=headers)).status_code == 422
        assert (await client.post("/watchdog", content=b"x" * 300_000, headers=headers)).status_code == 413
        for shown in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}):
            assert (await client.post("/watchdog", json=alert("firing"), headers=shown)).status_code == 401
            assert (await client.get("/watch", headers=shown)).status_code == 401
        seen = (await client.get("/watch", headers=headers)).json()
    assert [one["condition"] for one in seen["targets"]] == ["well", "ill"]
    await watch.close()


async def test_a_memory_that_cannot_be_read_is_forgotten(clock: ManualClock, tmp_path: Path) -> None:
    (tmp_path / "watch.json").write_bytes(b'{"targets": 3}')
    watch = a_watch("store=http://127.0.0.1:1", clock, tmp_path)
    await rounds(watch, clock, 1)
    assert watch.view.targets[0].condition == "unknown"
    await watch.close()


async def test_the_console_says_when_the_watch_itself_is_gone(stub: Stub, clock: ManualClock, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret")
    watch = a_watch("store=http://127.0.0.1:1", clock, tmp_path)
    await rounds(watch, clock, 3)
    said = msgspec.json.encode(msgspec.to_builtins(watch.view, enc_hook=str)).decode()
    stub.answers["/watch"] = (200, said)
    settings = Settings(watch_url=f"http://{stub.address}/", watch_token_file=str(tmp_path / "token"))
    seen = Seen(settings, clock, CollectorRegistry())
    view = await seen.seen()
    assert (view.away, [one.name for one in view.ill]) == ("", ["store"])
    gone_at = clock.now().plus(5_000)
    clock.advance(5)
    stub.answers["/watch"] = (502, "")
    view = await seen.seen()
    assert (view.away, view.away_since, [one.name for one in view.ill]) == ("502", gone_at, ["store"])
    clock.advance(5)
    stub.close()
    view = await seen.seen()
    assert view.away_since == gone_at
    assert "Connect" in view.away
    await seen.close()
    await watch.close()


async def test_a_watch_that_answers_and_looks_at_nobody_is_gone_too(stub: Stub, clock: ManualClock) -> None:
    stub.answers["/watch"] = (200, json.dumps({"at": str(T0), "every_s": 10}))
    seen = Seen(Settings(watch_url=f"http://{stub.address}"), clock, CollectorRegistry())
    assert (await seen.seen()).is_well
    clock.advance(61)
    view = await seen.seen()
    assert view.away_since == T0
    assert not view.is_well
    await seen.close()


async def test_without_a_watch_the_process_looks_at_its_own_loops(clock: ManualClock) -> None:
    registry = CollectorRegistry()
    turns = Counter("liuhen_progress", "", ["reader"], registry=registry)
    seen = Seen(Settings(), clock, registry)
    for number in range(9):
        turns.labels("store").inc()
        if number == 0:
            turns.labels("tick").inc()
        view = await seen.seen()
        clock.advance(10)
    assert (view.by, [(one.fault, one.detail) for one in view.ill]) == ("self", [("standing", "tick")])
    await seen.close()


async def test_metrics_by_name(clock: ManualClock) -> None:
    registry = CollectorRegistry(auto_describe=True)
    Gauge("a_figure", "", registry=registry).set(1)
    Gauge("b_figure", "", registry=registry).set(2)
    app = Starlette(routes=health_router(registry, lambda: "").routes)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://process") as client:
        assert "b_figure 2.0" in (await client.get("/metrics")).text
        some = (await client.get("/metrics", params={"name[]": "a_figure"})).text
    assert "a_figure 1.0" in some
    assert "b_figure" not in some
