"""`store.stalled`, by literal logs. Moments are seconds after 09:00:00."""

from __future__ import annotations

from domain.findings import Finding
from tests.detectors.logs import (
    SHA,
    Line,
    at,
    backfilled,
    event,
    fragment,
    fragments,
    in_order,
    opened,
    registered,
    said,
    second,
    ticks,
)

KIND = "store.stalled"


def segment(when: float, low: float, high: float, session: str = "s1") -> Line:
    return event(
        "segment_stored",
        when,
        session_id=session,
        key=f"{session}/{low}",
        version_id="1",
        sha256=SHA,
        bytes=1000,
        **{"from": at(low), "to": at(high)},
    )


def found(*parts: list[Line], until: int = 800) -> list[Finding]:
    return said(in_order([registered(), opened(0.1)], *parts, ticks(0, until)), KIND)


def story(findings: list[Finding]) -> list[tuple[str, float]]:
    return [(one.status, second(one.detected_at)) for one in findings]


def test_five_minutes_after_it_arrived() -> None:
    first, last = found(fragments(0, 10, 0), [segment(400, 0, 20)])
    assert (first.status, second(first.began_at), second(first.detected_at)) == ("opened", 2.2, 303)
    assert (first.severity, first.session_id, first.clauses) == ("warning", "s1", ["W-AV 第二十三条"])
    assert first.evidence == {
        "arrived_at": "2026-03-02T09:00:02.200+08:00",
        "waiting_s": 300.8,
        "pending_s": 20.0,
        "from": "2026-03-02T09:00:00.000+08:00",
        "to": "2026-03-02T09:00:20.000+08:00",
    }
    assert (last.status, last.id, second(last.ended_at)) == ("closed", first.id, 400)


def test_a_store_that_keeps_up_is_not_stalled() -> None:
    stored = [segment(60 * n + 10, 60 * n - 60, 60 * n) for n in range(1, 12)]
    assert found(fragments(0, 330, 0), stored, until=700) == []


def test_the_oldest_that_is_left_decides() -> None:
    """What arrived at 2 is stored, what arrived at 22 is not."""
    findings = found(fragments(0, 10, 0), [segment(100, 0, 18)], [fragment(10, 20)])
    assert second(findings[0].began_at) == 20.2
    assert second(findings[0].detected_at) == 321
    assert findings[0].evidence["pending_s"] == 4.0


def test_what_was_delivered_counts_as_stored() -> None:
    assert found(fragments(0, 10, 0), [backfilled(200, 0, 20)]) == []


def test_edges_that_are_rounded_do_not_count() -> None:
    assert found(fragments(0, 10, 0.2), [segment(100, 0.5, 20)]) == []


def test_a_segment_of_another_session_is_another_matter() -> None:
    assert story(found(fragments(0, 10, 0), [segment(100, 0, 20, "s2")])) == [("opened", 303)]


def test_it_closes_when_the_backlog_is_drained_well_below() -> None:
    """A store that is always just too slow says it once."""
    slow = [segment(60 * n + 250, 60 * n - 60, 60 * n) for n in range(1, 15)]
    findings = found(fragments(0, 420, 0), slow, until=1200)
    assert story(findings) == [("opened", 302.2), ("closed", 1090)]


def test_the_store_away_for_hours_stays_bounded() -> None:
    media = fragments(0, 4000, 0, 0.5)
    findings = found(media, [segment(2300, 0, 2000)], until=2400)
    assert story(findings) == [("opened", 300.7), ("closed", 2300)]
    flaky = [fragment(n, 4.0 * n, 2.0) for n in range(600)]
    each = [segment(2500 + n, 4.0 * n, 4.0 * n + 2) for n in range(600)]
    assert [one.status for one in found(flaky, each, until=3200)] == ["opened", "closed"]
