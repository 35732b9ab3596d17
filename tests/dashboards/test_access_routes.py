"""Every route of the whole program × every role and place × what it asks for, against a table written by hand."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from dashboards.people.guard import declared
from domain.clock import Instant, SystemClock
from domain.events import SessionOpened
from domain.findings import Finding, Message
from domain.registry import Registration
from domain.settings import Settings
from domain.wire import encode
from house.house import House
from house.running import EMBEDDED, running
from storage.office import recorders
from storage.office.accounts import DutyRow
from tests.dashboards.expected_access import (
    ANY_ACCOUNT,
    ANYWHERE,
    ASKED,
    DEVICE,
    EXPECTED,
    KEEP,
    LIST,
    NOBODY_TOO,
    PLAY,
    ROLES,
    SCRAPER,
    SENT,
    WEBHOOK,
)
from tests.dashboards.visitors import Visitor, session_of, visitor
from tests.services.access import bearer, make_token

PLACES = {"rec-own": ("unit-1", "site-1"), "rec-unit": ("unit-1", "site-2"), "rec-other": ("unit-2", "site-3")}
DUTIES = {"agency": ("", ""), "unit": ("unit-1", ""), "site": ("unit-1", "site-1"), "elsewhere": ("unit-2", "")}
"""Where a duty holds; of an officer, `own` is where they have `rec-own`, and `none` where they have nothing."""
COVERED = {
    "agency": {"rec-own", "rec-unit", "rec-other"},
    "unit": {"rec-own", "rec-unit"},
    "site": {"rec-own"},
    "elsewhere": {"rec-other"},
    "own": {"rec-own"},
    "none": set[str](),
}
PLAYS = "SM"
KEEPS = "MXF"
TRIED = ("POST /sign-in", "GET /sign-in/provider/back")
"""Open to all; that nothing can be shown there is said by a 401."""
NOT_THEIRS = ("no recorder", "no session")


@dataclass(frozen=True)
class Whoever:
    """Somebody who asks: a letter of `ROLES`, and where their duty holds; both empty for an account without any."""

    letter: str
    where: str
    browser: Visitor


def settings_in(folder: Path) -> Settings:
    return Settings(
        bus=f"embedded:{folder}/log",
        store=f"file:{folder}/store",
        catalog=f"sqlite:///{folder}/catalog.db",
        ledger=f"sqlite:///{folder}/ledger.db",
        office=f"sqlite:///{folder}/office.db",
        ledger_key_file=f"{folder}/ledger.key",
        spool=f"{folder}/spool",
        work=f"{folder}/work",
        http="127.0.0.1:0",
        ice_hosts="127.0.0.1",
        partitions=1,
        oidc_issuer="http://127.0.0.1:9",
        oidc_client_id="liuhen",
    )


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr("dashboards.hls.live.FIRST_WAIT_S", 0.05)
    async with running(settings_in(tmp_path), ("ingest", "console")) as opened:
        yield opened


def routes(house: House) -> list[tuple[str, Route]]:
    """Every route that the program answers, each with its method."""
    assert house._front is not None

    def flat(found: Iterable[Any]) -> Iterable[Route]:
        for one in found:
            inner = getattr(one, "original_router", None)
            yield from flat(inner.routes) if inner is not None else [one]

    app: Any = house._front._app
    return [(f"{method} {one.path}", one) for one in flat(app.routes) for method in sorted(one.methods or ())]


async def fill(house: House) -> None:
    """Three recorders in three places, each with a session and a finding."""
    bus, now = await house.bus(), SystemClock().now()
    for name, (unit_id, site_id) in PLACES.items():
        said = Registration(
            recorder_id=name,
            kind="body_worn",
            policy="wucheng",
            unit_id=unit_id,
            site_id=site_id,
            token_sha256="0" * 64,
        )
        await bus.publish("registry", name, encode(said))
        opened = SessionOpened(at=now, recorder_id=name, session_id=f"s-{name}", act="inspection")
        await bus.publish("events", name, encode(opened))
        finding = Finding(
            id=hashlib.md5(name.encode()).hexdigest(),
            kind="recording.stalled",
            status="opened",
            severity="warning",
            recorder_id=name,
            session_id=f"s-{name}",
            began_at=now,
            detected_at=now,
            evidence={},
            clauses=[],
            message=Message(key="recording.stalled", params={}),
        )
        await bus.publish("findings", name, encode(finding))


async def everybody(house: House) -> list[Whoever]:
    office = await house.office()
    found = [Whoever("", "", await visitor(office))]
    for letter, role in ROLES.items():
        if role == "officer":
            continue
        for where, (unit_id, site_id) in DUTIES.items():
            found.append(Whoever(letter, where, await visitor(office, DutyRow(role, unit_id, site_id))))
    found += [Whoever("F", where, await visitor(office, DutyRow("officer", "unit-1"))) for where in ("own", "none")]
    own = next(one.browser.account_id for one in found if one.where == "own")
    for name, (unit_id, site_id) in PLACES.items():
        card = recorders.Card(recorder_id=name, unit_id=unit_id, site_id=site_id)
        await recorders.add_card(office, card, by="tests", at=Instant(0))
    await recorders.issue(office, "rec-own", own, by="tests", at=Instant(0))
    return found


async def until(house: House, http: httpx.AsyncClient, people: list[Whoever]) -> None:
    """Wait until what was told has come everywhere."""
    assert house.console is not None
    parts = house.console.parts
    agency = next(one for one in people if (one.letter, one.where) == ("S", "agency"))
    async with asyncio.timeout(30):
        while True:
            found = await http.get("/api/v1/findings", headers=agency.browser.cookie)
            sessions = await http.get("/api/v1/sessions", headers=agency.browser.cookie)
            known = all(len(one.json().get("items", [])) >= 3 for one in (found, sessions) if one.is_success)
            if known and found.is_success and parts.officers("rec-own", SystemClock().now()):
                return
            await asyncio.sleep(0.1)


def path_of(route: str, recorder: str) -> str:
    """Fill in a route's path: this recorder and its session, and for all else something that there is not."""
    if EXPECTED[route][1] == ANYWHERE and not route.startswith("GET"):
        recorder = "rec-none"  # nothing is changed by asking
    given = {"recorder_id": recorder, "session_id": f"s-{recorder}", "stopped_ms": "1", "name": "base.css"}
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda slot: given.get(slot[1], "nothing"), route.partition(" ")[2])


