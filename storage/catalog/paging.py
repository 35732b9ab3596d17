"""Cursors: the sort key of the last item given out, so that pages neither skip nor repeat while rows are added."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Column, Select, literal, tuple_

from domain.errors import InvalidInput
from storage.catalog.tables import Milliseconds

MAX_PAGE = 1000


class Order(msgspec.Struct, frozen=True):
    """How a listing is sorted: unique over all its columns, all in one direction."""

    columns: tuple[Column[Any], ...]
    descending: bool = False

    def page(self, query: Select[Any], cursor: str | None, limit: int) -> Select[Any]:
        """Sort, start behind the cursor, and take one more than asked for, which tells whether there is more.

        Raises:
            InvalidInput: `cursor` is not one of ours, or `limit` is out of 1…1000.
        """
        if not 1 <= limit <= MAX_PAGE:
            msg = f"limit: {limit} is not between 1 and {MAX_PAGE}"
            raise InvalidInput(msg, "limit")
        if cursor is not None:
            place = tuple_(*self._decode(cursor))
            here = tuple_(*self.columns)
            query = query.where(here < place if self.descending else here > place)
        return query.order_by(*(c.desc() if self.descending else c.asc() for c in self.columns)).limit(limit + 1)

    def cursor(self, rows: Sequence[Any], limit: int) -> str | None:
        """Return the cursor after the first `limit` rows, None where they are all."""
        if len(rows) <= limit:
            return None
        last = rows[limit - 1]._mapping
        return _encode([last[column.key] for column in self.columns])

    def _decode(self, cursor: str) -> list[Any]:
        try:
            place = msgspec.json.decode(base64.b64decode(cursor, altchars=b"-_", validate=True), type=list[int | str])
            return [_bound(value, column) for value, column in zip(place, self.columns, strict=True)]
        except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
            msg = "cursor: not one that was given out here"
            raise InvalidInput(msg, "cursor") from error


def _bound(value: int | str, column: Column[Any]) -> Any:
    if isinstance(value, int) != isinstance(column.type, Milliseconds):
        msg = f"{value!r} is no {column.key}"
        raise ValueError(msg)
    return literal(value, column.type)


def _encode(place: list[Any]) -> str:
    plain = [int(value) if isinstance(value, int) else value for value in place]
    return base64.urlsafe_b64encode(msgspec.json.encode(plain)).decode()
