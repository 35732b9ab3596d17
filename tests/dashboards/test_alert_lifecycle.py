"""What becomes of an alert: literal stories, and what holds in all of them."""

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboards.alerts import acts, lifecycle
from dashboards.alerts.lifecycle import DIGEST_MS, GATHER_MS, GROUP_WAIT_MS, HOLD_MS, Say, Terms
from dashboards.alerts.signal import Origin, Signal, of_finding
from domain.alerts import RANK, Alert
from domain.errors import InvalidInput
from tests.services.notifying import finding

T0 = 1_780_000_000_000
ACKS = {"critical": 300_000, "warning": 1_800_000}


class Story:
    """One group of findings and a clock."""

    def __init__(self, origin: Origin | None = None, levels: int = 3) -> None:
        self.origin = origin or Origin(site_id="canteen", unit_id="north")
        self.now = T0
        self.alerts: list[Alert] = []
        self.says: list[tuple[int, Say]] = []
        self.known: dict[str, Alert] = {}
        self.quiet: Callable[[str, str], int | None] = lambda _recorder, _kind: None
        self.levels = levels

    @property
    def terms(self) -> Terms:
        return Terms(ack_within_ms=ACKS, levels=self.levels, quiet_until=self.quiet)

    @property
    def alert(self) -> Alert:
        return self.alerts[-1]

    def found(self, recorder: str, kind: Any = "recording.stalled", status: Any = "opened", **more: Any) -> Alert:
        more.setdefault("began", self.now if status == "opened" else None)
        return self.signal(of_finding(finding(recorder, kind, status, self.now, **more), self.origin))

    def signal(self, signal: Signal) -> Alert:
        alert = self.known.get(signal.about.id)
        is_known = alert is not None
        if alert is None:
            newest = self.alerts[-1] if self.alerts else None
            alert = newest if newest and lifecycle.belongs(newest, signal) else self._begin(signal)
        self.known[signal.about.id] = alert
        lifecycle.take(alert, signal, self.now, known=is_known)
        self._advance(alert)
        return alert

    def _begin(self, signal: Signal) -> Alert:
        if self.alerts:
            self._advance(self.alerts[-1])
        self.alerts.append(lifecycle.begin(signal, self.now))
        return self.alerts[-1]

    def _advance(self, alert: Alert) -> int | None:
        outcome = lifecycle.advance(alert, self.now, self.terms)
        self.says += [(self.now, say) for say in outcome.says]
        return outcome.wake_at

    def until(self, at: int) -> None:
        """Let time pass, waking whenever an alert asks for it."""
        while True:
            wakes = [(wake, alert) for alert in self.alerts if (wake := self._advance(alert)) is not None]
            if not wakes or min(wake for wake, _ in wakes) > at:
                break
            self.now = max(self.now + 1, min(wake for wake, _ in wakes))
        self.now = at
        for alert in self.alerts:
            self._advance(alert)

    def wait(self, seconds: float) -> None:
        self.until(self.now + round(seconds * 1000))

    @property
    def said(self) -> list[str]:
        return [say.what for _, say in self.says]


def test_the_first_finding_is_told_within_half_a_second() -> None:
    story = Story()
    story.found("cam-1")
    assert story.said == []
    story.wait(1)
    assert story.said == ["opened"]
    assert story.says[0][0] - T0 <= GROUP_WAIT_MS < 500


def test_a_whole_site_that_goes_down_is_one_message() -> None:
    story = Story()
    generator = random.Random(6)
    stalls = sorted(generator.uniform(5, 60) for _ in range(100))
    told = sorted(
        [(at, n, "recording.stalled") for n, at in enumerate(stalls)]
        + [(at + 55, n, "device.silent") for n, at in enumerate(stalls)]
    )
    for at, number, kind in told:
        story.until(T0 + round(at * 1000))
        story.found(f"cam-{number}", kind)
    story.wait(900)
    assert story.said == ["opened"]
    assert len(story.alerts) == 1
    assert len(story.alert.members) == 100


