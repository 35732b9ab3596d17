"""What of a span is recorded: stretches of footage, joined where they meet. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from domain.clock import Instant

How = Literal["stored", "delivered", "pending"]
JOIN_MS = 1_000
"""Less than this between two stretches is no gap (`recording.gap` says the same)."""


class Stretch(msgspec.Struct, kw_only=True, rename={"from_": "from"}):
    """Footage without a hole.

    Attributes:
        from_: Its start (`from` on the wire).
        to: Its end.
        session_id: Of which session.
        how: Taken in live and stored, delivered later, or not in the store yet.
    """

    from_: Instant
    to: Instant
    session_id: str
    how: How


def joined(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Join what meets, of one session and one way, in order of time."""
    last: dict[tuple[str, str], Stretch] = {}
    found: list[Stretch] = []
    for one in sorted(stretches, key=lambda each: (each.from_, each.to)):
        before = last.get((one.session_id, one.how))
        if before is not None and one.from_ - before.to < JOIN_MS:
            before.to = max(before.to, one.to)
            continue
        new = msgspec.structs.replace(one)
        last[one.session_id, one.how] = new
        found.append(new)
    return found


class Hole(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """Time of a session of which nothing is there."""

    from_: Instant
    to: Instant
    session_id: str


def holes(stretches: Iterable[Stretch]) -> list[Hole]:
    """Return what lies between the first and the last footage of each session and is not there at all."""
    reached: dict[str, Instant] = {}
    found: list[Hole] = []
    for one in sorted(stretches, key=lambda each: each.from_):
        at = reached.get(one.session_id)
        if at is not None and one.from_ - at >= JOIN_MS:
            found.append(Hole(at, one.from_, one.session_id))
        reached[one.session_id] = one.to if at is None else max(at, one.to)
    return found
