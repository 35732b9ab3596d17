"""`integrity.broken`, by literal logs."""

from __future__ import annotations

from domain.findings import Finding
from tests.detectors.logs import Line, event, in_order, registered, said, second, ticks

KIND = "integrity.broken"


def broken(when: float, key: str, fault: str) -> Line:
    return event("integrity", when, key=key, fault=fault)


def found(*lines: Line, policy: str = "wucheng") -> list[Finding]:
    return said(in_order([registered(policy=policy)], lines, ticks(0, 120)), KIND)


def test_each_object_is_a_finding_and_never_closes_by_itself() -> None:
    first, other = found(broken(5, "a/1.mp4", "altered"), broken(6, "a/2.mp4", "missing"))
    assert (first.status, first.severity, first.cause, second(first.began_at)) == ("opened", "critical", "altered", 5)
    assert first.evidence == {"key": "a/1.mp4", "fault": "altered", "faults": ["altered"]}
    assert first.clauses == ["W-AV 第十八条", "W-AV 第三十五条（二）"]
    assert (other.cause, other.id != first.id) == ("missing", True)


def test_two_objects_at_one_moment_are_two() -> None:
    assert len({one.id for one in found(broken(5, "a", "altered"), broken(5, "b", "altered"))}) == 2


def test_found_again_it_is_the_same_and_another_fault_updates_it() -> None:
    findings = found(*(broken(5 + n, "a", "hidden") for n in range(60)), broken(80, "a", "altered"))
    assert [(one.status, one.evidence["faults"]) for one in findings] == [
        ("opened", ["hidden"]),
        ("updated", ["hidden", "altered"]),
    ]
    assert findings[0].id == findings[1].id


def test_what_it_cites() -> None:
    cited = {
        policy: found(broken(5, "a", "altered"), policy=policy)[0].clauses for policy in ("gansu", "zhuhui", "zhanhe")
    }
    assert cited == {
        "gansu": ["第二十四条"],
        "zhuhui": ["第五十条（三）"],
        "zhanhe": ["Z-AC 第九条", "Z-AV 第十八条（二）"],
    }
    assert found(broken(5, "a", "altered"), policy="chongqing")[0].clauses == ["第二十条", "第二十七条（三）"]
