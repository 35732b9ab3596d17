"""The shape of a policy: one struct for each section of its TOML file.

An optional value that is absent means that the document is silent.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from domain.events import RetentionClass
from policies.values import Flag, Number, Period, Sourced, Term, Text, Texts

Level = Literal["full", "synchronous", "av", "situational", "none"]
"""full: whole and unbroken; synchronous: recorded while it happens; av: a recording must exist; situational: as the
circumstances ask; none: on paper only."""

Bound = Literal["at_least", "then_review", "set_by_organ", "case_file", "long_term", "archives_law", "undecided"]
"""What a retention rule means. Only `at_least` and `then_review` have a figure; nothing else is deleted unasked."""


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a policy file."""


class Document(Section, frozen=True, kw_only=True):
    """What is regulated, and by whom."""

    authority: str
    number: str = ""
    dated: str = ""
    effective: Text | None = None
    scope: Texts
    outside: Texts | None = None


class Articles(Section, frozen=True, kw_only=True):
    """The articles a finding cites, by its kind; an empty list: the document is silent, the finding is ours.

    Attributes:
        findings: Kind → articles.
        unbroken: Added to the recording kinds where the session may not be interrupted.
        premises: Kind → articles instead, for cameras on the premises of a supervised party.
    """

    findings: dict[str, tuple[str, ...]]
    unbroken: tuple[str, ...] = ()
    premises: dict[str, tuple[str, ...]] = {}


class Remote(Section, frozen=True, kw_only=True):
    """Storing after work far away."""

    within: Period
    conditions: Texts


class Delay(Section, frozen=True, kw_only=True):
    """Leave to store later."""

    condition: Text
    approver: Text
    prior: Flag
    written: Flag | None = None


class StoreBy(Section, frozen=True, kw_only=True):
    """When footage must be in the store.

    Attributes:
        kinds: Kinds of recorder that the rule speaks of.
        wording: The document's words for the time.
        within: The figure; absent where the document only says 及时.
        starts: What the time runs from.
        timely: When to warn where there is no figure; ours. Present just there.
        warn_left: Share of the time from completion to store-by that is left when the warning comes; ours.
        by: Who has to store.
        register: Storing includes registering, within the same time.
        no_keeping: Officers may not keep recordings themselves.
        remote: After work far away.
        delay: With leave.
    """

    kinds: Texts
    wording: Text
    within: Period | None = None
    starts: Text
    timely: Period | None = None
    warn_left: Number
    by: Text | None = None
    register: Flag | None = None
    no_keeping: Flag | None = None
    remote: Remote | None = None
    delay: Delay | None = None


class Keep(Sourced, frozen=True, kw_only=True):
    """How long a class is kept.

    Attributes:
        zh: The document's words for the class.
        bound: What the rule means.
        months: Figure; absent where there is none.
    """

    zh: str
    bound: Bound
    months: int | None = None


class LongTerm(Term, frozen=True, kw_only=True):
    """A case in which recordings are kept without end.

    Attributes:
        approver: Who decides, where the document asks it.
        acts: Recordings of these acts are such a case from their beginning.
        causes: Recordings whose stop is explained by one of these causes are.
    """

    approver: str = ""
    acts: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()


class FindingHold(Section, frozen=True, kw_only=True):
    """What a finding keeps from being deleted, until a person lets go of it.

    Attributes:
        each_side: Before its beginning and after its end.
        finding_kinds: Kinds of finding that may be evidence.
    """

    each_side: Period
    finding_kinds: Texts


class Expiry(Section, frozen=True, kw_only=True):
    """What happens when a recording's time is over.

    Attributes:
        review: Classes that a person looks at, and decides on, before anything is deleted.
        reviewer: Who that is.
        listed_for: How long the others are listed before they are deleted, so that somebody can hold them.
    """

    review: Texts
    reviewer: Text
    listed_for: Period


class Retention(Section, frozen=True, kw_only=True):
    """How long recordings are kept.

    Attributes:
        ordinary: Not used as evidence.
        evidence: Used as evidence.
        unknown: Class not settled.
        floor: Lock of every class without a figure; ours.
        starts: What the time runs from.
        long_term: Cases kept without end.
        medium: What long-term copies are written on.
        copies: How many of them.
        evidence_by: Who decides that a recording is evidence.
        finding_hold: Held around a finding that may be evidence.
        expiry: At the end of the time.
    """

    ordinary: Keep
    evidence: Keep
    unknown: Keep
    floor: Period
    starts: Text
    long_term: tuple[LongTerm, ...] = ()
    medium: Texts | None = None
    copies: Number | None = None
    evidence_by: Text | None = None
    finding_hold: FindingHold
    expiry: Expiry

    def keep(self, retention_class: RetentionClass) -> Keep | None:
        """Return the rule of a class; None for long-term keeping, which has no end."""
        rules = {"ordinary": self.ordinary, "evidence": self.evidence, "unknown": self.unknown}
        return rules.get(retention_class)


class Stops(Section, frozen=True, kw_only=True):
    """What may stop a recording.

    Attributes:
        regulated: The document has a rule on stops at all.
        open: Another objective cause may be accepted by a person; a closed list has no other.
        causes: The listed causes.
        pieces: One step at several places or times may be recorded in pieces.
    """

    regulated: Flag
    open: Flag
    causes: tuple[Term, ...] = ()
    pieces: Flag | None = None


class Way(Section, frozen=True, kw_only=True):
    """A way of explaining a stop.

    Attributes:
        asked: The document asks for it; where false, one that comes all the same counts, and is marked as ours.
        within: Until when; ours in every document.
        when: In which case, in the document's words.
        besides: It is demanded besides another way, not in its place.
        reviewer: Who must review it before it counts.
        to: Whom it goes to.
        causes: Ids of the causes it is for; empty for all.
    """

    asked: Flag
    within: Period
    when: Text | None = None
    besides: Flag | None = None
    reviewer: Text | None = None
    to: Text | None = None
    causes: tuple[str, ...] = ()


