"""A small OpenID Connect provider over real HTTP: discovery, keys, code flow with PKCE and a client's secret.

It vouches for whom it is told to, without asking anybody, and can be told to lie.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
from typing import Any, Self
from urllib.parse import urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.services.process import free_port

CLIENT, SECRET = "liuhen", "a secret of the client's"


class Provider:
    """See the module.

    Attributes:
        vouches_for: Login of whoever comes.
        lie: Claims that stand in the token in place of the right ones.
        key: Signs; another than the published one where it was changed.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}/agency"
        self.vouches_for = "wang"
        self.lie: dict[str, Any] = {}
        self.key = ECKey.generate_key("P-256", {"kid": "k1", "use": "sig", "alg": "ES256"})
        self._published = KeySet([self.key])
        self._codes: dict[str, dict[str, str]] = {}
        routes = [
            Route("/agency/.well-known/openid-configuration", self._about),
            Route("/agency/keys", self._keys),
            Route("/agency/authorize", self._authorize),
            Route("/agency/token", self._token, methods=["POST"]),
        ]
        config = uvicorn.Config(Starlette(routes=routes), host="127.0.0.1", port=self.port, log_level="error")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    def change_key(self, *, published: bool) -> None:
        """Sign with another key."""
        self.key = ECKey.generate_key("P-256", {"kid": "k2", "use": "sig", "alg": "ES256"})
        if published:
            self._published = KeySet([self.key])

    async def _about(self, _: Request) -> Response:
        ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        return JSONResponse({"issuer": self.issuer} | {name: f"{self.issuer}/{end}" for name, end in ends.items()})

    async def _keys(self, _: Request) -> Response:
        return JSONResponse(self._published.as_dict(private=False))

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
        assert (asked["code_challenge_method"], "openid" in asked["scope"].split()) == ("S256", True)
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        back = urlencode({"code": code, "state": asked["state"], "iss": self.issuer})
        return RedirectResponse(f"{asked['redirect_uri']}?{back}", status_code=302)

    async def _token(self, request: Request) -> Response:
        form = await request.form()
        asked = self._codes.pop(str(form["code"]), None)  # a code counts once
        shown = base64.b64decode(request.headers["authorization"].partition(" ")[2]).decode()
        digest = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or shown != f"{CLIENT}:{SECRET}" or challenge != asked["code_challenge"]:
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        assert form["redirect_uri"] == asked["redirect_uri"]
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "sub": "42", "iat": now, "exp": now + 300}
        claims |= {"nonce": asked["nonce"], "preferred_username": self.vouches_for} | self.lie
        header = {"alg": "ES256", "kid": str(self.key.kid)}
        token = jwt.encode(header, claims, self.key, algorithms=["ES256"])
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": token})
