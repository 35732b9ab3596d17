"""Logs of footage on its way to the store: one session, and what becomes of it days later. Times are RFC 3339."""

from __future__ import annotations

from domain.findings import Finding
from tests.detectors.logs import SHA, Line, in_order, said

Times = str


def line(type_: str, when: Times, **fields: object) -> Line:
    return {"type": type_, "recorder_id": "rec-1", "at": when, **fields}


def ticked(*whens: Times) -> list[Line]:
    return [{"type": "tick", "at": when} for when in whens]


def session(day: str, policy: str = "wucheng", kind: str = "body_worn", **opened: object) -> list[Line]:
    """Twenty seconds recorded from 10:00 of a day, completed at 10:00:20."""
    return [
        line("recorder_registered", f"{day}T09:59:00+08:00", kind=kind, policy=policy),
        line("session_opened", f"{day}T10:00:00+08:00", session_id="s1", **opened),
        *(fragment(day, seq) for seq in range(10)),
        line("session_ended", f"{day}T10:00:25+08:00", session_id="s1", completed_at=f"{day}T10:00:20+08:00"),
    ]


def fragment(day: str, seq: int) -> Line:
    return line(
        "fragment",
        f"{day}T10:00:{2 * seq + 2:02d}.200+08:00",
        session_id="s1",
        feed_id="f1",
        seq=seq,
        captured_at=f"{day}T10:00:{2 * seq:02d}+08:00",
        duration_s=2.0,
        bytes=1000,
        sha256=SHA,
        codec="h264",
    )


def span(type_: str, when: Times, low: Times, high: Times, **fields: object) -> Line:
    more: dict[str, object] = {"sha256": SHA, **fields}
    if type_ == "segment_stored":
        more |= {"key": "k", "version_id": "1", "bytes": 1000}
    return line(type_, when, session_id="s1", **{"from": low, "to": high}, **more)


def stored(when: Times, day: str, low: str = "10:00:00", high: str = "10:00:20") -> Line:
    return span("segment_stored", when, f"{day}T{low}+08:00", f"{day}T{high}+08:00")


def held(when: Times, *spans: tuple[Times, Times], session_id: str = "s1") -> Line:
    listed = [{"session_id": session_id, "from": low, "to": high, "bytes": 1000} for low, high in spans]
    return line("device_index", when, recordings=listed)


def told(kind: str, *parts: list[Line]) -> list[Finding]:
    return said(in_order(*parts), kind)


def story(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(one.status, one.detected_at.rfc3339().removesuffix(".000+08:00")) for one in findings]
