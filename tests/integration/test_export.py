"""An evidence package made of real footage, proved by the verifier that lies in it, and by nothing of ours."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import av
import msgspec
import pytest

from domain.clock import Instant, SystemClock
from domain.errors import IntegrityError, InvalidInput
from domain.findings import Finding, Message
from storage.export import sheet
from storage.export.package import Exporter, Request
from storage.ledger.entry import Entry
from storage.ledger.keys import load_keys
from storage.ledger.notary import Notary
from tests.streams.footage import START, device, footage
from tests.streams.store_media import Site, end_feed, publish, site

WHY = Request(
    by="李四",
    purpose="案件证据",
    party="某某<医疗>门诊部",
    officers=["甲", "乙"],
    approved_by="张三",
    document="卫监〔2026〕12号",
    clauses=["W-AV 第三十条"],
)
GAP_S = 7
FLIPS = int(os.environ.get("FLIPS", "60"))


@asynccontextmanager
async def stored(folder: Path) -> AsyncIterator[Site]:
    """Two feeds of a recorder in the store, with nothing in the seconds between them."""
    async with site(folder) as here:
        one = device(fixed=False, audio=True)
        later = START.plus(12_000 + GAP_S * 1000)
        for feed, start in (("f1", START), ("f2", later)):
            for number, (event, data) in enumerate(footage(one, 12, start)):
                named = msgspec.structs.replace(event, feed_id=feed)
                await publish(here.bus, named, data, starts=number % 2 == 0)
            await end_feed(here.bus, one.id, feed)
        async with here.worker() as worker:
            await here.until_committed(worker)
        yield here


def drift(began_at: Instant, ended_at: Instant | None = None) -> Finding:
    return Finding(
        id="c" * 32,
        kind="clock.drift",
        status="opened" if ended_at is None else "closed",
        severity="warning",
        recorder_id="dev-1",
        began_at=began_at,
        ended_at=ended_at,
        detected_at=began_at,
        evidence={"offset_s": -7.5},
        clauses=[],
        message=Message(key="clock.drift", params={}),
    )


def exporter(here: Site) -> Exporter:
    keys = load_keys(here.folder / "ledger.key", "test.example/ledger")
    return Exporter(here.ledger, here.store, keys, SystemClock(), sheet.write)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    asyncio.run(make(folder))
    return folder


async def make(folder: Path) -> None:
    async with stored(folder) as here:
        await here.ledger.append([Entry(kind="access", at=START, body={"by": str(number)}) for number in range(40)])
        keys = load_keys(folder / "ledger.key", "test.example/ledger")
        early = await Notary(here.ledger, keys, SystemClock()).make()
        assert early is not None
        (folder / "witness.txt").write_text(early.note, encoding="utf-8")
        (folder / "key.txt").write_text(f"{keys.signer.verifier}\n", encoding="utf-8")
        await exporter(here).make(
            folder / "package", "dev-1", "s1", WHY, clock=[drift(START.plus(-900_000), START), drift(START)]
        )


def verify(package: Path, *more: str) -> tuple[int, str]:
    """Run the verifier that lies in a package, with a Python that has nothing installed."""
    command = [sys.executable, "-I", "-S", str(package / "verify.py"), str(package), *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_a_whole_package_is_proved(made: Path) -> None:
    code, said = verify(made / "package", "--key", str(made / "key.txt"), "--witness", str(made / "witness.txt"))
    assert code == 0, said
    assert "agrees with the witness" in said
    assert not list(made.glob(".package*"))


def test_the_key_in_the_package_is_said_to_be_its_own(made: Path) -> None:
    code, said = verify(made / "package")
    assert code == 0
    assert "compare it with the organ's" in said


def test_originals_are_those_of_the_store_and_the_request_is_told(made: Path) -> None:
    told = json.loads((made / "package/package.json").read_text(encoding="utf-8"))
    for one in told["objects"]:
        data = (made / "package" / one["file"]).read_bytes()
        assert data == (made / "store/objects" / one["key"]).read_bytes()
    assert told["request"]["approved_by"] == "张三"
    assert told["clock"] == [{"from": START.rfc3339(), "offset_s": -7.5}]
    (gap,) = told["gaps"]
    assert gap["seconds"] == pytest.approx(GAP_S, abs=0.6)


def test_the_playable_copy_keeps_every_picture_and_the_pause(made: Path) -> None:
    (play,) = sorted((made / "package/play").iterdir())
    originals = sorted((made / "package/objects").iterdir())
    with av.open(str(play)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        times = [float((packet.pts or 0) * packet.time_base) for packet in packets]
    kept = [unit for path in originals for unit in _pictures(path)]
    assert [bytes(packet) for packet in packets] == kept
    steps = [after - before for before, after in pairwise(times)]
    assert max(steps) == pytest.approx(GAP_S + 0.5, abs=0.3)
    assert sorted(steps)[-2] < 1.0
    with av.open(str(play)) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(kept)


def _pictures(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def test_the_sheet_says_who_took_what_out_and_what_is_missing(made: Path) -> None:
    page = (made / "package/sheet.html").read_text(encoding="utf-8")
    for text in (
        "某某&lt;医疗&gt;门诊部",
        "甲、乙",
        "李四",
        "张三",
        "卫监〔2026〕12号",
        "W-AV 第三十条",
        "原因未记录",
        "秒处停",
    ):
        assert text in page
    assert (made / "package/sheet.pdf").read_bytes().startswith(b"%PDF-")
    assert "提取人：李四" in (made / "package/label.txt").read_text(encoding="utf-8")
    assert "<医疗>" not in page


def flip(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def drop_object(package: Path) -> None:
    """Also from `package.json`, as somebody would who wants it not to be missed."""
    told = json.loads((package / "package.json").read_text(encoding="utf-8"))
    (package / told["objects"].pop(1)["file"]).unlink()
    (package / "package.json").write_text(json.dumps(told), encoding="utf-8")


def swap_objects(package: Path) -> None:
    one, two, *_ = sorted((package / "objects").iterdir())
    other = one.with_name("other")
    one.rename(other)
    two.rename(one)
    other.rename(two)


def truncate_object(package: Path) -> None:
    one = min((package / "objects").iterdir())
    one.write_bytes(one.read_bytes()[:-1000])


def hide_gap(package: Path) -> None:
    told = json.loads((package / "package.json").read_text(encoding="utf-8"))
    told["gaps"] = []
    (package / "package.json").write_text(json.dumps(told), encoding="utf-8")


def reorder_entries(package: Path) -> None:
    path = package / "ledger/entries.ndjson"
    path.write_text("".join(reversed(path.read_text(encoding="utf-8").splitlines(keepends=True))), encoding="utf-8")


def cut_entries(package: Path) -> None:
    path = package / "ledger/entries.ndjson"
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:-1]), encoding="utf-8")


def add_file(package: Path) -> None:
    (package / "objects/99999-more.mp4").write_bytes(b"more")


def replace_verifier(package: Path) -> None:
    path = package / "sheet.html"
    path.write_text("another sheet", encoding="utf-8")


def lose_checkpoint(package: Path) -> None:
    (package / "ledger/checkpoint.txt").unlink()


def link_object(package: Path) -> None:
    one = min((package / "objects").iterdir())
    elsewhere = package.parent / "elsewhere.mp4"
    shutil.copy(one, elsewhere)
    one.unlink()
    one.symlink_to(elsewhere)


@pytest.mark.parametrize(
    "harm",
    [
        drop_object,
        swap_objects,
        truncate_object,
        hide_gap,
        reorder_entries,
        cut_entries,
        add_file,
        replace_verifier,
        lose_checkpoint,
        link_object,
    ],
)
def test_what_was_done_to_a_package_is_found(made: Path, tmp_path: Path, harm: Callable[[Path], None]) -> None:
    package = Path(shutil.copytree(made / "package", tmp_path / "package"))
    harm(package)
    code, said = verify(package, "--key", str(made / "key.txt"))
    assert code == 1, said
    assert "NOT VERIFIED" in said


def test_every_flipped_bit_is_found(made: Path, tmp_path: Path) -> None:
    """In this process, for speed; `verify.py` in the package is these very lines."""
    from storage.export import verifier

    chance = random.Random(20260302)
    key = str(made / "key.txt")
    package = Path(shutil.copytree(made / "package", tmp_path / "package"))
    files = sorted(path for path in package.rglob("*") if path.is_file())
    for _ in range(FLIPS):
        path = chance.choice(files)
        before = path.read_bytes()
        flip(path, chance)
        assert verifier.main([str(package), "--key", key]) == 1, path
        path.write_bytes(before)
    assert verifier.main([str(package), "--key", key]) == 0


async def test_a_ledger_written_anew_with_our_own_key_is_not_the_witness_s(made: Path, tmp_path: Path) -> None:
    async with stored(tmp_path) as here:
        shutil.copy(made / "ledger.key", tmp_path / "ledger.key")
        forged = [Entry(kind="access", at=START, body={"by": f"not {number}"}) for number in range(40)]
        await here.ledger.append(forged)  # as many entries as the witness saw, and signed by the same key
        keys = load_keys(tmp_path / "ledger.key", "test.example/ledger")
        await Notary(here.ledger, keys, SystemClock()).make()
        await exporter(here).make(tmp_path / "package", "dev-1", "s1", WHY)
    key = str(made / "key.txt")
    assert verify(tmp_path / "package", "--key", key)[0] == 0
    code, said = verify(tmp_path / "package", "--key", key, "--witness", str(made / "witness.txt"))
    assert code == 1
    assert "not the one that the witness saw" in said


async def test_nothing_is_given_out_when_an_original_is_not_what_it_was(tmp_path: Path) -> None:
    async with stored(tmp_path) as here:
        (row, *_) = (await here.catalog.list_segments(limit=1)).items
        path = tmp_path / "store/objects" / row.key
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.chmod(0o600)
        path.write_bytes(data)
        with pytest.raises(IntegrityError, match=row.key):
            await exporter(here).make(tmp_path / "package", "dev-1", "s1", WHY)
        assert not [entry async for _, entry in here.ledger.read() if b'"export"' in entry]
    assert not any("package" in name for name in os.listdir(tmp_path))


async def test_only_the_part_that_is_asked_for(tmp_path: Path) -> None:
    async with stored(tmp_path) as here:
        told = await exporter(here).make(
            tmp_path / "package", "dev-1", "s1", WHY, from_at=START, to_at=START.plus(3_000)
        )
        assert {one.feed_id for one in told.objects} == {"f1"}
        with pytest.raises(InvalidInput, match="session"):
            await exporter(here).make(tmp_path / "other", "dev-1", "no-such", WHY)
        with pytest.raises(InvalidInput, match="there already"):
            await exporter(here).make(tmp_path / "package", "dev-1", "s1", WHY)
    assert verify(tmp_path / "package")[0] == 0
    assert Instant.parse(told.to or "") == START.plus(3_000)
