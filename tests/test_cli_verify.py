"""`liuhen verify` and `liuhen catalog rebuild` as a person or a script uses them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.storage.verify_case import Case, case

_LIUHEN = str(Path(sys.executable).with_name("liuhen"))


def liuhen(one: Case, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIUHEN_")}
    settings = {
        "LIUHEN_STORE": one.settings.store,
        "LIUHEN_LEDGER": one.settings.ledger,
        "LIUHEN_LEDGER_KEY_FILE": str(one.folder / "ledger.key"),
        "LIUHEN_CHECKPOINT_COPIES": one.settings.checkpoint_copies,
        **{f"LIUHEN_{name.upper()}": value for name, value in more.items()},
    }
    return subprocess.run(
        [_LIUHEN, *arguments], cwd=one.folder, env={**clean, **settings}, capture_output=True, text=True, timeout=90
    )


async def test_what_verify_says_and_answers(tmp_path: Path) -> None:
    async with case(tmp_path) as one:
        await one.fill()
        done = liuhen(one, "verify", "--all")
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == f"5 entries, 4 objects, {sum(row.bytes for row in one.rows)} bytes: no fault\n"
        gone = one.rows[2]
        (tmp_path / "store" / "objects" / gone.key).unlink()
        done = liuhen(one, "verify")
        assert (done.returncode, done.stdout.splitlines()) == (
            1,
            [f"missing {gone.key}: version of this key is not in the store"],
        )
        (told,) = map(json.loads, liuhen(one, "verify", "--session", "cam-2/s7", "--json").stdout.splitlines())
        assert (told["fault"], told["where"], told["recorder_id"]) == ("missing", gone.key, "cam-2")
        assert liuhen(one, "verify", "--session", "s2").returncode == 0


async def test_the_keys_that_one_trusts_oneself(tmp_path: Path) -> None:
    async with case(tmp_path) as one:
        await one.fill()
        kept = tmp_path / "kept.pub"
        kept.write_bytes((tmp_path / "ledger.key.pub").read_bytes())
        assert liuhen(one, "verify", "--keys", str(kept)).returncode == 0
        kept.write_text("liuhen/ledger+8d5a3b8e+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n")
        assert liuhen(one, "verify", "--keys", str(kept)).returncode == 2
        assert liuhen(one, "verify", "--keys", str(tmp_path / "none")).returncode == 2


@pytest.mark.parametrize("what", ["ledger", "key"])
async def test_what_is_not_there_is_no_answer(tmp_path: Path, what: str) -> None:
    async with case(tmp_path) as one:
        if what == "ledger":
            done = liuhen(one, "verify", ledger=f"sqlite:///{tmp_path}/other.db")
            assert (done.returncode, "other.db is not there" in done.stderr) == (3, True)
            assert not (tmp_path / "other.db").exists()
        else:
            done = liuhen(one, "verify", ledger_key_file=str(tmp_path / "other.key"))
            assert (done.returncode, "other.key.pub" in done.stderr) == (2, True)


async def test_a_catalogue_is_made_anew(tmp_path: Path) -> None:
    async with case(tmp_path) as one:
        await one.fill()
        places = {"catalog": f"sqlite:///{tmp_path}/new.db", "bus": f"embedded:{tmp_path}/log"}
        done = liuhen(one, "catalog", "rebuild", **places)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("4 segments, 0 of them deleted")
        again = liuhen(one, "catalog", "rebuild", **places)
        assert (again.returncode, "name an empty database" in again.stderr) == (2, True)
