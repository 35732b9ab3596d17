"""The sliding window of live pictures: playlists as players expect them, fragments on one timeline."""

import re
from datetime import datetime
from io import BytesIO

import av
import pytest

from dashboards.hls.mp4 import retime, take_apart
from dashboards.hls.playable import playable
from dashboards.hls.playlist import Entry, render, target_duration
from dashboards.hls.ring import KEEP, Ring
from domain.errors import InvalidMedia
from tests.dashboards.feeds import Piece, at, fragment, moving_picture


@pytest.fixture(scope="module")
def cut() -> list[Piece]:
    return moving_picture("160x120", seconds=6)


def fill(
    ring: Ring, cut: list[Piece], seqs: list[int], *, feed: str = "f1", offset: int = 100, shift_s: float = 0
) -> None:
    for number, seq in enumerate(seqs):
        piece = cut[seq % len(cut)]
        event = fragment(seq + shift_s, seq=seq, duration_s=1, feed_id=feed)
        ring.add(offset + number, event, piece.data, restarts=piece.restarts)


def decode_times(ring: Ring) -> list[float]:
    times = []
    for entry in ring.entries:
        init, body = ring.body(entry.init_uri), ring.body(entry.uri)
        if init is None or body is None:
            assert entry.gap
            continue
        media = take_apart(init + body)
        times.append(media.seconds(media.main, media.main.decode_time))
    return times


def test_a_playlist_slides_and_its_fragments_follow_one_another_over_restarts(cut: list[Piece]) -> None:
    ring = Ring()
    fill(ring, cut, list(range(14)))
    text = ring.playlist()
    assert text.startswith("#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:104\n")
    assert text.count("#EXTINF:1.00000,") == KEEP
    assert text.count("#EXT-X-MAP") == 1
    assert "DISCONTINUITY" not in text
    assert "GAP" not in text
    assert "#EXT-X-ENDLIST" not in text
    assert decode_times(ring) == [float(second) for second in range(4, 14)]
    times = re.findall(r"#EXT-X-PROGRAM-DATE-TIME:(.*)", text)
    assert [datetime.fromisoformat(time) for time in times] == [at(second).datetime() for second in range(4, 14)]
    assert ring.body("live-100.m4s") is None
    assert ring.body("live-104.m4s") is not None


def test_missing_fragments_are_a_gap_of_the_right_length(cut: list[Piece]) -> None:
    ring = Ring()
    fill(ring, cut, [0, 1, 4, 5])
    lines = ring.playlist().splitlines()
    assert lines.count("#EXT-X-GAP") == 2
    assert lines.count("#EXT-X-DISCONTINUITY") == 1
    starts = [entry.captured_at for entry in ring.entries]
    assert starts == [at(second) for second in range(6)]
    assert decode_times(ring) == [0, 1, 4, 5]


def test_a_long_gap_does_not_flush_the_window(cut: list[Piece]) -> None:
    ring = Ring()
    fill(ring, cut, [0, 1, 2])
    fill(ring, cut, [3, 4], offset=200, shift_s=600)
    assert sum(entry.gap for entry in ring.entries) == 5
    assert [entry.uri for entry in ring.entries if not entry.gap][-1] == "live-201.m4s"
    assert ring.entries[-2].discontinuity


def test_another_feed_is_a_discontinuity_counted_when_it_leaves(cut: list[Piece]) -> None:
    ring = Ring()
    other = moving_picture("192x128", seconds=6)
    fill(ring, cut, [0, 1])
    fill(ring, other, [0, 1], feed="f2", offset=200, shift_s=2)
    text = ring.playlist()
    assert text.count("#EXT-X-MAP") == 2
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
    assert decode_times(ring) == [0, 1, 2, 3]
    fill(ring, other, list(range(2, 14)), feed="f2", offset=202, shift_s=2)
    text = ring.playlist()
    assert "#EXT-X-DISCONTINUITY-SEQUENCE:1" in text
    assert text.count("#EXT-X-MAP") == 1


