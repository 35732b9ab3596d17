"""The whole system as separate processes on real Kafka and MinIO, kept running as a service manager would."""

from __future__ import annotations

import sys
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from tests.services.minio import MinioServer
from tests.services.process import Server, accepts, free_port

ROLES = ("ingest", "store", "detect", "custody", "tick", "console", "analyse")
BUCKET = "evidence"
TOKEN = "0123456789abcdef-test"


class Program(Server):
    """One `liuhen` process."""

    ready_s = 60.0

    def __init__(
        self, directory: Path, arguments: Sequence[str], environment: Mapping[str, str], port: int = 0
    ) -> None:
        self.name = arguments[0]
        super().__init__(directory)
        self._arguments, self._environment, self.port = arguments, environment, port
        self._turn = threading.RLock()  # a keeper starts while a test kills: one process at a time

    def start(self) -> Self:
        with self._turn:
            return super().start()

    def kill(self) -> None:
        with self._turn:
            super().kill()

    def command(self) -> Sequence[str]:
        return [str(Path(sys.executable).with_name("liuhen")), *self._arguments]

    def environment(self) -> Mapping[str, str]:
        return self._environment

    def is_ready(self) -> bool:
        return self.port == 0 or accepts(self.port)

    def samples(self, name: str, **labels: str) -> list[float]:
        """Return what its `/metrics` says of a metric, one value a set of labels that holds these."""
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10).read().decode()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return [one.value for one in samples if one.name == name and labels.items() <= one.labels.items()]


class House:
    """Kafka's and MinIO's addresses, the roles, and a keeper that starts again whatever ends."""

    def __init__(self, directory: Path, bootstrap: str, minio: MinioServer, endpoint: str, device_port: int) -> None:
        self.directory = directory
        self.device_port = device_port
        settings = {
            "LIUHEN_BUS": f"kafka://{bootstrap}",
            "LIUHEN_STORE": f"s3://{minio.access_key}@{endpoint}/{BUCKET}?tls=0",
            "LIUHEN_STORE_SECRET": minio.secret_key,
            "LIUHEN_CATALOG": f"sqlite:///{directory}/catalog.db",
            "LIUHEN_LEDGER": f"sqlite:///{directory}/ledger.db",
            "LIUHEN_LEDGER_KEY_FILE": f"{directory}/ledger.key",
            "LIUHEN_SPOOL": f"{directory}/spool",
            "LIUHEN_WORK": f"{directory}/work",
            "LIUHEN_RECORDERS": f"{directory}/recorders.toml",
            "LIUHEN_ICE_HOSTS": "127.0.0.1",
            "LIUHEN_PARTITIONS": "4",
            "LIUHEN_SEGMENT_S": "20",
            "LIUHEN_WORKER_ID": "w1",
        }
        self.programs = {role: self._program(role, settings) for role in ROLES}
        self._keeper = Keeper(list(self.programs.values()))

    def _program(self, role: str, settings: Mapping[str, str]) -> Program:
        port = self.device_port if role == "ingest" else free_port()
        serves = 0 if role == "detect" else port  # under Faust it answers late: nobody waits for that here
        environment = {**settings, "LIUHEN_HTTP": f"127.0.0.1:{port}"}
        return Program(self.directory / role, [role], environment, serves)

    def __enter__(self) -> Self:
        for program in self.programs.values():
            program.start()
        self._keeper.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._keeper.__exit__()
        for program in self.programs.values():
            program.stop()

    def kill(self, role: str) -> None:
        """kill -9; the keeper starts it again."""
        self.programs[role].kill()


class Keeper:
    """Starts again whatever ends, as a service manager would, while the `with` lasts."""

    def __init__(self, programs: Sequence[Server]) -> None:
        self._stop = threading.Event()
        # One thread each: a service manager does not wait for one service before it starts another.
        self._threads = [threading.Thread(target=self._keep, args=[one], daemon=True) for one in programs]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _keep(self, program: Server) -> None:
        while not self._stop.wait(0.05):
            if not program.alive:
                program.start()


class Embedded:
    """`liuhen up` in a folder.

    Args:
        directory: Where everything lies, unless `settings` say otherwise.
        device_port: Its HTTP port.
        settings: More settings, by the name of their variable.
    """

    def __init__(self, directory: Path, device_port: int, settings: Mapping[str, str] | None = None) -> None:
        self.port = device_port
        known = {
            "LIUHEN_BUS": f"embedded:{directory}/log",
            "LIUHEN_STORE": f"file:{directory}/store",
            "LIUHEN_CATALOG": f"sqlite:///{directory}/catalog.db",
            "LIUHEN_LEDGER": f"sqlite:///{directory}/ledger.db",
            "LIUHEN_LEDGER_KEY_FILE": f"{directory}/ledger.key",
            "LIUHEN_SPOOL": f"{directory}/spool",
            "LIUHEN_WORK": f"{directory}/work",
            "LIUHEN_RECORDERS": f"{directory}/recorders.toml",
            "LIUHEN_ICE_HOSTS": "127.0.0.1",
            "LIUHEN_PARTITIONS": "4",
            "LIUHEN_SEGMENT_S": "10",
            "LIUHEN_WORKER_ID": "w1",
            "LIUHEN_HTTP": f"127.0.0.1:{device_port}",
            **(settings or {}),
        }
        self.log = known["LIUHEN_BUS"]
        self.store = Path(known["LIUHEN_STORE"].removeprefix("file:"))
        self.program = Program(directory / "up", ["up"], known, device_port)


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def write_fleet(directory: Path, device_port: int, rtsp_port: int, more: Mapping[str, str] | None = None) -> Path:
    """Write `recorders.toml` and a script of two cameras and two recorders; the answer is the script's path.

    `more` is what the script says of a device besides.
    """
    more = more or {}
    recorders, devices = [], []
    for number in (1, 2):
        url = f"rtsp://127.0.0.1:{rtsp_port}/cam-{number}"
        recorders.append(
            f'[[recorder]]\nrecorder_id="cam-{number}"\nkind="premises_camera"\nurl="{url}"\ncontinuous=true'
        )
        recorders.append(f'[[recorder]]\nrecorder_id="rec-{number}"\nkind="body_worn"\ntoken="{TOKEN}"')
        devices.append(
            f'[[device]]\nid="cam-{number}"\nkind="premises_camera"\ngop_s=0.5\nwidth=320\nheight=180\n'
            + more.get(f"cam-{number}", "")
        )
        devices.append(
            f'[[device]]\nid="rec-{number}"\nkind="body_worn"\ntoken="{TOKEN}"\ngop_s=0.5\nwidth=320\nheight=180'
        )
    (directory / "recorders.toml").write_text("\n".join(recorders), encoding="utf-8")
    script = directory / "script.toml"
    head = f'system="http://127.0.0.1:{device_port}"\nrtsp="127.0.0.1:{rtsp_port}"\n'
    script.write_text(head + "\n".join(devices), encoding="utf-8")
    return script
