"""RTSP addresses: credentials taken apart from what may be shown, control addresses as cameras mean them."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

import msgspec

from domain.errors import InvalidInput

_URL: Final = re.compile(
    r"(rtsps?)://(?:([^/?]*)@)?(\[[0-9A-Fa-f:.]+\]|[^/?:@\s]+)(?::(\d{1,5}))?([/?]\S*)?", re.IGNORECASE
)
_PORTS: Final = {"rtsp": 554, "rtsps": 322}


class Credentials(msgspec.Struct, frozen=True):
    """User and password; never shown."""

    user: str
    password: str

    def __repr__(self) -> str:
        return "Credentials(…)"


class RtspUrl(msgspec.Struct, frozen=True):
    """An address taken apart.

    Attributes:
        scheme: rtsp or rtsps.
        host: Name or address, IPv6 without brackets.
        port: TCP port.
        path: Path and query, with the leading slash.
        credentials: From the user part, percent-decoded.
    """

    scheme: str
    host: str
    port: int
    path: str
    credentials: Credentials | None = None

    @classmethod
    def parse(cls, text: str) -> RtspUrl:
        """Read an address.

        Raises:
            InvalidInput: Not an rtsp or rtsps address. The text is not repeated: it may hold a password.
        """
        found = _URL.fullmatch(text.strip())
        if not found or not 0 < int(found[4] or 1) < 65_536:
            msg = "url: not an rtsp:// or rtsps:// address with a host"
            raise InvalidInput(msg, "url")
        scheme = found[1].lower()
        credentials = None
        if found[2]:
            user, _, password = found[2].partition(":")
            credentials = Credentials(unquote(user), unquote(password))
        path = found[5] or "/"
        if path.startswith("?"):
            path = "/" + path
        return cls(scheme, found[3].strip("[]"), int(found[4] or _PORTS[scheme]), path, credentials)

    @property
    def request(self) -> str:
        """The address for request lines: without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    @property
    def shown(self) -> str:
        """The address for people and logs: without credentials and query, which may hold a password too."""
        return self.request.partition("?")[0]

    def __repr__(self) -> str:
        return f"RtspUrl({self.shown})"

    def same_server(self, other: RtspUrl) -> bool:
        """Tell whether both are the same scheme, host and port."""
        return (self.scheme, self.host.lower(), self.port) == (other.scheme, other.host.lower(), other.port)


def join_control(base: str, control: str) -> str:
    """Resolve `a=control` against its base.

    A relative control is appended to the whole base, query included: that is what cameras expect whose base is
    `…/realmonitor?channel=1`, though RFC 3986 says otherwise.
    """
    if control in {"", "*"}:
        return base
    if re.match(r"rtsps?://", control, re.IGNORECASE):
        return without_credentials(control)
    if control.startswith("/"):
        root = re.match(r"[a-zA-Z]+://[^/?]*", base)
        return (root[0] if root else "") + control
    return base + control if base.endswith("/") or control.startswith("?") else f"{base}/{control}"


def without_credentials(url: str) -> str:
    """Take the user part out of an address as text."""
    return re.sub(r"^([a-zA-Z]+://)[^/?]*@", r"\1", url)