def test_repeated_records_change_nothing(cut: list[Piece]) -> None:
    ring = Ring()
    fill(ring, cut, [0, 1, 2])
    text = ring.playlist()
    fill(ring, cut, [0, 1, 2])
    fill(ring, cut, [1, 2], offset=300)
    assert ring.playlist() == text


def test_rubbish_is_refused_and_leaves_the_ring_as_it_was(cut: list[Piece]) -> None:
    ring = Ring()
    fill(ring, cut, [0])
    text = ring.playlist()
    good = cut[1].data
    for size in (0, 7, 8, 40, 300, 700, 900):
        with pytest.raises(InvalidMedia):
            ring.add(900, fragment(1, seq=1, duration_s=1), good[:size], restarts=False)
    for place in range(0, 1200, 7):
        mutated = good[:place] + b"\xff\xff\xff\xff" + good[place + 4 :]
        try:
            take_apart(mutated)
        except InvalidMedia:
            continue
    assert ring.playlist() == text


def test_only_decode_times_are_touched(cut: list[Piece]) -> None:
    media = take_apart(cut[2].data)
    shifted = retime(media, 10.0)
    changed = [place for place, (one, two) in enumerate(zip(media.fragment, shifted, strict=True)) if one != two]
    run = media.main
    assert changed
    assert set(changed) <= set(range(run.at, run.at + 8))
    assert retime(media, 0) == media.fragment


@pytest.mark.parametrize("codec", ["pcm_alaw", "pcm_mulaw"])
def test_g711_is_left_out_of_what_is_watched_and_the_picture_stays_whole(codec: str) -> None:
    piece = moving_picture("160x120", seconds=2, audio=codec)[1]
    media = playable(piece.data)
    with av.open(BytesIO(media.init + media.fragment), "r") as watched, av.open(BytesIO(piece.data), "r") as original:
        assert [stream.type for stream in watched.streams] == ["video"]
        seen = [bytes(packet) for packet in watched.demux(video=0) if packet.size]
        assert seen == [bytes(packet) for packet in original.demux(video=0) if packet.size]
    assert len(seen) == 25
    assert take_apart(media.init + retime(media, 5)).main.decode_time == media.main.decode_time + round(
        5 * media.tracks[media.main.track].timescale
    )


def test_sound_that_browsers_take_stays() -> None:
    piece = moving_picture("160x120", seconds=2, audio="aac")[0]
    media = playable(piece.data)
    assert {track.handler for track in media.tracks.values()} == {b"vide", b"soun"}
    assert media.init + media.fragment == piece.data


def test_playlist_of_a_recording_with_byte_ranges() -> None:
    entries = [
        Entry(uri="a", duration_s=3.5, captured_at=at(0), init_uri="a", init_range=(700, 0), byte_range=(900, 700)),
        Entry(uri="gap", duration_s=2.0, captured_at=at(3.5), init_uri="a", init_range=(700, 0), gap=True),
    ]
    assert render(entries, target_s=target_duration([3.5, 2.0]), first=0, ended=True).splitlines()[3:] == [
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        '#EXT-X-MAP:URI="a",BYTERANGE="700@0"',
        "#EXT-X-PROGRAM-DATE-TIME:2026-05-06T09:00:00.000+08:00",
        "#EXTINF:3.50000,",
        "#EXT-X-BYTERANGE:900@700",
        "a",
        "#EXT-X-PROGRAM-DATE-TIME:2026-05-06T09:00:03.500+08:00",
        "#EXT-X-GAP",
        "#EXTINF:2.00000,",
        "gap",
        "#EXT-X-ENDLIST",
    ]


@pytest.mark.parametrize(("durations", "target"), [([], 1), ([0.2], 1), ([1.49, 1.2], 1), ([1.5], 2), ([4.0, 2.0], 4)])
def test_target_duration(durations: list[float], target: int) -> None:
    assert target_duration(durations) == target
