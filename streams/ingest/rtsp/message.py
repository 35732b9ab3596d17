"""RTSP 1.0 messages (RFC 2326): heads parsed leniently, as cameras write them, within hard limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from domain.errors import InvalidMedia

MAX_HEAD_BYTES: Final = 16_384
MAX_BODY_BYTES: Final = 131_072
_STATUS: Final = re.compile(r"RTSP/\d\.\d\s+(\d{3})\s*(.*)", re.IGNORECASE)
_REQUEST: Final = re.compile(r"([A-Z_]{3,20})\s+(\S+)\s+RTSP/\d\.\d", re.IGNORECASE)


class Headers:
    """Header fields by name in any case; a name may stand more than once."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, list[str]]) -> None:
        self._fields = fields

    def get(self, name: str, default: str = "") -> str:
        """Return the first value."""
        values = self._fields.get(name.lower())
        return values[0] if values else default

    def all(self, name: str) -> list[str]:
        """Return all values in order."""
        return self._fields.get(name.lower(), [])


class Response(msgspec.Struct, frozen=True):
    """An answer.

    Attributes:
        status: Three digits.
        reason: What the server says beside it.
        headers: Its fields.
        body: Its content.
    """

    status: int
    reason: str
    headers: Headers
    body: bytes = b""

    @property
    def ok(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300


class ServerRequest(msgspec.Struct, frozen=True):
    """A request the server makes of us."""

    method: str
    headers: Headers


class Request(msgspec.Struct, frozen=True):
    """A request of ours, but for its sequence number."""

    method: str
    url: str
    headers: Mapping[str, str]

    def encode(self, cseq: int) -> bytes:
        """Write it."""
        lines = [f"{self.method} {self.url} RTSP/1.0", f"CSeq: {cseq}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def parse_head(head: bytes) -> tuple[Response | ServerRequest, int]:
    """Read the lines before the empty one.

    Returns:
        The message without its body, and the length of that.

    Raises:
        InvalidMedia: Neither a response nor a request, or a Content-Length that is none or too much.
    """
    lines = head.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    headers = _parse_fields(lines[1:])
    length = _content_length(headers)
    if status := _STATUS.match(lines[0]):
        return Response(int(status[1]), _printable(status[2]), headers), length
    if request := _REQUEST.match(lines[0]):
        return ServerRequest(request[1].upper(), headers), length
    msg = f"neither RTSP nor RTP: {_printable(lines[0])!r}"
    raise InvalidMedia(msg, "rtsp")


def reply(status: int, reason: str, request: ServerRequest, headers: Mapping[str, str]) -> bytes:
    """Write an answer to a request of the server's."""
    lines = [f"RTSP/1.0 {status} {reason}"]
    if cseq := request.headers.get("cseq"):
        lines.append(f"CSeq: {cseq}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _parse_fields(lines: list[str]) -> Headers:
    fields: dict[str, list[str]] = {}
    last = ""
    for line in lines:
        if line[:1] in {" ", "\t"} and last:  # folded
            fields[last][-1] += " " + line.strip()
            continue
        name, colon, value = line.partition(":")
        if colon:
            last = name.strip().lower()
            fields.setdefault(last, []).append(value.strip())
    return Headers(fields)


def _content_length(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) > MAX_BODY_BYTES:
        msg = f"RTSP Content-Length {_printable(text)!r}; at most {MAX_BODY_BYTES} is taken"
        raise InvalidMedia(msg, "content-length")
    return int(text)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:80])
