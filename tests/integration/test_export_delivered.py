"""Files that were delivered later in an evidence package: the originals, a playable copy, both times, and the proof."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from domain.clock import Instant, SystemClock
from policies.local import default
from storage.backfill import Backfill, Delivery
from storage.catalog.rows import UploadRow
from storage.catalog.uploads import Uploads
from storage.ledger.entry import Entry
from tests.dashboards.test_delivered_views import pictures, recorded
from tests.integration.test_export import GAP_S, WHY, exporter, stored, verify
from tests.streams.footage import START
from tests.streams.store_media import Site

GAP_FROM = START.plus(12_000)


async def deliver(here: Site, data: bytes, media: str, start: Instant, session: str = "s1") -> UploadRow:
    path = here.folder / "delivered.bin"
    path.write_bytes(data)
    one = Delivery(
        path=path,
        recorder_id="dev-1",
        session_id=session,
        from_at=start,
        to_at=start.plus(GAP_S * 1000),
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        media=media,
        via="folder",
        delivered_at=SystemClock().now(),
    )
    backfill = Backfill(here.store, Uploads(here.catalog), here.ledger, SystemClock(), default())
    return await backfill.run(one, "wucheng")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    asyncio.run(make(folder))
    return folder


async def make(folder: Path) -> None:
    async with stored(folder) as here:
        await deliver(here, recorded(folder, "mp4"), "mp4", GAP_FROM)
        await deliver(here, b"no picture at all", "bin", GAP_FROM)
        await deliver(here, recorded(folder, "avi"), "avi", START, session="s2")
        # What was delivered into somebody else's store is told in the ledger too, and is no object of ours.
        await here.ledger.append(
            [Entry(kind="backfill", at=START, recorder_id="dev-1", session_id="s1", body={"sha256": "0" * 64})]
        )
        await exporter(here).make(folder / "package", "dev-1", "s1", WHY)
        await exporter(here).make(folder / "second", "dev-1", "s2", WHY)


def told(made: Path, name: str = "package") -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = json.loads((made / name / "package.json").read_text(encoding="utf-8"))
    return found


def delivered(made: Path) -> dict[str, object]:
    return next(one for one in told(made)["objects"] if one.get("media") == "mp4")


def test_the_package_is_proved_and_the_original_is_in_it_as_it_came(made: Path) -> None:
    code, said = verify(made / "package")
    assert code == 0, said
    one = delivered(made)
    assert (made / "package" / str(one["file"])).read_bytes() == (made / "recorded.mp4").read_bytes()
    assert (one["from"], one["via"], "feed_id" in one) == (GAP_FROM.rfc3339(), "folder", False)
    assert Instant.parse(str(one["delivered_at"])) > Instant.parse(str(one["to"]))
    assert told(made)["gaps"] == [], "nothing is missing where a file was delivered"
    assert verify(made / "second")[0] == 0


def test_it_has_a_playable_copy_of_its_own(made: Path) -> None:
    plays = {str(one["file"]): one["more"] for one in told(made)["files"] if one["what"] == "play"}
    assert len(plays) == 2, "the live footage, and the file that can be shown"
    name = next(name for name, more in plays.items() if more["from"] == GAP_FROM.rfc3339())  # type: ignore[index]
    assert pictures(made / "package" / name) == pictures(made / "recorded.mp4")
    (only,) = (made / "second/play").iterdir()
    assert only.suffix == ".mov", "its sound has no place in MP4"
    assert pictures(only) == pictures(made / "recorded.avi")


def test_the_sheet_says_when_it_came(made: Path) -> None:
    text = (made / "package/sheet.html").read_text(encoding="utf-8")
    day = Instant.parse(str(delivered(made)["delivered_at"])).datetime()
    assert "后补交付" in text
    assert f"{day:%Y-%m-%d %H:%M:%S}" in text


def altered(package: Path, one: dict[str, object]) -> None:
    path = package / str(one["file"])
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def gone(package: Path, one: dict[str, object]) -> None:
    (package / str(one["file"])).unlink()


def left_out(package: Path, one: dict[str, object]) -> None:
    gone(package, one)
    path = package / "package.json"
    said = json.loads(path.read_text(encoding="utf-8"))
    said["objects"] = [other for other in said["objects"] if other["key"] != one["key"]]
    path.write_text(json.dumps(said), encoding="utf-8")


def backdated(package: Path, one: dict[str, object]) -> None:
    path = package / "package.json"
    said = json.loads(path.read_text(encoding="utf-8"))
    for other in said["objects"]:
        if other["key"] == one["key"]:
            other["delivered_at"] = other["to"]
    path.write_text(json.dumps(said), encoding="utf-8")


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (altered, "not the bytes that were exported"),
        (gone, "missing"),
        (left_out, "in the ledger, and not in the package"),
        (backdated, "not what the ledger says: delivered_at"),
    ],
)
def test_what_was_done_to_it_is_found(
    made: Path, tmp_path: Path, harm: Callable[[Path, dict[str, object]], None], word: str
) -> None:
    package = tmp_path / "package"
    shutil.copytree(made / "package", package)
    harm(package, delivered(made))
    code, said = verify(package)
    assert code == 1
    assert word in said
