"""A recorder publishes over WHIP: what it sent is what comes out, and each ending does what it should."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import httpx
import pytest
from fastapi import FastAPI

from domain.clock import SystemClock
from streams.ingest.whip.options import WhipOptions
from streams.ingest.whip.routes import whip_router
from streams.ingest.whip.service import WhipService
from tests.services.samples import Samples
from tests.streams.memory_ingest import MemoryIngest
from tests.streams.whip_client import Coded, WhipClient, loopback_only, nals_of_annexb, nals_of_lengths, until


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
    app = FastAPI()
    app.include_router(whip_router(ingest, service))
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
    assert [nals_of_lengths(unit.data) for unit in feed.of(0)] == [nals_of_annexb(sent) for sent in client.video.sent]
    assert [unit.data for unit in feed.of(1)] == client.audio.sent
    assert feed.of(0)[0].keyframe
    assert not any(unit.lost_packets or unit.damaged for unit in feed.units)
    assert [later.pts - before.pts for before, later in zip(feed.of(0), feed.of(0)[1:], strict=False)] == [3600] * 99
    assert rig.ingest.kinds() == ["SessionOpened", "SessionEnded"]
    assert feed.closed == 1