def test_when_the_site_is_back_and_stays_that_is_one_more() -> None:
    story = Story()
    began = story.now
    for number in range(10):
        story.found(f"cam-{number}")
    story.wait(120)
    for number in range(10):
        story.found(f"cam-{number}", status="closed", began=began)
        story.found(f"cam-{number}", "recording.gap", cause="network")
    story.wait(HOLD_MS / 1000 - 1)
    assert story.said == ["opened"]
    story.wait(2)
    assert story.said == ["opened", "resolved"]
    assert story.alert.state == "resolved"
    assert story.alert.resolved_by == ""


def test_what_joins_after_the_minute_comes_as_a_digest() -> None:
    story = Story()
    story.found("cam-1")
    story.wait(GATHER_MS / 1000 + 1)
    for number in range(2, 6):
        story.found(f"cam-{number}")
        story.wait(10)
    story.wait(600)
    assert story.said == ["opened", "more"]
    assert story.says[1][0] - story.says[0][0] >= DIGEST_MS


def test_long_after_the_first_a_further_recorder_is_told_of_at_once() -> None:
    story = Story()
    story.found("cam-1")
    story.wait(1000)
    before = story.now
    story.found("cam-2")
    story.wait(2)
    assert story.said == ["opened", "more"]
    assert story.says[1][0] - before <= GROUP_WAIT_MS


def test_a_graver_finding_breaks_out_at_once_and_must_be_acknowledged_anew() -> None:
    story = Story()
    story.found("cam-1")
    story.wait(2)
    acts.acknowledge(story.alert, "zhang", story.now, "")
    story.found("cam-2", severity="critical")
    story.wait(1)
    assert story.said == ["opened", "worse"]
    assert story.alert.state == "opened"
    story.wait(301)
    assert story.said == ["opened", "worse", "escalated"]


@pytest.mark.parametrize("severity", ["warning", "info"])
def test_a_flap_of_ten_minutes_is_two_messages(severity: Any) -> None:
    story = Story(Origin())
    for _ in range(300):
        began = story.now
        story.found("body-1", severity=severity)
        story.wait(1)
        story.found("body-1", status="closed", began=began, severity=severity)
        story.wait(1)
    story.wait(HOLD_MS / 1000 + 1)
    assert story.said == ["opened", "resolved"]
    assert len(story.alerts) == 1
    assert story.alert.flaps > 250


def test_what_comes_back_after_it_held_is_a_new_alert() -> None:
    story = Story()
    began = story.now
    story.found("cam-1")
    story.wait(5)
    story.found("cam-1", status="closed", began=began)
    story.wait(HOLD_MS / 1000 + 5)
    story.found("cam-1")
    story.wait(1)
    assert story.said == ["opened", "resolved", "opened"]
    assert len({alert.id for alert in story.alerts}) == 2


def test_nobody_acknowledges_and_it_goes_up_level_by_level() -> None:
    story = Story(levels=3)
    story.found("cam-1", severity="critical")
    story.wait(1000)
    assert story.said == ["opened", "escalated", "escalated"]
    assert [say.level for _, say in story.says] == [0, 1, 2]


def test_acknowledged_in_time_it_stays() -> None:
    story = Story()
    story.found("cam-1", severity="critical")
    story.wait(200)
    acts.acknowledge(story.alert, "zhang", story.now, "在看")
    story.wait(5000)
    assert story.said == ["opened"]
    assert story.alert.assignee == "zhang"


def test_in_maintenance_it_arises_and_is_quiet_and_is_told_when_that_ends_if_it_still_holds() -> None:
    story = Story()
    end = T0 + 3_600_000
    story.quiet = lambda _recorder, _kind: end if story.now < end else None
    began = story.now
    story.found("cam-1")
    story.found("cam-2")
    story.wait(30)
    story.found("cam-2", status="closed", began=began)
    story.until(end - 1)
    assert story.said == []
    assert story.alert.muted_until == end
    assert story.alert.state == "opened"
    story.until(end + 2000)
    assert story.said == ["opened"]
    assert story.alert.muted_until is None


