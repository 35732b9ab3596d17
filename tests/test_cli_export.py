"""`liuhen export` as a person uses it: refused without an approval, and a package that bare Python proves."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from storage.ledger.entry import decode
from tests.streams.footage import START, device, footage
from tests.streams.store_media import end_feed, publish, site

LIUHEN = str(Path(sys.executable).with_name("liuhen"))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("house")
    asyncio.run(fill(folder))
    return folder


async def fill(folder: Path) -> None:
    """Store footage of one session of dev-1, and of a session that two recorders have."""
    async with site(folder) as here:
        made = footage(device(fixed=False), 4)
        for recorder, session in (("dev-1", "s1"), ("dev-1", "both"), ("dev-2", "both")):
            for event, data in made:
                feed = f"{recorder}-{session}"
                told = msgspec.structs.replace(event, recorder_id=recorder, session_id=session, feed_id=feed)
                await publish(here.bus, told, data, starts=told.seq == 0)
            await end_feed(here.bus, recorder, f"{recorder}-{session}")
        async with here.worker() as worker:
            await here.until_committed(worker)


def export(house: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "LIUHEN_STORE": f"file:{house}/store",
        "LIUHEN_LEDGER": f"sqlite:///{house}/ledger.db",
        "LIUHEN_LEDGER_KEY_FILE": f"{house}/ledger.key",
        "LIUHEN_CATALOG": f"sqlite:///{house}/catalog.db",
    }
    command = [LIUHEN, "export", *arguments]
    return subprocess.run(
        command, cwd=house, env={**os.environ, **settings}, capture_output=True, text=True, timeout=90, check=False
    )


def test_without_an_approval_nothing_is_made_and_the_article_is_named(house: Path) -> None:
    done = export(house, "--session", "s1", "--out", "refused")
    assert done.returncode == 2
    assert "第三十条" in done.stderr
    assert "approved-by" in done.stderr
    assert not (house / "refused").exists()


def test_a_package_is_made_and_proved(house: Path) -> None:
    done = export(house, "--session", "s1", "--out", "package", "--by", "李四", "--approved-by", "张三")
    assert (done.returncode, done.stderr) == (0, "")
    key = done.stdout.split(", ")[-1].strip()
    command = [sys.executable, "-I", "-S", "package/verify.py", "--key", key]
    proved = subprocess.run(command, cwd=house, capture_output=True, text=True, timeout=60, check=False)
    assert proved.returncode == 0, proved.stdout
    told = json.loads((house / "package/package.json").read_text(encoding="utf-8"))
    assert told["request"]["clauses"] == ["W-AV 第三十条"]
    assert told["recorder_id"] == "dev-1"
    lines = (house / "package/ledger/entries.ndjson").read_text(encoding="utf-8").splitlines()
    assert decode(json.loads(lines[-1])["line"].encode()).kind == "export"


def test_a_session_that_two_recorders_have_must_be_named_whole(house: Path) -> None:
    done = export(house, "--session", "both", "--out", "both", "--approved-by", "张三")
    assert done.returncode == 2
    assert "dev-1, dev-2" in done.stderr
    assert export(house, "--session", "dev-2/both", "--out", "both", "--approved-by", "张三").returncode == 0


def test_what_is_not_there_is_said(house: Path) -> None:
    late = START.plus(86_400_000).rfc3339()
    for arguments in (("--session", "no-such"), ("--session", "dev-1/s1", "--from", late), ("--session", "a b")):
        done = export(house, *arguments, "--out", "none", "--approved-by", "张三")
        assert done.returncode == 2, arguments
        assert "session" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (house / "none").exists()
