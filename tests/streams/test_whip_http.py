"""Every status code of WHIP, and offers that are no offers."""

import asyncio
import random
import re
import resource
from collections.abc import AsyncIterator

import httpx
import pytest
from aiortc import RTCPeerConnection
from starlette.applications import Starlette

from domain.clock import SystemClock
from streams.ingest.whip.offer import MAX_OFFER_BYTES
from streams.ingest.whip.options import WhipOptions
from streams.ingest.whip.routes import whip_router
from streams.ingest.whip.service import WhipService
from tests.streams.memory_ingest import MemoryIngest
from tests.streams.whip_client import TOKEN, until
from tests.streams.whip_offers import BARE, CHROMIUM, OBS, mutated

SDP = {**TOKEN, "Content-Type": "application/sdp"}


@pytest.fixture
def ingest() -> MemoryIngest:
    ingest = MemoryIngest()
    for name in ("cam-1", "cam-2", "cam-3"):
        ingest.register(name)
    ingest.register("draft", state="draft")
    return ingest


@pytest.fixture
async def service(ingest: MemoryIngest) -> AsyncIterator[WhipService]:
    options = WhipOptions(hosts=["127.0.0.1"], max_sessions=2, connect_within_s=30, linger_s=30)
    service = WhipService(ingest, SystemClock(), options)
    yield service
    await service.close()


@pytest.fixture
async def http(ingest: MemoryIngest, service: WhipService) -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette()
    app.routes.extend(whip_router(ingest, service, public_url="https://ingest-7.liuhen.test/").routes)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://liuhen.test") as client:
        yield client


@pytest.mark.parametrize("offer", [CHROMIUM, OBS, BARE], ids=["chromium", "obs", "bare"])
async def test_an_offer_is_answered(http: httpx.AsyncClient, offer: str) -> None:
    answer = await http.post("/whip/cam-1", content=offer, headers=SDP)
    assert answer.status_code == 201, answer.text
    assert answer.headers["content-type"] == "application/sdp"
    assert re.fullmatch(r"https://ingest-7\.liuhen\.test/whip/cam-1/[0-9a-f]{32}", answer.headers["location"])
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "Location" in answer.headers["access-control-expose-headers"]
    offered = [line.split() for line in offer.splitlines() if line.startswith("m=")]
    answered = [line.split() for line in answer.text.splitlines() if line.startswith("m=")]
    assert [line[0] for line in answered] == [line[0] for line in offered]
    taken = [line for line in answered if line[1] != "0"]
    assert {line[0] for line in taken} <= {"m=video", "m=audio"}
    assert all(len(line) == 4 for line in taken)
    assert answer.text.count("a=recvonly") == len(taken)
    assert "a=candidate:" in answer.text
    assert "a=end-of-candidates" in answer.text
    assert answer.text.count("a=setup:active") == len(taken)


async def test_the_answer_agrees_only_to_what_we_do(http: httpx.AsyncClient) -> None:
    answer = (await http.post("/whip/cam-1", content=CHROMIUM, headers=SDP)).text
    assert "a=rtcp-fb:102 transport-cc" in answer
    assert "goog-remb" not in answer
    assert "rtx" not in answer
    assert "red" not in answer
    # The profile as offered; the level is ours to say where the offer lets it differ.
    assert "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=420034" in answer
    assert answer.count("a=extmap:3 ") == 2


async def test_options_tell_what_may_be_posted(http: httpx.AsyncClient) -> None:
    asked = await http.options("/whip/cam-1", headers={"Origin": "https://app.test"})
    assert asked.status_code == 204
    assert asked.headers["accept-post"] == "application/sdp"
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert "Authorization" in asked.headers["access-control-allow-headers"]
    asked = await http.options("/whip/cam-1/0")
    assert "DELETE" in asked.headers["access-control-allow-methods"]
    assert (await http.get("/whip/cam-1")).status_code == 405


@pytest.mark.parametrize(
    ("recorder", "headers", "status"),
    [
        ("cam-1", {"Authorization": ""}, 401),
        ("cam-1", {"Authorization": "Bearer wrong"}, 401),
        ("nobody", {}, 404),
        ("draft", {}, 403),
        ("cam-1", {"Content-Type": "application/json"}, 415),
        ("cam-1", {"Content-Type": ""}, 415),
    ],
)
async def test_who_may_publish(http: httpx.AsyncClient, recorder: str, headers: dict[str, str], status: int) -> None:
    answer = await http.post(f"/whip/{recorder}", content=CHROMIUM, headers={**SDP, **headers})
    assert answer.status_code == status
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert answer.headers["access-control-allow-origin"] == "*"


