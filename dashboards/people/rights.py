"""Roles, rights and where they hold: one table, from which every decision and its test are made.

A right says what may be done; a duty says by whom it is held and where: in the whole agency, in one unit, at one site.
An officer's duty holds for what is their own: sessions of recorders that were handed out to them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec


class Role(StrEnum):
    """What somebody is, in the agency."""

    DUTY_OFFICER = "duty_officer"
    SUPERVISOR = "supervisor"
    SITE_OPERATOR = "site_operator"
    OFFICER = "officer"
    ARCHIVE_MANAGER = "archive_manager"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"


class Right(StrEnum):
    """What may be done."""

    PUBLIC = "public"
    """Anybody, without signing in: the sign-in page, its files, health."""
    SIGNED_IN = "signed_in"
    """Whoever is signed in, whatever they are."""

    FLEET_SEE = "fleet.see"
    FOOTAGE_LIVE = "footage.live"
    FOOTAGE_SEARCH = "footage.search"
    FOOTAGE_VIEW = "footage.view"
    """Play what is stored, by office; others need a grant."""
    FOOTAGE_REQUEST = "footage.request"
    FOOTAGE_DECIDE = "footage.decide"
    FOOTAGE_REGISTER = "footage.register"
    FOOTAGE_EXPORT = "footage.export"
    HOLD_SET = "hold.set"
    HOLD_RELEASE = "hold.release"
    """Ask for, or confirm, a release: it takes two people."""
    EXPIRY_DECIDE = "expiry.decide"
    ALERT_SEE = "alert.see"
    ALERT_HANDLE = "alert.handle"
    ALERT_ASSIGN = "alert.assign"
    ALERT_ARRANGE = "alert.arrange"
    """Maintenance, who is told of what, and how."""
    EXPLAIN = "explain"
    EXPLANATION_REVIEW = "explanation.review"
    PREMISES_SEE = "premises.see"
    PREMISES_EDIT = "premises.edit"
    PREMISES_REVIEW = "premises.review"
    """Let a camera go into use, and take it out."""
    RECORDER_SEE = "recorder.see"
    RECORDER_EDIT = "recorder.edit"
    """The ledger of recorders: who has which, tokens, pre-duty checks."""
    SUPERVISION_SEE = "supervision.see"
    CHECK_DO = "check.do"
    LEAD_HANDLE = "lead.handle"
    AUDIT_SEE = "audit.see"
    ACCOUNT_MANAGE = "account.manage"
    INTEGRATION_MANAGE = "integration.manage"


_SEE = frozenset({Right.SIGNED_IN, Right.FLEET_SEE, Right.RECORDER_SEE})

RIGHTS: dict[Role, frozenset[Right]] = {
    Role.DUTY_OFFICER: _SEE
    | {
        Right.FOOTAGE_LIVE,
        Right.FOOTAGE_SEARCH,
        Right.FOOTAGE_REQUEST,
        Right.HOLD_SET,
        Right.ALERT_SEE,
        Right.ALERT_HANDLE,
        Right.PREMISES_SEE,
    },
    Role.SUPERVISOR: _SEE
    | {
        Right.FOOTAGE_LIVE,
        Right.FOOTAGE_SEARCH,
        Right.FOOTAGE_VIEW,
        Right.FOOTAGE_REQUEST,
        Right.FOOTAGE_DECIDE,
        Right.FOOTAGE_REGISTER,
        Right.HOLD_SET,
        Right.HOLD_RELEASE,
        Right.EXPIRY_DECIDE,
        Right.ALERT_SEE,
        Right.ALERT_HANDLE,
        Right.ALERT_ASSIGN,
        Right.ALERT_ARRANGE,
        Right.EXPLAIN,
        Right.EXPLANATION_REVIEW,
        Right.PREMISES_SEE,
        Right.PREMISES_REVIEW,
        Right.SUPERVISION_SEE,
        Right.CHECK_DO,
        Right.LEAD_HANDLE,
    },
    Role.SITE_OPERATOR: _SEE | {Right.FOOTAGE_LIVE, Right.PREMISES_SEE, Right.PREMISES_EDIT, Right.ALERT_SEE},
    Role.OFFICER: _SEE
    | {Right.FOOTAGE_SEARCH, Right.FOOTAGE_REQUEST, Right.ALERT_SEE, Right.EXPLAIN, Right.LEAD_HANDLE},
    Role.ARCHIVE_MANAGER: _SEE
    | {
        Right.FOOTAGE_SEARCH,
        Right.FOOTAGE_VIEW,
        Right.FOOTAGE_REQUEST,
        Right.FOOTAGE_REGISTER,
        Right.FOOTAGE_EXPORT,
        Right.HOLD_SET,
        Right.HOLD_RELEASE,
        Right.EXPIRY_DECIDE,
        Right.RECORDER_EDIT,
        Right.SUPERVISION_SEE,
    },
    Role.AUDITOR: _SEE
    | {
        Right.FOOTAGE_SEARCH,
        Right.FOOTAGE_REGISTER,
        Right.ALERT_SEE,
        Right.PREMISES_SEE,
        Right.SUPERVISION_SEE,
        Right.AUDIT_SEE,
    },
    Role.ADMINISTRATOR: _SEE
    | {Right.ACCOUNT_MANAGE, Right.INTEGRATION_MANAGE, Right.PREMISES_SEE, Right.RECORDER_EDIT, Right.ALERT_ARRANGE},
}
"""What each role may do. An administrator keeps accounts and devices, and sees no footage; an auditor sees what was
done, and does nothing."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where something is, as far as rights go.

    Attributes:
        unit_id: The enforcement unit; empty where it belongs to none.
        site_id: The premises; empty where it is at none.
        officers: Accounts whose own it is.
    """

    unit_id: str = ""
    site_id: str = ""
    officers: frozenset[str] = frozenset()


class Duty(msgspec.Struct, frozen=True, kw_only=True):
    """A role, and where it holds.

    Attributes:
        role: Which.
        unit_id: In this unit alone; everywhere where empty.
        site_id: At this site alone; everywhere in the unit where empty.
    """

    role: Role
    unit_id: str = ""
    site_id: str = ""

    def covers(self, place: Place, account_id: str) -> bool:
        """Tell whether it holds at a place."""
        if self.role is Role.OFFICER:
            return account_id in place.officers
        return self.unit_id in ("", place.unit_id) and self.site_id in ("", place.site_id)


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks.

    Attributes:
        account_id: Of the account, or of the integration's token.
        name: What people call them; goes into texts that people read.
        duties: What they are, and where.
        by: How they showed who they are.
        language: The one they read, where they chose one.
        csrf: What a form of theirs must carry; empty with a token, which no browser sends by itself.
    """

    account_id: str
    name: str
    duties: tuple[Duty, ...]
    by: Literal["session", "token"] = "session"
    language: str = ""
    csrf: str = ""

    def may(self, right: Right) -> bool:
        """Tell whether they hold a right anywhere."""
        return right in (Right.PUBLIC, Right.SIGNED_IN) or any(right in RIGHTS[duty.role] for duty in self.duties)

    def may_at(self, right: Right, place: Place) -> bool:
        """Tell whether they hold a right at a place."""
        return any(right in RIGHTS[duty.role] and duty.covers(place, self.account_id) for duty in self.duties)
