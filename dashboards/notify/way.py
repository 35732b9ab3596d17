"""Ways by which a letter reaches somebody: their port, and what may go wrong on them."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from domain.errors import LiuhenError


class Undelivered(LiuhenError):
    """A letter was not delivered, as far as is known.

    Args:
        message: Why; names no address.
        is_final: The other side will say no again.
        is_doubtful: It may have arrived all the same.
        retry_after_s: The other side asked for so long a pause.
    """

    def __init__(
        self, message: str, *, is_final: bool = False, is_doubtful: bool = False, retry_after_s: float = 0.0
    ) -> None:
        super().__init__(message)
        self.is_final, self.is_doubtful, self.retry_after_s = is_final, is_doubtful, retry_after_s


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A letter with its words.

    Attributes:
        id: The same for every try of the same message to the same person: receivers tell repetitions by it.
        title: One line.
        body: Some lines.
        severity: How bad.
        link: Page of the alert; empty where no public address is set.
        facts: What it says, for programs.
    """

    id: str
    title: str
    body: str
    severity: str
    link: str
    facts: dict[str, Any]


class Way(Protocol):
    """Delivers to addresses of one kind."""

    tells_repetitions: bool
    """Receivers tell a repetition by its id."""

    async def send(self, address: str, letter: Written) -> None:
        """Deliver.

        Raises:
            Undelivered: It was not, as far as is known.
        """
        ...

    async def close(self) -> None:
        """Let go of connections and threads."""
        ...
