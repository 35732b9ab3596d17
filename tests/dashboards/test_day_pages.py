"""A day and a session asked over HTTP: what is told, to whom, and a hold set from there."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dashboards.people.rights import Duty, Person, Role
from domain.events import Explanation, SessionEnded, SessionOpened, SessionStopped, Telemetry
from domain.registry import Registration
from storage.ledger.entry import decode
from tests.dashboards.feeds import at, finding, fragment
from tests.dashboards.test_console_api import Running, running, segment_row

EVIL = "<script>alert(1)</script>"


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Running]:
    ids: dict[str, Any] = {"recorder_id": "cam-1", "session_id": "s1"}
    async with running(tmp_path) as started:
        await started.publish(
            Registration(recorder_id="cam-1", kind="body_worn", policy="wucheng", name=EVIL, unit_id="u1"),
            SessionOpened(at=at(0), recorder_id="cam-1", session_id="s1", act="inspection"),
            Telemetry(at=at(30), recorder_id="cam-1", device_at=at(30), battery_percent=50, signal_dbm=-70),
            fragment(200),
            finding(1, kind="recording.gap", began_at=at(60), ended_at=at(120), status="closed", cause="network",
                    evidence={"seconds": 60.0, "cause": "network"}, clauses=["W-AV 第十八条", "none such"]),
            SessionStopped(at=at(190), **ids, reason="officer", last_captured_at=at(180)),
            Explanation(at=at(199), **ids, method="voice", cause="other", text=EVIL, by="王"),
            SessionOpened(at=at(300), recorder_id="cam-1", session_id="s2"),
            SessionEnded(at=at(230), recorder_id="cam-1", session_id="s1", completed_at=at(220)),
        )  # fmt: skip
        for minute in (0, 2):
            await started.catalog.add_segment(segment_row(minute))
        await started.written()
        yield started


def as_person(run: Running, *duties: Duty) -> None:
    door = run.console.parts.guard._door
    door._person = Person(account_id="wang", name="王", duties=duties, by="token")  # type: ignore[attr-defined]


def asked(**more: str) -> dict[str, str]:
    return {"from": at(0).rfc3339(), "to": at(3600).rfc3339(), **more}


async def test_the_day_says_what_is_there_what_is_missing_and_why(run: Running) -> None:
    day = (await run.get("/api/v1/recorders/cam-1/day", **asked())).json()
    spans = [(one["from"], one["to"], one["how"]) for one in day["stretches"]]
    assert spans == [
        (at(0).rfc3339(), at(60).rfc3339(), "stored"),
        (at(120).rfc3339(), at(180).rfc3339(), "stored"),
        (at(200).rfc3339(), at(202).rfc3339(), "pending"),
    ]
    assert [(one["from"], one["to"]) for one in day["holes"]] == [
        (at(60).rfc3339(), at(120).rfc3339()),
        (at(180).rfc3339(), at(200).rfc3339()),
    ]
    (gap,) = day["findings"]
    assert (gap["cause"], gap["open"]) == ("网络中断", False)
    assert gap["rules"][0]["clause"] == "W-AV 第十八条"
    assert gap["rules"][0]["text"]
    assert gap["rules"][1] == {"clause": "none such", "text": ""}
    assert [one["kind"] for one in day["said"]] == ["stop", "explanation"]
    assert day["readings"] == [[int(at(0)), 0.5, None, None, -70.0, 0]]
    took = {one["session_id"]: one for one in day["sessions"]}
    assert took["s1"]["store_by"] is not None
    assert took["s2"]["store_by"] is None
    only = (await run.get("/api/v1/recorders/cam-1/day", **asked(session="s2"))).json()
    assert (only["stretches"], only["said"], [one["session_id"] for one in only["sessions"]]) == ([], [], ["s2"])


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/v1/recorders/cam-1/day", "from"),
        ("/api/v1/recorders/cam-1/day?from=2026-05-06T09:00:00Z&to=2026-05-06T09:00:00Z", "to"),
        ("/api/v1/recorders/cam-1/day?from=2026-05-06T09:00:00Z&to=2026-06-06T09:00:00Z", "to"),
        ("/recorders/cam-1/day?date=yesterday", "date"),
        ("/recorders/cam-1/day?date=0001-01-01", "date"),
        ("/recorders/cam-1/day?at=x", "at"),
        ("/recorders/No%20Id/day", "recorder_id"),
        ("/sessions?recorder=%0A", "recorder"),
        ("/sessions/cam-1/a%20b", "session_id"),
    ],
)
async def test_bad_input_names_the_field(run: Running, path: str, field: str) -> None:
    answer = await run.http.get(path)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_pages_escape_and_hold_nothing_inline(run: Running) -> None:
    for path in (
        "/recorders/cam-1/day?date=2026-05-06",
        "/sessions/cam-1/s1",
        "/sessions",
        "/sessions?recorder=cam-1&lang=en",
    ):
        answer = await run.http.get(path)
        assert answer.status_code == 200, path
        for bad in ("<script>alert", "style=", "onclick="):
            assert bad not in answer.text
    assert (await run.http.get("/recorders/none/day")).status_code == 404
    assert (await run.http.get("/sessions/cam-1/none")).status_code == 404


async def test_to_each_their_own(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/api/v1/recorders/cam-1/day"
    as_person(run, Duty(role=Role.SUPERVISOR, unit_id="u2"))
    assert (await run.get(path, **asked())).status_code == 404
    assert (await run.get("/sessions/cam-1/s1")).status_code == 404
    assert "/sessions/cam-1/s1" not in (await run.http.get("/sessions")).text
    as_person(run, Duty(role=Role.SUPERVISOR, unit_id="u1"))
    assert (await run.get("/sessions/cam-1/s1")).status_code == 200
    officers = {"s1": frozenset({"wang"})}
    console, place = run.console.parts, run.console.parts.place("cam-1")
    monkeypatch.setattr(
        type(console),
        "place",
        lambda _parts, _id, moment=None: type(place)(
            unit_id="u1", officers=officers["s1"] if moment is not None and moment < at(250) else frozenset()
        ),
    )
    as_person(run, Duty(role=Role.OFFICER))
    day = (await run.get(path, **asked())).json()
    assert [one["session_id"] for one in day["sessions"]] == ["s1"]
    assert (await run.get("/sessions/cam-1/s1")).status_code == 200
    assert (await run.get("/sessions/cam-1/s2")).status_code == 404
    listed = (await run.http.get("/sessions")).text
    assert re.findall(r'href="(/sessions/[^"]+)"', listed) == ["/sessions/cam-1/s1"]


async def test_a_hold_is_in_the_ledger_twice_who_and_what(run: Running) -> None:
    form = {"reason": "投诉", "from_at": "2026-05-06T09:00:30", "to_at": "2026-05-06T09:01:00", "case": ""}
    answer = await run.http.post("/sessions/cam-1/s1/hold", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sessions/cam-1/s1?held=1")
    entries = [decode(line) async for _, line in run.console.parts.ledger.read(0)]
    act, hold = entries[-2:]
    assert (act.kind, act.body["what"], act.body["by"]) == ("act", "hold.set", "local")
    assert (hold.kind, hold.session_id, hold.body["by"], hold.body["from"]) == ("hold", "s1", "local", at(30).rfc3339())
    for wrong, field in (
        ({"reason": " "}, "reason"),
        ({**form, "from_at": "soon"}, "from_at"),
        ({**form, "to_at": "2026-05-06T08:00"}, "to"),
    ):
        answer = await run.http.post("/sessions/cam-1/s1/hold", data=wrong)
        assert (answer.status_code, answer.json()["field"]) == (422, field)
    as_person(run, Duty(role=Role.AUDITOR))
    assert (await run.http.post("/sessions/cam-1/s1/hold", data=form)).status_code == 403
