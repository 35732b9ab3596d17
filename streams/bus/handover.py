"""When a consumer's rebalance listeners run: between two `take` calls, never beside the work on a batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

HANDOVER_S = 30.0
"""How long a member that is busy may keep partitions that should move on. Its listener then runs beside its work."""

Step = Callable[[], Awaitable[None]]


class Handover:
    """Steps of a rebalance that wait for the member's next `take`.

    The queue is bounded by the rebalances under way: a group makes one at a time, and waits for its steps.

    Args:
        handover_s: Patience with a member that does not call `take`.
    """

    def __init__(self, handover_s: float = HANDOVER_S) -> None:
        self._handover_s = handover_s
        self._waiting: deque[tuple[Step, asyncio.Future[None]]] = deque()
        self.wake: Callable[[], None] = lambda: None

    @property
    def waiting(self) -> bool:
        """Whether a step is to be run."""
        return bool(self._waiting)

    async def request(self, step: Step) -> None:
        """Have a step run by the member; return when it has been, or when patience ran out and it was run here."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((step, done))
        self.wake()
        await asyncio.wait({done}, timeout=self._handover_s)
        if not done.done() and (step, done) in self._waiting:
            self._waiting.remove((step, done))
            await step()
        elif not done.done():
            await done  # begun by the member, not ended yet

    def post(self, step: Step) -> None:
        """Have a step run by the member's next `take`, without waiting for it."""
        self._waiting.append((step, asyncio.get_running_loop().create_future()))
        self.wake()

    async def run_waiting(self) -> None:
        """Run what waits. What a listener raises goes to the caller of `take`; the rebalance goes on."""
        while self._waiting:
            step, done = self._waiting.popleft()
            try:
                await step()
            finally:
                if not done.done():
                    done.set_result(None)

    def give_up(self) -> None:
        """Let go of whoever waits: the member is leaving."""
        while self._waiting:
            _, done = self._waiting.popleft()
            if not done.done():
                done.set_result(None)