def _without(offer: str, pattern: str, by: str = "") -> str:
    changed = re.sub(pattern, by, offer, flags=re.MULTILINE)
    assert changed != offer
    return changed


@pytest.mark.parametrize(
    ("offer", "status", "field"),
    [
        (b"", 400, "sdp"),
        (b"\xff\xfe\x00", 400, "sdp"),
        (b"hello", 400, "sdp"),
        ("v=0\r\nm=video\r\n", 400, "sdp"),
        ("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", 422, "m"),
        (_without(CHROMIUM, r"^m=video [^$]*\Z"), 422, "rtpmap"),
        (_without(CHROMIUM, r"H264/90000", "VP8/90000"), 422, "rtpmap"),
        (_without(CHROMIUM, r"H264/90000", "H264/8000"), 422, "rtpmap"),
        (_without(CHROMIUM, r"a=sendonly", "a=recvonly"), 422, "rtpmap"),
        (_without(CHROMIUM, r"^a=rtcp-mux\r$", "a=x\r"), 422, "rtcp-mux"),
        (_without(CHROMIUM, r"^a=fingerprint:sha-256 .*$", "a=x\r"), 422, "fingerprint"),
        (_without(CHROMIUM, r"^a=fingerprint:sha-256", "a=fingerprint:md5"), 422, "fingerprint"),
        (_without(CHROMIUM, r"^a=setup:actpass\r$", "a=x\r"), 422, "setup"),
        (_without(CHROMIUM, r"^a=setup:actpass", "a=setup:holdconn"), 400, "sdp"),
        (_without(CHROMIUM, r"^a=ice-ufrag:.*$", "a=x\r"), 422, "ice-ufrag"),
        (_without(CHROMIUM, r"^a=ice-pwd:.*$", "a=ice-pwd:short\r"), 400, "ice-pwd"),
        (_without(CHROMIUM, r"^a=group:BUNDLE.*$", "a=x\r"), 422, "group"),
        (_without(CHROMIUM, r"^a=mid:0", "a=mid:0 1"), 400, "mid"),
        (CHROMIUM + "a=x\r\n" * 3000, 400, "sdp"),
        (CHROMIUM + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" * 30, 400, "m"),
        (CHROMIUM + "a=ssrc:1 cname:x\r\n" * 1100, 400, "sdp"),
    ],
)
async def test_what_is_wrong_with_an_offer_is_said(
    http: httpx.AsyncClient, service: WhipService, offer: str | bytes, status: int, field: str
) -> None:
    answer = await http.post("/whip/cam-1", content=offer, headers=SDP)
    assert (answer.status_code, answer.json().get("field")) == (status, field), answer.text
    assert not service.peers


async def test_an_offer_of_vp8_alone_says_what_to_offer(http: httpx.AsyncClient) -> None:
    answer = await http.post("/whip/cam-1", content=_without(CHROMIUM, "H264/90000", "VP8/90000"), headers=SDP)
    assert "VP8" in answer.json()["detail"]
    assert "offer H.264" in answer.json()["detail"]


async def test_too_large(http: httpx.AsyncClient) -> None:
    answer = await http.post("/whip/cam-1", content=CHROMIUM + " " * MAX_OFFER_BYTES, headers=SDP)
    assert answer.status_code == 413


async def test_a_full_house_sends_away_but_not_those_inside(http: httpx.AsyncClient, service: WhipService) -> None:
    for name in ("cam-1", "cam-2"):
        assert (await http.post(f"/whip/{name}", content=CHROMIUM, headers=SDP)).status_code == 201
    busy = await http.post("/whip/cam-3", content=CHROMIUM, headers=SDP)
    assert busy.status_code == 503
    assert int(busy.headers["retry-after"]) > 0
    again = await http.post("/whip/cam-1", content=CHROMIUM, headers=SDP)
    assert again.status_code == 201
    assert len(service.peers) == 2
    assert (await http.delete(again.headers["location"], headers=TOKEN)).status_code == 200
    assert (await http.post("/whip/cam-3", content=CHROMIUM, headers=SDP)).status_code == 201


async def test_the_pipeline_behind_may_be_full(http: httpx.AsyncClient, ingest: MemoryIngest) -> None:
    ingest.max_feeds = 0
    answer = await http.post("/whip/cam-1", content=CHROMIUM, headers=SDP)
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    ingest.max_feeds, ingest.full = 10, True
    answer = await http.post("/whip/cam-2", content=CHROMIUM, headers=SDP)
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)


