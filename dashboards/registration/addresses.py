"""Addresses of cameras: the whole one, with its password, and the one that may be shown."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from domain.errors import InvalidInput

_ADDRESS = re.compile(r"(rtsps?)://(?:([^/?\s]*)@)?(\[[0-9A-Fa-f:.]+\]|[^/?:@\s]+)(:\d{1,5})?([/?]\S*)?", re.IGNORECASE)
_SECRET = re.compile(r"((?:pass|pwd|token|secret|auth|key)[^=&/?]*=)[^&/]+", re.IGNORECASE)
HIDDEN = "…"
MAX_CHARACTERS = 2000


class Address(NamedTuple):
    """An address taken apart.

    Attributes:
        shown: Without user, password and what else stands in it under such a name.
        whole: As the camera wants it; empty where that is what is shown.
    """

    shown: str
    whole: str


def address_of(text: str, user: str = "", password: str = "") -> Address:
    """Take an address apart, as typed in.

    Args:
        text: The address, perhaps with user and password in it.
        user: User, where typed in by itself.
        password: Password, where typed in by itself.

    Raises:
        InvalidInput: It is none. It is not repeated: it may hold a password.
    """
    found = _ADDRESS.fullmatch(text.strip())
    if not found or len(text) > MAX_CHARACTERS or not 0 < int((found[4] or ":1")[1:]) < 65_536:
        msg = "address.url: not an rtsp:// or rtsps:// address with a host"
        raise InvalidInput(msg, "address.url")
    own_user, _, own_password = (unquote(part) for part in (found[2] or "").partition(":"))
    credentials = _credentials(user or own_user, password or own_password)
    place = f"{found[3]}{found[4] or ''}{found[5] or ''}"
    masked = _SECRET.sub(lambda secret: secret[1] + HIDDEN, place)
    shown = f"{found[1].lower()}://{masked}"
    whole = f"{found[1].lower()}://{credentials}{place}"
    if len(whole) > MAX_CHARACTERS:
        msg = f"address.url: longer than {MAX_CHARACTERS} characters"
        raise InvalidInput(msg, "address.url")
    return Address(shown, "" if whole == shown else whole)


def _credentials(user: str, password: str) -> str:
    if not user and not password:
        return ""
    return f"{quote(user, safe='')}:{quote(password, safe='')}@"
