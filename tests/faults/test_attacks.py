"""A running system under attack while a recorder publishes: no 5xx, no leak, and the recording does not notice."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.house import TOKEN, Embedded, Program
from tests.services.access import bearer, reading, token_for
from tests.services.process import free_port, poll_until

SCRIPT = """
system = "http://127.0.0.1:{port}"
seconds = 600
[[device]]
id = "rec-1"
kind = "body_worn"
token = "{token}"
width = 320
height = 180
gop_s = 1.0
"""
LEAKS = ("Traceback (most recent", 'File "/', "site-packages", TOKEN, "argon2id$", "sqlite3.", "sqlalchemy.")
"""None of these stands in any answer."""
FUZZED_S = 15


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A whole system in one process, and a recorder that publishes to it all the time."""
    folder, number = tmp_path_factory.mktemp("attacked"), free_port()
    entry = f'[[recorder]]\nrecorder_id="rec-1"\nkind="body_worn"\ntoken="{TOKEN}"\nsite_id="s"\nunit_id="u"\n'
    (folder / "recorders.toml").write_text(entry)
    (folder / "script.toml").write_text(SCRIPT.format(port=number, token=TOKEN))
    settings = {"LIUHEN_OFFICE": f"sqlite:///{folder}/office.db"}
    simulated = Program(folder / "sim", ["simulate", "--script", str(folder / "script.toml")], {})
    with Embedded(folder, number, settings).program, simulated:
        with reading(f"http://127.0.0.1:{number}", f"sqlite:///{folder}/office.db") as http:
            poll_until(lambda: len(fragments(http)) > 0, "the recorder publishes", 60, 0.5)
        yield number, folder


def fragments(http: httpx.Client) -> dict[str, Any]:
    """The recorder as the console shows it, once media came of it."""
    answer = http.get("/api/v1/recorders/rec-1")
    found: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
    return found if found.get("last_media_at") else {}


def trouble(http: httpx.Client) -> list[str]:
    """What was found of the recording itself."""
    items = http.get("/api/v1/findings", params={"recorder": "rec-1"}).raise_for_status().json()["items"]
    return [one["kind"] for one in items if one["kind"] in {"recording.gap", "recording.stalled", "device.silent"}]


