"""The short ways of packets, interleaved or each a datagram, take the very same units as the long one."""

import random
import struct

import pytest

from domain.clock import Instant
from domain.media import AccessUnit, Codec
from streams.ingest.rtp.formats import MediaFormat
from streams.ingest.rtp.track import TrackReceiver

_HEAD = 0x2400
_SPS = bytes.fromhex("67640028acd940780227e5c044000003000400000300c83c60c658")
_PPS = bytes.fromhex("68ebe3cb22c0")


def _fragments(header: int, kind: int, body: bytes) -> list[bytes]:
    pieces = [body[at : at + 100] for at in range(0, len(body), 100)]
    ends = {0: 0x80, len(pieces) - 1: 0x40}
    return [bytes((header, kind | ends.get(n, 0))) + piece for n, piece in enumerate(pieces)]


def _packets(rng: random.Random) -> list[bytes]:
    """Pictures in fragments: one packet in twenty is lost, doubled, of another source, or otherwise not plain."""
    packets = []
    sequence = 65_500
    for picture in range(60):
        kind = 5 if picture % 10 == 0 else 1
        payloads = [_SPS, _PPS] if kind == 5 else []
        payloads += _fragments(0x7C, kind, b"\x88" + rng.randbytes(rng.randrange(250, 3000)))
        for payload in payloads:
            sequence += 1
            first, ssrc, kind_of = 0x80, 7, 96 | (0x80 if payload is payloads[-1] else 0)
            fault = rng.randrange(120)
            if fault == 0:
                continue
            first = 0x90 if fault == 1 else first
            ssrc = 9 if fault == 2 else ssrc
            kind_of = 97 if fault == 3 else kind_of
            extension = struct.pack("!HHI", 1, 1, 0) if first == 0x90 else b""
            rtp = struct.pack("!BBHII", first, kind_of, sequence & 0xFFFF, picture * 3600, ssrc) + extension + payload
            packets += [rtp] * (2 if fault == 4 else 1)
    return packets


def _track() -> TrackReceiver:
    return TrackReceiver(0, MediaFormat(96, Codec.H264, 90_000, 0, {"packetization-mode": "1"}))


def _skimmed(packets: list[bytes], rng: random.Random) -> tuple[list[AccessUnit], TrackReceiver, int]:
    track, units, taken = _track(), list[AccessUnit](), 0
    while packets:
        group, packets = packets[: (size := rng.randrange(1, 60))], packets[size:]
        view = memoryview(bytearray(b"".join(struct.pack("!HH", _HEAD, len(one)) + one for one in group)))
        at = 0
        while at < len(view):
            end = at + 4 + int.from_bytes(view[at + 2 : at + 4], "big")
            units += track.push(view, 1.0, Instant(1000), at + 4, end)
            at = track.skim(view, end, len(view), _HEAD)
            taken += at > end
    return [*units, *track.flush()], track, taken


@pytest.mark.parametrize("seed", range(20))
def test_skimming_changes_nothing(seed: int) -> None:
    rng = random.Random(seed)
    packets = _packets(rng)
    plain = _track()
    expected = [unit for one in packets for unit in plain.push(one, 1.0, Instant(1000))]
    expected += plain.flush()
    found, track, taken = _skimmed(packets, rng)
    assert taken > 30, "the short way was not taken"
    assert found == expected
    assert len(found) > 30
    assert (track.lost_packets, track.duplicate_packets) == (plain.lost_packets, plain.duplicate_packets)
    assert track.counters == plain.counters
    assert track.depayload_counters == plain.depayload_counters


@pytest.mark.parametrize("seed", range(20))
def test_extending_changes_nothing(seed: int) -> None:
    packets = _packets(random.Random(seed))
    plain, track = _track(), _track()
    expected = [unit for one in packets for unit in plain.push(one, 1.0, Instant(1000))]
    expected += plain.flush()
    found, taken = list[AccessUnit](), 0
    for number, one in enumerate(packets):
        start = number % 3  # wherever in a buffer it stands, and whatever stands behind it
        view = memoryview(bytes(start) + one + b"\x7c\x05\xff\xff")
        if track.extend(view, start, start + len(one)):
            taken += 1
        else:
            found += track.push(view, 1.0, Instant(1000), start, start + len(one))
    found += track.flush()
    assert taken > 200, "the short way was not taken"
    assert found == expected
    assert (track.lost_packets, track.duplicate_packets) == (plain.lost_packets, plain.duplicate_packets)
    assert track.counters == plain.counters
    assert track.depayload_counters == plain.depayload_counters


@pytest.mark.parametrize(
    "packet",
    [
        struct.pack("!BBHII", 0x80, 96, 2, 0, 7),
        struct.pack("!BBHII", 0x80, 96, 2, 0, 7) + b"\x7c\x05",
        struct.pack("!BBHII", 0x80, 96, 2, 0, 7)[:11],
        struct.pack("!BBHIIHH", 0x90, 96, 2, 0, 7, 0xBEDE, 9) + b"\x7c\x05\x11\x11",
        struct.pack("!BBHII", 0xA0, 96, 2, 0, 7) + b"\x7c\x05\x11\xff",
        struct.pack("!BBHII", 0x40, 96, 2, 0, 7) + b"\x7c\x05\x11\x11",
        struct.pack("!BBHII", 0x80, 96, 3, 0, 7) + b"\x7c\x05\x11\x11",
    ],
    ids=["empty", "short", "cut", "extension", "padding", "version", "hole"],
)
def test_what_cannot_be_extended_with_is_left_to_be_pushed(packet: bytes) -> None:
    track = _track()
    track.push(memoryview(struct.pack("!BBHII", 0x80, 96, 1, 0, 7) + b"\x7c\x85" + b"\x88" * 50), 1.0, Instant(1000))
    view = memoryview(packet + b"\x7c\x05" * 40)
    assert not track.extend(view, 0, len(packet))
    assert track.extend(memoryview(struct.pack("!BBHII", 0x80, 96, 2, 0, 7) + b"\x7c\x05\x11\x11"), 0, 16)


def test_a_packet_that_is_not_whole_yet_is_left() -> None:
    track = _track()
    head = struct.pack("!BBHII", 0x80, 96, 1, 0, 7)
    track.push(memoryview(head + b"\x7c\x85" + b"\x88" * 50), 1.0, Instant(1000))
    middle = struct.pack("!HH", _HEAD, 64) + struct.pack("!BBHII", 0x80, 96, 2, 0, 7) + b"\x7c\x05" + b"\x11" * 50
    view = memoryview(bytearray(middle + bytes(40)))
    assert track.skim(view, 0, len(middle) - 1, _HEAD) == 0
    assert track.skim(view, 0, len(middle), _HEAD + 1) == 0
    assert track.skim(view, 0, len(middle), _HEAD) == len(middle)