class Explanation(Section, frozen=True, kw_only=True):
    """How a stop is explained.

    Attributes:
        voice: On restart; `within` counts recorded time after it.
        speech: Speech in that time that counts as spoken.
        report: To a superior, at once, where recording cannot go on; absent where the document has none.
        written: After the session's end.
        work_record: After the session's end.
    """

    voice: Way
    speech: Period
    report: Way | None = None
    written: Way
    work_record: Way


class Act(Term, frozen=True, kw_only=True):
    """An act or procedure, and how it is recorded."""

    level: Level


class Spoken(Section, frozen=True, kw_only=True):
    """What is said on the recording."""

    notice: Flag | None = None
    facts: Texts | None = None
    scene: Texts | None = None


class Labels(Section, frozen=True, kw_only=True):
    """What a stored recording is marked with."""

    stored: Texts | None = None
    sort_by: Texts | None = None
    fixed_place: Texts | None = None
    disc: Texts | None = None


class DeviceCheck(Term, frozen=True, kw_only=True):
    """A point to check before use; `minimum_percent` is ours."""

    minimum_percent: Number | None = None


class Device(Section, frozen=True, kw_only=True):
    """Recorders."""

    types: Texts
    checks: tuple[DeviceCheck, ...] = ()
    clock_tolerance: Period
    paper_tolerance: Period
    per_officer: Number | None = None
    ledger: Texts | None = None


Applicant = Literal["handler", "staff", "authority", "party", "lawyer", "other_area", "public"]
"""Who asks: whoever handles the matter, others of the agency; bodies with a power of their own (police, courts, …), the
party, its lawyer, enforcement bodies elsewhere; nobody in particular, where a recording is to be published."""


class Access(Term, frozen=True, kw_only=True):
    """Who may do what with stored recordings.

    Attributes:
        may: What is asked for.
        who: Who asks, as the article has it; nobody where it speaks of an office that is held, not of an application.
        reviewer: Who looks at it before the approver does; empty where nobody is named.
        approver: Who must agree first; empty where nobody is named.
        documents: Papers to show.
        scope: Which recordings.
        register: It goes into a register.
    """

    may: tuple[Literal["search", "view", "copy", "evidence_copy", "release", "publish"], ...]
    who: tuple[Applicant, ...] = ()
    reviewer: str = ""
    approver: str = ""
    documents: tuple[str, ...] = ()
    scope: str = ""
    register: bool = False


class Export(Section, frozen=True, kw_only=True):
    """Evidence copies."""

    note: Texts | None = None
    medium: Texts | None = None
    approver: Text | None = None
    logged: Flag


class Backup(Section, frozen=True, kw_only=True):
    """The second copy in another place."""

    off_site: Flag
    oldest: Period


class Check(Term, frozen=True, kw_only=True):
    """A check that is made again and again.

    Attributes:
        by: Who makes it.
        subject: What it looks at: recordings, recorders of officers, or cameras on premises.
        months: How often; absent: 定期, no figure.
        points: What is looked at, one by one; absent: the check as a whole.
    """

    by: str = ""
    subject: Literal["sessions", "recorders", "cameras"] = "sessions"
    months: int | None = None
    points: tuple[str, ...] = ()


class Premises(Section, frozen=True, kw_only=True):
    """Cameras on the premises of a supervised party.

    Attributes:
        confirmation: What both sides sign before the camera is used.
        consents: What the party agrees to.
        notice: Put up where the camera is.
        verification: Equipment under compulsory verification needs it.
        tampering: What nobody may do to the equipment.
        quality: What its pictures and sound must be.
        content: What they must show.
        notify: How the party is told of a finding.
        confirm: The party's confirmation is asked for.
        promise: Self-inspection reports come with a written promise.
        coverage: How many of a kind of party are covered.
        lead_due: Leads and filings have a set time that the document does not state.
    """

    confirmation: Text
    consents: Texts
    notice: Text
    verification: Texts
    tampering: Texts
    quality: Texts
    content: Texts
    notify: Texts
    confirm: Flag
    promise: Flag
    coverage: Text
    lead_due: Text


class Policy(Section, frozen=True, kw_only=True):
    """One jurisdiction."""

    name: str
    document: Document
    articles: Articles
    store_by: StoreBy
    retention: Retention
    stops: Stops
    explanation: Explanation
    acts: tuple[Act, ...]
    spoken: Spoken = Spoken()
    labels: Labels = Labels()
    device: Device
    secrecy: Texts
    access: tuple[Access, ...] = ()
    export: Export
    backup: Backup
    checks: tuple[Check, ...] = ()
    uses: Texts | None = None
    misconduct: tuple[Term, ...] = ()
    premises: Premises | None = None

    def act(self, name: str | None) -> Act | None:
        """Return the act of this name, None where the document does not speak of it."""
        return next((act for act in self.acts if act.id == name), None)

    def cause(self, name: str | None) -> Term | None:
        """Return the listed stop cause of this id, None where it is not listed."""
        return next((cause for cause in self.stops.causes if cause.id == name), None)

    def long_term(self, *, act: str | None = None, cause: str | None = None) -> LongTerm | None:
        """Return the case of long-term keeping that an act, or the cause of a stop, is by itself."""
        cases = self.retention.long_term
        return next((case for case in cases if act in case.acts or cause in case.causes), None)

    def unbroken(self, act: str | None) -> bool:
        """Tell whether the document forbids any stop in this act."""
        found = self.act(act)
        return found is not None and found.level == "full"
