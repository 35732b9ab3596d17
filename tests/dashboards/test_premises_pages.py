"""Registration through the pages: the whole way of a camera, who may go it, and what hostile input brings."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import Request

from dashboards.people.rights import Duty, Person, Role
from domain.bus import TopicPartition
from domain.probe import ProbeRequest, ProbeResult
from domain.settings import Settings
from domain.topics import REGISTRY
from domain.wire import decode_registration
from streams.bus.embedded import EmbeddedBus
from tests.dashboards.serving import Served, served

JPEG = b"\xff\xd8\xff\xe0picture"
PDF = b"%PDF-1.7 signed"
EVIL = "<script>document.title='owned'</script>"
CAMERA = "/premises/renhe/cameras/renhe-1"


PEOPLE = {
    "operator": (Duty(role=Role.SITE_OPERATOR, unit_id="u1"),),
    "neighbour": (Duty(role=Role.SITE_OPERATOR, unit_id="u2"),),
    "chief": (Duty(role=Role.SUPERVISOR, unit_id="u1"),),
    "both": (Duty(role=Role.SITE_OPERATOR), Duty(role=Role.SUPERVISOR)),
    "auditor": (Duty(role=Role.AUDITOR),),
    "officer": (Duty(role=Role.OFFICER),),
}


class Many:
    """A door that lets in whoever a header names."""

    async def who(self, request: Request) -> Person | None:
        name = request.headers.get("x-who", "operator")
        return Person(account_id=name, name=name, duties=PEOPLE[name], by="token")

    def knock(self, request: Request) -> None:
        pass


class Looking:
    """A probe that answers what it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer = ProbeResult(codec="h264", width=640, height=360, fps=25, bits_per_s=500_000, picture=JPEG)

    async def __call__(self, request: ProbeRequest) -> ProbeResult:
        self.asked.append(request.url)
        return self.answer


@pytest.fixture
def looking() -> Looking:
    return Looking()


@pytest.fixture
def settings() -> Settings:
    return Settings()


@pytest.fixture
async def site(tmp_path: Path, looking: Looking, settings: Settings) -> AsyncIterator[Served]:
    async with served(tmp_path, door=Many(), probe=looking, settings=settings) as running:
        yield running


@pytest.fixture
async def http(site: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=site.url, timeout=20) as client:
        yield client


def by(name: str) -> dict[str, str]:
    return {"x-who": name}


async def registered(bus: EmbeddedBus) -> dict[str, str]:
    """State of each recorder, as the log has it now."""
    found = {}
    for partition in range(bus.partitions(REGISTRY.name)):
        async for record in bus.read(TopicPartition(REGISTRY.name, partition), 0):
            said = decode_registration(record.value or b"")
            found[said.recorder_id] = f"{said.state} {said.url or ''}".strip()
    return found


async def post(http: httpx.AsyncClient, path: str, who: str = "operator", **rest: object) -> httpx.Response:
    return await http.post(path, headers=by(who), **rest)  # type: ignore[arg-type]


async def begun(http: httpx.AsyncClient) -> None:
    answer = await post(http, "/premises", data={"site_id": "renhe", "name": "仁和口腔", "unit_id": "u1"})
    assert answer.headers["location"] == "/premises/renhe"
    contact = {
        "contact_name": "王",
        "contact_role": "",
        "contact_phone": "138",
        "contact_mail": "",
        "contact_channel": "sms",
    }
    told = {"unit_id": "u1", "name": "仁和口腔", "party_name": "仁和口腔门诊部", "address": "人民路1号", **contact}
    assert (await post(http, "/premises/renhe", data=told)).status_code == 303
    answer = await post(
        http, "/premises/renhe/cameras", data={"camera_id": "renhe-1", "name": "消毒间", "policy": "wucheng"}
    )
    assert answer.headers["location"] == CAMERA


