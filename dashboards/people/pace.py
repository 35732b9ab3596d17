"""How fast passwords may be tried: whoever guesses waits, and nobody is locked out by somebody else's guessing.

Failures are counted under three names, and each has its own price:

1. **client and login**: after 5 failures the next try is taken only 1 s later, then 2, 4 … up to 60 s. A client is
   what its address says; a browser that this person signed in from before is a client of its own, so that the duty
   officer's machine is let in however many others guess at the officer's login, even from behind the same address.
2. **client**: after 20 failures at whatever logins the same, up to 60 s.
3. **login**: after 20 failures by clients that it does not know, an answer to such a client is held back, up to 3 s.
   It is never refused.

In memory, of this process: a flood must not become writes. What is forgotten first is what was tried last the longest
ago; ten minutes without a failure forget all of a name.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import msgspec

from domain.clock import Clock
from domain.errors import LiuhenError

FREE_TOGETHER = 5
FREE_CLIENT = 20
FREE_LOGIN = 20
MOST_S = 60.0
MOST_HELD_S = 3.0
FORGIVE_S = 600.0
MAX_REMEMBERED = 50_000


class Slow(LiuhenError):
    """Tried too often.

    Args:
        wait_s: When to come again.
    """

    def __init__(self, wait_s: float) -> None:
        super().__init__("too many attempts")
        self.wait_s = wait_s


class _Failures(msgspec.Struct):
    count: float
    last_s: float


class Pace:
    """See the module.

    Args:
        clock: Its monotonic time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()

    def check(self, client: str, login: str, *, known: bool) -> float:
        """Ask whether a try may be made now.

        Args:
            client: Where it comes from: an address, or a known browser.
            login: What is tried.
            known: Whether the client is a browser that this login was used from.

        Returns:
            How long to hold the answer back, s.

        Raises:
            Slow: Not now.
        """
        waits = [self._wait_s((client, login), FREE_TOGETHER)]
        if not known:
            waits.append(self._wait_s((client, ""), FREE_CLIENT))
        if max(waits) > 0:
            raise Slow(max(waits))
        return 0.0 if known else min(MOST_HELD_S, max(0.0, (self._count(("", login)) - FREE_LOGIN) * 0.2))

    def failed(self, client: str, login: str, *, known: bool) -> int:
        """Count a failure, before its answer is given; return how many there were of this client at this login."""
        self._add((client, login))
        if not known:
            self._add((client, ""))
            self._add(("", login))
        return round(self._count((client, login)))

    def succeeded(self, client: str, login: str) -> None:
        """Forget the failures of a client at a login."""
        self._failures.pop((client, login), None)

    def _wait_s(self, key: tuple[str, str], free: int) -> float:
        found = self._failures.get(key)
        if found is None or found.count <= free:
            return 0.0
        pause_s = min(MOST_S, math.exp2(min(10.0, found.count - free - 1)))
        return max(0.0, found.last_s + pause_s - self._clock.monotonic())

    def _count(self, key: tuple[str, str]) -> float:
        found = self._failures.get(key)
        return 0.0 if found is None or self._clock.monotonic() - found.last_s > FORGIVE_S else found.count

    def _add(self, key: tuple[str, str]) -> None:
        self._failures[key] = _Failures(self._count(key) + 1, self._clock.monotonic())
        self._failures.move_to_end(key)
        if len(self._failures) > MAX_REMEMBERED:
            self._failures.popitem(last=False)
