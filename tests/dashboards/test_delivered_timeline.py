"""Files that were delivered later stand on the timeline of their session, with both times."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dashboards.projection import Fleet
from dashboards.timeline import timeline, whose
from domain.wire import to_builtins
from storage.catalog.catalog import Catalog
from storage.catalog.register import Register
from storage.catalog.rows import SegmentRow, UploadRow
from storage.catalog.uploads import Uploads
from tests.dashboards.feeds import SHA, at, finding


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    opened = await Catalog.connect(f"sqlite:///{tmp_path}/catalog.db")
    yield opened
    await opened.close()


def common(key: str, start: float, end: float) -> dict[str, Any]:
    return {
        "key": key,
        "recorder_id": "cam-1",
        "session_id": "s1",
        "policy": "wucheng",
        "from_at": at(start),
        "to_at": at(end),
        "bytes": 1000,
        "sha256": SHA,
        "version_id": "",
        "retain_until": at(86_400),
    }


def segment(start: float, end: float) -> SegmentRow:
    more: dict[str, Any] = {
        "feed_id": "f1",
        "codec": "h264",
        "first_seq": 0,
        "last_seq": 0,
        "fragments": 1,
        "stored_at": at(end),
    }
    return SegmentRow(**common(f"segments/cam-1/{start}", start, end), **more)


def delivery(start: float, end: float, delivered: float) -> UploadRow:
    more: dict[str, Any] = {"media": "mp4", "via": "tus", "delivered_at": at(delivered), "stored_at": at(delivered + 5)}
    return UploadRow(**common(f"uploads/cam-1/{start}", start, end), **more, overlap_ms=0)


async def test_a_delivery_stands_where_it_was_captured_and_says_when_it_came(catalog: Catalog) -> None:
    for row in (segment(0, 60), segment(120, 180)):
        await catalog.add_segment(row)
    rows = [delivery(60, 90, 7200), delivery(90, 120, 7300)]
    for one in rows:
        await Uploads(catalog).add(one)
    await catalog.upsert_finding(finding(1, kind="recording.gap", began_at=at(60), ended_at=at(7210), status="closed"))
    for limit in (1, 2, 3, 100):
        items, cursor = [], None
        while True:
            page = await timeline(catalog, Fleet(), "cam-1", "s1", cursor=cursor, limit=limit)
            items += page.items
            if (cursor := page.cursor) is None:
                break
        assert [item.type for item in items] == ["segment", "delivery", "finding", "delivery", "segment"]
    told = to_builtins(items[1])
    assert (told["at"], told["to"]) == (at(60).rfc3339(), at(90).rfc3339())
    assert told["delivery"]["from_at"] == at(60).rfc3339()
    assert told["delivery"]["delivered_at"] == at(7200).rfc3339()
    await Register(catalog).deleted(rows[0].key, at(10_000))
    left = (await timeline(catalog, Fleet(), "cam-1", "s1", cursor=None, limit=100)).items
    assert [item.delivery for item in left if item.delivery] == [rows[1]]


async def test_a_session_of_which_only_a_delivery_is_there_is_found(catalog: Catalog) -> None:
    await Uploads(catalog).add(delivery(0, 60, 7200))
    assert await whose(catalog, Fleet(), "s1") == {"cam-1"}
