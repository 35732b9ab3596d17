"""The process that remuxes gives up what copying does not need, for good."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from domain.errors import InvalidMedia
from storage.views.remux import remux

TRIES = {
    "opens a file": "open('/etc/passwd')",
    "opens a socket": "import socket; socket.create_connection(('127.0.0.1', 9))",
    "starts a process": "import os; os.execv('/bin/true', ['true']) if not os.pipe() else 0",
    "writes more than it may": "import os; [os.write(1, b'x' * 4096) for _ in range(100)]",
    "takes more memory than it may": "bytearray(2 << 30)",
}


@pytest.mark.parametrize("attempt", TRIES)
def test_it_is_kept_from_everything_else(tmp_path: Path, attempt: str) -> None:
    script = (
        f"import os, socket; from storage.views import child; child.load(); child.confine(100_000); {TRIES[attempt]}"
    )
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run([sys.executable, "-I", "-c", script], stdout=out, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode != 0
    assert (tmp_path / "out").stat().st_size <= 100_000


def test_it_has_nothing_of_ours_in_its_environment() -> None:
    os.environ["LIUHEN_STORE_SECRET"] = "a secret"
    try:
        from storage.views.remux import _environment

        assert set(_environment()) <= {"PATH", "LANG", "LC_ALL"}
    finally:
        del os.environ["LIUHEN_STORE_SECRET"]


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 100_000, bytes(range(256)) * 1000, b"RIFF\xff\xff\xff\xffAVI LIST" * 50]
)
@pytest.mark.parametrize("container", ["mp4", "ts", "avi"])
async def test_rubbish_is_refused_and_leaves_nothing(tmp_path: Path, data: bytes, container: str) -> None:
    (tmp_path / "source").write_bytes(data)
    with pytest.raises(InvalidMedia):
        await remux(tmp_path / "source", tmp_path / "view", container)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
