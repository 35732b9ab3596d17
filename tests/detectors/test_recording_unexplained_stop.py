"""`recording.unexplained_stop`, under each of the five policies. Moments are seconds after 09:00:00, China time."""

from __future__ import annotations

import pytest

from domain.clock import Instant
from domain.findings import Finding
from tests.detectors.logs import (
    Line,
    at,
    ended,
    event,
    fragments,
    in_order,
    opened,
    outcome,
    registered,
    resumed,
    said,
    second,
    stopped,
    telemetry,
    ticks,
)

KIND = "recording.unexplained_stop"
DAY = 86_400
VOICED = ["gansu", "chongqing", "wucheng"]
ALL = [*VOICED, "zhuhui", "zhanhe"]


def explanation(when: float, method: str = "voice", cause: str = "bad_weather", **fields: object) -> Line:
    return {**event("explanation", when, session_id="s1", method=method, cause=cause, by="officer-7"), **fields}


def heard(captured: float, speech: float, window: float = 4.0) -> Line:
    """What the analysis heard, said a second after the window's end."""
    return event(
        "observation",
        captured + window + 1,
        session_id="s1",
        captured_at=at(captured),
        window_s=window,
        speech_s=speech,
    )


def moments(*whens: float) -> list[Line]:
    """Single ticks, for what lies days away."""
    return [{"type": "tick", "at": at(when)} for when in whens]


def found(policy: str, *parts: list[Line], unbroken: bool = False, act: str | None = None) -> list[Finding]:
    start = [registered(policy=policy), opened(0.1, unbroken=unbroken, **({"act": act} if act else {}))]
    return said(in_order(start, fragments(0, 10, 0), *parts), KIND)


def story(findings: list[Finding]) -> list[tuple[str, float, object]]:
    return [(one.status, second(one.detected_at), one.evidence["state"]) for one in findings]