async def ask(http: httpx.AsyncClient, route: str, recorder: str, headers: dict[str, str]) -> tuple[int, str, str]:
    """Return status, the problem's detail, and the body; of the stream the status alone."""
    method = route.partition(" ")[0]
    path, params, data = path_of(route, recorder), ASKED.get(route), SENT.get(route)
    async with http.stream(method, path, headers=headers, params=params, data=data) as answer:
        if "event-stream" in answer.headers.get("content-type", ""):
            return answer.status_code, "", ""
        body = (await answer.aread()).decode("utf-8", "replace")
    detail = json.loads(body)["detail"] if body and "problem+json" in answer.headers.get("content-type", "") else ""
    return answer.status_code, detail, body


def verdict(status: int, detail: str) -> str:
    """What an answer says of whoever asked."""
    if status == 401:
        return "who are you"
    if status == 403:
        return "not you"
    if status == 404 and detail.startswith(NOT_THEIRS):
        return "not there"
    return "granted" if status < 500 or status == 503 else f"broken: {status}"


def expected(route: str, who: Whoever | None, recorder: str) -> str:
    """What the table says."""
    roles, place = EXPECTED[route]
    if roles in (NOBODY_TOO, SCRAPER):
        return "granted"
    if roles == WEBHOOK:
        return "who are you"
    if who is None:
        return "who are you"
    if roles == ANY_ACCOUNT:
        return "granted"
    if who.letter == "" or who.letter not in roles:
        return "not you"
    if place == KEEP and who.letter not in KEEPS:
        return "not there"
    if place in (ANYWHERE, LIST) or recorder in COVERED[who.where]:
        return "not you" if place == PLAY and who.letter not in PLAYS else "granted"
    return "not there"


