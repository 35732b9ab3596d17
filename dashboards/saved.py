"""The saved state of the projection: one file, replaced whole, so that a kill leaves the old one or the new one."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import msgspec

from dashboards.projection import FORM, FleetState


class Saved(msgspec.Struct):
    """What the file holds.

    Attributes:
        group: Consumer group whose committed offsets belong to this state. A new state gets a new group, and so
            reads the log from its beginning.
        state: The fold.
    """

    group: str
    state: FleetState


_decoder = msgspec.msgpack.Decoder(Saved)
_encoder = msgspec.msgpack.Encoder()


def load(path: Path) -> Saved:
    """Return the saved state; a new one where there is none, or where another version of the form stands."""
    try:
        saved = _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return _fresh()
    except msgspec.DecodeError:
        # A derived state, made again from the log: nothing is lost but the time to read it.
        return _fresh()
    return saved if saved.state.form == FORM else _fresh()


def encode(saved: Saved) -> bytes:
    """Return the file's content."""
    return _encoder.encode(saved)


def store(path: Path, content: bytes) -> None:
    """Replace the file, durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _fresh() -> Saved:
    return Saved(f"console-{uuid.uuid4().hex[:12]}", FleetState())
