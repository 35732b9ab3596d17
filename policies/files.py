"""The one place where files of this package are read; everything else takes text."""

from __future__ import annotations

from importlib import resources


def read(name: str) -> str:
    """Return the text of a file of this package, such as ``wucheng.toml`` or ``data/articles.toml``."""
    return resources.files("policies").joinpath(name).read_text(encoding="utf-8")
