"""`liuhen hold` and `liuhen retention`: a decision stands in the ledger, and is done by whoever follows it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

import liuhen
from domain.clock import Instant, ManualClock, SystemClock
from storage.ledger.checkpoint import open_checkpoint
from storage.ledger.entry import decode
from storage.ledger.keys import load_keys
from storage.ledger.merkle import leaf_hash, verify_inclusion
from storage.ledger.notary import Notary
from tests.storage.retention_house import DAY_MS, RetentionHouse

T = TypeVar("T")
ON_S1 = ("--recorder", "cam-1", "--session", "s1")
WHO = ("--by", "李四", "--reason", "复核")
SECOND = ("--by", "王五", "--reason", "同意")


class Place:
    """A data folder, and the command line in it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], clock: ManualClock) -> None:
        self.folder = folder
        self.clock = clock
        self._capsys = capsys

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        self._capsys.readouterr()
        code = liuhen.main(arguments)
        said = self._capsys.readouterr()
        return code, said.out.strip(), said.err

    def inside(self, work: Callable[[RetentionHouse], Coroutine[Any, Any, T]]) -> T:
        """What the services do meanwhile."""

        async def do() -> T:
            house = await RetentionHouse.on_disk(self.folder, "zhanhe", self.clock)
            try:
                return await work(house)
            finally:
                await house.close()

        return asyncio.run(do())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIUHEN_STORE", f"file:{tmp_path}/store")
    monkeypatch.setenv("LIUHEN_CATALOG", f"sqlite:///{tmp_path}/catalog.db")
    monkeypatch.setenv("LIUHEN_OFFICE", f"sqlite:///{tmp_path}/office.db")
    monkeypatch.setenv("LIUHEN_LEDGER", f"sqlite:///{tmp_path}/ledger.db")
    made = Place(tmp_path, capsys, ManualClock(SystemClock().now()))
    made.inside(lambda house: house.segment())
    return made


async def follow(house: RetentionHouse) -> list[bool]:
    await house.retention.follow()
    return await house.held(*(await house.catalog.list_segments()).items)


def test_a_hold_is_set_listed_and_lifted(place: Place) -> None:
    code, one, _ = place.run("hold", "set", *ON_S1, *WHO, "--case", "7号")
    assert (code, len(one)) == (0, 32)
    assert place.inside(follow) == [True]
    code, listed, _ = place.run("hold", "list", "--recorder", "cam-1")
    assert code == 0
    assert json.loads(listed)["id"] == one
    assert (json.loads(listed)["origin"], json.loads(listed)["ref"]) == ("case", "7号")
    code, _, said = place.run("hold", "release", one, *WHO)
    assert (code, "somebody else confirms" in said) == (0, True)
    code, _, error = place.run("hold", "confirm", one, *WHO)
    assert (code, "a second person" in error) == (2, True)
    assert place.inside(follow) == [True], "one person alone lifts nothing"
    assert place.run("hold", "refuse", one, *WHO)[0] == 0
    code, _, error = place.run("hold", "confirm", one, *SECOND)
    assert (code, "nobody has asked" in error) == (2, True)
    assert place.run("hold", "release", one, *WHO)[0] == 0
    assert place.run("hold", "confirm", one, *SECOND)[0] == 0
    assert place.inside(follow) == [False]
    assert place.run("hold", "list", "--recorder", "cam-1")[1] == ""
    assert place.run("hold", "list", "--recorder", "cam-1", "--session", "s1", "--all")[1] != ""
    code, _, error = place.run("hold", "release", one, *WHO)
    assert (code, "no hold" in error) == (2, True)


def test_a_class_and_why_footage_is_still_there(place: Place) -> None:
    assert place.run("retention", "why", *ON_S1)[1].endswith("\t-\tclass_unsettled,locked")
    assert place.run("retention", "classify", *ON_S1, *WHO, "--class", "evidence")[0] == 0
    place.inside(follow)
    code, _, error = place.run("retention", "classify", *ON_S1, *WHO, "--class", "ordinary")
    assert (code, "only by a signed decision" in error) == (2, True)
    assert place.run("retention", "classify", *ON_S1, *WHO, "--class", "ordinary", "--document", "9号")[0] == 0
    place.inside(follow)
    assert place.run("retention", "why", *ON_S1)[1].endswith("\tnot_due,locked")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("hold", "set", "--recorder", "cam-1", "--session", "none", *WHO), "nothing is known of 'none'"),
        (("hold", "set", "--recorder", "CAM", "--session", "s1", *WHO), "recorder_id"),
        (
            (
                *("hold", "set", *ON_S1, *WHO),
                *("--from", "2026-05-04T08:00:00+08:00", "--to", "2026-05-03T08:00:00+08:00"),
            ),
            "before the span begins",
        ),
        (("retention", "delete", *ON_S1, *WHO), "nothing of it awaits"),
        (("retention", "receipt", "segments/none"), "was not deleted"),
    ],
)
def test_what_cannot_be_done_is_said(place: Place, arguments: tuple[str, ...], said: str) -> None:
    code, out, error = place.run(*arguments)
    assert (code, out) == (2, "")
    assert said in error


def test_no_catalogue_is_a_missing_service(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIUHEN_CATALOG", f"sqlite:///{place.folder}/none.db")
    code, _, error = place.run("retention", "due")
    assert (code, "there is no" in error) == (3, True)
    assert not (place.folder / "none.db").exists()


def test_from_the_list_to_the_receipt(place: Place) -> None:
    """Zhanhe: a person looks at what has come to its end, and approves; the receipt leads to a signed checkpoint."""
    place.run("retention", "classify", *ON_S1, *WHO, "--class", "ordinary")
    place.clock.advance(2 * 366 * 86_400)
    place.inside(lambda house: house.expire())
    real = SystemClock().now

    def later(_: SystemClock) -> Instant:
        return real().plus(2 * 366 * DAY_MS + DAY_MS)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SystemClock, "now", later)
        listed = json.loads(place.run("retention", "due")[1])
        assert (listed["state"], listed["session_id"]) == ("review", "s1")
        assert place.run("retention", "delete", *ON_S1, *WHO)[:2] == (0, "1")
    place.clock.advance(2 * 86_400)
    assert place.inside(lambda house: house.expire()) == {"deleted": 1}
    assert place.run("retention", "due")[1] == ""
    assert json.loads(place.run("retention", "due", "--all")[1])["state"] == "deleted"
    code, _, error = place.run("retention", "receipt", listed["key"])
    assert (code, "the next checkpoint will sign it" in error) == (2, True)
    keys = load_keys(place.folder / "ledger.key", "liuhen.test/ledger")
    place.inside(lambda house: Notary(house.ledger, keys, house.clock).make())
    code, out, _ = place.run("retention", "receipt", listed["key"])
    assert code == 0
    receipt = json.loads(out)
    entry = decode(receipt["entry"].encode())
    assert (entry.kind, entry.body["stage"], entry.body["key"]) == ("deletion", "done", listed["key"])
    assert (entry.body["by"], entry.body["reason"]) == ("李四", "复核")
    head = open_checkpoint(receipt["checkpoint"], keys.trusted)
    proof = [bytes.fromhex(one) for one in receipt["proof"]]
    assert verify_inclusion(leaf_hash(receipt["entry"].encode()), receipt["index"], head.size, proof, head.root)
