"""What a document demands besides an explanation, and what is said where it does not come. Pure.

Chongqing 第十三条: whatever was said on the spot of weather, force majeure or secrets, a work record is made afterwards
and reviewed. Gansu 第十九条: where recording could not go on, it is reported at once *and* explained in writing
afterwards. Both are due so long after the session's end as the policy says (ours); each is a finding of its own beside
the stop's.
"""

from __future__ import annotations

import msgspec

from detectors.contract import finding, seconds, text
from detectors.explanations import FollowUp, Given, follow_up
from detectors.stop_desk import KIND, Case, cause_of
from detectors.stops import Stop
from domain.findings import Figure, Status


def demanded(case: Case, given: Given | None) -> FollowUp | None:
    """Return what is demanded besides an explanation that was accepted; None where speech alone was heard."""
    return None if given is None else follow_up(case.desk.policy, given, went_on=case.went_on)


def answered(case: Case, given: Given) -> Stop:
    """Return a stop that is explained after a further explanation of it."""
    stop, known = case.stop, case.stop.follow_up
    if known is None:
        return msgspec.structs.replace(stop, follow_up=demanded(case, given)) if given.outcome == "accepted" else stop
    if known.settled or not given.outranks(known.given):
        return stop
    return msgspec.structs.replace(stop, follow_up=msgspec.structs.replace(known, given=given))


def judged(case: Case) -> tuple[Stop, int | None]:
    """Say what is to be said of what is demanded besides, and tell when it is due; None while that cannot be told."""
    stop, wanted = case.stop, case.stop.follow_up
    if wanted is None or wanted.settled:
        return stop, None
    if wanted.way == "written" and case.went_on and not wanted.due:
        return _with(stop, msgspec.structs.replace(wanted, settled=True)), None
    if wanted.is_answered():
        if wanted.due:
            _say(case, wanted, "closed", "explained")
        return _with(stop, msgspec.structs.replace(wanted, settled=True)), None
    if not wanted.due:
        if not case.watch.ended:
            return stop, None
        due = case.watch.ended + getattr(case.desk.policy.explanation, wanted.way).within.ms()
        if due > case.desk.context.now:
            return stop, due
        wanted = msgspec.structs.replace(wanted, due=due, said="follow_up_missing")
        _say(case, wanted, "opened", "follow_up_missing")
    unreviewed = wanted.given is not None and wanted.given.outcome == "awaiting"
    if unreviewed and wanted.said != "awaiting_review":
        wanted = msgspec.structs.replace(wanted, said="awaiting_review")
        _say(case, wanted, "updated", "awaiting_review")
    return _with(stop, wanted), None


def _with(stop: Stop, wanted: FollowUp) -> Stop:
    return stop if wanted is stop.follow_up else msgspec.structs.replace(stop, follow_up=wanted)


def _say(case: Case, wanted: FollowUp, status: Status, state: str) -> None:
    stop, given = case.stop, wanted.given
    ended_at = max(given.at, stop.began) if status == "closed" and given is not None else None
    figures: dict[str, Figure] = {
        "state": state,
        "stopped_at": text(stop.began),
        "asked": wanted.way,
        "due_at": text(wanted.due),
    }
    if stop.given is not None:
        figures |= {"explained": stop.given.cause, "explained_by": stop.given.by}
    if given is not None:
        figures |= {"method": given.method, "explained": given.cause, "explained_by": given.by}
        figures |= {"approved_by": given.approved_by} if given.approved_by else {}
        figures |= {"why_not": given.why} if given.why and ended_at is None else {}
        figures |= {"late_s": seconds(max(0, given.at - wanted.due))} if ended_at is not None else {}
    case.desk.findings.append(
        finding(
            case.desk.context,
            "recording.unexplained_stop",
            status,
            began_at=stop.began,
            ended_at=ended_at,
            session_id=case.session_id,
            subject=wanted.way,
            cause=cause_of(stop),
            evidence=figures,
            key=f"{KIND}.{state if state == 'awaiting_review' else wanted.way}",
        )
    )
