"""The wall, drawn: each row once for each language and form, whoever looks at it and however many."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from dashboards.pages.shell import Shell
from dashboards.people.rights import Person, Place
from dashboards.projection import Change, Fleet
from dashboards.wall.board import Board, Shown
from dashboards.wall.counts import count
from dashboards.wall.tile import Tile
from dashboards.words import words
from domain.clock import Clock, Instant

FORMS = ("row", "tile")
"""On the desk, and on the big screen."""
MAX_TROUBLES = 30
"""Recorders in trouble that are told in words beside the rows; all are in the inbox of alerts."""

MAX_LEFT_OVER = 200
"""Rows of recorders that are gone, kept drawn until so many are."""


class Row(msgspec.Struct, frozen=True):
    """One row as it goes to a page.

    Attributes:
        id: Of the recorder.
        key: Orders rows, worst first, as text.
        html: As the server draws it.
    """

    id: str
    key: str
    html: str


class WallMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The data of `event: wall`.

    Attributes:
        version: What the page then has; asked for again with it.
        now: The server's time, ms.
        reset: So much is not remembered: load the page anew.
        rows: New or changed.
        removed: Gone, or no longer theirs to see.
        summary: The figures, drawn.
        troubles: What is wrong, in words, drawn.
    """

    version: str
    now: int
    reset: bool = False
    rows: list[Row] = []
    removed: list[str] = []
    summary: str = ""
    troubles: str = ""


class Wall:
    """See the module.

    Args:
        fleet: What is now.
        clock: The time.
        shell: Draws.
        place: Where a recorder is, as far as rights go.
    """

    def __init__(self, fleet: Fleet, clock: Clock, shell: Shell, place: Callable[[str], Place]) -> None:
        self.board = Board(fleet, place)
        self._clock, self._shell = clock, shell
        self._drawn: dict[str, dict[str, tuple[Tile, str]]] = {}
        self._told = 0
        self._before = 0

    def hear(self, changes: Sequence[Change]) -> None:
        """Note what changed."""
        self.board.hear(change.recorder_id for change in changes)

    def turn(self, now: Instant) -> bool:
        """Bring it up to date; tell whether anything is new since the turn before."""
        self.board.look(now)
        self._before, new = self._told, self.board.changed > self._told
        self._told = self.board.version
        return new

    def message(self, person: Person, look: str, since: str) -> bytes | None:
        """Return the event that brings a look up to date; None where it is. With no version: since the last turn."""
        life, _, number = since.partition("-")
        if since and (life != self.board.life or not number.isdigit()):
            return self._event(WallMessage(version="", now=int(self._clock.now()), reset=True))
        news = self.board.news(person, int(number) if since else self._before)
        if news is None:
            return self._event(WallMessage(version="", now=int(self._clock.now()), reset=True))
        if not news.tiles and not news.removed:
            return None
        mine = self.board.all(person)
        return self._event(
            WallMessage(
                version=self.version,
                now=int(self._clock.now()),
                rows=[self.row(one, look) for one in news.tiles],
                removed=news.removed,
                summary=self.summary(mine, look),
                troubles=self.troubles(mine, look),
            )
        )

    @property
    def version(self) -> str:
        """What a page drawn now has."""
        return f"{self.board.life}-{self.board.version}"

    @property
    def nothing(self) -> str:
        """What a page has that shows only a part of the rows: it is told all of them."""
        return f"{self.board.life}-0"

    def row(self, shown: Shown, look: str) -> Row:
        """Return a row as it is drawn in a language and form; drawn anew only where it changed."""
        tile = shown.tile
        drawn = self._drawn.setdefault(look, {})
        known = drawn.get(tile.recorder_id)
        if known is None or known[0] is not tile:
            language, _, form = look.partition("/")
            html = self._shell.draw(f"wall_{form}.html", words(language), tile=tile)
            known = drawn[tile.recorder_id] = (tile, html)
            if len(drawn) > len(self.board) + MAX_LEFT_OVER:
                self._drawn[look] = {name: row for name, row in drawn.items() if name in self.board}
        return Row(tile.recorder_id, tile.key, known[1])

    def summary(self, mine: Sequence[Shown], look: str) -> str:
        """Draw the figures of what somebody may see."""
        language, _, form = look.partition("/")
        counts = count(one.tile for one in mine)
        return self._shell.draw("wall_summary.html", words(language), counts=counts, form=form)

    def troubles(self, mine: Sequence[Shown], look: str) -> str:
        """Draw what is wrong, in words, worst first."""
        language, _, form = look.partition("/")
        tiles = [one.tile for one in mine if one.tile.trouble is not None]
        rest = max(0, len(tiles) - MAX_TROUBLES)
        return self._shell.draw("wall_troubles.html", words(language), tiles=tiles[:MAX_TROUBLES], rest=rest, form=form)

    def _event(self, message: WallMessage) -> bytes:
        head = f"event: wall\nid: {message.version}\n" if message.version else "event: wall\n"
        return head.encode() + b"data: " + msgspec.json.encode(message) + b"\n\n"


def look(language: str, form: str) -> str:
    """Name a language and a form in one."""
    return f"{language}/{form}"
