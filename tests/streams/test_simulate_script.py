"""Simulation scripts: read strictly; devices age as scripted."""

from __future__ import annotations

import pytest

from domain.clock import Instant
from domain.errors import InvalidSettings
from streams.simulate.body import Body
from streams.simulate.rtp import PAYLOAD_BYTES, RtpStream, nal_units
from streams.simulate.script import Device, Fault, parse_script

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
