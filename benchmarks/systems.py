"""What is measured: Liuhen's own processes, the cameras they watch, and FFmpeg as people run it for the same job."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import httpx

from domain.registry import hash_token
from tests.services.cache import installed
from tests.services.kafka import KafkaServer
from tests.services.minio import MinioServer
from tests.services.process import Server, accepts, free_port, poll_until
from tests.services.samples import Samples

ROOT = Path(__file__).resolve().parents[1]


class Cameras(Server):
    """The replaying cameras of `benchmarks.cameras`."""

    name = "cameras"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port = free_port()

    def urls(self, streams: int) -> list[str]:
        """Addresses of so many cameras, each at another place of the recording."""
        return [f"rtsp://127.0.0.1:{self.port}/cam-{number}" for number in range(streams)]

    def command(self) -> Sequence[str]:
        sample = Samples().get("cam").path
        return [sys.executable, "-m", "benchmarks.cameras", str(sample), str(self.port)]

    def environment(self) -> Mapping[str, str]:
        return {"PYTHONPATH": str(ROOT)}

    def is_ready(self) -> bool:
        return accepts(self.port)


class Liuhen(Server):
    """One process of ours: `liuhen up`, one role, or several (`ingest+store`).

    Args:
        directory: Configuration and data.
        settings: What differs from the defaults.
        role: Which command.
        recorders: TOML of registrations.
    """

    name = "liuhen"
    stop_s = 5.0  # nothing measured is worth a longer goodbye

    def __init__(
        self, directory: Path, settings: Mapping[str, str | int], role: str = "up", recorders: str = ""
    ) -> None:
        super().__init__(directory)
        self.name = f"liuhen-{role}"
        self.log_path = directory / f"{self.name}.log"
        self.role = role
        self.port = free_port()
        config = {
            "spool": f"{directory}/spool",
            "work": f"{directory}/work",
            "http": f"127.0.0.1:{self.port}",
            "worker_id": f"bench-{role}",
            "ice_hosts": "127.0.0.1",
            **settings,
        }
        if recorders:
            (directory / "recorders.toml").write_text(recorders)
            config["recorders"] = f"{directory}/recorders.toml"
        lines = [
            f"{key} = {value}" if isinstance(value, int) else f'{key} = "{value}"' for key, value in config.items()
        ]
        self._config = directory / "liuhen.toml"
        self._config.write_text("\n".join(lines) + "\n")

    def command(self) -> Sequence[str]:
        if "+" in self.role:
            return [sys.executable, "-m", "benchmarks.roles", str(self._config), *self.role.split("+")]
        return [sys.executable, "-m", "liuhen", "--config", str(self._config), self.role]

    def environment(self) -> Mapping[str, str]:
        return {"PYTHONPATH": str(ROOT)}

    def is_ready(self) -> bool:
        if self.role == "detect":  # under Faust it serves no HTTP
            return True
        with suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5).is_success
        return False

    def metrics(self) -> dict[str, float]:
        """All its figures, by name and labels as they stand."""
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=30).text
        return {name: float(value) for name, value in re.findall(r"^([^#\s][^\n]*) (\S+)$", text, re.MULTILINE)}

    def media_bytes(self) -> float:
        """Bytes of fragments spooled so far."""
        return sum(value for name, value in self.metrics().items() if name.startswith("liuhen_media_bytes_total"))


RECORDING = "ingest+store+detect+tick+console"
"""All roles but `analyse`, which decodes pictures beside the recording path; the peer looks at none."""


def embedded(directory: Path, urls: Sequence[str], role: str = RECORDING) -> Liuhen:
    """These roles in one process on the embedded log, pulling these cameras."""
    directory.mkdir(parents=True, exist_ok=True)
    settings = {
        "bus": f"embedded:{directory}/log",
        "store": f"file:{directory}/store",
        "catalog": f"sqlite:///{directory}/catalog.db",
    }
    return Liuhen(directory, settings, role, registrations(urls))


def on_services(directory: Path, urls: Sequence[str], kafka: KafkaServer, minio: MinioServer) -> list[Liuhen]:
    """One process a role on Kafka and MinIO, pulling these cameras; not started."""
    minio.client().make_bucket("evidence", object_lock=True)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "secret").write_text(minio.secret_key)
    roles = []
    for role in ("tick", "detect", "store", "console", "ingest"):
        folder = directory / role
        folder.mkdir()
        settings: dict[str, str | int] = {
            "bus": f"kafka://{kafka.bootstrap}",
            "store": f"s3://{minio.access_key}@{minio.endpoint}/evidence?tls=0",
            "store_secret_file": f"{directory}/secret",
            "catalog": f"sqlite:///{folder}/catalog.db",
        }
        roles.append(Liuhen(folder, settings, role, registrations(urls) if role == "ingest" else ""))
    return roles


def registrations(urls: Sequence[str]) -> str:
    """The registrations of these cameras, as a person would write them."""
    entry = '[[recorder]]\nrecorder_id = "cam-{n}"\nkind = "premises_camera"\ncontinuous = true\nurl = "{url}"\n'
    return "\n".join(entry.format(n=n, url=url) for n, url in enumerate(urls))


class Ffmpeg(Server):
    """One FFmpeg that copies one camera into files of a minute, as NVRs made of FFmpeg run it."""

    name = "ffmpeg"

    def __init__(self, directory: Path, url: str) -> None:
        super().__init__(directory)
        self._url = url

    def command(self) -> Sequence[str]:
        copy = "-c copy -f segment -segment_time 60 -segment_format mp4 -reset_timestamps 1"
        ffmpeg = installed("FFmpeg", "ffmpeg")
        quiet = ["-nostdin", "-hide_banner", "-loglevel", "error"]
        return [ffmpeg, *quiet, "-rtsp_transport", "tcp", "-i", self._url, *copy.split(), "part-%03d.mp4"]

    def is_ready(self) -> bool:
        return True

    def written_bytes(self) -> int:
        """Bytes of media on disk so far."""
        return sum(path.stat().st_size for path in self.directory.glob("part-*.mp4"))

    def wait_for_media(self) -> None:
        """Wait until it writes."""
        poll_until(lambda: self.written_bytes() > 100_000, "FFmpeg writes", 30)


class WhipReceiver(Server):
    """One that counts what it receives."""

    module: str

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port = free_port()

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", self.module, str(self.port)]

    def environment(self) -> Mapping[str, str]:
        return {"PYTHONPATH": str(ROOT)}

    def is_ready(self) -> bool:
        return accepts(self.port)

    def figures(self) -> dict[str, float]:
        """Pictures so far, and what else it counts."""
        found: dict[str, float] = httpx.get(f"http://127.0.0.1:{self.port}/figures", timeout=10).json()
        return found


class PlainAiortc(WhipReceiver):
    """aiortc receiving and decoding: `benchmarks.whip_plain`."""

    name = "aiortc"
    module = "benchmarks.whip_plain"


class WhipUnits(WhipReceiver):
    """Ours to access units: `benchmarks.whip_units`."""

    name = "units"
    module = "benchmarks.whip_units"


class WhipSender(Server):
    """`benchmarks.whip_sender`: publishes until its time is over."""

    name = "sender"

    def __init__(self, directory: Path, port: int, *, streams: int = 1, seconds: float = 600, loss: float = 0) -> None:
        super().__init__(directory)
        counts = ["--streams", str(streams), "--seconds", str(seconds), "--loss", str(loss)]
        self._arguments = [f"http://127.0.0.1:{port}", *counts]

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "benchmarks.whip_sender", *self._arguments]

    def environment(self) -> Mapping[str, str]:
        return {"PYTHONPATH": str(ROOT)}

    def is_ready(self) -> bool:
        return "publishing" in self.log_tail()

    def sent(self, timeout_s: float) -> dict[str, int]:
        """Wait for its end; what it sent and what its path lost."""
        poll_until(lambda: not self.alive, "the sender is done", timeout_s)
        found: dict[str, int] = json.loads(self.log_tail(1))
        return found


def pushing(streams: int) -> str:
    """The registrations of recorders that publish as `WhipSender` does."""
    entry = '[[recorder]]\nrecorder_id = "cam-{n}"\nkind = "body_worn"\ntoken_sha256 = "{token}"\n'
    return "\n".join(entry.format(n=n, token=hash_token("t0ken")) for n in range(streams))


def embedded_ingest(directory: Path, recorders: str) -> Liuhen:
    """The ingest role alone, on an embedded log of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    return Liuhen(directory, {"bus": f"embedded:{directory}/log"}, "ingest", recorders)
