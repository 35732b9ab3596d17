"""Which articles a finding rests on, by policy.

Ids of articles are written as each document prints them; Wucheng and Zhanhe carry the short name of the part they
stand in (W-NS non-site supervision, W-AV audio-visual records; Z-AV likewise). A policy that is silent gives none:
the finding is then ours alone.
"""

from __future__ import annotations

DEFAULT = "wucheng"
"""The policy of a recorder that names none."""

_RECORDING: dict[str, tuple[str, ...]] = {
    # No stopping and no stop-and-go, but for the listed causes, which are then spoken.
    "wucheng": ("W-AV 第十八条",),
    # Uninterrupted from arrival to leaving; the listed causes and what is due then.
    "gansu": ("第十八条", "第十九条"),
    # In principle uninterrupted; an objective cause is explained.
    "chongqing": ("第十一条",),
    # No rule on stops.
    "zhuhui": (),
    # The cases in which recording may stop.
    "zhanhe": ("Z-AV 第十二条",),
}

_UNBROKEN: dict[str, tuple[str, ...]] = {
    "wucheng": ("W-AV 第十二条",),
    "gansu": ("第十四条",),
    "chongqing": ("第十一条", "第十五条（二）"),
    "zhuhui": (),
    "zhanhe": ("Z-AV 第八条",),
}

_PREMISES: dict[str, tuple[str, ...]] = {
    # Pictures of non-site supervision are clear, continuous, stable and complete.
    "wucheng": ("W-NS 第十三条",),
}

_RECORDING_KINDS = frozenset({"recording.stalled", "recording.gap"})


def clauses(policy: str, kind: str, *, recorder: str = "body_worn", unbroken: bool = False) -> list[str]:
    """Return the ids of the articles that a finding of this kind rests on.

    Args:
        policy: Name of the recorder's policy; an unknown one has no articles.
        kind: Kind of the finding.
        recorder: Kind of the recorder; cameras on premises have articles of their own in some documents.
        unbroken: The session is one that the policy forbids to interrupt.
    """
    if kind not in _RECORDING_KINDS:
        return []
    if recorder == "premises_camera" and policy in _PREMISES:
        return list(_PREMISES[policy])
    found = [*_RECORDING.get(policy, ()), *(_UNBROKEN.get(policy, ()) if unbroken else ())]
    return list(dict.fromkeys(found))
