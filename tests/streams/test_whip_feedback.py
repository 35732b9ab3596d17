"""What goes back to a sender: arrival times, bit rate limits, keyframe requests. And ids of sessions."""

import struct

import pytest
from aiortc.rtp import RtcpPacket, RtcpPsfbPacket, unpack_remb_fci

from domain.clock import Instant
from streams.ingest.api.session_ids import assigned_id, implicit_id, is_implicit
from streams.ingest.rtp.h264 import H264Depayloader
from streams.ingest.whip.arrivals import MAX_SPAN, ArrivalLog, extension_value
from streams.ingest.whip.bitrate import CEILING_BPS, FLOOR_BPS, START_BPS, AdviceSchedule, BitrateAdvice
from streams.ingest.whip.keyframes import WITHIN_S, KeyframeRefresh
from tests.streams.whip_client import nals_of_lengths


def _read(packet: bytes) -> tuple[int, dict[int, float]]:
    """Take a feedback packet apart by the draft: base sequence number, and seconds of arrival by number."""
    first, kind, words, _, media, base, count = struct.unpack_from("!BBHIIHH", packet)
    assert (first & 0xDF, kind, len(packet)) == (0x8F, 205, 4 * (words + 1))
    end = len(packet) - (packet[-1] if first & 0x20 else 0)
    assert media == 5
    ticks = int.from_bytes(packet[16:19], "big") * 256
    symbols: list[int] = []
    at = 20
    while len(symbols) < count:
        chunk = int.from_bytes(packet[at : at + 2], "big")
        at += 2
        if chunk >> 15:
            assert chunk >> 14 == 3
            symbols += [(chunk >> shift) & 3 for shift in range(12, -1, -2)]
        else:
            symbols += [(chunk >> 13) & 3] * (chunk & 0x1FFF)
    arrivals = {}
    for number, symbol in enumerate(symbols[:count], base):
        if symbol == 0:
            continue
        size = symbol
        ticks += int.from_bytes(packet[at : at + size], "big", signed=size == 2)
        at += size
        arrivals[number & 0xFFFF] = ticks * 0.00025
    assert at == end
    return base, arrivals


def test_arrivals_are_reported_as_they_were() -> None:
    log = ArrivalLog(1)
    sent = {65_530 + number: 1000 + 0.0101 * number for number in range(40) if number % 7 not in {3, 4}}
    for number, at_s in sent.items():
        log.arrived(number & 0xFFFF, at_s)
    base, read = _read(log.feedback(5))
    assert base == 65_530
    assert read == {number & 0xFFFF: pytest.approx(at_s, abs=0.0003) for number, at_s in sent.items()}
    assert log.feedback(5) == b""


def test_a_long_run_a_reordered_packet_and_a_pause() -> None:
    log = ArrivalLog(1)
    times = {number: 50 + 0.001 * number for number in range(300)}
    times[310] = 52.0
    times[305] = 52.5  # later than one that was sent behind it
    for number, at_s in times.items():
        log.arrived(number, at_s)
    _, read = _read(log.feedback(5))
    assert read == {number: pytest.approx(at_s, abs=0.0003) for number, at_s in times.items()}
    log.arrived(311, 53)
    log.arrived(3, 53)  # reported on before: too late
    base, read = _read(log.feedback(5))
    assert (base, list(read)) == (311, [311])


def test_arrivals_are_bounded() -> None:
    log = ArrivalLog(1)
    for number in range(10_000):
        log.arrived(number, number * 0.001)
    assert len(log._arrivals) == MAX_SPAN
    base, read = _read(log.feedback(5))
    assert (base, len(read)) == (10_000 - MAX_SPAN, MAX_SPAN)
    log.arrived(0, 1.0)
    log.arrived(30_000, 11.0)
    assert len(log._arrivals) <= MAX_SPAN


