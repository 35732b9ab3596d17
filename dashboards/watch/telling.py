"""What the watch tells people by itself: each death once, again every hour while it lasts, and each return once. Pure.

What could not be sent is decided anew at the next look, so nothing waits anywhere; a message that was sent although its
sender said otherwise comes twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dashboards.watch.view import Watched
from dashboards.words import Words
from domain.clock import Instant

REPEAT_MS = 3_600_000


class Message(msgspec.Struct, frozen=True):
    """What goes out, and what is true once it has.

    Attributes:
        title: One line.
        body: A line for each target.
        told: When each that is ill was last told, by name, once this has been sent.
    """

    title: str
    body: str
    told: Mapping[str, Instant]


def message(
    targets: Sequence[Watched], told: Mapping[str, Instant], now: Instant, texts: Sequence[Words]
) -> Message | None:
    """Return what is to be told now; None where it has all been told.

    Args:
        targets: All, as they are.
        told: When each was last told to be ill, by name.
        now: The time.
        texts: The languages it is said in, one below the other.
    """
    ill = [one for one in targets if one.condition == "ill"]
    fresh = [one for one in ill if now - told.get(one.name, Instant(0)) >= REPEAT_MS]
    back = [one for one in targets if one.condition == "well" and one.name in told]
    if not fresh and not back:
        return None
    kept = {name: at for name, at in told.items() if name in {one.name for one in ill}}
    titles = [w("watch", "title_ill", count=len(ill)) if ill else w("watch", "title_well") for w in texts]
    bodies = ["\n".join([*(_line(one, w, now) for one in fresh), *(_back(one, w) for one in back)]) for w in texts]
    return Message(" / ".join(titles), "\n\n".join(bodies), kept | {one.name: now for one in fresh})


def say(one: Watched, w: Words) -> str:
    """Say what is wrong with one that is ill, and since when."""
    fault = f"{one.fault}_{one.kind}" if one.fault == "standing" and one.kind != "liuhen" else one.fault
    since = "" if one.since is None else w.clock(one.since)
    said = w("watch", fault, name=called(one, w), since=since)
    return f"{said} ({one.detail})" if one.detail and one.kind != "alerts" else said


def called(one: Watched, w: Words) -> str:
    """Return what people call it."""
    return w("watch", "chain") if one.kind == "alerts" else one.name


def _line(one: Watched, w: Words, now: Instant) -> str:
    return f"{say(one, w)}, {w.duration((now - (one.since or now)) / 1000)}"


def _back(one: Watched, w: Words) -> str:
    return w("watch", "back", name=called(one, w))