async def papers(http: httpx.AsyncClient) -> None:
    basics = {"name": "消毒间", "place": "器械清洗", "point": "fixed", "standard": "GB/T 28181", "policy": "wucheng"}
    assert (await post(http, f"{CAMERA}/basics", data=basics)).status_code == 303
    address = {"url": "rtsp://10.0.0.5/1", "user": "admin", "password": "hunter2", "then": "look", "continuous": "1"}
    assert (await post(http, f"{CAMERA}/address", data=address)).status_code == 303
    signed = {
        "signed_on": "2026-01-05",
        "agency_signatory": "张",
        "party_signatory": "王",
        "consents": ["安装", "记录内容"],
    }
    answer = await post(
        http, f"{CAMERA}/confirmation", data={**signed, "then": "confirm"}, files={"document": ("确认书.pdf", PDF)}
    )
    assert answer.status_code == 303, answer.text
    posted = {"posted_on": "2026-01-06", "where": "大门", "then": "notice"}
    answer = await post(http, f"{CAMERA}/notice", data=posted, files={"photo": ("n.jpg", JPEG)})
    assert answer.status_code == 303, answer.text


async def test_the_whole_way_of_a_camera(site: Served, http: httpx.AsyncClient, looking: Looking) -> None:
    await begun(http)
    assert await registered(site.bus) == {"renhe-1": "draft"}
    await papers(http)
    assert looking.asked == ["rtsp://admin:hunter2@10.0.0.5/1"]
    assert await registered(site.bus) == {"renhe-1": "noticed rtsp://10.0.0.5/1"}, "no password before it is needed"
    answer = await post(http, f"{CAMERA}/steps", data={"step": "activate"})
    assert answer.status_code == 404, "the operator does not let it into use"
    assert (await post(http, f"{CAMERA}/steps", "chief", data={"step": "activate"})).status_code == 303
    assert await registered(site.bus) == {"renhe-1": "active rtsp://admin:hunter2@10.0.0.5/1"}
    refused = await post(http, f"{CAMERA}/steps", "chief", data={"step": "suspend"})
    assert refused.status_code == 422
    suspended = await post(http, f"{CAMERA}/steps", "chief", data={"step": "suspend", "reason": "维修"})
    assert suspended.status_code == 303
    assert await registered(site.bus) == {"renhe-1": "suspended rtsp://10.0.0.5/1"}
    assert (await post(http, f"{CAMERA}/steps", "chief", data={"step": "retire", "reason": "拆除"})).status_code == 303
    assert await registered(site.bus) == {"renhe-1": "retired rtsp://10.0.0.5/1"}
    lines = [json.loads(line) async for _, line in site.console.parts.ledger.read()]
    entries = [line["body"] for line in lines if line["kind"] == "act"]
    said = [body["what"] for body in entries]
    assert said[0] == "site.added"
    assert [one for one in said if one in ("camera.confirm", "camera.notice", "camera.activate", "camera.retire")] == [
        "camera.confirm",
        "camera.notice",
        "camera.activate",
        "camera.retire",
    ]
    assert "hunter2" not in str(entries)


async def test_a_password_is_never_shown_again(http: httpx.AsyncClient) -> None:
    await begun(http)
    await papers(http)
    for path in (CAMERA, f"{CAMERA}/print", "/premises/renhe", "/premises", "/premises.csv"):
        for who in ("operator", "chief"):
            assert "hunter2" not in (await http.get(path, headers=by(who))).text


async def test_a_password_stays_where_the_address_is_saved_as_it_was_shown(
    http: httpx.AsyncClient, looking: Looking
) -> None:
    await begun(http)
    secret = {"url": "rtsp://10.0.0.5/cam?user=a&password=hunter2&channel=1"}
    await post(http, f"{CAMERA}/address", data=secret)
    page = (await http.get(CAMERA, headers=by("operator"))).text
    assert "hunter2" not in page
    (shown,) = re.findall(r'name="url" type="text" value="([^"]*)"', page)
    await post(http, f"{CAMERA}/address", data={"url": shown.replace("&amp;", "&"), "then": "look"})
    assert looking.asked == [secret["url"]]
    await post(http, f"{CAMERA}/address", data={"url": "rtsp://10.0.0.6/cam", "then": "look"})
    assert looking.asked[1:] == ["rtsp://10.0.0.6/cam"], "what belonged to the other address went with it"


