"""The leaves of a policy: a value, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from domain.clock import Instant

Unit = Literal["seconds", "minutes", "hours", "days", "working_days", "months", "years"]
Id = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$")]

_MS = {"seconds": 1_000, "minutes": 60_000, "hours": 3_600_000}


class Sourced(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Anything that a policy states.

    Attributes:
        source: Ids of the articles it rests on; of the agency's own rule where `local` is set.
        ours: No document says this; it is a default of ours, and `reason` says why.
        reason: Why, for what is ours.
        note: How an unclear wording is read.
        local: The agency whose own rule replaced the document's value; empty otherwise. Never written in a file.
    """

    source: tuple[str, ...] = ()
    ours: bool = False
    reason: str = ""
    note: str = ""
    local: str = ""


class Flag(Sourced, frozen=True, kw_only=True):
    """A yes or no."""

    value: bool


class Number(Sourced, frozen=True, kw_only=True):
    """A figure without a unit, or with the unit in its name."""

    value: int | float


class Text(Sourced, frozen=True, kw_only=True):
    """A term, in the document's words."""

    value: str


class Texts(Sourced, frozen=True, kw_only=True):
    """A list of terms.

    Attributes:
        value: The terms.
        open: The document's list goes on (等).
    """

    value: tuple[str, ...]
    open: bool = False


class Term(Sourced, frozen=True, kw_only=True):
    """A named entry of a list.

    Attributes:
        id: What events and forms call it.
        zh: The document's words.
    """

    id: Id
    zh: str


class Period(Sourced, frozen=True, kw_only=True):
    """A length of time. Hours and shorter run by the clock; days and longer count whole days, China time."""

    value: Annotated[int, Meta(ge=1)]
    unit: Unit

    def ms(self) -> int:
        """Return it in milliseconds.

        Raises:
            ValueError: It counts days or longer, whose length depends on the calendar.
        """
        if self.unit not in _MS:
            msg = f"{self.unit} have no fixed length"
            raise ValueError(msg)
        return self.value * _MS[self.unit]

    def months(self) -> int:
        """Return it in months.

        Raises:
            ValueError: It is in a shorter unit.
        """
        if self.unit not in ("months", "years"):
            msg = f"{self.unit} are no months"
            raise ValueError(msg)
        return self.value * (12 if self.unit == "years" else 1)


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A leader's leave to store later.

    Attributes:
        approved_at: When it was given.
        until: New time to store by.
        by: Who gave it.
    """

    approved_at: Instant
    until: Instant
    by: str = ""


def leaves(value: object, path: str = "") -> Iterator[tuple[str, Sourced]]:
    """Yield every sourced value below this one, with its key path such as ``stops.causes.low_battery``."""
    if isinstance(value, Sourced):
        yield path, value
    if isinstance(value, tuple):
        for index, entry in enumerate(value):
            yield from leaves(entry, f"{path}.{getattr(entry, 'id', index)}")
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from leaves(getattr(value, name), f"{path}.{name}" if path else name)