@pytest.mark.parametrize(
    ("packet", "value"),
    [
        (bytes(20), -1),
        (b"\x90" + bytes(11) + b"\xbe\xde\x00\x01" + b"\x31\x12\x34\x00", 0x1234),
        (b"\x90" + bytes(11) + b"\xbe\xde\x00\x02" + b"\x00\x10\xaa\x31\x12\x34\x00\x00", 0x1234),
        (b"\x91" + bytes(15) + b"\xbe\xde\x00\x01" + b"\x31\x12\x34\x00", 0x1234),
        (b"\x90" + bytes(11) + b"\xbe\xde\x00\x01" + b"\x41\x12\x34\x00", -1),
        (b"\x90" + bytes(11) + b"\xbe\xde\x00\x01" + b"\x30\x12\x34\x00", -1),
        (b"\x90" + bytes(11) + b"\x10\x00\x00\x01" + b"\x31\x12\x34\x00", -1),
        (b"\x90" + bytes(11) + b"\xbe\xde\xff\xff" + b"\x31\x12", -1),
        (b"\x9f" + bytes(11), -1),
    ],
)
def test_the_header_extension(packet: bytes, value: int) -> None:
    assert extension_value(b"\x90" + packet, 1, 1 + len(packet), 3) == value


def test_the_limit_grows_and_falls() -> None:
    advice = BitrateAdvice()
    assert advice.update(100_000, 0, 100) == START_BPS  # a sender that does not use its limit says nothing
    for _ in range(100):
        advice.update(advice.bits_per_s, 0, 100)
    assert advice.bits_per_s == CEILING_BPS
    fallen = advice.update(4_000_000, 20, 80)
    assert fallen == 3_600_000
    assert advice.update(3_000_000, 5, 95) == fallen  # a little loss: neither
    for _ in range(100):
        advice.update(0, 90, 10)
    assert advice.bits_per_s == FLOOR_BPS


def test_remb_once_a_second() -> None:
    schedule = AdviceSchedule(1)
    assert schedule.due(0.0, 0, 0, 0, 0) == b""
    packet = RtcpPacket.parse(schedule.due(1.0, 9, 0, 0, 0))[0]
    assert isinstance(packet, RtcpPsfbPacket)
    bit_rate, sources = unpack_remb_fci(packet.fci)
    assert bit_rate == pytest.approx(START_BPS, rel=1e-4)
    assert sources == [9]
    assert schedule.due(1.5, 9, 1000, 10, 0) == b""
    assert schedule.due(2.0, 9, 1000, 10, 0)


def test_old_keyframes_are_asked_to_be_renewed() -> None:
    refresh = KeyframeRefresh(1)
    assert refresh.due(100.0, 9) == b""
    refresh.keyframe(100.0)
    assert refresh.due(100.0 + WITHIN_S - 0.1, 9) == b""
    asked = RtcpPacket.parse(refresh.due(100.0 + WITHIN_S, 9))
    assert [packet.fmt for packet in asked if isinstance(packet, RtcpPsfbPacket)] == [1]
    assert refresh.due(100.0 + WITHIN_S + 0.5, 9) == b""
    assert refresh.due(100.0 + WITHIN_S + 1.0, 9)
    refresh.keyframe(105.0)
    assert refresh.due(106.0, 9) == b""


def test_ids_of_sessions() -> None:
    at = Instant.parse("2026-03-02T09:00:10+08:00")
    implicit, assigned = implicit_id("cam-1", at), assigned_id("cam-1", at)
    assert implicit.startswith("cam-1-20260302T010010Z-")
    assert is_implicit(implicit, "cam-1")
    assert not is_implicit(implicit, "cam")
    assert not is_implicit(assigned, "cam-1")
    assert not is_implicit("duty-7", "duty")


def test_parameter_sets_whose_picture_was_lost_mark_what_they_stick_to() -> None:
    """They stay at the head of the next picture; that is then not as sent, and must not pass for it."""
    depayloader = H264Depayloader(90_000, {})
    sps = bytes.fromhex("6742c01ed901405ff2e02200000300020000030064")
    pps, slice_ = bytes.fromhex("68cb83cb20"), b"\x41\x9a" + bytes(20)
    for nal in (sps, pps):
        depayloader.push(nal, 0, len(nal), 1000, 0)
    depayloader.lose(5, 4000)
    depayloader.push(slice_, 0, len(slice_), 4000, 0x80)
    units = depayloader.flush()
    assert [nals_of_lengths(unit.data) for unit in units] == [[sps, pps, slice_]]
    assert units[0].damaged
    assert units[0].lost_packets == 5
