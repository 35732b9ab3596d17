"""Texts of the console in Chinese and English, and figures put into words. Everything returned is plain text."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources
from typing import Any

from domain.clock import Instant
from domain.findings import Figure

LANGUAGES = ("zh", "en")
"""The first is the one without asking."""

_SLOT = re.compile(r"\{(\w+)\}")
_SIZES = ("B", "kB", "MB", "GB", "TB")


class Words:
    """One language.

    Args:
        table: All files of `texts/<language>/`, parsed, in one.
    """

    def __init__(self, code: str, table: dict[str, Any]) -> None:
        self.code = code
        self.lang = str(table["lang"])
        self._table = table

    def __call__(self, section: str, key: str, **values: Figure) -> str:
        """Return a text with its values filled in; the key itself where there is no such text."""
        text = str(self._table.get(section, {}).get(key, key))
        return _SLOT.sub(lambda slot: self._value(values.get(slot.group(1))), text)

    def finding(self, key: str, kind: str, params: dict[str, Figure]) -> str:
        """Say a finding: by its message key, else by its kind."""
        values = dict(params)
        if isinstance(values.get("cause"), str):
            values["cause"] = self("cause", str(values["cause"]))
        values.setdefault("cause", self("cause", "unknown"))
        known = self._table["finding"]
        return self("finding", key if key in known else kind, **values)

    def duration(self, seconds: float) -> str:
        """Say a duration in its two largest units."""
        whole = max(0, int(seconds))
        units = [(86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")]
        gap = self("unit", "separator")
        parts: list[str] = []
        for length, name in units:
            count, whole = divmod(whole, length)
            if parts or count or name == "second":
                parts.append(f"{count}{gap}{self('unit', name)}")
        return (gap or " ").join(part for part in parts[:2] if not part.startswith("0") or len(parts) == 1)

    def size(self, count: int) -> str:
        """Say a number of bytes, in powers of 1000."""
        value, unit = float(count), 0
        while value >= 999.5 and unit < len(_SIZES) - 1:
            value, unit = value / 1000, unit + 1
        return f"{value:.0f} {_SIZES[unit]}" if unit == 0 or value >= 9.95 else f"{value:.1f} {_SIZES[unit]}"

    def percent(self, ratio: float | None) -> str:
        """Say a ratio; 100 % only when nothing at all is missing."""
        if ratio is None:
            return self("value", "none")
        percent = ratio * 100
        return f"{min(percent, 99.9) if ratio < 1 else 100:.{0 if ratio >= 1 or percent < 99 else 1}f} %"

    def clock(self, at: int) -> str:
        """Say a moment: the time of day, in China."""
        return Instant(at).datetime().strftime("%H:%M:%S")

    def moment(self, at: int) -> str:
        """Say a moment: date and time of day, in China."""
        return Instant(at).datetime().strftime("%Y-%m-%d %H:%M:%S")

    def span(self, seconds: float) -> str:
        """Say how long in one figure, the largest unit of which there are two at least: 47 hours, 2 days."""
        whole = max(0, int(seconds))
        units = [(86_400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds")]
        length, name = next((pair for pair in units if whole >= 2 * pair[0]), units[-1])
        return self("span", name, n=whole // length)

    def _value(self, value: Figure) -> str:
        if value is None:
            return self("value", "none")
        if isinstance(value, float):
            return f"{value:.1f}".removesuffix(".0")
        if isinstance(value, str):
            return self._moment(value)
        return str(value)

    def _moment(self, text: str) -> str:
        try:
            return self.clock(Instant.parse(text))
        except ValueError:
            return text


def words(language: str | None) -> Words:
    """Return a language by its code; the first of `LANGUAGES` where it is not known."""
    return _load(language if language in LANGUAGES else LANGUAGES[0])


@cache
def _load(code: str) -> Words:
    table: dict[str, Any] = {}
    for name, sections in sorted(texts(code).items()):
        twice = table.keys() & sections.keys()
        if twice:
            msg = f"texts/{code}/{name}: {', '.join(sorted(twice))} stands in another file too"
            raise LookupError(msg)
        table |= sections
    return Words(code, table)


def texts(code: str) -> dict[str, dict[str, Any]]:
    """Return the files of a language, parsed, by name."""
    files = resources.files("dashboards.texts").joinpath(code).iterdir()
    return {file.name: tomllib.loads(file.read_text(encoding="utf-8")) for file in files if file.name.endswith(".toml")}
