"""What somebody filled into the form of a request, as it stands there, and what is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, Self, get_args

import msgspec

from dashboards.footage.desk import Form
from domain.clock import CHINA, Instant
from domain.errors import InvalidInput
from policies.access import APPLICANTS, WANTS, Want, Way, way
from policies.model import Applicant, Policy
from storage.office.request_steps import EARLIEST, LATEST

FIELDS = ("recorder", "session", "who", "want", "reason", "matter", "use", "applicant", "organisation")


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """The form's fields, as text."""

    recorder: str = ""
    session: str = ""
    from_at: str = ""
    to_at: str = ""
    who: str = "handler"
    want: str = "view"
    reason: str = ""
    matter: str = ""
    use: str = ""
    applicant: str = ""
    organisation: str = ""

    @classmethod
    def of_query(cls, query: Mapping[str, str]) -> Self:
        """Take over what a link says: recorder, session, from, to, want."""
        given = {name: query[name][:200] for name in ("recorder", "session", "want") if name in query}
        span = {f"{name}_at": local(query[name]) for name in ("from", "to") if name in query}
        return cls(**given, **span)

    @classmethod
    def of_form(cls, form: Mapping[str, Any]) -> Self:
        """Take over what was sent."""
        texts = {name: value for name, value in form.items() if isinstance(value, str)}
        given = {name: texts[name][:4_000] for name in FIELDS if name in texts}
        return cls(**given, from_at=texts.get("from", "")[:40], to_at=texts.get("to", "")[:40])


class Opened(NamedTuple):
    """What it takes for somebody to be granted something; None: not open."""

    who: Applicant
    want: Want
    way: Way | None


def ways_of(policy: Policy) -> list[Opened]:
    """Return what it takes, for everyone who may ask and everything that may be asked for."""
    return [Opened(who, want, way(policy, who, want)) for who in APPLICANTS for want in WANTS]


def form_of(asked: Asking) -> Form:
    """Read the form's fields.

    Raises:
        InvalidInput: One is no time, or none of those that may be chosen; names it.
    """
    if asked.who not in get_args(Applicant):
        raise InvalidInput("who: choose one", "who")
    if asked.want not in get_args(Want):
        raise InvalidInput("want: choose one", "want")
    return Form(
        recorder_id=asked.recorder.strip(),
        session_id=asked.session.strip(),
        from_at=moment("from", asked.from_at),
        to_at=moment("to", asked.to_at),
        who=msgspec.convert(asked.who, Applicant),
        want=msgspec.convert(asked.want, Want),
        reason=asked.reason.strip(),
        matter=asked.matter.strip(),
        use=asked.use.strip(),
        applicant=asked.applicant.strip(),
        organisation=asked.organisation.strip(),
    )


def moment(field: str, text: str) -> Instant:
    """Read a time of a form; without an offset it is China's.

    Raises:
        InvalidInput: It is none.
    """
    try:
        read = datetime.fromisoformat(text.strip().replace(" ", "T"))
        at = Instant.of(read if read.tzinfo is not None else read.replace(tzinfo=CHINA))
        if EARLIEST <= at < LATEST:
            return at
        raise ValueError("too early or too late")
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{field}: no time; write 2026-03-05T09:30:00", field) from error


def local(text: str) -> str:
    """Return a time of a link as a form shows it: China's, without an offset; empty where it is none."""
    try:
        at = Instant.parse(text.replace(" ", "+"))
        return at.datetime().replace(tzinfo=None).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError):
        return ""
