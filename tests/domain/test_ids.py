"""Identifiers that are functions of content."""

from __future__ import annotations

import pytest

from domain.bus import partition_for
from domain.clock import Instant
from domain.errors import InvalidInput
from domain.ids import check_recorder_id, check_session_id, finding_id
from domain.registry import hash_token, hash_tokens


def test_a_finding_id_depends_on_every_part_and_on_nothing_else() -> None:
    at = Instant(1_700_000_000_000)
    first = finding_id("recording.gap", "a", "s", "", at)
    assert first == finding_id("recording.gap", "a", "s", "", at)
    others = {
        finding_id("recording.stalled", "a", "s", "", at),
        finding_id("recording.gap", "as", "", "", at),
        finding_id("recording.gap", "a", None, "s", at),
        finding_id("recording.gap", "a", "s", "", at.plus(1)),
    }
    assert first not in others
    assert len(others) == 4


@pytest.mark.parametrize("bad", ["", "A", "-a", "a/b", "a b", "é", "a\n", "x" * 64])
def test_bad_recorder_ids_are_refused(bad: str) -> None:
    with pytest.raises(InvalidInput, match="recorder_id"):
        check_recorder_id(bad)


def test_good_ids_pass() -> None:
    assert check_recorder_id("cam-01.hall_2") == "cam-01.hall_2"
    assert check_session_id("cam-01-20260302") == "cam-01-20260302"


def test_partitioning_never_changes() -> None:
    assert [partition_for(key, 8) for key in ("cam-1", "rec-07", "x")] == [0, 6, 3]


def test_a_plain_token_becomes_its_hash_and_a_short_one_is_refused() -> None:
    entry = hash_tokens({"recorder_id": "a", "token": "correct horse battery"})
    assert entry == {"recorder_id": "a", "token_sha256": hash_token("correct horse battery")}
    with pytest.raises(InvalidInput, match="token"):
        hash_tokens({"recorder_id": "a", "token": "short"})
