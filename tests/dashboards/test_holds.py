"""The holds desk: set, and released by two people; one person alone releases nothing, whichever way they try."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from domain.errors import InvalidInput
from domain.events import Hold, RetentionClass
from domain.topics import EVENTS
from domain.wire import encode
from storage.catalog.rows import ExpiryRow, ExpiryState
from storage.office import releases
from storage.retention.desk import Desk
from storage.retention.releasing import Releasing
from tests.dashboards.desks import PERSON, Desks, desks


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Desks]:
    async with desks(tmp_path) as made:
        await made.stopped_session()
        await made.written()
        yield made


async def held(run: Desks) -> list[str]:
    """Ids of the holds that stand, once the custody worker has followed the ledger."""
    await run.retention.follow()
    return [one.id for one in await run.retention.register.holds("rec-1")]


async def set_one(run: Desks, person: str = "chief") -> str:
    said = await run.post(person, "/holds", recorder="rec-1", session="s1", reason="当事人投诉", case="7号")
    assert (said.status_code, said.headers["location"]) == (303, "/holds?said=set")
    (one,) = await held(run)
    return one


async def test_a_hold_is_set_and_released_by_two(run: Desks) -> None:
    one = await set_one(run)
    shown = (await run.get("deputy", "/holds")).text
    assert "当事人投诉" in shown
    assert one in shown
    assert (await run.post("chief", "/holds/release", hold=one, reason="已结案")).status_code == 303
    assert await held(run) == [one], "asking lifts nothing"
    assert f'id="confirm-{one}"' not in (await run.get("chief", "/holds")).text
    assert f'id="confirm-{one}"' in (await run.get("deputy", "/holds")).text
    done = await run.post("deputy", "/holds/confirm", hold=one, decision="confirm")
    assert done.headers["location"] == "/holds?said=confirmed"
    assert await held(run) == []
    (entry,) = await run.entries("release")
    assert (entry.body["by"], entry.body["confirmed_by"], entry.body["reason"]) == ("chief", "deputy", "已结案")
    assert [act.body["what"] for act in await run.entries()] == ["hold.release_asked"]
    assert "deputy" in (await run.get("chief", "/holds")).text


async def test_one_person_alone_never_releases(run: Desks) -> None:
    one = await set_one(run)
    # Nobody asked; asked by themselves; asked twice; by what they write into the form.
    assert (await run.post("chief", "/holds/confirm", hold=one, decision="confirm")).status_code == 422
    assert (await run.post("chief", "/holds/release", hold=one, reason="已结案")).status_code == 303
    assert (await run.post("chief", "/holds/release", hold=one, reason="已结案")).status_code == 422
    for form in ({}, {"by": "deputy", "confirmed_by": "deputy", "asked_by": "deputy"}):
        own = await run.post("chief", "/holds/confirm", hold=one, decision="confirm", **form)
        assert own.status_code == 422
    # Withdrawn, and asked and confirmed anew.
    back = await run.post("chief", "/holds/confirm", hold=one, decision="refuse")
    assert back.headers["location"] == "/holds?said=withdrawn"
    assert (await run.post("deputy", "/holds/confirm", hold=one, decision="confirm")).status_code == 422
    # Not by the log, nor by calling what lies beneath.
    alone = Hold(
        at=run.clock.now(), recorder_id="rec-1", session_id="s1", reason="x", by="chief", released=True, hold_id=one
    )
    await run.bus.publish(EVENTS.name, "rec-1", encode(alone))
    await run.retention.apply(alone)

    beneath = Desk(run.retention)
    with pytest.raises(InvalidInput, match="second person"):
        await beneath.release(one, at=run.clock.now(), by="chief", confirmed_by=" Chief ", reason="x")
    releasing = Releasing(beneath, run.office, run.ledger, run.clock)
    await releasing.ask(one, by="chief", reason="x")
    with pytest.raises(InvalidInput, match="second person"):
        await releasing.confirm(one, by="CHIEF")
    assert await held(run) == [one]
    assert await run.entries("release") == []


async def test_whom_holds_are_for(run: Desks) -> None:
    one = await set_one(run, "watch")
    for stranger, answer in (("li", 403), ("auditor", 403), ("watch", 403), ("elsewhere", 404)):
        assert (await run.post(stranger, "/holds/release", hold=one, reason="x")).status_code == answer
    assert one not in (await run.get("elsewhere", "/holds")).text
    assert (await run.post("elsewhere", "/holds", recorder="rec-1", session="s1", reason="x")).status_code == 404
    assert (await run.get("li", "/holds")).status_code == 403
    assert (await run.post("archive", "/holds/release", hold=one, reason="x")).status_code == 303
    refused = await run.post("chief", "/holds/confirm", hold=one, decision="refuse", reason="还要用")
    assert refused.headers["location"] == "/holds?said=refused"
    (decided,) = await releases.decided(run.office)
    assert (decided.state, decided.asked_by, decided.decided_by, decided.remark) == (
        "refused",
        "archive",
        "chief",
        "还要用",
    )
    assert await held(run) == [one]


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"session": "s1"}, "reason"),
        ({"session": "s1", "reason": "a\x00b"}, "reason"),
        ({"session": "s1", "reason": "x", "case": "\x00"}, "case"),
        ({"session": "none", "reason": "x"}, "session"),
        ({"session": "s1", "reason": "x", "from_at": "yesterday"}, "from_at"),
        ({"session": "s1", "reason": "x", "from_at": "9999-12-31T23:59:59-12:00"}, "from_at"),
        ({"session": "s1", "reason": "x", "from_at": "2026-05-04T09:00", "to_at": "2026-05-04T08:00"}, "to"),
        ({"session": "../s1", "reason": "x"}, "session_id"),
    ],
)
async def test_what_cannot_be_held_is_said_and_what_was_written_stays(
    run: Desks, form: dict[str, str], field: str
) -> None:
    said = await run.post("chief", "/holds", recorder="rec-1", **form)
    assert said.status_code == 422
    assert field in said.text
    assert 'value="rec-1"' in said.text
    assert await held(run) == []


async def test_a_span_without_a_session_holds_every_session_in_it(run: Desks) -> None:
    assert (await run.post("chief", "/holds", recorder="rec-1", reason="x")).status_code == 303
    assert len(await held(run)) == 1
    none = await run.post("chief", "/holds", recorder="rec-1", reason="x", to_at="2001-01-01T00:00")
    assert none.status_code == 422


async def test_the_same_by_api(run: Desks) -> None:
    async def send(person: str, path: str, **said: object) -> httpx.Response:
        return await run.http.post(f"/api/v1/holds{path}", headers={PERSON: person}, json=said)

    assert (await send("li", "", recorder_id="rec-1", reason="x")).status_code == 403
    assert (await send("elsewhere", "", recorder_id="rec-1", reason="x")).status_code == 404
    span = {"from": "2026-05-04T09:00:00+08:00", "to": "2026-05-04T08:00:00+08:00"}
    wrong = await send("chief", "", recorder_id="rec-1", session_id="s1", reason="x", **span)
    assert (wrong.status_code, wrong.json()["field"]) == (422, "to")
    one = (await send("chief", "", recorder_id="rec-1", session_id="s1", reason="投诉")).json()["holds"][0]
    assert await held(run) == [one]
    assert (await send("chief", f"/{one}/confirm")).status_code == 422
    assert (await send("chief", f"/{one}/release", reason="结案")).json()["state"] == "asked"
    assert (await send("chief", f"/{one}/confirm")).status_code == 422
    (standing,) = (await run.get("deputy", "/api/v1/holds")).json()["items"]
    assert (standing["hold"]["id"], standing["asked"]["asked_by"]) == (one, "chief")
    assert (await send("deputy", f"/{one}/refuse", reason="还要用")).json()["state"] == "refused"
    assert (await send("chief", f"/{one}/release", reason="结案")).status_code == 200
    assert (await send("deputy", f"/{one}/confirm")).json()["state"] == "confirmed"
    assert await held(run) == []


async def test_what_has_come_to_its_end_is_decided_by_a_person(run: Desks) -> None:
    def ended(key: str, kind: RetentionClass, state: ExpiryState = "review") -> ExpiryRow:
        at = run.clock.now().plus(-60_000)
        return ExpiryRow(
            key=key, recorder_id="rec-1", session_id=kind, state=state, retention_class=kind, due_at=at, listed_at=at
        )

    register = run.retention.register
    for row in (ended("a", "ordinary"), ended("b", "evidence"), ended("c", "long_term", "listed")):
        await register.set_expiry(row)
    shown = (await run.get("chief", "/holds/ended")).text
    assert shown.count("待人审看") == 2
    assert "已列出，到时删除" in shown
    form = {"recorder": "rec-1", "listed_until": run.clock.now().rfc3339(), "reason": "无保存意义"}

    async def decide(person: str, session: str, decision: str, **more: str) -> int:
        said = await run.post(person, "/holds/ended", session=session, decision=decision, **(form | more))
        return said.status_code

    assert [await decide(one, "ordinary", "delete") for one in ("li", "watch", "elsewhere")] == [403, 403, 404]
    assert await decide("chief", "evidence", "delete") == 422, "evidence goes only by a signed decision"
    assert await decide("chief", "long_term", "delete") == 422, "it awaits no decision"
    assert await decide("chief", "ordinary", "delete", listed_until="2020-01-01T00:00:00+08:00") == 422, "not seen yet"
    assert await decide("chief", "ordinary", "delete", reason=" ") == 422
    assert await run.entries("approval") == []
    assert await decide("chief", "ordinary", "delete") == 303
    assert await decide("archive", "evidence", "delete", document="婺卫批〔2026〕9号") == 303
    assert await decide("chief", "long_term", "keep", again_at="2030-01-01T00:00") == 303
    told = [(one.session_id, one.body["decision"], one.body["by"]) for one in await run.entries("approval")]
    assert told == [("ordinary", "delete", "chief"), ("evidence", "delete", "archive"), ("long_term", "keep", "chief")]
    await run.retention.follow()
    states = {row.key: row.state for row in (await register.list_expiries()).items}
    assert states == {"a": "approved", "b": "approved", "c": "kept"}
