"""Pulls one camera: connects, talks, receives, watches, and fails with a clear reason. Retrying is the caller's."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

import msgspec

from domain.clock import Clock, SystemClock
from domain.errors import InvalidInput, InvalidMedia, NotAuthorized, Unavailable
from streams.ingest.rtsp import tls
from streams.ingest.rtsp.auth import Authenticator
from streams.ingest.rtsp.dialogue import Dialogue, Redirected, ServerRefused
from streams.ingest.rtsp.options import RtspOptions, Transport
from streams.ingest.rtsp.protocol import RtspProtocol
from streams.ingest.rtsp.receiver import FeedReceiver
from streams.ingest.rtsp.sdp import MediaSection
from streams.ingest.rtsp.udp import UdpPair
from streams.ingest.rtsp.url import RtspUrl
from streams.ingest.sink import NoteKind, Sink

_TICK_TCP_S: Final = 0.5
_TICK_UDP_S: Final = 0.05
"""Waits for missing packets end on a tick."""
_GOODBYE_AFTER_S: Final = 1.0
_DEFAULTS: Final = RtspOptions()


async def run(
    url: str,
    sink: Sink,
    options: RtspOptions = _DEFAULTS,
    clock: Clock | None = None,
    receiver: FeedReceiver | None = None,
) -> None:
    """Pull a camera until it fails or the task is cancelled.

    Args:
        url: rtsp:// or rtsps:// address, credentials in its user part. They stand in no error, note or redirect.
        sink: Takes tracks, units and notes.
        options: How to pull.
        clock: Wall and monotonic time.
        receiver: Of the tracks, for whoever asks it what the sink is not told; only where no redirect is followed.

    Raises:
        InvalidInput: The address is none.
        Unavailable: It does not connect, does not answer in time, refuses, sends no media, goes silent or closes.
        NotAuthorized: The credentials are missing or refused, or it does not show the certificate it is known by.
        InvalidMedia: What it sends is not RTSP, or no track can be taken.
    """
    target = RtspUrl.parse(url)
    for _ in range(options.max_redirects + 1):
        pull = _Pull(target, sink, options, clock or SystemClock(), receiver or FeedReceiver(sink))
        try:
            await pull.run()
        except Redirected as redirected:
            target = _follow(target, redirected.location)
            sink.on_note(NoteKind.REDIRECTED, f"redirected to {target.shown}")
    msg = f"{target.shown}: more than {options.max_redirects} redirects"
    raise ServerRefused(msg)


def _follow(target: RtspUrl, location: str) -> RtspUrl:
    """Resolve a redirect. Our credentials go to the server they were meant for, and to no other."""
    try:
        following = RtspUrl.parse(location)
    except InvalidInput as error:
        msg = f"{target.shown} redirects to something that is no RTSP address"
        raise Unavailable(msg) from error
    credentials = target.credentials if following.same_server(target) else None
    return RtspUrl(following.scheme, following.host, following.port, following.path, credentials)


class _Pull:
    """One connection from connect to failure."""

    def __init__(self, url: RtspUrl, sink: Sink, options: RtspOptions, clock: Clock, receiver: FeedReceiver) -> None:
        self._url = url
        self._sink = sink
        self._options = options
        self._clock = clock
        self._receiver = receiver
        self._dialogue = Dialogue(url, Authenticator(url.credentials), options.user_agent)
        self._udp: dict[int, UdpPair] = {}
        self._channels: dict[int, int] = {}  # track → RTCP channel
        self._playing_s = 0.0
        self._tick_s = _TICK_TCP_S
        self._timer: asyncio.TimerHandle | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._keep_at_s = 0.0

    async def run(self) -> None:
        protocol = await self._connect()
        try:
            await self._start(protocol)
            self._tick(protocol)
            await protocol.failed
        finally:
            self._stop(protocol)

    async def _connect(self) -> RtspProtocol:
        url, options = self._url, self._options
        pin, is_tls = options.tls_sha256, url.scheme == "rtsps"
        if pin is not None and not is_tls:
            msg = f"{url.shown}: known by its certificate, which only rtsps shows"
            raise NotAuthorized(msg)
        try:
            async with asyncio.timeout(options.connect_timeout_s):
                transport, protocol = await asyncio.get_running_loop().create_connection(
                    lambda: RtspProtocol(url.shown, self._receiver, self._clock, options.response_timeout_s),
                    options.address or url.host,
                    url.port,
                    ssl=tls.context(verify=options.tls_verify, pinned=pin is not None) if is_tls else None,
                    server_hostname=url.host if is_tls else None,
                )
        except TimeoutError as error:
            msg = f"{url.shown}: no connection within {options.connect_timeout_s:g} s"
            raise Unavailable(msg) from error
        except (OSError, UnicodeError) as error:
            msg = f"{url.shown}: no connection: {getattr(error, 'strerror', None) or type(error).__name__}"
            raise Unavailable(msg) from error
        if pin is not None:
            try:
                tls.check_pin(transport, pin, url.shown)
            except NotAuthorized:
                protocol.close()
                raise
        return protocol

    async def _start(self, protocol: RtspProtocol) -> None:
        session = await protocol.converse(self._dialogue.describe())
        try:
            self._receiver.open(session.sections, secrets.randbits(31))
        except InvalidMedia as error:
            msg = f"{self._url.shown}: {error}"
            raise InvalidMedia(msg, "sdp") from error
        for index, section in enumerate(session.sections):
            if self._receiver.tracks[index] is not None:
                await self._set_up(protocol, index, section)
        self._receiver.announce()
        await protocol.converse(self._dialogue.play())
        self._playing_s = self._clock.monotonic()
        self._keep_at_s = self._playing_s + self._keep_every_s()

    async def _set_up(self, protocol: RtspProtocol, index: int, section: MediaSection) -> None:
        transport: Transport = "udp" if self._udp else self._options.transport

        def ports(track: int) -> tuple[int, int]:
            local, family = protocol.local_address()
            self._udp[track] = UdpPair(local, family)
            return self._udp[track].ports

        agreed = await protocol.converse(self._dialogue.set_up(index, section.control, transport, ports))
        if agreed.transport != self._options.transport:
            self._sink.on_note(
                NoteKind.TRANSPORT, f"track {index} comes over {agreed.transport}: the other was refused"
            )
        track = self._receiver.tracks[index]
        assert track is not None  # noqa: S101 - for the type checker
        if agreed.transport == "tcp":
            if index in self._udp:
                self._udp.pop(index).close()
            protocol.route(agreed.channels, track)
            self._channels[index] = agreed.channels[1]
            return
        limits = self._options.reorder
        if "nack" in section.feedback:
            limits = msgspec.structs.replace(limits, nack=True)
        track.reorder(limits)
        self._tick_s = _TICK_UDP_S
        remote = (protocol.peer_address(), *agreed.server_ports)
        self._udp[index].start(
            track, self._receiver, self._clock, remote, agreed.source if self._options.follows_source else ""
        )

    def _tick(self, protocol: RtspProtocol) -> None:
        """Do what is due by time; a plain timer, a few times a second."""
        now_s = self._clock.monotonic()
        try:
            protocol.pace(now_s)
            self._receiver.poll(now_s)
            self._send_feedback(protocol, now_s)
            self._check_silence(now_s)
            self._keep_alive(protocol, now_s)
        except Exception as error:  # raised again by `run`: a watch that dies quietly would watch nothing
            protocol.fail(error)
            return
        self._timer = asyncio.get_running_loop().call_later(self._tick_s, self._tick, protocol)

    def _send_feedback(self, protocol: RtspProtocol, now_s: float) -> None:
        for index, track in enumerate(self._receiver.tracks):
            data = track.feedback(now_s) if track is not None else b""
            if data and index in self._udp:
                self._udp[index].send_rtcp(data)
            elif data:
                protocol.send_frame(self._channels[index], data)

    def _check_silence(self, now_s: float) -> None:
        last_s = self._receiver.last_unit_s
        kind = "picture" if self._receiver.has_picture else "sound"
        if last_s is None:
            if now_s - self._playing_s > self._options.first_media_timeout_s:
                msg = f"{self._url.shown} plays, but no {kind} came within {self._options.first_media_timeout_s:g} s"
                raise Unavailable(msg + self._why_nothing())
            return
        silent_s = now_s - last_s
        if silent_s > _GOODBYE_AFTER_S and self._receiver.said_goodbye:
            msg = f"{self._url.shown} ended the stream (RTCP BYE)"
            raise Unavailable(msg)
        if silent_s > self._options.silence_timeout_s:
            msg = f"{self._url.shown}: no {kind} for {self._options.silence_timeout_s:g} s"
            raise Unavailable(msg)

    def _why_nothing(self) -> str:
        tracks = [track for track in self._receiver.tracks if track is not None]
        if any(track.depayload_counters.undescribed_units for track in tracks):
            return "; pictures came without parameter sets"
        if any(track.counters.other_payloads for track in tracks):
            return "; packets came with payload types it had not described"
        return ""

    def _keep_alive(self, protocol: RtspProtocol, now_s: float) -> None:
        if self._keeping is not None and self._keeping.done():
            keeping, self._keeping = self._keeping, None
            error = keeping.exception()
            if error is not None and not isinstance(error, TimeoutError):
                protocol.fail(error)
        if now_s >= self._keep_at_s and self._keeping is None:
            self._keep_at_s = now_s + self._keep_every_s()
            self._keeping = asyncio.ensure_future(self._converse_keep_alive(protocol))

    async def _converse_keep_alive(self, protocol: RtspProtocol) -> None:
        try:
            await protocol.converse(self._dialogue.keep_alive())
        except Unavailable as error:
            # Some cameras never answer; while pictures come that is no reason to cut them off.
            if not isinstance(error.__cause__, TimeoutError):
                raise

    def _keep_every_s(self) -> float:
        return max(1.0, self._dialogue.timeout_s / 2)

    def _stop(self, protocol: RtspProtocol) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._keeping is not None:
            self._keeping.cancel()
        if self._playing_s:
            protocol.send_unanswered(next(self._dialogue.tear_down()))
        protocol.close()
        for pair in self._udp.values():
            pair.close()
        self._receiver.finish()
