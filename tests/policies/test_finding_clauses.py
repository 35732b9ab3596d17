"""The articles a finding cites, and how long a segment is locked."""

import pytest

from domain.clock import Instant
from policies.clauses import clauses
from policies.retention import retain_until


@pytest.mark.parametrize(
    ("policy", "kind", "more", "articles"),
    [
        ("wucheng", "recording.gap", {}, ["W-AV 第十八条"]),
        ("wucheng", "recording.gap", {"unbroken": True}, ["W-AV 第十八条", "W-AV 第十二条"]),
        ("wucheng", "recording.gap", {"recorder": "premises_camera"}, ["W-NS 第十三条"]),
        ("wucheng", "recording.gap", {"recorder": "premises_camera", "unbroken": True}, ["W-NS 第十三条"]),
        ("wucheng", "upload.overdue", {"recorder": "premises_camera"}, []),
        ("wucheng", "clock.drift", {"unbroken": True}, ["W-AV 第十条"]),
        ("gansu", "recording.stalled", {}, ["第十八条", "第十九条"]),
        ("gansu", "power.low_battery", {}, []),
        ("chongqing", "recording.stalled", {"unbroken": True}, ["第十一条", "第十五条（二）"]),
        ("chongqing", "recording.stalled", {"unbroken": True, "act": "coercion"}, ["第十一条", "第十七条（二）"]),
        ("chongqing", "recording.stalled", {"act": "coercion"}, ["第十一条"]),
        ("zhuhui", "recording.gap", {}, []),
        ("zhuhui", "recording.gap", {"unbroken": True, "act": "questioning"}, ["第二十五条"]),
        ("zhuhui", "recording.gap", {"unbroken": True, "act": "sampling"}, []),
        ("zhanhe", "recording.gap", {"unbroken": True}, ["Z-AV 第十二条", "Z-AV 第八条"]),
        ("hangzhou", "recording.gap", {}, []),
        ("wucheng", "no.such", {}, []),
    ],
)
def test_cited(policy: str, kind: str, more: dict[str, object], articles: list[str]) -> None:
    assert clauses(policy, kind, **more) == articles  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "until"),
    [
        ("gansu", "2027-02-28T10:00:00+08:00"),
        ("chongqing", "2027-02-28T10:00:00+08:00"),
        ("zhuhui", "2027-02-28T10:00:00+08:00"),
        ("wucheng", "2027-02-28T10:00:00+08:00"),
        ("zhanhe", "2027-08-31T10:00:00+08:00"),
        ("hangzhou", "2027-02-28T10:00:00+08:00"),
    ],
)
def test_locked_at_least(policy: str, until: str) -> None:
    assert retain_until(Instant.parse("2026-08-31T10:00:00+08:00"), policy) == Instant.parse(until)


def test_locked_by_the_default_where_nothing_is_said() -> None:
    moment = Instant.parse("2026-03-09T10:00:00+08:00")
    assert retain_until(moment) == retain_until(moment, "wucheng")
