"""The Merkle tree of RFC 9162 §2.1 over SHA-256. Pure: hashes in, hashes and answers out.

Leaves are numbered from 0; a tree is known by its size. A *complete subtree* has 2^level leaves and begins at a
multiple of that; it never changes once its last leaf is there, so its root is worth keeping. Every hash that a proof
needs is the root of a *range* of leaves, and every such range is a few complete subtrees.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from domain.errors import InvalidInput

ALGORITHM = "sha256"
HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256().digest()


class Range(NamedTuple):
    """Leaves `start` to `end` (exclusive)."""

    start: int
    end: int


class Subtree(NamedTuple):
    """The complete subtree number `number` of 2^`level` leaves."""

    level: int
    number: int

    @property
    def last_leaf(self) -> int:
        """The leaf that completes it."""
        return ((self.number + 1) << self.level) - 1


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an interior node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def fold(roots: Sequence[bytes]) -> bytes:
    """Return the root over neighbouring complete subtrees, the largest first."""
    if not roots:
        return EMPTY_ROOT
    found = roots[-1]
    for root in reversed(roots[:-1]):
        found = node_hash(root, found)
    return found


class Frontier:
    """The right edge of a growing tree: the roots of its complete subtrees, one for each bit of its size.

    Args:
        size: Leaves so far.
        roots: As `cover` names them, the largest first.
    """

    def __init__(self, size: int = 0, roots: Iterable[bytes] = ()) -> None:
        self.size = size
        self._roots = list(roots)
        if len(self._roots) != size.bit_count():
            msg = f"size: a tree of {size} has {size.bit_count()} complete subtrees, not {len(self._roots)}"
            raise InvalidInput(msg, "size")

    def add(self, leaf: bytes) -> list[bytes]:
        """Add a leaf's hash; return the roots of the complete subtrees that it ends, from the leaf itself upwards."""
        ended = [leaf]
        left = self.size
        while left & 1:
            ended.append(node_hash(self._roots.pop(), ended[-1]))
            left >>= 1
        self._roots.append(ended[-1])
        self.size += 1
        return ended

    def root(self) -> bytes:
        """Return the root of the tree so far."""
        return fold(self._roots)


def cover(part: Range) -> list[Subtree]:
    """Return the complete subtrees that make up a range of a proof, the largest first.

    Such a range begins at a multiple of the smallest power of two that is not below its length.
    """
    found = []
    start, length = part.start, part.end - part.start
    while length:
        level = length.bit_length() - 1
        found.append(Subtree(level, start >> level))
        start += 1 << level
        length -= 1 << level
    return found


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """Return what an inclusion proof is made of, in its order (RFC 9162 §2.1.3.1).

    Raises:
        InvalidInput: No such leaf in a tree of that size.
    """
    if not 0 <= index < size:
        msg = f"index: no leaf {index} in a tree of {size}"
        raise InvalidInput(msg, "index")
    found = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            found.append(Range(middle, end))
            end = middle
        else:
            found.append(Range(start, middle))
            start = middle
    return found[::-1]


def consistency_ranges(first: int, second: int) -> list[Range]:
    """Return what a consistency proof is made of, in its order (RFC 9162 §2.1.4.1); nothing where nothing is to show.

    Raises:
        InvalidInput: The first tree is larger than the second.
    """
    if not 0 <= first <= second:
        msg = f"first: a tree of {second} does not begin with one of {first}"
        raise InvalidInput(msg, "first")
    if first in {0, second}:
        return []
    found = []
    start, end = 0, second
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            found.append(Range(middle, end))
            end = middle
        else:
            found.append(Range(start, middle))
            start = middle
    if start:
        found.append(Range(start, end))
    return found[::-1]


def root_of_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """Return the root that a proof leads to (RFC 9162 §2.1.3.2), None where it has not the form of such a proof."""
    if not 0 <= index < size:
        return None
    number, last, root = index, size - 1, leaf
    for step in proof:
        if not last:
            return None
        if number & 1 or number == last:
            root = node_hash(step, root)
            while number and not number & 1:
                number, last = number >> 1, last >> 1
        else:
            root = node_hash(root, step)
        number, last = number >> 1, last >> 1
    return None if last else root


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether a leaf's hash is number `index` in the tree of that size and root."""
    return _whole([leaf, root, *proof]) and root_of_inclusion(leaf, index, size, proof) == root


def verify_consistency(first: int, second: int, proof: Sequence[bytes], first_root: bytes, second_root: bytes) -> bool:
    """Tell whether the second tree is the first with leaves added (RFC 9162 §2.1.4.2)."""
    if not _whole([first_root, second_root, *proof]) or not 0 <= first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    if not first:
        return not proof and first_root == EMPTY_ROOT
    path = list(proof) if first & (first - 1) else [first_root, *proof]
    return bool(path) and _roots_of_consistency(first - 1, second - 1, path) == (first_root, second_root)


def _roots_of_consistency(number: int, last: int, path: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    while number & 1:
        number, last = number >> 1, last >> 1
    old = new = path[0]
    for step in path[1:]:
        if not last:
            return None
        if number & 1 or number == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while number and not number & 1:
                number, last = number >> 1, last >> 1
        else:
            new = node_hash(new, step)
        number, last = number >> 1, last >> 1
    return None if last else (old, new)


def _split(length: int) -> int:
    """Return the largest power of two below a length of at least two."""
    return 1 << ((length - 1).bit_length() - 1)


def _whole(hashes: Iterable[bytes]) -> bool:
    return all(len(one) == HASH_BYTES for one in hashes)
