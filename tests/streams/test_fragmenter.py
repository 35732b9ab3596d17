"""Where the fragmenter cuts, and what it never does, on made-up units."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.clock import Instant
from domain.media import AccessUnit, Codec, TrackParams
from streams.ingest.fragmenter import LARGEST_UNIT_BYTES, LEAD_MS, LEAD_UNITS, START_WAIT_MS, Fragmenter, fragments_of
from streams.ingest.limits import Limits
from streams.ingest.muxer import CutFragment
from tests.streams.units import G711, START, VIDEO, by_arrival, packets, picture, segments, sound

LIMITS = Limits()


def feed(
    seconds: float, gop: int = 50, with_sound: bool = True, frame_ms: int = 40, size: int = 400
) -> list[AccessUnit]:
    pictures = [
        picture(index, index * frame_ms, index % gop == 0, size) for index in range(round(seconds * 1000 / frame_ms))
    ]
    sounds = [sound(index, index * 20) for index in range(round(seconds * 50))] if with_sound else []
    return by_arrival(pictures + sounds)


def samples_of(fragments: list[CutFragment]) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {}
    for segment in segments(fragments):
        for track, run in packets(segment).items():
            found.setdefault(track, []).extend(packet.data for packet in run)
    return found


def test_cuts_at_keyframes() -> None:
    fragments = fragments_of(feed(10), LIMITS)
    assert [fragment.captured_at - START for fragment in fragments] == [0, 2000, 4000, 6000, 8000]
    assert all(fragment.starts_with_keyframe for fragment in fragments)
    assert [fragment.starts_segment for fragment in fragments] == [True, False, False, False, False]
    assert [fragment.duration_ms for fragment in fragments[:-1]] == [2000] * 4


def test_an_all_intra_camera_is_not_cut_at_every_picture() -> None:
    fragments = fragments_of(feed(10, gop=1), LIMITS)
    assert 9 <= len(fragments) <= 12


def test_a_picture_that_is_a_fragment_of_its_own_lasts_until_the_next() -> None:
    fragments = fragments_of(feed(40, gop=1, with_sound=False, frame_ms=4_000), LIMITS)
    assert len(fragments) == 10
    assert [fragment.duration_ms for fragment in fragments[1:-1]] == [4_000] * 8


def test_a_long_gop_is_cut_in_time_and_says_so() -> None:
    fragments = fragments_of(feed(20, gop=250), LIMITS)
    assert [fragment.starts_with_keyframe for fragment in fragments] == [True, False, False, True, False, False]
    assert all(fragment.duration_ms <= 4000 for fragment in fragments)
    assert len(segments(fragments)) == 1


def test_a_gop_of_just_the_longest_length_stays_whole() -> None:
    fragments = fragments_of(feed(16, gop=100), LIMITS)
    assert [fragment.captured_at - START for fragment in fragments] == [0, 4000, 8000, 12000]


def test_large_pictures_cut_by_size_and_are_never_parted() -> None:
    units = feed(8, size=90_000, with_sound=False)
    fragments = fragments_of(units, LIMITS)
    assert all(len(fragment.data) < 1_300_000 for fragment in fragments)
    assert samples_of(fragments)[0] == [unit.data for unit in units]


def test_a_unit_larger_than_the_limit_is_a_fragment() -> None:
    units = [picture(0, 0, True, 3_000_000), picture(1, 40), picture(2, 80)]
    fragments = fragments_of(units, LIMITS)
    assert samples_of(fragments)[0] == [unit.data for unit in units]


def test_a_unit_that_no_record_can_carry_is_counted() -> None:
    fragmenter = Fragmenter(LIMITS)
    fragmenter.push(picture(0, 0, True))
    fragmenter.push(picture(1, 40, False, LARGEST_UNIT_BYTES + 1))
    fragmenter.push(picture(2, 80))
    (fragment,) = fragmenter.flush()
    assert fragmenter.dropped == {"oversize": 1}
    assert fragment.lost_packets == 1


def test_begins_at_a_keyframe_and_counts_what_came_before() -> None:
    units = [picture(0, 0), sound(0, 10), picture(1, 40), picture(2, 80, True), sound(1, 90), picture(3, 120)]
    units[0].lost_packets = 4
    fragmenter = Fragmenter(LIMITS)
    for unit in units:
        assert fragmenter.push(unit) == []
    (fragment,) = fragmenter.flush()
    assert fragmenter.dropped == {"before_keyframe": 3}
    assert (fragment.lost_packets, fragment.captured_at - START) == (7, 80)


def test_sound_beside_the_first_picture_is_kept_though_it_arrives_before_it() -> None:
    sounds = [sound(index, index * 20) for index in range(12)]
    units = [picture(0, 0), *sounds[:8], picture(2, 80, True), *sounds[8:], picture(3, 120)]
    fragmenter = Fragmenter(LIMITS)
    for unit in units:
        fragmenter.push(unit)
    (fragment,) = fragmenter.flush()
    assert samples_of([fragment])[1] == [unit.data for unit in sounds[4:]]
    assert fragmenter.dropped == {"before_keyframe": 1 + 4}
    assert (fragment.lost_packets, fragment.captured_at - START) == (5, 80)


def test_sound_that_waits_for_a_picture_is_bounded_and_counted() -> None:
    fragmenter = Fragmenter(LIMITS)
    for index in range(500):
        fragmenter.push(sound(index, index * 20))
    assert fragmenter.dropped == {"before_keyframe": 500 - LEAD_MS // 20 - 1}
    for index in range(500, 1000):
        fragmenter.push(sound(index, 10_000))
    assert fragmenter.dropped == {"before_keyframe": 1000 - LEAD_UNITS}
    assert fragmenter.flush() == []
    assert fragmenter.dropped == {"before_keyframe": 1000}


def test_a_sender_without_keyframes_is_recorded_after_a_while() -> None:
    fragments = fragments_of(feed(20, gop=10**9)[1:], LIMITS)
    assert fragments[0].captured_at - START >= START_WAIT_MS
    assert not any(fragment.starts_with_keyframe for fragment in fragments)
    assert fragments[0].lost_packets > 0


def test_sound_alone_is_cut_by_time() -> None:
    fragments = fragments_of([sound(index, index * 20) for index in range(500)], LIMITS, has_video=False)
    assert [fragment.duration_ms for fragment in fragments] == [2000] * 5
    assert {fragment.codecs for fragment in fragments} == {"pcma"}


def test_sound_that_arrives_late_goes_with_its_picture() -> None:
    pictures = [picture(index, index * 40, index % 50 == 0) for index in range(150)]
    sounds = [sound(index, index * 20, late_ms=260) for index in range(300)]
    fragments = fragments_of(by_arrival(pictures + sounds), LIMITS)
    for fragment, begins in zip(fragments, range(0, 6000, 2000), strict=True):
        found = packets(fragment.data)
        first = min(int.from_bytes(packet.data[4:8]) for packet in found[1])
        assert first == begins // 20


def test_late_sound_is_not_waited_for_longer_than_it_may() -> None:
    pictures = [picture(index, index * 40, index % 50 == 0) for index in range(150)]
    sounds = [sound(index, index * 20, late_ms=1500) for index in range(300)]
    fragmenter = Fragmenter(LIMITS)
    for unit in by_arrival(pictures + sounds):
        for fragment in fragmenter.push(unit):
            assert fragment.learnt_at - (fragment.captured_at + fragment.duration_ms) <= 500


def test_a_segment_begins_at_the_first_keyframe_of_a_minute_with_times_from_zero() -> None:
    fragments = fragments_of(feed(130, gop=35), LIMITS)
    begins = [fragment for fragment in fragments if fragment.starts_segment]
    minutes = [fragment.captured_at // 60_000 for fragment in begins]
    assert len(begins) == 3
    assert minutes == sorted(set(minutes))
    for fragment in begins[1:]:
        assert fragment.captured_at % 60_000 < 35 * 40
        assert packets(fragment.data)[0][0].dts == 0


def test_a_segment_without_any_keyframe_ends_after_all() -> None:
    fragments = fragments_of(feed(300, gop=10**9, frame_ms=200, with_sound=False), LIMITS)
    assert 2 <= sum(fragment.starts_segment for fragment in fragments) <= 4


def test_new_parameters_begin_a_segment_with_a_new_init() -> None:
    wider = msgspec.structs.replace(VIDEO, width=1920, height=1080)
    units = feed(3, with_sound=False) + [
        picture(index, index * 40, index == 75, params=wider) for index in range(75, 150)
    ]
    fragments = fragments_of(units, LIMITS)
    assert [fragment.starts_segment for fragment in fragments] == [True, False, True]
    assert samples_of(fragments)[0] == [unit.data for unit in units]


def test_a_track_that_comes_later_gets_a_segment_that_describes_it() -> None:
    units = feed(4, with_sound=False) + [unit for unit in feed(8) if unit.captured_at >= START + 4000]
    fragments = fragments_of(units, LIMITS)
    assert [fragment.codecs for fragment in fragments] == ["h264", "h264", "h264,pcma", "h264,pcma"]
    assert [fragment.starts_segment for fragment in fragments] == [True, False, True, False]


def test_a_gap_parts_fragments_and_is_not_counted_as_length() -> None:
    units = [unit for unit in feed(30) if not 5_000 <= unit.captured_at - START < 21_100]
    fragments = fragments_of(units, LIMITS)
    holes = [later.captured_at - earlier.captured_at - earlier.duration_ms for earlier, later in pairwise(fragments)]
    assert [hole for hole in holes if hole > 200] == [pytest.approx(16_100, abs=60)]
    after = next(fragment for fragment in fragments if fragment.captured_at - START >= 21_000)
    assert (after.starts_with_keyframe, after.starts_segment) == (False, False)
    assert fragments[after.seq + 1].starts_segment, "a new segment at the first keyframe behind the gap"


def test_the_last_picture_is_as_long_as_the_one_before_and_no_longer_than_known() -> None:
    units = [picture(0, 0, True), picture(1, 500), picture(2, 900)]
    (fragment,) = fragments_of(units, LIMITS)
    assert fragment.duration_ms == 960, "arrival of the last packet bounds it"


def test_a_media_clock_that_starts_anew_is_tied_again() -> None:
    units = feed(4, with_sound=False)
    for unit in units[60:]:
        unit.pts -= 50 * 90_000
    fragments = fragments_of(units, LIMITS)
    dts = [packet.dts for segment in segments(fragments)[:1] for packet in packets(segment)[0]]
    assert all(earlier < later for earlier, later in pairwise(dts))
    assert max(later - earlier for earlier, later in pairwise(dts)) < 90_000
    assert sum(fragment.duration_ms for fragment in fragments) == pytest.approx(4000, abs=120)


def test_lost_packets_are_summed() -> None:
    units = feed(4, with_sound=False)
    units[3].lost_packets, units[7].lost_packets, units[7].damaged = 2, 5, True
    fragments = fragments_of(units, LIMITS)
    assert [fragment.lost_packets for fragment in fragments] == [7, 0]
    assert samples_of(fragments)[0] == [unit.data for unit in units], "damaged units are kept as they came"


def test_units_without_a_decoder_configuration_are_counted() -> None:
    nothing = TrackParams(Codec.H264, 90_000)
    fragmenter = Fragmenter(LIMITS)
    assert fragmenter.push(picture(0, 0, True, params=nothing)) == []
    assert fragmenter.flush() == []
    assert fragmenter.dropped == {"undescribed": 1}


steps = st.tuples(
    st.sampled_from([0, 20, 33, 40, 40, 40, 40, 200, 3000]),  # capture time since the unit before
    st.sampled_from([0, 0, 0, 0, 0, 80, -80, 70_000, -70_000]),  # error of the media clock
    st.booleans(),  # keyframe
    st.sampled_from([0, 1]),  # track
    st.sampled_from([10, 400, 400, 60_000]),  # bytes
    st.sampled_from([0, 30, 900]),  # delay of arrival
    st.integers(0, 2),  # packets lost
    st.booleans(),  # other parameters
)


def units_of(drawn: list[tuple[int, int, bool, int, int, int, int, bool]]) -> list[AccessUnit]:
    units, at, arrived = [], 0, 0
    other = msgspec.structs.replace(VIDEO, width=320)
    for index, (step, error, keyframe, track, size, late, lost, changed) in enumerate(drawn):
        at += step
        arrived = max(arrived, at + late)
        if track == 0:
            unit = picture(index, at, keyframe, size, params=other if changed and keyframe else VIDEO)
        else:
            unit = sound(index, at)
        unit.pts += error * unit.params.clock_rate // 1000
        unit.arrived_at = START.plus(arrived)
        unit.lost_packets = lost
        units.append(unit)
    return units


@settings(max_examples=150, deadline=None)
@given(drawn=st.lists(steps, max_size=120), restart=st.integers(0, 120))
def test_whatever_comes_nothing_is_lost_doubled_or_reordered(
    drawn: list[tuple[int, int, bool, int, int, int, int, bool]], restart: int
) -> None:
    units = units_of(drawn)
    limits = Limits(max_bytes=200_000)
    fragmenter, fragments, reborn = Fragmenter(limits), [], False
    for index, unit in enumerate(units):
        # Before a feed has begun its journal is empty, and after a crash there is another feed.
        if index >= restart and not reborn and fragmenter.progress.started:
            fragmenter, reborn = _reborn(fragmenter, limits), True
        fragments += fragmenter.push(unit)
    fragments += fragmenter.flush()

    kept = _kept(units)
    found: dict[int, list[bytes]] = {0: [], 1: []}
    for segment in segments(fragments):
        for run in packets(segment).values():
            for packet in run:
                found[int.from_bytes(packet.data[:4])].append(packet.data)
            assert all(earlier.dts < later.dts for earlier, later in pairwise(run))
            assert all(packet.pts >= packet.dts >= 0 for packet in run)
    assert found == {track: [unit.data for unit in kept if unit.track == track] for track in (0, 1)}
    assert [fragment.seq for fragment in fragments] == list(range(len(fragments)))
    assert all(0 <= fragment.duration_ms <= 4000 for fragment in fragments)
    assert sum(fragment.units for fragment in fragments) == len(kept)
    lost = sum(unit.lost_packets for unit in units) + len(units) - len(kept)
    assert not fragments or sum(fragment.lost_packets for fragment in fragments) == lost
    if fragments and restart <= len(units):
        assert fragments == fragments_of(units, limits), "a restart changes nothing"


def _kept(units: list[AccessUnit]) -> list[AccessUnit]:
    for index, unit in enumerate(units):
        waited = unit.arrived_at - units[0].arrived_at >= START_WAIT_MS
        if (unit.track == 0 and unit.keyframe) or waited:
            beside = [one for one in units[:index] if one.track == 1 and one.captured_at >= unit.captured_at]
            return beside + units[index:]
    return []


def _reborn(fragmenter: Fragmenter, limits: Limits) -> Fragmenter:
    """As after a crash: from what a journal keeps."""
    wire = msgspec.msgpack.encode(fragmenter.progress, enc_hook=int)
    progress = msgspec.msgpack.decode(wire, type=type(fragmenter.progress), dec_hook=lambda _, value: Instant(value))
    reborn = Fragmenter(limits, progress=progress)
    for unit in fragmenter.pending:
        assert reborn.push(unit) == []
    return reborn


def test_g711_needs_no_configuration() -> None:
    (fragment,) = fragments_of([sound(0, 0, params=G711)], LIMITS, has_video=False)
    assert b"alaw" in fragment.data
