"""Which channel takes a letter, and what follows from how a try ended: pure. `docs/design/alerts.md` has the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from domain.alerts import RANK
from domain.clock import Instant
from storage.office.channels import Channel
from storage.office.outbox import Entry, Result

PAUSES_MS = (1_000, 4_000, 15_000)
"""Between the tries by one channel; after the last of them the next channel takes it."""
MAX_TRIES = len(PAUSES_MS) + 1
AGAIN_MS = 300_000
"""Where all channels failed: so often one of them is tried again."""
GIVE_UP_MS = 86_400_000
"""What could not be delivered for so long is not delivered any more."""
DOWN_AFTER = 4
"""So many failures of a channel running, and it counts as down: others are taken at once, one letter a minute tries."""
PROBE_MS = 60_000
_DAY_MINUTES = 1440


class Health:
    """Channels that fail, as one process sees them. Bounded by the number of channels."""

    def __init__(self) -> None:
        self._failures: dict[str, int] = {}
        self._probe_at: dict[str, int] = {}

    def is_down(self, channel_id: str, now: int) -> bool:
        """Tell whether to leave a channel alone for now; whoever is told that it is not, tries."""
        if self._failures.get(channel_id, 0) < DOWN_AFTER:
            return False
        if now < self._probe_at.get(channel_id, 0):
            return True
        self._probe_at[channel_id] = now + PROBE_MS
        return False

    def worked(self, channel_id: str) -> None:
        """It took a letter."""
        self._failures.pop(channel_id, None)
        self._probe_at.pop(channel_id, None)

    def failed(self, channel_id: str, now: int) -> None:
        """It did not."""
        self._failures[channel_id] = self._failures.get(channel_id, 0) + 1
        self._probe_at[channel_id] = now + PROBE_MS


class Choice(msgspec.Struct, frozen=True):
    """What to do with an entry now.

    Attributes:
        channel: Send it by this one; None: not now.
        wait_until: Where not now, when again; None: never.
        is_last_hope: All channels failed before; this is one more try.
    """

    channel: Channel | None = None
    wait_until: int | None = None
    is_last_hope: bool = False


def choose(entry: Entry, channels: Sequence[Channel], now: int, is_down: Callable[[str], bool]) -> Choice:
    """Return the channel that takes an entry.

    Args:
        entry: The entry.
        channels: Of its person, in order.
        now: The time.
        is_down: Asks whether a channel is to be left alone.
    """
    fit = [each for each in channels if RANK[entry.message.severity] >= RANK[each.min_severity]]
    if not fit:
        return Choice()
    awake = [each for each in fit if quiet_until(each, entry, now) is None]
    if not awake:
        return Choice(wait_until=min(until for each in fit if (until := quiet_until(each, entry, now)) is not None))
    left = [each for each in awake if each.id not in entry.given_up]
    if not left:
        return Choice(channel=awake[entry.tries % len(awake)], is_last_hope=True)
    for channel in left:
        if not is_down(channel.id):
            return Choice(channel=channel)
    return Choice(channel=left[-1])


def quiet_until(channel: Channel, entry: Entry, now: int) -> int | None:
    """Return when a channel's quiet hours end; None where it has none now, or the matter is critical."""
    if not channel.quiet_from or entry.message.severity == "critical":
        return None
    start, end = _minutes(channel.quiet_from), _minutes(channel.quiet_to)
    moment = Instant(now).datetime()
    minute = moment.hour * 60 + moment.minute
    length = (end - start) % _DAY_MINUTES
    into = (minute - start) % _DAY_MINUTES
    if into >= length:
        return None
    return now - (now % 60_000) + (length - into) * 60_000


def after_failure(
    entry: Entry, choice: Choice, channels: Sequence[Channel], now: int, *, is_final: bool, pause_ms: int = 0
) -> Result:
    """Return what becomes of an entry that a channel did not take.

    Args:
        entry: The entry.
        choice: By what it was tried.
        channels: Of its person.
        now: The time.
        is_final: The channel will not take it.
        pause_ms: The other side asked for so long a pause.
    """
    channel = choice.channel
    if channel is None:
        msg = "nothing was tried"
        raise LookupError(msg)
    if choice.is_last_hope:
        state = "failed" if now - entry.created_at > GIVE_UP_MS else "queued"
        return _result(entry, channel, state, now, tries=entry.tries + 1, wait_ms=max(AGAIN_MS, pause_ms))
    tries = (entry.tries if entry.channel_id == channel.id else 0) + 1
    if not is_final and tries < MAX_TRIES:
        return _result(entry, channel, "queued", now, tries=tries, wait_ms=max(PAUSES_MS[tries - 1], pause_ms))
    given_up = [*entry.given_up, channel.id]
    others = [
        each for each in channels if each.id not in given_up and RANK[entry.message.severity] >= RANK[each.min_severity]
    ]
    return _result(entry, channel, "queued", now, given_up=given_up, wait_ms=0 if others else AGAIN_MS)


def _result(
    entry: Entry,
    channel: Channel,
    state: str,
    now: int,
    *,
    tries: int = 0,
    wait_ms: int = 0,
    given_up: list[str] | None = None,
) -> Result:
    return Result(
        seq=entry.seq,
        state="failed" if state == "failed" else "queued",
        at=now,
        channel_id=channel.id,
        channel=channel.kind,
        tries=tries,
        given_up=entry.given_up if given_up is None else given_up,
        not_before=now + wait_ms,
        is_doubtful=entry.is_doubtful,
    )


def is_exhausted(result: Result, entry: Entry, channels: Sequence[Channel]) -> bool:
    """Tell whether a try was the last that any of somebody's channels had, for the first time."""
    if len(result.given_up) == len(entry.given_up):
        return False
    fit = {each.id for each in channels if RANK[entry.message.severity] >= RANK[each.min_severity]}
    return fit <= set(result.given_up)


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)
