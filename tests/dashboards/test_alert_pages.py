"""The inbox and one alert: what it says, what may be done with it, and by whom."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dashboards.alerts.shown import inbox
from dashboards.alerts.view import view
from domain.alerts import Alert
from domain.findings import Finding, Severity
from domain.registry import Registration
from storage.office import alerts as rows
from tests.dashboards.desks import Desks, desks
from tests.dashboards.feeds import finding

EVIL = "<img src=x onerror=alert(1)> 门诊部"


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Desks]:
    async with desks(tmp_path) as made:
        await made.publish(
            Registration(recorder_id="rec-1", kind="body_worn", policy="wucheng", unit_id="u1", name="一号记录仪"),
            Registration(
                recorder_id="cam-1", kind="premises_camera", policy="wucheng", unit_id="u1", site_id="clinic", name=EVIL
            ),
        )
        await made.written()
        yield made


def found(run: Desks, number: int, **fields: object) -> Finding:
    now = run.clock.now()
    given: dict[str, object] = {"recorder_id": "rec-1", "began_at": now.plus(-90_000), "detected_at": now.plus(-1_000)}
    return finding(number, **(given | fields))


async def one(run: Desks, **fields: object) -> Alert:
    await run.publish(found(run, 1, **fields))
    (alert,) = await run.until_alerts()
    return alert


async def test_an_alert_says_what_where_since_when_the_rule_and_what_to_do(run: Desks) -> None:
    alert = await one(
        run, kind="picture.covered", recorder_id="cam-1", session_id="s1", clauses=["W-NS 第十一条", "W-NS 第十三条"]
    )
    listed = (await run.get("chief", "/alerts")).text
    for said in (f"/alerts/{alert.id}", "严重", "镜头被遮挡", "clinic", "&lt;img src=x"):
        assert said in listed
    shown = (await run.get("chief", f"/alerts/{alert.id}")).text
    for said in (
        "镜头被遮挡",
        "场所里的设备任何人不得故意损毁",
        "W-NS 第十三条",
        "先留证，再联系现场把遮挡拿开",
        "/sessions/cam-1/s1?at=",
        "留存证据",
    ):
        assert said in shown
    assert EVIL not in shown
    english = (await run.get("chief", f"/alerts/{alert.id}?lang=en")).text
    run.http.cookies.clear()
    assert "Nobody may wilfully damage equipment on the premises" in english
    assert "Hold the evidence" in english


async def test_handling_one_from_first_look_to_the_end(run: Desks) -> None:
    alert = await one(run, kind="device.silent", clauses=["W-AV 第十条"])
    page = f"/alerts/{alert.id}"
    for do, form in (
        ("acknowledge", {}),
        ("note", {"note": "已打电话"}),
        ("assign", {"to": "chief"}),
        ("resolve", {"note": "换了电池"}),
        ("reopen", {}),
    ):
        said = await run.post("chief", f"{page}/{do}", **form)
        assert said.status_code == 303, said.text
    shown = (await run.get("chief", page)).text
    for words in ("确认", "已打电话", "指派", "换了电池", "重新打开"):
        assert words in shown
    assert "归我处理" not in shown.split("<dialog")[0]
    assert "chief" in (await run.get("deputy", "/alerts")).text
    assert page in (await run.get("chief", "/alerts?mine=1")).text
    assert page not in (await run.get("deputy", "/alerts?mine=1")).text
    whats = [one.body["what"] for one in await run.entries()]
    assert whats == ["alert.acknowledged", "alert.noted", "alert.assigned", "alert.resolved", "alert.reopened"]


async def test_what_is_refused_is_said_on_the_page(run: Desks) -> None:
    alert = await one(run)
    page = f"/alerts/{alert.id}"
    assert (await run.post("chief", f"{page}/note", note=" ")).status_code == 422
    still = await run.post("chief", f"{page}/resolve")
    assert still.status_code == 422
    assert "没有办理" in still.text
    assert (await run.post("chief", f"{page}/hold", finding="x", reason="x")).status_code == 422
    assert (await run.post("chief", f"{page}/party")).status_code == 422
    assert (await run.post("chief", f"{page}/note", note="a\x00b")).status_code == 422
    assert (await run.get("chief", "/alerts/%00")).status_code == 422
    assert (await run.get("chief", "/alerts/" + "0" * 32)).status_code == 404


async def test_the_evidence_is_held_for_the_minutes_of_the_policy(run: Desks) -> None:
    stopped = await run.stopped_session()
    await run.until_found(lambda all_of: any(each.kind == "recording.unexplained_stop" for each in all_of))
    (alert, *_) = [each for each in await run.until_alerts() if each.family == "stop"]
    page = f"/alerts/{alert.id}"
    shown = (await run.get("chief", page)).text
    assert f"/explanations/rec-1/s1/{int(stopped)}" in shown
    begin_at = stopped.plus(-600_000).datetime().strftime("%Y-%m-%dT%H:%M:%S")
    assert f'value="{begin_at}"' in shown
    await run.written()
    stops = (await run.catalog.list_findings(kind="recording.unexplained_stop")).items
    one_of = next(each for each in stops if each.began_at == stopped)
    form = {"finding": one_of.id, "from_at": begin_at, "to_at": "", "reason": "中断可疑"}
    assert (await run.post("li", f"{page}/hold", **form)).status_code == 403
    assert (await run.post("elsewhere", f"{page}/hold", **form)).status_code == 404
    held = await run.post("chief", f"{page}/hold", **form)
    assert held.status_code == 303, held.text
    await run.retention.follow()
    mine = [each for each in await run.retention.register.holds("rec-1") if each.origin == "person"]
    assert [(each.by, each.reason, each.session_id) for each in mine] == [("chief", "中断可疑", "s1")]
    assert mine[0].from_at is not None
    assert abs(mine[0].from_at - stopped.plus(-600_000)) < 1_000


async def test_who_sees_what_and_may_do_what(run: Desks) -> None:
    alert = await one(run)
    page = f"/alerts/{alert.id}"
    for person, sees in (("chief", True), ("watch", True), ("li", True), ("wang", False), ("elsewhere", False)):
        assert (page in (await run.get(person, "/alerts")).text) == sees, person
        assert (await run.get(person, page)).status_code == (200 if sees else 404)
    assert (await run.get("archive", "/alerts")).status_code == 403
    for person, answer in (("li", 403), ("auditor", 403), ("elsewhere", 404), ("watch", 303)):
        assert (await run.post(person, f"{page}/acknowledge")).status_code == answer, person
    assert 'action="' not in (await run.get("auditor", page)).text.split('<main id="main"')[1].split("<dialog")[0]


async def test_several_recorders_of_one_matter_are_listed_in_it(run: Desks) -> None:
    for number, name in enumerate(("cam-2", "cam-3"), start=10):
        await run.publish(
            Registration(
                recorder_id=name, kind="premises_camera", policy="wucheng", site_id="clinic", name=f"门 {number}"
            )
        )
    await run.written()
    for number, name in enumerate(("cam-1", "cam-2", "cam-3"), start=1):
        await run.publish(found(run, number, kind="device.silent", recorder_id=name, session_id=None))
    (alert,) = await run.until_alerts()
    await run.written()
    shown = ""
    for _ in range(50):
        shown = (await run.get("watch", f"/alerts/{alert.id}")).text
        if "门 11" in shown:
            break
        await run.tick()
    for name in ("门 10", "门 11", "&lt;img"):
        assert name in shown
    assert "等 3 台" in (await run.get("watch", "/alerts")).text


@pytest.mark.parametrize(
    "query", ["state=none", "before=x", "family=" + "x" * 300, "mine=perhaps", "state=opened&state=opened&before=1:"]
)
async def test_a_filter_that_makes_no_sense(run: Desks, query: str) -> None:
    assert (await run.get("chief", f"/alerts?{query}")).status_code in {200, 422}


def test_the_worst_stand_first_and_of_those_what_waits_longest() -> None:
    def made(number: int, severity: Severity, began: int) -> Alert:
        return Alert(id=f"{number:032x}", group="g", family="stop", scope="unit", severity=severity, since=began)

    alerts = [made(1, "info", 1), made(2, "warning", 3), made(3, "critical", 9), made(4, "warning", 2)]
    assert [int(each.id, 16) for each in inbox([view(each) for each in alerts])] == [3, 4, 2, 1]


@pytest.mark.parametrize(
    ("runbook", "links"), [("https://docs.example/runbook#log", True), ("javascript:alert(1)", False), ("", False)]
)
async def test_an_alert_about_the_system_leads_to_its_runbook(run: Desks, runbook: str, links: bool) -> None:
    now = int(run.clock.now())
    alert = Alert(
        id="a" * 32,
        group="source:prometheus/system",
        family="system",
        scope="source",
        severity="critical",
        opened_at=now,
        since=now,
        updated_at=now,
        runbook=runbook,
        summary=f"The log does not answer {EVIL}",
    )
    await run.office.write(lambda connection: rows.save(run.office, connection, [(alert, None)], rows.lock(connection)))
    assert "The log does not answer &lt;img" in (await run.get("watch", "/alerts?family=system")).text
    shown = (await run.get("watch", f"/alerts/{alert.id}")).text
    assert "按处置手册做" in shown
    assert (f'href="{runbook}"' in shown) == links
    assert 'href="javascript' not in shown
    assert EVIL not in shown