async def test_what_is_missing_stands_on_the_page_with_its_article(http: httpx.AsyncClient) -> None:
    await begun(http)
    page = (await http.get(CAMERA, headers=by("operator"))).text
    assert '签字的确认书 <span class="article">(W-NS 第十二条、W-AV 第九条)</span>' in page
    refused = await post(http, f"{CAMERA}/steps", data={"step": "confirm"})
    assert refused.status_code == 422
    assert "记录内容" in refused.text


async def test_a_look_that_fails_says_why_in_words(http: httpx.AsyncClient, looking: Looking) -> None:
    await begun(http)
    looking.answer = ProbeResult(trouble="unauthorized")
    await post(http, f"{CAMERA}/address", data={"url": "rtsp://10.0.0.5/1", "then": "look"})
    assert "摄像机不接受用户名或密码" in (await http.get(CAMERA, headers=by("operator"))).text
    assert "refuses the user" in (await http.get(f"{CAMERA}?lang=en", headers=by("operator"))).text


@pytest.mark.parametrize("who", ["neighbour", "officer"])
async def test_what_is_another_units_is_not_there(http: httpx.AsyncClient, who: str) -> None:
    await begun(http)
    await papers(http)
    status = {"neighbour": 404, "officer": 403}[who]
    for path in ("/premises/renhe", CAMERA, f"{CAMERA}/print", f"{CAMERA}/papers/{'0' * 64}"):
        assert (await http.get(path, headers=by(who))).status_code == status
    for path in ("/premises/renhe", "/premises/renhe/cameras", f"{CAMERA}/basics", f"{CAMERA}/look", f"{CAMERA}/steps"):
        answer = await post(http, path, who, data={"step": "retire", "reason": "x", "name": "x", "camera_id": "x-1"})
        assert answer.status_code in (status, 422) if path == "/premises/renhe" else answer.status_code == status
    if who == "neighbour":
        assert "仁和" not in (await http.get("/premises", headers=by(who))).text


async def test_an_auditor_sees_and_changes_nothing(http: httpx.AsyncClient) -> None:
    await begun(http)
    page = await http.get(CAMERA, headers=by("auditor"))
    assert page.status_code == 200
    assert "disabled" in page.text
    assert (await post(http, f"{CAMERA}/basics", "auditor", data={"name": "x"})).status_code == 403
    assert (await post(http, f"{CAMERA}/steps", "auditor", data={"step": "retire", "reason": "x"})).status_code == 404


async def test_a_document_is_only_this_cameras(http: httpx.AsyncClient) -> None:
    await begun(http)
    await papers(http)
    page = (await http.get(CAMERA, headers=by("operator"))).text
    paths = set(re.findall(r'"(/premises/renhe/cameras/renhe-1/papers/[0-9a-f]{64})"', page))
    assert len(paths) == 2, "the picture and the photo are the same bytes here"
    for path in paths:
        answer = await http.get(path, headers=by("operator"))
        assert answer.content in (JPEG, PDF)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        await post(http, "/premises/renhe/cameras", data={"camera_id": "renhe-2", "name": "x", "policy": "wucheng"})
        assert (await http.get(path.replace("renhe-1", "renhe-2"), headers=by("operator"))).status_code == 404


async def test_what_is_typed_is_text(http: httpx.AsyncClient) -> None:
    await begun(http)
    basics = {"name": EVIL, "place": EVIL, "standard": EVIL, "point": "fixed", "policy": "wucheng"}
    await post(http, f"{CAMERA}/basics", data=basics)
    for path in ("/premises", "/premises/renhe", CAMERA, f"{CAMERA}/print"):
        assert "<script>document" not in (await http.get(path, headers=by("operator"))).text


