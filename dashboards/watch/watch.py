"""The watch: looks at everybody again and again, remembers who is ill since when, and tells people.

It depends on nobody it watches: no log, no database, no store. What it must remember (so that a death is told once,
whoever restarts the watch) stands in one small file.

Each round: 1. Look at all at once. 2. Take each look into account. 3. Tell what is new. 4. Save what has changed.
A crash between 3 and 4 tells twice.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from dashboards.watch.looking import LOOK_S, Looker
from dashboards.watch.metrics import BEAT, ILL
from dashboards.watch.sending import Sender
from dashboards.watch.states import State, restored, step
from dashboards.watch.targets import Target
from dashboards.watch.telling import message
from dashboards.watch.view import Watched, WatchView, watched
from dashboards.words import words
from domain import wire
from domain.clock import Clock, Instant
from domain.errors import InvalidEvent, Unavailable

_TEXTS = ("zh", "en")
_log = logging.getLogger(__name__)


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """What goes over into the watch's next life.

    Attributes:
        targets: Each as it was.
        told: When each that was ill was last told.
    """

    targets: tuple[Watched, ...] = ()
    told: Mapping[str, Instant] = {}


class Watch:
    """See the module.

    Args:
        targets: Whom.
        clock: The time.
        every_s: Pause from one round to the next.
        after_s: Not moving or not ready for so long is bad.
        memory: File that it remembers by.
        sender: Way to people; none where None.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        clock: Clock,
        *,
        every_s: float,
        after_s: float,
        memory: Path,
        sender: Sender | None = None,
    ) -> None:
        self._targets = targets
        self._clock = clock
        self._every_s, self._after_s = every_s, after_s
        self._memory = memory
        self._sender = sender
        self._looker = Looker(clock, min(LOOK_S, every_s))
        self._saved = _load(memory)
        self._told = dict(self._saved.told)
        before = {one.name: one for one in self._saved.targets}
        self._states = {one.name: _state(before.get(one.name)) for one in targets}
        self._beat = 0.0
        self._at: Instant | None = None
        self._telling = ""

    @property
    def view(self) -> WatchView:
        """Return how everybody is."""
        targets = tuple(watched(one, self._states[one.name]) for one in self._targets)
        return WatchView(at=self._at, every_s=self._every_s, targets=targets, telling=self._telling)

    def beat(self, evaluated_s: float | None) -> None:
        """Take a sign of life that came by the way of an alert.

        Args:
            evaluated_s: When Prometheus made it, seconds since 1970, as the alert says: Alertmanager repeats what it
                has long after Prometheus is gone, and a repetition is no sign of life. None where it does not say.
        """
        self._beat = self._clock.monotonic() if evaluated_s is None else evaluated_s
        BEAT.set(self._clock.now() / 1000 if evaluated_s is None else evaluated_s)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            began_s = self._clock.monotonic()
            await self.round()
            await asyncio.sleep(max(0.0, began_s + self._every_s - self._clock.monotonic()))

    async def round(self) -> None:
        """Look at all once."""
        looks = await asyncio.gather(*(self._looker.look(one, self._beat) for one in self._targets))  # step 1
        for target, look in zip(self._targets, looks, strict=True):  # step 2
            before = self._states[target.name]
            after = self._states[target.name] = step(before, look, self._after_s)
            ILL.labels(target.name).set(after.condition == "ill")
            if before.condition != after.condition and "ill" in {before.condition, after.condition}:
                _log.warning("%s is %s: %s %s", target.name, after.condition, after.fault, after.detail)
        self._at = self._clock.now()
        await self._tell()  # step 3
        await self._remember()  # step 4

    async def close(self) -> None:
        """Let go of connections."""
        await self._looker.close()

    async def _tell(self) -> None:
        said = message(self.view.targets, self._told, self._clock.now(), [words(code) for code in _TEXTS])
        if said is None or self._sender is None:
            return
        try:
            await self._sender.send(said)
        except Unavailable as error:
            self._telling = str(error)
            _log.error("nobody could be told: %s", error)
        else:
            self._telling = ""
            self._told = dict(said.told)

    async def _remember(self) -> None:
        targets = tuple(msgspec.structs.replace(one, seen_at=None) for one in self.view.targets)
        now = Remembered(targets=targets, told=self._told)
        if now == self._saved:
            return
        try:
            await asyncio.to_thread(_store, self._memory, now)
        except OSError as error:
            _log.warning("%s: %s; a restart would tell again", self._memory, error.strerror)
        else:
            self._saved = now


def _state(before: Watched | None) -> State:
    if before is None:
        return State()
    return restored(State(condition=before.condition, fault=before.fault, detail=before.detail, since=before.since))


def _load(memory: Path) -> Remembered:
    """Read what was remembered; what cannot be read is forgotten, at the price of telling again."""
    try:
        return wire.convert(msgspec.json.decode(memory.read_bytes()), Remembered)
    except FileNotFoundError:
        return Remembered()
    except (OSError, msgspec.DecodeError, InvalidEvent) as error:
        _log.warning("%s is forgotten: %s", memory, error)
        return Remembered()


def _store(memory: Path, content: Remembered) -> None:
    memory.parent.mkdir(parents=True, exist_ok=True)
    draft = memory.with_suffix(".draft")
    with draft.open("wb") as file:
        file.write(wire.encode(content))
        file.flush()
        os.fsync(file.fileno())
    draft.rename(memory)
