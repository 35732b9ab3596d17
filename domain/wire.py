"""The wire form of events, findings and registrations: JSON, one object, versioned by field `v` (absent: 1).

Decoding is strict in types and ranges and says which field is wrong; it ignores unknown fields, so that a newer
device can talk to an older system, and refuses unknown types and versions, so that nothing is taken for what it
is not.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from domain.clock import Instant
from domain.errors import InvalidEvent
from domain.events import AnyEvent
from domain.findings import Finding
from domain.registry import Registration

T = TypeVar("T")

_FIELD = re.compile(r"`\$\.?([^`]*)`")
_MISSING = re.compile(r"(?:required|unknown) field `([^`]+)`")


def _to_wire(value: Any) -> str:
    if isinstance(value, Instant):
        return value.rfc3339()
    msg = f"no wire form for {type(value).__name__}"
    raise TypeError(msg)


def _from_wire(kind: type, value: Any) -> Any:
    if kind is Instant:
        if not isinstance(value, str):
            msg = "expected RFC 3339 time with offset"
            raise ValueError(msg)
        return Instant.parse(value)
    msg = f"no wire form for {kind.__name__}"
    raise TypeError(msg)


_encoder = msgspec.json.Encoder(enc_hook=_to_wire)
_event_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent, dec_hook=_from_wire)
_finding_decoder = msgspec.json.Decoder(Finding, dec_hook=_from_wire)
_registration_decoder = msgspec.json.Decoder(Registration, dec_hook=_from_wire)


def encode(value: msgspec.Struct) -> bytes:
    """Encode any struct of the domain as one line of JSON. Equal values give equal bytes."""
    return _encoder.encode(value)


def decode_event(data: bytes | str) -> AnyEvent:
    """Decode an event.

    Raises:
        InvalidEvent: Not JSON, unknown type or version, a field missing, of a wrong type or out of range.
    """
    return _decode(_event_decoder, data)


def decode_finding(data: bytes | str) -> Finding:
    """Decode a finding.

    Raises:
        InvalidEvent: As for `decode_event`.
    """
    return _decode(_finding_decoder, data)


def decode_registration(data: bytes | str) -> Registration:
    """Decode a registration.

    Raises:
        InvalidEvent: As for `decode_event`.
    """
    return _decode(_registration_decoder, data)


def convert(value: object, kind: type[T]) -> T:
    """Convert builtin values (a parsed request body) to a struct of the domain.

    Raises:
        InvalidEvent: As for `decode_event`.
    """
    try:
        return msgspec.convert(value, kind, dec_hook=_from_wire)
    except (msgspec.ValidationError, ValueError) as error:
        raise _invalid(error) from error


def to_builtins(value: object) -> Any:
    """Convert a struct to dicts, lists and strings, times as RFC 3339."""
    return msgspec.to_builtins(value, enc_hook=_to_wire)


def _decode(decoder: msgspec.json.Decoder[T], data: bytes | str) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _invalid(error) from error


def _invalid(error: Exception) -> InvalidEvent:
    text = str(error)
    found = _FIELD.search(text)
    missing = _MISSING.search(text)
    path = found.group(1) if found else ""
    if missing:
        path = f"{path}.{missing.group(1)}" if path else missing.group(1)
    return InvalidEvent(text, path)
