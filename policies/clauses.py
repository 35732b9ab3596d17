"""Which articles a finding rests on, by policy.

Ids of articles are written as each document prints them; Wucheng and Zhanhe carry the short name of the part they
stand in (W-NS non-site supervision, W-AV audio-visual records; Z-AV likewise). A policy that is silent gives none:
the finding is then ours alone.
"""

from __future__ import annotations

import functools

from policies.loader import load, names
from policies.model import Policy

DEFAULT = "wucheng"
"""The policy of a recorder that names none."""

_RECORDING_KINDS = frozenset(
    {"recording.stalled", "recording.gap", "recording.unexplained_stop", "recording.stop_and_go"}
)


def clauses(
    policy: str, kind: str, *, recorder: str = "body_worn", unbroken: bool = False, act: str | None = None
) -> list[str]:
    """Return the ids of the articles that a finding of this kind rests on.

    Args:
        policy: Name of the recorder's policy; an unknown one has no articles.
        kind: Kind of the finding.
        recorder: Kind of the recorder; cameras on premises have articles of their own in some documents.
        unbroken: The session is one that the policy forbids to interrupt.
        act: The act that the session records; where the policy has a rule of its own for it, that article is cited.
    """
    return list(_cited(policy, kind, recorder, unbroken, act))


@functools.lru_cache(maxsize=4096)
def _cited(policy: str, kind: str, recorder: str, unbroken: bool, act: str | None) -> tuple[str, ...]:
    return cited(load(policy), kind, recorder=recorder, unbroken=unbroken, act=act) if policy in names() else ()


def cited(
    policy: Policy, kind: str, *, recorder: str = "body_worn", unbroken: bool = False, act: str | None = None
) -> tuple[str, ...]:
    """Return what `clauses` returns, of a policy that is already loaded, such as one with local values."""
    articles = policy.articles
    if recorder == "premises_camera" and kind in articles.premises:
        return articles.premises[kind]
    found = articles.findings.get(kind, ())
    if not unbroken or kind not in _RECORDING_KINDS:
        return found
    own = policy.act(act)
    return tuple(dict.fromkeys((*found, *(own.source if own and policy.unbroken(act) else articles.unbroken))))
