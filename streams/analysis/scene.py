"""What one camera has been looking at: how sharp a picture is, how much it changed, whether it shows the same place.

**Sharp.** The variance of the Laplacian, tile by tile, and the mean of the middle half of the tiles: burnt-in captions
stay sharp when the lens is not, and a person who walks by changes a few tiles only. A sensor's noise stays too, and is
taken out: a second filter, which sees noise as well but no edges (Immerkær, 1996), tells how much of it there is.

**Change.** An encoder that is given the same picture again and again still varies its quantiser, and goes back and
forth between a few pictures that differ by a level here and there. A picture that equals one of the last few, to the
last bit, has not changed; no sensor's noise does that.

**Same place.** A picture is reduced to 64×36 and freed of light: from each point the mean of its surroundings is taken,
and the rest divided by their standard deviation. What remains is where edges are, and it stays when the sun moves, when
dusk comes, when a person walks by. Its correlation with a reference of the same kind is near 1 for the same view and
near 0 for another. The reference follows slowly (a quarter of an hour), and only pictures that agree with it; so a
turned camera is not learnt, until it has shown the same other view for `ADOPT_MS`: somebody meant it then.

A camera that switches to infrared at night sees other shades at a stroke, without colour. It has a reference for colour
and one for grey, and the first picture of a kind begins its own.
"""

from __future__ import annotations

import hashlib
import math
from typing import Final, NamedTuple

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.analysis.tiles import tiles_of
from streams.analysis.wire import PICTURE_WIDTH, Picture

THUMB: Final = (64, 36)
"""Width and height of the reference."""
SURROUNDINGS: Final = 4.0
"""Sigma of the Gaussian that takes light out, thumbnail pixels."""
NOISE: Final = 3.0
"""Levels of Y; a flat surface is not made a pattern of its noise."""
FLAT: Final = 0.05
"""Where less than this is left, there is nothing to recognise."""
BLIND: Final = 4.0
"""Contrast below which next to nothing is seen, as for `picture.covered`."""
FOLLOW_MS: Final = 900_000
SETTLE: Final = 8
"""So many first pictures count alike."""
TRUSTED: Final = 3
"""So many pictures that agree make a reference; the very first may show somebody before the lens."""
SAME: Final = 0.5
"""Correlation from which a picture agrees with a reference."""
ADOPT_MS: Final = 6 * 3_600_000
ADOPT_PICTURES: Final = 100
GREY: Final = 2.0
COLOURED: Final = 4.0
"""Distance of U and V from grey: below the first a picture is grey, above the second coloured, between as before."""
FORGET_MS: Final = 600_000
"""A picture so much older is not the one before."""

GRAIN: Final = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
GRAIN_GAIN: Final = 20 / 36
"""White noise comes through the Laplacian with 20 times its variance, and through `GRAIN` with 36 times."""
DIGESTS: Final = 16

View = NDArray[np.float32]


class Figures(NamedTuple):
    """What is published of a picture; see `domain.events.Observation`."""

    sharpness: float
    change: float | None
    scene_shift: float | None


class Reference(msgspec.Struct, array_like=True):
    """What a camera usually looks at.

    Attributes:
        view: `View` as float32 bytes.
        pictures: How many have gone into it.
        seen_at: Capture time of the last of them.
    """

    view: bytes
    pictures: int
    seen_at: int

    def array(self) -> View:
        """Return the view, shape (36, 64)."""
        return np.frombuffer(self.view, np.float32).reshape(THUMB[::-1])


class Memory(msgspec.Struct):
    """What is remembered of one recorder: about 0.2 MB, of which 30 kB are kept over restarts.

    Attributes:
        grey: The camera sees in grey.
        references: By `grey`.
        others: A view that does not agree with the reference, by `grey`, and since when it is there.
        small: The picture before, as in `Picture`.
        small_at: Its capture time.
        digests: Of the last pictures, newest last.
    """

    grey: bool = False
    references: dict[bool, Reference] = {}
    others: dict[bool, tuple[int, Reference]] = {}
    small: bytes = b""
    small_at: int = 0
    digests: list[bytes] = []


