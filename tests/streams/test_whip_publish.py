"""A recorder publishes over WHIP: what it sent is what comes out, and each ending does what it should."""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

import httpx
import pytest
import uvloop
from starlette.applications import Starlette

from domain.clock import SystemClock
from domain.events import SessionEnded, SessionOpened
from streams.ingest.sink import NoteKind
from streams.ingest.whip.options import WhipOptions
from streams.ingest.whip.peer import Ending, WhipPeer
from streams.ingest.whip.routes import whip_router
from streams.ingest.whip.service import WhipService
from tests.services.samples import Samples
from tests.streams.memory_ingest import MemoryFeed, MemoryIngest
from tests.streams.whip_client import TOKEN, Coded, WhipClient, loopback_only, nals_of_annexb, nals_of_lengths, until
from tests.streams.whip_offers import CHROMIUM, mutated


class Rig(NamedTuple):
    ingest: MemoryIngest
    service: WhipService
    http: httpx.AsyncClient


@pytest.fixture(scope="session")
def coded() -> Coded:
    return Coded(Samples().get("opus").path)


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    loopback_only(monkeypatch)
    ingest = MemoryIngest()
    ingest.register("cam-1")
    options = WhipOptions(hosts=["127.0.0.1"], silent_after_s=1.0, connect_within_s=5.0, linger_s=0.3)
    service = WhipService(ingest, SystemClock(), options)
    app = Starlette()
    app.routes.extend(whip_router(ingest, service).routes)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://liuhen.test") as http:
        yield Rig(ingest, service, http)
    await service.close()


async def test_access_units_come_out_as_they_were_sent(rig: Rig, coded: Coded) -> None:
    async with WhipClient(rig.http, coded) as client:
        client.video.limit = 100
        assert client.audio is not None
        client.audio.limit = 100
        await client.publish()
        feed = rig.ingest.feeds[0]
        await until(lambda: len(feed.of(0)) == 100 and len(feed.of(1)) == 100)
        assert (await client.delete()).status_code == 200
    sent = [nals_of_annexb(data) for data in client.video.sent]
    assert all(nals_of_lengths(unit.data) == nals for unit, nals in zip(feed.of(0), sent, strict=True))
    assert [unit.data for unit in feed.of(1)] == client.audio.sent
    assert feed.of(0)[0].keyframe
    assert not any(unit.lost_packets or unit.damaged for unit in feed.units)
    assert [later.pts - before.pts for before, later in zip(feed.of(0), feed.of(0)[1:], strict=False)] == [3600] * 99
    assert rig.ingest.kinds() == ["SessionOpened", "SessionEnded"]
    assert feed.closed == 1


def _stalls_s(feed: MemoryFeed) -> float:
    """The longest time between two pictures given out (by the clock at which they came out, not by when they came)."""
    times = feed.given_s[0]
    return max(later - before for before, later in itertools.pairwise(times))


def _is_settled(peer: WhipPeer) -> bool:
    """Tell whether all pictures on the way have been read, for none came for a while, and none waits for another."""
    pictures = peer.tracks[0]
    return pictures._order.held == {} and time.monotonic() - pictures._arrival_s > 0.3


def _check_all_is_accounted_for(feed: MemoryFeed, client: WhipClient) -> None:
    """Every picture that is not damaged is one that was sent, in order; where some are missing, losses are told."""
    sent = [nals_of_annexb(data) for data in client.video.sent]
    at = 0
    told = 0
    for unit in feed.of(0):
        told += unit.lost_packets
        if unit.damaged:
            continue
        assert nals_of_lengths(unit.data) in sent[at:], "not damaged, and yet not as sent"
        found = sent.index(nals_of_lengths(unit.data), at)
        assert found == at or told, f"pictures {at} to {found} are missing and nobody says so"
        at, told = found + 1, 0


@pytest.mark.parametrize(("loss", "stall_s"), [(0.01, 1.0), (0.05, 3.0), (0.10, 3.0)])
async def test_lost_packets_are_asked_for_again(rig: Rig, coded: Coded, loss: float, stall_s: float) -> None:
    async with WhipClient(rig.http, coded) as client:
        client.video.limit = 200
        await client.publish(loss=loss, duplicate=0.02, seed=7)
        feed = rig.ingest.feeds[0]
        await until(client.video.done.is_set)
        await until(lambda: _is_settled(rig.service.peers[0]))
        peer = rig.service.peers[0]
        assert client.path is not None
        assert client.path.lost > 200 * loss
        assert (await client.delete()).status_code == 200
    _check_all_is_accounted_for(feed, client)
    # Pictures are asked for until they come; sound cannot be (no client offers NACK for it), so its losses are told.
    assert peer.tracks[0].lost_packets <= 2
    for track in peer.tracks:  # what was lost behind the last unit has none to be told with
        told = sum(unit.lost_packets for unit in feed.of(track.index))
        assert track.lost_packets - 3 <= told <= track.lost_packets
    assert _stalls_s(feed) < stall_s
    assert any(kind is NoteKind.LOSS for kind, _ in feed.notes) == (peer.lost_packets > 0)