def test_in_maintenance_what_is_over_before_it_ends_is_never_told() -> None:
    story = Story()
    end = T0 + 600_000
    story.quiet = lambda _recorder, _kind: end if story.now < end else None
    story.found("cam-1")
    story.wait(30)
    story.found("cam-1", status="closed", began=T0)
    story.until(end + 3_600_000)
    assert story.said == []
    assert story.alert.state == "resolved"


def test_a_person_resolves_and_it_comes_back_at_once() -> None:
    story = Story()
    story.found("cam-1")
    story.wait(5)
    with pytest.raises(InvalidInput, match="still holds"):
        acts.resolve(story.alert, "zhang", story.now, "")
    acts.resolve(story.alert, "zhang", story.now, "已派人")
    story.wait(60)
    story.found("cam-1", "device.silent")
    story.wait(2)
    assert story.said == ["opened", "reopened"]
    assert story.alert.state == "opened"


def test_a_person_reopens_and_may_not_act_on_what_is_resolved() -> None:
    story = Story()
    story.found("cam-1")
    story.wait(5)
    acts.resolve(story.alert, "zhang", story.now, "好了")
    for act in (acts.acknowledge, acts.resolve):
        with pytest.raises(InvalidInput, match="reopen"):
            act(story.alert, "zhang", story.now, "x")
    outcome = acts.reopen(story.alert, "li", story.now, "还没好", story.terms)
    assert [say.what for say in outcome.says] == ["reopened"]
    with pytest.raises(InvalidInput, match="not resolved"):
        acts.reopen(story.alert, "li", story.now, "", story.terms)


def test_acknowledging_twice_changes_nothing() -> None:
    story = Story()
    story.found("cam-1")
    assert acts.acknowledge(story.alert, "zhang", story.now, "").lines
    assert acts.acknowledge(story.alert, "zhang", story.now, "").lines == []


_steps = st.lists(
    st.tuples(
        st.sampled_from(["open", "close", "wait", "acknowledge", "resolve"]),
        st.integers(0, 4),
        st.sampled_from(["info", "warning", "critical"]),
        st.sampled_from([0, 100, 900, 30_000, 80_000, 310_000, 700_000]),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(_steps)
def test_in_every_story(steps: list[tuple[str, int, Any, int]]) -> None:
    story = Story()
    open_since: dict[int, list[tuple[int, str]]] = {}
    for what, number, severity, wait_ms in steps:
        if what == "open":
            story.found(f"cam-{number}", severity=severity)
            open_since.setdefault(number, []).append((story.now, severity))
        elif what == "close" and open_since.get(number):
            began, of = open_since[number].pop()
            story.found(f"cam-{number}", status="closed", began=began, severity=of)
        elif what in ("acknowledge", "resolve") and story.alerts and story.alert.state != "resolved":
            act = acts.acknowledge if what == "acknowledge" else acts.resolve
            story.says += [(story.now, say) for say in act(story.alert, "zhang", story.now, "note").says]
        story.until(story.now + wait_ms + 1)
    story.wait(DIGEST_MS / 1000 + 1)

    numbers = [say.number for _, say in story.says]
    for alert in story.alerts:
        # Whatever is open in an alert that is not resolved was told, at its severity, or is covered by what was.
        if alert.state != "resolved":
            assert alert.told_at is not None
            assert RANK[alert.told] == RANK[alert.severity] or not alert.members
            assert all(member.news_at is None for member in alert.members.values())
    assert numbers == sorted(numbers) or len(story.alerts) > 1
    # Messages that only add to an alert are rare.
    adds = [at for at, say in story.says if say.what == "more"]
    assert all(later - earlier >= DIGEST_MS for earlier, later in pairwise(adds))
    # With nothing open, all is resolved once it held.
    for number, left in open_since.items():
        for began, severity in left:
            story.found(f"cam-{number}", status="closed", began=began, severity=severity)
    story.wait(2 * HOLD_MS / 1000)
    assert {alert.state for alert in story.alerts} <= {"resolved"}