REFUSED: list[tuple[str, dict[str, str], dict[str, tuple[str, bytes]] | None]] = [
    ("/premises", {"site_id": "../etc", "name": "x"}, None),
    ("/premises", {"site_id": "a\x00b", "name": "x"}, None),
    ("/premises", {"site_id": "x", "name": ""}, None),
    ("/premises", {"site_id": "renhe", "name": "x", "unit_id": "u1"}, None),
    ("/premises", {"site_id": "x", "name": "x", "unit_id": "u2"}, None),
    ("/premises/renhe", {"name": "x", "credit_code": "123", "unit_id": "u1"}, None),
    ("/premises/renhe", {"name": "x", "unit_id": "u2"}, None),
    ("/premises/renhe/cameras", {"camera_id": "renhe-1", "name": "x", "policy": "wucheng"}, None),
    ("/premises/renhe/cameras", {"camera_id": "renhe-2", "name": "x", "policy": "nowhere"}, None),
    (f"{CAMERA}/basics", {"name": "a\nb"}, None),
    (f"{CAMERA}/basics", {"name": "x", "point": "flying", "policy": "wucheng"}, None),
    (f"{CAMERA}/address", {"url": "http://10.0.0.5/"}, None),
    (f"{CAMERA}/address", {"url": "rtsp://10.0.0.5/", "transport": "carrier pigeon"}, None),
    (f"{CAMERA}/confirmation", {"signed_on": "yesterday"}, None),
    (f"{CAMERA}/confirmation", {}, {"document": ("x.pdf", b"MZ not a document")}),
    (f"{CAMERA}/notice", {}, {"photo": ("x.jpg", b"\xff\xd8\xff" + bytes(10_000_001))}),
]


async def test_what_cannot_be_kept_is_refused_and_said(http: httpx.AsyncClient) -> None:
    await begun(http)
    before = (await http.get(CAMERA, headers=by("operator"))).text
    for path, data, files in REFUSED:
        answer = await post(http, path, data=data, files=files)
        assert answer.status_code == 422, (path, data)
        assert 'role="alert"' in answer.text
        after = (await http.get(CAMERA, headers=by("operator"))).text
        assert re.findall(r'value="[^"]*"', after) == re.findall(r'value="[^"]*"', before)


@pytest.mark.parametrize("settings", [Settings(monitoring_review=True)])
async def test_where_the_agency_asks_for_it_two_people_and_a_review(http: httpx.AsyncClient) -> None:
    await begun(http)
    await papers(http)
    refused = await post(http, f"{CAMERA}/steps", "both", data={"step": "activate"})
    assert "行政处罚法第四十一条" in refused.text
    reviewed = {
        "legality_by": "李",
        "technology_by": "赵",
        "reviewed_on": "2026-01-07",
        "markings": "标牌",
        "published_at": "政府网站",
        "published_on": "2026-01-08",
    }
    answer = await post(http, f"{CAMERA}/review", "both", data=reviewed, files={"document": ("r.pdf", PDF)})
    assert answer.status_code == 303
    refused = await post(http, f"{CAMERA}/steps", "both", data={"step": "activate"})
    assert refused.status_code == 422
    assert "由另一人审核" in refused.text
    assert (await post(http, f"{CAMERA}/steps", "chief", data={"step": "activate"})).status_code == 303


async def test_a_certificate_that_runs_out_is_listed(http: httpx.AsyncClient) -> None:
    await begun(http)
    await post(http, f"{CAMERA}/certificate", data={"required": "1", "number": "J-1", "expires_on": "2020-01-01"})
    assert "已过期（2020-01-01）" in (await http.get("/premises", headers=by("operator"))).text
