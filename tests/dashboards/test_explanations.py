"""Explaining stops: by whom, in the policy's ways, reviewed by somebody else; the detectors close the finding."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from dashboards.explaining import desk as explaining
from dashboards.explaining.stops import upcoming
from dashboards.people.audit import Audit
from dashboards.words import LANGUAGES, texts
from domain.clock import Instant
from domain.errors import BusUnavailable, InvalidInput, LedgerUnavailable
from domain.events import Explanation, SessionOpened, SessionStopped
from domain.findings import Finding
from domain.ids import finding_id
from policies.clauses import cited
from policies.loader import load, names
from storage.office import explanations as kept
from streams.bus.embedded import EmbeddedBus
from tests.dashboards.desks import PERSON, Desks, desks


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Desks]:
    async with desks(tmp_path) as made:
        yield made


def page(stopped: Instant, recorder_id: str = "rec-1") -> str:
    return f"/explanations/{recorder_id}/s1/{int(stopped)}"


def opened(found: list[Finding]) -> bool:
    return any(one.kind == "recording.unexplained_stop" for one in found)


def closed(found: list[Finding]) -> bool:
    stops = [one for one in found if one.kind == "recording.unexplained_stop"]
    return bool(stops) and all(one.status == "closed" for one in stops)


async def test_an_officer_explains_their_own_stop_and_the_finding_closes(run: Desks) -> None:
    stopped = await run.stopped_session()
    await run.until_found(opened)
    listed = (await run.get("li", "/explanations")).text
    assert "一号记录仪" in listed
    assert "逾期 6 小时" in listed, "24 h after the session's end, 30 h ago"
    assert page(stopped) in listed
    assert "6 h overdue" in (await run.get("li", "/explanations?lang=en")).text
    run.http.cookies.clear()
    # Not another officer's, nor another unit's.
    for stranger in ("wang", "elsewhere"):
        assert "一号记录仪" not in (await run.get(stranger, "/explanations")).text
        assert (await run.get(stranger, page(stopped))).status_code == 404
        assert (
            await run.post(stranger, page(stopped), do="send", method="written", cause="low_battery")
        ).status_code in {403, 404}
    sent = await run.post("li", page(stopped), do="send", method="written", cause="low_battery", text="电池用尽")
    assert (sent.status_code, sent.headers["location"]) == (303, f"{page(stopped)}?said=sent_note")
    (finding,) = [one for one in await run.until_found(closed) if one.kind == "recording.unexplained_stop"]
    assert finding.evidence["explained_by"] == "li"
    assert finding.evidence["late_s"] > 0  # type: ignore[operator]
    (act,) = await run.entries()
    assert (act.body["what"], act.body["by"], act.recorder_id) == ("explanation.sent", "li", "rec-1")
    shown = (await run.get("chief", page(stopped))).text
    assert "电池用尽" in shown
    assert "电量不足" in shown
    assert "一号记录仪" not in (await run.get("li", "/explanations")).text
    assert page(stopped) in (await run.get("li", "/explanations/past")).text


async def test_what_was_sent_does_not_change_but_another_may_be_added(run: Desks) -> None:
    stopped = await run.stopped_session()
    await run.until_found(opened)
    assert (
        await run.post("li", page(stopped), do="save", method="written", cause="other", text="想一想")
    ).status_code == 303
    (draft,) = await kept.of_session(run.office, "rec-1", "s1")
    assert (draft.state, draft.text) == ("draft", "想一想")
    assert "想一想" not in (await run.get("chief", page(stopped))).text, "a draft is its writer's own"
    form = {"method": "written", "cause": "low_battery", "text": "没电", "draft_id": draft.id}
    assert (await run.post("li", page(stopped), do="send", **form)).status_code == 303
    again = await run.post("li", page(stopped), do="save", **(form | {"text": "改一改"}))
    assert again.status_code == 422
    assert (await run.post("li", page(stopped), do="send", **(form | {"text": "改一改"}))).status_code == 422
    await run.post("li", page(stopped), do="discard", draft_id=draft.id)
    (sent,) = await kept.of_session(run.office, "rec-1", "s1")
    assert (sent.state, sent.text) == ("sent", "没电")
    del form["draft_id"]
    assert (await run.post("li", page(stopped), do="send", **(form | {"text": "补充"}))).status_code == 303
    assert [one.text for one in await kept.of_session(run.office, "rec-1", "s1")] == ["没电", "补充"]


async def test_a_cause_outside_an_open_list_waits_for_a_review_by_somebody_else(run: Desks) -> None:
    stopped = await run.stopped_session()
    await run.until_found(opened)
    refused = await run.post("li", page(stopped), do="send", method="written", cause="other")
    assert (refused.status_code, "要写明情况" in refused.text) == (422, True)
    sent = await run.post("li", page(stopped), do="send", method="written", cause="other", text="当事人晕倒，先救人")
    assert sent.headers["location"].endswith("sent_review")
    waiting = await run.until_found(lambda found: any(one.evidence.get("state") == "awaiting_review" for one in found))
    assert waiting
    (written,) = await kept.of_session(run.office, "rec-1", "s1")
    review = {"explanation": written.id, "decision": "approve"}
    assert (await run.post("li", f"{page(stopped)}/review", **review)).status_code == 403
    assert (await run.post("elsewhere", f"{page(stopped)}/review", **review)).status_code == 404
    # Sent back with a reason, written anew, approved.
    assert (
        await run.post("chief", f"{page(stopped)}/review", explanation=written.id, decision="return")
    ).status_code == 422
    back = {"explanation": written.id, "decision": "return", "remark": "写明时间"}
    assert (await run.post("chief", f"{page(stopped)}/review", **back)).status_code == 303
    shown = (await run.get("li", page(stopped))).text
    assert "写明时间" in shown
    assert 'rows="5" maxlength="10000" >当事人晕倒，先救人</textarea>' in shown, "what came back is there to go on with"
    await run.post("li", page(stopped), do="send", method="written", cause="other", text="十点零五分当事人晕倒，先救人")
    second = (await kept.of_session(run.office, "rec-1", "s1"))[-1]
    assert (
        await run.post("chief", f"{page(stopped)}/review", **(review | {"explanation": second.id}))
    ).status_code == 303
    late = await run.post("deputy", f"{page(stopped)}/review", **(review | {"explanation": second.id}))
    assert late.status_code == 422, "it was reviewed already"
    (finding,) = [one for one in await run.until_found(closed) if one.kind == "recording.unexplained_stop"]
    assert (finding.evidence["explained_by"], finding.evidence["approved_by"]) == ("li", "chief")
    whats = [one.body["what"] for one in await run.entries()]
    assert whats == ["explanation.sent", "explanation.returned", "explanation.sent", "explanation.approved"]


async def test_a_supervisor_never_reviews_their_own(run: Desks) -> None:
    run.handed = {}  # a recorder that nobody had: who answers for the unit explains
    stopped = await run.stopped_session()
    await run.until_found(opened)
    sent = await run.post("chief", page(stopped), do="send", method="written", cause="other", text="停电检修")
    assert sent.status_code == 303
    (written,) = await kept.of_session(run.office, "rec-1", "s1")
    review = {"explanation": written.id, "decision": "approve"}
    own = await run.post("chief", f"{page(stopped)}/review", **review)
    assert own.status_code == 422
    assert f'value="{written.id}"' not in (await run.get("chief", page(stopped))).text
    assert f'value="{written.id}"' in (await run.get("deputy", page(stopped))).text
    assert (await run.post("deputy", f"{page(stopped)}/review", **review)).status_code == 303
    with pytest.raises(InvalidInput, match="awaits no review"):
        kept.check_review(await kept.get(run.office, written.id), "elsewhere")


@pytest.mark.parametrize(
    ("policy", "method", "cause", "answer", "says"),
    [
        ("zhanhe", "work_record", "other", 422, "规定不认"),
        ("zhanhe", "written", "low_battery", 422, "不认这种方式"),
        ("zhanhe", "work_record", "low_battery", 303, "sent_review"),
        ("chongqing", "work_record", "bad_weather", 303, "sent_review"),
        ("gansu", "written", "obstruction", 303, "sent_note"),
    ],
)
async def test_each_policy_has_its_ways(
    *, run: Desks, policy: str, method: str, cause: str, answer: int, says: str
) -> None:
    stopped = await run.stopped_session(policy=policy)
    await run.until_found(opened)
    said = await run.post("li", page(stopped), do="send", method=method, cause=cause, text="如实")
    assert said.status_code == answer
    assert says in (said.headers.get("location") or said.text)
    assert len(await run.entries()) == (1 if answer == 303 else 0)


async def test_a_device_explains_and_a_reviewer_approves_it_here(run: Desks) -> None:
    stopped = await run.stopped_session()
    await run.until_found(opened)
    now = run.clock.now()
    told = Explanation(
        at=now,
        recorder_id="rec-1",
        session_id="s1",
        method="written",
        cause="other",
        text="手机没电",
        by="李强",
        stopped_at=stopped,
    )
    await run.publish(told)
    await run.until_found(lambda found: any(one.evidence.get("state") == "awaiting_review" for one in found))
    shown = (await run.get("chief", page(stopped))).text
    assert "手机没电" in shown
    one = shown.split('name="explanation" value="')[1][:32]
    assert (await run.post("chief", f"{page(stopped)}/review", explanation=one, decision="approve")).status_code == 303
    await run.until_found(closed)
    (written,) = await kept.of_session(run.office, "rec-1", "s1")
    assert (written.by, written.reviewed_by, written.state) == ("李强", "chief", "approved")


async def test_nothing_is_explained_that_the_ledger_cannot_say(run: Desks, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = await run.stopped_session()
    await run.until_found(opened)

    async def refuse(*_: object, **__: object) -> None:
        raise LedgerUnavailable("disk full")

    monkeypatch.setattr(Audit, "note", refuse)
    assert (await run.post("li", page(stopped), do="send", method="written", cause="low_battery")).status_code == 503
    assert await kept.of_session(run.office, "rec-1", "s1") == []


async def test_what_the_log_did_not_take_is_told_again(run: Desks, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = await run.stopped_session()
    await run.until_found(opened)
    publish = EmbeddedBus.publish

    async def refuse(*_: object, **__: object) -> None:
        raise BusUnavailable("no answer")

    monkeypatch.setattr(EmbeddedBus, "publish", refuse)
    assert (await run.post("li", page(stopped), do="send", method="written", cause="low_battery")).status_code == 503
    monkeypatch.setattr(EmbeddedBus, "publish", publish)
    assert "还没有送达日志" in (await run.get("li", page(stopped))).text
    assert (await run.post("li", f"{page(stopped)}/tell")).status_code == 303
    await run.until_found(closed)
    assert len(await kept.of_session(run.office, "rec-1", "s1")) == 1


async def test_a_stop_whose_time_is_not_over_is_listed_with_what_is_left(run: Desks) -> None:
    stopped = await run.stopped_session(hours_ago=21)
    await run.tick()
    await run.written()
    listed = (await run.get("li", "/explanations")).text
    assert "还有 2 小时" in listed or "还有 3 小时" in listed
    assert page(stopped) in listed
    recorder = run.console.fleet.recorders["rec-1"]
    (stop,) = upcoming(recorder, load("wucheng"), [], run.clock.now())
    assert (stop.state, stop.asked, stop.stopped_at) == ("due", "written", stopped)
    assert stop.due_at == stopped.plus(900_000 + 24 * 3_600_000)
    # The finding that would open has the same beginning.
    assert finding_id("recording.unexplained_stop", "rec-1", "s1", "", stop.stopped_at)


async def test_the_way_to_us_is_no_stop_and_a_report_is_due_at_once(run: Desks) -> None:
    now = run.clock.now()
    await run.publish(
        *(
            SessionOpened(at=now.plus(-9_000), recorder_id="rec-1", session_id=one, act="service")
            for one in ("s1", "s2")
        ),
        SessionStopped(
            at=now.plus(-5_000),
            recorder_id="rec-1",
            session_id="s1",
            reason="connection_lost",
            last_captured_at=now.plus(-5_000),
        ),
        SessionStopped(
            at=now.plus(-4_000),
            recorder_id="rec-1",
            session_id="s2",
            reason="officer",
            last_captured_at=now.plus(-5_000),
        ),
    )
    await run.written()
    recorder = run.console.fleet.recorders["rec-1"]
    (stop,) = upcoming(recorder, load("gansu"), [], now)
    assert (stop.session_id, stop.asked, stop.due_at) == ("s2", "report", now.plus(-4_000 + 600_000))
    (stop,) = upcoming(recorder, load("zhanhe"), [], now)
    assert (stop.asked, stop.due_at) == ("work_record", None), "it runs from the session's end"


@pytest.mark.parametrize(
    "path",
    [
        "/explanations/rec-1/s1/0",
        "/explanations/nobody/s1/1",
        "/explanations/rec-1/s1/-5",
        "/explanations/rec%00/s1/1",
        "/explanations/rec-1/s%001/1",
        "/explanations/rec-1/s1/253402343999000",
        "/explanations/rec-1/s1/99999999999999999999",
        "/explanations/rec-1/s1/x",
    ],
)
async def test_what_is_no_stop(run: Desks, path: str) -> None:
    await run.stopped_session()
    await run.written()
    assert (await run.get("chief", path)).status_code in {404, 422}


def test_every_article_and_cause_is_said_in_plain_words() -> None:
    told = {code: {**texts(code)["rules.toml"], **texts(code)["explanations.toml"]} for code in LANGUAGES}
    for name in names():
        policy = load(name)
        acts = [None, *(act.id for act in policy.acts)]
        kinds = policy.articles.findings
        for kind, recorder, act in itertools.product(kinds, ("body_worn", "premises_camera"), acts):
            for clause in cited(policy, kind, recorder=recorder, unbroken=True, act=act):
                for code in LANGUAGES:
                    assert told[code]["rule"].get(f"{name}.{clause}"), f"{name}.{clause} in {code}"
        for cause in policy.stops.causes:
            for code in LANGUAGES:
                assert told[code]["stop_cause"].get(cause.id), f"{cause.id} in {code}"
        for kind in kinds:
            for code in LANGUAGES:
                assert told[code]["advice"].get(kind)


async def test_the_same_by_api(run: Desks) -> None:
    stopped = await run.stopped_session()
    await run.until_found(opened)
    (owed,) = (await run.get("li", "/api/v1/explanations")).json()["items"]
    assert (owed["recorder_id"], owed["state"], owed["stopped_at"]) == ("rec-1", "overdue", stopped.rfc3339())
    assert (await run.get("elsewhere", "/api/v1/explanations")).json()["items"] == []
    stop = {name: owed[name] for name in ("recorder_id", "session_id", "stopped_at")}

    async def send(person: str, path: str, **said: object) -> httpx.Response:
        return await run.http.post(f"/api/v1{path}", headers={PERSON: person}, json=stop | said)

    refused = await send("li", "/explanations", method="written", cause="other")
    assert (refused.status_code, refused.json()["field"]) == (422, "text")
    assert (await send("li", "/explanations", method="voice", cause="other")).status_code == 422
    assert (await send("li", "/explanations", method="written", cause="other", by="wang")).status_code == 422
    assert (await send("li", "/explanations", method="written", cause="other", text="a\x00b")).json()["field"] == "text"
    assert (await send("wang", "/explanations", method="written", cause="low_battery")).status_code == 404
    sent = await send("li", "/explanations", method="written", cause="other", text="停电")
    assert (sent.status_code, sent.json()["state"], sent.json()["by"]) == (200, "awaiting", "li")
    review = {"explanation": sent.json()["id"], "decision": "approve"}
    assert (await send("li", "/explanations/reviews", **review)).status_code == 403
    assert (await send("chief", "/explanations/reviews", **review)).json()["reviewed_by"] == "chief"
    await run.until_found(closed)
    (past,) = (await run.get("li", "/api/v1/explanations/past")).json()["items"]
    assert past["state"] == "explained"


async def test_what_the_log_did_not_take_is_told_again_by_itself(run: Desks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "AGAIN_S", 0.05)
    stopped = await run.stopped_session()
    await run.until_found(opened)
    untold = kept.Explained(
        id="0" * 32,
        recorder_id="rec-1",
        session_id="s1",
        stopped_at=stopped,
        state="sent",
        method="written",
        cause="low_battery",
        text="",
        by="li",
        written_at=run.clock.now(),
        sent_at=run.clock.now(),
    )
    await kept.add(run.office, untold)
    again = asyncio.create_task(explaining.ExplanationDesk(run.console.parts).run())
    await run.until_found(closed)
    async with asyncio.timeout(20):
        while await kept.untold(run.office):  # noqa: ASYNC110 - a table rings no bell
            await asyncio.sleep(0.05)
    again.cancel()
