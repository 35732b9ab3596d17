"""The journal: what was pushed comes back after a crash, and a torn or foreign file harms nobody."""

from pathlib import Path

import pytest

from domain.errors import InvalidMedia
from domain.media import AccessUnit
from streams.ingest import journal as journal_module
from streams.ingest.fragmenter import Fragmenter
from streams.ingest.journal import FeedInfo, Journal
from streams.ingest.limits import Limits
from streams.ingest.muxer import CutFragment
from streams.ingest.recovery import Recovered, read, recover
from tests.streams.units import by_arrival, picture, sound

FEED = FeedInfo("cam-1-abc-0001", "cam-1", "cam-1-20260302", "rtsp", True, Limits())


def units() -> list[AccessUnit]:
    pictures = [picture(index, index * 40, index % 50 == 0) for index in range(200)]
    sounds = [sound(index, index * 20, late_ms=120) for index in range(400)]
    pictures[130].damaged, pictures[130].lost_packets = True, 3
    return by_arrival(pictures + sounds)


def run(directory: Path, fed: list[AccessUnit], safe_behind: int | None = 0) -> list[CutFragment]:
    """Feed as `streams.ingest.feeds` does, and stop dead.

    Args:
        directory: Where the journal stands.
        fed: What comes in.
        safe_behind: So many fragments are not safe yet at any time; None: none ever is.
    """
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
            if safe_behind is not None and len(fragments) > safe_behind:
                journal.release(fragments[-1 - safe_behind].seq)
    journal.flush()
    return fragments


def recovered(directory: Path) -> Recovered:
    (found,) = recover(directory)
    assert isinstance(found, Recovered)
    return found


def finish(found: Recovered) -> list[CutFragment]:
    """Cut as `Feed.recover` does."""
    fragments: list[CutFragment] = []
    for section in found.sections:
        fragmenter = Fragmenter(section.feed.limits, progress=section.progress)
        fragments += [fragment for unit in section.units for fragment in fragmenter.push(unit)]
        if section is found.sections[-1] and not found.is_sealed:
            fragments += fragmenter.flush()
    return [fragment for fragment in fragments if fragment.seq >= found.safe]


def uncrashed(fed: list[AccessUnit]) -> list[CutFragment]:
    fragmenter = Fragmenter(FEED.limits)
    return [fragment for unit in fed for fragment in fragmenter.push(unit)] + fragmenter.flush()


@pytest.mark.parametrize("roll_bytes", [0, 20_000, 4_000_000])
@pytest.mark.parametrize("crash_at", [0, 1, 77, 151, 160, 380, 599])
def test_what_was_open_is_cut_as_if_nothing_had_happened(
    tmp_path: Path, crash_at: int, roll_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "ROLL_BYTES", roll_bytes)
    fed = units()[:crash_at]
    before = run(tmp_path, fed)
    found = recovered(tmp_path)
    assert found.feed == FEED
    assert before + finish(found) == uncrashed(fed)
    assert len(found.files) == 1, "files of safe fragments are gone"
    assert len(found.sections) == 1


@pytest.mark.parametrize("roll_bytes", [0, 20_000, 4_000_000])
@pytest.mark.parametrize("safe_behind", [None, 1, 2])
def test_every_fragment_that_is_not_safe_is_cut_again(
    tmp_path: Path, safe_behind: int | None, roll_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "ROLL_BYTES", roll_bytes)
    fed = units()
    before = run(tmp_path, fed, safe_behind)
    expected = uncrashed(fed)
    found = recovered(tmp_path)
    again = finish(found)
    assert len(before) == 3
    assert again == expected[-len(again) :]
    assert len(again) == len(expected) if safe_behind is None else safe_behind + 1 <= len(again) <= safe_behind + 2
    assert (len(found.files) > 1) == (roll_bytes < 4_000_000)


def test_behind_a_hole_nothing_is_taken_for_a_fragment(tmp_path: Path) -> None:
    fed = units()
    fragmenter, journal = Fragmenter(FEED.limits), Journal(tmp_path, FEED)
    journal.begin(fragmenter)
    before: list[CutFragment] = []
    for unit in fed:
        journal.append(unit)
        if cut := fragmenter.push(unit):
            journal.flush()
            before += cut
            journal.begin(fragmenter)
        if unit is fed[400]:
            journal.flush()
            journal.retire()  # as after an error of the disk
    journal.flush()
    found = recovered(tmp_path)
    assert not found.is_sealed, "the next cut has begun a new file"
    again = finish(found)
    assert again[:2] == before[:2]
    assert again[-1] == uncrashed(fed)[-1]
    (newest,) = set(tmp_path.glob("*.journal")) - set(tmp_path.glob("*s.journal"))
    newest.unlink()
    found = recovered(tmp_path)
    assert found.is_sealed
    again = finish(found)
    assert 2 <= len(again) <= 3
    assert again == before[: len(again)]


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
        (section,) = recovered(tmp_path).sections
        kept = section.units
        assert kept == fed[: len(kept)]
        assert len(kept) >= 17


def test_a_damaged_unit_header_ends_the_journal(tmp_path: Path) -> None:
    fed = units()[:20]
    run(tmp_path, fed)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes() + bytes(200))
    assert [section.units for section in recovered(tmp_path).sections] == [fed]


def test_the_newest_whole_journal_counts(tmp_path: Path) -> None:
    run(tmp_path, units()[:300])
    (path,) = tmp_path.iterdir()
    (tmp_path / "cam-1-abc-0001.00000009.journal").write_bytes(path.read_bytes()[:7])
    found = recovered(tmp_path)
    assert len(found.files) == 2
    assert found.sections[-1].units


def test_rubbish_is_told_and_not_raised(tmp_path: Path) -> None:
    (tmp_path / "cam-2-x-0000.00000000.journal").write_bytes(b"LHJ2" + bytes(100))
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
    journal.retire()
    journal.flush()
    assert list(tmp_path.iterdir()) == []
