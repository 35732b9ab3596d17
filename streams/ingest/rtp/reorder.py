"""Packets back in order, bounded in time and number; what is missing, what to ask for again, what is lost for good.

Pure: the caller passes monotonic seconds. On a reliable transport (`delay_s` 0) nothing is ever held: a hole in the
sequence numbers is a loss the sender made.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

MAX_DROPOUT: Final = 3000
"""A jump ahead of more than this is a new stream, not a loss (RFC 3550, A.1)."""
MAX_MISORDER: Final = 1000
"""So far behind a packet may come; beyond it is a new stream."""
_GIVEN_UP_KEPT: Final = 1024

T = TypeVar("T")


class ReorderLimits(msgspec.Struct, frozen=True):
    """How long to wait for a missing packet and how to ask for it.

    Attributes:
        delay_s: Longest a packet waits for one before it; 0 on a reliable transport.
        packets: Most packets held at once; beyond it the oldest hole is given up.
        nack: Whether the other side takes NACKs (RFC 4585).
        nack_after_s: A packet missing for so long is asked for: reordering alone mends itself.
        nack_every_s: It is asked for again after this.
        nack_tries: So many times at most.
    """

    delay_s: float = 0.2
    packets: int = 512
    nack: bool = False
    nack_after_s: float = 0.01
    nack_every_s: float = 0.06
    nack_tries: int = 4


IN_ORDER: Final = ReorderLimits(delay_s=0.0)
"""For RTP inside a TCP connection."""


class Released(NamedTuple, Generic[T]):
    """A packet whose turn it is.

    Attributes:
        item: What was pushed.
        lost: Packets given up right before it.
        restarted: The sender's numbering began anew at it.
    """

    item: T
    lost: int
    restarted: bool


class _Missing:
    __slots__ = ("ask_at_s", "tries")

    def __init__(self, ask_at_s: float) -> None:
        self.ask_at_s = ask_at_s
        self.tries = 0


class ReorderBuffer(Generic[T]):
    """Orders the packets of one source by sequence number.

    Attributes:
        expected: Next sequence number, unwrapped; None before the first packet. A caller that sees the expected number
            come while nothing is held may add 1 itself and spare the call.
        held: Packets waiting, by unwrapped number, with their arrival.
        lost: Packets given up, less those that came after all.
        duplicates: Packets that came twice.
        late: Packets that came after they had been given up; they are dropped.
    """

    __slots__ = (
        "_candidate",
        "_given_up",
        "_highest",
        "_limits",
        "_missing",
        "duplicates",
        "expected",
        "held",
        "late",
        "lost",
    )

    def __init__(self, limits: ReorderLimits) -> None:
        self._limits = limits
        self.duplicates = 0
        self.late = 0
        self.lost = 0
        self.reset()

    def reset(self) -> None:
        """Forget the numbering; the next packet begins a new one."""
        self.expected: int | None = None
        self.held: dict[int, tuple[T, float]] = {}
        self._highest = -1
        self._missing: dict[int, _Missing] = {}
        self._given_up: OrderedDict[int, None] = OrderedDict()
        self._candidate: tuple[int, T] | None = None

    def push(self, sequence: int, item: T, now_s: float) -> list[Released[T]]:
        """Take a packet.

        Args:
            sequence: 16-bit sequence number.
            item: Whatever belongs to it; it is handed out again.
            now_s: Monotonic time.

        Returns:
            What can go on now, in order; often empty.
        """
        if self.expected is None:
            self.expected = sequence + 1
            return [Released(item, 0, restarted=False)]
        ahead = ((sequence - self.expected + 0x8000) & 0xFFFF) - 0x8000
        if not -MAX_MISORDER <= ahead < MAX_DROPOUT:
            return self._push_stranger(sequence, item)
        self._candidate = None
        number = self.expected + ahead
        if ahead < 0:
            self._count_old(number)
            return []
        if number in self.held:
            self.duplicates += 1
            return []
        if ahead == 0:
            self._missing.pop(number, None)
            return self._release_from(number, item, 0)
        if self._limits.delay_s <= 0:
            return self._release_from(number, item, self._give_up_to(number))
        self._hold(number, item, now_s)
        return self.expire(now_s)

    def expire(self, now_s: float) -> list[Released[T]]:
        """Give up the holes whose time is over."""
        released: list[Released[T]] = []
        while self.held and (len(self.held) > self._limits.packets or now_s >= self._deadline_s()):
            number = min(self.held)
            lost = self._give_up_to(number)
            item, _ = self.held.pop(number)
            released += self._release_from(number, item, lost)
        return released

    def flush(self) -> list[Released[T]]:
        """Give up every hole: the stream ends or starts anew."""
        return self.expire(float("inf"))

    @property
    def wake_at_s(self) -> float | None:
        """When `expire` or `nacks` has something to do next, monotonic; None: not before the next packet."""
        if not self.held:
            return None
        deadline = self._deadline_s()
        if not self._limits.nack:
            return deadline
        return min(deadline, *(m.ask_at_s for m in self._missing.values())) if self._missing else deadline

    def nacks(self, now_s: float) -> list[int]:
        """Return the 16-bit sequence numbers to ask for again now; each is then due again later, a few times."""
        if not (self._limits.nack and self._missing):
            return []
        due = []
        for number, missing in self._missing.items():
            if now_s < missing.ask_at_s:
                continue
            missing.tries += 1
            again = missing.tries < self._limits.nack_tries
            missing.ask_at_s = now_s + self._limits.nack_every_s if again else float("inf")
            due.append(number & 0xFFFF)
        return due

    def _deadline_s(self) -> float:
        """When the oldest held packet has waited long enough. Arrivals never go back, and dicts keep their order."""
        return next(iter(self.held.values()))[1] + self._limits.delay_s

    def _hold(self, number: int, item: T, now_s: float) -> None:
        assert self.expected is not None  # noqa: S101 - for the type checker
        for gap in range(max(self.expected, self._highest + 1), number):
            self._missing[gap] = _Missing(now_s + self._limits.nack_after_s)
        self._missing.pop(number, None)
        self._highest = max(self._highest, number)
        self.held[number] = (item, now_s)

    def _give_up_to(self, number: int) -> int:
        assert self.expected is not None  # noqa: S101 - for the type checker
        lost = number - self.expected
        self.lost += lost
        for gap in range(max(self.expected, number - _GIVEN_UP_KEPT), number):
            self._missing.pop(gap, None)
            self._given_up[gap] = None
        for gap in range(self.expected, max(self.expected, number - _GIVEN_UP_KEPT)):
            self._missing.pop(gap, None)
        while len(self._given_up) > _GIVEN_UP_KEPT:
            self._given_up.popitem(last=False)
        return lost

    def _release_from(self, number: int, item: T, lost: int) -> list[Released[T]]:
        released = [Released(item, lost, restarted=False)]
        number += 1
        while self.held and (following := self.held.pop(number, None)) is not None:
            released.append(Released(following[0], 0, restarted=False))
            number += 1
        self.expected = number
        return released

    def _count_old(self, number: int) -> None:
        if number in self._given_up:
            del self._given_up[number]
            self.late += 1
            self.lost -= 1
        else:
            self.duplicates += 1

    def _push_stranger(self, sequence: int, item: T) -> list[Released[T]]:
        """Believe in a new numbering when two packets in a row speak for it (RFC 3550, A.1); keep the first of them."""
        candidate, self._candidate = self._candidate, (sequence, item)
        if candidate is None or sequence != (candidate[0] + 1) & 0xFFFF:
            return []
        released = self.flush()
        self.reset()
        self.expected = sequence + 1
        return [*released, Released(candidate[1], 0, restarted=True), Released(item, 0, restarted=False)]
