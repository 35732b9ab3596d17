"""What an object is owed, as properties: nothing shortens a lock, nothing that must stay comes to its end."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.clock import Instant
from domain.events import Hold, RetentionClass
from domain.findings import Finding, FindingKind, Message
from domain.ids import finding_id
from policies import load, names
from policies.retention import retain_until
from storage.catalog.rows import DecisionRow, ExpiryRow, HoldRow, SegmentRow
from storage.retention.holds import covers, hold_id, lifted, of_event, of_finding, span, touches
from storage.retention.rules import (
    DAY_MS,
    LONGEST_MS,
    RENEW_BEFORE_MS,
    Facts,
    blockers,
    due_at,
    must_stay,
    protection,
    wants_review,
)
from storage.retention.standing import STRENGTH, standing

T0 = Instant.parse("2026-05-04T08:00:00+08:00")
YEAR_MS = 366 * DAY_MS

classes = st.sampled_from(get_args(RetentionClass))
moments = st.integers(0, 3 * YEAR_MS).map(T0.plus)
maybe_moment = st.none() | st.integers(-YEAR_MS, 40 * YEAR_MS).map(T0.plus)


def segment(**more: object) -> SegmentRow:
    row = SegmentRow(
        key="segments/cam-1/a.mp4",
        recorder_id="cam-1",
        session_id="s1",
        feed_id="f1",
        policy="wucheng",
        from_at=T0,
        to_at=T0.plus(60_000),
        bytes=1,
        sha256="0" * 64,
        version_id="v",
        codec="h264",
        first_seq=0,
        last_seq=0,
        fragments=1,
        retain_until=retain_until(T0.plus(60_000), "wucheng"),
        stored_at=T0.plus(90_000),
    )
    return msgspec.structs.replace(row, **more)


@st.composite
def decisions(draw: st.DrawFn) -> DecisionRow:
    return DecisionRow(
        id=f"{draw(st.integers(0, 10**6)):032x}",
        recorder_id="cam-1",
        session_id="s1",
        at=draw(moments),
        retention_class=draw(classes),
        by="李四",
        reason="",
        document=draw(st.none() | st.just("12号")),
        case=draw(st.none() | st.just("7号")),
        closed_at=draw(st.none() | moments),
        keep_until=draw(maybe_moment),
    )


def decided(retention_class: RetentionClass, at_ms: int = 0, **more: object) -> DecisionRow:
    row = DecisionRow(
        id=f"{at_ms:032x}",
        recorder_id="cam-1",
        session_id="s1",
        at=T0.plus(at_ms),
        retention_class=retention_class,
        by="李四",
        reason="",
    )
    return msgspec.structs.replace(row, **more)


def a_hold(**more: object) -> HoldRow:
    row = HoldRow(id="1", recorder_id="cam-1", session_id="s1", origin="person", by="李四", reason="复核", at=T0)
    return msgspec.structs.replace(row, **more)


def a_finding(kind: FindingKind = "recording.gap", **more: object) -> Finding:
    found = Finding(
        id=finding_id(kind, "cam-1", "s1", "", T0),
        kind=kind,
        status="opened",
        severity="warning",
        recorder_id="cam-1",
        session_id="s1",
        began_at=T0,
        detected_at=T0.plus(10_000),
        evidence={},
        clauses=[],
        message=Message(key="x", params={}),
    )
    return msgspec.structs.replace(found, **more)


def facts(policy: str = "wucheng", *said: DecisionRow, **more: object) -> Facts:
    known = Facts(row=segment(policy=policy), policy=load(policy), standing=standing(said))
    return msgspec.structs.replace(known, **more)


# Which decision counts


@given(st.lists(decisions(), max_size=8, unique_by=lambda row: row.id), st.randoms())
def test_the_order_in_which_decisions_are_read_does_not_matter(rows: list[DecisionRow], order: object) -> None:
    shuffled = list(rows)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert standing(shuffled) == standing(rows)


@given(st.lists(decisions(), max_size=8), decisions())
def test_without_a_document_a_class_only_becomes_stronger(rows: list[DecisionRow], last: DecisionRow) -> None:
    last = msgspec.structs.replace(last, id="last", at=T0.plus(4 * YEAR_MS), document=None)
    before, after = standing(rows), standing([*rows, last])
    assert STRENGTH[after.strongest] >= STRENGTH[before.strongest]
    assert after.retention_class == "unknown" or STRENGTH[after.retention_class] >= STRENGTH[before.retention_class]
    assert (last.id in after.refused) is (
        last.retention_class != "unknown" and STRENGTH[last.retention_class] < STRENGTH[before.strongest]
    )


@given(st.lists(decisions(), max_size=8))
def test_the_case_files_period_never_becomes_shorter(rows: list[DecisionRow]) -> None:
    rows.sort(key=lambda row: (row.at, row.id))
    named = [standing(rows[:count]).keep_until or Instant(0) for count in range(len(rows) + 1)]
    assert named == sorted(named)


def test_a_weaker_class_needs_a_signed_decision() -> None:
    rows = [decided("long_term", 1), decided("ordinary", 2)]
    assert standing(rows).retention_class == "long_term"
    assert standing(rows).refused == (rows[1].id,)
    rows[1] = msgspec.structs.replace(rows[1], document="12号")
    assert (standing(rows).retention_class, standing(rows).document) == ("ordinary", "12号")


def test_saying_unknown_is_no_way_round() -> None:
    rows = [decided("evidence", 1), decided("unknown", 2), decided("ordinary", 3)]
    assert standing(rows[:2]).retention_class == "unknown"
    assert standing(rows).retention_class == "unknown"
    assert standing([*rows, decided("evidence", 4)]).retention_class == "evidence"


def test_a_case_is_open_until_it_is_said_to_be_closed() -> None:
    rows = [decided("evidence", 1, case="7号")]
    assert standing(rows).case_open
    rows.append(decided("evidence", 2, keep_until=T0.plus(YEAR_MS)))
    assert standing(rows).case_open
    rows.append(decided("evidence", 3, case="7号", closed_at=T0.plus(5)))
    assert (standing(rows).case_open, standing(rows).closed_at) == (False, T0.plus(5))
    rows.append(decided("evidence", 4, case="7号"))
    assert standing(rows).case_open


# Locks


@given(
    st.sampled_from(names()),
    st.lists(decisions(), max_size=6),
    st.lists(st.tuples(moments, st.booleans(), st.booleans()), min_size=1, max_size=6),
)
def test_whatever_is_decided_no_lock_is_ever_shortened(
    policy: str, rows: list[DecisionRow], looks: list[tuple[Instant, bool, bool]]
) -> None:
    rows.sort(key=lambda row: (row.at, row.id))
    locked = segment().retain_until
    for count, (now, held, found) in enumerate(looks):
        known = facts(
            policy,
            *rows[:count],
            row=segment(policy=policy, retain_until=locked),
            holds=(a_hold(),) if held else (),
            findings=(a_finding(),) if found else (),
        )
        owed = protection(known, now)
        assert owed.retain_until >= locked
        assert owed.retain_until <= max(locked, now.plus(LONGEST_MS), retain_until(segment().to_at, policy))
        if must_stay(known, now):
            assert owed.retain_until >= now.plus(RENEW_BEFORE_MS)
        assert not held or owed.legal_hold
        locked = owed.retain_until


@given(
    st.sampled_from(names()),
    st.lists(decisions(), max_size=6),
    st.integers(0, 60 * YEAR_MS).map(T0.plus),
    st.booleans(),
    st.booleans(),
)
def test_what_is_held_open_or_unsettled_never_comes_to_its_end(
    policy: str, rows: list[DecisionRow], now: Instant, held: bool, found: bool
) -> None:
    known = facts(
        policy,
        *rows,
        row=segment(policy=policy, retain_until=Instant(0)),
        holds=(a_hold(),) if held else (),
        findings=(a_finding(),) if found else (),
    )
    stands = blockers(known, now)
    settled = known.standing.retention_class
    if held or found or settled in {"unknown", "long_term"} or known.standing.case_open:
        assert stands
    if not stands:
        due = due_at(known)
        assert due is not None
        assert due <= now
        assert known.standing.keep_until is None or known.standing.keep_until <= now
        assert now >= known.row.stored_at.plus(180 * DAY_MS)


@given(decisions())
def test_a_later_closing_or_storing_never_comes_to_its_end_earlier(row: DecisionRow) -> None:
    ordinary = msgspec.structs.replace(row, retention_class="ordinary", case="7号", closed_at=T0.plus(YEAR_MS))
    later = msgspec.structs.replace(ordinary, closed_at=T0.plus(2 * YEAR_MS))
    first, second = due_at(facts("wucheng", ordinary)), due_at(facts("wucheng", later))
    assert first is not None
    assert second is not None
    assert first <= second
    stored = due_at(facts("wucheng", ordinary, row=segment(stored_at=T0.plus(3 * YEAR_MS))))
    assert stored is not None
    assert stored >= first


@pytest.mark.parametrize(
    ("policy", "retention_class", "kept", "due"),
    [
        ("wucheng", "ordinary", None, "2026-11-04"),
        ("chongqing", "ordinary", None, "2026-11-04"),
        ("zhanhe", "ordinary", None, "2027-05-04"),
        ("zhanhe", "evidence", None, "2027-05-04"),
        ("gansu", "ordinary", None, None),
        ("gansu", "ordinary", "2030-01-01", "2030-01-01"),
        ("gansu", "evidence", "2030-01-01", None),
        ("zhuhui", "ordinary", None, None),
        ("zhuhui", "evidence", "2036-01-01", "2036-01-01"),
        ("wucheng", "evidence", None, None),
        ("wucheng", "evidence", "2036-01-01", "2036-01-01"),
        ("chongqing", "evidence", "2026-06-01", "2026-11-04"),
        ("wucheng", "ordinary", "2036-01-01", "2036-01-01"),
        ("wucheng", "long_term", "2026-06-01", None),
        ("wucheng", "unknown", "2026-06-01", None),
    ],
)
def test_when_the_time_is_over(policy: str, retention_class: RetentionClass, kept: str | None, due: str | None) -> None:
    until = None if kept is None else Instant.parse(f"{kept}T00:00:00+08:00")
    found = due_at(facts(policy, decided(retention_class, keep_until=until)))
    assert (None if found is None else found.rfc3339()[:10]) == due


def test_a_slip_of_the_pen_does_not_bind_for_ever() -> None:
    known = facts("wucheng", decided("evidence", keep_until=Instant.parse("2999-01-01T00:00:00+08:00")))
    assert protection(known, T0).retain_until == T0.plus(LONGEST_MS)
    assert blockers(known, T0.plus(LONGEST_MS)) == ["not_due"]


def test_a_lock_without_a_date_is_renewed_and_one_with_a_date_is_not() -> None:
    unsettled = facts("wucheng")
    end = unsettled.row.retain_until
    assert protection(unsettled, T0).retain_until == end
    assert protection(unsettled, end).retain_until == end.plus(90 * DAY_MS)
    ordinary = facts("wucheng", decided("ordinary"), row=segment(retain_until=end.plus(30_000)))
    assert protection(ordinary, end.plus(-DAY_MS)).retain_until == end.plus(30_000)


def test_an_unknown_policy_keeps_everything() -> None:
    known = msgspec.structs.replace(facts("wucheng", decided("ordinary")), policy=None)
    assert "policy_unknown" in blockers(known, T0.plus(50 * YEAR_MS))
    assert wants_review(known)


def test_what_a_person_keeps_stays_until_then() -> None:
    row = ExpiryRow(
        key=segment().key,
        recorder_id="cam-1",
        session_id="s1",
        state="kept",
        retention_class="ordinary",
        due_at=T0,
        listed_at=T0,
        again_at=T0.plus(5 * YEAR_MS),
    )
    known = facts("zhanhe", decided("ordinary"), row=segment(policy="zhanhe", retain_until=T0), expiry=row)
    assert blockers(known, T0.plus(3 * YEAR_MS)) == ["kept"]
    assert blockers(known, T0.plus(5 * YEAR_MS)) == []
    for_ever = msgspec.structs.replace(known, expiry=msgspec.structs.replace(row, again_at=None))
    assert blockers(for_ever, T0.plus(50 * YEAR_MS)) == ["kept"]


# Holds


def minute(number: int, **more: object) -> SegmentRow:
    begin = T0.plus(number * 60_000)
    row = segment(key=f"segments/{number}", from_at=begin, to_at=begin.plus(60_000))
    return msgspec.structs.replace(row, **more)


def test_a_finding_holds_ten_minutes_either_side_whatever_the_session() -> None:
    found = a_finding("picture.covered", status="closed", ended_at=T0.plus(120_000))
    hold = of_finding(found, load("wucheng"))
    assert hold is not None
    held = [number for number in range(-20, 30) if covers(hold, minute(number, session_id=f"s{number}"))]
    assert held == list(range(-11, 13))
    assert not covers(hold, minute(0, recorder_id="cam-2"))
    assert (hold.origin, hold.ref, hold.by) == ("finding", found.id, "wucheng")


def test_while_a_condition_lasts_everything_after_it_is_held() -> None:
    hold = of_finding(a_finding("picture.covered"), load("wucheng"))
    assert hold is not None
    assert covers(hold, minute(10_000))
    gap = of_finding(
        a_finding("recording.gap", evidence={"from": T0.rfc3339(), "to": T0.plus(300_000).rfc3339()}), load("wucheng")
    )
    assert gap is not None
    assert [number for number in range(-20, 30) if covers(gap, minute(number))] == list(range(-11, 16))


def test_when_a_gap_was_filled_says_nothing_about_the_footage() -> None:
    gap = a_finding("recording.gap")
    filled = msgspec.structs.replace(gap, status="closed", ended_at=T0.plus(YEAR_MS))
    assert span(gap) == span(filled) == (T0, T0)


def test_a_finding_about_an_object_holds_that_object() -> None:
    broken = a_finding("integrity.broken", session_id=None, evidence={"key": "segments/7"})
    hold = of_finding(broken, load("wucheng"))
    assert hold is not None
    assert [number for number in range(20) if covers(hold, minute(number))] == [7]
    assert [number for number in range(20) if touches(broken, minute(number), 600_000)] == [7]


@pytest.mark.parametrize("name", names())
def test_kinds_that_hold_nothing(name: str) -> None:
    for kind in ("power.low_battery", "storage.low_space", "clock.drift", "upload.overdue", "store.stalled"):
        assert of_finding(a_finding(kind), load(name)) is None


def test_evidence_that_is_no_time_is_passed_over() -> None:
    assert span(a_finding("recording.gap", evidence={"from": "soon", "to": 7})) == (T0, T0)


def test_what_an_open_finding_is_about() -> None:
    gap = a_finding(evidence={"from": T0.rfc3339(), "to": T0.plus(60_000).rfc3339()})
    assert touches(gap, minute(5_000), 600_000)  # the same session
    assert touches(gap, minute(5, session_id="s2"), 600_000)
    assert not touches(gap, minute(5_000, session_id="s2"), 600_000)
    assert not touches(gap, minute(5, recorder_id="cam-2"), 600_000)
    silent = a_finding("device.silent", session_id=None)
    assert touches(silent, minute(5_000), 600_000)
    assert not touches(silent, minute(-5_000), 600_000)


def event(**more: object) -> Hold:
    said = Hold(at=T0, recorder_id="cam-1", session_id="s1", reason="复核", by="李四", released=False)
    return msgspec.structs.replace(said, **more)


def test_a_release_lifts_the_hold_it_names_or_all_of_its_span() -> None:
    whole, part = of_event(event()), of_event(event(from_=T0, to=T0.plus(9)))
    other = of_event(event(by="王五", at=T0.plus(1)))
    case = of_event(event(origin="case", ref="7号"))
    known = [whole, part, other, case]
    assert len({one.id for one in known}) == 4
    done = event(released=True, at=T0.plus(50))
    assert lifted(done, known) == [whole.id, other.id]
    assert lifted(msgspec.structs.replace(done, hold_id=case.id), known) == [case.id]
    assert lifted(msgspec.structs.replace(done, from_=T0, to=T0.plus(9)), known) == [part.id]
    assert lifted(msgspec.structs.replace(done, origin="case", ref="7号"), known) == [case.id]
    assert lifted(msgspec.structs.replace(done, at=T0.plus(-1)), known) == []


def test_a_holds_id_is_what_it_says() -> None:
    assert hold_id("cam-1", event()) == hold_id("cam-1", event())
    changed = [event(reason="x"), event(by="x"), event(from_=T0), event(to=T0), event(at=T0.plus(1)), event(ref="x")]
    assert len({hold_id("cam-1", one) for one in (event(), *changed)}) == 7
