"""Passwords: what one must be like, and how it is kept (argon2id). Sources: OWASP ASVS 5.0 V6.2, RFC 9106.

No mix of letters and digits is asked for and none expires: length counts, and that nobody guesses it. A list of leaked
passwords long enough to matter would be larger than this program; those of at least twelve characters that people
really take are made of few words, rows of keys and repetitions, and these are what is looked for.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Callable
from importlib import resources
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from domain.errors import InvalidInput, Unavailable

T = TypeVar("T")

MIN_CHARACTERS = 12
MAX_CHARACTERS = 128
AT_ONCE = 2
WAITING = 32
"""Checks that may wait for their turn; more are told to come again: recording goes on beside them."""

_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
"""19 MiB, two passes, one lane: the least that OWASP's cheat sheet takes, about 25 ms: recordings run beside it."""
_NOBODY = _HASHER.hash("a password that nobody has")

_ROWS = (
    "0123456789",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "qazwsxedcrfvtgbyhnujmikolp",
    "!@#$%^&*()",
)
_WORDS = frozenset(resources.files("dashboards.people").joinpath("guessed.txt").read_text(encoding="utf-8").split())


class Weak(InvalidInput):
    """A new password that will not do.

    Args:
        field: Its field.
        why: `short`, `long` or `guessed`.
    """

    def __init__(self, field: str, why: str) -> None:
        said = {"short": f"at least {MIN_CHARACTERS} characters", "long": f"at most {MAX_CHARACTERS} characters"}
        super().__init__(f"{field}: {said.get(why, 'easily guessed')}", field)
        self.why = why


_DECORATION = re.compile(r"[\d\W_]+")


def check(password: str, *about: str, field: str = "password") -> None:
    """See that a new password is one that is hard to guess.

    Args:
        password: As it was typed.
        about: What it must not be made of: login, name.
        field: Named where it is not.

    Raises:
        Weak: Too short, too long, or easily guessed. The message does not repeat it.
    """
    text = _normal(password)
    if len(text) < MIN_CHARACTERS:
        raise Weak(field, "short")
    if len(text) > MAX_CHARACTERS:
        raise Weak(field, "long")
    if _is_guessed(text.casefold(), [word.casefold() for word in about if len(word) > 2]):
        raise Weak(field, "guessed")


class Crowded(Unavailable):
    """More passwords are being checked than there is room for."""


class Passwords:
    """Hashes and checks, a few at a time, off the event loop."""

    def __init__(self) -> None:
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0  # at most WAITING; who comes then is refused

    async def hashed(self, password: str) -> str:
        """Return what is kept of a password.

        Raises:
            Crowded: Too many are being checked.
        """
        return await self._in_turn(lambda: _HASHER.hash(_normal(password)))

    async def matches(self, kept: str, password: str) -> bool:
        """Tell whether a password is the one that is kept; where none is, it takes as long, so that nothing is learnt.

        Raises:
            Crowded: Too many are being checked.
        """
        text = _normal(password[: 4 * MAX_CHARACTERS])
        found = await self._in_turn(lambda: _verify(kept or _NOBODY, text))
        return found and bool(kept)

    async def _in_turn(self, work: Callable[[], T]) -> T:
        if self._waiting >= WAITING:
            raise Crowded("too many are signing in at this moment")
        self._waiting += 1
        try:
            async with self._gate:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1


def _verify(kept: str, password: str) -> bool:
    try:
        return _HASHER.verify(kept, password)
    except (VerificationError, InvalidHashError):
        return False


def _normal(password: str) -> str:
    """One form of what keyboards write in several (Unicode NFKC), so that it matches on another machine."""
    return unicodedata.normalize("NFKC", password)


def _is_guessed(text: str, about: list[str]) -> bool:
    """Tell whether nothing is left of it without words, rows of keys, repetitions and figures."""
    if len(set(text)) < 5:
        return True
    rest = text
    for word in sorted(about, key=len, reverse=True):
        rest = rest.replace(word, " ")
    rest = _without_rows(rest)
    rest = "".join("" if part in _WORDS else part for part in re.split(r"([\d\W_]+)", rest))
    rest = re.sub(r"(.{1,6}?)\1+", r"\1", rest)
    for word in sorted(_WORDS, key=len, reverse=True):
        rest = rest.replace(word, "")
    return len(text) < 20 and len(_DECORATION.sub("", rest)) < 4


def _without_rows(text: str) -> str:
    """Take out runs of four and more that stand beside one another on a keyboard, in the alphabet or in counting."""
    out, at = [], 0
    while at < len(text):
        length = max((_run(text, at, row) for row in (*_ROWS, *(row[::-1] for row in _ROWS))), default=0)
        if length >= 4:
            at += length
        else:
            out.append(text[at])
            at += 1
    return "".join(out)


def _run(text: str, at: int, row: str) -> int:
    found = row.find(text[at])
    length = 0
    while (
        found >= 0
        and at + length < len(text)
        and found + length < len(row)
        and text[at + length] == row[found + length]
    ):
        length += 1
    return length
