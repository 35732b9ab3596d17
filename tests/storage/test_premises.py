"""What is entered of sites, cameras and recorders is there again, whoever enters at the same time."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from domain.clock import Instant
from domain.errors import InvalidInput
from storage.office import prechecks, premises, recorders
from storage.office.admission import NotReady
from storage.office.dossier import Camera, Contact, Site
from storage.office.office import Office
from storage.office.prechecks import Check, Point
from storage.office.recorders import Card

SITE = Site(site_id="renhe", unit_id="u1", name="仁和", contacts=(Contact(name="王", phone="138"),))
CAMERA = Camera(camera_id="renhe-1", site_id="renhe", url="rtsp://10.0.0.5/1")
AT = Instant.parse("2026-03-02T09:00:00+08:00")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/office.db"
    url: str = request.getfixturevalue("postgres").create_database(f"office_{uuid.uuid4().hex}")
    return url


@pytest.fixture
async def office(address: str) -> AsyncIterator[Office]:
    opened = await Office.connect(address)
    await premises.put_site(opened, SITE, by="op", at=AT, is_new=True)
    yield opened
    await opened.close()


async def test_a_site_and_its_camera_are_there_again(office: Office) -> None:
    await premises.add_camera(office, CAMERA, "rtsp://admin:secret@10.0.0.5/1", by="op", at=AT)
    kept = await premises.one_camera(office, "renhe-1")
    assert kept == msgspec.structs.replace(CAMERA, changed_at=AT, changed_by="op")
    assert await premises.all_cameras(office, "renhe") == [kept]
    assert await premises.all_sites(office) == [SITE]
    assert [done.what for done in await premises.history(office, "renhe-1")] == ["added"]
    assert await premises.one_camera(office, "other") is None


async def test_a_password_stands_apart(office: Office) -> None:
    await premises.add_camera(office, CAMERA, "rtsp://admin:secret@10.0.0.5/1", by="op", at=AT)
    assert "secret" not in repr(await premises.one_camera(office, "renhe-1"))
    assert await premises.secrets(office) == {"renhe-1": "rtsp://admin:secret@10.0.0.5/1"}
    for given, left in (
        (None, {"renhe-1": "rtsp://admin:secret@10.0.0.5/1"}),
        ("rtsp://a:b@c/", {"renhe-1": "rtsp://a:b@c/"}),
        ("", {}),
    ):
        await premises.change_camera(
            office, "renhe-1", lambda _site, camera: camera, what="address", by="op", at=AT, secret=given
        )
        assert await premises.secrets(office) == left


async def test_an_id_in_use_is_not_taken_again(office: Office) -> None:
    await premises.add_camera(office, CAMERA, "", by="op", at=AT)
    with pytest.raises(premises.Taken):
        await premises.add_camera(office, CAMERA, "", by="op", at=AT)
    with pytest.raises(premises.Taken):
        await premises.put_site(office, SITE, by="op", at=AT, is_new=True)


async def test_a_change_that_is_refused_changes_nothing(office: Office) -> None:
    await premises.add_camera(office, CAMERA, "a:b", by="op", at=AT)
    before = await premises.one_camera(office, "renhe-1")

    def refuse(_site: Site, _camera: Camera) -> Camera:
        raise NotReady("activate", [], "no")

    with pytest.raises(NotReady):
        await premises.change_camera(office, "renhe-1", refuse, what="x", by="op", at=AT, secret="")
    assert await premises.one_camera(office, "renhe-1") == before
    assert await premises.secrets(office) == {"renhe-1": "a:b"}


async def test_changes_at_the_same_time_are_made_one_after_the_other(office: Office) -> None:
    await premises.add_camera(office, msgspec.structs.replace(CAMERA, name="0"), "", by="op", at=AT)

    def count(_site: Site, camera: Camera) -> Camera:
        return msgspec.structs.replace(camera, name=str(int(camera.name) + 1))

    changes = (premises.change_camera(office, "renhe-1", count, what="x", by="op", at=AT) for _ in range(10))
    await asyncio.gather(*changes)
    kept = await premises.one_camera(office, "renhe-1")
    assert kept is not None
    assert kept.name == "10"


async def test_a_recorder_is_handed_from_one_to_the_next(office: Office) -> None:
    await recorders.add_card(office, Card(recorder_id="bw-1"), by="keeper", at=AT)
    await recorders.issue(office, "bw-1", "zhang", by="keeper", at=AT)
    await recorders.issue(office, "bw-1", "li", by="keeper", at=AT.plus(1000))
    await recorders.issue(office, "bw-1", None, by="keeper", at=AT.plus(2000))
    found = [(one.account_id, one.since, one.until) for one in await recorders.holders(office, "bw-1")]
    assert found == [("li", AT.plus(1000), AT.plus(2000)), ("zhang", AT, AT.plus(1000))]
    assert [line.what for line in await recorders.lines(office, "bw-1")] == ["returned", "issued", "issued", "added"]
    with pytest.raises(InvalidInput, match="no recorder"):
        await recorders.issue(office, "bw-2", "zhang", by="keeper", at=AT)


async def test_a_recorder_handed_out_twice_at_once_is_one_persons(office: Office) -> None:
    await recorders.add_card(office, Card(recorder_id="bw-1"), by="keeper", at=AT)
    await asyncio.gather(*(recorders.issue(office, "bw-1", f"p{n}", by="keeper", at=AT.plus(n)) for n in range(8)))
    assert sum(one.until is None for one in await recorders.holders(office, "bw-1")) == 1


async def test_a_renewed_token_takes_over_and_the_old_one_runs_out(office: Office) -> None:
    await recorders.add_card(office, Card(recorder_id="bw-1", unit_id="u1"), by="keeper", at=AT)
    until = AT.plus(3_600_000)
    for number, digest in enumerate(("a" * 64, "b" * 64, "c" * 64)):
        await recorders.renew_token(
            office, "bw-1", digest, old_until=until.plus(number), by="keeper", at=AT.plus(number)
        )
    card, held = await recorders.one_card(office, "bw-1"), (await recorders.tokens(office))["bw-1"]
    assert card is not None
    said = recorders.registration(card, held, AT.plus(10))
    assert said.token_sha256 == "c" * 64
    assert {old.sha256: old.until for old in said.old_tokens} == {"a" * 64: until.plus(1), "b" * 64: until.plus(2)}
    assert recorders.registration(card, held, until.plus(5)).old_tokens == ()
    assert said.unit_id == "u1"


async def test_the_token_before_is_not_given_longer_than_it_was(office: Office) -> None:
    await recorders.add_card(office, Card(recorder_id="bw-1"), by="keeper", at=AT)
    for digest, until in (("a" * 64, 0), ("b" * 64, 1_000), ("c" * 64, 9_000_000)):
        await recorders.renew_token(office, "bw-1", digest, old_until=AT.plus(until), by="keeper", at=AT)
    ends = {token.sha256[0]: token.until for token in (await recorders.tokens(office))["bw-1"]}
    assert ends == {"a": AT.plus(1_000), "b": AT.plus(9_000_000), "c": None}


async def test_the_same_token_again_is_in_force_again(office: Office) -> None:
    await recorders.add_card(office, Card(recorder_id="bw-1"), by="keeper", at=AT)
    for digest in ("a" * 64, "b" * 64, "a" * 64):
        await recorders.renew_token(office, "bw-1", digest, old_until=AT, by="keeper", at=AT)
    assert {token.sha256[0]: token.until for token in (await recorders.tokens(office))["bw-1"]} == {"a": None, "b": AT}


async def test_checks_are_kept_as_they_were_made(office: Office) -> None:
    await recorders.add_card(office, Card(recorder_id="bw-1"), by="keeper", at=AT)
    points = (Point(id="works", ok=True), Point(id="battery", ok=False, value=12.0, by_device=True))
    check = Check(recorder_id="bw-1", at=AT, by="zhang", points=points, note="去充电")
    await prechecks.add_check(office, check)
    assert await prechecks.checks(office, since=AT) == [check]
    assert not check.passed
    assert await prechecks.checks(office, since=AT.plus(1)) == []
    assert await prechecks.checks(office, since=AT, recorder_id="bw-2") == []
