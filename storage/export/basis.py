"""What a package rests on, for whoever makes one: the recording's policy, who must agree, how its clock was."""

from __future__ import annotations

from domain.findings import Finding
from policies.local import Rulebook
from policies.model import Policy
from storage.catalog.catalog import Catalog
from storage.ledger.entry import decode
from storage.ledger.footage import is_stored
from storage.ledger.ledger import Ledger

MAX_FINDINGS = 1000


async def policy_of(ledger: Ledger, book: Rulebook, recorder_id: str, session_id: str) -> Policy | None:
    """Return the policy that a session's newest recording was stored under; None where nothing of it is known."""
    said = [decode(line) for _, line in await ledger.of_session(recorder_id, session_id)]
    names = [str(one.body.get("policy")) for one in said if is_stored(one)]
    return book.find(names[-1]) if names else None


def approver(policy: Policy) -> tuple[str, list[str]]:
    """Return who must agree to an evidence copy, and the articles that say so; the first is empty where nobody must."""
    rule = policy.export.approver
    if rule is not None and rule.value:
        return rule.value, list(rule.source)
    for one in policy.access:
        if {"evidence_copy", "copy"} & set(one.may) and one.approver:
            return one.approver, list(one.source)
    return "", []


async def clock_findings(catalog: Catalog, recorder_id: str) -> list[Finding]:
    """Return what was found of a recorder's clock.

    Raises:
        CatalogUnavailable: It cannot be told; a package can be made without.
    """
    found = await catalog.list_findings(recorder_id=recorder_id, kind="clock.drift", limit=MAX_FINDINGS)
    return found.items
