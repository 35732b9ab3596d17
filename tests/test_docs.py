"""What the documentation says exists: links, commands, metrics, settings."""

import argparse
import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import msgspec
import pytest

import liuhen
from domain.settings import Settings

_ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_COMMAND = re.compile(r"(?:`|^|/)liuhen ((?:[a-z]+\|)*[a-z]+)", re.MULTILINE)
_METRIC = re.compile(r"\bliuhen_[a-z_]+[a-z]\b(?!\.)")
_METRIC_ROW = re.compile(r"^\| `(liuhen_[a-z_]+)` \|", re.MULTILINE)
_SETTING_ROW = re.compile(r"^\| `([a-z_]+)` \|", re.MULTILINE)
_COUNTERS = {"Counter", "CounterMetricFamily"}


def _tracked(*suffixes: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=_ROOT, capture_output=True, text=True, check=True)
    paths = [_ROOT / name for name in listed.stdout.split("\0") if name.endswith(suffixes)]
    return [path for path in paths if path.is_file()]


_PAGES = [path for path in _tracked(".md") if "tests" not in path.parts]
_page = pytest.mark.parametrize("page", _PAGES, ids=lambda path: str(path.relative_to(_ROOT)))


@_page
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@_page
def test_commands_that_are_named_exist(page: Path) -> None:
    named = {word for words in _COMMAND.findall(page.read_text(encoding="utf-8")) for word in words.split("|")}
    assert named <= _commands()


@cache
def _commands() -> set[str]:
    (commands,) = (action for action in liuhen._parser()._actions if isinstance(action, argparse._SubParsersAction))
    return set(commands.choices)


def test_every_command_is_in_the_guide_or_the_readme() -> None:
    text = (_ROOT / "README.md").read_text(encoding="utf-8") + (_ROOT / "docs/guide/README.md").read_text(
        encoding="utf-8"
    )
    named = {word for words in _COMMAND.findall(text) for word in words.split("|")}
    assert _commands() - named == set()


@cache
def _exposed() -> set[str]:
    """Names of our metrics as Prometheus shows them: counters end in `_total`."""
    names = set()
    for path in _tracked(".py"):
        if path.relative_to(_ROOT).parts[0] in {"dashboards", "detectors", "storage", "streams"}:
            names |= _metrics_of(ast.parse(path.read_text(encoding="utf-8")))
    return names


def _metrics_of(tree: ast.Module) -> set[str]:
    nodes = list(ast.walk(tree))
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    counters = {
        node.args[0].value
        for node in nodes
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in _COUNTERS
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    ours = {text for text in texts if re.fullmatch(r"liuhen_[a-z_]+", text)}
    return {f"{name}_total" if name in counters else name for name in ours}


def test_the_page_of_metrics_is_whole() -> None:
    page = (_ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    assert set(_METRIC_ROW.findall(page)) == _exposed()


@_page
def test_metrics_that_are_named_exist(page: Path) -> None:
    assert set(_METRIC.findall(page.read_text(encoding="utf-8"))) <= _exposed()


def test_every_setting_is_on_its_page() -> None:
    page = (_ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
    assert _SETTING_ROW.findall(page) == [field.name for field in msgspec.structs.fields(Settings)]
