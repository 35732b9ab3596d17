"""`liuhen detect` on Kafka as a supervisor sees it: asked to stop it ends with 0; a broker that goes away and comes
back costs nothing but time; it answers for itself over HTTP."""

from __future__ import annotations

import asyncio
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.detectors.logs import recording
from tests.integration.test_faust_kills import PARTITIONS, log_on, publish_log, replayed, statements, until_done
from tests.services.kafka import KafkaServer
from tests.services.process import Server, free_port

ROOT = Path(__file__).resolve().parents[2]


class DetectCommand(Server):
    """The command; ready once it answers."""

    name = "detect"

    def __init__(self, directory: Path, bootstrap: str) -> None:
        super().__init__(directory)
        self._bootstrap = bootstrap
        self.port = free_port()

    def command(self) -> list[str]:
        return [sys.executable, str(ROOT / "liuhen.py"), "detect"]

    def environment(self) -> dict[str, str]:
        return {
            "PYTHONPATH": str(ROOT),
            "LIUHEN_BUS": f"kafka://{self._bootstrap}",
            "LIUHEN_HTTP": f"127.0.0.1:{self.port}",
            "LIUHEN_PARTITIONS": str(PARTITIONS),
            "LIUHEN_WORK": str(self.directory / "work"),
        }

    def is_ready(self) -> bool:
        return self.get("/healthz")[0] == 200

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def supervise(self) -> None:
        """Start it again if it has ended by itself, as any supervisor would."""
        if not self.alive:
            self.kill()
            self.start()

    def terminated(self) -> int:
        """Ask it to end; return its exit code."""
        assert self._child is not None
        self._child.send_signal(signal.SIGTERM)
        return self._child.wait(30)


@pytest.mark.kafka
@pytest.mark.faults
@pytest.mark.timeout(400)
async def test_a_broker_that_goes_and_comes_back(tmp_path: Path, kafka_factory: Callable[..., KafkaServer]) -> None:
    lines = recording(17, recorders=6, length=90)
    kafka = kafka_factory()
    worker = DetectCommand(tmp_path / "detect", kafka.bootstrap)
    async with log_on(kafka) as bus:
        try:
            worker.start()
            await publish_log(bus, lines[: len(lines) // 2])
            await until_done(bus, [worker], 150)
            status, text = worker.get("/metrics")
            assert status == 200
            assert 'liuhen_detect_offset{partition="0"}' in text
            assert worker.get("/nowhere")[0] == 404
            kafka.kill()
            await asyncio.sleep(12)  # longer than the session of a group member
            kafka.start()
            await publish_log(bus, lines[len(lines) // 2 :])
            await until_done(bus, [worker], 150)
            assert worker.terminated() == 0, worker.log_tail()
        except BaseException as failure:
            failure.add_note(worker.log_tail())
            raise
        finally:
            worker.kill()
        found, _ = await statements(bus)
    assert found == replayed(lines)
