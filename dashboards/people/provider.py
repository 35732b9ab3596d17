"""Sign-in by an agency's OpenID Connect provider: code flow with PKCE, state and nonce. Off where none is set.

OpenID Connect Core 1.0 §3.1, RFC 7636, RFC 9700 (best practice), RFC 9207 (`iss` in the answer). What a browser
carries while it is away is one random secret in a cookie; state, nonce and verifier follow from it, so that nothing is
kept here and an answer counts for no other browser.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any
from urllib.parse import urlsplit

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from domain.clock import Clock
from domain.errors import InvalidSettings, Unavailable
from domain.settings import Settings
from storage.secrets import read_secret

ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
"""Signatures that are believed; never `none`, and no shared secrets."""
KNOWN_FOR_S = 600.0
WITHIN_S = 10.0
MAX_ANSWER_BYTES = 200_000
LEEWAY_S = 60


class NotVouched(Exception):
    """The provider did not say, in a form that can be believed, who somebody is."""


class ProviderUnavailable(Unavailable):
    """The provider does not answer."""


class Journey:
    """What follows from the secret that a browser carries while it is away.

    Args:
        secret: 256 random bits.
    """

    def __init__(self, secret: str) -> None:
        self.secret = secret

    @classmethod
    def begin(cls) -> Journey:
        """Make one up."""
        return cls(secrets.token_urlsafe(32))

    def _of(self, what: str) -> str:
        return hmac.new(self.secret.encode("utf-8", "surrogatepass"), what.encode(), hashlib.sha256).hexdigest()

    @property
    def state(self) -> str:
        """Comes back in the address."""
        return self._of("state")

    @property
    def nonce(self) -> str:
        """Comes back in the token."""
        return self._of("nonce")

    @property
    def verifier(self) -> str:
        """Shown for the code (RFC 7636)."""
        return self._of("verifier")


class Provider:
    """See the module.

    Args:
        settings: `oidc_…`.
        clock: The time.

    Raises:
        InvalidSettings: Something of it cannot be used.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._issuer = settings.oidc_issuer.rstrip("/")
        self._given_issuer = settings.oidc_issuer
        self._client_id, self._claim = settings.oidc_client_id, settings.oidc_claim
        _check(self._issuer, self._client_id)
        self._secret = read_secret(settings.oidc_secret_file, "oidc_secret_file") if settings.oidc_secret_file else ""
        self._clock = clock
        self._known: tuple[float, dict[str, Any], KeySet] | None = None

    async def way_there(self, journey: Journey, back: str) -> str:
        """Return the address to send a browser to.

        Args:
            journey: Its own.
            back: Where it is to come back to.

        Raises:
            ProviderUnavailable: It does not say where that is.
        """
        about, _ = await self._about()
        address: str = prepare_grant_uri(
            about["authorization_endpoint"],
            self._client_id,
            "code",
            redirect_uri=back,
            scope="openid profile",
            state=journey.state,
            nonce=journey.nonce,
            code_challenge=create_s256_code_challenge(journey.verifier),
            code_challenge_method="S256",
        )
        return address

    async def vouched(self, journey: Journey, back: str, answer: dict[str, str]) -> str:
        """Return the claim that names somebody's account here.

        Args:
            journey: The browser's own.
            back: As it was told on the way there.
            answer: What stood in the address that it came back with.

        Raises:
            NotVouched: Forged, refused, of another browser, or without that claim.
            ProviderUnavailable: It cannot be told.
        """
        if not hmac.compare_digest(answer.get("state", "").encode(), journey.state.encode()):
            raise NotVouched("another journey's answer")
        about, _ = await self._about()
        if answer.get("iss", about["issuer"]) != about["issuer"] or not answer.get("code"):
            raise NotVouched("refused there, or another provider's answer")
        token = await self._exchange(about, journey, back, answer["code"])
        claims = await self._claims(token, journey)
        found = claims.get(self._claim)
        if not isinstance(found, str) or not found:
            raise NotVouched("without the claim that names an account")
        return found

    async def _exchange(self, about: dict[str, Any], journey: Journey, back: str, code: str) -> str:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back}
        form |= {"code_verifier": journey.verifier, "client_id": self._client_id}
        auth = (self._client_id, self._secret) if self._secret else None
        answered = await self._ask("POST", about["token_endpoint"], data=form, auth=auth)
        token = answered.get("id_token")
        if not isinstance(token, str):
            raise NotVouched("no token for the code")
        return token

    async def _claims(self, token: str, journey: Journey) -> dict[str, Any]:
        for again in (False, True):  # a second time with fresh keys: they are changed now and then
            about, keys = await self._about(again=again)
            try:
                decoded = jwt.decode(token, keys, algorithms=ALGORITHMS)
                break
            except (JoseError, ValueError) as error:
                if again:
                    raise NotVouched("a token that is not signed by the provider") from error
        rules = jwt.JWTClaimsRegistry(
            now=self._clock.now() // 1000,
            leeway=LEEWAY_S,
            iss={"essential": True, "value": about["issuer"]},
            aud={"essential": True, "value": self._client_id},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": journey.nonce},
        )
        try:
            rules.validate(decoded.claims)
        except JoseError as error:
            raise NotVouched("a token for somebody else, or over") from error
        if decoded.claims.get("azp", self._client_id) != self._client_id:
            raise NotVouched("a token for another client")
        return dict(decoded.claims)

    async def _about(self, *, again: bool = False) -> tuple[dict[str, Any], KeySet]:
        """Return what the provider says of itself, and its keys; asked for anew now and then."""
        now_s = self._clock.monotonic()
        if self._known is None or again or now_s - self._known[0] > KNOWN_FOR_S:
            about = await self._ask("GET", f"{self._issuer}/.well-known/openid-configuration")
            missing = {"issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"} - about.keys()
            if missing or about["issuer"] not in (self._issuer, self._given_issuer):
                raise ProviderUnavailable("oidc_issuer: what stands there is not of this provider")
            keys = await self._ask("GET", about["jwks_uri"])
            try:
                self._known = (now_s, about, KeySet.import_key_set(keys))  # type: ignore[arg-type]
            except (JoseError, ValueError, KeyError, TypeError) as error:
                raise ProviderUnavailable("oidc_issuer: its keys cannot be read") from error
        return self._known[1], self._known[2]

    async def _ask(self, method: str, url: str, **what: Any) -> dict[str, Any]:
        try:
            async with httpx.AsyncClient(timeout=WITHIN_S, trust_env=False) as http:
                answer = await http.request(method, url, headers={"Accept": "application/json"}, **what)
            body = answer.json() if len(answer.content) <= MAX_ANSWER_BYTES else None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise ProviderUnavailable(f"the provider does not answer: {type(error).__name__}") from error
        if answer.status_code in (400, 401) and method == "POST":
            raise NotVouched("the provider refused the code")
        if not answer.is_success or not isinstance(body, dict):
            raise ProviderUnavailable(f"the provider answers {answer.status_code}")
        return body


def _check(issuer: str, client_id: str) -> None:
    parts = urlsplit(issuer)
    here = parts.hostname in {"127.0.0.1", "::1", "localhost"}
    if not parts.netloc or not (parts.scheme == "https" or (here and parts.scheme == "http")):
        msg = "oidc_issuer: not https://host/path"
        raise InvalidSettings(msg, "oidc_issuer")
    if not client_id:
        msg = "oidc_client_id: what this console is called at the provider"
        raise InvalidSettings(msg, "oidc_client_id")
