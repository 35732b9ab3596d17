"""What counts as the explanation of a stop, and until when it may come: the policy's rules, asked. Pure.

Ways that no document knows (`asked = false` in the policy) count all the same where the document has others, and are
marked as ours. Where the one way of the document is a reviewed work record (Zhanhe), another way stands in for it only
if it was reviewed too, and speech never does.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from domain.events import Explanation
from policies.model import Policy, Way

Outcome = Literal["refused", "awaiting", "accepted"]
WayName = Literal["voice", "report", "written", "work_record"]

_RANK = {"refused": 0, "awaiting": 1, "accepted": 2}


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """An explanation, judged.

    Attributes:
        at: When it came.
        stopped_at: Which stop it names; 0 for none.
        method: How it was said.
        cause: As given.
        by: Who explains.
        approved_by: Who reviewed it; empty for nobody.
        outcome: What it comes to.
        why: Why it is not accepted: `cause_not_listed`, `no_text`, `not_reviewed`, `way_not_accepted`; else empty.
        ours: The document does not know this way, or has no rule at all.
        on_restart: It counts only if recording went on.
    """

    at: int
    stopped_at: int
    method: str
    cause: str
    by: str
    approved_by: str
    outcome: Outcome
    why: str = ""
    ours: bool = False
    on_restart: bool = False

    def outranks(self, other: Given | None) -> bool:
        """Tell whether it takes the place of what was given before."""
        return other is None or _RANK[self.outcome] >= _RANK[other.outcome]


class FollowUp(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the document demands besides the explanation that was given.

    Attributes:
        way: How: `written` or `work_record`.
        due: When what was said of it was due; 0 while nothing was said.
        given: What came last that may be it.
        said: State last said of it; empty for nothing.
        settled: It needs nothing more.
    """

    way: str
    due: int = 0
    given: Given | None = None
    said: str = ""
    settled: bool = False

    def is_answered(self) -> bool:
        """Tell whether what was given is it: a reviewed work record, or what is in writing."""
        given = self.given
        if given is None or given.outcome != "accepted":
            return False
        return given.method == "work_record" if self.way == "work_record" else given.method != "voice"


def follow_up(policy: Policy, given: Given, *, went_on: bool) -> FollowUp | None:
    """Return what is demanded besides an explanation, None for nothing.

    Args:
        policy: The policy.
        given: The explanation that was accepted.
        went_on: Recording went on after the stop.
    """
    ways = policy.explanation
    for name, asked in (("work_record", ways.work_record), ("written", ways.written)):
        if asked.besides is None or not asked.besides.value:
            continue
        concerned = given.cause in asked.causes if asked.causes else not went_on
        wanted = FollowUp(way=name, given=given)
        if concerned and not wanted.is_answered():
            return FollowUp(way=name)
    return None


def judge(policy: Policy, event: Explanation) -> Given:
    """Return what an explanation comes to under a policy."""
    outcome, why = _outcome(policy, event)
    regulated = policy.stops.regulated.value
    voice = event.method == "voice"
    return Given(
        at=int(event.at),
        stopped_at=int(event.stopped_at or 0),
        method=event.method,
        cause=event.cause,
        by=event.by,
        approved_by=(event.approved_by or "").strip(),
        outcome=outcome,
        why=why,
        ours=not regulated or not getattr(policy.explanation, event.method).asked.value,
        # Where a report is asked for at once, it may be spoken; elsewhere voice means: on the recording that goes on.
        on_restart=voice and regulated and policy.explanation.report is None,
    )


def _outcome(policy: Policy, event: Explanation) -> tuple[Outcome, str]:
    if not policy.stops.regulated.value:
        return "accepted", ""
    spoken_counts = policy.explanation.voice.asked.value
    listed = policy.cause(event.cause) is not None
    if not listed and not policy.stops.open.value:
        return "refused", "cause_not_listed"
    if not listed and not (event.text or "").strip():
        return "refused", "no_text"
    if event.method == "voice" and not spoken_counts:
        return "refused", "way_not_accepted"
    if (event.approved_by or "").strip():
        return "accepted", ""
    if not listed:
        return "awaiting", "cause_not_listed"
    if event.method == "work_record" or not spoken_counts:
        return "awaiting", "not_reviewed"
    return "accepted", ""


def speech_counts(policy: Policy) -> bool:
    """Tell whether speech on restart explains a stop; where there is no rule at all, ours says so."""
    return policy.explanation.voice.asked.value or not policy.stops.regulated.value


def speech_ms(policy: Policy) -> int:
    """Return how much speech counts as spoken."""
    return policy.explanation.speech.ms()


def voice_ms(policy: Policy) -> int:
    """Return how much recording after a restart it may come in."""
    return policy.explanation.voice.within.ms()


def way(policy: Policy, *, full: bool) -> tuple[WayName, Way]:
    """Return the way that is due.

    Args:
        policy: The policy.
        full: Recording went on long enough for it to be spoken.
    """
    ways = policy.explanation
    if not speech_counts(policy):
        return "work_record", ways.work_record
    if full:
        return "voice", ways.voice
    return ("report", ways.report) if ways.report is not None else ("written", ways.written)


def due(policy: Policy, *, at: int, went_on: bool, full_at: int, ended: int) -> int | None:
    """Return when the explanation of a stop is due, None while that cannot be told.

    Args:
        policy: The policy.
        at: When the stop was learnt of.
        went_on: Recording went on after it.
        full_at: When enough had been recorded for it to be spoken; 0 before.
        ended: When the session ended; 0 while it has not.
    """
    name, asked = way(policy, full=bool(full_at))
    if name == "voice":
        return full_at
    if name == "report" and not went_on:
        return at + asked.within.ms()
    return ended + asked.within.ms() if ended else None
