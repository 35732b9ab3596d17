"""Chromium publishes its fake camera over WHIP, as a page on a phone would."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from domain.clock import SystemClock
from domain.media import AccessUnit, Codec
from streams.ingest.whip.options import WhipOptions
from streams.ingest.whip.routes import whip_router
from streams.ingest.whip.service import WhipService
from tests.services.browser import Browser
from tests.services.process import free_port
from tests.streams.memory_ingest import MemoryFeed, MemoryIngest
from tests.streams.whip_client import until

PAGE = """<!doctype html><title>recorder</title><script>
let pc, location_, state = 'idle', error = '';
// The fake camera's plain picture never fills a megabit; noise over it does.
function noisy(media) {
  const video = document.createElement('video'), canvas = document.createElement('canvas');
  Object.assign(video, {srcObject: media, muted: true}); video.play();
  Object.assign(canvas, {width: 640, height: 360});
  const context = canvas.getContext('2d'), noise = context.createImageData(640, 120);
  setInterval(() => {
    context.drawImage(video, 0, 0, 640, 360);
    for (let i = 0; i < noise.data.length; i += 4) noise.data.fill(255 * Math.random(), i, i + 4);
    context.putImageData(noise, 0, 120);
  }, 66);
  return new MediaStream([...canvas.captureStream(15).getTracks(), ...media.getAudioTracks()]);
}
async function publish(withNoise) {
  const video = {width: 1280, height: 720, frameRate: 30};
  let media = await navigator.mediaDevices.getUserMedia({video, audio: true});
  if (withNoise) media = noisy(media);
  pc = new RTCPeerConnection();
  for (const track of media.getTracks()) pc.addTransceiver(track, {direction: 'sendonly', streams: [media]});
  await pc.setLocalDescription();
  // Candidates trickle: the offer goes out at once, as RFC 9725 wants it.
  const headers = {'Authorization': 'Bearer t0ken', 'Content-Type': 'application/sdp'};
  const posted = await fetch('/whip/phone-1', {method: 'POST', headers, body: pc.localDescription.sdp});
  if (posted.status != 201) throw new Error(posted.status + ' ' + await posted.text());
  location_ = posted.headers.get('Location');
  await pc.setRemoteDescription({type: 'answer', sdp: await posted.text()});
  state = 'publishing';
}
async function remove() {
  const response = await fetch(location_, {method: 'DELETE', headers: {'Authorization': 'Bearer t0ken'}});
  pc.close();
  return response.status;
}
async function outbound() {
  for (const [, report] of await pc.getStats())
    if (report.type == 'outbound-rtp' && report.kind == 'video')
      return {target: report.targetBitrate, nacks: report.nackCount, plis: report.pliCount, frames: report.framesSent,
              encoder: report.encoderImplementation, bytes: report.bytesSent, state: pc.connectionState};
  return null;
}
</script>"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


class Server:
    """WHIP and the page, on a real port."""

    def __init__(self) -> None:
        self.ingest = MemoryIngest()
        self.ingest.register("phone-1")
        self.service = WhipService(self.ingest, SystemClock(), WhipOptions(hosts=["127.0.0.1"], linger_s=0.2))
        self.port = free_port()

    async def run(self) -> AsyncIterator["Server"]:
        app = Starlette()
        app.routes.extend(whip_router(self.ingest, self.service).routes)

        async def page(_request: Request) -> HTMLResponse:
            return HTMLResponse(PAGE)

        app.router.routes.append(Route("/", page))
        server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_level="warning", lifespan="off"))
        serving = asyncio.create_task(server.serve())
        await until(lambda: server.started)
        yield self
        await self.service.close()
        server.should_exit = True
        await serving


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async for each in Server().run():
        yield each


def _of(feed: MemoryFeed, codec: Codec) -> list[AccessUnit]:
    return [unit for unit in feed.units if unit.params.codec is codec]


def _bits_per_s(feed: MemoryFeed, last_s: float) -> float:
    units = _of(feed, Codec.H264)
    since = units[-1].arrived_at - 1000 * last_s
    return 8 * sum(len(unit.data) for unit in units if unit.arrived_at > since) / last_s


async def _run(browser: Browser, call: str) -> Any:
    script = f"const done = arguments[0]; {call}.then(value => done(value ?? 'ok'), error => done(String(error)));"
    return await asyncio.to_thread(browser.driver.execute_async_script, script)


@pytest.mark.browser
async def test_chromium_publishes_its_camera_and_may_send_more_and_more(chromium: Browser, server: Server) -> None:
    await asyncio.to_thread(chromium.driver.get, f"http://127.0.0.1:{server.port}/")
    assert await _run(chromium, "publish(false)") == "ok"
    feed = server.ingest.feeds[0]
    await until(lambda: len(_of(feed, Codec.H264)) > 10 and len(_of(feed, Codec.OPUS)) > 10)
    assert _of(feed, Codec.H264)[0].keyframe
    # Browsers send keyframes only when asked; a recording needs them every few seconds.
    await until(lambda: sum(unit.keyframe for unit in _of(feed, Codec.H264)) >= 4, within_s=30)
    outbound = await _run(chromium, "outbound()")
    async with asyncio.timeout(40):
        # It begins at 300 kb/s, and goes up only as far as what we send back lets it.
        while outbound["target"] < 1_000_000:
            await asyncio.sleep(0.5)
            outbound = await _run(chromium, "outbound()")
    assert outbound["encoder"]
    assert await _run(chromium, "remove()") == 200
    assert feed.closed == 1
    assert not any(unit.damaged or unit.lost_packets for unit in feed.units)
    await until(lambda: server.ingest.kinds() == ["SessionOpened", "SessionEnded"])


@pytest.mark.browser
async def test_a_busy_picture_arrives_with_more_than_a_megabit(chromium: Browser, server: Server) -> None:
    await asyncio.to_thread(chromium.driver.get, f"http://127.0.0.1:{server.port}/")
    assert await _run(chromium, "publish(true)") == "ok"
    feed = server.ingest.feeds[0]
    await until(lambda: len(_of(feed, Codec.H264)) > 10)
    await until(lambda: _bits_per_s(feed, 2) > 1_000_000, within_s=60)
    assert await _run(chromium, "remove()") == 200
