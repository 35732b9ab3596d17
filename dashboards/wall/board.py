"""All tiles of the fleet, and which of them changed when.

A tile is looked at when something was heard of its recorder, or when its own time has come; compared with the one
before; and given a new version where it differs. Whoever was last told version n is owed the tiles after n.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from dashboards.people.rights import Person, Place, Right
from dashboards.projection import Fleet
from dashboards.wall.tile import Tile, see
from domain.clock import Instant

MAX_GONE = 2_000
"""Recorders that went away and are remembered for those who were not there; who was away for longer starts anew."""


class Shown(NamedTuple):
    """A tile as it hangs on the board.

    Attributes:
        tile: What is shown.
        place: Where the recorder is, as far as rights go.
        version: When it last changed.
    """

    tile: Tile
    place: Place
    version: int


class Gone(NamedTuple):
    """A recorder that went away, or to another place: who saw it there must be told."""

    place: Place
    version: int


class News(NamedTuple):
    """What somebody is owed.

    Attributes:
        tiles: New or changed.
        removed: Ids that are no longer there, or no longer theirs to see.
    """

    tiles: list[Shown]
    removed: list[str]


class Board:
    """See the module.

    Args:
        fleet: What is now.
        place: Where a recorder is, as far as rights go.
    """

    def __init__(self, fleet: Fleet, place: Callable[[str], Place]) -> None:
        self._fleet, self._place = fleet, place
        self._shown: dict[str, Shown] = {}
        self._again: dict[str, int] = {}
        self._gone: OrderedDict[str, Gone] = OrderedDict()
        self._forgotten = 0
        self._heard: set[str] = set(fleet.recorders)
        self.life = secrets.token_hex(4)
        """Versions of another life of the console mean nothing here."""
        self.version = 1
        self.changed = 0
        """The version at which anything last changed."""

    def __len__(self) -> int:
        return len(self._shown)

    def __contains__(self, recorder_id: str) -> bool:
        return recorder_id in self._shown

    def hear(self, recorder_ids: Iterable[str]) -> None:
        """Note that something of these recorders changed."""
        self._heard.update(recorder_ids)

    def look(self, now: Instant) -> None:
        """Bring the tiles up to date."""
        due = [name for name, at in self._again.items() if at <= now]
        heard, self._heard = self._heard.union(due), set()
        self.version += 1
        changed = [self._look_at(name, now) for name in heard]
        if any(changed):
            self.changed = self.version

    def news(self, person: Person, since: int) -> News | None:
        """Return what somebody is owed after a version, everything after 0; None where so much is not remembered."""
        if since == 0:
            return News(self.all(person), [])
        if since < self._forgotten or since > self.version:
            return None
        tiles = [one for one in self._shown.values() if one.version > since and _may_see(person, one.place)]
        mine = {one.tile.recorder_id for one in tiles}
        left = [name for name, one in self._gone.items() if one.version > since and _may_see(person, one.place)]
        return News(tiles, [name for name in left if name not in mine])

    def all(self, person: Person) -> list[Shown]:
        """Return everything that somebody may see, worst first."""
        # By where they are now: a recorder that was handed on changes nothing of its tile.
        mine = [one for name, one in self._shown.items() if _may_see(person, self._place(name))]
        return sorted(mine, key=lambda one: one.tile.key)

    def _look_at(self, name: str, now: Instant) -> bool:
        recorder = self._fleet.recorders.get(name)
        before = self._shown.get(name)
        if recorder is None or recorder.gone:
            self._again.pop(name, None)
            if before is None:
                return False
            del self._shown[name]
            self._leave(name, before.place)
            return True
        tile, self._again[name] = see(recorder, now)
        place = self._place(name)
        if before is not None and before.tile == tile and before.place == place:
            return False
        if before is not None and before.place != place:
            self._leave(name, before.place)
        self._shown[name] = Shown(tile, place, self.version)
        return True

    def _leave(self, name: str, place: Place) -> None:
        self._gone[name] = Gone(place, self.version)
        self._gone.move_to_end(name)
        if len(self._gone) > MAX_GONE:
            _, oldest = self._gone.popitem(last=False)
            self._forgotten = oldest.version


def _may_see(person: Person, place: Place) -> bool:
    return person.may_at(Right.FLEET_SEE, place)
