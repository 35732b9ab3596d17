"""Session descriptions as cameras write them (RFC 4566, RFC 2326 C.1): what we need of them, leniently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from domain.errors import InvalidMedia
from domain.media import Codec
from streams.ingest.rtp.formats import MediaFormat, codec_of

MAX_SECTIONS: Final = 16
_STATIC: Final = {0: ("PCMU", 8000, 1), 8: ("PCMA", 8000, 1)}


class MediaSection(msgspec.Struct):
    """One `m=` section.

    Attributes:
        kind: video, audio, application …
        payload_types: In the order of preference.
        control: `a=control` as written; empty if none.
        rtpmaps: Payload type → encoding name, clock rate, channels.
        fmtps: Payload type → parameters, names in lower case.
        feedback: `a=rtcp-fb` values of any payload type, in lower case.
    """

    kind: str
    payload_types: list[int]
    control: str = ""
    rtpmaps: dict[int, tuple[str, int, int]] = {}
    fmtps: dict[int, dict[str, str]] = {}
    feedback: list[str] = []

    def format(self) -> MediaFormat | None:
        """Return the first payload type of a codec we take, None if there is none."""
        for payload_type in self.payload_types:
            name, rate, channels = self.rtpmaps.get(payload_type) or _STATIC.get(payload_type, ("", 0, 0))
            codec = codec_of(name)
            if codec is not None and codec.is_video == (self.kind == "video"):
                return _media_format(payload_type, codec, rate, channels, self.fmtps.get(payload_type, {}))
        return None

    @property
    def encodings(self) -> str:
        """Names of what is offered, for people."""
        names = [self.rtpmaps.get(number) or _STATIC.get(number, (str(number), 0, 0)) for number in self.payload_types]
        return ", ".join(name[0][:40] for name in names)


class SessionDescription(msgspec.Struct):
    """What a DESCRIBE answers.

    Attributes:
        control: Session-level `a=control`; empty if none.
        sections: In the order written.
    """

    control: str
    sections: list[MediaSection]


def parse_sdp(body: bytes) -> SessionDescription:
    """Read a session description; lines that make no sense are passed over.

    Raises:
        InvalidMedia: No media section at all, or more than `MAX_SECTIONS`.
    """
    session = SessionDescription("", [])
    for raw in body.decode("utf-8", "replace").splitlines():
        line = raw.strip()
        if line.startswith("m="):
            session.sections.append(_section(line[2:]))
        elif line.startswith("a="):
            _attribute(session, line[2:])
        if len(session.sections) > MAX_SECTIONS:
            break
    if not 0 < len(session.sections) <= MAX_SECTIONS:
        msg = f"session description with {len(session.sections)} media sections"
        raise InvalidMedia(msg, "sdp")
    return session


def parse_fmtp(text: str) -> dict[str, str]:
    """Read the parameters of an `a=fmtp` value: names in lower case, values as written (base64 may hold `=`)."""
    parameters: dict[str, str] = {}
    for part in text.split(";"):
        name, _, value = part.partition("=")
        if name.strip():
            parameters[name.strip().lower()] = value.strip()
    return parameters


def _section(text: str) -> MediaSection:
    kind, _, rest = text.partition(" ")
    fields = rest.split()
    return MediaSection(kind.lower(), [int(field) for field in fields[2:] if field.isascii() and field.isdigit()][:64])


def _attribute(session: SessionDescription, text: str) -> None:
    name, _, value = text.partition(":")
    name, value = name.strip().lower(), value.strip()
    if not session.sections:
        if name == "control":
            session.control = value
        return
    section = session.sections[-1]
    if name == "control":
        section.control = value
        return
    number, _, rest = value.partition(" ")
    if name == "rtcp-fb":
        section.feedback.append(rest.strip().lower())
    elif name == "rtpmap" and number.isascii() and number.isdigit():
        section.rtpmaps[int(number)] = _rtpmap(rest)
    elif name == "fmtp" and number.isascii() and number.isdigit():
        section.fmtps[int(number)] = parse_fmtp(rest)


def _rtpmap(text: str) -> tuple[str, int, int]:
    name, rate, channels = [*text.strip().split("/"), "", ""][:3]
    return name.strip(), _whole(rate), _whole(channels)


def _whole(text: str) -> int:
    digits = text.strip()[:9]
    return int(digits) if digits.isascii() and digits.isdigit() else 0


def _media_format(payload_type: int, codec: Codec, rate: int, channels: int, fmtp: Mapping[str, str]) -> MediaFormat:
    defaults = {Codec.PCMA: 8000, Codec.PCMU: 8000, Codec.OPUS: 48_000}
    clock_rate = rate or defaults.get(codec, 90_000)
    return MediaFormat(payload_type, codec, clock_rate, 0 if codec.is_video else channels, fmtp)