async def test_a_host_that_is_not_ours(ingest: MemoryIngest) -> None:
    service = WhipService(ingest, SystemClock(), WhipOptions(hosts=["192.0.2.1"]))
    app = Starlette()
    app.routes.extend(whip_router(ingest, service).routes)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://liuhen.test") as client:
        answer = await client.post("/whip/cam-1", content=CHROMIUM, headers=SDP)
    assert answer.status_code == 503
    assert not service.peers
    assert ingest.feeds[0].closed
    await service.close()


async def test_trickled_candidates(http: httpx.AsyncClient, service: WhipService) -> None:
    posted = await http.post("/whip/cam-1", content=CHROMIUM, headers=SDP)
    place, tag = posted.headers["location"], posted.headers["etag"]
    headers = {**TOKEN, "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": tag}
    ufrag = re.findall(r"a=ice-ufrag:(\S+)", CHROMIUM)[0]
    candidate = "a=candidate:1 1 udp 2122260223 127.0.0.1 9 typ host\r\n"
    body = f"a=ice-ufrag:{ufrag}\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n{candidate}"
    assert (await http.patch(place, content=body, headers=headers)).status_code == 204
    known = service.peers[0].transport
    assert [(c.ip, c.port) for c in known._ice.getRemoteCandidates()] == [("127.0.0.1", 9)]
    mdns = body.replace("127.0.0.1", "0af2.local")
    assert (await http.patch(place, content=mdns, headers=headers)).status_code == 204
    restart = body.replace(ufrag, "another1")
    assert (await http.patch(place, content=restart, headers=headers)).status_code == 422
    assert (await http.patch(place, content=body, headers={**headers, "If-Match": '"x"'})).status_code == 412
    assert (await http.patch(place, content=body, headers={**headers, "Content-Type": "text/plain"})).status_code == 415
    assert (await http.patch(place, content="a=candidate:x\r\n", headers=headers)).status_code == 400
    assert (await http.patch(place, content=b"\xff", headers=headers)).status_code == 400
    assert (await http.patch(place, content="a=x\r\n" * 9000, headers=headers)).status_code == 413
    assert (await http.patch(place, content=body, headers={**headers, "Authorization": ""})).status_code == 401
    assert (await http.patch(place + "0", content=body, headers=headers)).status_code == 404


async def test_delete(http: httpx.AsyncClient, service: WhipService, ingest: MemoryIngest) -> None:
    place = (await http.post("/whip/cam-1", content=CHROMIUM, headers=SDP)).headers["location"]
    assert (await http.delete(place)).status_code == 401
    foreign = place.replace("cam-1", "cam-2")
    assert (await http.delete(foreign, headers=TOKEN)).status_code == 404
    assert (await http.delete(place, headers=TOKEN)).status_code == 200
    assert (await http.delete(place, headers=TOKEN)).status_code == 404
    assert ingest.feeds[0].closed == 1
    await until(lambda: ingest.kinds() == ["SessionOpened", "SessionEnded"])
    assert not service.peers


@pytest.mark.timeout(180)
async def test_mutated_offers_never_hurt(http: httpx.AsyncClient, service: WhipService) -> None:
    dice = random.Random(20260302)
    seeds = [CHROMIUM.encode(), OBS.encode(), BARE.encode()]
    counts: dict[int, int] = {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(3000):
        answer = await http.post("/whip/cam-1", content=mutated(dice.choice(seeds), dice), headers=SDP)
        counts[answer.status_code] = counts.get(answer.status_code, 0) + 1
        assert answer.status_code in {201, 400, 422}, (number, answer.text)
        assert len(service.peers) <= 1
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert counts[400] > 300
    assert counts[422] > 300
    assert grown_kb < 60_000
    place = (await http.post("/whip/cam-1", content=CHROMIUM, headers=SDP)).headers["location"]
    assert (await http.delete(place, headers=TOKEN)).status_code == 200
    assert not service.peers
    assert len(asyncio.all_tasks()) < 20


async def test_an_offer_of_data_alone(http: httpx.AsyncClient) -> None:
    pc = RTCPeerConnection()
    pc.createDataChannel("x")
    offer = await pc.createOffer()
    answer = await http.post("/whip/cam-1", content=offer.sdp, headers=SDP)
    assert (answer.status_code, answer.json()["field"]) == (422, "rtpmap")
    await pc.close()
