"""The fleet as a fold of literal records."""

from typing import Any

import msgspec

from dashboards.projection import Fleet, FleetState
from dashboards.recorder import MAX_FINDINGS, MAX_SESSIONS
from domain.events import (
    Backfilled,
    DeviceIndex,
    Explanation,
    HeldRecording,
    RecorderRegistered,
    SegmentStored,
    SessionEnded,
    SessionOpened,
    SessionResumed,
    SessionStopped,
    Telemetry,
    Tick,
)
from domain.registry import Registration
from tests.dashboards.feeds import SHA, Log, at, finding, fragment


def stored(start: float, end: float, **fields: Any) -> SegmentStored:
    given: dict[str, Any] = {"recorder_id": "cam-1", "session_id": "s1"} | fields
    return SegmentStored(
        at=at(end + 1), from_=at(start), to=at(end), key="k", version_id="", sha256=SHA, bytes=1, **given
    )


def opened(**fields: Any) -> SessionOpened:
    return SessionOpened(at=at(0), **({"recorder_id": "cam-1", "session_id": "s1"} | fields))


def told(*what: object) -> Fleet:
    log, fleet = Log(), Fleet()
    for each in what:
        fleet.apply(log(each))  # type: ignore[arg-type]
    return fleet


def test_lag_counts_from_the_oldest_second_outside_the_store() -> None:
    fleet = told(opened(), *(fragment(second) for second in (0, 2, 4, 6)))
    cam = fleet.recorders["cam-1"]
    assert (cam.lag_ms(at(10)), cam.pending_bytes, cam.pending_fragments) == (10_000, 4000, 4)
    fleet = told(opened(), *(fragment(second) for second in (0, 2, 4, 6)), stored(0, 4))
    cam = fleet.recorders["cam-1"]
    assert (cam.lag_ms(at(10)), cam.pending_bytes, cam.oldest_missing_at) == (6000, 2000, at(4))
    fleet = told(opened(), *(fragment(second) for second in (0, 2, 4, 6)), stored(0, 4), stored(4, 8))
    assert fleet.recorders["cam-1"].lag_ms(at(10)) == 0


def test_a_fragment_event_after_its_segment_or_twice_is_not_missing() -> None:
    fleet = told(stored(0, 4), fragment(0), fragment(2), fragment(0))
    assert fleet.recorders["cam-1"].oldest_missing_at is None
    fleet = told(fragment(0), fragment(0))
    assert fleet.recorders["cam-1"].pending_bytes == 1000


def test_what_the_device_still_holds_is_missing_until_it_is_stored() -> None:
    held = HeldRecording(session_id="s1", from_=at(-3600), to=at(-1800), bytes=9000)
    index = DeviceIndex(at=at(0), recorder_id="cam-1", recordings=[held])
    cam = told(index, fragment(0)).recorders["cam-1"]
    assert (cam.oldest_missing_at, cam.pending_bytes) == (at(-3600), 10_000)
    cam = told(index, stored(-3600, -2700)).recorders["cam-1"]
    assert (cam.oldest_missing_at, cam.pending_bytes) == (at(-2700), 4500)
    fill = Backfilled(at=at(1), recorder_id="cam-1", session_id="s1", from_=at(-3600), to=at(-1800), sha256=SHA)
    assert told(index, fill).recorders["cam-1"].oldest_missing_at is None
    assert told(fill, index).recorders["cam-1"].oldest_missing_at is None
    nothing = DeviceIndex(at=at(1), recorder_id="cam-1", recordings=[])
    assert told(index, nothing).recorders["cam-1"].oldest_missing_at is None


def test_telemetry_keeps_what_a_reading_leaves_out() -> None:
    full = Telemetry(
        at=at(1),
        recorder_id="cam-1",
        device_at=at(8),
        battery_percent=42,
        storage_free_bytes=25,
        storage_total_bytes=100,
        recording=True,
        charging=False,
    )
    cam = told(full, Telemetry(at=at(2), recorder_id="cam-1", device_at=at(8.5), sent_at=at(9))).recorders["cam-1"]
    assert (cam.battery_ratio, cam.storage_free_ratio, cam.recording, cam.charging) == (0.42, 0.25, True, False)
    assert cam.clock_offset_s == 7.0
    assert cam.telemetry_at == at(2)


def test_completeness_leaves_out_stops_in_which_nothing_was_recorded() -> None:
    stop = SessionStopped(at=at(5), recorder_id="cam-1", session_id="s1", reason="officer", last_captured_at=at(4))
    story = [opened(), fragment(0), fragment(2), stop, fragment(14, seq=2), stored(0, 4), stored(14, 16)]
    assert told(*story).recorders["cam-1"].completeness_ratio == 1.0
    lost = msgspec.structs.replace(stop, reason="connection_lost")
    story[3] = lost
    assert told(*story).recorders["cam-1"].completeness_ratio == 6 / 16
    assert told(opened()).recorders["cam-1"].completeness_ratio is None