def see(memory: Memory, picture: Picture, at: int) -> Figures:
    """Compare a picture with what is remembered, and remember it.

    Args:
        memory: Of the recorder; changed.
        picture: As decoded.
        at: Its capture time, milliseconds since 1970.
    """
    small = np.frombuffer(picture.small, np.uint8).reshape(-1, PICTURE_WIDTH)
    return Figures(_sharpness(small), _change(memory, picture.small, at), _shift(memory, picture, small, at))


def _sharpness(small: NDArray[np.uint8]) -> float:
    edges = cv2.Laplacian(small, cv2.CV_32F)
    grain = cv2.filter2D(small, cv2.CV_32F, GRAIN)
    pairs = zip(tiles_of(edges), tiles_of(grain), strict=True)
    found = np.sort(
        [max(0.0, float(one.var()) - GRAIN_GAIN * float(two.var())) if one.size else 0.0 for one, two in pairs]
    )
    quarter = len(found) // 4
    return float(found[quarter : len(found) - quarter].mean())


def _change(memory: Memory, small: bytes, at: int) -> float | None:
    before, since = memory.small, at - memory.small_at
    digest = hashlib.blake2b(small, digest_size=8).digest()
    known = digest in memory.digests
    memory.small, memory.small_at = small, at
    memory.digests = [*(one for one in memory.digests if one != digest), digest][-DIGESTS:]
    if len(before) != len(small) or not 0 <= since <= FORGET_MS:
        return None
    if known:
        return 0.0
    return float(cv2.absdiff(np.frombuffer(before, np.uint8), np.frombuffer(small, np.uint8)).mean()) / 255


def _shift(memory: Memory, picture: Picture, small: NDArray[np.uint8], at: int) -> float | None:
    if picture.contrast < BLIND:
        return None  # a cover is grey too, and no reference
    if picture.colour < GREY:
        memory.grey = True
    elif picture.colour > COLOURED:
        memory.grey = False
    found = view(small)
    if float(found.std()) < FLAT:
        return None
    reference = memory.references.get(memory.grey)
    if reference is None:
        memory.references[memory.grey] = Reference(found.tobytes(), 1, at)
        return None
    agreement = correlation(found, reference.array())
    if agreement >= SAME:
        memory.others.pop(memory.grey, None)
        _follow(reference, found, at)
    else:
        _consider(memory, found, at)
        if reference.pictures < TRUSTED:
            return None
    return min(1.0, max(0.0, 1 - agreement))


def view(small: NDArray[np.uint8]) -> View:
    """Return a picture freed of light, shape (36, 64)."""
    thumb = cv2.resize(small.astype(np.float32), THUMB, interpolation=cv2.INTER_AREA)
    detail = thumb - cv2.GaussianBlur(thumb, (0, 0), SURROUNDINGS)
    strength = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), SURROUNDINGS))
    return np.asarray(detail / (strength + NOISE), dtype=np.float32)


def correlation(one: View, other: View) -> float:
    """Return Pearson's correlation of two views."""
    first, second = one - one.mean(), other - other.mean()
    scale = math.sqrt(float((first * first).sum()) * float((second * second).sum()))
    return float((first * second).sum()) / scale if scale > 0 else 0.0


def _follow(reference: Reference, found: View, at: int) -> None:
    since = max(0, at - reference.seen_at)
    weight = max(1 - math.exp(-since / FOLLOW_MS), 1 / (reference.pictures + 1) if reference.pictures < SETTLE else 0.0)
    reference.view = (reference.array() * (1 - weight) + found * weight).astype(np.float32).tobytes()
    reference.pictures = min(reference.pictures + 1, 1_000_000)
    reference.seen_at = max(reference.seen_at, at)


def _consider(memory: Memory, found: View, at: int) -> None:
    """Watch another view; adopt it when it has been there for long, or longer than a reference that is hardly one."""
    other = memory.others.get(memory.grey)
    if other is None or correlation(found, other[1].array()) < SAME:
        memory.others[memory.grey] = (at, Reference(found.tobytes(), 1, at))
        return
    since, reference = other
    _follow(reference, found, at)
    young = memory.references[memory.grey].pictures
    meant = at - since >= ADOPT_MS and reference.pictures >= ADOPT_PICTURES
    if meant or (young < TRUSTED and reference.pictures > young):
        memory.references[memory.grey] = reference
        del memory.others[memory.grey]
