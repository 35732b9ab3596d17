"""Bodies of requests have a most, and a time to come in, before anybody has read a byte of them."""

from __future__ import annotations

import asyncio

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import Message

MAX_BYTES = 1_000_000
MAX_FILES_BYTES = 50_000_000
"""Of a form with files: scans of up to 10 MB each, and sheets."""
MAX_S = 120.0


def limited(request: Request) -> Request:
    """Return a request whose body ends in a refusal where it is too large or too slow.

    Raises:
        HTTPException: 413, where it says itself that it is too large.
    """
    is_files = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
    most = MAX_FILES_BYTES if is_files else MAX_BYTES
    said = request.headers.get("content-length", "0")
    if not said.isdecimal() or int(said) > most:
        raise _too_large(most)
    receive, until_s = request.receive, asyncio.get_running_loop().time() + MAX_S
    taken = 0
    is_over = False

    async def counted() -> Message:
        nonlocal taken, is_over
        if is_over:  # then a client is waited for that goes away, however long its answer takes
            return await receive()
        try:
            async with asyncio.timeout_at(until_s):
                message = await receive()
        except TimeoutError as error:
            raise HTTPException(408, "the body did not come in time") from error
        taken += len(message.get("body", b""))
        is_over = not message.get("more_body", False)
        if taken > most:
            raise _too_large(most)
        return message

    return Request(request.scope, counted, request._send)


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"at most {most} bytes are taken here")
