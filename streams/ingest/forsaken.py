"""Sessions that media alone opened and no living worker will end: theirs died, and the recorder stayed away.

Every worker could see them, for all read the same log; the one that holds the recorder's partition ends them. How long
no media has come is counted in the log's own ticks, so that neither an outage of the log nor a long read of its past is
taken for silence of a recorder: without ticks no time passes, and media put on the log before a tick is read before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from domain.bus import Record
from domain.clock import Instant
from domain.errors import InvalidEvent
from domain.events import Tick
from domain.wire import decode_event
from streams.ingest.sessions import SessionBook

LONGEST_TICK_MS: Final = 2_000
"""So much silence a tick stands for at most; of seconds that nobody ticked the media may be still on its way."""
_MARK: Final = b'"tick"'
_MARK_WITHIN: Final = 64


class Due(msgspec.Struct, frozen=True):
    """A session to end.

    Attributes:
        recorder_id: Whose.
        session_id: Which.
        completed_at: End of its newest media on the log; where there is none, when it was opened.
    """

    recorder_id: str
    session_id: str
    completed_at: Instant


class _Quiet(msgspec.Struct):
    heard_until: Instant
    since_ms: int


class Forsaken:
    """Finds them; pure.

    Args:
        book: The sessions, fed from the same log before this is.
        silent_ms: How long no media must have come.
    """

    def __init__(self, book: SessionBook, silent_ms: int) -> None:
        self._book = book
        self._silent_ms = silent_ms
        self._ticked: dict[int, tuple[int, int]] = {}  # by partition: the last tick, and how much was ticked in all
        self._quiet: dict[str, _Quiet] = {}  # of open sessions alone

    def take(self, record: Record) -> None:
        """Let time pass, where the record of topic `events` is a tick."""
        if record.key is not None or _MARK not in (record.value or b"")[:_MARK_WITHIN]:
            return
        try:
            event = decode_event(record.value or b"")
        except InvalidEvent:
            return  # the detectors' runner rejects and counts it
        if isinstance(event, Tick):
            last, total = self._ticked.get(record.partition, (int(event.at), 0))
            passed = min(max(0, event.at - last), LONGEST_TICK_MS)
            self._ticked[record.partition] = (max(last, int(event.at)), total + passed)

    def due(self, partition_of: Callable[[str], int]) -> list[Due]:
        """Return the sessions whose time is over; call it every few seconds, once the log's past has been read.

        Args:
            partition_of: Partition of topic `events` by recorder.
        """
        found = []
        quiet, self._quiet = self._quiet, {}
        for recorder_id, session_id in self._book.implicit_sessions():
            _, total_ms = self._ticked.get(partition_of(recorder_id), (0, 0))
            heard_until = self._book.heard_until(session_id)
            known = quiet.get(session_id)
            if known is None or known.heard_until != heard_until:
                known = _Quiet(heard_until, total_ms)
            self._quiet[session_id] = known
            if total_ms - known.since_ms >= self._silent_ms:
                found.append(Due(recorder_id, session_id, heard_until))
        return found
