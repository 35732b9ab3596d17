import hashlib
import random
import struct
from collections.abc import Callable

import pytest

from domain.media import AccessUnit, Codec
from streams.ingest.rtp.depayload import MAX_UNIT_BYTES
from streams.ingest.rtp.formats import MediaFormat
from streams.ingest.rtp.reorder import ReorderLimits
from streams.ingest.rtp.track import TrackReceiver
from tests.streams import captures
from tests.streams.captures import NAMES, VIDEO, digest, feed, load, nal_units

PATIENT = ReorderLimits(delay_s=0.2)


def contained_in_order(got: list[str], expected: list[str]) -> bool:
    rest = iter(expected)
    return all(unit in rest for unit in got)


@pytest.mark.parametrize("name", NAMES)
def test_units_are_those_of_the_source(name: str) -> None:
    capture = load(name)
    units = feed(TrackReceiver(0, capture.media), capture.packets)
    if capture.sha256:
        assert hashlib.sha256(b"".join(unit.data for unit in units)).hexdigest() == capture.sha256
    else:
        got = [digest(unit) for unit in units]
        skipped = capture.units.index(got[0])  # priming frames of sound that an edit list hides
        assert skipped == 0 or (not capture.media.codec.is_video and skipped <= 2)
        assert got == capture.units[skipped:]
    assert not any(unit.damaged or unit.lost_packets for unit in units)


@pytest.mark.parametrize("name", NAMES)
def test_a_memoryview_into_a_larger_buffer_is_taken_in_place(name: str) -> None:
    capture = load(name)
    plain, placed = TrackReceiver(0, capture.media), TrackReceiver(0, capture.media)
    expected = [unit.data for unit in feed(plain, capture.packets)]
    got: list[AccessUnit] = []
    for packet in capture.packets:
        buffer = memoryview(bytearray(b"\xaa" * 7 + packet + b"\xbb" * 9))
        got += placed.push(buffer, captures.START_S, captures.START, 7, 7 + len(packet))
        buffer[:] = b"\xcc" * len(buffer)
    got += placed.flush()
    assert [unit.data for unit in got] == expected


@pytest.mark.parametrize("name", VIDEO)
def test_params_describe_the_picture_from_the_description_or_in_band(name: str) -> None:
    capture = load(name)
    track = TrackReceiver(0, capture.media)
    assert track.params is not None
    assert (track.params.width, track.params.height) in {(160, 120), (160, 128)}
    # avcC and hvcC, version 1, 4-byte lengths
    assert track.params.extradata[0] == 1
    assert track.params.extradata[4 if capture.media.codec == Codec.H264 else 21] & 3 == 3


@pytest.mark.parametrize("name", ["gstreamer-h264-slices", "gstreamer-h264-stap", "gstreamer-h265"])
def test_in_band_parameter_sets_are_kept_in_the_unit_and_suffice(name: str) -> None:
    capture = load(name)
    bare = MediaFormat(capture.media.payload_type, capture.media.codec, capture.media.clock_rate)
    described, found = TrackReceiver(0, capture.media), TrackReceiver(0, bare)
    expected, units = feed(described, capture.packets), feed(found, capture.packets)
    assert [unit.data for unit in units] == [unit.data for unit in expected]
    assert found.params == described.params
    kinds = [
        nal[0] & 31 if capture.media.codec == Codec.H264 else (nal[0] >> 1) & 63 for nal in nal_units(units[0].data)
    ]
    assert {7, 8} <= set(kinds) or {32, 33, 34} <= set(kinds)


def without_markers(packets: list[bytes]) -> list[bytes]:
    return [packet[:1] + bytes((packet[1] & 0x7F,)) + packet[2:] for packet in packets]


def with_a_marker_on_every_nal_end(packets: list[bytes]) -> list[bytes]:
    def ends_nal(packet: bytes) -> bool:
        if packet[12] & 31 == 28:
            return bool(packet[13] & 0x40)
        return True

    return [packet[:1] + bytes((packet[1] | 0x80 * ends_nal(packet),)) + packet[2:] for packet in packets]


@pytest.mark.parametrize("change", [without_markers, with_a_marker_on_every_nal_end])
def test_units_hold_whatever_a_camera_does_with_the_marker(change: Callable[[list[bytes]], list[bytes]]) -> None:
    capture = load("gstreamer-h264-slices")
    units = feed(TrackReceiver(0, capture.media), change(capture.packets))
    assert [digest(unit) for unit in units] == capture.units
    assert all(len(captures.slices(unit)) == 4 for unit in units)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(5))
def test_reordered_and_repeated_packets_change_nothing(name: str, seed: int) -> None:
    capture = load(name)
    rng = random.Random(seed)
    packets = list(capture.packets)
    for at in range(1, len(packets) - 4, 4):
        if rng.random() < 0.5:
            part = packets[at : at + 4]
            rng.shuffle(part)
            packets[at : at + 4] = part
    packets = [copy for packet in packets for copy in [packet] * (2 if rng.random() < 0.2 else 1)]
    track = TrackReceiver(0, capture.media, limits=PATIENT)
    units = feed(track, packets)
    expected = feed(TrackReceiver(0, capture.media), capture.packets)
    assert [unit.data for unit in units] == [unit.data for unit in expected]
    assert track.lost_packets == 0
    assert track.duplicate_packets > 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("limits", [ReorderLimits(delay_s=0.0), PATIENT])
