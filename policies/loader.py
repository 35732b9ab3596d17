"""From the text of a policy file to a `Policy`; refuses what a lawyer could not check. Pure, but for `load`.

Refused, always naming file and key: an unknown key, a value of a wrong type, a value without a source that is not
marked as ours, one marked as ours without a reason, an article that the document does not have, a list with one id
twice.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from domain.errors import InvalidPolicy
from domain.events import Kind
from domain.findings import FindingKind
from policies.articles import known_ids, policy_names
from policies.files import read
from policies.model import FindingHold, LongTerm, Policy
from policies.values import Sourced, leaves

_PATH = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")
_FIELD = re.compile(r"(?:unknown|required) field `([^`]+)`")
_FIGURED = frozenset({"at_least", "then_review"})
_CLOCKED = frozenset({"seconds", "minutes", "hours"})
_SETTLED = ("ordinary", "evidence")
"""Classes that may come to an end."""


def names() -> tuple[str, ...]:
    """Return the names of the policies."""
    return policy_names()


@functools.cache
def load(name: str) -> Policy:
    """Return a policy as it stands in this package.

    Raises:
        InvalidPolicy: No such policy, or its file is wrong.
    """
    require(name)
    return parse(read(f"{name}.toml"), where=f"{name}.toml")


def require(name: str) -> None:
    """Refuse a name that is no policy.

    Raises:
        InvalidPolicy: No such policy; says which there are.
    """
    if name not in names():
        msg = f"policy: no policy {name!r}; there are {', '.join(names())}"
        raise InvalidPolicy(msg, "policy")


def parse(text: str, where: str) -> Policy:
    """Read the file of one jurisdiction.

    Args:
        text: TOML.
        where: Name of the file, for messages.

    Raises:
        InvalidPolicy: See the module.
    """
    return build(table(text, where), where)


def table(text: str, where: str) -> dict[str, Any]:
    """Read TOML.

    Raises:
        InvalidPolicy: It is not TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        msg = f"{where}: {error}"
        raise InvalidPolicy(msg) from error


def build(raw: Mapping[str, Any], where: str, *, locals_allowed: bool = False) -> Policy:
    """Make a policy from a table, and check what types cannot say.

    Raises:
        InvalidPolicy: See the module.
    """
    try:
        policy = msgspec.convert(raw, Policy)
    except msgspec.ValidationError as error:
        raise _refusal(error, where) from error
    if policy.name not in names():
        raise _refused(where, "name", f"no policy {policy.name!r}; there are {', '.join(names())}")
    for path, leaf in leaves(policy):
        _check_source(policy.name, path, leaf, where, locals_allowed=locals_allowed)
    _check_articles(policy, where)
    _check_lists(policy, where)
    _check_together(policy, where)
    return policy


def _refused(where: str, key: str, why: str) -> InvalidPolicy:
    return InvalidPolicy(f"{where}: {key}: {why}", key)


def _refusal(error: msgspec.ValidationError, where: str) -> InvalidPolicy:
    text = str(error)
    found, field = _PATH.search(text), _FIELD.search(text)
    key = ".".join(part for part in (found.group(1) if found else "", field.group(1) if field else "") if part)
    return _refused(where, key, _PATH.sub("", text))


def _check_source(policy: str, path: str, leaf: Sourced, where: str, *, locals_allowed: bool) -> None:
    if leaf.local:
        if not locals_allowed:
            raise _refused(where, path, "`local` is not for files")
        return
    if leaf.ours and not leaf.reason:
        raise _refused(where, path, "ours, but without a reason")
    if not leaf.ours and not leaf.source:
        raise _refused(where, path, "no source, and not marked as ours")
    for article in leaf.source:
        _check_article(policy, path, article, where)


def _check_article(policy: str, path: str, article: str, where: str) -> None:
    if article not in known_ids(policy):
        raise _refused(where, path, f"source: the document has no {article}")


def _check_articles(policy: Policy, where: str) -> None:
    kinds = frozenset(get_args(FindingKind))
    for section in ("findings", "premises"):
        for kind, articles in getattr(policy.articles, section).items():
            path = f"articles.{section}.{kind}"
            if kind not in kinds:
                raise _refused(where, path, "no such kind of finding")
            for article in articles:
                _check_article(policy.name, path, article, where)
    for article in policy.articles.unbroken:
        _check_article(policy.name, "articles.unbroken", article, where)


def _check_lists(policy: Policy, where: str) -> None:
    lists: dict[str, tuple[Any, ...]] = {
        "acts": policy.acts,
        "access": policy.access,
        "checks": policy.checks,
        "misconduct": policy.misconduct,
        "stops.causes": policy.stops.causes,
        "retention.long_term": policy.retention.long_term,
        "device.checks": policy.device.checks,
    }
    for path, entries in lists.items():
        ids = [entry.id for entry in entries]
        for one in ids:
            if ids.count(one) > 1:
                raise _refused(where, f"{path}.{one}", "twice in the list")


def _check_together(policy: Policy, where: str) -> None:
    for kind in policy.store_by.kinds.value:
        if kind not in get_args(Kind):
            raise _refused(where, "store_by.kinds", f"no kind of recorder {kind!r}")
    if (policy.store_by.within is None) != (policy.store_by.timely is not None):
        raise _refused(where, "store_by.timely", "goes with a rule that has no figure, and only with one")
    for name in ("voice", "report", "written", "work_record"):
        way = getattr(policy.explanation, name)
        for cause in way.causes if way else ():
            if policy.cause(cause) is None:
                raise _refused(where, f"explanation.{name}.causes", f"{cause!r} is no listed cause")
    _check_retention(policy, where)


def _check_retention(policy: Policy, where: str) -> None:
    retention = policy.retention
    reviewed = retention.expiry.review.value
    for name in ("ordinary", "evidence", "unknown"):
        keep = getattr(retention, name)
        if (keep.months is not None) != (keep.bound in _FIGURED):
            raise _refused(where, f"retention.{name}.months", f"does not go with {keep.bound!r}")
        if keep.bound == "then_review" and name not in reviewed:
            raise _refused(where, "retention.expiry.review", f"{name} is reviewed at the end of its time")
    for name in reviewed:
        if name not in _SETTLED:
            raise _refused(where, "retention.expiry.review", f"no class {name!r} that comes to an end")
    if retention.expiry.listed_for.unit not in {"days", *_CLOCKED}:
        raise _refused(where, "retention.expiry.listed_for", "not in days or shorter")
    _check_finding_hold(retention.finding_hold, where)
    for case in retention.long_term:
        _check_case(policy, case, where)


def _check_finding_hold(rule: FindingHold, where: str) -> None:
    for kind in rule.finding_kinds.value:
        if kind not in get_args(FindingKind):
            raise _refused(where, "retention.finding_hold.finding_kinds", f"no such kind of finding {kind!r}")
    if rule.each_side.unit not in _CLOCKED:
        raise _refused(where, "retention.finding_hold.each_side", "not in hours or shorter")


def _check_case(policy: Policy, case: LongTerm, where: str) -> None:
    path = f"retention.long_term.{case.id}"
    for act in case.acts:
        if policy.act(act) is None:
            raise _refused(where, f"{path}.acts", f"{act!r} is no listed act")
    for cause in case.causes:
        if policy.cause(cause) is None:
            raise _refused(where, f"{path}.causes", f"{cause!r} is no listed cause")
