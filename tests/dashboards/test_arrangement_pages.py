"""How people are told, planned maintenance and who is told, as they are arranged on the page."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.dashboards.desks import Desks, desks

SECRET = "https://example.org/hook/SECRET-OF-A-ROBOT"
CHANNEL = {"kind": "webhook", "address": SECRET, "label": "值班手机", "min_severity": "warning"}


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Desks]:
    async with desks(tmp_path) as made:
        yield made


async def test_a_channel_is_added_its_address_never_shown_and_it_is_removed(run: Desks) -> None:
    added = await run.post("watch", "/arrangements/channels", quiet_from="22:00", quiet_to="06:00", **CHANNEL)
    assert (added.status_code, added.headers["location"]) == (303, "/arrangements")
    page = (await run.get("watch", "/arrangements")).text
    assert "值班手机" in page
    assert "22:00–06:00" in page
    assert "SECRET-OF-A-ROBOT" not in page
    assert "值班手机" not in (await run.get("chief", "/arrangements")).text
    acts = [entry.body for entry in await run.entries("act") if entry.body["what"].startswith("channel.")]
    assert [act["what"] for act in acts] == ["channel.written"]
    assert "SECRET-OF-A-ROBOT" not in str(acts)
    channel = acts[0]["channel"]
    assert (await run.post("chief", "/arrangements/channels/remove", channel=channel)).status_code == 404
    assert (await run.post("watch", "/arrangements/channels/remove", channel=channel)).status_code == 303
    assert "值班手机" not in (await run.get("watch", "/arrangements")).text


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"address": "ftp://example.org"}, "address"),
        ({"kind": "pigeon"}, "kind"),
        ({"quiet_from": "22:00"}, "quiet_to"),
        ({"min_severity": "dreadful"}, "min_severity"),
    ],
)
async def test_what_is_wrong_of_a_channel_is_said_and_nothing_is_kept(
    run: Desks, fields: dict[str, str], says: str
) -> None:
    refused = await run.post("watch", "/arrangements/channels", **(CHANNEL | fields))
    assert refused.status_code == 422
    assert f"{says}:" in refused.text
    assert "SECRET-OF-A-ROBOT" not in refused.text
    assert "值班手机" not in (await run.get("watch", "/arrangements")).text


async def test_maintenance_is_planned_where_one_may_and_ended(run: Desks) -> None:
    now = run.clock.now()
    span = {"from": now.rfc3339()[:19], "to": now.plus(7_200_000).rfc3339()[:19]}
    there = await run.post("chief", "/arrangements/maintenance", reason="更换交换机", unit_id="u1", **span)
    assert there.status_code == 303
    elsewhere = await run.post("chief", "/arrangements/maintenance", reason="更换交换机", unit_id="u2", **span)
    assert elsewhere.status_code == 403
    endless = await run.post("chief", "/arrangements/maintenance", reason="x", unit_id="u1", **(span | {"to": "soon"}))
    assert endless.status_code == 422
    assert (await run.post("watch", "/arrangements/maintenance", reason="x", **span)).status_code == 403
    assert "更换交换机" in (await run.get("deputy", "/arrangements")).text
    (window,) = [e.body["window"]["id"] for e in await run.entries("act") if e.body["what"] == "maintenance.planned"]
    assert (await run.post("elsewhere", "/arrangements/maintenance/end", window=window)).status_code == 404
    assert (await run.post("deputy", "/arrangements/maintenance/end", window=window)).status_code == 303
    assert "更换交换机" not in (await run.get("deputy", "/arrangements")).text


async def test_a_rule_says_who_is_told_first_and_who_then(run: Desks) -> None:
    rule = {"name": "一科", "unit_id": "u1", "min_severity": "warning", "ack_minutes": "5"}
    levels = {"level1": "role:duty_officer", "level2": "role:supervisor"}
    assert (await run.post("chief", "/arrangements/routes", **rule, **levels)).status_code == 303
    assert "值班员 → 主管" in " ".join((await run.get("chief", "/arrangements")).text.split())
    for wrong in ({"level1": "everybody"}, {"ack_minutes": "soon"}):
        assert (await run.post("chief", "/arrangements/routes", **(rule | levels | wrong))).status_code == 422
    (route,) = [e.body["route"]["id"] for e in await run.entries("act") if e.body["what"] == "route.written"]
    assert (await run.post("elsewhere", "/arrangements/routes/remove", route=route)).status_code == 404
    assert (await run.post("chief", "/arrangements/routes/remove", route=route)).status_code == 303
    assert "一科" not in (await run.get("chief", "/arrangements")).text
