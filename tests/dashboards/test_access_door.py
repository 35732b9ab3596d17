"""The door: who is let in, for how long, and what is refused that only looks like somebody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.requests import Request

from dashboards.console import Console
from dashboards.people import cookies, passwords
from dashboards.people.accounts import Accounts
from dashboards.people.door import RealDoor
from dashboards.people.pace import FREE_LOGIN, FREE_TOGETHER, Pace, Slow
from dashboards.people.passwords import Passwords, Weak
from dashboards.people.requests import Origins
from dashboards.people.rights import Right
from domain.clock import Instant, ManualClock, SystemClock
from domain.errors import InvalidInput, InvalidSettings
from domain.settings import Settings
from storage.catalog.catalog import Catalog
from storage.ledger.entry import decode
from storage.ledger.ledger import Ledger
from storage.objects.file import FileStore
from storage.objects.port import ObjectStore
from storage.office import accounts
from storage.office.accounts import DutyRow
from storage.office.office import Office
from streams.bus.embedded import EmbeddedBus
from tests.dashboards.visitors import SEED, Visitor, visitor
from tests.services.access import bearer, make_token

PASSWORD = "guanghua-lu-37-hao"
HTML = {"Accept": "text/html"}


class Site:
    """A console with its real door, asked without a network.

    Attributes:
        http: Shows no cookies that it is not given.
    """

    def __init__(self, office: Office, ledger: Ledger, clock: ManualClock, console: Console) -> None:
        self.office, self.ledger, self.clock, self.console = office, ledger, clock, console
        self.app = FastAPI(openapi_url=None)
        for router in console.routers():
            self.app.include_router(router)
        self.accounts = Accounts(office, console.parts.audit, clock)

    def http(self, base: str = "https://console", client: str = "10.0.0.7") -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app, client=(client, 1)), base_url=base)

    async def said(self, what: str) -> list[dict[str, Any]]:
        """Bodies of the ledger's acts of a name."""
        entries = [decode(line) async for _, line in self.ledger.read()]
        return [entry.body for entry in entries if entry.body.get("what") == what]

    async def person(self, login: str = "wang", *roles: str, seed: str = SEED) -> Visitor:
        kept = await Passwords().hashed(PASSWORD)
        duties = [DutyRow(role) for role in roles or ("supervisor",)]
        return await visitor(self.office, *duties, login=login, password=kept, seed=seed)

    def code(self) -> str:
        return pyotp.TOTP(SEED).at(self.clock.now() // 1000)


@asynccontextmanager
async def opened(folder: Path, **settings: Any) -> AsyncIterator[Site]:
    bus = EmbeddedBus(folder / "log", partitions=1)
    await bus.start()
    catalog = await Catalog.connect(f"sqlite:///{folder}/catalog.db")
    ledger = await Ledger.connect(f"sqlite:///{folder}/ledger.db")
    office = await Office.connect(f"sqlite:///{folder}/office.db")
    clock, given = ManualClock(SystemClock().now()), Settings(**settings)
    console = Console(
        bus,
        catalog,
        clock,
        folder / "console.state",
        CollectorRegistry(),
        store=ObjectStore(FileStore(folder / "store", immutable=False)),
        ledger=ledger,
        office=office,
        door=RealDoor(office, clock, given, Origins(given)),
        settings=given,
    )
    try:
        yield Site(office, ledger, clock, console)
    finally:
        await console.close()
        for one in (catalog, ledger, office, bus):
            await one.close()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with opened(tmp_path) as made:
        yield made


async def sign_in(http: httpx.AsyncClient, login: str, password: str, code: str = "", **more: str) -> httpx.Response:
    return await http.post("/sign-in", data={"login": login, "password": password, "code": code, **more})


# Signing in and out


async def test_a_password_and_a_code_sign_in_and_the_ledger_says_so(site: Site) -> None:
    person = await site.person()
    async with site.http() as http:
        answer = await sign_in(http, "Wang ", PASSWORD, site.code(), next="/wall?x=1")
        assert (answer.status_code, answer.headers["location"]) == (303, "/wall?x=1")
        given = answer.headers.get_list("set-cookie")
        assert [one.partition("=")[0] for one in given] == ["__Host-liuhen-session", "__Host-liuhen-device"]
        for one in given:
            assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= set(one.split("; "))
            assert "Domain" not in one
        assert (await http.get("/", headers=HTML)).status_code == 200
        (begun,) = await site.said("session.begun")
        assert (begun["by"], begun["way"], begun["address"]) == (person.account_id, "password", "10.0.0.7")
        page = (await http.get("/account")).text
        assert "10.0.0.7" in page
        token = http.cookies["__Host-liuhen-session"]
        assert (await http.post("/sign-out", data={"csrf": cookies.csrf_of(token)})).status_code == 303
        again = await http.get("/", headers={"Cookie": f"__Host-liuhen-session={token}"})
        assert again.status_code == 401  # the token is over, wherever it still lies


async def test_what_is_wrong_is_not_told_and_a_code_counts_once(site: Site) -> None:
    await site.person()
    code = site.code()
    async with site.http() as http:
        tries = [
            await sign_in(http, "nobody", PASSWORD, code),
            await sign_in(http, "wang", "another password", code),
            await sign_in(http, "wang", PASSWORD, "000000" if code != "000000" else "000001"),
            await sign_in(http, "wang", PASSWORD, ""),
            await sign_in(http, "wang", PASSWORD, "no code"),
        ]
        assert {one.status_code for one in tries} == {401}
        assert len({one.text.replace('value="nobody"', 'value="wang"') for one in tries}) == 1
        assert not any(PASSWORD in one.text for one in tries)
        assert (await sign_in(http, "wang", PASSWORD, code)).status_code == 303
    async with site.http(client="10.0.0.8") as other:
        assert (await sign_in(other, "wang", PASSWORD, code)).status_code == 401


@pytest.mark.parametrize("there", ["//evil.example", "https://evil.example", "/\\evil.example", "/\n/x", "evil", ""])
async def test_nobody_is_sent_elsewhere_after_signing_in(site: Site, there: str) -> None:
    await site.person()
    async with site.http() as http:
        answer = await sign_in(http, "wang", PASSWORD, site.code(), next=there)
        assert answer.headers["location"] == "/"


async def test_passwords_do_not_travel_in_the_clear(tmp_path: Path) -> None:
    async with opened(tmp_path) as site:
        await site.person()
        async with site.http("http://console") as http:
            assert "https" in (await http.get("/sign-in?lang=en")).text
            assert (await sign_in(http, "wang", PASSWORD, site.code())).status_code == 403
        async with site.http("http://127.0.0.1:8600") as http:
            answer = await sign_in(http, "wang", PASSWORD, site.code())
            assert answer.headers["set-cookie"].startswith("liuhen-session=")


async def test_whoever_sees_footage_needs_codes_first(site: Site) -> None:
    person = await site.person("li", "supervisor", seed="")
    async with site.http("http://127.0.0.1") as http:
        http.headers.update(person.headers)
        answer = await http.get("/", headers=HTML)
        assert (answer.status_code, answer.headers["location"]) == (303, "/account/second-factor")
        assert (await http.get("/api/v1/recorders")).status_code == 403
        page = await http.get("/account/second-factor")
        seed = page.text.partition("<code>")[2].partition("</code>")[0].replace(" ", "")
        picture = await http.get("/account/second-factor.svg")
        assert picture.headers["content-type"] == "image/svg+xml"
        assert "script" not in picture.text
        code = pyotp.TOTP(seed).at(site.clock.now() // 1000)
        assert (await http.post("/account/second-factor", data={"code": "1"})).status_code == 422
        assert (await http.post("/account/second-factor", data={"code": code})).status_code == 303
        assert (await http.get("/api/v1/recorders")).status_code == 200
    site_operatorless = await site.person("chen", "officer", seed="")
    async with site.http("http://127.0.0.1") as http:  # an officer plays nothing by office
        assert (await http.get("/api/v1/recorders", headers=site_operatorless.cookie)).status_code == 200


# How long


async def test_a_session_ends_when_unused_and_in_any_case(tmp_path: Path) -> None:
    async with opened(tmp_path, session_idle_s=600, session_max_s=3_600) as site:
        for step_s, steps in ((601, 1), (300, 12)):
            await site.person(f"p{step_s}")
            site.clock.advance(60)
            async with site.http() as http:
                assert (await sign_in(http, f"p{step_s}", PASSWORD, site.code())).status_code == 303
                for number in range(steps):
                    assert (await http.get("/api/v1/recorders")).status_code == 200, number
                    site.clock.advance(step_s)
                assert (await http.get("/api/v1/recorders")).status_code == 401


@pytest.mark.parametrize("what", ["disable", "reset", "duties"])
async def test_what_is_done_to_an_account_closes_the_door_at_once(site: Site, what: str) -> None:
    person = await site.person()
    account = await accounts.get(site.office, person.account_id)
    assert account is not None
    async with site.http("http://127.0.0.1") as http:
        assert (await http.get("/api/v1/recorders", headers=person.cookie)).status_code == 200
        if what == "disable":
            await site.accounts.disable("boss", account)
        elif what == "reset":
            await site.accounts.reset("boss", account)
        else:
            await site.accounts.set_duties("boss", account, [DutyRow("auditor")])
        assert (await http.get("/api/v1/recorders", headers=person.cookie)).status_code == 401


async def test_another_password_ends_the_other_sessions(site: Site) -> None:
    person = await site.person()
    async with site.http() as http:
        await sign_in(http, "wang", PASSWORD, site.code())
        token = http.cookies["__Host-liuhen-session"]
        new = {"old": PASSWORD, "password": "chenguang-li-12-lou", "again": "chenguang-li-12-lou"}
        wrong = await http.post("/account/password", data=new | {"old": "x", "csrf": cookies.csrf_of(token)})
        assert wrong.status_code == 422
        weak = {"password": "password1234", "again": "password1234", "csrf": cookies.csrf_of(token)}
        assert (await http.post("/account/password", data=new | weak)).status_code == 422
        assert (await http.post("/account/password", data=new | {"csrf": cookies.csrf_of(token)})).status_code == 303
        assert (await http.get("/account")).status_code == 200
    async with site.http("http://127.0.0.1") as http:
        assert (await http.get("/account", headers=person.cookie)).status_code == 401


async def test_every_answer_is_sealed(site: Site) -> None:
    person = await site.person()
    async with site.http("http://127.0.0.1") as http:
        for path in ("/api/v1/recorders", "/", "/account", "/api/v1/recorders/none", "/audit", "/sign-in"):
            answer = await http.get(path, headers=person.cookie)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
            assert "server" not in answer.headers


# What only looks like somebody


@pytest.mark.parametrize(
    "forged",
    ["", "x", "0" * 43, "A" * 5000, "../../etc/passwd", "' OR 1=1 --", "%00", "__Host-liuhen-session"],
)
async def test_a_forged_cookie_or_token_is_nobody(site: Site, forged: str) -> None:
    await site.person()
    async with site.http() as http:
        shown = await http.get("/api/v1/recorders", headers={"Cookie": f"__Host-liuhen-session={forged}"})
        assert shown.status_code == 401
        for header in (f"Bearer {forged}", f"Bearer liuhen_{forged}", f"Basic {forged}", forged):
            assert (await http.get("/api/v1/recorders", headers={"Authorization": header})).status_code == 401


async def test_a_cookie_of_plain_http_does_not_count_over_https(site: Site) -> None:
    person = await site.person()
    async with site.http("https://console") as http:
        assert (await http.get("/api/v1/recorders", headers=person.cookie)).status_code == 401


async def test_a_token_ends_and_can_be_taken_back(site: Site) -> None:
    made, token = await site.accounts.make_integration("boss", "大屏", [DutyRow("duty_officer", "unit-1")], 2)
    _, other = await site.accounts.make_integration("boss", "另一个", [DutyRow("duty_officer")], 1)
    async with site.http() as http:
        assert (await http.get("/api/v1/recorders", headers=bearer(token))).status_code == 200
        assert (await http.get("/audit", headers=bearer(token))).status_code == 403
        await site.accounts.revoke("boss", made.integration_id)
        assert (await http.get("/api/v1/recorders", headers=bearer(token))).status_code == 401
        site.clock.advance(86_400)
        assert (await http.get("/api/v1/recorders", headers=bearer(other))).status_code == 401
    assert token not in json.dumps(await site.said("integration.created"))


@pytest.mark.parametrize(
    ("headers", "form", "status"),
    [
        ({}, {}, 403),
        ({}, {"csrf": "0" * 64}, 403),
        ({"X-CSRF-Token": "0" * 64}, {"csrf": "right"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, {"csrf": "right"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, {"csrf": "right"}, 403),
        ({"Origin": "https://evil.example"}, {"csrf": "right"}, 403),
        ({"Origin": "null"}, {"csrf": "right"}, 403),
        ({"Origin": "http://127.0.0.1"}, {"csrf": "right"}, 303),
        ({"Sec-Fetch-Site": "same-origin"}, {"csrf": "right"}, 303),
    ],
)
async def test_a_form_that_another_page_sends_changes_nothing(
    site: Site, headers: dict[str, str], form: dict[str, str], status: int
) -> None:
    person = await site.person()
    sent = form | {"language": "en"} | ({"csrf": person.csrf} if form.get("csrf") == "right" else {})
    async with site.http("http://127.0.0.1") as http:
        answer = await http.post("/account/language", headers=person.cookie | headers, data=sent)
        assert answer.status_code == status
    account = await accounts.get(site.office, person.account_id)
    assert account is not None
    assert account.language == ("en" if status == 303 else "")


async def test_another_site_cannot_sign_somebody_in(site: Site) -> None:
    await site.person()
    async with site.http() as http:
        http.headers["Origin"] = "https://evil.example"
        answer = await sign_in(http, "wang", PASSWORD, site.code())
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


async def test_bodies_have_a_most(site: Site) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"a=" + b"x" * 9_998 + b"&"

    async with site.http() as http:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        said = await http.post("/sign-in", headers=form | {"Content-Length": "1000001"}, content=b"x")
        assert said.status_code == 413
        assert (await http.post("/sign-in", headers=form, content=endless())).status_code == 413
        many = await http.post("/sign-in", headers=form, content="&".join(f"a{n}=1" for n in range(5_000)))
        assert many.status_code < 500


# Guessing


def test_guessing_waits_longer_and_longer_and_locks_nobody_out() -> None:
    clock = ManualClock(Instant(0))
    pace = Pace(clock)
    for _ in range(FREE_TOGETHER + 1):
        assert pace.check("evil", "duty", known=False) == 0
        pace.failed("evil", "duty", known=False)
    waits = []
    for _ in range(9):
        with pytest.raises(Slow) as slow:
            pace.check("evil", "duty", known=False)
        waits.append(round(slow.value.wait_s))
        clock.advance(slow.value.wait_s)
        pace.check("evil", "duty", known=False)
        pace.failed("evil", "duty", known=False)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    for number in range(FREE_LOGIN + 50):  # from everywhere
        pace.failed(f"bot-{number}", "duty", known=False)
    assert 0 < pace.check("10.0.0.7", "duty", known=False) <= 3  # held back, not refused
    assert pace.check("duty's own browser", "duty", known=True) == 0
    assert pace.check("10.0.0.7", "other", known=False) == 0


async def test_a_flood_is_told_to_wait_and_the_owner_still_gets_in(site: Site) -> None:
    await site.person()
    async with site.http(client="10.0.0.7") as owner:
        assert (await sign_in(owner, "wang", PASSWORD, site.code())).status_code == 303
        async with site.http(client="10.6.6.6") as evil:
            answers = [await sign_in(evil, "wang", f"guess {number}") for number in range(12)]
            assert [one.status_code for one in answers] == [401] * 6 + [429] * 6
            assert int(answers[-1].headers["retry-after"]) >= 1
        del owner.cookies["__Host-liuhen-session"]
        site.clock.advance(60)
        assert (await sign_in(owner, "wang", PASSWORD, site.code())).status_code == 303
    (told,) = await site.said("session.refused")
    assert (told["login"], told["address"], told["times"]) == ("wang", "10.6.6.6", 5)


async def test_what_is_typed_cannot_write_lines_of_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async with site.http() as http:
        for _ in range(5):
            await sign_in(http, "x\r\n2026-01-01 INFO dashboards: all is well\x1b[2J", "guess")
    lines = [record.getMessage() for record in caplog.records if "sign-in" in record.getMessage()]
    assert lines
    assert all(line.isprintable() for line in lines)
    (told,) = await site.said("session.refused")
    assert str(told["login"]).isprintable()


async def test_many_at_once_are_taken_a_few_at_a_time() -> None:
    tried = Passwords()
    answers = await asyncio.gather(*(tried.matches("", "guess") for _ in range(60)), return_exceptions=True)
    refused = [one for one in answers if isinstance(one, passwords.Crowded)]
    assert len(refused) == 60 - passwords.WAITING
    assert [one for one in answers if one is not False and not isinstance(one, passwords.Crowded)] == []


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "short"),
        ("x" * 129, "long"),
        ("password1234", "guessed"),
        ("1qaz2wsx3edc", "guessed"),
        ("aaaaaaaaaaaaaa", "guessed"),
        ("zhangsan2026!", "guessed"),
        ("liuhen2026!!!!", "guessed"),
        ("woaini1314woaini", "guessed"),
    ],
)
def test_weak_passwords_are_refused_and_not_repeated(password: str, why: str) -> None:
    with pytest.raises(Weak) as weak:
        passwords.check(password, "zhangsan", "张三")
    assert weak.value.why == why
    assert password not in str(weak.value)


@pytest.mark.parametrize("password", ["correct horse battery", PASSWORD, "我爱北京天安门太阳升起来", "9f8a7d6c5b4e"])
def test_good_passwords_are_taken(password: str) -> None:
    passwords.check(password, "zhangsan", "张三")


# Links, and the first of all


async def test_the_first_administrator_is_made_once_by_a_link(site: Site) -> None:
    stale = await site.accounts.first()
    token = await site.accounts.first()
    new = {"login": "boss", "name": "局长", "password": PASSWORD, "again": PASSWORD}
    async with site.http() as http:
        assert (await http.get(f"/link/{stale}")).status_code == 404
        assert (await http.get(f"/link/{token}")).status_code == 200
        assert (await http.get(f"/link/{token}")).status_code == 200  # looking uses nothing up
        assert (await http.post(f"/link/{token}", data=new | {"again": "other"})).status_code == 422
        assert (await http.post(f"/link/{token}", data=new | {"login": "<b>"})).status_code == 422
        assert (await http.post(f"/link/{token}", data=new)).status_code == 303
        assert (await http.get("/", headers=HTML)).headers["location"] == "/account/second-factor"
        assert (await http.post(f"/link/{token}", data=new | {"login": "other"})).status_code == 404
    assert await site.accounts.first() is None
    assert [one.login for one in await accounts.everybody(site.office)] == ["boss"]


async def test_an_invitation_sets_a_password_once_and_in_time(site: Site) -> None:
    made = await site.accounts.make("boss", "li", "李四", [DutyRow("officer")])
    late = await site.accounts.invite("boss", made)
    site.clock.advance(73 * 3_600)
    new = {"password": PASSWORD, "again": PASSWORD}
    async with site.http() as http:
        assert (await http.post(f"/link/{late}", data=new)).status_code == 404
        token = await site.accounts.invite("boss", made)
        assert (await sign_in(http, "li", PASSWORD)).status_code == 401
        assert (await http.post(f"/link/{token}", data=new)).status_code == 303
        assert (await http.post(f"/link/{token}", data=new)).status_code == 404
        assert (await http.get("/", headers=HTML)).status_code == 200


# Administrators


async def test_an_administrator_of_a_unit_manages_that_unit_alone_and_nobody_raises_themselves(site: Site) -> None:
    mine = await visitor(site.office, DutyRow("administrator", "unit-1"), login="admin-1")
    theirs = await visitor(site.office, DutyRow("duty_officer", "unit-2"), login="duty-2")
    ours = await visitor(site.office, DutyRow("duty_officer", "unit-1", "site-1"), login="duty-1")
    async with site.http("http://127.0.0.1") as http:
        http.headers.update(mine.headers)
        page = (await http.get("/accounts")).text
        assert "duty-1" in page
        assert "duty-2" not in page
        for path in (f"/accounts/{theirs.account_id}", "/accounts/none"):
            assert (await http.get(path)).status_code == 404
            assert (await http.post(f"{path}/disable")).status_code == 404
        for unit, status in (("unit-1", 303), ("unit-2", 422), ("", 422)):
            answer = await http.post(f"/accounts/{ours.account_id}/duties", data={"role": "supervisor", "unit": unit})
            assert answer.status_code == status
            new = {"login": f"n{unit or 'all'}", "name": "新", "role": "officer", "unit": unit}
            assert (await http.post("/accounts", data=new)).status_code == (200 if status == 303 else 422)
            token = {"name": "程序", "days": "9", "role": "auditor", "unit": unit}
            assert (await http.post("/integrations", data=token)).status_code == (200 if status == 303 else 422)
        own = f"/accounts/{mine.account_id}"
        assert (await http.post(f"{own}/duties", data={"role": "supervisor", "unit": "unit-1"})).status_code == 422
        assert (await http.post(f"{own}/disable")).status_code == 422
    assert [one["account"] for one in await site.said("account.duties")] == [ours.account_id]


async def test_nothing_is_done_that_the_ledger_cannot_be_told_of(site: Site, tmp_path: Path) -> None:
    await site.person()
    boss = await visitor(site.office, DutyRow("administrator"), login="boss")
    (tmp_path / "ledger.db").write_bytes(b"no ledger" * 1_000)
    async with site.http("http://127.0.0.1") as http:
        made = await http.post("/accounts", headers=boss.headers, data={"login": "x1", "name": "x", "role": "officer"})
        assert made.status_code in {502, 503}
        assert (await sign_in(http, "wang", PASSWORD, site.code())).status_code in {502, 503}
    assert sorted(one.login for one in await accounts.everybody(site.office)) == ["boss", "wang"]


async def test_the_audit_is_read_by_unit_and_changed_by_nobody(site: Site) -> None:
    auditor = await visitor(site.office, DutyRow("auditor"), login="wu")
    local = await visitor(site.office, DutyRow("auditor", "unit-1"), login="local")
    note = site.console.parts.audit.note
    await note("u-1", "thing.done", formula="=cmd()")
    await note("=2+3", "thing.else", recorder_id="rec-9")
    async with site.http("http://127.0.0.1") as http:
        whole = (await http.get("/audit", headers=auditor.cookie)).text
        assert ("thing.done" in whole, "thing.else" in whole) == (True, True)
        some = (await http.get("/audit?what=thing.else&by=%3D2%2B3", headers=auditor.cookie)).text
        assert ("thing.done" in some, "thing.else" in some) == (False, True)
        sheet = (await http.get("/audit.csv", headers=auditor.cookie)).text
        assert ",'=2+3," in sheet
        assert "thing.done" not in (await http.get("/audit", headers=local.cookie)).text
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert (await http.request(method, "/audit", headers=auditor.headers)).status_code in {403, 404, 405}
        bad = await http.get("/audit?from=yesterday", headers=auditor.cookie)
        assert (bad.status_code, bad.json()["field"]) == (422, "from")


# Where a request comes from


def test_a_client_behind_a_proxy_is_believed_to_be_where_the_proxy_says() -> None:
    def request(peer: str, **headers: str) -> Request:
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        return Request({"type": "http", "client": (peer, 1), "headers": raw, "scheme": "http", "path": "/"})

    origins = Origins(Settings(trusted_proxies="10.0.0.2, 10.1.0.0/16", metrics_from="127.0.0.1,10.5.0.0/16"))
    assert origins.client(request("10.9.9.9", x_forwarded_for="1.2.3.4")) == "10.9.9.9"
    assert origins.client(request("10.0.0.2", x_forwarded_for="6.6.6.6, 1.2.3.4, 10.1.2.3")) == "1.2.3.4"
    assert origins.client(request("10.0.0.2", x_forwarded_for="rubbish\r\n")) == "10.0.0.2"
    assert origins.is_https(request("10.0.0.2", x_forwarded_proto="https"))
    assert not origins.is_https(request("10.9.9.9", x_forwarded_proto="https"))
    assert origins.may_scrape(request("127.0.0.1"))
    assert origins.may_scrape(request("10.5.1.1"))
    assert not origins.may_scrape(request("10.9.9.9"))
    assert not origins.may_scrape(request("127.0.0.1", x_forwarded_for="1.2.3.4"))
    assert not origins.may_scrape(request("10.0.0.2", x_forwarded_for="1.2.3.4"))
    for wrong in (
        Settings(trusted_proxies="somewhere"),
        Settings(console_url="ftp://x"),
        Settings(metrics_from="300.1.1.1"),
    ):
        with pytest.raises(InvalidSettings):
            Origins(wrong)


async def test_a_program_has_no_account_page_and_no_officer_s_duty(site: Site) -> None:
    token = await make_token(site.office)
    async with site.http() as http:
        assert (await http.get("/account", headers=bearer(token))).status_code == 404
    with pytest.raises(InvalidInput, match="duties"):
        await site.accounts.make_integration("boss", "x", [DutyRow("officer")], 1)


async def test_a_stream_ends_when_whoever_watches_may_no_longer(site: Site) -> None:
    person = await site.person()
    account = await accounts.get(site.office, person.account_id)
    assert account is not None
    headers = [(b"cookie", person.cookie["Cookie"].encode()), (b"host", b"127.0.0.1")]
    scope = {"type": "http", "method": "GET", "path": "/api/v1/stream", "headers": headers, "scheme": "http"}
    request = Request(scope | {"client": ("127.0.0.1", 1), "query_string": b"", "server": ("127.0.0.1", 80)})
    guard = site.console.parts.guard
    await guard.admit(request, Right.FLEET_SEE)
    assert await guard.still(request, Right.FLEET_SEE)
    await site.accounts.disable("boss", account)
    assert not await guard.still(request, Right.FLEET_SEE)
