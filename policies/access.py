"""Who must agree before somebody may see or have a recording: read off a policy. Pure.

A document says of some who ask what they may have and who decides; of the others it says nothing. Where it is silent,
somebody with the right to decide does, and that is ours. But a document that lets somebody view, and says nothing of
copies for them, has not forgotten the copies: none are given (Zhanhe lets a party read, Chongqing lets nobody copy but
for evidence).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from policies.model import Access, Applicant, Policy

Want = Literal["view", "copy", "evidence_copy"]
Step = Literal["verify", "review", "approve"]
"""verify: papers are looked at and found right (核实); review (审核); approve (批准)."""

APPLICANTS: tuple[Applicant, ...] = ("handler", "staff", "authority", "party", "lawyer", "other_area", "public")
WANTS: tuple[Want, ...] = ("view", "copy", "evidence_copy")
WITHIN = frozenset({"handler", "staff"})
"""Those who belong to the agency; to all others a recording is given out (对外提供)."""
WRITTEN = "书面申请"
"""The application itself is that; nobody hands it in once more."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes.

    Attributes:
        rule: The entry of the policy it follows from; None where the document is silent.
        steps: Who must agree, one after another, each another person, none of them who asks.
        reviewer: Who that is for `review`, in the document's words.
        approver: Who that is for `approve`, in the document's words; empty where nobody is named.
        papers: What must be handed in.
        scope: Which recordings, in the document's words.
        clauses: Articles.
        own_only: Nobody must agree if it is the applicant's own work, as the records show it; else somebody says so.
    """

    rule: str | None
    steps: tuple[Step, ...]
    reviewer: str = ""
    approver: str = ""
    papers: tuple[str, ...] = ()
    scope: str = ""
    clauses: tuple[str, ...] = ()
    own_only: bool = False


def way(policy: Policy, who: Applicant, want: Want) -> Way | None:
    """Return what it takes; None where the document does not open it.

    Args:
        policy: Of the recording.
        who: Asks.
        want: What for.
    """
    mine = [one for one in policy.access if who in one.who]
    found = next((one for one in mine if _gives(one, who, want)), None)
    if found is not None:
        return _by_rule(found, who, want)
    speaks_of_viewing = any("view" in one.may for one in mine)
    if who == "public" and want != "copy":
        return None  # what is published is a copy
    if want != "view" and speaks_of_viewing:
        return None
    return _of_ours(policy, want)


def _gives(rule: Access, who: Applicant, want: Want) -> bool:
    if who == "public":
        return want == "copy" and not {"publish", "copy"}.isdisjoint(rule.may)
    return want in rule.may or (who not in WITHIN and "release" in rule.may and want != "evidence_copy")


def _by_rule(rule: Access, who: Applicant, want: Want) -> Way:
    papers = tuple(paper for paper in rule.documents if paper != WRITTEN)
    steps: list[Step] = []
    if papers:
        steps.append("verify")
    if rule.reviewer:
        steps.append("review")
    direct = who == "handler" and want == "view" and not rule.approver and "本人" in rule.scope
    if rule.approver or (not papers and not direct):
        steps.append("approve")
    return Way(
        rule=rule.id,
        steps=tuple(steps),
        reviewer=rule.reviewer,
        approver=rule.approver,
        papers=papers,
        scope=rule.scope,
        clauses=rule.source,
        own_only=direct,
    )


def _of_ours(policy: Policy, want: Want) -> Way:
    """Somebody with the right decides; of evidence the head does, where the document says so of evidence at all."""
    rule = policy.export.approver
    if want == "evidence_copy" and rule is not None:
        return Way(rule=None, steps=("approve",), approver=rule.value, clauses=rule.source)
    return Way(rule=None, steps=("approve",))
