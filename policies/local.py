"""A local agency's own values, laid over a policy; each with the agency's own source.

The file::

    policy = "wucheng"
    agency = "某某区卫生健康局"

    [store_by]
    within = { value = 1, unit = "working_days", source = ["某卫执〔2026〕3号 第二条"] }

It may only be stricter than a figure of the document: an earlier store-by time, a longer retention. A lower body's rule
cannot loosen a higher text (Chongqing 第四条 says so of its districts).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from domain.errors import InvalidPolicy
from policies.files import read
from policies.loader import build, load, names, require, table
from policies.model import Policy
from policies.values import Period
from policies.workdays import WorkCalendar, official

_ENDLESS = frozenset({"case_file", "long_term"})
_HOURS = {"seconds": 1 / 3600, "minutes": 1 / 60, "hours": 1, "days": 24}


class Rulebook(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is in force here: the policies with the agency's values, and the calendar.

    Attributes:
        policies: By name.
        calendar: Working days.
    """

    policies: dict[str, Policy]
    calendar: WorkCalendar

    def policy(self, name: str) -> Policy:
        """Return a policy.

        Raises:
            InvalidPolicy: No such policy.
        """
        require(name)
        return self.policies.get(name) or load(name)

    def find(self, name: str) -> Policy | None:
        """Return a policy, None where there is none of this name."""
        known = self.policies.get(name)
        return load(name) if known is None and name in names() else known


def rulebook(overrides: Sequence[tuple[str, str]] = (), calendars: Sequence[tuple[str, str]] = ()) -> Rulebook:
    """Put together what is in force.

    Args:
        overrides: Name and text of each override file; a later one is laid over an earlier one.
        calendars: Name and text of each file with further years, in the form of ``data/calendar.toml``; of a year that
            stands in several, the last one counts.

    Raises:
        InvalidPolicy: A file is wrong; names file and key.
    """
    policies: dict[str, Policy] = {}
    for where, text in overrides:
        policy = override(text, where, base=policies)
        policies[policy.name] = policy
    days = official()
    for where, text in calendars:
        days = days.extended(text, where)
    return Rulebook(policies=policies, calendar=days)


def override(text: str, where: str, base: Mapping[str, Policy] | None = None) -> Policy:
    """Lay an agency's file over its policy.

    Args:
        text: TOML.
        where: Name of the file, for messages.
        base: Policies that are already overridden, by name.

    Raises:
        InvalidPolicy: An unknown key or policy, no agency, a value without a source, or looser than the document.
    """
    raw = table(text, where)
    name, agency = _header(raw, where)
    before = (base or {}).get(name) or load(name)
    ground = msgspec.to_builtins(before) if base and name in base else table(read(f"{name}.toml"), f"{name}.toml")
    merged = build(_merge(ground, raw, agency, where, ""), where, locals_allowed=True)
    _check_stricter(load(name), merged, where)
    return merged


def _header(raw: dict[str, Any], where: str) -> tuple[str, str]:
    found = []
    for key in ("policy", "agency"):
        value = raw.pop(key, None)
        if not isinstance(value, str) or not value:
            msg = f"{where}: {key}: missing"
            raise InvalidPolicy(msg, key)
        found.append(value)
    require(found[0])
    for key in ("name", "articles"):
        if key in raw:
            msg = f"{where}: {key}: not for an agency to change"
            raise InvalidPolicy(msg, key)
    return found[0], found[1]


def _merge(ground: dict[str, Any], over: dict[str, Any], agency: str, where: str, path: str) -> dict[str, Any]:
    merged = dict(ground)
    for key, value in over.items():
        here = f"{path}.{key}" if path else key
        if isinstance(value, dict) and not _is_leaf(value):
            merged[key] = _merge(_table_at(ground, key), value, agency, where, here)
        elif isinstance(value, dict):
            merged[key] = _marked(value, agency, where, here)
        elif isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
            merged[key] = _merge_list(ground.get(key, ()), value, agency, where, here)
        else:
            msg = f"{where}: {here}: only values with a source of their own may be replaced"
            raise InvalidPolicy(msg, here)
    return merged


def _table_at(ground: dict[str, Any], key: str) -> dict[str, Any]:
    found = ground.get(key)
    return found if isinstance(found, dict) else {}


def _is_leaf(value: Mapping[str, Any]) -> bool:
    return not value.keys().isdisjoint({"value", "source", "ours", "bound"})


def _marked(value: dict[str, Any], agency: str, where: str, path: str) -> dict[str, Any]:
    if value.get("ours") or not value.get("source"):
        msg = f"{where}: {path}: an agency's value needs a source of its own"
        raise InvalidPolicy(msg, path)
    if "local" in value:
        msg = f"{where}: {path}: `local` is not for files"
        raise InvalidPolicy(msg, path)
    return {**value, "local": agency}


def _merge_list(
    ground: Sequence[dict[str, Any]], over: list[dict[str, Any]], agency: str, where: str, path: str
) -> list[dict[str, Any]]:
    by_id = {entry["id"]: entry for entry in ground}
    for index, entry in enumerate(over):
        one = str(entry.get("id", index))
        by_id[one] = _marked(entry, agency, where, f"{path}.{one}")
    return list(by_id.values())


def _check_stricter(document: Policy, merged: Policy, where: str) -> None:
    for name in ("ordinary", "evidence"):
        before, after = getattr(document.retention, name), getattr(merged.retention, name)
        if before.months is not None and (after.months is None or after.months < before.months):
            _looser(where, f"retention.{name}", f"{before.months} months")
        if before.bound in _ENDLESS and after.months is not None:
            _looser(where, f"retention.{name}", before.bound)
    if not set(document.retention.expiry.review.value) <= set(merged.retention.expiry.review.value):
        _looser(where, "retention.expiry.review", "、".join(document.retention.expiry.review.value))
    if document.store_by.within is not None:
        _check_period(document.store_by.within, merged.store_by.within, "store_by.within", where)
    if document.store_by.remote is not None and merged.store_by.remote is not None:
        _check_period(document.store_by.remote.within, merged.store_by.remote.within, "store_by.remote.within", where)


def _check_period(before: Period, after: Period | None, key: str, where: str) -> None:
    if after is None or _longer(after, before):
        _looser(where, key, f"{before.value} {before.unit}")


def _longer(one: Period, other: Period) -> bool:
    """Tell whether a period can end later than another; a working day is at least a day."""
    if one.unit == other.unit or (one.unit, other.unit) == ("days", "working_days"):
        return one.value > other.value
    return _most_hours(one) > _least_hours(other)


def _most_hours(period: Period) -> float:
    """Days run to the end of the last one, so that they last up to a day longer than their hours."""
    return (period.value + (period.unit == "days")) * _HOURS.get(period.unit, math.inf)


def _least_hours(period: Period) -> float:
    return period.value * _HOURS.get(period.unit, 24)


def _looser(where: str, key: str, figure: str) -> None:
    msg = f"{where}: {key}: looser than the document ({figure}); an agency's own rule may only be stricter"
    raise InvalidPolicy(msg, key)


@functools.cache
def default() -> Rulebook:
    """Return the rulebook without any local values."""
    return rulebook()
