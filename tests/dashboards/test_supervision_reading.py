"""What the figures are summed from, on both databases: cut at the edges of the time, overlaps counted once."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dashboards.supervision.reading import stored_between
from domain.clock import Instant
from storage.catalog.catalog import Catalog
from storage.catalog.rows import SegmentRow, UploadRow
from storage.catalog.uploads import Uploads

T0 = Instant.parse("2026-03-02T00:00:00+08:00")
MINUTE = 60_000


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Catalog]:
    address = f"sqlite:///{tmp_path}/catalog.db"
    if request.param == "postgres":
        address = request.getfixturevalue("postgres").create_database(f"figures_{uuid.uuid4().hex[:12]}")
    opened = await Catalog.connect(address)
    yield opened
    await opened.close()


def segment(recorder: str, session: str, start_min: float, end_min: float, feed: str = "f") -> SegmentRow:
    start, end = T0.plus(round(start_min * MINUTE)), T0.plus(round(end_min * MINUTE))
    return SegmentRow(
        key=f"{recorder}/{session}/{feed}/{int(start)}",
        recorder_id=recorder,
        session_id=session,
        feed_id=feed,
        policy="wucheng",
        from_at=start,
        to_at=end,
        bytes=1,
        sha256="0" * 64,
        version_id="",
        codec="h264",
        first_seq=0,
        last_seq=0,
        fragments=1,
        retain_until=end,
        stored_at=end,
    )


def upload(recorder: str, session: str, start_min: float, end_min: float, overlap_min: float) -> UploadRow:
    start, end = T0.plus(round(start_min * MINUTE)), T0.plus(round(end_min * MINUTE))
    return UploadRow(
        key=f"{recorder}/{session}/{int(start)}.mp4",
        recorder_id=recorder,
        session_id=session,
        policy="wucheng",
        from_at=start,
        to_at=end,
        bytes=1,
        sha256="1" * 64,
        version_id="",
        media="mp4",
        via="tus",
        delivered_at=end,
        stored_at=end,
        retain_until=end,
        overlap_ms=round(overlap_min * MINUTE),
    )


async def test_stored_time_is_cut_at_the_edges_and_overlaps_count_once(catalog: Catalog) -> None:
    for row in (
        segment("r1", "s1", -1, 1),  # half of it before the time
        segment("r1", "s1", 1, 2),
        segment("r1", "s1", 1, 2, "second connection"),  # at the same time: at most from first to last
        segment("r2", "s1", 59, 61),  # half of it behind the time
        segment("r2", "s2", 61, 62),  # not in it
        segment("r3", "s1", 10, 12),
    ):
        await catalog.add_segment(row)
    await Uploads(catalog).add(upload("r3", "s1", 11, 15, overlap_min=1))
    found = await catalog.database.read(lambda connection: stored_between(connection, T0, T0.plus(60 * MINUTE)))
    minutes = {(one.recorder_id, one.session_id): one.recorded_ms / MINUTE for one in found}
    assert minutes == {("r1", "s1"): 2.0, ("r2", "s1"): 1.0, ("r3", "s1"): 5.0}