def office(folder: Path) -> str:
    return f"sqlite:///{folder}/office.db"


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_mutated_requests_break_nothing_and_tell_nothing(port: tuple[int, Path], tmp_path: Path) -> None:
    number, folder = port
    url, token = f"http://127.0.0.1:{number}", token_for(office(folder))
    with httpx.Client(base_url=url) as http:
        document = http.get("/api/v1/openapi.json", headers=bearer(token)).raise_for_status().json()
        assert http.get("/api/v1/openapi.json").status_code == 401
    assert {"/api/v1/recorders", "/api/v1/findings", "/api/v1/sessions"} <= document["paths"].keys()
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            *("run", str(tmp_path / "openapi.json"), "--url", url),
            *("--header", f"Authorization: Bearer {token}", "--exclude-path", "/api/v1/stream"),
            *("--phases", "examples,coverage,fuzzing", "--mode", "all", "--max-time", str(FUZZED_S)),
            *("--checks", "not_a_server_error", "--continue-on-failure", "--request-timeout", "30", "--seed", "1"),
            *("--report", "ndjson", "--report-dir", str(tmp_path / "report"), "--output-sanitize", "false"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    report = "".join(one.read_text() for one in (tmp_path / "report").iterdir())
    assert report.count("/api/v1/") > 100
    with reading(url, office(folder)) as http:
        assert trouble(http) == []
    log = (folder / "up" / "up.log").read_text(errors="replace")
    assert "Exception in ASGI application" not in log
    assert token not in log


PATHS = [
    "/hls/../../etc/passwd",
    "/hls/rec-1/../../../etc/passwd",
    "/hls/rec-1/..%2f..%2f..%2fetc%2fpasswd",
    "/hls/rec-1/%2e%2e/%2e%2e/live.m3u8",
    "/hls/..%2frec-1/live.m3u8",
    "/hls/rec-1%00/live.m3u8",
    "/hls/rec-1/live.m3u8%00.mp4",
    "/hls/rec-1/playback/../../../x/init.mp4",
    "/hls/rec-1/playback/Li4vLi4vZXRjL3Bhc3N3ZA/init.mp4",
    "/hls/rec-1/playback/%ff%fe/init.mp4",
    "/hls/%F0%9F%92%A9/live.m3u8",
    "/static/../pages/shell.py",
    "/static/..%2fpages%2fshell.py",
    "/static/%2e%2e%2f%2e%2e%2fpyproject.toml",
    "/static//etc/passwd",
    "/static/base.css%00",
    "//evil.example/%2e%2e",
    "/link/" + "x" * 7_000,
    "/sign-in?next=%0d%0aSet-Cookie:%20a=b",
    "/api/v1/recorders?cursor=" + "A" * 1_999,
    "/?lang=%0d%0aX: y",
]


@pytest.mark.faults
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:40])
def test_tricks_with_paths_and_headers_lead_nowhere(port: tuple[int, Path], path: str) -> None:
    number, folder = port
    for head in ("", f"Authorization: Bearer {token_for(office(folder))}\r\n"):
        answer = raw(number, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{number}\r\n{head}Connection: close\r\n\r\n")
        status = int(answer.split(" ", 2)[1])
        assert status < 500 or status == 503, answer[:300]
        assert not any(leak in answer for leak in (*LEAKS, "root:x:", "from __future__")), answer[:300]
        assert "\r\nset-cookie: a=b" not in answer.partition("\r\n\r\n")[0].lower()


@pytest.mark.faults
@pytest.mark.parametrize(
    "request_text",
    [
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nCookie: liuhen-session=\xff\xfe\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\n\x00: y\r\nConnection: close\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 127.0.0.1\r\nConnection: close\r\n\r\n",
        "POST /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999999999\r\nConnection: close\r\n\r\n",
        "POST /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\nConnection: close\r\n\r\n",
        "POST /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data\r\nContent-Length: 2\r\n"
        "Connection: close\r\n\r\nxx",
        "GET / HTTP/1.1\r\nHost: x\r\n" + "A: b\r\n" * 3_000 + "Connection: close\r\n\r\n",
        "GET /" + "a" * 200_000 + " HTTP/1.1\r\nHost: x\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=range(10),
)
def test_requests_that_are_none_are_refused(port: tuple[int, Path], request_text: str) -> None:
    answer = raw(port[0], request_text)
    assert not any(leak in answer for leak in LEAKS)
    assert answer == "" or int(answer.split(" ", 2)[1]) < 500, answer[:300]
    assert "liuhen_fragments_total" not in answer


@pytest.mark.faults
@pytest.mark.timeout(120)
def test_a_flood_of_sign_ins_is_not_felt_by_the_recording(port: tuple[int, Path]) -> None:
    number, folder = port
    url, until_s = f"http://127.0.0.1:{number}", time.monotonic() + 10
    answered: list[int] = []

    def guess(of: int) -> None:
        with httpx.Client(base_url=url, timeout=60) as http:
            while time.monotonic() < until_s:
                form = {"login": f"duty-{of % 3}", "password": f"guess {len(answered)}"}
                answered.append(http.post("/sign-in", data=form).status_code)

    threads = [threading.Thread(target=guess, args=[of]) for of in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answered) <= {401, 429, 503}
    assert answered.count(429) > 10
    with reading(url, office(folder)) as http:
        before = fragments(http)["last_media_at"]
        poll_until(lambda: fragments(http)["last_media_at"] > before, "media goes on", 20, 0.5)
        assert trouble(http) == []


def raw(port: int, text: str) -> str:
    """Send bytes as they are, and return what comes back until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(text.encode("latin-1"))
        parts = []
        try:
            while part := connection.recv(65_536):
                parts.append(part)
        except (ConnectionError, TimeoutError):
            pass
    return b"".join(parts).decode("utf-8", "replace")
