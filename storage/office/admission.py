"""From draft to active: what each step of a camera asks for, and by which article. Pure.

    draft → confirmed → noticed → active ⇄ suspended → retired

Invariants, which tests hold over all ways through:

1. A camera is active only if confirmation, all consents and notice are on file, its address was seen to give pictures,
   what must be verified is verified, and what the agency has reviewed is reviewed.
2. Changing a paper on which a state rests takes the state back, or is refused while the camera is in use.
3. Retired is for ever.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

import msgspec

from domain.errors import InvalidInput
from policies.model import Policy
from storage.office.dossier import Camera, Site, State

Step = Literal["confirm", "notice", "activate", "suspend", "resume", "retire"]
Part = Literal["basics", "address", "confirmation", "notice", "certificate", "review"]

MOVES: dict[Step, tuple[frozenset[State], State]] = {
    "confirm": (frozenset({"draft"}), "confirmed"),
    "notice": (frozenset({"confirmed"}), "noticed"),
    "activate": (frozenset({"noticed"}), "active"),
    "suspend": (frozenset({"active"}), "suspended"),
    "resume": (frozenset({"suspended"}), "active"),
    "retire": (frozenset({"draft", "confirmed", "noticed", "active", "suspended"}), "retired"),
}
"""Step → where it may be taken, where it leads."""
REVIEWED: frozenset[Step] = frozenset({"activate", "suspend", "resume", "retire"})
"""Steps that belong to whoever lets cameras into use; the others are the site operator's."""
LAW = "行政处罚法第四十一条"
CONSENTS = ("安装", "记录内容")
"""Asked for where a policy does not name them; ours then."""
_RESTS_ON: dict[Part, State] = {"basics": "draft", "confirmation": "draft", "notice": "confirmed"}
"""Changing this part takes a camera that is not in use yet back to there."""
_FREE: frozenset[Part] = frozenset({"certificate"})
"""May be changed while the camera records: a certificate is renewed before it runs out."""


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Something a step still lacks.

    Attributes:
        part: Part of the dossier, the form where it is entered.
        field: What, as `part.field`.
        detail: Which one of several.
        articles: By which articles; empty: nobody's rule but ours.
    """

    part: str
    field: str
    detail: str = ""
    articles: tuple[str, ...] = ()


class NotReady(InvalidInput):
    """A step that cannot be taken now.

    Args:
        step: Which.
        gaps: What it lacks.
        why: Instead of gaps, where it is not of the dossier.
        field: To blame, where there are no gaps.
    """

    def __init__(self, step: str, gaps: list[Gap], why: str = "", field: str = "state") -> None:
        said = "; ".join(f"{gap.field}{gap.detail and f' ({gap.detail})'} {', '.join(gap.articles)}" for gap in gaps)
        super().__init__(f"{step}: {why or f'missing {said}'.strip()}", gaps[0].field if gaps else field)
        self.gaps = gaps


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for here.

    Attributes:
        today: The day in China.
        consents: What the party must agree to.
        review: The agency asks for what 行政处罚法第四十一条 asks of electronic monitoring, and for a second person.
        confirmed: Articles on the confirmation.
        consented: On the consents.
        noticed: On the notice.
        equipped: On equipment and its verification.
        told: On telling the party.
        pictured: On what pictures must show.
    """

    today: date
    consents: tuple[str, ...] = CONSENTS
    review: bool = False
    confirmed: tuple[str, ...] = ()
    consented: tuple[str, ...] = ()
    noticed: tuple[str, ...] = ()
    equipped: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    pictured: tuple[str, ...] = ()

    @classmethod
    def of(cls, policy: Policy | None, today: date, *, review: bool) -> Rules:
        """Take what a policy says; where it says nothing of premises, the same is asked for, as a rule of ours."""
        premises = policy.premises if policy is not None else None
        if premises is None:
            return cls(today=today, review=review)
        return cls(
            today=today,
            consents=premises.consents.value,
            review=review,
            confirmed=premises.confirmation.source,
            consented=premises.consents.source,
            noticed=premises.notice.source,
            equipped=premises.verification.source,
            told=premises.notify.source,
            pictured=premises.content.source,
        )


def gaps(step: Step, site: Site, camera: Camera, rules: Rules) -> list[Gap]:
    """Return what a step still lacks, in the order of the forms; the camera's state is not looked at."""
    found: list[Gap] = []
    if step in ("confirm", "notice", "activate", "resume"):
        found += _basics(site, camera, rules) + _confirmation(camera, rules)
    if step in ("notice", "activate", "resume"):
        found += _notice(camera, rules)
    if step in ("activate", "resume"):
        found += _in_use(camera, rules)
    return found


