"""What a request says of where it comes from: the client's address, how it travelled, and which page sent it.

Behind a proxy the connection is the proxy's. What it says of the client (`X-Forwarded-For`, `X-Forwarded-Proto`) is
believed where its own address is one of `trusted_proxies`, and of nobody else.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from domain.errors import InvalidSettings
from domain.settings import Settings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110 §9.2.1)."""
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_FORWARDED = ("x-forwarded-for", "forwarded")


def networks(text: str, setting: str) -> list[Network]:
    """Read comma-separated addresses and networks.

    Raises:
        InvalidSettings: One of them is none; names the setting.
    """
    try:
        return [ipaddress.ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip()]
    except ValueError as error:
        msg = f"{setting}: {error}"
        raise InvalidSettings(msg, setting) from error


class Origins:
    """See the module.

    Args:
        settings: `trusted_proxies`, `console_url`, `plain_http`, `metrics_from`.

    Raises:
        InvalidSettings: One of them cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._proxies = networks(settings.trusted_proxies, "trusted_proxies")
        self._scrapers = networks(settings.metrics_from, "metrics_from")
        self._public = _origin(settings.console_url)
        self._plain_http = settings.plain_http

    def client(self, request: HTTPConnection) -> str:
        """Return the client's address: the last one in the list of proxies that is not a proxy of ours."""
        peer = _peer(request)
        if not _within(peer, self._proxies):
            return peer
        told = request.headers.get("x-forwarded-for", "")
        for hop in reversed([part.strip() for part in told.split(",") if part.strip()]):
            if _parsed(hop) is None:
                return peer
            if not _within(hop, self._proxies):
                return hop
        return peer

    def is_https(self, request: HTTPConnection) -> bool:
        """Tell whether the browser's own connection is encrypted."""
        if _within(_peer(request), self._proxies):
            told = request.headers.get("x-forwarded-proto")
            if told is not None:
                return told.rpartition(",")[2].strip().lower() == "https"
        return request.url.scheme == "https"

    def may_sign_in(self, request: HTTPConnection) -> bool:
        """Tell whether a password may come this way: encrypted, or to this very machine, or as it was set."""
        host = request.headers.get("host", "")
        return self._plain_http or self.is_https(request) or _host_name(host) in _LOOPBACK_NAMES

    def is_ours(self, request: HTTPConnection) -> bool:
        """Tell whether a page of ours, or no page at all, sent an unsafe request.

        Every browser in use says so by itself (Fetch Metadata); `Origin` is for older ones. A program that says
        neither holds nobody's cookies but its own.
        """
        site = request.headers.get("sec-fetch-site")
        if site is not None and site not in {"same-origin", "none"}:
            return False
        origin = request.headers.get("origin")
        return origin is None or origin == (self._public or self._here(request))

    def may_scrape(self, request: HTTPConnection) -> bool:
        """Tell whether metrics are for whoever asks; not for what a proxy that nobody told of passes on."""
        peer = _peer(request)
        if not _within(peer, self._proxies) and any(name in request.headers for name in _FORWARDED):
            return False
        return _within(self.client(request), self._scrapers)

    def here(self, request: HTTPConnection) -> str:
        """Return the address of this console as the browser knows it, without a slash at the end."""
        return self._public or self._here(request)

    def _here(self, request: HTTPConnection) -> str:
        return f"{'https' if self.is_https(request) else 'http'}://{request.headers.get('host', '')}"


def neighbourhood(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 that one household of IPv6 has."""
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address


def _peer(request: HTTPConnection) -> str:
    return request.client.host if request.client is not None else ""


def _within(address: str, known: list[Network]) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in known if network.version == parsed.version)


def _parsed(text: str) -> Address | None:
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed


def _host_name(host: str) -> str:
    return host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host


def _origin(url: str) -> str:
    if not url:
        return ""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path not in {"", "/"}:
        msg = "console_url: not https://host[:port]"
        raise InvalidSettings(msg, "console_url")
    return f"{parts.scheme}://{parts.netloc}"
