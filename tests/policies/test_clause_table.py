"""The table of articles in the reference: complete, and naming only what exists."""

from __future__ import annotations

import ast
import functools
import itertools
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from policies import load, names
from policies.articles import instruments, known_ids
from policies.values import leaves

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "clauses.md"
STATES = ("covered", "partly", "owed", "waived")

_QUOTED = re.compile(r"`([^`]+)`")


class Row(NamedTuple):
    article: str
    restored: bool
    asks: str
    state: str
    where: str

    @property
    def named(self) -> list[str]:
        return _QUOTED.findall(self.where)


def rows(text: str) -> list[Row]:
    """Read the tables of a page whose first cell is an article."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and "第" in cells[0] and cells[0].rstrip(" †").endswith(("条", "）")):
            found.append(Row(cells[0].rstrip(" †"), "†" in cells[0], *cells[1:]))
    return found


def missing(name: str) -> str | None:
    """Say what is wrong with a name in the last column: a file, a file with a test in it, or a module."""
    path, _, test = name.partition("::")
    if test:
        if not (ROOT / path).is_file():
            return f"no file {path}"
        return None if test in _tests(path) else f"no test {test} in {path}"
    if "/" in name:
        return None if (ROOT / name).is_file() else f"no file {name}"
    module = ROOT.joinpath(*name.split("."))
    return None if module.with_suffix(".py").is_file() or module.is_dir() else f"no module {name}"


@functools.cache
def _tests(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(one.name for one in functions if one.name.startswith("test_"))


def is_test(name: str) -> bool:
    return name.startswith("tests/")


TABLE = rows(PAGE.read_text(encoding="utf-8"))


def test_every_article_has_one_row_in_order() -> None:
    assert [row.article for row in TABLE] == [one for group in instruments() for one in group.article_ids()]


def test_restored_numbers_are_marked() -> None:
    restored = [f"{group.prefix} {article}" for group in instruments() for article in group.restored]
    assert [row.article for row in TABLE if row.restored] == restored


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.article)
def test_a_row_says_what_is_asked_and_where_it_is_answered(row: Row) -> None:
    assert row.state in STATES
    assert row.asks
    assert row.where
    assert [wrong for name in row.named if (wrong := missing(name))] == []
    assert row.state not in ("covered", "partly") or any(is_test(name) for name in row.named)
    assert row.state != "waived" or row.named == []
    assert ("*owed*: " in row.where) == (row.state == "partly")


def test_what_a_policy_cites_is_not_waived() -> None:
    waived: dict[str, set[str]] = {name: set() for name in names()}
    remaining = iter(TABLE)
    for group in instruments():
        for row in itertools.islice(remaining, group.articles):
            waived[group.policy] |= {row.article} if row.state == "waived" else set()
    for name in names():
        cited = {article for _, leaf in leaves(load(name)) for article in leaf.source}
        articles = load(name).articles
        for listed in (*articles.findings.values(), *articles.premises.values(), articles.unbroken):
            cited.update(listed)
        assert cited <= known_ids(name)
        assert {article.partition("（")[0] for article in cited} & waived[name] == set()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("policies.deadlines", None),
        ("storage.objects", None),
        ("policies.dead_lines", "no module policies.dead_lines"),
        ("policies/gansu.toml", None),
        ("policies/ningxia.toml", "no file policies/ningxia.toml"),
        ("tests/policies/test_deadlines.py::test_remote_work", None),
        (
            "tests/policies/test_deadlines.py::test_remote_labour",
            "no test test_remote_labour in tests/policies/test_dea",
        ),
        ("tests/policies/test_no.py::test_x", "no file tests/policies/test_no.py"),
    ],
)
def test_what_does_not_exist_is_noticed(name: str, wrong: str | None) -> None:
    said = missing(name)
    assert (said is None) == (wrong is None)
    assert said is None or wrong is None or said.startswith(wrong)


def test_a_table_without_an_article_is_read_without_it() -> None:
    text = "| article | a | b | c |\n|---|---|---|---|\n| 第一条 | x | owed | y |\n| W-AV 第四条 † | x | owed | y |\n"
    assert [(row.article, row.restored) for row in rows(text)] == [("第一条", False), ("W-AV 第四条", True)]
