"""The wire form: every example of the interface reads, what is wrong is named, equal values give equal bytes."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from domain import wire
from domain.clock import Instant
from domain.errors import InvalidEvent
from domain.events import Backfilled, DeviceIndex, Fragment, SegmentStored, Telemetry, Tick
from domain.findings import Finding, Message
from domain.registry import Registration, hash_token
from domain.schema import main as schema_main
from domain.schema import schemas

AT = "2026-03-02T09:00:00.250+08:00"
SHA = "ab" * 32
EXAMPLES: list[dict[str, object]] = [
    {
        "type": "recorder_registered",
        "kind": "body_worn",
        "policy": "wucheng",
        "expects_audio": True,
        "continuous": False,
    },
    {"type": "session_opened", "session_id": "s1", "act": "inspection", "unbroken": True, "remote": False},
    {
        "type": "fragment",
        "session_id": "s1",
        "feed_id": "f1",
        "seq": 0,
        "captured_at": AT,
        "duration_s": 2.0,
        "bytes": 1000,
        "sha256": SHA,
        "codec": "h264,aac",
        "lost_packets": 3,
    },
    {"type": "telemetry", "device_at": AT, "battery_percent": 55, "charging": False, "lat": 37.13, "lon": 116.07},
    {"type": "observation", "session_id": "s1", "captured_at": AT, "window_s": 4, "luma": 100.5, "audio_dbfs": -32.1},
    {"type": "session_stopped", "session_id": "s1", "reason": "officer", "last_captured_at": AT},
    {"type": "session_resumed", "session_id": "s1"},
    {"type": "session_ended", "session_id": "s1", "completed_at": AT},
    {"type": "returned"},
    {"type": "explanation", "session_id": "s1", "method": "voice", "cause": "other", "text": "电池没电", "by": "张三"},
    {"type": "device_index", "recordings": [{"session_id": "s1", "from": AT, "to": AT, "bytes": 1}]},
    {"type": "backfilled", "session_id": "s1", "from": AT, "to": AT, "sha256": SHA},
    {
        "type": "segment_stored",
        "session_id": "s1",
        "from": AT,
        "to": AT,
        "key": "segments/a",
        "version_id": "",
        "sha256": SHA,
        "bytes": 1,
    },
    {"type": "hold", "session_id": "s1", "reason": "复核", "by": "李四", "released": False},
    {
        "type": "hold",
        "session_id": "s1",
        "reason": "结案",
        "by": "李四",
        "released": True,
        "origin": "case",
        "ref": "婺卫医罚〔2026〕7号",
        "hold_id": "0" * 32,
    },
    {
        "type": "classified",
        "session_id": "s1",
        "class": "evidence",
        "reason": "作为证据使用",
        "by": "李四",
        "document": "婺卫执〔2026〕12号",
        "case": "婺卫医罚〔2026〕7号",
        "closed_at": AT,
        "keep_until": AT,
    },
    {"type": "integrity", "key": "segments/a", "fault": "altered"},
    {"type": "storing_deferred", "session_id": "s1", "approved_by": "主管领导", "until": AT, "reason": "特殊情况"},
    {"type": "tick"},
]


def line(example: dict[str, object], **changes: object) -> bytes:
    base: dict[str, object] = {"at": AT, "recorder_id": "rec-1"} if example["type"] != "tick" else {"at": AT}
    return json.dumps({**base, **example, **changes}).encode()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example["type"]))
def test_every_type_reads_and_writes_back_the_same(example: dict[str, object]) -> None:
    event = wire.decode_event(line(example))
    written = wire.encode(event)
    assert wire.decode_event(written) == event
    for name, value in example.items():
        if value not in (False, 0):
            assert json.loads(written)[name] == value


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example["type"]))
def test_the_published_schema_accepts_what_we_write(example: dict[str, object]) -> None:
    jsonschema.validate(json.loads(wire.encode(wire.decode_event(line(example)))), schemas()["event.schema.json"])


def test_unknown_fields_are_ignored() -> None:
    assert wire.decode_event(line({"type": "tick"}, colour="red")) == Tick(at=Instant.parse(AT))


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"type": "teleportation"}, "type"),
        ({"type": "tick", "at": "yesterday"}, "at"),
        ({"type": "tick", "at": "2026-03-02T09:00:00"}, "at"),
        ({"type": "tick", "at": 5}, "at"),
        ({"type": "tick", "v": 2}, "v"),
        ({"type": "returned", "recorder_id": "Upper"}, "recorder_id"),
        ({"type": "returned", "recorder_id": "a\n"}, "recorder_id"),
        ({"type": "returned", "recorder_id": "x" * 64}, "recorder_id"),
        ({"type": "telemetry"}, "device_at"),
        ({"type": "telemetry", "device_at": AT, "battery_percent": 101}, "battery_percent"),
        ({"type": "telemetry", "device_at": AT, "battery_percent": "full"}, "battery_percent"),
        ({"type": "session_stopped", "session_id": "s1", "reason": "bored", "last_captured_at": AT}, "reason"),
        ({**EXAMPLES[2], "seq": -1}, "seq"),
        ({**EXAMPLES[2], "sha256": "short"}, "sha256"),
        ({**EXAMPLES[10], "recordings": [{"session_id": "s1", "from": AT, "bytes": 1}]}, "recordings[0].to"),
    ],
)
def test_what_is_wrong_is_named(bad: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        wire.decode_event(line(bad))
    assert caught.value.field == field


@pytest.mark.parametrize("rubbish", [b"", b"{", b"\xff\xfe", b"[]", b"null", b'"tick"', b"[" * 100_000, b"NaN"])
def test_rubbish_is_refused_and_nothing_else_happens(rubbish: bytes) -> None:
    with pytest.raises(InvalidEvent):
        wire.decode_event(rubbish)


def test_the_names_on_the_wire_are_those_of_the_interface() -> None:
    at = Instant.parse(AT)
    stored = SegmentStored(
        at=at, recorder_id="a", session_id="s", from_=at, to=at, key="k", version_id="v", sha256=SHA, bytes=2
    )
    assert json.loads(wire.encode(stored))["from"] == AT
    filled = Backfilled(at=at, recorder_id="a", session_id="s", from_=at, to=at.plus(5), sha256=SHA)
    assert json.loads(wire.encode(filled))["to"] == "2026-03-02T09:00:00.255+08:00"
    index = wire.decode_event(line(EXAMPLES[10]))
    assert isinstance(index, DeviceIndex)
    assert json.loads(wire.encode(index))["recordings"][0]["from"] == AT


def test_times_are_written_in_china_time_to_the_millisecond() -> None:
    event = wire.decode_event(line({"type": "tick"}, at="2026-03-02T01:00:00.9999Z"))
    assert json.loads(wire.encode(event))["at"] == "2026-03-02T09:00:00.999+08:00"


def test_equal_findings_give_equal_bytes() -> None:
    at = Instant.parse(AT)

    def make() -> Finding:
        return Finding(
            id="0" * 32,
            kind="recording.gap",
            status="opened",
            severity="warning",
            recorder_id="rec-1",
            began_at=at,
            detected_at=at,
            evidence={"from": at.rfc3339(), "seconds": 3.2},
            clauses=["W-AV 第十八条"],
            message=Message(key="recording.gap", params={}),
        )

    assert wire.encode(make()) == wire.encode(make())
    assert wire.decode_finding(wire.encode(make())) == make()
    jsonschema.validate(json.loads(wire.encode(make())), schemas()["finding.schema.json"])


def test_a_registration_knows_its_token_only_by_hash() -> None:
    registration = Registration(recorder_id="a", kind="body_worn", policy="wucheng", token_sha256=hash_token("secret"))
    written = wire.encode(registration)
    assert b'"secret"' not in written
    assert wire.decode_registration(written).accepts("secret")
    assert not registration.accepts("Secret")
    assert not Registration(recorder_id="a", kind="body_worn", policy="wucheng").accepts("")


def test_an_index_body_converts_with_the_field_named() -> None:
    with pytest.raises(InvalidEvent) as caught:
        wire.convert({"at": AT, "recorder_id": "a", "device_at": AT, "signal_dbm": 99}, Telemetry)
    assert caught.value.field == "signal_dbm"


def test_a_fragment_without_loss_reads_as_zero() -> None:
    fragment = wire.decode_event(line({name: value for name, value in EXAMPLES[2].items() if name != "lost_packets"}))
    assert isinstance(fragment, Fragment)
    assert fragment.lost_packets == 0


def test_the_schema_in_the_reference_is_current(tmp_path: Path) -> None:
    reference = Path(__file__).parents[2] / "docs" / "reference"
    assert schema_main([str(reference), "--check"]) == 0, "run `make schema`"
    assert schema_main([str(tmp_path), "--check"]) == 1
