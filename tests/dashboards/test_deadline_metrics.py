"""Time left to store, and what a device still holds: by events alone, the same after a restart and from the log."""

import msgspec
from prometheus_client import CollectorRegistry

from dashboards.metrics import LABELS, FleetCollector
from dashboards.projection import Fleet, FleetState
from domain.clock import Instant, ManualClock
from domain.events import (
    Backfilled,
    DeviceIndex,
    Event,
    HeldRecording,
    Returned,
    SessionEnded,
    SessionOpened,
    StoringDeferred,
)
from domain.registry import Registration
from policies.deadlines import store_by
from policies.local import default
from tests.dashboards.feeds import SHA, Log, at, fragment

DEADLINE = "liuhen_recorder_deadline_seconds"


class Scrape:
    def __init__(self, state: FleetState | None = None, log: Log | None = None) -> None:
        self.fleet, self.clock, self.log = Fleet(state), ManualClock(at(0)), log or Log()
        self.registry = CollectorRegistry()
        self.registry.register(FleetCollector(self.fleet, self.clock))

    def tell(self, *what: Event | Registration) -> None:
        for each in what:
            self.fleet.apply(self.log(each))

    def __call__(self, name: str) -> float | None:
        return self.registry.get_sample_value(name, dict(zip(LABELS, ("rec-1", "", "wucheng"), strict=True)))


def scrape_of(*, remote: bool = False) -> Scrape:
    """A session of 600 s, of which 60 s came live and are stored, and the device holds the rest."""
    scrape = Scrape()
    scrape.tell(
        Registration(recorder_id="rec-1", kind="body_worn", policy="wucheng"),
        SessionOpened(at=at(0), remote=remote, recorder_id="rec-1", session_id="s1"),
        fragment(0, duration_s=60.0, recorder_id="rec-1"),
        Backfilled(at=at(61), from_=at(0), to=at(60), sha256=SHA, recorder_id="rec-1", session_id="s1"),
        SessionEnded(at=at(601), completed_at=at(600), recorder_id="rec-1", session_id="s1"),
        DeviceIndex(at=at(602), recorder_id="rec-1", recordings=[held(60, 600, 5_400_000)]),
    )
    scrape.clock.advance(700)
    return scrape


def held(start: float, end: float, size: int) -> HeldRecording:
    return HeldRecording(session_id="s1", from_=at(start), to=at(end), bytes=size)


def backfilled(start: float, end: float, learnt: float) -> Backfilled:
    return Backfilled(at=at(learnt), from_=at(start), to=at(end), sha256=SHA, recorder_id="rec-1", session_id="s1")


def until(**more: object) -> Instant:
    deadline = store_by(default().policy("wucheng"), "body_worn", at(600), **more)  # type: ignore[arg-type]
    assert deadline.store_by is not None
    return deadline.store_by


def test_what_the_device_holds_counts_down_to_the_policys_time() -> None:
    scrape = scrape_of()
    assert scrape("liuhen_recorder_pending_bytes") == 5_400_000
    assert scrape("liuhen_recorder_upload_lag_seconds") == 640
    assert scrape("liuhen_recorder_completeness_ratio") == 0.1
    assert scrape(DEADLINE) == (until() - at(700)) / 1000
    scrape.clock.advance(10 * 86_400)
    left = scrape(DEADLINE)
    assert left is not None
    assert left < 0, "overdue"


def test_a_delivery_takes_its_part_away_and_the_last_one_all() -> None:
    scrape = scrape_of()
    scrape.tell(backfilled(60, 330, 690))
    assert scrape("liuhen_recorder_pending_bytes") == 2_700_000
    assert scrape("liuhen_recorder_upload_lag_seconds") == 370
    eta_s = scrape("liuhen_recorder_backlog_eta_seconds")
    assert eta_s is not None
    assert 0 < eta_s < 3600
    scrape.tell(backfilled(330, 600, 695))
    assert scrape("liuhen_recorder_pending_bytes") == 0
    assert scrape("liuhen_recorder_completeness_ratio") == 1
    assert scrape(DEADLINE) is None


def test_leave_to_store_later_moves_it() -> None:
    scrape = scrape_of()
    later = at(600).plus(30 * 86_400_000)
    told = StoringDeferred(
        at=at(650), approved_by="队长", until=later, reason="设备故障", recorder_id="rec-1", session_id="s1"
    )
    scrape.tell(told, told)
    recorder = scrape.fleet.recorders["rec-1"]
    assert recorder.sessions["s1"].leaves == [(int(at(650)), int(later), "队长")]
    before = (until() - at(700)) / 1000
    assert scrape(DEADLINE) in {before, (later - at(700)) / 1000}, "as the policy has it"


def test_remote_work_counts_from_the_return() -> None:
    scrape = scrape_of(remote=True)
    scrape.tell(Returned(at=at(660), recorder_id="rec-1"))
    assert scrape(DEADLINE) == (until(remote=True, returned=at(660)) - at(700)) / 1000


def test_the_same_after_a_restart_and_a_session_that_is_owed_is_not_forgotten() -> None:
    scrape = scrape_of()
    saved = msgspec.msgpack.encode(scrape.fleet.state)
    again = Scrape(msgspec.msgpack.decode(saved, type=FleetState), scrape.log)
    again.clock.advance(700)
    assert again(DEADLINE) == scrape(DEADLINE)
    later = 3 * 86_400.0
    again.tell(SessionOpened(at=at(later), recorder_id="rec-1", session_id="s2"))
    assert "s1" in again.fleet.recorders["rec-1"].sessions
