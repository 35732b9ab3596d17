"""Simulation scripts: read strictly; devices age as scripted."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.clock import Instant
from domain.errors import InvalidSettings
from streams.simulate.body import Body
from streams.simulate.rtp import PAYLOAD_BYTES, RtpStream, nal_units
from streams.simulate.script import Device, Fault, parse_script

SCRIPTS = Path(__file__).resolve().parents[2] / "docs" / "guide" / "scripts"
NOTHING = Fault(at_s=0, do="charge")
SCRIPT = """
seconds = 30
[[device]]
id = "cam-1"
kind = "premises_camera"
[[device.fault]]
at_s = 5
for_s = 10
do = "pull_cable"
"""


def test_faults_are_on_in_their_time() -> None:
    device = parse_script(SCRIPT).device[0]
    assert [device.has("pull_cable", t) for t in (4.9, 5, 14.9, 15)] == [False, True, True, False]
    assert not device.pushes


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("device = []", "device"),
        ("no toml", "script"),
        (SCRIPT + "\n[[device]]\nid='cam-1'\nkind='premises_camera'\n", "twice"),
        (SCRIPT.replace("pull_cable", "explode"), "explode"),
        (SCRIPT.replace("at_s = 5", "at_s = -5"), "at_s"),
        (SCRIPT + "colour = 1\n", "colour"),
    ],
)
def test_a_wrong_script_is_refused_with_the_place_named(text: str, named: str) -> None:
    with pytest.raises(InvalidSettings, match=named):
        parse_script(text)


def test_a_battery_drains_as_scripted_and_charges_again() -> None:
    faults = [Fault(at_s=0, for_s=60, do="drain", value=29.8), Fault(at_s=60, do="charge")]
    body = Body(Device(id="r", kind="body_worn", battery_percent=40, fault=faults))
    for second in range(61):
        body.live(float(second))
    low = body.telemetry(Instant(0), recording=True)["battery_percent"]
    assert low == pytest.approx(10, abs=1)
    body.live(120.0)
    assert body.telemetry(Instant(0), recording=True)["battery_percent"] == pytest.approx(low + 1, abs=0.6)


def test_a_clock_fault_shows_in_the_device_time_only() -> None:
    body = Body(Device(id="r", kind="body_worn", fault=[Fault(at_s=1, do="set_clock", value=-90)]))
    body.live(2)
    assert body.telemetry(Instant(100_000), recording=True)["device_at"] == Instant(10_000).rfc3339()


def test_a_clock_that_drifts_stays_where_it_got_to() -> None:
    body = Body(Device(id="r", kind="body_worn", fault=[Fault(at_s=10, for_s=60, do="drift", value=12)]))
    for elapsed_s, expected_ms in ((5, 0), (40, 6_000), (70, 12_000), (100, 12_000)):
        body.live(elapsed_s)
        assert body.telemetry(Instant(0), recording=True)["device_at"] == Instant(expected_ms).rfc3339()


def test_a_card_is_full_until_it_is_swapped() -> None:
    faults = [Fault(at_s=0, for_s=30, do="fill", value=100), Fault(at_s=40, do="swap")]
    body = Body(Device(id="r", kind="body_worn", battery_percent=30, storage_free_bytes=2_000_000_000, fault=faults))
    for second in range(41):
        body.live(second)
        assert body.full == (20 <= second < 40)
    assert body.telemetry(Instant(0), recording=True)["battery_percent"] == 95


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_scripts_of_the_guide_can_be_run(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    script = parse_script(text)
    assert script.seconds > max(fault.at_s for device in script.device for fault in (*device.fault, NOTHING))
    assert all(len(device.token) >= 16 for device in script.device if device.pushes)
    assert "# Found: " in text
    assert f"[`{path.stem}`]" in (SCRIPTS / "README.md").read_text(encoding="utf-8")


def test_rtp_packing_keeps_every_byte_and_marks_the_last_packet() -> None:
    small, large = b"\x67" + b"\x01" * 20, b"\x65" + bytes(range(1, 255)) * 20
    annexb = b"\x00\x00\x00\x01" + small + b"\x00\x00\x01" + large
    assert list(nal_units(annexb)) == [small, large]
    packets = RtpStream(96, 90_000, 0x1234).h264(annexb, 1.0)
    assert all(len(packet) <= PAYLOAD_BYTES + 12 for packet in packets)
    assert [bool(packet[1] & 0x80) for packet in packets] == [False] * (len(packets) - 1) + [True]
    assert packets[0][12:] == small
    body = b"".join(packet[14:] for packet in packets[1:])
    assert bytes([packets[1][12] & 0xE0 | packets[1][13] & 0x1F]) + body == large
