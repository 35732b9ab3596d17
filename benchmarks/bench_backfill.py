"""How fast files that come later get into the store: by tus through Liuhen, beside a bare client of the same store.

python -m benchmarks.bench_backfill [--short] [--recorders 4] [--files 3] [--mb 100] [--rounds 3] [--json FILE]

Both send the same files from the same disk into the same bucket of one MinIO, locked, as many at once as there are
recorders. The bare client is minio-py's `put_object`: it hashes, sends, and is done. Ours announces each file with its
hash, sends it in one PATCH, and is done when every file is in the store, in the ledger, in the catalogue and told on
the log. Between the two our process holds each byte on its own disk, synced: that is what the time may be lost in.

Twice: once with all senders together on a line of so many Mbit/s, as a docking station is, and once as fast as one
machine can run sender, Liuhen and MinIO at the same time, where each CPU-second that ours takes is one less for MinIO.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from minio.commonconfig import COMPLIANCE
from minio.retention import Retention

from benchmarks.meter import cpu_s
from benchmarks.report import parser, publish, spread, table
from benchmarks.systems import Liuhen, pushing
from domain.clock import SystemClock
from tests.services.minio import MinioServer
from tests.services.process import poll_until

BLOCK_BYTES = 1 << 20
BUCKET = "evidence"
TOKEN = "t0ken"


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="liuhen-bench-", dir=arguments.disk) as name:
        figures = _run(Path(name), arguments)
    publish("backfill", figures, _table(figures), arguments.json)


def _arguments() -> Any:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--recorders", type=int, default=4, help="as many files at once")
    options.add_argument("--files", type=int, default=5, help="of each recorder")
    options.add_argument("--mb", type=int, default=100, help="size of a file")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--line-mbit", type=int, default=1000, help="of all recorders together")
    options.add_argument("--disk", type=Path, help="where everything is (default: the folder for temporary files)")
    found = options.parse_args()
    if found.short:
        found.recorders, found.files, found.mb, found.rounds = 2, 1, 5, 1
    return found


def _run(folder: Path, arguments: Any) -> dict[str, Any]:
    with MinioServer(folder / "minio") as minio, _liuhen(folder / "liuhen", minio, arguments.recorders) as ours:
        files = _Files(folder / "device", arguments)
        site = _Site(minio, ours, files)
        summary = [site.measured(mbit, arguments.rounds) for mbit in (arguments.line_mbit, 0)]
    common = {"files": len(files.paths), "file_bytes": files.size // len(files.paths), "at_once": files.at_once}
    return {**common, "rounds": arguments.rounds, "summary": summary}


class _Site:
    """The store, and both ways into it."""

    def __init__(self, minio: MinioServer, ours: Liuhen, files: _Files) -> None:
        self._minio, self._ours, self._files = minio, ours, files
        self._turns = 0

    def measured(self, line_mbit: int, rounds: int) -> dict[str, Any]:
        """Both ways in turns, over a line of so much; 0 for none."""
        bare: list[_Turn] = []
        tus: list[_Turn] = []
        for _ in range(rounds):
            self._turns += 1
            self._files.renew(self._turns)
            bare.append(self._turn(self._bare, line_mbit))
            tus.append(self._turn(self._through, line_mbit))
            print(
                f"{line_mbit or 'no'} Mbit/s: bare {bare[-1].wall_s:.2f} s, liuhen {tus[-1].wall_s:.2f} s", flush=True
            )
        size = self._files.size
        return {
            "line_mbit": line_mbit,
            "bare_s": spread([one.wall_s for one in bare]),
            "liuhen_s": spread([one.wall_s for one in tus]),
            "bare_mb_s": round(size / statistics.median(one.wall_s for one in bare) / 1e6),
            "liuhen_mb_s": round(size / statistics.median(one.wall_s for one in tus) / 1e6),
            "ratio": round(statistics.median(b.wall_s / t.wall_s for b, t in zip(bare, tus, strict=True)), 2),
            "cpu_s_per_gb": {"bare": _cpu_s_per_gb(bare, size), "liuhen": _cpu_s_per_gb(tus, size)},
        }

    def _turn(self, send: Callable[[_Line], None], line_mbit: int) -> _Turn:
        families = {"minio": self._minio.pid, "liuhen": self._ours.pid, "sender": os.getpid()}
        before = {name: cpu_s([pid]) for name, pid in families.items()}
        began = time.perf_counter()
        send(_Line(line_mbit))
        wall_s = time.perf_counter() - began
        return _Turn(wall_s, {name: cpu_s([pid]) - before[name] for name, pid in families.items()})

    def _bare(self, line: _Line) -> None:
        client, prefix = self._minio.client(), f"bare/{self._turns}"
        lock = Retention(COMPLIANCE, datetime.now(UTC) + timedelta(days=1))

        def put(path: Path) -> None:
            with path.open("rb") as file:
                body = cast("BinaryIO", _Reader(file, line))
                client.put_object(BUCKET, f"{prefix}/{path.name}", body, path.stat().st_size, retention=lock)

        self._files.each(put)

    def _through(self, line: _Line) -> None:
        before = self._stored()
        self._files.each(lambda path: _deliver(self._ours.port, path, line))
        poll_until(lambda: self._stored() - before >= self._files.size, "everything is stored", 600, 0.02)

    def _stored(self) -> float:
        return self._ours.metrics()["liuhen_upload_bytes_stored_total"]


class _Turn(NamedTuple):
    """How long one took, and what CPU each process spent on it."""

    wall_s: float
    cpu_s: dict[str, float]


def _cpu_s_per_gb(turns: list[_Turn], size: int) -> dict[str, float]:
    return {name: round(sum(one.cpu_s[name] for one in turns) / len(turns) / size * 1e9, 2) for name in turns[0].cpu_s}


class _Line:
    """A line that all senders share: each waits until its bytes would have gone out."""

    def __init__(self, mbit: int) -> None:
        self._bytes_per_s = mbit * 1e6 / 8
        self._lock = threading.Lock()
        self._free_at_s = 0.0

    def carry(self, count: int) -> None:
        """Wait as long as so many bytes take."""
        if not self._bytes_per_s:
            return
        with self._lock:
            self._free_at_s = max(self._free_at_s, time.perf_counter()) + count / self._bytes_per_s
            until_s = self._free_at_s
        time.sleep(max(0.0, until_s - time.perf_counter()))


class _Reader:
    """A file read no faster than the line carries it."""

    def __init__(self, file: BinaryIO, line: _Line) -> None:
        self._file, self._line = file, line

    def read(self, count: int = -1) -> bytes:
        data = self._file.read(count)
        self._line.carry(len(data))
        return data


def _liuhen(folder: Path, minio: MinioServer, recorders: int) -> Liuhen:
    minio.client().make_bucket(BUCKET, object_lock=True)
    folder.mkdir(parents=True)
    (folder / "secret").write_text(minio.secret_key)
    settings: dict[str, str | int] = {
        "bus": f"embedded:{folder}/log",
        "store": f"s3://{minio.access_key}@{minio.endpoint}/{BUCKET}?tls=0",
        "store_secret_file": f"{folder}/secret",
        "catalog": f"sqlite:///{folder}/catalog.db",
        "ledger": f"sqlite:///{folder}/ledger.db",
        "ledger_key_file": f"{folder}/ledger.key",
        "upload_free_bytes": 0,
    }
    return Liuhen(folder, settings, "ingest+store", pushing(recorders))


class _Files:
    """Files as devices hold them; each round has other bytes."""

    def __init__(self, folder: Path, arguments: Any) -> None:
        folder.mkdir()
        noise = os.urandom(arguments.mb * 1_000_000)
        self.paths = [folder / f"cam-{n}.{m}.mp4" for m in range(arguments.files) for n in range(arguments.recorders)]
        self.size = len(noise) * len(self.paths)
        self.at_once = arguments.recorders
        for path in self.paths:
            path.write_bytes(noise)

    def each(self, send: Callable[[Path], None]) -> None:
        """Send all of them, so many at once."""
        with ThreadPoolExecutor(self.at_once) as threads:
            list(threads.map(send, self.paths))

    def renew(self, number: int) -> None:
        """Change the head of each, and let the disk come to rest."""
        for path in self.paths:
            with path.open("r+b") as file:
                file.write(b"\x00\x00\x00\x18ftypisom" + f"{number} {path.name}".encode())
        os.sync()


def _deliver(port: int, path: Path, line: _Line) -> None:
    """Announce one file, and send it in one PATCH."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    recorder, number, _ = path.name.split(".")
    now = SystemClock().now()
    said = {
        "recorder_id": recorder,
        "session_id": f"{recorder}-{number}",
        "from": now.plus(-7_200_000).rfc3339(),
        "to": now.plus(-3_600_000).rfc3339(),
        "sha256": sha256,
    }
    common = {"Tus-Resumable": "1.0.0", "Authorization": f"Bearer {TOKEN}"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120, blocksize=BLOCK_BYTES)
    metadata = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in said.items())
    length = str(path.stat().st_size)
    connection.request("POST", "/uploads/", headers={**common, "Upload-Length": length, "Upload-Metadata": metadata})
    place = _answered(connection, 201).headers["Location"]
    about = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0", "Content-Length": length}
    with path.open("rb") as file:
        connection.request("PATCH", place, body=cast("BinaryIO", _Reader(file, line)), headers={**common, **about})
    _answered(connection, 204)
    connection.close()


def _answered(connection: http.client.HTTPConnection, status: int) -> http.client.HTTPResponse:
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != status:
        msg = f"{answer.status}: {body[:500]!r}"
        raise RuntimeError(msg)
    return answer


def _table(figures: dict[str, Any]) -> str:
    head = ["line", "minio-py MB/s", "liuhen MB/s", "ours ÷ bare", "CPU-s a GB: minio-py", "liuhen"]
    rows = [
        [
            f"{one['line_mbit']} Mbit/s" if one["line_mbit"] else "none",
            one["bare_mb_s"],
            one["liuhen_mb_s"],
            one["ratio"],
            round(sum(one["cpu_s_per_gb"]["bare"].values()), 2),
            round(sum(one["cpu_s_per_gb"]["liuhen"].values()), 2),
        ]
        for one in figures["summary"]
    ]
    return table(head, rows)


if __name__ == "__main__":
    main()
