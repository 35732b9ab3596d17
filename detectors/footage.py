"""Footage that should be in the store and is not, as spans of capture time. Pure; times are ms since 1970.

Spans are tuples, ascending and without overlap. What is left between two of them after rounding is nothing: capture
times of fragments and of segments may differ by up to `JOIN_MS`.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

JOIN_MS = 500
MAX_PIECES = 256
"""Spans kept; beyond it neighbours are counted as one, and remnants up to the time between them as nothing."""


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """Media from `low` to `high`; `at` is when the first of it came in."""

    low: int
    high: int
    at: int


Pieces = tuple[Piece, ...]


class Bounded(NamedTuple):
    """Pieces, and the longest remnant that counts as nothing from now on."""

    pieces: Pieces
    slack: int


def add(pieces: Pieces, low: int, high: int, at: int, *, apart: bool = False) -> Pieces:
    """Return the pieces with one more span.

    Args:
        pieces: The pieces.
        low: Capture time of its beginning.
        high: Capture time of its end; nothing is added if it does not lie behind `low`.
        at: When it came in.
        apart: Keep it a piece of its own where it follows another, so that its own `at` is known.
    """
    if high <= low:
        return pieces
    if not pieces or low > pieces[-1].high + JOIN_MS:
        return (*pieces, Piece(low, high, at))
    last = pieces[-1]
    if low < last.low:
        return _merged(pieces, Piece(low, high, at))
    if high <= last.high:
        return pieces
    if apart:
        return (*pieces, Piece(max(low, last.high), high, at))
    return (*pieces[:-1], Piece(last.low, high, last.at))


def _merged(pieces: Pieces, new: Piece) -> Pieces:
    touching = [one for one in pieces if one.low <= new.high + JOIN_MS and one.high >= new.low - JOIN_MS]
    union = Piece(
        min([new.low, *(one.low for one in touching)]),
        max([new.high, *(one.high for one in touching)]),
        min([new.at, *(one.at for one in touching)]),
    )
    return tuple(sorted([*(one for one in pieces if one not in touching), union], key=lambda one: one.low))


def remove(pieces: Pieces, low: int, high: int, slack: int = JOIN_MS) -> Pieces:
    """Return the pieces without a span; remnants of what it cuts are dropped up to `slack`."""
    if high <= low:
        return pieces
    kept: list[Piece] = []
    for one in pieces:
        if high <= one.low or low >= one.high:
            kept.append(one)
            continue
        kept += [Piece(begin, end, one.at) for begin, end in ((one.low, low), (high, one.high)) if end - begin > slack]
    return pieces if len(kept) == len(pieces) and tuple(kept) == pieces else tuple(kept)


def without(pieces: Pieces, others: Pieces) -> Pieces:
    """Return the pieces without all the others."""
    for one in others:
        pieces = remove(pieces, one.low, one.high)
    return pieces


def bounded(pieces: Pieces, slack: int = JOIN_MS) -> Bounded:
    """Return at most `MAX_PIECES`: neighbours are joined in pairs, those that touch first."""
    if len(pieces) <= MAX_PIECES:
        return Bounded(pieces, slack)
    for reach in (slack, None):
        pieces, slack = _paired(pieces, slack, reach)
        if len(pieces) <= MAX_PIECES:
            break
    return Bounded(pieces, slack)


def _paired(pieces: Pieces, slack: int, reach: int | None) -> Bounded:
    joined: list[Piece] = []
    free = False  # whether the newest one in the list has no partner yet
    for one in pieces:
        gap = one.low - joined[-1].high if joined else 0
        if free and (reach is None or gap <= reach):
            joined[-1] = Piece(joined[-1].low, one.high, min(joined[-1].at, one.at))
            slack, free = max(slack, gap), False
        else:
            joined.append(one)
            free = True
    return Bounded(tuple(joined), slack)


def length(pieces: Pieces) -> int:
    """Return how much they are together, milliseconds."""
    return sum(one.high - one.low for one in pieces)