async def test_loss_that_cannot_be_repaired_is_told_and_bounded(rig: Rig, coded: Coded) -> None:
    """The sender never hears us, so nothing comes again."""
    async with WhipClient(rig.http, coded) as client:
        client.video.limit = 200
        await client.publish(loss=0.0, seed=3)
        assert client.path is not None
        client.path.deaf = True
        client.path.loss = 0.05
        feed = rig.ingest.feeds[0]
        await until(client.video.done.is_set)
        await until(lambda: _is_settled(rig.service.peers[0]))
        lost = rig.service.peers[0].lost_packets
        await client.delete()
    assert lost > 5
    _check_all_is_accounted_for(feed, client)
    assert any(unit.damaged for unit in feed.of(0)) or any(unit.lost_packets for unit in feed.of(0))
    assert _stalls_s(feed) < 1.5
    assert any(kind is NoteKind.LOSS for kind, _ in feed.notes)


async def test_a_recorder_that_comes_back_goes_on_in_its_session(rig: Rig, coded: Coded) -> None:
    rig.service._options = WhipOptions(hosts=["127.0.0.1"], silent_after_s=1.0, connect_within_s=5.0, linger_s=20.0)
    async with WhipClient(rig.http, coded) as client:
        await client.publish(loss=0.0)
        await until(lambda: len(rig.ingest.feeds[0].of(0)) > 5)
        assert client.path is not None
        client.path.dead = True
        await until(lambda: rig.ingest.feeds[0].closed == 1, within_s=5)
        assert rig.service.ended[Ending.SILENT] == 1
    async with WhipClient(rig.http, coded) as client:
        await client.publish()
        await until(lambda: len(rig.ingest.feeds[1].of(0)) > 5)
        assert rig.ingest.kinds() == ["SessionOpened"]
        assert rig.ingest.feeds[1].session_id == rig.ingest.feeds[0].session_id
        assert rig.ingest.feeds[1].feed_id != rig.ingest.feeds[0].feed_id
        await client.delete()
    await until(lambda: rig.ingest.kinds() == ["SessionOpened", "SessionEnded"])


async def test_a_recorder_that_stays_away_has_its_session_ended_at_its_last_moment(rig: Rig, coded: Coded) -> None:
    async with WhipClient(rig.http, coded) as client:
        await client.publish()
        await until(lambda: len(rig.ingest.feeds[0].of(0)) > 5)
    await until(lambda: rig.ingest.kinds() == ["SessionOpened", "SessionEnded"])
    assert rig.service.ended[Ending.CLOSED] == 1
    opened, ended = rig.ingest.events
    assert isinstance(opened, SessionOpened)
    assert isinstance(ended, SessionEnded)
    assert ended.session_id == opened.session_id
    assert ended.at - ended.completed_at >= 300  # it waited `linger_s`, and that does not count as recording
    assert opened.session_id.startswith("cam-1-20")


async def test_the_end_of_a_session_is_said_again_until_it_is_taken(rig: Rig, coded: Coded) -> None:
    async with WhipClient(rig.http, coded) as client:
        await client.publish()
        rig.ingest.fail_on = {1}
        await client.delete()
    await until(lambda: rig.ingest.kinds() == ["SessionOpened", "SessionEnded"])


async def test_a_session_that_the_device_opened_is_the_devices_to_end(rig: Rig, coded: Coded) -> None:
    now = SystemClock().now()
    await rig.ingest.record(SessionOpened(at=now, recorder_id="cam-1", session_id="duty-7"))
    async with WhipClient(rig.http, coded) as client:
        await client.publish()
        await until(lambda: len(rig.ingest.feeds[0].of(0)) > 1)
        assert rig.ingest.feeds[0].session_id == "duty-7"
        await client.delete()
        await client.pc.close()
        assert rig.ingest.kinds() == ["SessionOpened"]
    async with WhipClient(rig.http, coded) as client:
        await client.publish()
        await rig.service.close_session("cam-1", "other")
        assert rig.service.peers
        await rig.service.close_session("cam-1", "duty-7")
        assert not rig.service.peers
        assert rig.ingest.feeds[1].closed == 1
    assert rig.ingest.kinds() == ["SessionOpened"]


