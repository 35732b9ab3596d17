"""Who is told of what, and how open pages hear of it."""

import asyncio
import json
from pathlib import Path

import httpx

from dashboards.alerts import lifecycle
from dashboards.alerts.people import Addressee, Directory, levels_of
from dashboards.alerts.signal import Origin, of_finding
from dashboards.notify.text import MAX_LETTERS, write
from dashboards.people.rights import Duty, Place, Role
from dashboards.words import words
from domain.alerts import Alert, Maintenance, Route
from domain.clock import SystemClock
from storage.office.channels import PARTY, Channel
from storage.office.outbox import Entry, Message
from tests.dashboards.serving import served
from tests.services import notifying

CANTEEN = Place(unit_id="north", site_id="canteen")


def _directory() -> Directory:
    held = {
        "at-site": Duty(role=Role.DUTY_OFFICER, unit_id="north", site_id="canteen"),
        "in-unit": Duty(role=Role.DUTY_OFFICER, unit_id="north"),
        "everywhere": Duty(role=Role.DUTY_OFFICER),
        "boss": Duty(role=Role.SUPERVISOR, unit_id="north"),
        "chief": Duty(role=Role.SUPERVISOR),
    }
    people = [Addressee(account_id=name, name=name, language="", duties=(duty,)) for name, duty in held.items()]
    channel = Channel(id="c", account_id="boss", position=0, kind="webhook", min_severity="critical")
    return Directory(people, {"boss": [channel]})


def test_of_a_role_the_nearest_are_told() -> None:
    everybody = _directory()
    assert everybody.named("role:duty_officer", CANTEEN) == ["at-site"]
    assert everybody.named("role:duty_officer", Place(unit_id="north", site_id="school")) == ["in-unit"]
    assert everybody.named("role:duty_officer", Place(unit_id="south")) == ["everywhere"]
    assert everybody.named("role:supervisor", CANTEEN) == ["boss"]
    assert everybody.named("agency:supervisor", CANTEEN) == ["chief"]
    assert everybody.named("account:boss", CANTEEN) == ["boss"]
    assert everybody.named("account:nobody", CANTEEN) == []
    assert everybody.level([["role:supervisor", "account:boss", "agency:supervisor"]], 0, CANTEEN) == ["boss", "chief"]
    assert everybody.level([], 0, CANTEEN) == []


def test_a_channel_that_takes_critical_alone_does_not_reach_for_less() -> None:
    assert _directory().reachable("boss", "critical")
    assert not _directory().reachable("boss", "warning")
    assert not _directory().reachable("chief", "critical")


def test_levels_come_from_the_rule_else_from_family_and_owner() -> None:
    alert = Alert(id="a", group="site:canteen/store", family="store", scope="site", severity="critical")
    assert levels_of(alert, None)[0][0] == "agency:administrator"
    rule = Route(id="r", position=0, name="", levels=[["account:li"]])
    assert levels_of(alert, rule) == [["account:li"]]
    alarm = Alert(id="a", group="source:ffff@custodian/system", family="system", scope="source")
    assert levels_of(alarm, None)[0] == ["agency:archive_manager", "role:supervisor"]


def test_a_rule_fits_by_place_kind_and_severity() -> None:
    alert = Alert(
        id="a",
        group="g",
        family="connection",
        scope="site",
        site_id="canteen",
        unit_id="north",
        kinds=["device.silent"],
        severity="warning",
    )
    fits = Route(id="r", position=0, name="", unit_id="north", kinds=["connection"])
    assert fits.fits(alert)
    for other in ({"unit_id": "south"}, {"site_id": "x"}, {"kinds": ["power"]}, {"min_severity": "critical"}):
        assert not Route(**{"id": "r", "position": 0, "name": "", **other}).fits(alert)  # type: ignore[arg-type]


def test_maintenance_covers_from_its_begin_to_its_end() -> None:
    window = Maintenance(id="m", starts_at=10, ends_at=20, reason="r", by="b", site_id="canteen", kinds=["connection"])
    assert window.covers(10, "cam-1", "canteen", "north", "recording.stalled")
    assert not window.covers(20, "cam-1", "canteen", "north", "recording.stalled")
    assert not window.covers(15, "cam-1", "school", "north", "recording.stalled")
    assert not window.covers(15, "cam-1", "canteen", "north", "power.low_battery")


def _entry(**fields: object) -> Entry:
    findings = [of_finding(notifying.finding(f"cam-{n}"), Origin()).about for n in range(3)]
    message = Message(
        **{
            "id": "m",
            "alert_id": "a" * 32,
            "number": 1,
            "what": "opened",
            "state": "opened",
            "severity": "critical",
            "family": "connection",
            "scope": "site",
            "site_id": "canteen",
            "site": "第一食堂",
            "unit": "north",
            "recorders": ["后厨"],
            "recorder_count": 3,
            "findings": findings,
            "clauses": ["W-AV 第十八条"],
            "since": findings[0].began_at,
            **fields,
        }  # type: ignore[arg-type]
    )
    return Entry(
        seq=1,
        id="e" * 32,
        message=message,
        account_id="zhang",
        contact="",
        created_at=0,
        channel_id="",
        tries=0,
        given_up=[],
        is_doubtful=False,
    )


def test_what_somebody_typed_begins_no_line_of_a_message() -> None:
    letter = write(_entry(site="食堂\n链接：http://evil", recorders=["a\r\nb"], note="x\u2028y"), words("zh"), "")
    assert not [line for line in letter.body.splitlines() if line.startswith(("链接", "b"))]
    assert "\u2028" not in letter.body
    assert "\n" not in letter.title


def test_a_long_message_is_cut_and_says_so() -> None:
    letter = write(_entry(recorders=["长" * 190] * 20), words("zh"), "")
    assert len(letter.body) == MAX_LETTERS
    assert letter.body.endswith("…")


def test_the_party_is_told_in_words_of_its_own_without_links() -> None:
    entry = _entry(what="party", note="请到我局说明情况")
    party = Entry(**{name: getattr(entry, name) for name in Entry.__struct_fields__} | {"account_id": PARTY})
    letter = write(party, words("zh"), "https://console.example")
    assert letter.title.startswith("【告知】第一食堂")
    assert "请到我局说明情况" in letter.body
    assert "console.example" not in letter.body + letter.link


async def test_open_pages_hear_of_alerts_that_another_process_wrote(tmp_path: Path) -> None:
    async with (
        served(tmp_path) as here,
        httpx.AsyncClient(base_url=here.url, timeout=20) as client,
        client.stream("GET", "/api/v1/stream?events=alert") as stream,
    ):
        lines = stream.aiter_lines()
        assert (await anext(lines)).startswith("retry")
        signal = of_finding(notifying.finding("cam-1"), Origin(site_id="canteen"))
        await here.console.desk.book.take([signal], int(SystemClock().now()))
        async with asyncio.timeout(15):
            async for line in lines:
                if line.startswith("data: "):
                    break
    told = json.loads(line.removeprefix("data: "))
    assert (told["site_id"], told["state"]) == ("canteen", "opened")
    assert told["id"] == lifecycle.begin(signal, 0).id
