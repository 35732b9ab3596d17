"""The device API: what becomes an event, what is refused and how, what is kept of what is bad."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from domain.clock import Instant, ManualClock, SystemClock
from domain.events import (
    DeviceIndex,
    Explanation,
    Returned,
    SessionEnded,
    SessionOpened,
    SessionStopped,
    StoringDeferred,
    Telemetry,
)
from domain.registry import OldToken, hash_token
from streams.ingest.api.routes import MAX_BODY_BYTES, device_router
from streams.ingest.api.telemetry import MAX_READINGS
from tests.streams.memory_ingest import MemoryIngest

NOW = Instant.parse("2026-03-02T09:00:00.000+08:00")
ROOT = "/api/v1/recorders/cam-1"
TOKEN = {"Authorization": "Bearer t0ken"}
LEAVE = {"approved_by": "主管领导", "until": "2026-03-09T00:00:00+08:00", "reason": "道路中断"}
GOOD = {"device_at": "2026-03-02T09:00:01+08:00", "battery_percent": 55.5}


@pytest.fixture
def ingest() -> MemoryIngest:
    ingest = MemoryIngest()
    ingest.register("cam-1")
    ingest.register("cam-2", "other")
    ingest.register("asleep", "t0ken", state="suspended")
    return ingest


@pytest.fixture
def ended() -> list[tuple[str, str]]:
    return []


@pytest.fixture
async def http(ingest: MemoryIngest, ended: list[tuple[str, str]]) -> AsyncIterator[httpx.AsyncClient]:
    async def before_end(recorder_id: str, session_id: str) -> None:
        assert ingest.session_state(session_id) != "ended"
        ended.append((recorder_id, session_id))

    app = Starlette()
    app.routes.extend(device_router(ingest, ManualClock(NOW), before_end=before_end).routes)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://liuhen.test", headers=TOKEN) as client:
        yield client


async def _opened(http: httpx.AsyncClient, session_id: str = "s-1") -> str:
    answer = await http.post(f"{ROOT}/sessions", json={"session_id": session_id})
    assert answer.status_code == 201
    return session_id


async def test_one_reading_is_recorded_at_our_time(http: httpx.AsyncClient, ingest: MemoryIngest) -> None:
    answer = await http.post(f"{ROOT}/telemetry", json={**GOOD, "at": "1999-01-01T00:00:00Z"})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "at": NOW.rfc3339()})
    assert ingest.events == [
        Telemetry(at=NOW, recorder_id="cam-1", device_at=Instant.parse(GOOD["device_at"]), battery_percent=55.5)  # type: ignore[arg-type]
    ]


async def test_good_readings_of_a_list_are_kept_and_bad_ones_named(
    http: httpx.AsyncClient, ingest: MemoryIngest
) -> None:
    bad = {**GOOD, "battery_percent": 101}
    answer = await http.post(f"{ROOT}/telemetry", json=[GOOD, bad, GOOD, 7, {"lat": 1}])
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["accepted"] == len(ingest.events) == 2
    assert [(error["index"], error["field"]) for error in body["errors"]] == [
        (1, "battery_percent"),
        (3, ""),
        (4, "device_at"),
    ]
    assert body["field"] == "[1].battery_percent"
    assert [json.loads(data) for _, data, _, _ in ingest.rejected] == [bad, 7, {"lat": 1}]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"battery_percent": "55"}, "battery_percent"),
        ({"device_at": "yesterday"}, "device_at"),
        ({"device_at": 1700000000}, "device_at"),
        ({"lat": 91}, "lat"),
        ({"recording": 1}, "recording"),
        ({"recorder_id": "cam-2"}, "recorder_id"),
        ({"type": "fragment"}, "type"),
        ({"storage_free_bytes": -1}, "storage_free_bytes"),
        ({"storage_free_bytes": 10**30}, "storage_free_bytes"),
    ],
)
async def test_a_bad_field_is_named(
    http: httpx.AsyncClient, ingest: MemoryIngest, change: dict[str, Any], field: str
) -> None:
    answer = await http.post(f"{ROOT}/telemetry", json={**GOOD, **change})
    assert answer.status_code == 422
    assert answer.json()["field"] == field
    assert ingest.events == []
    assert len(ingest.rejected) == 1


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400),
        (b"", 422),
        (b"null", 422),
        (b"\xff\xfe", 400),
        (b'{"device_at": NaN}', 400),
        (b'{"battery_percent": 1e999}', 400),
        (b'{"device_at": "\xed\xa0\x80"}', 400),
        (b"[" * 100_000 + b"]" * 100_000, 400),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400),
        (b"9" * 10_000, 400),
        (b" " * (MAX_BODY_BYTES + 1), 413),
        (json.dumps([GOOD] * (MAX_READINGS + 1)).encode(), 413),
        (b"[]", 202),
    ],
)
async def test_rubbish_is_the_callers_fault(http: httpx.AsyncClient, content: bytes, status: int) -> None:
    answer = await http.post(f"{ROOT}/telemetry", content=content)
    assert answer.status_code == status, answer.text


async def test_a_body_longer_than_announced_is_cut_off(http: httpx.AsyncClient) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 65_536
            yield b" " * 65_536

    answer = await http.post(f"{ROOT}/telemetry", content=endless())
    assert answer.status_code == 413
    assert read < 2 * MAX_BODY_BYTES


async def test_other_types_of_body_are_refused(http: httpx.AsyncClient) -> None:
    answer = await http.post(f"{ROOT}/telemetry", content=b"a=1", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415


@pytest.mark.parametrize(
    ("recorder", "headers", "status"),
    [
        ("cam-1", {"Authorization": ""}, 401),
        ("cam-1", {"Authorization": "Bearer wrong"}, 401),
        ("cam-1", {"Authorization": "Basic dDBrZW4="}, 401),
        ("cam-1", {"Authorization": "Bearer " + "x" * 5000}, 401),
        ("cam-2", {}, 401),
        ("nobody", {"Authorization": ""}, 401),
        ("nobody", {}, 404),
        ("..%2F..", {}, 404),
        ("CAM-1", {}, 404),
        ("asleep", {}, 403),
        ("asleep", {"Authorization": "Bearer wrong"}, 401),
    ],
)
async def test_who_may_speak(http: httpx.AsyncClient, recorder: str, headers: dict[str, str], status: int) -> None:
    answer = await http.post(f"/api/v1/recorders/{recorder}/telemetry", json=GOOD, headers=headers)
    assert answer.status_code == status
    assert ("www-authenticate" in answer.headers) == (status == 401)


async def test_nobody_is_refused_for_what_has_not_been_read_yet(http: httpx.AsyncClient, ingest: MemoryIngest) -> None:
    ingest.knows_registrations = False
    for recorder, headers in (
        ("nobody", {}),
        ("asleep", {}),
        ("cam-1", {"Authorization": "Bearer newer"}),
    ):
        answer = await http.post(f"/api/v1/recorders/{recorder}/telemetry", json=GOOD, headers=headers)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
    assert (await http.post("/api/v1/recorders/cam-1/telemetry", json=GOOD)).status_code == 202
    assert (await http.post("/api/v1/recorders/CAM-1/telemetry", json=GOOD)).status_code == 404
    no_token = {"Authorization": ""}
    assert (await http.post("/api/v1/recorders/nobody/telemetry", json=GOOD, headers=no_token)).status_code == 401


async def test_a_full_spool_says_when_to_come_again(http: httpx.AsyncClient, ingest: MemoryIngest) -> None:
    ingest.full = True
    answer = await http.post(f"{ROOT}/telemetry", json=GOOD)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert (await http.post(f"{ROOT}/telemetry", content=b"{")).status_code == 503
    ingest.full = False
    ingest.fail_on = {2, 3}
    answer = await http.post(f"{ROOT}/telemetry", json=[GOOD, GOOD, GOOD])
    assert answer.status_code == 503
    assert (answer.json()["accepted"], answer.json()["pending"]) == (1, [1, 2])


async def test_the_life_of_a_session(
    http: httpx.AsyncClient, ingest: MemoryIngest, ended: list[tuple[str, str]]
) -> None:
    body = {"session_id": "s-1", "act": "inspection", "unbroken": True, "remote": True}
    assert (await http.post(f"{ROOT}/sessions", json=body)).status_code == 201
    again = await http.post(f"{ROOT}/sessions", json=body)
    assert (again.status_code, again.json()["state"]) == (200, "open")
    stop = {"reason": "battery", "last_captured_at": "2026-03-02T08:59:58+08:00"}
    assert (await http.post(f"{ROOT}/sessions/s-1/stop", json=stop)).json()["state"] == "stopped"
    assert (await http.post(f"{ROOT}/sessions/s-1/stop", json=stop)).status_code == 200
    said = {"method": "voice", "cause": "battery", "by": "Officer"}
    assert (await http.post(f"{ROOT}/sessions/s-1/explanations", json=said)).status_code == 202
    assert (await http.post(f"{ROOT}/sessions/s-1/resume")).json()["state"] == "open"
    assert (await http.post(f"{ROOT}/sessions/s-1/end")).json()["state"] == "ended"
    assert (await http.post(f"{ROOT}/sessions/s-1/end")).status_code == 200
    assert (await http.post(f"{ROOT}/returned", json={"session_id": "s-1"})).status_code == 202
    assert ingest.events == [
        SessionOpened(at=NOW, recorder_id="cam-1", session_id="s-1", act="inspection", unbroken=True, remote=True),
        SessionStopped(
            at=NOW, recorder_id="cam-1", session_id="s-1", reason="battery", last_captured_at=NOW.plus(-2000)
        ),
        Explanation(at=NOW, recorder_id="cam-1", session_id="s-1", method="voice", cause="battery", by="Officer"),
        *[event for event in ingest.events if type(event).__name__ == "SessionResumed"],
        SessionEnded(at=NOW, recorder_id="cam-1", session_id="s-1", completed_at=NOW),
        Returned(at=NOW, recorder_id="cam-1", session_id="s-1"),
    ]
    assert len(ingest.events) == 6
    assert ended == [("cam-1", "s-1")]


async def test_leave_to_store_later_is_taken_after_the_end_too(http: httpx.AsyncClient, ingest: MemoryIngest) -> None:
    await _opened(http, "s-1")
    await http.post(f"{ROOT}/sessions/s-1/end")
    answer = await http.post(f"{ROOT}/sessions/s-1/deferrals", json=LEAVE)
    assert (answer.status_code, answer.json()) == (202, {"at": NOW.rfc3339()})
    until = Instant.parse(LEAVE["until"])
    assert ingest.events[-1] == StoringDeferred(
        at=NOW, recorder_id="cam-1", session_id="s-1", approved_by="主管领导", until=until, reason="道路中断"
    )


async def test_conflicts(http: httpx.AsyncClient) -> None:
    await _opened(http, "s-1")
    other = await http.post(f"{ROOT}/sessions", json={"session_id": "s-2"})
    assert (other.status_code, other.json()["open"]) == (409, "s-1")
    theirs = await http.post(
        "/api/v1/recorders/cam-2/sessions", json={"session_id": "s-1"}, headers={"Authorization": "Bearer other"}
    )
    assert theirs.status_code == 409
    await http.post(f"{ROOT}/sessions/s-1/end")
    for call in ("stop", "resume"):
        assert (await http.post(f"{ROOT}/sessions/s-1/{call}", json={"reason": "officer"})).status_code == 409
    assert (await http.post(f"{ROOT}/sessions", json={"session_id": "s-1"})).status_code == 409


async def test_sessions_of_others_are_not_found(http: httpx.AsyncClient) -> None:
    await _opened(http, "s-1")
    headers = {"Authorization": "Bearer other"}
    for call in ("stop", "resume", "end", "explanations", "deferrals"):
        answer = await http.post(f"/api/v1/recorders/cam-2/sessions/s-1/{call}", json={}, headers=headers)
        assert answer.status_code == 404
    assert (await http.post(f"{ROOT}/sessions/none/end")).status_code == 404
    assert (await http.post(f"{ROOT}/sessions/%00/end")).status_code == 404
    assert (await http.post(f"{ROOT}/returned", json={"session_id": "none"})).status_code == 404


async def test_two_that_open_at_once_get_one_session(http: httpx.AsyncClient, ingest: MemoryIngest) -> None:
    answers = await asyncio.gather(*(http.post(f"{ROOT}/sessions", json={}) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    assert ingest.kinds() == ["SessionOpened"]


@pytest.mark.parametrize(
    ("call", "body", "field"),
    [
        ("sessions", {"session_id": "a b"}, "session_id"),
        ("sessions", {"session_id": 5}, "session_id"),
        ("sessions", {"unbroken": "yes"}, "unbroken"),
        ("sessions", [], ""),
        ("sessions/s-1/stop", {"reason": "tired"}, "reason"),
        ("sessions/s-1/stop", None, "reason"),
        ("sessions/s-1/stop", {"reason": "officer", "session_id": "s-2"}, "session_id"),
        ("sessions/s-1/end", {"completed_at": "2026-03-02"}, "completed_at"),
        ("sessions/s-1/explanations", {"method": "voice", "cause": "x"}, "by"),
        ("sessions/s-1/explanations", None, ""),
        ("sessions/s-1/deferrals", {**LEAVE, "reason": ""}, "reason"),
        ("sessions/s-1/deferrals", {**LEAVE, "until": "tomorrow"}, "until"),
        ("sessions/s-1/deferrals", {**LEAVE, "until": NOW.rfc3339()}, "until"),
        ("sessions/s-1/deferrals", {"until": LEAVE["until"], "reason": "x"}, "approved_by"),
    ],
)
async def test_bad_session_calls_name_the_field(
    http: httpx.AsyncClient, ingest: MemoryIngest, call: str, body: Any, field: str
) -> None:
    await _opened(http, "s-1")
    content = b"" if body is None else json.dumps(body).encode()
    answer = await http.post(f"{ROOT}/{call}", content=content)
    assert answer.status_code == 422, answer.text
    assert answer.json().get("field", "") == field
    assert ingest.kinds() == ["SessionOpened"]


async def test_the_index_of_a_device(http: httpx.AsyncClient, ingest: MemoryIngest) -> None:
    held = {"session_id": "s-1", "from": "2026-03-01T08:00:00+08:00", "to": "2026-03-01T09:00:00+08:00", "bytes": 10}
    assert (await http.put(f"{ROOT}/index", json={"recordings": [held] * 5000})).status_code == 202
    event = ingest.events[0]
    assert isinstance(event, DeviceIndex)
    assert len(event.recordings) == 5000
    backwards = {**held, "to": "2026-03-01T07:00:00+08:00"}
    answer = await http.put(f"{ROOT}/index", json={"recordings": [held, backwards]})
    assert (answer.status_code, answer.json()["field"]) == (422, "recordings[1].to")
    answer = await http.put(f"{ROOT}/index", json={"recordings": [held] * 10_001})
    assert (answer.status_code, answer.json()["field"]) == (422, "recordings")
    answer = await http.put(f"{ROOT}/index", json={"recordings": [{**held, "bytes": -1}]})
    assert (answer.status_code, answer.json()["field"]) == (422, "recordings[0].bytes")


async def test_a_fault_of_ours_is_a_bare_500(
    http: httpx.AsyncClient, ingest: MemoryIngest, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(event: object) -> None:
        raise RuntimeError("secret path", event)

    monkeypatch.setattr(ingest, "record", broken)
    answer = await http.post(f"{ROOT}/sessions", json={})
    assert answer.status_code == 500
    assert "secret" not in answer.text


async def test_a_token_that_was_renewed_is_taken_until_its_time_is_up(
    http: httpx.AsyncClient, ingest: MemoryIngest
) -> None:
    soon = SystemClock().now().plus(60_000)
    for until, status in ((soon, 202), (soon.plus(-120_000), 401)):
        renewed = ingest.register("cam-1", "the new one")
        old = (OldToken(sha256=hash_token("t0ken"), until=until),)
        ingest.registrations["cam-1"] = msgspec.structs.replace(renewed, old_tokens=old)
        assert (await http.post(f"{ROOT}/telemetry", json=GOOD)).status_code == status
        answer = await http.post(f"{ROOT}/telemetry", json=GOOD, headers={"Authorization": "Bearer the new one"})
        assert answer.status_code == 202