@pytest.mark.timeout(300)
async def test_every_route_decides_as_the_table_says(house: House) -> None:
    known = routes(house)
    names = [name for name, _ in known]
    assert sorted(set(names) - set(EXPECTED)) == [], "routes without a line in expected_access.py"
    assert sorted(set(EXPECTED) - set(names)) == [], "lines of expected_access.py without a route"
    outside = {name for name, (roles, _) in EXPECTED.items() if roles in (DEVICE, SCRAPER) or "OPTIONS" in name}
    health = {"GET /healthz", "HEAD /healthz", "GET /readyz", "HEAD /readyz"}
    assert [name for name, one in known if declared(one.endpoint) is None and name not in outside | health] == []

    await fill(house)
    people = await everybody(house)
    decisions: list[tuple[str, str]] = []
    async with httpx.AsyncClient(base_url=house.address, timeout=60) as http:
        await until(house, http, people)
        for name in names:
            asked = [decide(house, http, name, who, recorder) for who, recorder in asking(name, people)]
            decisions += await asyncio.gather(*asked)
    wrong = [f"{mark}: {found}" for mark, found in decisions if found]
    assert wrong == [], "\n".join((f"{len(wrong)} of {len(decisions)} decisions:", *wrong))
    assert len(decisions) > 2_000


def asking(name: str, people: list[Whoever]) -> list[tuple[Whoever | None, str]]:
    """Who asks a route for which recorder's things: everybody for everything, where that can make a difference."""
    roles, place = EXPECTED[name]
    if roles == DEVICE:
        return []
    if place == ANYWHERE:
        return [(who, "rec-own") for who in [None, *people] if who is None or who.where in ("", "agency", "own")]
    told = [who for who in people if who.letter in roles or who.where in ("", "agency")]
    return [(who, recorder) for who in [None, *told] for recorder in (["rec-own"] if place == LIST else PLACES)]


async def decide(
    house: House, http: httpx.AsyncClient, name: str, who: Whoever | None, recorder: str
) -> tuple[str, str]:
    """Ask one thing; return who asked what, and what was wrong with the answer."""
    browser = None if who is None else who.browser
    if name == "POST /sign-out" and who is not None:  # of another session, so that this one goes on
        browser = await session_of(await house.office(), who.browser.account_id)
    status, detail, body = await ask(http, name, recorder, {} if browser is None else browser.headers)
    told = "granted" if name in TRIED and status < 500 else verdict(status, detail)
    if EXPECTED[name][1] == ANYWHERE and told == "not there":
        told = "granted"  # the role opened it; what was asked for was made up
    meant = expected(name, who, recorder)
    mark = f"{name} {'nobody' if who is None else who.letter + ' ' + who.where} {recorder}"
    if told != meant:
        return mark, f"{told} ({status} {detail}), not {meant}"
    if EXPECTED[name][1] == LIST and who is not None and told == "granted":
        shown = {one for one in PLACES if one in body}
        return mark, "" if shown == COVERED[who.where] else f"shows {sorted(shown)}"
    return mark, ""


async def test_no_other_role_answers_anything(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path), EMBEDDED) as everything:
        assert {name for name, _ in routes(everything)} == set(EXPECTED)


async def test_the_doors_of_devices_are_not_for_people(house: House) -> None:
    await fill(house)
    office = await house.office()
    chief = await visitor(office, *(DutyRow(role) for role in ROLES.values() if role != "officer"))
    token = await make_token(office)
    async with httpx.AsyncClient(base_url=house.address, timeout=30) as http:
        for name in (name for name, (roles, _) in EXPECTED.items() if roles == DEVICE):
            for headers in ({}, chief.headers, bearer(token), bearer("0123456789abcdef-of-nobody")):
                status, _, _ = await ask(http, name, "rec-own", headers)
                assert status in {400, 401, 403, 404, 412, 415}, (name, headers, status)
                assert status != 400 or "uploads" in name, name


async def test_a_recorder_s_token_opens_nothing_of_the_console(house: House) -> None:
    await fill(house)
    async with httpx.AsyncClient(base_url=house.address, timeout=30) as http:
        for name, (roles, _) in EXPECTED.items():
            if roles in (DEVICE, SCRAPER, NOBODY_TOO, WEBHOOK):
                continue
            status, _, _ = await ask(http, name, "rec-own", bearer("0123456789abcdef-of-a-recorder"))
            assert status == 401, name
