"""Stops of one session: since when, what was recorded and spoken after each. Pure; times are ms since 1970.

A restart that brings less than `restart_min` of media before the next stop is none, so that recording which comes and
goes each second is one stop. "Recorded" is media time by capture time, counted once where feeds overlap.
"""

from __future__ import annotations

import msgspec

from detectors.explanations import FollowUp, Given

SLACK_MS = 1_000
"""Last captured moments are rounded; media that ends this little beyond one is not media after it."""
WORD_BEFORE_MS = 120_000
"""What a device said longer ago does not tell whether it recorded on."""
REST_MS = 10_000
"""Media captured longer than this before a resumption was the rest of what came before the stop."""
NEAR_MS = 60_000
"""How far the time that an explanation names may be from the stop it means."""
MAX_STOPS = 128
"""Stops of one session; beyond it the oldest that needs nothing more is forgotten, or else the oldest."""

_EXCUSED = {"connection_lost": (True,), "server": (True, None)}
"""Reasons that lie on the way → what the device may have said of itself for it to be no stop."""


class Word(msgspec.Struct, frozen=True, array_like=True):
    """What the device last said of itself.

    Attributes:
        at: When measured, on our clock.
        recording: Whether it records.
        since: When it was first heard to say so, without saying the contrary since.
    """

    at: int
    recording: bool
    since: int


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """One stop.

    Attributes:
        began: Last captured moment; part of the id.
        at: When it was learnt; a report is due from there.
        reason: As announced; empty where only the device's own word and silence tell of it.
        not_before: Media up to there was captured before it stopped.
        anchor: Latest moment at which recording is known to have begun again or to stand still.
        word: Whether the device recorded on meanwhile, by its own word; None if it did not say.
        first: Capture time of the first media after it; 0 for none.
        reached: End of the newest media after it.
        recorded: Media after it, milliseconds.
        until: Capture time up to which speech counts; 0 while not enough was recorded.
        full_at: When enough had come in; 0 before.
        spoken: Speech in that time, milliseconds.
        observed: The analysis has looked at media after it.
        given: The best explanation so far.
        due: When what was said was due; 0 while nothing was said.
        said: State last said of it: `unexplained`, `awaiting_review`; empty for nothing.
        settled: It needs no explanation any more: spoken, explained or no stop at all.
        follow_up: What is demanded besides that explanation; None for nothing, or not yet.
    """

    began: int
    at: int
    reason: str
    not_before: int
    anchor: int
    word: bool | None = None
    first: int = 0
    reached: int = 0
    recorded: int = 0
    until: int = 0
    full_at: int = 0
    spoken: int = 0
    observed: bool = False
    given: Given | None = None
    due: int = 0
    said: str = ""
    settled: bool = False
    follow_up: FollowUp | None = None

    def is_done(self) -> bool:
        """Tell whether nothing more is to come of it."""
        return self.settled and (self.follow_up is None or self.follow_up.settled)

    def excused(self) -> bool:
        """Tell whether only the way to us was interrupted, while the device recorded on."""
        return self.word in _EXCUSED.get(self.reason, ())

    def with_media(self, start: int, end: int, at: int, full_ms: int) -> Stop:
        """Return it after media that may have been captured after it; the same object where that changes nothing."""
        if self.full_at:
            return self
        if end <= self.not_before + SLACK_MS:
            # Silence was taken for the stop while the rest of the media was still on its way.
            late = not self.reason and not self.due and end > self.began
            return msgspec.structs.replace(self, began=end, anchor=max(self.anchor, end)) if late else self
        low = max(start, self.reached)
        if end <= low:
            return self
        recorded = self.recorded + end - low
        full = recorded >= full_ms
        return msgspec.structs.replace(
            self,
            first=self.first or start,
            reached=end,
            recorded=recorded,
            until=low + full_ms - self.recorded if full else 0,
            full_at=at if full else 0,
        )

    def with_speech(self, start: int, end: int, spoken: int) -> Stop:
        """Return it after speech was looked for between two capture times."""
        low, high = max(start, self.first), min(end, self.until or end)
        if not self.first or high <= low:
            return self
        return msgspec.structs.replace(self, observed=True, spoken=self.spoken + min(spoken, high - low))

    def with_word(self, measured: int, *, recording: bool) -> Stop:
        """Return it after the device said something of the time between stop and restart."""
        if measured <= self.began or (self.first and measured >= self.first) or self.word in (False, recording):
            return self
        return msgspec.structs.replace(self, word=recording)

    def resumed(self, at: int, restart_min: int) -> Stop:
        """Return it after recording was said to go on."""
        anchor = max(self.anchor, at)
        if 0 < self.recorded < restart_min and self.reached < at - REST_MS:
            return self._from_here(anchor)
        return msgspec.structs.replace(self, anchor=anchor) if anchor != self.anchor else self

    def takes_in(self, began: int, restart_min: int) -> bool:
        """Tell whether a further stop is this one still, or said again."""
        if began <= self.began + SLACK_MS:
            return True
        return not self.settled and self.recorded < restart_min and began - self.anchor < restart_min

    def taking_in(self, began: int, reason: str) -> Stop:
        """Return it after such a stop."""
        firmer = not self.reason or (self.reason in _EXCUSED and reason not in _EXCUSED)
        known = msgspec.structs.replace(self, reason=reason) if firmer and not self.due else self
        if self.settled or began <= self.began + SLACK_MS:
            return known
        return known._from_here(max(self.anchor, began))

    def _from_here(self, anchor: int) -> Stop:
        return msgspec.structs.replace(self, anchor=anchor, first=0, reached=0, recorded=0, spoken=0, observed=False)


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """One session.

    Attributes:
        end: End of its media, bounded by arrival; 0 before any.
        ended: When it ended; 0 while it has not.
        used: `now` of the latest change.
        stops: By `began`.
        loose: The newest explanation that fitted no stop that needed one.
    """

    end: int = 0
    ended: int = 0
    used: int = 0
    stops: tuple[Stop, ...] = ()
    loose: Given | None = None

    def is_idle(self) -> bool:
        """Tell whether nothing more is to come of it."""
        return bool(self.ended) and all(stop.is_done() for stop in self.stops)

    def meant_by(self, given: Given) -> int | None:
        """Return the index of the stop that an explanation belongs to, None for none."""
        real = [index for index, stop in enumerate(self.stops) if not stop.excused()]
        if not given.stopped_at:
            return max((index for index in real if self.stops[index].began <= given.at), default=None)
        near = [(_distance(self.stops[index], given.stopped_at), index) for index in real]
        return min((pair for pair in near if pair[0] <= NEAR_MS), default=(0, None))[1]

    def with_stop(self, stop: Stop) -> Watch:
        """Return it with a further stop, the loose explanation given to it if it is meant by it."""
        stops = (*self.stops, stop)
        if len(stops) > MAX_STOPS:
            spare = min(
                range(len(stops) - 1), key=lambda index: (not stops[index].is_done(), not stops[index].due, index)
            )
            stops = (*stops[:spare], *stops[spare + 1 :])
        return msgspec.structs.replace(self, stops=stops)

    def replaced(self, index: int, stop: Stop) -> Watch:
        """Return it with one stop changed."""
        return msgspec.structs.replace(self, stops=(*self.stops[:index], stop, *self.stops[index + 1 :]))


def _distance(stop: Stop, moment: int) -> int:
    if stop.began <= moment <= stop.at:
        return 0
    return min(abs(stop.began - moment), abs(stop.at - moment))
