"""From request bodies to events: what the device says, completed by what the path and our clock say."""

from __future__ import annotations

from typing import Any, TypeVar

from domain import wire
from domain.clock import Instant
from domain.errors import InvalidEvent
from domain.events import RecorderEvent

E = TypeVar("E", bound=RecorderEvent)


def event_from(body: Any, kind: type[E], recorder_id: str, at: Instant, **fixed: Any) -> E:
    """Complete and check a body.

    Args:
        body: Parsed JSON of the request, or one item of it.
        kind: The event it must be.
        recorder_id: From the path; a body that names another recorder is refused.
        at: Our clock; a body cannot set it.
        fixed: More fields that the path decides, in wire form.

    Raises:
        InvalidEvent: Not an object, a field missing, of a wrong type or out of range; `field` is its path.
    """
    if not isinstance(body, dict):
        msg = f"expected an object, got {_name(body)}"
        raise InvalidEvent(msg)
    decided = {"type": kind.__struct_config__.tag, "recorder_id": recorder_id, **fixed}
    for name, value in decided.items():
        if body.get(name, value) != value:
            msg = f"{name}: {str(body[name])[:100]!r} is not the {value!r} of the address"
            raise InvalidEvent(msg, name)
    return wire.convert({**body, **decided, "at": at.rfc3339()}, kind)


def with_defaults(body: Any, **defaults: Any) -> Any:
    """Fill what the device may leave out; an absent body is an empty object."""
    if body is None:
        return defaults
    return {**defaults, **body} if isinstance(body, dict) else body


def _name(value: Any) -> str:
    names = {list: "a list", str: "a string", type(None): "null", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)
