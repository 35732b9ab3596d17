"""Alerts by HTTP: who may see and do what, what is told to the ledger, what comes from Alertmanager."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request

from dashboards.alerts.alertmanager import alertmanager_router
from dashboards.alerts.api import alerts_api
from dashboards.alerts.arrange import Arrangements
from dashboards.alerts.arrange_api import arrangements_router
from dashboards.alerts.desk import Desk, desk_of
from dashboards.alerts.signal import Origin, of_finding
from dashboards.parts import Parts
from dashboards.people.guard import Guard
from dashboards.people.rights import Duty, Person, Role
from domain.clock import Instant, SystemClock
from domain.settings import Settings
from storage.ledger.entry import decode
from storage.office import channels, outbox, premises
from storage.office.dossier import Contact, Site
from tests.dashboards.serving import Served, served
from tests.services import notifying

TOKEN = "an-alertmanagers-own-token"


class Door:
    """Lets in whoever is named in a header, as what the test says they are."""

    def __init__(self) -> None:
        self.people: dict[str, Person] = {}

    def let(self, account_id: str, *duties: Duty) -> None:
        self.people[account_id] = Person(account_id=account_id, name=account_id, duties=duties, by="token")

    async def who(self, request: Request) -> Person | None:
        return self.people.get(request.headers.get("X-Who", ""))

    def knock(self, request: Request) -> None:
        return


class House:
    """The API on its own door, and what stands behind it."""

    def __init__(self, here: Served, folder: Path) -> None:
        (folder / "token").write_text(TOKEN)
        self.door = Door()
        self.door.let("boss", Duty(role=Role.SUPERVISOR))
        self.door.let("zhang", Duty(role=Role.DUTY_OFFICER, unit_id="north"))
        self.door.let("li", Duty(role=Role.DUTY_OFFICER, unit_id="south"))
        settings = Settings(alertmanager_token_file=str(folder / "token"))
        fields = {name: getattr(here.console.parts, name) for name in Parts.__struct_fields__}
        self.parts = Parts(**{**fields, "guard": Guard(self.door), "settings": settings})
        self.desk: Desk = desk_of(self.parts)
        app = FastAPI()
        arrangements = Arrangements(self.parts.office, self.parts.audit, self.parts.clock)
        for router in (
            alerts_api(self.parts, self.desk),
            arrangements_router(self.parts, arrangements),
            alertmanager_router(self.parts, self.desk.book),
        ):
            app.include_router(router)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://console/api/v1")

    async def found(self, recorder: str, unit: str = "north", site: str = "canteen", **fields: Any) -> None:
        signal = of_finding(notifying.finding(recorder, **fields), Origin(site_id=site, unit_id=unit))
        await self.desk.book.take([signal], int(SystemClock().now()))

    async def ask(self, who: str, method: str, path: str, **rest: Any) -> httpx.Response:
        return await self.client.request(method, path, headers={"X-Who": who}, **rest)

    async def get(self, path: str, who: str = "boss") -> Any:
        answer = await self.ask(who, "GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def said(self) -> list[dict[str, Any]]:
        """What stands in the ledger of acts."""
        size = await self.parts.ledger.size()
        return [decode(line).body async for _, line in self.parts.ledger.read(0, size)]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with served(tmp_path) as here:
        made = House(here, tmp_path)
        yield made
        await made.client.aclose()


async def test_a_list_of_what_is_ones_own_page_by_page(house: House) -> None:
    for number in range(5):
        await house.found(f"cam-{number}", site=f"site-{number}")
    await house.found("cam-9", unit="south", site="far")
    assert len((await house.get("/alerts", "boss"))["items"]) == 6
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await house.get("/alerts?limit=2" + (f"&cursor={cursor}" if cursor else ""), "zhang")
        seen += [alert["site_id"] for alert in page["items"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert sorted(seen) == [f"site-{n}" for n in range(5)]
    assert len((await house.get("/alerts?recorder=cam-3&state=opened,acknowledged"))["items"]) == 1
    assert (await house.get("/alerts?severity=critical"))["items"] == []
    for wrong in ("state=x", "severity=x", "family=x", "cursor=x", "site=a%00b", "colour=red", "recorder=A!"):
        assert (await house.ask("boss", "GET", f"/alerts?{wrong}")).status_code == 422


async def test_a_life_of_an_alert_and_what_the_ledger_says_of_it(house: House) -> None:
    await house.found("cam-1")
    alert = (await house.get("/alerts"))["items"][0]
    path = f"/alerts/{alert['id']}"
    assert (await house.ask("li", "GET", path)).status_code == 404
    assert (await house.ask("li", "POST", f"{path}/acknowledge")).status_code == 404
    assert (await house.ask("nobody", "GET", path)).status_code == 401
    assert (await house.ask("zhang", "POST", f"{path}/assign", json={"to": "li"})).status_code == 404

    steps: list[tuple[str, str, dict[str, str], str]] = [
        ("zhang", "acknowledge", {"note": "在看"}, "acknowledged"),
        ("boss", "assign", {"to": "zhang"}, "acknowledged"),
        ("zhang", "note", {"note": "已联系场所"}, "acknowledged"),
        ("zhang", "resolve", {"note": "断电，已恢复"}, "resolved"),
        ("boss", "reopen", {"note": "又断了"}, "opened"),
    ]
    for who, act, body, state in steps:
        answer = await house.ask(who, "POST", f"{path}/{act}", json=body)
        assert (answer.status_code, answer.json().get("state")) == (200, state), answer.text
    detail = await house.get(path)
    assert [line["what"] for line in detail["history"] if line["by"]] == [
        "acknowledged",
        "assigned",
        "noted",
        "resolved",
        "reopened",
    ]
    assert [finding["recorder_id"] for finding in detail["findings"]] == ["cam-1"]
    acts = [entry["what"] for entry in await house.said() if "alert" in entry]
    assert acts == ["alert.acknowledged", "alert.assigned", "alert.noted", "alert.resolved", "alert.reopened"]


async def test_bodies_that_are_none(house: House) -> None:
    await house.found("cam-1")
    path = f"/alerts/{(await house.get('/alerts'))['items'][0]['id']}"
    for act, content in [
        ("acknowledge", b"{"),
        ("acknowledge", b'{"note": 1}'),
        ("acknowledge", b'{"nope": 1}'),
        ("note", b"{}"),
        ("note", b'{"note": "a\\u0000b"}'),
        ("resolve", b"{}"),
        ("assign", b"{}"),
        ("reopen", b"{}"),
        ("party", b"{}"),
        ("party", b'{"contacts": ["nobody"]}'),
        ("party/confirmation", b'{"who": "", "how": ""}'),
    ]:
        answer = await house.ask("boss", "POST", f"{path}/{act}", content=content)
        assert answer.status_code == 422, (act, content, answer.text)
    assert (await house.ask("boss", "GET", "/alerts/" + "0" * 32)).status_code == 404
    assert await house.said() == []


async def test_the_party_is_told_because_somebody_decided_so(house: House) -> None:
    office = house.parts.office
    contacts = (Contact(name="王店长", phone="13800000000", channel="sms"), Contact(name="陈", channel="phone"))
    site = Site(site_id="canteen", unit_id="north", name="第一食堂", contacts=contacts)
    await premises.put_site(office, site, by="boss", at=Instant(0), is_new=True)
    await house.found("cam-1")
    path = f"/alerts/{(await house.get('/alerts'))['items'][0]['id']}"
    refused = await house.ask("zhang", "POST", f"{path}/party", json={"contacts": ["陈"]})
    assert refused.status_code == 422
    told = await house.ask("zhang", "POST", f"{path}/party", json={"contacts": ["王店长"], "by_hand": ["陈"]})
    assert told.status_code == 200, told.text
    confirmed = await house.ask("zhang", "POST", f"{path}/party/confirmation", json={"who": "王店长", "how": "短信"})
    assert confirmed.status_code == 200
    history = (await house.get(path))["history"]
    assert [line["what"] for line in history] == ["party_told", "party_confirmed"]
    entries = await office.write(lambda connection: outbox.claim(connection, 2**60, "test", 10, {}))
    assert [(entry.account_id, entry.contact) for entry in entries] == [("party", "13800000000")]
    acts = [entry["what"] for entry in await house.said()]
    assert acts == ["party.told", "party.confirmed"]


async def test_maintenance_is_planned_and_ended(house: House) -> None:
    now = SystemClock().now()
    plan = {"from": now.rfc3339(), "to": now.plus(3_600_000).rfc3339(), "reason": "换交换机", "site_id": "canteen"}
    assert (await house.ask("zhang", "POST", "/maintenance", json=plan)).status_code == 403
    for wrong in ({"to": now.rfc3339()}, {"reason": " "}, {"kinds": ["nope"]}, {"from": "soon"}):
        assert (await house.ask("boss", "POST", "/maintenance", json={**plan, **wrong})).status_code == 422
    made = await house.ask("boss", "POST", "/maintenance", json=plan)
    assert made.status_code == 201, made.text
    await house.found("cam-1")
    alert = (await house.get("/alerts"))["items"][0]
    assert alert["muted_until"] == plan["to"]
    assert [window["reason"] for window in (await house.get("/maintenance"))["items"]] == ["换交换机"]
    assert (await house.ask("boss", "DELETE", f"/maintenance/{made.json()['id']}")).status_code == 200
    assert (await house.get("/maintenance"))["items"] == []
    await house.desk.book.advance(int(SystemClock().now()))
    assert (await house.get("/alerts"))["items"][0]["muted_until"] is None
    acts = [entry["what"] for entry in await house.said()]
    assert acts == ["maintenance.planned", "maintenance.cancelled"]


async def test_rules_of_routing(house: House) -> None:
    rule = {"position": 1, "name": "夜间", "levels": [["role:duty_officer"], ["account:boss", "agency:supervisor"]]}
    wrong: dict[str, Any]
    for wrong in ({"levels": []}, {"levels": [["role:king"]]}, {"levels": [["x"]]}, {"ack_within_s": {"loud": 3}}):
        assert (await house.ask("boss", "POST", "/alert-routes", json={**rule, **wrong})).status_code == 422
    made = await house.ask("boss", "POST", "/alert-routes", json=rule)
    assert made.status_code == 201, made.text
    path = f"/alert-routes/{made.json()['id']}"
    assert (await house.ask("boss", "PUT", path, json={**rule, "name": "白天"})).json()["name"] == "白天"
    assert [found["name"] for found in (await house.get("/alert-routes"))["items"]] == ["白天"]
    assert (await house.ask("boss", "DELETE", path)).status_code == 204
    assert (await house.ask("boss", "DELETE", path)).status_code == 404


async def test_the_address_of_a_channel_is_never_shown_again(house: House) -> None:
    secret = "https://robot.example.org/send?token=s3cr3t"
    way = {"kind": "webhook", "label": "值班群", "address": secret}
    assert (await house.ask("zhang", "POST", "/accounts/boss/channels", json=way)).status_code == 403
    for wrong in ({"kind": "pigeon"}, {"address": "ftp://x"}, {"address": None}, {"quiet_from": "25:00"}):
        assert (await house.ask("zhang", "POST", "/accounts/zhang/channels", json={**way, **wrong})).status_code == 422
    made = await house.ask("zhang", "POST", "/accounts/zhang/channels", json=way)
    assert made.status_code == 201, made.text
    listed = await house.ask("boss", "GET", "/accounts/zhang/channels")
    assert [channel["label"] for channel in listed.json()["items"]] == ["值班群"]
    kept = await house.parts.office.read(lambda connection: channels.addresses(connection, ["zhang"]))
    assert list(kept.values()) == [secret]
    said = json.dumps(await house.said())
    assert "s3cr3t" not in made.text + listed.text + said
    path = f"/accounts/zhang/channels/{made.json()['id']}"
    assert (await house.ask("zhang", "PUT", path, json={**way, "address": None, "label": "二群"})).status_code == 200
    kept = await house.parts.office.read(lambda connection: channels.addresses(connection, ["zhang"]))
    assert list(kept.values()) == [secret]
    assert (await house.ask("zhang", "DELETE", path)).status_code == 204


def _alarm(status: str = "firing", **more: Any) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": "LiuhenSpoolGrowing", "severity": "warning", "owner": "operator", **more},
        "annotations": {"summary": "本地暂存在增长", "runbook": "docs/guide/runbook.md#liuhenspoolgrowing"},
        "startsAt": "2026-05-06T01:00:00Z",
        "fingerprint": "f" * 16,
    }


async def test_alertmanagers_alerts_stand_in_the_same_list_once(house: House) -> None:
    async def post(content: Any, token: str = TOKEN) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return (await house.client.post("/alertmanager", json=content, headers=headers)).status_code

    assert await post({"alerts": [_alarm()]}, "wrong") == 401
    assert await post({"alerts": "many"}) == 422
    assert await post({"alerts": [{**_alarm(), "fingerprint": "a/b"}]}) == 422
    assert await post({"alerts": [{**_alarm(), "startsAt": "soon"}]}) == 422
    for _ in range(3):
        assert await post({"version": "4", "alerts": [_alarm(), _alarm(alertname="LiuhenWatchdog")]}) == 202
    found = (await house.get("/alerts"))["items"]
    assert [(alert["summary"], alert["state"], alert["findings"]) for alert in found] == [
        ("本地暂存在增长", "opened", 1)
    ]
    assert found[0]["runbook"].endswith("#liuhenspoolgrowing")
    assert await post({"alerts": [_alarm("resolved")]}) == 202
    assert (await house.get("/alerts"))["items"][0]["quiet_since"] is not None
