"""What the store must have for an object, by what the ledger says of its class, its holds and its deletion. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from domain.clock import Instant
from domain.errors import IntegrityError
from policies.local import Rulebook
from policies.retention import retain_until
from storage.catalog.rows import DecisionRow, HoldRow, ObjectRow, SegmentRow
from storage.ledger.entry import Entry
from storage.ledger.footage import is_stored, row_of
from storage.retention import holds
from storage.retention.entries import decision_of, hold_of, release_of
from storage.retention.rules import DAY_MS, LONGEST_MS, Facts, due_at, must_stay, tag_of
from storage.retention.standing import standing

GRACE_MS = 600_000
"""What was decided less than this ago may still be on its way to the store."""
_SOON_MS = 25 * DAY_MS
"""A lock that a later, longer policy would lengthen is renewed when it nears its end, with five days to spare."""


class Held:
    """The holds on each recorder's footage, folded from the ledger in its order."""

    def __init__(self) -> None:
        self._holds: dict[str, dict[str, HoldRow]] = {}
        self._lifted: dict[str, dict[str, Instant]] = {}

    def take(self, entry: Entry) -> None:
        """Take a `hold` or `release` entry; others are passed over."""
        if entry.kind == "hold":
            row = hold_of(entry)
            known = self._holds.setdefault(row.recorder_id, {})
            if row.id not in known or row.at >= known[row.id].at:
                known[row.id] = row
        elif entry.kind == "release":
            event = release_of(entry)
            known = self._holds.get(event.recorder_id, {})
            for one in holds.lifted(event, known.values()):
                self._lifted.setdefault(event.recorder_id, {}).setdefault(one, entry.at)

    def on(self, row: ObjectRow) -> list[HoldRow]:
        """Return the holds that stand on an object."""
        lifted = self._lifted.get(row.recorder_id, {})
        known = self._holds.get(row.recorder_id, {}).values()
        return [one for one in known if one.id not in lifted and holds.covers(one, row)]


class Deleted(NamedTuple):
    """What the ledger says of an object's deletion."""

    intent: Instant | None
    done: Instant | None


class SessionFacts:
    """What the ledger says of one session: its objects, what was decided about it, its gaps, what was deleted.

    Args:
        entries: Of the session, in the ledger's order.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.objects: list[ObjectRow] = []
        self.gaps: list[Entry] = []
        self.decisions: list[DecisionRow] = []
        self._deleted: dict[tuple[str, str], Deleted] = {}
        for entry in entries:
            with contextlib.suppress(IntegrityError):  # what cannot be read is named by the check of the ledger
                self._take(entry)
        self.standing = standing(self.decisions)

    def _take(self, entry: Entry) -> None:
        match entry.kind:
            case "segment" | "backfill" if is_stored(entry):
                self.objects.append(row_of(entry))
            case "gap":
                self.gaps.append(entry)
            case "class":
                self.decisions.append(decision_of(entry))
            case "deletion":
                self._take_deletion(entry)

    @property
    def segments(self) -> list[SegmentRow]:
        """Objects of live footage."""
        return [row for row in self.objects if isinstance(row, SegmentRow)]

    def deleted(self, row: ObjectRow) -> Deleted:
        """Return what is said of an object's deletion."""
        return self._deleted.get((row.key, row.version_id), Deleted(None, None))

    def decided_at(self) -> Instant:
        """Return when its class was last decided about."""
        return max((one.at for one in self.decisions), default=Instant(0))

    def _take_deletion(self, entry: Entry) -> None:
        place = (str(entry.body.get("key")), str(entry.body.get("version_id")))
        known = self._deleted.get(place, Deleted(None, None))
        if entry.body.get("stage") == "done":
            self._deleted[place] = known._replace(done=entry.at)
        else:
            self._deleted[place] = known._replace(intent=entry.at)


class Owed(msgspec.Struct, frozen=True):
    """What the store must have for an object.

    Attributes:
        retain_until: Locked at least until then.
        legal_hold: Held.
        tags: Those that must be there; without `retention` where its class was decided just now.
    """

    retain_until: Instant
    legal_hold: bool
    tags: dict[str, str]


def owed(row: ObjectRow, session: SessionFacts, held: Held, book: Rulebook, now: Instant) -> Owed:
    """Return what the store must have for an object now.

    Args:
        row: The object, as its entry has it: `retain_until` is what it was locked until when it was written.
        session: What is said of its session.
        held: The holds.
        book: The policies in force.
        now: The time.
    """
    policy = book.find(row.policy)
    known = session.standing
    standing_holds = held.on(row)
    facts = Facts(row=row, policy=policy, standing=known, holds=tuple(standing_holds))
    is_fresh = now < session.decided_at().plus(GRACE_MS)
    locked = max(row.retain_until, min(_by_policy(facts, row), now.plus(_SOON_MS)))
    if known.retention_class in {"evidence", "long_term"} and not is_fresh:
        locked = max(locked, min(due_at(facts) or locked, session.decided_at().plus(LONGEST_MS)))
    if must_stay(facts, now) and now >= row.stored_at.plus(GRACE_MS):
        locked = max(locked, now)
    since = [max(one.at, row.stored_at) for one in standing_holds]
    if known.case_open:
        since.append(max(session.decided_at(), row.stored_at))
    tags = {"recorder": row.recorder_id, "session": row.session_id, "policy": row.policy}
    if not is_fresh and now >= row.stored_at.plus(GRACE_MS):
        tags["retention"] = tag_of(known.retention_class)
    return Owed(locked, any(now >= at.plus(GRACE_MS) for at in since), tags)


def _by_policy(facts: Facts, row: ObjectRow) -> Instant:
    if facts.policy is None:
        return row.retain_until
    return max(retain_until(row.to_at, facts.policy), due_at(facts) or row.retain_until)
