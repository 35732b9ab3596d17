"""Object keys: functions of what is stored, sorted by recorder, day and time.

``segments/<recorder>/<YYYY>/<MM>/<DD>/<session>/<YYYYMMDDThhmmssfff>-<first seq>-<first 16 digits of SHA-256>.mp4``

Days and times are those of capture, in China. The digits tell feeds and contents apart, so different footage can never
want the same key, and nobody can take a key before its footage exists. A session id longer than 48 characters stands
as its first 31, a hyphen and 16 hex digits of its SHA-256; the whole id is in the manifest and the tags.

``uploads/<recorder>/<SHA-256>.<mp4|ts|avi|bin>`` are files that were delivered later, as they came. Content alone makes
the key, so that the same file delivered twice is one object whatever is said of it.
"""

from __future__ import annotations

import hashlib

from domain.clock import Instant

ROOT = "segments"
UPLOADS = "uploads"
_LONGEST_SESSION = 48
_CONTENT_TYPES = {"mp4": "video/mp4", "ts": "video/mp2t", "avi": "video/x-msvideo"}


def segment_key(recorder_id: str, session_id: str, captured_at: Instant, first_seq: int, sha256: str) -> str:
    """Return the key of a segment: at most 191 characters."""
    moment = captured_at.datetime()
    name = f"{moment:%Y%m%dT%H%M%S}{captured_at % 1000:03}-{first_seq}-{sha256[:16]}.mp4"
    return f"{day_prefix(recorder_id, captured_at)}{_short(session_id)}/{name}"


def upload_key(recorder_id: str, sha256: str, media: str) -> str:
    """Return the key of a file delivered later: at most 144 characters."""
    return f"{UPLOADS}/{recorder_id}/{sha256}.{media}"


def content_type_of(key: str) -> str:
    """Return the media type of what a key names, by its suffix."""
    return _CONTENT_TYPES.get(key.rpartition(".")[2], "application/octet-stream")


def day_prefix(recorder_id: str, moment: Instant) -> str:
    """Return what the keys of a recorder's day begin with."""
    return f"{ROOT}/{recorder_id}/{moment.datetime():%Y/%m/%d}/"


def _short(session_id: str) -> str:
    if len(session_id) <= _LONGEST_SESSION:
        return session_id
    return f"{session_id[:31]}-{hashlib.sha256(session_id.encode()).hexdigest()[:16]}"
