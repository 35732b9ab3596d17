"""Which articles and items each document has: what a source may name."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator

import msgspec

from domain.errors import InvalidPolicy
from policies.files import read

FILE = "data/articles.toml"

_DIGITS = "零一二三四五六七八九"


class Instrument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One document of an authority.

    Attributes:
        policy: Policy it belongs to.
        prefix: Short name that its ids carry, such as ``W-AV``; empty where the policy has one document.
        title: As the document prints it.
        articles: How many articles; they run from one without a hole.
        restored: Articles whose number the published copy lost or cut, restored by order.
        items: Articles with items, and the items' numbers as printed.
    """

    policy: str
    prefix: str
    title: str
    articles: int
    restored: tuple[str, ...] = ()
    items: dict[str, tuple[str, ...]] = {}

    def article_ids(self) -> list[str]:
        """Return the ids of all articles, in order."""
        lead = f"{self.prefix} " if self.prefix else ""
        return [f"{lead}第{numeral(number)}条" for number in range(1, self.articles + 1)]

    def ids(self) -> Iterator[str]:
        """Yield the ids of all articles and items, in order."""
        for article in self.article_ids():
            yield article
            for item in self.items.get(article.rpartition(" ")[2], ()):
                yield f"{article}（{item}）"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    instrument: tuple[Instrument, ...]


def numeral(number: int) -> str:
    """Write a number from 1 to 99 as articles are numbered: 二十三."""
    tens, ones = divmod(number, 10)
    lead = "" if tens == 0 else "十" if tens == 1 else f"{_DIGITS[tens]}十"
    return lead + (_DIGITS[ones] if ones else "")


def parse(text: str, where: str = FILE) -> tuple[Instrument, ...]:
    """Read the list of documents.

    Raises:
        InvalidPolicy: Not TOML, an unknown key, or items of an article that does not exist; names file and key.
    """
    try:
        listed = msgspec.convert(tomllib.loads(text), _File).instrument
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        msg = f"{where}: {error}"
        raise InvalidPolicy(msg) from error
    for instrument in listed:
        known = {article.rpartition(" ")[2] for article in instrument.article_ids()}
        for article in (*instrument.items, *instrument.restored):
            if article not in known:
                msg = f"{where}: {instrument.title} has no {article}"
                raise InvalidPolicy(msg, article)
    return listed


@functools.cache
def instruments() -> tuple[Instrument, ...]:
    """Return the documents, in the order of the list."""
    return parse(read(FILE))


@functools.cache
def known_ids(policy: str) -> frozenset[str]:
    """Return all ids that a source of this policy may name."""
    return frozenset(one for instrument in instruments() if instrument.policy == policy for one in instrument.ids())


@functools.cache
def policy_names() -> tuple[str, ...]:
    """Return the names of the policies, in the order of the list."""
    return tuple(dict.fromkeys(instrument.policy for instrument in instruments()))
