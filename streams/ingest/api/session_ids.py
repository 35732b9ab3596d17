"""Ids of sessions that nobody named: derived from recorder and time, with a little chance against collisions."""

from __future__ import annotations

import re
import secrets
from datetime import UTC
from typing import Final

from domain.clock import Instant

_IMPLICIT_BYTES: Final = 2
_NAMED_BYTES: Final = 3
_IMPLICIT: Final = re.compile(r"-\d{8}T\d{6}Z-[0-9a-f]{4}")


def implicit_id(recorder_id: str, at: Instant) -> str:
    """Return an id for a session that begins because media came: `<recorder>-20260131T080910Z-1a2b`."""
    return _derive(recorder_id, at, _IMPLICIT_BYTES)


def assigned_id(recorder_id: str, at: Instant) -> str:
    """Return an id for a session that a device opened without naming it; never taken for an implicit one."""
    return _derive(recorder_id, at, _NAMED_BYTES)


def is_implicit(session_id: str, recorder_id: str) -> bool:
    """Tell whether a session began by media alone, so that it also ends with it; survives a restart of ours."""
    return session_id.startswith(recorder_id) and bool(_IMPLICIT.fullmatch(session_id, len(recorder_id)))


def _derive(recorder_id: str, at: Instant, random_bytes: int) -> str:
    moment = at.datetime().astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{recorder_id}-{moment}-{secrets.token_hex(random_bytes)}"
