"""What is said of one file that is delivered later, and the folders it goes through. Pure but for `media_of`.

An upload's description is one JSON file beside its bytes: in `partial/` while it comes, in `ready/` when it is whole
and verified, in `done/` when it is in the store.
"""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Final, Literal

import msgspec

from domain.clock import Instant
from domain.errors import InvalidInput
from domain.ids import check_recorder_id, check_session_id

Via = Literal["tus", "folder"]

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MAX_METADATA_CHARS: Final = 4096
_HEAD_BYTES: Final = 1024
_TS_PACKET_BYTES: Final = 188


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """One file on its way.

    Attributes:
        id: 32 hex digits that nobody can guess; the last part of its address.
        recorder_id: Whose footage it says it is.
        session_id: Of which session.
        from_ms: First captured moment.
        to_ms: End of it.
        sha256: Of the whole file.
        length_bytes: Of the whole file.
        metadata: `Upload-Metadata` as it came, to be given back.
        created_ms: When it was announced.
        via: Which way it came.
        delivered_ms: When it was whole and verified; 0 until then.
        media: Container, by its first bytes; empty until whole.
    """

    id: str
    recorder_id: str
    session_id: str
    from_ms: int
    to_ms: int
    sha256: str
    length_bytes: int
    metadata: str = ""
    created_ms: int = 0
    via: Via = "tus"
    delivered_ms: int = 0
    media: str = ""


def described(
    upload_id: str, said: dict[str, str], *, length_bytes: int, now: Instant, metadata: str = "", via: Via = "tus"
) -> Upload:
    """Make the description from what was said of the file.

    Args:
        upload_id: Its id.
        said: `recorder_id`, `session_id`, `from`, `to`, `sha256`; others are passed over.
        length_bytes: Of the file.
        now: Our clock.
        metadata: The header it came in.
        via: Which way.

    Raises:
        InvalidInput: Something is missing or wrong; names the field.
    """
    for name in ("recorder_id", "session_id", "from", "to", "sha256"):
        if not said.get(name):
            msg = f"{name}: missing"
            raise InvalidInput(msg, name)
    start, end = _instant(said, "from"), _instant(said, "to")
    if end <= start:
        msg = "to: not after from"
        raise InvalidInput(msg, "to")
    if start > now + 86_400_000:
        msg = "from: lies in the future"
        raise InvalidInput(msg, "from")
    sha256 = said["sha256"].lower()
    if not _SHA256.fullmatch(sha256):
        msg = "sha256: not 64 hex digits"
        raise InvalidInput(msg, "sha256")
    return Upload(
        id=upload_id,
        recorder_id=check_recorder_id(said["recorder_id"]),
        session_id=check_session_id(said["session_id"]),
        from_ms=int(start),
        to_ms=int(end),
        sha256=sha256,
        length_bytes=length_bytes,
        metadata=metadata,
        created_ms=int(now),
        via=via,
    )


def metadata_of(header: str) -> dict[str, str]:
    """Take `Upload-Metadata` apart: pairs of name and base64, comma-separated (tus 1.0, Creation).

    Raises:
        InvalidInput: It cannot be read, or is too long.
    """
    if len(header) > _MAX_METADATA_CHARS:
        msg = f"Upload-Metadata: more than {_MAX_METADATA_CHARS} characters"
        raise InvalidInput(msg, "Upload-Metadata")
    pairs: dict[str, str] = {}
    for part in filter(None, (one.strip() for one in header.split(","))):
        name, _, value = part.partition(" ")
        try:
            pairs[name] = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            msg = f"{name[:50]}: not base64 of UTF-8"
            raise InvalidInput(msg, name[:50]) from error
    return pairs


def media_of(path: Path) -> str:
    """Name the container by its first bytes alone: `mp4`, `ts`, `avi`, or `bin` for anything else.

    Nothing is parsed here, and nothing is refused: what a device recorded is evidence whatever it is.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head[4:8] in {b"ftyp", b"moov", b"mdat", b"free", b"wide"}:
        return "mp4"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    syncs = head[::_TS_PACKET_BYTES]
    return "ts" if len(syncs) > 1 and set(syncs) == {0x47} else "bin"


def _instant(said: dict[str, str], name: str) -> Instant:
    try:
        return Instant.parse(said[name])
    except ValueError as error:
        msg = f"{name}: {error}"
        raise InvalidInput(msg, name) from error
