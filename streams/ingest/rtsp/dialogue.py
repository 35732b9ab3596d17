"""The client's side of RTSP 1.0 as generators: requests out, responses in. No sockets, no tasks, no time.

Each generator yields a `Request`, is sent the `Response`, and returns what came of it:

1. `describe`: OPTIONS (its answer is not needed), DESCRIBE, the session description.
2. `set_up`: one SETUP a track, with the other transport where the server refuses the first (461).
3. `play`: PLAY on the aggregate. 4. `keep_alive`: GET_PARAMETER if offered, else OPTIONS. 5. `tear_down`: TEARDOWN.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping
from typing import Final

import msgspec

from domain.errors import InvalidMedia, NotAuthorized, Unavailable
from streams.ingest.rtsp.auth import Authenticator
from streams.ingest.rtsp.message import Request, Response
from streams.ingest.rtsp.options import Transport
from streams.ingest.rtsp.sdp import SessionDescription, parse_sdp
from streams.ingest.rtsp.url import RtspUrl, join_control, without_credentials

_MAX_CHALLENGES: Final = 3
_DEFAULT_TIMEOUT_S: Final = 60
_SESSION_ID: Final = re.compile(r"[^\s;]{1,256}")

Exchange = Generator[Request, Response, Response]


class Redirected(Exception):
    """The server sends us elsewhere.

    Args:
        location: Where to, as written.
    """

    def __init__(self, location: str) -> None:
        super().__init__("redirected")
        self.location = location


class ServerRefused(Unavailable):
    """The server answers, and says no."""


class SetUp(msgspec.Struct, frozen=True):
    """What a SETUP agreed on.

    Attributes:
        transport: tcp or udp.
        channels: Interleaved channels of RTP and RTCP, for tcp.
        server_ports: The server's RTP and RTCP ports for udp; 0 where it does not say.
        source: Address RTP comes from for udp; empty: the server's own.
    """

    transport: Transport
    channels: tuple[int, int] = (0, 1)
    server_ports: tuple[int, int] = (0, 0)
    source: str = ""


class Dialogue:
    """One RTSP session with one server.

    Args:
        url: What to pull.
        auth: Answers challenges.
        user_agent: What we call ourselves.
    """

    def __init__(self, url: RtspUrl, auth: Authenticator, user_agent: str) -> None:
        self._url = url
        self._auth = auth
        self._agent = user_agent
        self._base = url.request
        self._aggregate = url.request
        self._session = ""
        self._methods: frozenset[str] = frozenset()
        self.timeout_s = _DEFAULT_TIMEOUT_S

    def describe(self) -> Generator[Request, Response, SessionDescription]:
        """Learn what the server offers.

        Raises:
            Redirected: It is elsewhere.
            NotAuthorized: The credentials do not do.
            Unavailable: Refused.
            InvalidMedia: The description cannot be used.
        """
        options = yield from self._ask("OPTIONS", self._url.request, {})
        if options.ok:
            self._note_methods(options)
        response = yield from self._ask("DESCRIBE", self._url.request, {"Accept": "application/sdp"})
        self._check("DESCRIBE", response)
        session = parse_sdp(response.body)
        self._base = self._base_of(response)
        self._aggregate = join_control(self._base, session.control)
        return session

    def set_up(
        self, index: int, control: str, first: Transport, ports: Callable[[int], tuple[int, int]]
    ) -> Generator[Request, Response, SetUp]:
        """Set one track up.

        Args:
            index: Number of the track.
            control: Its `a=control`.
            first: Transport to ask for first.
            ports: Opens a pair of UDP ports for a track and returns it; only called where UDP is asked for.

        Raises:
            Unavailable: Refused with both transports.
            InvalidMedia: The answer's Transport makes no sense.
        """
        url = join_control(self._base, control)
        other: Transport = "udp" if first == "tcp" else "tcp"
        response = yield from self._ask("SETUP", url, {"Transport": _offer(first, index, ports)})
        chosen = first
        if response.status == 461:
            chosen = other
            response = yield from self._ask("SETUP", url, {"Transport": _offer(other, index, ports)})
        self._check(f"SETUP of track {index}", response)
        self._note_session(response)
        return parse_transport(response.headers.get("transport"), chosen, index)

    def play(self) -> Exchange:
        """Start the media.

        Without a Range: a server that shares one pipeline among its clients would seek it for all of them.
        """
        response = yield from self._ask("PLAY", self._aggregate, {})
        if 400 <= response.status < 500 and response.status not in {403, 454}:
            response = yield from self._ask("PLAY", self._aggregate, {"Range": "npt=0.000-"})
        self._check("PLAY", response)
        return response

    def keep_alive(self) -> Exchange:
        """Tell the server that we are still here.

        Raises:
            Unavailable: The session is gone.
        """
        method = "GET_PARAMETER" if "GET_PARAMETER" in self._methods else "OPTIONS"
        response = yield from self._ask(method, self._aggregate, {})
        if response.status in {405, 501, 551} and method == "GET_PARAMETER":
            self._methods -= {"GET_PARAMETER"}
        elif response.status == 454:
            self._check(method, response)
        return response

    def tear_down(self) -> Exchange:
        """End the session."""
        return (yield from self._ask("TEARDOWN", self._aggregate, {}))

    def _ask(self, method: str, url: str, headers: Mapping[str, str]) -> Exchange:
        """Send a request, again with credentials where they are asked for."""
        for _ in range(_MAX_CHALLENGES):
            fields = {"User-Agent": self._agent, **headers}
            if self._session:
                fields["Session"] = self._session
            if authorization := self._auth.authorization(method, url):
                fields["Authorization"] = authorization
            response = yield Request(method, url, fields)
            if response.status != 401:
                self._auth.accepted()
                break
            if not self._auth.challenged(response.headers.all("www-authenticate")):
                break
        if response.status == 401:
            what = "refused the user or password" if self._auth.has_credentials else "wants a user and password"
            msg = f"{self._url.shown} {what} at {method} (401)"
            raise NotAuthorized(msg)
        if response.status in {301, 302, 303, 305, 307} and (location := response.headers.get("location")):
            raise Redirected(location)
        return response

    def _check(self, what: str, response: Response) -> None:
        if response.ok:
            return
        msg = f"{self._url.shown} refused {what}: {response.status} {response.reason}".rstrip()
        raise NotAuthorized(msg) if response.status == 403 else ServerRefused(msg)

    def _note_methods(self, response: Response) -> None:
        offered = ",".join(response.headers.all("public") + response.headers.all("allow"))
        self._methods = frozenset(method.strip().upper() for method in offered.split(","))

    def _note_session(self, response: Response) -> None:
        value = response.headers.get("session")
        found = _SESSION_ID.match(value)
        if found is None:
            return  # some servers of a single stream have none
        self._session = found[0]
        timeout = re.search(r"timeout\s*=\s*(\d{1,6})", value, re.IGNORECASE)
        if timeout and int(timeout[1]) > 0:
            self.timeout_s = int(timeout[1])

    def _base_of(self, response: Response) -> str:
        for name in ("content-base", "content-location"):
            value = without_credentials(response.headers.get(name))
            if re.match(r"rtsps?://[^/]", value, re.IGNORECASE):
                return value
        return self._url.request


def _offer(transport: Transport, index: int, ports: Callable[[int], tuple[int, int]]) -> str:
    if transport == "tcp":
        return f"RTP/AVP/TCP;unicast;interleaved={2 * index}-{2 * index + 1}"
    rtp, rtcp = ports(index)
    return f"RTP/AVP;unicast;client_port={rtp}-{rtcp}"


def parse_transport(value: str, asked: Transport, index: int) -> SetUp:
    """Read the Transport of a SETUP's answer.

    Raises:
        InvalidMedia: It is another transport than asked for, or a channel or port is out of range.
    """
    is_tcp = "/TCP" in value.upper() or "interleaved" in value.lower()
    if value and is_tcp != (asked == "tcp"):
        msg = f"SETUP of track {index} asked for {asked} and got Transport {value[:80]!r}"
        raise InvalidMedia(msg, "transport")
    if asked == "tcp":
        return SetUp("tcp", channels=_pair(value, "interleaved", 255) or (2 * index, 2 * index + 1))
    source = re.search(r"source\s*=\s*([^;,\s]{1,255})", value, re.IGNORECASE)
    return SetUp("udp", server_ports=_pair(value, "server_port", 65_535) or (0, 0), source=source[1] if source else "")


def _pair(value: str, name: str, most: int) -> tuple[int, int] | None:
    found = re.search(rf"{name}\s*=\s*(\d{{1,6}})(?:-(\d{{1,6}}))?", value, re.IGNORECASE)
    if found is None:
        return None
    first = int(found[1])
    second = int(found[2]) if found[2] else first + 1
    if max(first, second) > most:
        msg = f"{name}={first}-{second} in a Transport"
        raise InvalidMedia(msg, "transport")
    return first, second
