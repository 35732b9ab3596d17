"""The cookies of signing in: the session, and the browser that a person is known by.

Both are random and say nothing; the database has their hashes. `HttpOnly`: no script reads them. `Lax`, not `Strict`: a
link to an alert in a message opens it for somebody who is signed in; nothing that changes anything is a GET, and every
request that does carries a token besides. Over HTTPS the names begin with `__Host-`, which a browser takes from this
host alone, for all of it, encrypted; on one machine without HTTPS they do not, as not every browser would take them.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Literal

from fastapi import Response
from starlette.requests import HTTPConnection

from storage.office.signins import DEVICE_DAYS

Cookie = Literal["session", "device", "oidc"]


def new_token() -> str:
    """Return 256 random bits."""
    return secrets.token_urlsafe(32)


def hashed(token: str) -> str:
    """Return the hash under which a token is kept; it is random, so that no salt is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def csrf_of(session_token: str) -> str:
    """Return what a form of a session must carry: nobody can tell it who has not the session."""
    return hashlib.sha256(b"form " + session_token.encode("utf-8", "surrogatepass")).hexdigest()


def read(request: HTTPConnection, cookie: Cookie, *, https: bool) -> str:
    """Return what a cookie says; empty where there is none."""
    return request.cookies.get(_name(cookie, https), "")


def put(response: Response, cookie: Cookie, token: str, *, https: bool) -> None:
    """Give a cookie; that of a session is gone with the browser."""
    age_s = {"session": None, "device": DEVICE_DAYS * 86_400, "oidc": 600}[cookie]
    response.set_cookie(
        _name(cookie, https), token, max_age=age_s, path="/", secure=https, httponly=True, samesite="lax"
    )


def drop(response: Response, cookie: Cookie, *, https: bool) -> None:
    """Take a cookie back."""
    response.delete_cookie(_name(cookie, https), path="/", secure=https, httponly=True, samesite="lax")


def _name(cookie: Cookie, https: bool) -> str:
    return f"{'__Host-' if https else ''}liuhen-{cookie}"
