"""Every codec through the fragmenter and out of FFmpeg's demuxer again: the same bytes at the same times."""

import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from domain.media import AccessUnit, Codec
from streams.ingest.fragmenter import fragments_of
from streams.ingest.limits import Limits
from streams.ingest.muxer import CutFragment
from tests.services.cache import installed
from tests.services.samples import Samples
from tests.streams.units import packets, read_units, segments

NAMES = ["small", "silent", "bframes", "long-gop", "irregular", "h265", "alaw", "mulaw", "opus"]


@pytest.fixture(params=NAMES)
def fed(request: pytest.FixtureRequest, samples: Samples) -> tuple[list[AccessUnit], list[CutFragment]]:
    units = read_units(samples.get(request.param).path)
    del units[: next(index for index, unit in enumerate(units) if unit.params.codec.is_video)]
    return units, fragments_of(units, Limits(segment_ms=4_000))


def test_every_sample_comes_out_with_its_bytes_and_times(
    fed: tuple[list[AccessUnit], list[CutFragment]],
) -> None:
    units, fragments = fed
    stored: dict[int, list[bytes]] = {}
    for segment in segments(fragments):
        _check_times(units, segment, stored)
    for track in {unit.track for unit in units}:
        assert stored[track] == [unit.data for unit in units if unit.track == track]


def _check_times(units: list[AccessUnit], segment: bytes, stored: dict[int, list[bytes]]) -> None:
    offsets: list[float] = []
    for track, found in packets(segment).items():
        mine = [unit for unit in units if unit.track == track]
        done = len(stored.setdefault(track, []))
        expected = mine[done : done + len(found)]
        stored[track] += [packet.data for packet in found]
        assert [packet.is_keyframe for packet in found] == [unit.keyframe for unit in expected]
        for packet, unit in zip(found, expected, strict=True):
            assert packet.pts >= packet.dts
            assert packet.time_base == Fraction(1, unit.params.clock_rate)
        for (first, one), (second, other) in pairwise(zip(found, expected, strict=True)):
            assert second.pts - first.pts == other.pts - one.pts
            assert second.dts > first.dts
        offsets += [
            float(packet.pts * packet.time_base) - unit.captured_at / 1000
            for packet, unit in zip(found, expected, strict=True)
        ]
    assert max(offsets) - min(offsets) < 0.003, "pictures and sound stay together"


def test_each_segment_and_each_fragment_begins_where_it_says(
    fed: tuple[list[AccessUnit], list[CutFragment]],
) -> None:
    _, fragments = fed
    assert len([fragment for fragment in fragments if fragment.starts_segment]) >= 2
    for fragment in fragments:
        found = packets(fragment.data)
        assert found[0][0].is_keyframe == fragment.starts_with_keyframe
        if fragment.starts_segment:
            assert min(track[0].dts * track[0].time_base for track in found.values() if track) == 0


def test_the_fragments_follow_one_another_without_a_gap(fed: tuple[list[AccessUnit], list[CutFragment]]) -> None:
    _, fragments = fed
    assert [fragment.seq for fragment in fragments] == list(range(len(fragments)))
    for earlier, later in pairwise(fragments):
        assert abs(later.captured_at - earlier.captured_at - earlier.duration_ms) <= 200
        assert earlier.duration_ms <= 4_000


def test_the_bytes_are_a_function_of_the_units(samples: Samples) -> None:
    units = read_units(samples.get("bframes").path)
    once, again = fragments_of(units, Limits()), fragments_of(units, Limits())
    assert once == again
    assert len({fragment.sha256 for fragment in once}) == len(once)


@pytest.mark.parametrize("name", ["small", "bframes", "h265", "alaw", "opus"])
def test_ffmpeg_decodes_every_segment_without_a_word(name: str, samples: Samples, tmp_path: Path) -> None:
    units = read_units(samples.get(name).path)
    path = tmp_path / "segment.mp4"
    for segment in segments(fragments_of(units, Limits(segment_ms=4_000))):
        path.write_bytes(segment)
        command = [installed("FFmpeg", "ffmpeg"), "-v", "warning", "-xerror", "-i", str(path), "-f", "null", "-"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        said = [line for line in done.stderr.splitlines() if "Guessed Channel Layout" not in line]  # G.711 has none
        assert (done.returncode, said) == (0, [])


def test_the_codecs_are_named_picture_first(fed: tuple[list[AccessUnit], list[CutFragment]]) -> None:
    units, fragments = fed
    codecs = {unit.params.codec for unit in units}
    expected = ",".join(sorted(codecs, key=lambda codec: not Codec(codec).is_video))
    assert {fragment.codecs for fragment in fragments} == {expected}
    assert all(Codec(name) for name in expected.split(","))
