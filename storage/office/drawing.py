"""A draw that nobody chose, and that anybody can do again. Pure.

1. The population is listed, one line for each, and its hash goes into the custody ledger.
2. The seed is the root of the ledger with that entry in it: nobody could know it before, and nobody picks it.
3. Each item gets the SHA-256 of `seed`, a zero byte and its line. Within its unit the smallest stands first.
4. Every unit gives its first before any gives its second, units in the order of the hashes of those: without
   replacement, and no unit is left out as long as the sample has room for all.

Another draw would have another entry, and stand in the ledger beside the first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from domain.errors import InvalidInput

MAX_POPULATION = 50_000
MAX_DRAWN = 200


class Item(msgspec.Struct, frozen=True, order=True):
    """One thing that may be drawn.

    Attributes:
        unit_id: Of which unit; empty where of none.
        name: What it is: a recorder, or recorder/session.
    """

    unit_id: str
    name: str

    def line(self) -> str:
        """Return its line of the population."""
        return f"{self.unit_id}\t{self.name}\n"


def population_sha256(items: Sequence[Item]) -> str:
    """Return the hash of a population: its lines in order, UTF-8."""
    return hashlib.sha256("".join(item.line() for item in sorted(items)).encode()).hexdigest()


def draw(items: Sequence[Item], seed: str, count: int) -> list[Item]:
    """Draw without replacement over units; see the module.

    Args:
        items: The population; each once.
        seed: Hex.
        count: How many; all where there are fewer.

    Raises:
        InvalidInput: An item is listed twice, or the sample is none or too large.
    """
    if len(set(items)) != len(items) or len(items) > MAX_POPULATION:
        raise InvalidInput(f"population: each once, at most {MAX_POPULATION}", "population")
    if not 1 <= count <= MAX_DRAWN:
        raise InvalidInput(f"count: 1 to {MAX_DRAWN}", "count")
    rank: dict[str, int] = {}
    keyed = sorted((_key(seed, item), item) for item in items)
    turns = []
    for key, item in keyed:
        rank[item.unit_id] = rank.get(item.unit_id, 0) + 1
        turns.append((rank[item.unit_id], key, item))
    return [item for _, _, item in sorted(turns)[:count]]


def _key(seed: str, item: Item) -> str:
    return hashlib.sha256(f"{seed}\0{item.line()}".encode()).hexdigest()
