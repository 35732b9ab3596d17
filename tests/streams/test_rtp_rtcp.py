import random
import struct

import pytest

from domain.clock import Instant
from domain.errors import InvalidMedia
from domain.media import AccessUnit
from streams.ingest.rtp import rtcp
from streams.ingest.rtp.feedback import FeedbackOptions
from streams.ingest.rtp.reorder import ReorderLimits
from streams.ingest.rtp.track import TrackReceiver
from tests.streams.captures import START, START_S, load


def test_sender_report_and_goodbye_are_found_in_a_compound() -> None:
    ntp = ((1_700_000_000 + 2_208_988_800) << 32) | 1 << 31
    sr = struct.pack("!BBHIQIII", 0x80, 200, 6, 7, ntp, 1234, 10, 1000)
    data = sr + rtcp.source_description(7, "camera") + rtcp.goodbye(7)
    report, bye = rtcp.parse_compound(data)
    assert report == rtcp.SenderReport(7, ntp, 1234, 10, 1000)
    assert isinstance(report, rtcp.SenderReport)
    assert report.unix_s == 1_700_000_000.5
    assert bye == rtcp.Bye((7,))


@pytest.mark.parametrize("data", [b"\x80\xc8\x00\x06" + bytes(8), b"\x40\xc8\x00\x00", b"\x80\xc8\x00\x01" + bytes(4)])
def test_parts_beyond_the_packet_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidMedia):
        rtcp.parse_compound(data)


def test_random_bytes_are_parsed_or_refused() -> None:
    rng = random.Random(5)
    for _ in range(3000):
        data = bytearray(rng.randbytes(rng.randrange(80)))
        data[:2] = bytes((0x80 | rng.randrange(32), rng.choice((200, 203, 205))))[: len(data)]
        try:
            rtcp.parse_compound(bytes(data))
        except InvalidMedia:
            continue


def test_nack_packs_runs_into_bitmasks() -> None:
    data = rtcp.nack(1, 2, [0xFFFE, 0xFFFF, 0, 14, 15, 40])
    assert data[:4] == struct.pack("!BBH", 0x81, 205, 5)
    assert struct.unpack("!IIHHHHHH", data[4:]) == (1, 2, 0xFFFE, 0b1000000000000011, 15, 0, 40, 0)


def test_bandwidth_and_picture_loss_are_laid_out_as_published() -> None:
    assert rtcp.picture_loss(1, 2) == struct.pack("!BBHII", 0x81, 206, 2, 1, 2)
    data = rtcp.max_bitrate(1, [2], 4_000_000)
    assert data[:4] == struct.pack("!BBH", 0x8F, 206, 5)
    assert data[12:16] == b"REMB"
    packed = int.from_bytes(data[17:20], "big")
    assert 3_990_000 < (packed & 0x3FFFF) << (packed >> 18) <= 4_000_000


def test_a_track_reports_asks_again_and_asks_for_a_keyframe() -> None:
    capture = load("gstreamer-h264-stap")
    limits = ReorderLimits(delay_s=0.2, nack=True)
    track = TrackReceiver(0, capture.media, limits=limits, feedback=FeedbackOptions(77, keyframes=True))
    assert track.feedback(START_S) == b""
    missing = 3
    for index, packet in enumerate(capture.packets[:12]):
        if index != missing:
            track.push(packet, START_S, START)
    first = track.feedback(START_S + 0.02)
    assert first[1] == 201  # a compound begins with a report
    assert struct.pack("!BBH", 0x81, 205, 3) in first
    assert capture.packets[missing][2:4] in first
    assert struct.pack("!BBH", 0x81, 206, 2) in first
    given = track.poll(START_S + 0.3)
    assert any(unit.damaged for unit in [*given, *track.flush()])
    assert track.lost_packets == 1
    later = track.feedback(START_S + 6)
    assert struct.pack("!BBH", 0x81, 201, 7) in later
    assert struct.pack("!BBH", 0x81, 206, 2) in later


def test_a_new_source_is_followed_after_two_packets_and_time_goes_on() -> None:
    capture = load("ffmpeg-h264-bframes")
    track = TrackReceiver(0, capture.media)
    units: list[AccessUnit] = []
    for packet in capture.packets:
        units += track.push(packet, START_S, START)
    stray = capture.packets[0][:8] + b"\1\2\3\4" + capture.packets[0][12:]
    track.push(stray, START_S, START)
    assert track.counters.restarts == 0
    before = len(units)
    later = Instant(START + 1000)
    for packet in capture.packets:
        moved = packet[:8] + b"\0\0\0\7" + packet[12:]
        units += track.push(moved, START_S + 1, later)
    units += track.flush()
    assert track.counters.restarts == 1
    assert len(units) == 2 * len(capture.units)
    assert units[before + 1].pts > max(unit.pts for unit in units[:before])
    assert all(0 <= unit.arrived_at - unit.captured_at < 60_000 for unit in units)