def test_stops_resumptions_and_explanations_stand_on_the_session() -> None:
    stop = SessionStopped(at=at(5), recorder_id="cam-1", session_id="s1", reason="battery", last_captured_at=at(4))
    resume = SessionResumed(at=at(60), recorder_id="cam-1", session_id="s1")
    why = Explanation(
        at=at(65), recorder_id="cam-1", session_id="s1", method="voice", cause="battery", by="a", stopped_at=at(4)
    )
    session = told(opened(), stop, stop).recorders["cam-1"].sessions["s1"]
    assert (session.stopped_at, session.stop_reason, len(session.marks)) == (at(4), "battery", 1)
    session = told(opened(), stop, resume, why).recorders["cam-1"].sessions["s1"]
    assert session.stopped_at is None
    assert [(mark.kind, mark.at) for mark in session.marks] == [
        ("stop", at(4)),
        ("resume", at(60)),
        ("explanation", at(4)),
    ]


def test_findings_open_change_and_close_and_are_counted_once() -> None:
    log, fleet = Log(), Fleet()
    worse = finding(1, status="updated", severity="warning", detected_at=at(20))
    closed = finding(1, status="closed", ended_at=at(25), detected_at=at(25))
    for each in (finding(1), finding(1), worse):
        fleet.apply(log(each))
    assert [open_.severity for open_ in fleet.recorders["cam-1"].findings.values()] == ["warning"]
    # Published again after a crash of the detectors: opened, closed, opened, closed.
    for each in (closed, finding(1), closed):
        fleet.apply(log(each))
    assert fleet.recorders["cam-1"].findings == {}
    assert fleet.state.findings_total == {"recording.stalled": 1}


def test_a_record_is_absorbed_once_and_state_survives_its_encoding() -> None:
    log, fleet = Log(), Fleet()
    records = [log(each) for each in (opened(), fragment(0), finding(1), stored(0, 2), fragment(2))]
    for record in records:
        fleet.apply(record)
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(fleet.state), type=FleetState)
    again = Fleet(state)
    for record in records:
        assert again.apply(record) is None
    assert msgspec.to_builtins(again.state) == msgspec.to_builtins(fleet.state)
    assert again.recorders["cam-1"].lag_ms(at(5)) == 3000


def test_rubbish_is_counted_and_stops_nothing() -> None:
    log, fleet = Log(), Fleet()
    for value in (b"", b"{", b'{"type":"nonsense"}', b'{"type":"fragment"}', None):
        assert fleet.apply(log.raw("events", "cam-1", value)) is None
    assert fleet.apply(log.raw("findings", "cam-1", b"[]")) is None
    fleet.apply(log(fragment(0)))
    assert fleet.state.unreadable == 5
    assert fleet.recorders["cam-1"].pending_fragments == 1


def test_a_retired_recorder_goes_when_all_of_it_is_stored_and_stays_gone() -> None:
    log, fleet = Log(), Fleet()
    known = Registration(recorder_id="cam-1", kind="premises_camera", policy="wucheng", name="one")
    for each in (known, fragment(0), msgspec.structs.replace(known, state="retired")):
        fleet.apply(log(each))
    assert [recorder.recorder_id for recorder in fleet.shown()] == ["cam-1"]
    change = fleet.apply(log(stored(0, 2)))
    assert change is not None
    assert change.removed
    fleet.apply(log(Telemetry(at=at(9), recorder_id="cam-1", device_at=at(9))))
    assert list(fleet.shown()) == []
    fleet.apply(log(known))
    assert [recorder.name for recorder in fleet.shown()] == ["one"]
    fleet.apply(log.raw("registry", "cam-1", None))
    assert list(fleet.shown()) == []


def test_registration_by_event_and_ticks() -> None:
    event = RecorderRegistered(at=at(0), recorder_id="cam-1", kind="room_camera", policy="gansu", continuous=True)
    fleet = told(event, Tick(at=at(77)))
    cam = fleet.recorders["cam-1"]
    assert (cam.kind, cam.policy, cam.continuous, cam.state) == ("room_camera", "gansu", True, "active")
    assert fleet.state.at == at(77)


def test_sessions_and_findings_of_one_recorder_are_bounded() -> None:
    log, fleet = Log(), Fleet()
    for number in range(MAX_SESSIONS + 50):
        fleet.apply(log(opened(session_id=f"s{number}")))
        if number != 3:
            end = SessionEnded(at=at(number), recorder_id="cam-1", session_id=f"s{number}", completed_at=at(number))
            fleet.apply(log(end))
    sessions = fleet.recorders["cam-1"].sessions
    assert len(sessions) <= MAX_SESSIONS + 1
    assert "s3" in sessions, "an open session is kept before ended ones"
    for number in range(MAX_FINDINGS + 10):
        fleet.apply(log(finding(number)))
    assert len(fleet.recorders["cam-1"].findings) == MAX_FINDINGS
