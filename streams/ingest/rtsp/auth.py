"""RTSP authentication: Basic and Digest (RFC 2617, RFC 7616), as cameras offer them."""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from streams.ingest.rtsp.url import Credentials

_SCHEME: Final = re.compile(r"(?:^|,)\s*(Basic|Digest)\s+(?=[a-zA-Z-]+\s*=)", re.IGNORECASE)
_PARAMETER: Final = re.compile(r'([a-zA-Z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


_HASHES: Final[Mapping[str, Callable[[str], str]]] = {"SHA-256": _sha256, "MD5": _md5}
_STRENGTH: Final = ("SHA-256", "MD5", "BASIC")


class Authenticator:
    """Answers challenges with one user's credentials, the strongest way offered.

    Args:
        credentials: User and password; None answers nothing.
        nonce: Makes client nonces.
    """

    def __init__(
        self, credentials: Credentials | None, nonce: Callable[[], str] = lambda: secrets.token_hex(8)
    ) -> None:
        self._credentials = credentials
        self._make_nonce = nonce
        self._challenge: Mapping[str, str] | None = None
        self._count = 0
        self._accepted = False

    @property
    def has_credentials(self) -> bool:
        """Whether there is anything to answer with."""
        return self._credentials is not None

    def challenged(self, values: Sequence[str]) -> bool:
        """Take the `WWW-Authenticate` fields of a 401.

        Returns:
            Whether another try makes sense: something we know was offered, and it is not what has just been refused.
        """
        offers = sorted((offer for value in values for offer in parse_challenges(value)), key=_strength)
        if self._credentials is None or not offers or _strength(offers[0]) == len(_STRENGTH):
            return False
        before, offer = self._challenge, offers[0]
        self._challenge, self._count = offer, 0
        if before is None or _strength(before) != _strength(offer):
            return True
        # Refused though answered. Trying a wrong password again locks accounts; an old nonce is worth another try.
        accepted, self._accepted = self._accepted, False
        return accepted or (offer.get("stale", "").lower() == "true" and offer.get("nonce") != before.get("nonce"))

    def accepted(self) -> None:
        """Learn that a request was let through: a later 401 means an old nonce, whether it says so or not."""
        self._accepted = self._challenge is not None

    def authorization(self, method: str, url: str) -> str | None:
        """Return the `Authorization` field for a request; None before any challenge."""
        if self._credentials is None or self._challenge is None:
            return None
        if self._challenge["scheme"] == "basic":
            pair = f"{self._credentials.user}:{self._credentials.password}"
            return "Basic " + b64encode(pair.encode()).decode()
        return self._digest(self._credentials, self._challenge, method, url)

    def _digest(self, credentials: Credentials, challenge: Mapping[str, str], method: str, url: str) -> str:
        algorithm = challenge.get("algorithm", "MD5").upper()
        hashed = _HASHES[algorithm]
        realm, nonce = challenge.get("realm", ""), challenge.get("nonce", "")
        secret = hashed(f"{credentials.user}:{realm}:{credentials.password}")
        request = hashed(f"{method}:{url}")
        fields = {"username": credentials.user, "realm": realm, "nonce": nonce, "uri": url}
        plain = {}
        if "auth" in [option.strip() for option in challenge.get("qop", "").lower().split(",")]:
            self._count += 1
            fields["cnonce"] = self._make_nonce()
            plain = {"qop": "auth", "nc": f"{self._count:08x}"}
            fields["response"] = hashed(f"{secret}:{nonce}:{plain['nc']}:{fields['cnonce']}:auth:{request}")
        else:
            fields["response"] = hashed(f"{secret}:{nonce}:{request}")
        if "opaque" in challenge:
            fields["opaque"] = challenge["opaque"]
        if "algorithm" in challenge:
            plain["algorithm"] = algorithm
        quoted = [f'{name}="{_escape(value)}"' for name, value in fields.items()]
        return "Digest " + ", ".join(quoted + [f"{name}={value}" for name, value in plain.items()])


def parse_challenges(value: str) -> list[dict[str, str]]:
    """Read the offers of one `WWW-Authenticate` field; each has its `scheme` and its parameters in lower case."""
    starts = list(_SCHEME.finditer(value))
    offers = []
    for index, start in enumerate(starts):
        end = starts[index + 1].start() if index + 1 < len(starts) else len(value)
        offer = {"scheme": start[1].lower()}
        for name, quoted, token in _PARAMETER.findall(value[start.end() : end]):
            offer[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted else token
        offers.append(offer)
    return offers


def _strength(offer: Mapping[str, str]) -> int:
    name = "BASIC" if offer["scheme"] == "basic" else offer.get("algorithm", "MD5").upper()
    return _STRENGTH.index(name) if name in _STRENGTH else len(_STRENGTH)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
