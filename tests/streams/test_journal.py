"""The journal: what was pushed comes back after a crash, and a torn or foreign file harms nobody."""

from pathlib import Path

import pytest

from domain.errors import InvalidMedia
from domain.media import AccessUnit
from streams.ingest.fragmenter import Fragmenter
from streams.ingest.journal import FeedInfo, Journal, Recovered, read, recover
from streams.ingest.limits import Limits
from streams.ingest.muxer import CutFragment
from tests.streams.units import by_arrival, picture, sound

FEED = FeedInfo("cam-1-abc-0001", "cam-1", "cam-1-20260302", "rtsp", True, Limits())


def units() -> list[AccessUnit]:
    pictures = [picture(index, index * 40, index % 50 == 0) for index in range(200)]
    sounds = [sound(index, index * 20, late_ms=120) for index in range(400)]
    pictures[130].damaged, pictures[130].lost_packets = True, 3
    return by_arrival(pictures + sounds)


def run(directory: Path, fed: list[AccessUnit], flush: bool = True) -> list[CutFragment]:
    """Feed as `streams.ingest.feeds` does, and stop dead."""
    fragmenter, journal = Fragmenter(FEED.limits), Journal(directory, FEED)
    journal.begin(fragmenter)
    fragments: list[CutFragment] = []
    for unit in fed:
        journal.append(unit)
        cut = fragmenter.push(unit)
        if cut:
            journal.flush()
            fragments += cut
            journal.begin(fragmenter)
    if flush:
        journal.flush()
    return fragments


def recovered(directory: Path) -> Recovered:
    (found,) = recover(directory)
    assert isinstance(found, Recovered)
    return found


def finish(found: Recovered) -> list[CutFragment]:
    fragmenter = Fragmenter(found.feed.limits, progress=found.progress)
    return [fragment for unit in found.units for fragment in fragmenter.push(unit)] + fragmenter.flush()


@pytest.mark.parametrize("crash_at", [0, 1, 77, 151, 160, 380, 599])
def test_what_was_open_is_cut_as_if_nothing_had_happened(tmp_path: Path, crash_at: int) -> None:
    fed = units()[:crash_at]
    before = run(tmp_path, fed)
    fragmenter = Fragmenter(FEED.limits)
    expected = [fragment for unit in fed for fragment in fragmenter.push(unit)] + fragmenter.flush()
    found = recovered(tmp_path)
    assert found.feed == FEED
    assert before + finish(found) == expected
    assert len(found.files) == 1, "journals of spooled fragments are gone"


def test_a_crash_between_the_spool_and_the_next_journal_cuts_the_same_fragment_again(tmp_path: Path) -> None:
    fragmenter, journal = Fragmenter(FEED.limits), Journal(tmp_path, FEED)
    journal.begin(fragmenter)
    for unit in units():
        journal.append(unit)
        if cut := fragmenter.push(unit):
            journal.flush()
            break
    assert finish(recovered(tmp_path))[0] == cut[0]


def test_a_unit_cut_off_in_the_middle_ends_the_journal(tmp_path: Path) -> None:
    fed = units()[:20]
    run(tmp_path, fed)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for missing in (1, 100, 300, 450):
        path.write_bytes(whole[:-missing])
        kept = recovered(tmp_path).units
        assert kept == fed[: len(kept)]
        assert len(kept) >= 17


def test_a_damaged_unit_header_ends_the_journal(tmp_path: Path) -> None:
    fed = units()[:20]
    run(tmp_path, fed)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes() + bytes(200))
    assert recovered(tmp_path).units == fed


def test_the_newest_whole_journal_counts(tmp_path: Path) -> None:
    run(tmp_path, units()[:300])
    (path,) = tmp_path.iterdir()
    (tmp_path / "cam-1-abc-0001.00000009.journal").write_bytes(path.read_bytes()[:7])
    found = recovered(tmp_path)
    assert len(found.files) == 2
    assert found.units


def test_rubbish_is_told_and_not_raised(tmp_path: Path) -> None:
    (tmp_path / "cam-2-x-0000.00000000.journal").write_bytes(b"LHJ1" + bytes(100))
    (tmp_path / "cam-3-x-0000.00000000.journal").write_bytes(b"")
    run(tmp_path, units()[:10])
    found = list(recover(tmp_path))
    assert sum(isinstance(one, Recovered) for one in found) == 1
    assert sorted(one[0].name[:5] for one in found if not isinstance(one, Recovered)) == ["cam-2", "cam-3"]
    with pytest.raises(InvalidMedia, match="cam-3"):
        read(tmp_path / "cam-3-x-0000.00000000.journal")


def test_nothing_is_left_of_a_feed_that_ended_well(tmp_path: Path) -> None:
    journal = Journal(tmp_path, FEED)
    journal.begin(Fragmenter(FEED.limits))
    assert journal.is_open
    journal.remove()
    journal.flush()
    assert list(tmp_path.iterdir()) == []
