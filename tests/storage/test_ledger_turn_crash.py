"""A turn of keeping the ledger, cut off before and after everything it writes; the next life must find its way.

The steps are those of docs/design/custody.md and `storage/ledger/keeper.py`: sign, write, copy, stamp.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from domain.clock import SystemClock
from domain.settings import Settings
from storage.ledger.batches import read_batches
from storage.ledger.check import Check
from storage.ledger.keeper import Keeper, KeeperState, keeper
from storage.ledger.keys import Keys
from storage.ledger.ledger import Ledger
from storage.objects.connect import connect
from storage.objects.port import ObjectStore
from tests.storage.ledger_child import entry
from tests.storage.ledger_services import TimeStampingAuthority, Witness
from tests.storage.test_ledger_checkpoint import KEY, key_of

KEYS = Keys(KEY, [KEY.verifier])
GROWS = (4, 3)
POINTS = 8
"""What a turn writes: a checkpoint, a batch and its mark, a copy, two marks of copies, a stamp in two places."""


class Crash(BaseException):
    """The end of a life."""


class Life:
    """One process's ledger and store; everything that they write is counted, and one of it is its last."""

    def __init__(self, ledger: Ledger, store: ObjectStore, keeps: Keeper, last: int, *, done: bool) -> None:
        self.ledger, self.store, self.keeps = ledger, store, keeps
        self.writes = 0
        self._last, self._done = last, done
        self.is_over = False

    async def __call__(self, write: Callable[[Any], Any], work: Any) -> Any:
        if self.is_over:
            raise Crash
        self.writes += 1
        self.is_over = self.writes == self._last
        if self.is_over and not self._done:
            raise Crash
        found = await write(work)
        if self.is_over:
            raise Crash
        return found

    async def end(self) -> None:
        await self.keeps.close()
        await self.ledger.close()
        await self.store.close()


async def begin(settings: Settings, monkeypatch: pytest.MonkeyPatch, last: int = 0, *, done: bool = False) -> Life:
    ledger, store = await Ledger.connect(settings.ledger), connect(settings)
    life = Life(ledger, store, keeper(settings, ledger, KEYS, store, SystemClock()), last, done=done)
    size = await ledger.size()
    await ledger.append([entry("cam-1", number) for number in range(size, size + GROWS[bool(size)])])
    for owner, name in ((ledger, "_write"), (store, "_run")):
        write = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda work, write=write: life(write, work))
    return life


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with TimeStampingAuthority(tmp_path_factory.mktemp("tsa") / "tsa") as service:
        yield service


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("last", range(1, POINTS + 1))
async def test_a_turn_that_is_cut_off(
    tmp_path: Path, tsa: TimeStampingAuthority, monkeypatch: pytest.MonkeyPatch, last: int, done: bool
) -> None:
    with Witness(KEY.verifier, key_of(7, "witness.example.org")) as witness:
        settings = Settings(
            store=f"file:{tmp_path}/store",
            ledger=f"sqlite:///{tmp_path}/ledger.db",
            checkpoint_copies=f"store,{witness.url}",
            tsa_url=tsa.url,
            tsa_certificates=str(tsa.root),
        )
        first = await begin(settings, monkeypatch, last, done=done)
        with pytest.raises(Crash):
            await first.keeps.turn()
        await first.end()
        second = await begin(settings, monkeypatch)
        state = await second.keeps.turn()
        await _see_that_all_is_there(second, state, witness)
        await second.end()


async def _see_that_all_is_there(life: Life, state: KeeperState, witness: Witness) -> None:
    assert (state.troubles, state.faults, state.unwritten) == ({}, {}, 0)
    assert [(place.waiting, place.trouble) for place in state.places] == [(0, ""), (0, "")]
    newest = await life.ledger.latest_checkpoint()
    assert newest is not None
    assert newest.size == sum(GROWS)
    assert newest.timestamp is not None
    assert witness.seen is not None
    assert witness.seen.size == newest.size
    assert [pair async for pair in read_batches(life.store)] == [pair async for pair in life.ledger.read()]
    check = Check(life.ledger, KEYS.trusted, life.keeps.copier.places, store=life.store)
    assert [str(fault) async for fault in check.run()] == []


async def test_the_points_are_all_there_are(
    tmp_path: Path, tsa: TimeStampingAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Witness(KEY.verifier, key_of(7, "witness.example.org")) as witness:
        settings = Settings(
            store=f"file:{tmp_path}/store",
            ledger=f"sqlite:///{tmp_path}/ledger.db",
            checkpoint_copies=f"store,{witness.url}",
            tsa_url=tsa.url,
            tsa_certificates=str(tsa.root),
        )
        life = await begin(settings, monkeypatch)
        await life.keeps.turn()
        assert life.writes == POINTS
        await life.end()