@pytest.mark.parametrize("seed", range(1, 5))
def test_every_loss_is_counted_and_what_is_not_marked_damaged_is_whole(
    name: str, limits: ReorderLimits, seed: int
) -> None:
    capture = load(name)
    rng = random.Random(seed)
    end = len(capture.packets) * 3 // 4  # the last units come whole, so that each loss has a unit to be told by
    middle = [packet for packet in capture.packets[1:end] if rng.random() > 0.1]
    kept = [capture.packets[0], *middle, *capture.packets[end:]]
    track = TrackReceiver(0, capture.media, limits=limits)
    units = feed(track, kept)
    lost = len(capture.packets) - len(kept)
    assert lost > 0
    assert track.lost_packets == lost
    assert sum(unit.lost_packets for unit in units) == lost
    if not capture.sha256:
        assert contained_in_order([digest(unit) for unit in units if not unit.damaged], capture.units)
    for unit in units:
        if capture.media.codec.is_video:
            assert all(nal_units(unit.data))


@pytest.mark.parametrize("name", NAMES)
def test_sequence_numbers_and_timestamps_may_wrap(name: str) -> None:
    capture = load(name)
    first_sequence, first_timestamp = struct.unpack_from("!HI", capture.packets[0], 2)
    moved = []
    for packet in capture.packets:
        sequence, timestamp = struct.unpack_from("!HI", packet, 2)
        sequence = (sequence - first_sequence + 0xFFFF - len(capture.packets) // 2) & 0xFFFF
        timestamp = (timestamp - first_timestamp + 0xFFFFFFFF - capture.media.clock_rate // 2) & 0xFFFFFFFF
        moved.append(packet[:2] + struct.pack("!HI", sequence, timestamp) + packet[8:])
    units = feed(TrackReceiver(0, capture.media), moved)
    expected = feed(TrackReceiver(0, capture.media), capture.packets)
    assert [unit.data for unit in units] == [unit.data for unit in expected]
    assert [unit.pts - units[0].pts for unit in units] == [unit.pts - expected[0].pts for unit in expected]
    assert max(unit.pts for unit in units) > 0xFFFFFFFF


def mutate(packet: bytes, rng: random.Random) -> bytes:
    data = bytearray(packet)
    for _ in range(rng.choice((1, 1, 2, 8))):
        match rng.randrange(5):
            case 0 if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            case 1 if data:
                data[rng.randrange(min(len(data), 20))] = rng.randrange(256)
            case 2:
                del data[rng.randrange(len(data) + 1) :]
            case 3:
                data += rng.randbytes(rng.randrange(40))
            case 4 if len(data) > 14:
                del data[12 : 12 + rng.randrange(len(data) - 12)]
    return bytes(data)


@pytest.mark.parametrize("name", NAMES)
def test_mutated_packets_raise_nothing_and_hold_no_memory(name: str) -> None:
    capture = load(name)
    rng = random.Random(name)
    for _ in range(12):
        track = TrackReceiver(0, capture.media, limits=rng.choice((PATIENT, ReorderLimits(delay_s=0.0))))
        packets = [mutate(packet, rng) if rng.random() < 0.3 else packet for packet in capture.packets]
        sent = sum(map(len, packets))
        units = feed(track, packets)
        assert sum(len(unit.data) for unit in units) <= 2 * sent + 4 * len(packets)
        for unit in units:
            assert 0 <= unit.arrived_at - unit.captured_at <= 60_000
            if capture.media.codec.is_video:
                nal_units(unit.data)


@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])
def test_a_unit_without_end_is_cut_at_its_bound(codec: Codec) -> None:
    name = "gstreamer-h264-stap" if codec == Codec.H264 else "gstreamer-h265"
    capture = load(name)
    track = TrackReceiver(0, capture.media)
    head = bytes((0x7C, 0x85)) if codec == Codec.H264 else bytes((0x62, 0x01, 0x93))
    middle = bytes((0x7C, 0x05)) if codec == Codec.H264 else bytes((0x62, 0x01, 0x13))
    units: list[AccessUnit] = []
    for number in range(8):
        payload = (head if number % 4 == 0 else middle) + b"\xff" * 60_000
        units += _push_many(track, payload, number, 50)
    units += track.flush()
    assert all(len(unit.data) <= MAX_UNIT_BYTES + 65_536 for unit in units)
    assert track.depayload_counters.oversize_units >= 1
    assert all(unit.damaged for unit in units)


def _push_many(track: TrackReceiver, payload: bytes, number: int, times: int) -> list[AccessUnit]:
    units: list[AccessUnit] = []
    for index in range(times):
        header = struct.pack("!BBHII", 0x80, track.media.payload_type, (number * times + index) & 0xFFFF, 5, 9)
        units += track.push(header + payload, captures.START_S, captures.START)
    return units