async def test_a_recorder_that_is_taken_out_of_use_publishes_no_longer(rig: Rig, coded: Coded) -> None:
    async with WhipClient(rig.http, coded) as client:
        await client.publish()
        await until(lambda: len(rig.ingest.feeds[0].of(0)) > 1)
        rig.ingest.register("cam-1", state="suspended")
        await until(lambda: rig.ingest.feeds[0].closed == 1)
        assert rig.service.ended[Ending.NOT_ACTIVE] == 1
        await until(lambda: rig.ingest.kinds() == ["SessionOpened", "SessionEnded"])


async def test_a_session_that_was_ended_through_another_worker_is_recorded_into_no_more(rig: Rig, coded: Coded) -> None:
    async with WhipClient(rig.http, coded) as client:
        await client.publish()
        await until(lambda: len(rig.ingest.feeds[0].of(0)) > 1)
        now = SystemClock().now()
        session_id = rig.ingest.feeds[0].session_id
        ended = SessionEnded(at=now, recorder_id="cam-1", session_id=session_id, completed_at=now)
        await rig.ingest.record(ended)  # as read from the log
        await until(lambda: rig.ingest.feeds[0].closed == 1)
        assert rig.service.ended[Ending.SESSION_ENDED] == 1
    async with WhipClient(rig.http, coded) as client:
        await client.publish()
        assert rig.ingest.feeds[1].session_id != session_id
        await client.delete()
    await until(lambda: rig.ingest.kinds() == ["SessionOpened", "SessionEnded"] * 2)


async def test_a_second_publish_takes_over_once_it_is_connected(rig: Rig, coded: Coded) -> None:
    async with WhipClient(rig.http, coded) as first:
        await first.publish()
        await until(lambda: len(rig.ingest.feeds[0].of(0)) > 5)
        headers = {**TOKEN, "Content-Type": "application/sdp"}
        # One that never connects disturbs nothing.
        assert (await rig.http.post("/whip/cam-1", content=CHROMIUM, headers=headers)).status_code == 201
        count = len(rig.ingest.feeds[0].of(0))
        await until(lambda: len(rig.ingest.feeds[0].of(0)) > count + 10)
        async with WhipClient(rig.http, coded) as second:
            await second.publish()
            await until(lambda: rig.ingest.feeds[0].closed == 1)
            await until(lambda: len(rig.ingest.feeds[2].of(0)) > 5)
            assert [peer.feed.feed_id for peer in rig.service.peers] == [rig.ingest.feeds[2].feed_id]
            assert rig.ingest.kinds() == ["SessionOpened"]
            assert (await first.delete()).status_code == 404


async def test_one_that_never_connects_is_let_go(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.service._options = WhipOptions(hosts=["127.0.0.1"], connect_within_s=0.2, linger_s=0.1)
    headers = {**TOKEN, "Content-Type": "application/sdp"}
    assert (await rig.http.post("/whip/cam-1", content=CHROMIUM, headers=headers)).status_code == 201
    await until(lambda: not rig.service.peers)
    assert rig.service.ended[Ending.UNCONNECTED] == 1
    assert rig.ingest.feeds[0].closed == 1
    await until(lambda: len(asyncio.all_tasks()) <= 3)


async def test_rubbish_on_the_path_is_counted_and_disturbs_nothing(rig: Rig, coded: Coded) -> None:
    dice = random.Random(5)
    async with WhipClient(rig.http, coded) as client:
        client.video.limit = 150
        await client.publish(loss=0.0)
        path = client.path
        assert path is not None
        while not client.video.done.is_set():
            path.inject(b"")
            path.inject(dice.randbytes(dice.randint(1, 1600)))
            path.inject(bytes((128, dice.randrange(256))) + dice.randbytes(dice.randint(0, 3000)))
            path.inject(bytes((dice.randrange(4),)) + dice.randbytes(dice.randint(0, 200)))
            path.inject(b"\x00\x01\x00\x00\x21\x12\xa4\x42" + dice.randbytes(12))
            if path.capture:
                old = bytearray(dice.choice(path.capture))
                path.inject(bytes(old))  # a packet that came before
                old[dice.randrange(12, len(old))] ^= 1 << dice.randrange(8)
                path.inject(bytes(old))
            await asyncio.sleep(0.005)
        feed = rig.ingest.feeds[0]
        await until(lambda: len(feed.of(0)) == 150)
        counters = rig.service.peers[0].transport.counters
        assert counters.refused > 20  # of each as many as a busy machine comes round to
        assert counters.unknown > 20
        assert counters.oversize > 0
        assert (await client.delete()).status_code == 200
    sent = [nals_of_annexb(data) for data in client.video.sent]
    assert all(nals_of_lengths(unit.data) == nals for unit, nals in zip(feed.of(0), sent, strict=True))
    assert not any(unit.lost_packets for unit in feed.units)


async def test_strangers_cannot_end_a_session_by_dtls_or_by_nothing(rig: Rig, coded: Coded) -> None:
    async with WhipClient(rig.http, coded) as client:
        await client.publish()
        feed = rig.ingest.feeds[0]
        await until(lambda: len(feed.of(0)) > 5)
        port = rig.service.peers[0].transport._gatherer.getLocalCandidates()[0].port
        loop = asyncio.get_running_loop()
        stranger, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=("127.0.0.1", port))
        alert = b"\x15\xfe\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x02\x28"
        for _ in range(50):
            stranger.sendto(b"")
            stranger.sendto(alert)
        count = len(feed.of(0))
        await until(lambda: len(feed.of(0)) > count + 20)
        assert rig.service.peers[0].transport.counters.strangers >= 40
        stranger.close()
        await client.delete()


