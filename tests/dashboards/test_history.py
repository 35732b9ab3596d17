"""Readings of a device and marks of its sessions: kept apart by slots, in the catalogue, from the log alone."""

from pathlib import Path

import pytest

from dashboards.projection import Fleet
from dashboards.unwritten import Unwritten
from domain.clock import Instant
from domain.events import Event, Explanation, SessionOpened, SessionStopped, Telemetry
from storage.catalog.catalog import Catalog
from storage.catalog.history import KEEP_READINGS_MS, History, Reading, ReadingsRow
from tests.dashboards.feeds import Log, at

MINUTE = 60


def said(minute: float, *, late: float = 0, fast_ms: int = 0, **values: float | bool) -> Telemetry:
    """Measured at that minute, sent `late` minutes after, by a clock that is so much ahead."""
    sent = at((minute + late) * MINUTE)
    measured = at(minute * MINUTE).plus(fast_ms)
    return Telemetry(at=sent, recorder_id="r", device_at=measured, sent_at=sent.plus(fast_ms), **values)  # type: ignore[arg-type]


def folded(*what: Event) -> Fleet:
    fleet, log = Fleet(), Log()
    for each in what:
        fleet.apply(log(each))
    return fleet


def test_a_slot_has_the_last_word_and_the_worst_signal() -> None:
    fleet = folded(
        said(1, battery_percent=90, signal_dbm=-60.0),
        said(5, battery_percent=89, signal_dbm=-95.0, charging=True, fast_ms=700),
        said(9, signal_dbm=-70.0, storage_free_bytes=1, storage_total_bytes=4),
        said(11, battery_percent=88),
    )
    readings = fleet.recorders["r"].readings
    assert list(readings.values()) == [
        Reading(int(at(0)), 0.89, True, 0.25, -95.0, 0),
        Reading(int(at(600)), 0.88, None, None, None, 0),
    ]


def test_a_batch_sent_late_counts_when_it_was_measured_and_two_hours_are_kept() -> None:
    fleet = folded(said(61, battery_percent=50), said(5, late=57, battery_percent=70))
    assert [(one.at, one.battery) for one in fleet.recorders["r"].readings.values()] == [
        (int(at(3600)), 0.5),
        (int(at(0)), 0.7),
    ]
    later = folded(said(5), said(70), said(125), said(6, late=120))
    assert sorted(later.recorders["r"].readings) == [int(at(4200)), int(at(7200))]


@pytest.fixture
async def catalog(tmp_path: Path):  # type: ignore[no-untyped-def]
    opened = await Catalog.connect(f"sqlite:///{tmp_path}/catalog.db")
    yield opened
    await opened.close()


async def written(catalog: Catalog, *what: Event) -> None:
    fleet, log, waiting = Fleet(), Log(), Unwritten()
    for each in what:
        change = fleet.apply(log(each))
        if change is not None:
            waiting.add(change, fleet)
            await waiting.write(catalog)


async def test_a_day_is_in_the_catalogue_and_the_log_read_again_changes_nothing(catalog: Catalog) -> None:
    story: list[Event] = [
        SessionOpened(at=at(0), recorder_id="r", session_id="s"),
        *(said(minute, battery_percent=100 - minute / 10) for minute in range(0, 300, 5)),
        SessionStopped(at=at(700), recorder_id="r", session_id="s", reason="officer", last_captured_at=at(690)),
        Explanation(at=at(800), recorder_id="r", session_id="s", method="written", cause="other", text="电", by="王"),
    ]
    history = History(catalog)
    for _ in range(2):
        await written(catalog, *story)
        found = await history.readings("r", at(0), at(6 * 3600))
        # All but the last slot, which is still being filled.
        assert [one.at for one in found][:29] == [int(at(600 * slot)) for slot in range(29)]
        assert found[3].battery == pytest.approx(0.965)
        assert [(row.kind, row.at) for row in await history.marks("r")] == [("stop", at(690)), ("explanation", at(800))]
    assert [one.at for one in await history.readings("r", at(1200), at(2400))] == [int(at(1200)), int(at(1800))]
    assert await history.readings("other", at(0), at(86_400)) == []
    assert await history.marks("r", session_id="other") == []
    assert [row.kind for row in await history.marks("r", from_at=at(690), to_at=at(800))] == ["stop"]


async def test_readings_are_kept_so_long(catalog: Catalog) -> None:
    history = History(catalog)
    old = Instant(at(0))
    for hour in (old, old.plus(KEEP_READINGS_MS), old.plus(KEEP_READINGS_MS + 3_600_000)):
        await history.keep_readings(ReadingsRow(recorder_id="r", hour_at=hour, readings=[Reading(int(hour))]))
    left = await history.readings("r", old, old.plus(2 * KEEP_READINGS_MS))
    assert [one.at for one in left] == [old.plus(KEEP_READINGS_MS), old.plus(KEEP_READINGS_MS + 3_600_000)]
