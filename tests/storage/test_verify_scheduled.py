"""The check that runs by itself: what it says, when it begins, how it goes on, and its pace."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from domain.clock import ManualClock, SystemClock
from domain.errors import BusUnavailable
from domain.events import Integrity
from domain.wire import decode_event, encode
from storage.verify.fault import NAMES, Fault
from storage.verify.scheduled import Scheduled, event_of
from storage.verify.verifier import Rest, Verifier
from tests.storage.verify_case import Case, case

DAY_S = 86_400.0


class Diary:
    """What a scheduled check says."""

    def __init__(self) -> None:
        self.told: list[Integrity] = []
        self.is_away = False

    async def tell(self, event: Integrity) -> None:
        if self.is_away:
            raise BusUnavailable("away")
        self.told.append(event)


def scheduled(one: Case, diary: Diary, *, bytes_per_s: int = 0) -> Scheduled:
    def make(rest: Rest) -> Verifier:
        places = one.keeper.copier.places
        return Verifier(one.store, one.ledger, one.keys.trusted, places, one.clock, rest=rest)

    return Scheduled(make, diary.tell, one.clock, one.folder, every_s=DAY_S, bytes_per_s=bytes_per_s)


def figure(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


async def test_its_faults_are_events_and_figures(tmp_path: Path) -> None:
    async with case(tmp_path) as one:
        await one.fill()
        diary = Diary()
        assert await scheduled(one, diary).run() == 0
        succeeded = figure("liuhen_verify_last_success_timestamp_seconds")
        assert abs(succeeded - one.clock.now() / 1000) < 60
        assert (diary.told, figure("liuhen_verify_faults")) == ([], 0)
        (tmp_path / "store" / "objects" / one.rows[2].key).unlink()
        one.sql("UPDATE ledger_checkpoints SET note = 'rubbish' WHERE size = 4")
        found = await scheduled(one, diary).run()
        assert found == figure("liuhen_verify_faults") == len(diary.told)
        assert {(event.recorder_id, event.fault) for event in diary.told} == {
            ("ledger", "ledger"),
            ("cam-2", "missing"),
        }
        assert {event.key for event in diary.told} >= {"checkpoint 4", one.rows[2].key}
        assert figure("liuhen_verify_last_success_timestamp_seconds") == succeeded


async def test_when_it_begins(tmp_path: Path) -> None:
    async with case(tmp_path, clock=ManualClock(SystemClock().now())) as one:
        await one.fill()
        one.wait()
        (tmp_path / "store" / "objects" / one.rows[2].key).unlink()
        diary = Diary()
        for expected in (1, 1):
            await scheduled(one, diary).run_if_due()
            assert len(diary.told) == expected
        one.wait(DAY_S)
        await scheduled(one, diary).run_if_due()
        assert len(diary.told) == 2


async def test_what_was_cut_off_goes_on(tmp_path: Path) -> None:
    async with case(tmp_path, clock=ManualClock(SystemClock().now())) as one:
        await one.fill()
        one.wait()
        (tmp_path / "store" / "objects" / one.rows[2].key).unlink()
        diary = Diary()
        diary.is_away = True
        with pytest.raises(BusUnavailable):
            await scheduled(one, diary).run()
        assert (tmp_path / "verify-scheduled.state").exists()
        diary.is_away = False
        await scheduled(one, diary).run_if_due()
        assert [event.fault for event in diary.told] == ["missing"]
        assert not (tmp_path / "verify-scheduled.state").exists()


async def test_it_reads_no_faster_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with case(tmp_path, clock=ManualClock(SystemClock().now())) as one:
        await one.fill()
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        monkeypatch.setattr("storage.verify.scheduled.asyncio.sleep", sleep)
        await scheduled(one, Diary(), bytes_per_s=1000).run()
        assert slept[-1] == pytest.approx(sum(row.bytes for row in one.rows) / 1000)


@pytest.mark.parametrize("name", NAMES)
def test_every_fault_has_an_event(name: str) -> None:
    fault = Fault(name, "checkpoint 4 in " + "x" * 300, "?")  # type: ignore[arg-type]
    event = event_of(fault, SystemClock().now())
    assert decode_event(encode(event)) == event
