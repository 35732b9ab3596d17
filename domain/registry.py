"""Registrations: what the log knows of each recorder, on topic `registry`."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from domain.clock import Instant
from domain.errors import InvalidInput
from domain.events import Kind, Name
from domain.ids import RecorderId

MIN_TOKEN_CHARACTERS = 16
"""Shorter bearer tokens are guessed."""

State = Literal["draft", "confirmed", "noticed", "active", "suspended", "retired"]


class OldToken(msgspec.Struct, frozen=True, kw_only=True):
    """A bearer token that a newer one has taken the place of, and that a device may go on using for a while.

    Attributes:
        sha256: SHA-256 (hex) of the token.
        until: It is taken before this moment, and not from it on.
    """

    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    until: Instant


class Registration(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One recorder or camera as registered; the newest on the log counts.

    Attributes:
        recorder_id: Its id.
        kind: What it is.
        policy: Name of the jurisdiction's policy.
        state: Ingest takes media of `active` ones only.
        site_id: Premises, or where it is kept.
        unit_id: The enforcement unit that it belongs to, which decides who may see it.
        name: What people call it.
        url: RTSP address to pull from, with credentials where needed; absent for recorders that push. Secret.
        transport: How to pull RTP.
        tls_sha256: SHA-256 (hex, colons allowed) of the certificate that an rtsps camera must show, which then may be
            signed by itself; where absent it must be valid for the address.
        token_sha256: SHA-256 (hex) of the bearer token with which it pushes; absent where it may not.
        old_tokens: Tokens before that one, taken a while longer, so that a device can be given the new one in peace.
        expects_audio: Silence on its audio track is worth a finding.
        continuous: Recording is expected at all times.
        reason: Why it was taken out of use, in words; that explains the stop.
        decided_by: Account that did.
        v: Version of the wire form.
    """

    recorder_id: RecorderId
    kind: Kind
    policy: Name
    state: State = "active"
    site_id: Name | None = None
    unit_id: Name | None = None
    name: Annotated[str, Meta(max_length=200)] | None = None
    url: Annotated[str, Meta(max_length=2000, pattern=r"^rtsps?://")] | None = None
    transport: Literal["tcp", "udp"] = "tcp"
    tls_sha256: Annotated[str, Meta(pattern=r"^([0-9a-fA-F]{2}:?){31}[0-9a-fA-F]{2}$")] | None = None
    token_sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")] | None = None
    old_tokens: Annotated[tuple[OldToken, ...], Meta(max_length=8)] = ()
    expects_audio: bool = False
    continuous: bool = False
    reason: Annotated[str, Meta(max_length=4000)] | None = None
    decided_by: Name | None = None
    v: Annotated[int, Meta(ge=1, le=1)] = 1

    def accepts(self, token: str, at: Instant | None = None) -> bool:
        """Tell whether this bearer token is the recorder's, in constant time; old ones only where a moment is given."""
        shown = hash_token(token)
        held = [] if self.token_sha256 is None else [self.token_sha256]
        held += [old.sha256 for old in self.old_tokens if at is not None and at < old.until]
        return any([hmac.compare_digest(shown, one) for one in held])  # noqa: C419 - each is compared, whatever fits


def hash_token(token: str) -> str:
    """Return the SHA-256 under which a bearer token is kept (tokens are random, so no salt or stretching)."""
    return hashlib.sha256(token.encode()).hexdigest()


def hash_tokens(entry: Mapping[str, object]) -> dict[str, object]:
    """Replace a plain `token` of a registration as written by a person by its `token_sha256`.

    Raises:
        InvalidInput: The token is not text, or too short.
    """
    kept = {name: value for name, value in entry.items() if name != "token"}
    token = entry.get("token")
    if token is None:
        return kept
    if not isinstance(token, str) or len(token) < MIN_TOKEN_CHARACTERS:
        msg = f"token: must be text of at least {MIN_TOKEN_CHARACTERS} characters"
        raise InvalidInput(msg, "token")
    return {**kept, "token_sha256": hash_token(token)}
