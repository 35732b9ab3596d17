"""Parameter sets between the slices of one picture do not part it, and those ahead of a picture go with that one."""

import struct
from base64 import b64decode, b64encode
from collections.abc import Sequence

import pytest

from domain.media import Codec
from streams.ingest.rtp.depayload import CodedUnit
from streams.ingest.rtp.formats import MediaFormat, depayloader_for
from streams.ingest.rtp.track import TrackReceiver
from tests.streams.captures import digest, feed, load, nal_units

H264_SETS = [
    bytes.fromhex("67640028acd940780227e5c044000003000400000300c83c60c658"),
    bytes.fromhex("68ebe3cb22c0"),
]
H264_FIRST, H264_OTHER = b"\x65\x88" + b"\x11" * 40, b"\x65\x08" + b"\x22" * 40
H265_SLICES = {True: b"\x26\x01\xaf" + b"\x11" * 40, False: b"\x26\x01\x2f" + b"\x22" * 40}


def with_sets_before_every_idr_slice(packets: Sequence[bytes]) -> list[bytes]:
    """As GStreamer's payloader sends sliced pictures when told to repeat the sets with every IDR."""
    sets = [one for one in packets if one[12] & 31 in {7, 8}][:2]
    assert [one[12] & 31 for one in sets] == [7, 8]
    sent = []
    for packet in packets:
        kind = packet[12] & 31
        if kind == 5 or (kind == 28 and packet[13] & 0x9F == 0x85):
            sent += [one[:4] + packet[4:8] + one[8:] for one in sets]
        if kind not in {7, 8}:
            sent.append(packet)
    return [one[:2] + struct.pack("!H", 0xFFFF & (65_000 + number)) + one[4:] for number, one in enumerate(sent)]


def test_sets_before_every_slice_do_not_part_a_picture() -> None:
    capture = load("gstreamer-h264-slices")
    packets = with_sets_before_every_idr_slice(capture.packets)
    units = feed(TrackReceiver(0, capture.media), packets)
    assert [digest(unit) for unit in units] == capture.units
    keyframe = next(unit for unit in units if unit.keyframe)
    kinds = [nal[0] & 31 for nal in nal_units(keyframe.data) if nal[0] & 31 not in {6, 9}]
    assert kinds == [7, 8, 5] * 4
    assert not any(unit.damaged for unit in units)


def test_with_a_first_slice_lost_nothing_is_put_together_that_was_not_sent_so() -> None:
    capture = load("gstreamer-h264-slices")
    packets = with_sets_before_every_idr_slice(capture.packets)
    for lost in range(1, 40):
        units = feed(TrackReceiver(0, capture.media), packets[:lost] + packets[lost + 1 :])
        whole = [digest(unit) for unit in units if not unit.damaged]
        rest = iter(capture.units)
        assert all(one in rest for one in whole)
        assert sum(unit.lost_packets for unit in units) == 1


class Line:
    """A depayloader that is handed single NAL units."""

    def __init__(self, codec: Codec, sets: Sequence[bytes]) -> None:
        self._depayloader = depayloader_for(MediaFormat(96, codec, 90_000))
        self.units: list[CodedUnit] = []
        self.sets = list(sets)

    def send(self, timestamp: int, *nals: bytes, marker: bool = False) -> None:
        for number, nal in enumerate(nals, 1):
            last = marker and number == len(nals)
            self.units += self._depayloader.push(nal, 0, len(nal), timestamp, 0x80 * last)

    def end(self) -> list[list[bytes]]:
        self.units += self._depayloader.flush()
        return [nal_units(unit.data) for unit in self.units]


@pytest.fixture(params=[Codec.H264, Codec.H265])
def line(request: pytest.FixtureRequest) -> tuple[Line, bytes, bytes]:
    """A line with its parameter sets, a first slice of a picture, and another one."""
    if request.param is Codec.H264:
        return Line(Codec.H264, H264_SETS), H264_FIRST, H264_OTHER
    fmtp = load("gstreamer-h265").media.fmtp
    sets = [b64decode(fmtp[name]) for name in ("sprop-vps", "sprop-sps", "sprop-pps")]
    return Line(Codec.H265, sets), H265_SLICES[True], H265_SLICES[False]


def test_sets_and_a_further_slice_belong_to_the_same_picture(line: tuple[Line, bytes, bytes]) -> None:
    on, first, other = line
    on.send(1, *on.sets, first, *on.sets, other, *on.sets, other, marker=True)
    on.send(2, first, marker=True)
    assert on.end() == [[*on.sets, first, *on.sets, other, *on.sets, other], [first]]
    assert [unit.keyframe for unit in on.units] == [True, True]


def test_sets_and_a_first_slice_begin_a_new_picture_though_timestamp_and_marker_do_not_say_so(
    line: tuple[Line, bytes, bytes],
) -> None:
    on, first, other = line
    on.send(1, *on.sets, first, other, *on.sets, first, other)
    assert on.end() == [[*on.sets, first, other]] * 2


def test_sets_sent_behind_a_picture_are_the_head_of_the_next(line: tuple[Line, bytes, bytes]) -> None:
    on, first, other = line
    on.send(1, *on.sets, first, marker=True)
    on.send(1, *on.sets)
    on.send(2, first, other, marker=True)
    assert on.end() == [[*on.sets, first], [*on.sets, first, other]]
    assert [unit.timestamp for unit in on.units] == [1, 2]


def test_sets_at_the_end_are_of_no_picture(line: tuple[Line, bytes, bytes]) -> None:
    on, first, _ = line
    on.send(1, *on.sets, first, *on.sets)
    assert on.end() == [[*on.sets, first]]


def test_a_new_description_ahead_of_a_picture_is_not_the_one_before_its_own() -> None:
    line = Line(Codec.H264, H264_SETS)
    other = next(one[12:] for one in load("gstreamer-h264-slices").packets if one[12] & 31 == 7)
    line.send(1, *line.sets, H264_FIRST, other, line.sets[1], H264_FIRST)
    line.end()
    assert [(unit.params.width, unit.params.height) for unit in line.units] == [(1920, 1080), (160, 128)]


@pytest.mark.parametrize("with_sets", [True, False])
def test_a_keyframe_whose_sets_are_lost_is_damaged_where_the_one_before_had_its_own(with_sets: bool) -> None:
    sprop = ",".join(b64encode(nal).decode() for nal in H264_SETS)
    fmtp = {} if with_sets else {"sprop-parameter-sets": sprop}
    depayloader = depayloader_for(MediaFormat(96, Codec.H264, 90_000, fmtp=fmtp))
    units: list[CodedUnit] = []
    first = [*H264_SETS, H264_FIRST] if with_sets else [H264_FIRST]
    for nal in first:
        units += depayloader.push(nal, 0, len(nal), 3000, 0x80 * (nal is first[-1]))
    depayloader.lose(1, 6000)
    units += depayloader.push(H264_FIRST, 0, len(H264_FIRST), 6000, 0x80)
    units += depayloader.flush()
    assert [(unit.keyframe, unit.lost_packets, unit.damaged) for unit in units] == [
        (True, 0, False),
        (True, 1, with_sets),
    ]
