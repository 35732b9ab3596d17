"""The process that remuxes gives up what copying does not need, for good."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from domain.errors import InvalidMedia
from storage.views.remux import _environment, remux
from tests.streams.uploads_client import files

TRIES = {
    "opens a file": "open('/etc/passwd')",
    "opens a socket": "socket.socket()",
    "makes a pipe": "os.pipe()",
    "writes more than it may": "[os.write(1, b'x' * 4096) for _ in range(100)]",
    "takes more memory than it may": "bytearray(2 << 30)",
}


def confined(folder: Path, attempt: str) -> int:
    script = f"import os, socket; from storage.views import child; child.load(); child.confine(100_000); {attempt}"
    with (folder / "out").open("wb") as out:
        done = subprocess.run([sys.executable, "-I", "-c", script], stdout=out, stderr=subprocess.PIPE, timeout=60)
    return done.returncode


@pytest.mark.parametrize("attempt", TRIES)
def test_it_is_kept_from_everything_else(tmp_path: Path, attempt: str) -> None:
    assert confined(tmp_path, TRIES[attempt]) != 0
    assert (tmp_path / "out").stat().st_size <= 100_000


def test_it_may_write_what_it_needs(tmp_path: Path) -> None:
    assert confined(tmp_path, "os.write(1, bytes(bytearray(100_000)))") == 0
    assert (tmp_path / "out").stat().st_size == 100_000


def test_it_has_nothing_of_ours_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIUHEN_STORE_SECRET", "a secret")
    assert set(_environment()) <= {"PATH", "LANG", "LC_ALL"}


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 100_000, bytes(range(256)) * 1000, b"RIFF\xff\xff\xff\xffAVI LIST" * 50]
)
@pytest.mark.parametrize("container", ["mp4", "ts", "avi"])
async def test_rubbish_is_refused_and_leaves_nothing(tmp_path: Path, data: bytes, container: str) -> None:
    (tmp_path / "source").write_bytes(data)
    with pytest.raises(InvalidMedia):
        await remux(tmp_path / "source", tmp_path / "view", container)
    assert files(tmp_path, "*") == ["source"]
