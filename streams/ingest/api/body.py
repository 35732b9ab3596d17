"""Request bodies, read within bounds of size and time, and taken apart without trust."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from starlette.requests import Request

from streams.ingest.api.problems import Problem

READ_WITHIN_S: Final = 30.0
"""A device on a bad radio link gets this long to send its body; then it holds no connection of ours any more."""


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """Read the whole body.

    Raises:
        Problem: 413 where it is longer than the limit, announced or not; 408 where it takes too long.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > limit_bytes:
        raise _too_large(limit_bytes)
    parts: list[bytes] = []
    size_bytes = 0
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            async for part in request.stream():
                size_bytes += len(part)
                if size_bytes > limit_bytes:
                    raise _too_large(limit_bytes)
                parts.append(part)
    except TimeoutError:
        msg = f"body not here within {READ_WITHIN_S:g} s"
        raise Problem(408, msg) from None
    return b"".join(parts)


def media_type(request: Request) -> str:
    """Return the type of the body without its parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def parse_json(data: bytes) -> Any:
    """Read JSON into builtin values; no NaN, no infinity, nothing deeper than the parser's own bound.

    Raises:
        Problem: 400, not JSON.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        msg = f"not JSON: {error}"
        raise Problem(400, msg) from error


def _too_large(limit_bytes: int) -> Problem:
    return Problem(413, f"at most {limit_bytes} bytes", more={"limit_bytes": limit_bytes})
