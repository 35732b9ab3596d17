"""What the wall shows of one recorder, when it must look again, and what stands first."""

import pytest

from dashboards.projection import Fleet
from dashboards.wall.counts import MAX_PLACES, count
from dashboards.wall.tile import LAG_MS, Seen, see
from domain.events import Event, SegmentStored, SessionOpened, SessionStopped, Telemetry
from domain.findings import Finding
from domain.registry import Registration
from tests.dashboards.feeds import SHA, Log, at, finding, fragment


def seen(second: float, *what: Event | Finding | Registration) -> Seen:
    fleet, log = Fleet(), Log()
    for each in (Registration(recorder_id="cam-1", kind="premises_camera", policy="wucheng", name="门"), *what):
        fleet.apply(log(each))
    return see(fleet.recorders["cam-1"], at(second))


def stored(first: float, last: float) -> SegmentStored:
    return SegmentStored(
        at=at(last), recorder_id="cam-1", session_id="s1", from_=at(first), to=at(last), key="k", version_id="",
        sha256=SHA, bytes=1,
    )  # fmt: skip


def telemetry(**said: float | bool) -> Telemetry:
    return Telemetry(at=at(1), recorder_id="cam-1", device_at=at(1), **said)  # type: ignore[arg-type]


def test_a_recorder_that_is_all_right_looks_the_same_while_media_comes() -> None:
    opened = SessionOpened(at=at(0), recorder_id="cam-1", session_id="s1", act="inspection")
    early = seen(3, opened, fragment(0))
    later = seen(41, opened, *(fragment(2 * n) for n in range(20)), stored(0, 30))
    assert early.tile == later.tile
    assert (early.tile.state, early.tile.rank, early.tile.act) == ("live", "live", "inspection")
    assert early.again_at == at(2 + 15) + 1, "then it would be silent"


def test_it_falls_silent_by_time_alone_and_says_since_when() -> None:
    tile, again_at = seen(20, fragment(0))
    assert (tile.state, tile.silent_since, tile.rank) == ("silent", at(2), "silent")
    assert again_at == at(0).plus(LAG_MS), "then it would be late for the store"
    stop = SessionStopped(at=at(3), recorder_id="cam-1", session_id="s1", reason="officer", last_captured_at=at(2))
    assert seen(20, fragment(0), stop).tile.state == "idle", "who stops is not silent"


def test_late_for_the_store() -> None:
    tile, again_at = seen(181, fragment(0))
    assert (tile.lagging_since, tile.rank) == (at(0), "silent")
    live = seen(200, fragment(0), fragment(198))
    assert (live.tile.state, live.tile.rank, live.tile.lagging_since) == ("live", "lagging", at(0))
    assert again_at > at(181), "it is late already"


@pytest.mark.parametrize(
    ("said", "low"),
    [
        ({"battery_percent": 19.0}, ("battery",)),
        ({"battery_percent": 19.0, "charging": True}, ()),
        ({"battery_percent": 20.0}, ()),
        ({"storage_free_bytes": 9, "storage_total_bytes": 100}, ("space",)),
        ({"battery_percent": 1.0, "storage_free_bytes": 0, "storage_total_bytes": 100}, ("battery", "space")),
    ],
)
def test_low(said: dict[str, float], low: tuple[str, ...]) -> None:
    assert seen(2, telemetry(**said)).tile.low == low


def test_worst_first() -> None:
    keys = {
        "critical long ago": seen(30, finding(1, began_at=at(1))),
        "critical": seen(30, finding(1, began_at=at(10))),
        "silent": seen(30, fragment(0)),
        "warning": seen(30, fragment(28), finding(1, kind="clock.drift", severity="warning"), stored(28, 30)),
        "lagging": seen(190, fragment(0), fragment(188)),
        "low": seen(30, telemetry(battery_percent=5)),
        "live": seen(30, fragment(28)),
        "idle": seen(30),
    }
    assert sorted(keys, key=lambda name: keys[name].tile.key) == list(keys)
    worst = keys["critical"].tile.trouble
    assert worst is not None
    assert (worst.kind, worst.began_at, keys["critical"].tile.counts) == ("recording.stalled", at(10), (1, 0, 0))


def test_counts_by_place_worst_first_and_not_without_end() -> None:
    fleet, log = Fleet(), Log()
    for number in range(60):
        name = f"cam-{number}"
        fleet.apply(log(Registration(recorder_id=name, kind="premises_camera", policy="wucheng", unit_id=f"u{number}")))
    fleet.apply(log(finding(1, recorder_id="cam-59")))
    counts = count(see(one, at(20)).tile for one in fleet.shown())
    assert (counts.total.recorders, counts.total.critical, counts.total.silent) == (60, 1, 1)
    assert (len(counts.units), counts.units[0].place, counts.sites) == (MAX_PLACES, "u59", [])
