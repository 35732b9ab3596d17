"""Which member of a group reads which partition. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

Member = TypeVar("Member", bound=Hashable)
Item = TypeVar("Item", bound=Hashable)


def share(
    wanted: Mapping[Member, Sequence[Item]], held: Mapping[Member, frozenset[Item]]
) -> dict[Member, frozenset[Item]]:
    """Give every partition to one of the members that want it, evenly, moving as few as possible.

    Args:
        wanted: The partitions of each member's topics, in the order in which the members joined.
        held: What each member holds now.

    Returns:
        What each member is to hold; together everything that is wanted, nothing twice.
    """
    result: dict[Member, list[Item]] = {member: [] for member in wanted}
    items = list(dict.fromkeys(item for items in wanted.values() for item in items))
    members_of = {item: [member for member, its in wanted.items() if item in set(its)] for item in items}
    quota = -(-len(items) // len(wanted)) if wanted else 0
    homeless = []
    for item in items:
        owner = next((member for member in members_of[item] if item in held.get(member, ())), None)
        if owner is not None and len(result[owner]) < quota:
            result[owner].append(item)
        else:
            homeless.append(item)
    for item in homeless:
        result[min(members_of[item], key=lambda member: len(result[member]))].append(item)
    _level(result, members_of)
    return {member: frozenset(items) for member, items in result.items()}


def _level(result: dict[Member, list[Item]], members_of: Mapping[Item, Sequence[Member]]) -> None:
    """Move single items from the fullest to the emptiest until they differ by at most one."""
    while result:
        emptiest = min(result, key=lambda member: len(result[member]))
        fullest = max(result, key=lambda member: len(result[member]))
        movable = [item for item in result[fullest] if emptiest in members_of[item]]
        if len(result[fullest]) - len(result[emptiest]) <= 1 or not movable:
            return
        result[fullest].remove(movable[-1])
        result[emptiest].append(movable[-1])
