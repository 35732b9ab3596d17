"""`recording.stop_and_go`, by literal logs. Moments are seconds after 09:00:00."""

from __future__ import annotations

import pytest

from domain.clock import Instant
from domain.findings import Finding
from tests.detectors.logs import Line, ended, in_order, opened, registered, resumed, said, second, stopped

KIND = "recording.stop_and_go"


def found(*parts: list[Line], policy: str = "wucheng", **session: object) -> list[Finding]:
    return said(in_order([registered(policy=policy), opened(0.1, **session)], *parts), KIND)  # type: ignore[arg-type]


def stops(count: int, reason: str = "officer") -> list[Line]:
    """At 20, 40, 60 … each resumed after five seconds."""
    return [line for n in range(1, count + 1) for line in (stopped(20 * n + 0.3, reason, 20 * n), resumed(20 * n + 5))]


@pytest.mark.parametrize(
    ("policy", "severity", "clauses"),
    [
        ("gansu", "warning", ["第十八条", "第十九条"]),
        ("chongqing", "warning", ["第十一条"]),
        ("zhuhui", "info", []),
        ("wucheng", "warning", ["W-AV 第十八条"]),
        ("zhanhe", "warning", ["Z-AV 第十二条"]),
    ],
)
def test_three_stops_open_it_and_the_end_closes_it(policy: str, severity: str, clauses: list[str]) -> None:
    first, last = found(stops(4), [ended(100, 99)], policy=policy)
    assert (first.status, first.severity, first.clauses) == ("opened", severity, clauses)
    assert first.began_at == Instant.parse("2026-03-02T09:00:20+08:00")
    assert first.detected_at == Instant.parse("2026-03-02T09:01:00.300+08:00")
    assert first.evidence["stops"] == 3
    assert (last.status, last.id, second(last.ended_at), last.evidence["stops"]) == ("closed", first.id, 100, 4)


def test_two_are_not_enough_and_others_are_not_the_officers() -> None:
    assert found(stops(2)) == []
    assert found(stops(5, "battery")) == []
    assert found(stops(2), stops(5, "device")) == []


def test_a_stop_said_again_is_one() -> None:
    assert found([stopped(20.3 + n, "officer", 20) for n in range(10)]) == []
    # Without a word of going on, a later last captured moment tells of it.
    assert len(found([stopped(20.3 + 9 * n, "officer", 20 + 9 * n) for n in range(3)])) == 1


def test_each_session_has_its_own() -> None:
    parts = [stopped(20.3 + 20 * n, "officer", 20 + 20 * n, session=f"s{n}") for n in range(5)]
    assert found(parts) == []


def test_unbroken_is_critical() -> None:
    assert found(stops(3), unbroken=True)[0].severity == "critical"
    assert found(stops(3), policy="zhuhui", act="questioning")[0].severity == "critical"


def test_each_second_for_ten_minutes_is_one() -> None:
    flapping = [
        line for n in range(300) for line in (stopped(2.0 * n + 1, "officer", 2.0 * n + 1), resumed(2.0 * n + 2))
    ]
    assert [one.status for one in found(flapping, [ended(700, 600)])] == ["opened", "closed"]


def test_what_comes_after_the_end_does_not_count() -> None:
    assert found(stops(2), [ended(50, 49)], [stopped(60.3, "officer", 60)]) == []
