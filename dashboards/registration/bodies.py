"""Bodies of the API of registration: objects in, structs out."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import Request, Response

from domain.errors import InvalidInput
from domain.wire import encode


async def read_object(request: Request) -> dict[str, Any]:
    """Return the object that is a request's body.

    Raises:
        InvalidInput: It is none.
    """
    try:
        said = msgspec.json.decode(await request.body())
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput(f"not JSON: {error}") from error
    if not isinstance(said, dict):
        raise InvalidInput("not an object")
    return said


def as_json(value: msgspec.Struct, status: int = 200) -> Response:
    """Answer with a struct."""
    headers = {"Cache-Control": "no-store"}
    return Response(encode(value), status_code=status, media_type="application/json", headers=headers)