def restart(at_s: float = 40, seconds: int = 80, feed: str = "f2", stop: float = 20) -> list[Line]:
    """Stopped by the officer, resumed, and recorded on in fragments of 2 s."""
    return [
        stopped(stop + 0.3, "officer", stop),
        resumed(at_s - 0.5),
        *fragments(0, seconds // 2, at_s, feed=feed),
    ]


# ── voice on restart ──


@pytest.mark.parametrize("policy", VOICED)
def test_sixty_seconds_of_recording_without_a_word(policy: str) -> None:
    (one,) = found(policy, restart(), ticks(0, 130))
    assert (one.status, one.severity, one.cause, one.session_id) == ("opened", "warning", "officer", "s1")
    assert one.began_at == Instant.parse("2026-03-02T09:00:20+08:00")
    assert one.detected_at == Instant.parse("2026-03-02T09:01:40.200+08:00")  # the 60th second came in then
    assert one.evidence == {
        "state": "unexplained",
        "stopped_at": "2026-03-02T09:00:20.000+08:00",
        "resumed_at": "2026-03-02T09:00:40.000+08:00",
        "recorded_s": 60.0,
        "speech_s": 0.0,
        "asked": "voice",
        "due_at": "2026-03-02T09:01:40.200+08:00",
    }
    assert one.message.key == KIND


@pytest.mark.parametrize(
    ("policy", "clauses"),
    [
        ("gansu", ["第十九条"]),
        ("chongqing", ["第十一条", "第十三条"]),
        ("wucheng", ["W-AV 第十八条"]),
        ("zhuhui", []),
    ],
)
def test_what_it_cites(policy: str, clauses: list[str]) -> None:
    assert found(policy, restart(), ticks(0, 130))[0].clauses == clauses


@pytest.mark.parametrize("policy", VOICED)
def test_one_second_less_of_recording_is_not_due(policy: str) -> None:
    assert found(policy, restart(seconds=58), ticks(0, 500)) == []


@pytest.mark.parametrize("policy", VOICED)
def test_it_counts_recording_and_not_the_clock(policy: str) -> None:
    """Thirty seconds, a pause of the media of five minutes, thirty seconds more."""
    parts = [stopped(20.3, "officer", 20), resumed(39), *fragments(0, 15, 40, feed="f2")]
    assert found(policy, parts, ticks(0, 400)) == []
    (one,) = found(policy, parts, fragments(15, 15, 370, feed="f2"), ticks(0, 420))
    assert second(one.detected_at) == 400.2


@pytest.mark.parametrize(
    ("speech", "count"),
    [
        ([heard(42, 2.0)], 0),
        ([heard(42, 1.9)], 1),
        ([heard(42, 1.0), heard(70, 1.0)], 0),
        ([heard(60, 0.0), heard(96, 3.0)], 0),  # the last seconds of the minute, heard of a second after it is over
        ([heard(101, 4.0)], 1),  # the minute is over
        ([heard(98.5, 4.0)], 1),  # 1.5 s of it lie in the minute
        ([heard(10, 4.0)], 1),  # before the stop
    ],
)
@pytest.mark.parametrize("policy", [*VOICED, "zhuhui"])
def test_two_seconds_of_speech_in_the_first_minute(policy: str, speech: list[Line], count: int) -> None:
    assert len(found(policy, restart(), speech, ticks(0, 130))) == count


def test_speech_later_does_not_close_it() -> None:
    assert story(found("wucheng", restart(), [heard(110, 4.0)], ticks(0, 200))) == [("opened", 100.2, "unexplained")]


def test_speech_in_time_that_the_analysis_tells_late_closes_it() -> None:
    late = {**heard(50, 3.0), "at": at(110)}
    findings = found("wucheng", restart(), [late], ticks(0, 200))
    assert story(findings) == [("opened", 100.2, "unexplained"), ("closed", 110, "explained")]
    assert findings[1].evidence["late_s"] == 0.0


@pytest.mark.parametrize("method", ["voice", "written"])
@pytest.mark.parametrize("policy", VOICED)
def test_an_explanation_in_time(policy: str, method: str) -> None:
    assert found(policy, restart(), [explanation(60, method)], ticks(0, 200)) == []


def test_given_before_the_restart() -> None:
    assert found("wucheng", restart(), [explanation(30)], ticks(0, 200)) == []


@pytest.mark.parametrize("policy", [*VOICED, "zhuhui"])
def test_a_late_explanation_closes_it_and_says_how_late(policy: str) -> None:
    findings = found(policy, restart(), [explanation(130.2)], ticks(0, 200))
    assert story(findings) == [("opened", 100.2, "unexplained"), ("closed", 130.2, "explained")]
    assert findings[0].id == findings[1].id
    assert second(findings[1].ended_at) == 130.2
    assert findings[1].evidence["late_s"] == 30.0
    assert findings[1].evidence["explained_by"] == "officer-7"


# ── lists of causes, and who must review ──


@pytest.mark.parametrize("policy", VOICED)
def test_an_open_list_lets_another_cause_await_review(policy: str) -> None:
    other = explanation(60, cause="other", text="镜头起雾")
    approved = explanation(150, cause="other", text="镜头起雾", approved_by="队长")
    findings = found(policy, restart(), [other, approved], ticks(0, 200))
    assert story(findings) == [
        ("opened", 100.2, "unexplained"),
        ("updated", 100.2, "awaiting_review"),
        ("closed", 150, "explained"),
    ]
    assert findings[1].message.key == f"{KIND}.awaiting_review"
    assert findings[2].evidence["approved_by"] == "队长"
    assert findings[2].evidence["late_s"] == 49.8


def test_after_it_was_said_another_cause_makes_it_await_review_once() -> None:
    others = [explanation(when, cause="other", text="镜头起雾") for when in (120, 121)]
    assert story(found("wucheng", restart(), others, ticks(0, 200))) == [
        ("opened", 100.2, "unexplained"),
        ("updated", 120, "awaiting_review"),
    ]


@pytest.mark.parametrize("policy", VOICED)
def test_another_cause_without_a_word_of_it_is_none(policy: str) -> None:
    (one,) = found(policy, restart(), [explanation(60, cause="other", text=" ")], ticks(0, 200))
    assert one.evidence["why_not"] == "no_text"


@pytest.mark.parametrize("policy", VOICED)
def test_an_approved_cause_in_time_is_an_explanation(policy: str) -> None:
    parts = [explanation(60, cause="other", text="镜头起雾", approved_by="队长")]
    assert found(policy, restart(), parts, ticks(0, 200)) == []


def test_each_list_has_its_own_causes() -> None:
    """A change of place is listed in Wucheng alone."""
    parts = [explanation(60, cause="site_change")]
    assert found("wucheng", restart(), parts, ticks(0, 200)) == []
    assert len(found("gansu", restart(), parts, ticks(0, 200))) == 1


@pytest.mark.parametrize("policy", VOICED)
def test_a_work_record_counts_once_reviewed(policy: str) -> None:
    record = explanation(60, "work_record")
    reviewed = explanation(160.2, "work_record", approved_by="主任")
    findings = found(policy, restart(), [record, reviewed], ticks(0, 200))
    assert [one.status for one in findings] == ["opened", "updated", "closed"]
    assert findings[1].evidence["why_not"] == "not_reviewed"
    # Chongqing knows work records, the others do not: that it counts there is ours.
    assert findings[2].evidence.get("ours", False) is (policy != "chongqing")


# ── where recording did not go on ──


@pytest.mark.parametrize("method", ["voice", "written"])
def test_gansu_wants_a_report_within_ten_minutes(method: str) -> None:
    parts = [stopped(20.3, "battery", 20)]
    (one,) = found("gansu", parts, ticks(0, 700))
    assert (second(one.began_at), second(one.detected_at), one.evidence["asked"]) == (20, 621, "report")
    assert (one.cause, one.evidence["resumed_at"]) == ("battery", None)
    assert found("gansu", parts, ticks(0, 620)) == []
    assert found("gansu", parts, [explanation(620, method, "low_battery")], ticks(0, 700)) == []
    closed = found("gansu", parts, [explanation(680.3, method, "low_battery")], ticks(0, 700))[1]
    assert closed.evidence["late_s"] == 60.0


def test_gansu_wants_no_report_where_recording_went_on() -> None:
    parts = [stopped(20.3, "officer", 20), resumed(500), *fragments(0, 10, 500, feed="f2")]
    assert found("gansu", parts, ticks(0, 700)) == []


@pytest.mark.parametrize("policy", ["wucheng", "chongqing", "zhuhui"])
def test_elsewhere_in_writing_within_a_day_of_the_end(policy: str) -> None:
    why = {"cause": "other", "text": "没电", "approved_by": "队长"}
    parts = [stopped(20.3, "device", 20), ended(300, 20)]
    assert found(policy, parts, moments(299, 301, DAY + 299)) == []
    (one,) = found(policy, parts, moments(DAY + 300))
    assert second(one.began_at) == 20
    assert one.detected_at == Instant.parse("2026-03-03T09:05:00+08:00")
    assert (one.evidence["asked"], one.cause) == ("written", "device_stop")
    assert found(policy, parts, [explanation(DAY, "written", **why)], moments(DAY + 300)) == []
    late = found(policy, parts, [explanation(DAY + 400, "written", **why)], moments(DAY + 300))
    assert story(late)[1] == ("closed", DAY + 400, "explained")
    assert late[1].evidence["late_s"] == 100.0
    assert late[1].evidence.get("ours", False) is (policy != "chongqing")


@pytest.mark.parametrize("policy", ["wucheng", "chongqing"])
def test_a_voice_is_not_in_writing(policy: str) -> None:
    """Nothing was recorded any more on which it could be heard."""
    parts = [stopped(20.3, "device", 20), explanation(30), ended(300, 20)]
    assert len(found(policy, parts, moments(DAY + 300))) == 1


@pytest.mark.parametrize("policy", ALL)
def test_sessions_are_open_until_they_end(policy: str) -> None:
    """Stopped for days, and nothing is due but what Gansu wants at once."""
    findings = found(policy, [stopped(20.3, "officer", 20)], moments(*range(100, 5 * DAY, 7000)))
    assert len(findings) == (1 if policy == "gansu" else 0)


@pytest.mark.parametrize(("policy", "due"), [("gansu", 670), ("chongqing", DAY + 70), ("wucheng", DAY + 70)])
def test_a_restart_that_ends_within_the_minute(policy: str, due: int) -> None:
    parts = [*restart(seconds=20), ended(70, 60)]
    assert found(policy, parts, moments(*range(71, due, 3600), due - 1)) == []
    assert [second(one.detected_at) for one in found(policy, parts, moments(due))] == [due]


# ── Zhanhe: a reviewed work record, nothing else ──


def test_zhanhe_wants_a_reviewed_work_record_within_a_day_of_the_end() -> None:
    parts = [*restart(), heard(50, 4.0), explanation(60), ended(130, 120)]
    assert found("zhanhe", parts, moments(131, DAY + 129)) == []
    (one,) = found("zhanhe", parts, moments(DAY + 130))
    assert one.detected_at == Instant.parse("2026-03-03T09:02:10+08:00")
    assert one.clauses == ["Z-AV 第十二条"]
    assert (one.severity, one.evidence["asked"], one.evidence["why_not"]) == (
        "warning",
        "work_record",
        "way_not_accepted",
    )
    reviewed = [explanation(3600, "work_record", "obstruction", approved_by="所长")]
    assert found("zhanhe", parts, reviewed, moments(DAY + 130)) == []


def test_zhanhe_takes_no_record_that_nobody_reviewed() -> None:
    parts = [*restart(), explanation(500, "work_record"), ended(130, 120)]
    late = [explanation(DAY + 3730, "work_record", approved_by="所长")]
    findings = found("zhanhe", parts, late, moments(DAY + 130, DAY + 3730))
    assert [(one.status, one.evidence["state"]) for one in findings] == [
        ("opened", "unexplained"),
        ("updated", "awaiting_review"),
        ("closed", "explained"),
    ]
    assert findings[2].evidence["late_s"] == 3600.0
    assert "ours" not in findings[2].evidence


@pytest.mark.parametrize("cause", ["other", "site_change"])
def test_zhanhe_has_a_closed_list(cause: str) -> None:
    parts = [*restart(), ended(130, 120)]
    record = [explanation(500, "work_record", cause, text="原因", approved_by="所长")]
    (one,) = found("zhanhe", parts, record, moments(DAY + 130))
    assert one.evidence["why_not"] == "cause_not_listed"


def test_zhanhe_written_and_reviewed_stands_in_and_says_that_this_is_ours() -> None:
    parts = [*restart(), ended(130, 120)]
    written = explanation(DAY + 200, "written", approved_by="所长")
    findings = found("zhanhe", parts, [written], moments(DAY + 130))
    assert [one.status for one in findings] == ["opened", "closed"]
    assert findings[1].evidence["ours"] is True


# ── severity ──


def test_zhuhui_has_no_rule_and_gives_notice_only() -> None:
    (one,) = found("zhuhui", restart(), ticks(0, 130))
    assert (one.severity, one.clauses, one.evidence["ours"]) == ("info", [], True)
    assert found("zhuhui", restart(), [explanation(60, "written", "other")], ticks(0, 130)) == []


@pytest.mark.parametrize("policy", ALL)
def test_unbroken_sessions_are_critical(policy: str) -> None:
    parts = [*restart(), ended(130, 120)]
    findings = found(policy, parts, moments(*range(131, DAY, 600), DAY + 130), unbroken=True)
    assert {one.severity for one in findings} == {"critical"}


@pytest.mark.parametrize(
    ("policy", "act", "clauses"),
    [
        ("gansu", "coercion", ["第十九条", "第十四条"]),
        ("chongqing", "inspection", ["第十一条", "第十三条", "第十五条（二）"]),
        ("wucheng", "coercion", ["W-AV 第十八条", "W-AV 第十二条（一）", "W-AV 第十三条（一）"]),
        ("zhuhui", "questioning", ["第二十五条"]),
    ],
)
def test_acts_that_the_policy_forbids_to_interrupt_are_critical_too(policy: str, act: str, clauses: list[str]) -> None:
    (one,) = found(policy, restart(), ticks(0, 130), act=act)
    assert (one.severity, one.clauses) == ("critical", clauses)


def test_a_policy_that_nobody_knows_is_refused_and_the_recorder_judged_like_the_default() -> None:
    lines = in_order([registered(0, policy="hangzhou"), opened(0.1)], restart(), ticks(0, 130))
    result = outcome(lines)
    (bad,) = result.rejected
    assert (bad.reason, bad.offset) == ("unknown_policy", 0)
    assert bad.detail.startswith("policy: no policy 'hangzhou'; there are gansu, chongqing")
    (one,) = [said.finding for said in result.said if said.finding.kind == KIND]
    assert (one.severity, one.clauses) == ("warning", [])


# ── what is a stop ──


@pytest.mark.parametrize("reason", ["officer", "device", "battery", "storage", "maintenance", "unknown"])
def test_every_announced_stop_is_one(reason: str) -> None:
    parts = [stopped(20.3, reason, 20), resumed(39.5), *fragments(0, 40, 40, feed="f2")]
    assert len(found("wucheng", parts, ticks(0, 130))) == 1


@pytest.mark.parametrize(
    ("reason", "words", "count"),
    [
        ("connection_lost", [], 1),
        ("connection_lost", [(19, True)], 0),
        ("connection_lost", [(30, True)], 0),
        ("connection_lost", [(19, True), (30, False)], 1),
        ("connection_lost", [(30, False), (31, True)], 1),
        ("connection_lost", [(19, True), (60, False)], 0),  # after the restart
        ("server", [], 0),
        ("server", [(19, True)], 0),
        ("server", [(30, False)], 1),
    ],
)
def test_a_lost_connection_while_the_device_records_on_is_none(
    reason: str, words: list[tuple[float, bool]], count: int
) -> None:
    parts = [stopped(20.3, reason, 20), resumed(39.5), *fragments(0, 40, 40, feed="f2")]
    words_said = [telemetry(when, recording=recording) for when, recording in words]
    assert len(found("wucheng", parts, words_said, ticks(0, 130))) == count


def test_what_the_device_tells_afterwards_of_the_time_between_counts() -> None:
    parts = [stopped(20.3, "connection_lost", 20), resumed(39.5), *fragments(0, 40, 40, feed="f2")]
    batch = [telemetry(45, device_at=at(28), sent_at=at(45), recording=True)]
    assert found("wucheng", parts, batch, ticks(0, 130)) == []


def test_silence_while_the_device_says_that_it_does_not_record() -> None:
    parts = [telemetry(22, recording=False), *fragments(0, 40, 40, feed="f2")]
    (one,) = found("wucheng", parts, ticks(0, 130))
    assert (second(one.began_at), second(one.detected_at), one.cause) == (20, 100.2, "device_stop")


def test_silence_alone_is_only_a_stall() -> None:
    for words in ([], [telemetry(22, recording=True)]):
        assert found("wucheng", words, fragments(0, 40, 40, feed="f2"), ticks(0, 130)) == []


def test_a_word_that_media_refuted_says_nothing_of_a_later_silence() -> None:
    assert found("wucheng", [telemetry(5, recording=False)], fragments(0, 40, 40, feed="f2"), ticks(0, 130)) == []


def test_media_that_was_still_on_its_way_is_not_cut_off() -> None:
    """The device stopped at 34; what it had recorded since 20 comes eight seconds late."""
    rest = [{**one, "at": at(44.5)} for one in fragments(10, 7, 20)]
    parts = [telemetry(35, recording=False), *rest, *fragments(0, 40, 60, feed="f2")]
    (one,) = found("wucheng", parts, ticks(0, 150))
    assert second(one.began_at) == 34


def test_silence_and_then_an_announcement_are_one_stop() -> None:
    parts = [telemetry(22, recording=False), stopped(35, "battery", 20), *fragments(0, 40, 40, feed="f2")]
    (one,) = found("wucheng", parts, ticks(0, 130))
    assert (second(one.began_at), one.cause) == (20, "battery")


def test_a_session_in_which_nothing_was_ever_recorded() -> None:
    lines = in_order(
        [registered(policy="gansu"), opened(0.1)], [telemetry(2, recording=False)], moments(*range(3, 700))
    )
    (one,) = said(lines, KIND)
    assert (second(one.began_at), one.evidence["asked"]) == (0.1, "report")


def test_each_stop_is_its_own_finding() -> None:
    parts = [*restart(), *restart(140, 80, "f3", stop=120)]
    findings = found("wucheng", parts, ticks(0, 260))
    assert [(second(one.began_at), second(one.detected_at)) for one in findings] == [(20, 100.2), (120, 200.2)]
    assert len({one.id for one in findings}) == 2


def test_an_explanation_belongs_to_the_latest_stop_before_it_unless_it_names_one() -> None:
    parts = [*restart(), *restart(140, 80, "f3", stop=120)]
    latest = found("wucheng", parts, [explanation(150)], ticks(0, 260))
    assert [(one.status, second(one.began_at)) for one in latest] == [("opened", 20)]
    named = found("wucheng", parts, [explanation(150, stopped_at=at(20))], ticks(0, 260))
    assert [(one.status, second(one.began_at)) for one in named] == [("opened", 20), ("closed", 20), ("opened", 120)]
    nowhere = found("wucheng", parts, [explanation(150, stopped_at=at(1000))], ticks(0, 260))
    assert [one.status for one in nowhere] == ["opened", "opened"]


def test_an_explanation_that_comes_before_its_stop_is_heard_of() -> None:
    """The officer's app was quicker than the recorder's."""
    parts = [explanation(21), stopped(23, "officer", 20), resumed(39.5), *fragments(0, 40, 40, feed="f2")]
    assert found("wucheng", parts, ticks(0, 130)) == []


def test_two_sessions_one_step_in_pieces_are_no_interruption() -> None:
    """W-AV 第十九条: the same step goes on at another place in another recording."""
    lines = in_order(
        [registered(), opened(0.1, act="inspection"), ended(21, 20), opened(900, session="s2", act="inspection")],
        fragments(0, 10, 0),
        fragments(0, 60, 901, feed="f2", session="s2"),
        ticks(0, 1100),
        moments(2 * DAY),
    )
    assert said(lines, KIND) == []


def test_recording_that_comes_and_goes_each_second_is_one_stop() -> None:
    flapping = [
        line
        for n in range(300)
        for line in (
            stopped(20.3 + 2 * n, "device", 20.2 + 2 * n),
            resumed(21.1 + 2 * n),
            *fragments(10 + n, 1, 21.2 + 2 * n, 1.0),
        )
    ]
    findings = found("wucheng", flapping, fragments(400, 60, 625), ticks(0, 800))
    assert [(one.status, second(one.began_at)) for one in findings] == [("opened", 20.2)]
    words = [telemetry(20 + n, recording=bool(n % 2)) for n in range(600)]
    assert len({one.id for one in found("wucheng", words, ticks(0, 650), [ended(640, 20)], moments(2 * DAY))}) <= 2


def test_a_stop_said_again_changes_nothing() -> None:
    again = [stopped(25, "officer", 20), {**stopped(50, "officer", 20)}]
    assert len(found("wucheng", restart(), again, ticks(0, 130))) == 1


def test_overlapping_feeds_are_counted_once() -> None:
    parts = [*restart(seconds=40), *fragments(0, 20, 40.5, feed="f3")]
    assert found("wucheng", parts, ticks(0, 200)) == []


def test_taking_a_camera_out_of_use_with_a_reason_is_explained() -> None:
    start = [registered(kind="premises_camera", policy="wucheng"), opened(1)]
    why = {"text": "设备维修", "approved_by": "chief", "stopped_at": at(60)}
    out = [stopped(60.5, reason="maintenance", last=60), explanation(60.501, "written", "other", **why)]
    end = [ended(400, 60)]
    later: list[Line] = [{"type": "tick", "at": at(when)} for when in range(3600, 3 * DAY, 3600)]
    over = [*ticks(0, 600), *later]
    assert said(in_order(start, fragments(0, 15, 0), out, end, over), KIND) == []
    silent = said(in_order(start, fragments(0, 15, 0), out[:1], end, over), KIND)
    assert [finding.status for finding in silent] == ["opened"], "without a reason it is not"
