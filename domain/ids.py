"""Identifiers: their patterns, and those that are functions of content."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

import msgspec

from domain.clock import Instant
from domain.errors import InvalidInput

# `$` alone would let a trailing line feed pass in Python; the look-ahead means the same in every dialect.
RECORDER_ID_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,62}$(?!\n)"
SESSION_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,126}$(?!\n)"
SHA256_PATTERN = r"^[0-9a-f]{64}$(?!\n)"

RecorderId = Annotated[str, msgspec.Meta(pattern=RECORDER_ID_PATTERN, description="Recorder or camera.")]
SessionId = Annotated[str, msgspec.Meta(pattern=SESSION_ID_PATTERN, description="One duty, act or camera day.")]
FeedId = Annotated[str, msgspec.Meta(pattern=SESSION_ID_PATTERN, description="One unbroken connection of a recorder.")]
Sha256 = Annotated[str, msgspec.Meta(pattern=SHA256_PATTERN, description="SHA-256, lower-case hex.")]

_RECORDER_ID = re.compile(RECORDER_ID_PATTERN)
_SESSION_ID = re.compile(SESSION_ID_PATTERN)


def is_recorder_id(text: str) -> bool:
    """Tell whether a text matches `RECORDER_ID_PATTERN`."""
    return _RECORDER_ID.match(text) is not None


def check_recorder_id(text: str) -> str:
    """Return the id unchanged.

    Raises:
        InvalidInput: It does not match `RECORDER_ID_PATTERN`.
    """
    if not _RECORDER_ID.match(text):
        msg = f"recorder_id: {text!r} does not match {RECORDER_ID_PATTERN}"
        raise InvalidInput(msg, "recorder_id")
    return text


def check_session_id(text: str) -> str:
    """Return the id unchanged.

    Raises:
        InvalidInput: It does not match `SESSION_ID_PATTERN`.
    """
    if not _SESSION_ID.match(text):
        msg = f"session_id: {text!r} does not match {SESSION_ID_PATTERN}"
        raise InvalidInput(msg, "session_id")
    return text


def finding_id(kind: str, recorder_id: str, session_id: str | None, subject: str, began_at: Instant) -> str:
    """Derive a finding's id from what it is about, so that a repeated detection is the same finding.

    Returns:
        32 hex digits: the first half of SHA-256 over the parts, each behind its length.
    """
    digest = hashlib.sha256()
    for part in (kind, recorder_id, session_id or "", subject, str(int(began_at))):
        data = part.encode()
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return digest.hexdigest()[:32]
