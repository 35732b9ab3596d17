"""A small tus sender of our own, for tests: it can be cut at any byte, which no well-made client can."""

from __future__ import annotations

import base64
import hashlib
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

TUS = {"Tus-Resumable": "1.0.0"}
FROM, TO = "2026-03-02T09:00:00.000+08:00", "2026-03-02T09:10:00.000+08:00"


def bearer(token: str = "t0ken") -> dict[str, str]:
    return {**TUS, "Authorization": f"Bearer {token}"}


def metadata(**said: str) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in said.items())


def announced(data: bytes, recorder_id: str = "rec-1", session_id: str = "s1", **more: str) -> dict[str, str]:
    said = {
        "recorder_id": recorder_id,
        "session_id": session_id,
        "from": FROM,
        "to": TO,
        "sha256": hashlib.sha256(data).hexdigest(),
        **more,
    }
    return {**bearer(), "Upload-Length": str(len(data)), "Upload-Metadata": metadata(**said)}


def patch(offset: int, **more: str) -> dict[str, str]:
    return {
        **bearer(),
        "Content-Type": "application/offset+octet-stream",
        "Upload-Offset": str(offset),
        **more,
    }


async def send(http: httpx.AsyncClient, data: bytes, *, token: str = "t0ken", **said: str) -> httpx.Response:
    """Announce and send a file in one go."""
    created = await http.post("/uploads/", headers={**announced(data, **said), **bearer(token)})
    assert created.status_code == 201, created.text
    return await http.patch(created.headers["Location"], headers={**patch(0), **bearer(token)}, content=data)


def cut_patch(address: str, place: str, data: bytes, offset: int, cut_after: int) -> None:
    """Begin a PATCH of all that is missing, and cut the connection in the middle, without a word."""
    host = urlsplit(address)
    lines = [f"PATCH {place} HTTP/1.1", f"Host: {host.netloc}", f"Content-Length: {len(data) - offset}"]
    lines += [f"{name}: {value}" for name, value in patch(offset).items()]
    with socket.create_connection((host.hostname or "", host.port or 0), timeout=10) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + data[offset : offset + cut_after])


def files(folder: Path, pattern: str) -> list[str]:
    return sorted(path.name for path in folder.glob(pattern))


def mp4(number: int, size: int = 4000) -> bytes:
    """Bytes that begin as an MP4 does; nobody looks further."""
    noise: Any = hashlib.shake_256(str(number).encode()).digest(size)
    return b"\x00\x00\x00\x18ftypisom" + bytes(noise)