async def test_a_sink_that_fails_ends_its_own_feed_alone(rig: Rig, coded: Coded) -> None:
    rig.ingest.register("cam-2")
    async with WhipClient(rig.http, coded) as bad, WhipClient(rig.http, coded, "cam-2") as good:
        await bad.publish()
        await good.publish()
        await until(lambda: all(len(feed.of(0)) > 5 for feed in rig.ingest.feeds))
        rig.ingest.feeds[0].fail = True
        await until(lambda: rig.service.ended[Ending.FAULT] == 1)
        count = len(rig.ingest.feeds[1].of(0))
        await until(lambda: len(rig.ingest.feeds[1].of(0)) > count + 10)


async def test_shutdown_closes_feeds_and_leaves_sessions_open(rig: Rig, coded: Coded) -> None:
    async with WhipClient(rig.http, coded) as client:
        await client.publish()
        await until(lambda: len(rig.ingest.feeds[0].of(0)) > 5)
        await rig.service.close()
        assert rig.ingest.feeds[0].closed == 1
        assert rig.ingest.kinds() == ["SessionOpened"]
        headers = {**TOKEN, "Content-Type": "application/sdp"}
        assert (await rig.http.post("/whip/cam-1", content=CHROMIUM, headers=headers)).status_code == 503


async def test_peers_leave_nothing_behind(rig: Rig, coded: Coded) -> None:
    for _ in range(5):
        async with WhipClient(rig.http, coded) as client:
            await client.publish()
            await until(lambda: len(rig.ingest.feeds[-1].of(0)) > 1)
            await client.delete()
    assert not rig.service.peers
    await until(lambda: len(asyncio.all_tasks()) <= 3)
    await until(lambda: rig.service._timer is None)


async def test_broken_offers_of_one_do_not_disturb_another(rig: Rig, coded: Coded) -> None:
    rig.ingest.register("cam-2")
    dice = random.Random(11)
    headers = {**TOKEN, "Content-Type": "application/sdp"}
    async with WhipClient(rig.http, coded) as client:
        client.video.limit = 150
        await client.publish()
        for _ in range(300):  # not for as long as media comes: a slow machine would be kept from it by ever more
            answer = await rig.http.post("/whip/cam-2", content=mutated(CHROMIUM.encode(), dice), headers=headers)
            assert answer.status_code in {201, 400, 422}
        feed = rig.ingest.feeds[0]
        await until(lambda: len(feed.of(0)) == 150)
        await client.delete()
    sent = [nals_of_annexb(data) for data in client.video.sent]
    assert all(nals_of_lengths(unit.data) == nals for unit, nals in zip(feed.of(0), sent, strict=True))
    assert not any(unit.lost_packets for unit in feed.units)


def test_it_runs_on_uvloop(monkeypatch: pytest.MonkeyPatch, coded: Coded) -> None:
    loopback_only(monkeypatch)
    ingest = MemoryIngest()
    ingest.register("cam-1")

    async def publish() -> None:
        service = WhipService(ingest, SystemClock(), WhipOptions(hosts=["127.0.0.1"], silent_after_s=1.0))
        app = Starlette()
        app.routes.extend(whip_router(ingest, service).routes)
        async with (
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://liuhen.test") as http,
            WhipClient(http, coded) as client,
        ):
            client.video.limit = 50
            await client.publish(loss=0.02)
            await until(lambda: len(ingest.feeds[0].of(0)) >= 49)
            await client.delete()
        await service.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(publish())
    assert not any(unit.damaged for unit in ingest.feeds[0].of(0))
