"""What may stand behind the question mark of the console's API."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection
from typing import Annotated, get_args

import msgspec
from fastapi import Query, Request

from domain.clock import Instant
from domain.errors import InvalidInput
from domain.findings import FindingKind
from domain.ids import check_recorder_id, check_session_id

MAX_LIMIT = 1000

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Cursor = Annotated[str | None, Query(max_length=2000)]

KINDS = frozenset(get_args(FindingKind))


def only(request: Request, known: Collection[str]) -> None:
    """Refuse parameters that nobody reads: a filter that is misspelt must not silently give everything.

    Raises:
        InvalidInput: Names the parameter.
    """
    for name in request.query_params:
        if name not in known:
            raise InvalidInput(f"{name}: no such parameter; there are {', '.join(sorted(known))}", name)


def recorder(text: str | None) -> str | None:
    """Check a `recorder` filter."""
    if text is None:
        return None
    try:
        return check_recorder_id(text)
    except InvalidInput as error:
        raise InvalidInput(str(error), "recorder") from error


def session(text: str | None) -> str | None:
    """Check a `session` filter."""
    if text is None:
        return None
    try:
        return check_session_id(text)
    except InvalidInput as error:
        raise InvalidInput(str(error), "session") from error


def kind(text: str | None) -> str | None:
    """Check a `kind` filter."""
    if text is not None and text not in KINDS:
        raise InvalidInput(f"kind: {text!r} is no kind of finding", "kind")
    return text


def moment(name: str, text: str | None) -> Instant:
    """Read a time (RFC 3339; a `+` that arrived as a blank is one)."""
    try:
        return Instant.parse((text or "").replace(" ", "+"))
    except ValueError as error:
        raise InvalidInput(f"{name}: not RFC 3339 with an offset", name) from error


def plain(text: str, field: str) -> str:
    """Return a person's text unchanged; one with U+0000 no database but SQLite could keep.

    Raises:
        InvalidInput: It holds one; names the field.
    """
    if "\x00" in text:
        raise InvalidInput(f"{field}: holds U+0000", field)
    return text


def encode_cursor(place: list[int | str]) -> str:
    """Return the opaque form of a place in a listing."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode()


def decode_cursor(cursor: str, shape: list[type]) -> list[int | str]:
    """Return the place behind a cursor.

    Raises:
        InvalidInput: It is not one that was given out here.
    """
    try:
        place = msgspec.json.decode(base64.b64decode(cursor, altchars=b"-_", validate=True), type=list[int | str])
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        raise InvalidInput("cursor: not one that was given out here", "cursor") from error
    if [type(part) for part in place] != shape:
        raise InvalidInput("cursor: not one that was given out here", "cursor")
    return place