def after(step: Step, site: Site, camera: Camera, rules: Rules, *, by: str, reason: str = "") -> State:
    """Return the state that a step leads to.

    Args:
        step: Which.
        site: Where the camera is.
        camera: As it stands.
        rules: What is asked for.
        by: Account that takes it.
        reason: Why; needed to take a camera out of use.

    Raises:
        NotReady: It cannot be taken: from this state, with these papers, by this person, or without a reason.
    """
    begins, leads = MOVES[step]
    if camera.state not in begins:
        raise NotReady(step, [], f"the camera is {camera.state}, not {' or '.join(sorted(begins))}")
    if step in ("suspend", "retire") and not reason.strip():
        raise NotReady(step, [], "say why", "reason")
    lacking = gaps(step, site, camera, rules)
    if lacking:
        raise NotReady(step, lacking)
    if rules.review and step in ("activate", "resume") and by in camera.prepared_by:
        raise NotReady(step, [], "whoever entered its papers does not let it into use", "by")
    return leads


def after_change(part: Part, camera: Camera) -> State:
    """Return the state after a part of the dossier was changed.

    Raises:
        NotReady: The camera is in use, or gone: suspend it first.
    """
    if camera.state == "retired" or (camera.state == "active" and part not in _FREE):
        raise NotReady("change", [], f"the camera is {camera.state}")
    back = _RESTS_ON.get(part)
    if back is None or camera.state == "suspended" or (back == "confirmed" and camera.state == "draft"):
        return camera.state
    return back


def _basics(site: Site, camera: Camera, rules: Rules) -> list[Gap]:
    told = any(contact.phone or contact.mail for contact in site.contacts)
    return _lacking(
        ("site", "party_name", bool(site.party_name), rules.confirmed),
        ("site", "address", bool(site.address), rules.pictured),
        ("site", "contacts", told, rules.told),
        ("basics", "name", bool(camera.name), ()),
        ("basics", "place", bool(camera.place), rules.pictured),
        ("basics", "standard", bool(camera.standard), rules.equipped),
        ("address", "url", bool(camera.url), ()),
    )


def _confirmation(camera: Camera, rules: Rules) -> list[Gap]:
    papers = camera.confirmation
    found = _lacking(
        ("confirmation", "document", bool(papers.document), rules.confirmed),
        ("confirmation", "signed_on", _is_past(papers.signed_on, rules), rules.confirmed),
        ("confirmation", "agency_signatory", bool(papers.agency_signatory), rules.confirmed),
        ("confirmation", "party_signatory", bool(papers.party_signatory), rules.confirmed),
    )
    refused = [one for one in rules.consents if one not in papers.consents]
    return found + [
        Gap(part="confirmation", field="confirmation.consents", detail=one, articles=rules.consented) for one in refused
    ]


def _notice(camera: Camera, rules: Rules) -> list[Gap]:
    return _lacking(
        ("notice", "photo", bool(camera.notice.photo), rules.noticed),
        ("notice", "posted_on", _is_past(camera.notice.posted_on, rules), rules.noticed),
        ("notice", "where", bool(camera.notice.where), rules.noticed),
    )


def _in_use(camera: Camera, rules: Rules) -> list[Gap]:
    papers, review = camera.certificate, camera.review
    found = _lacking(("address", "seen", camera.is_seen, ()))
    if papers.required:
        found += _lacking(
            ("certificate", "kind", bool(papers.kind), rules.equipped),
            ("certificate", "number", bool(papers.number), rules.equipped),
            ("certificate", "issuer", bool(papers.issuer), rules.equipped),
            ("certificate", "expires_on", _is_valid(papers.expires_on, rules), rules.equipped),
            ("certificate", "document", bool(papers.document), rules.equipped),
        )
    if rules.review:
        found += _lacking(
            ("review", "legality_by", bool(review.legality_by), (LAW,)),
            ("review", "technology_by", bool(review.technology_by), (LAW,)),
            ("review", "reviewed_on", _is_past(review.reviewed_on, rules), (LAW,)),
            ("review", "document", bool(review.document), (LAW,)),
            ("review", "markings", bool(review.markings), (LAW,)),
            ("review", "published_at", bool(review.published_at), (LAW,)),
            ("review", "published_on", _is_past(review.published_on, rules), (LAW,)),
        )
    return found


def _lacking(*asked: tuple[str, str, bool, tuple[str, ...]]) -> list[Gap]:
    return [
        Gap(part=part, field=f"{part}.{name}", articles=articles) for part, name, there, articles in asked if not there
    ]


def day(text: str) -> date | None:
    """Return a day as written; None where there is none, or no such day."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _is_past(text: str, rules: Rules) -> bool:
    found = day(text)
    return found is not None and found <= rules.today


def _is_valid(text: str, rules: Rules) -> bool:
    found = day(text)
    return found is not None and found >= rules.today
