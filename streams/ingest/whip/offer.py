"""What a WHIP client offers: read through aiortc's SDP parser, bounded before it and checked behind it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

import msgspec
from aiortc import RTCIceCandidate
from aiortc.rtcdtlstransport import RTCDtlsParameters
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import MediaDescription, SessionDescription, candidate_from_sdp

from domain.errors import InvalidMedia
from domain.media import Codec
from streams.ingest.rtp.formats import MediaFormat

MAX_OFFER_BYTES: Final = 65_536
_MAX_LINES: Final = 1500
_MAX_SECTIONS: Final = 16
_MAX_MAPPINGS: Final = 256
_MAX_CANDIDATES: Final = 64
_PAYLOAD_TYPES: Final = 128
TRANSPORT_CC: Final = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"

_MID: Final = re.compile(r"[!-~]{1,32}")
_UFRAG: Final = re.compile(r"[A-Za-z0-9+/]{4,256}")
_PASSWORD: Final = re.compile(r"[A-Za-z0-9+/]{22,256}")
_PROTOCOL: Final = re.compile(r"(UDP|TCP)/TLS/RTP/SAVPF?|RTP/SAVPF?")
_DIGESTS: Final = frozenset({"sha-256", "sha-384", "sha-512"})
_COUNTED: Final = re.compile(r"^a=(?:rtpmap|rtcp-fb|ssrc|fmtp|extmap):", re.MULTILINE)

# What aiortc's parser is seen to raise on text that is not SDP, besides AssertionError.
_PARSER_ERRORS: Final = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    AssertionError,
    StopIteration,
    OverflowError,
)

Setup = Literal["auto", "client", "server"]
_SETUPS: Final[dict[str, Setup]] = {"auto": "auto", "client": "client", "server": "server"}
_Choose = Callable[[Sequence[RTCRtpCodecParameters], set[int]], RTCRtpCodecParameters | None]


class UnreadableOffer(InvalidMedia):
    """The text is no session description at all."""


class UnacceptableOffer(InvalidMedia):
    """A session description that we cannot answer with media; says what it would need."""


class OfferedTrack(msgspec.Struct, frozen=True):
    """A media section that we take.

    Attributes:
        section: Index of the section in the offer.
        format: The one payload type we answer with.
        fmtp: Its format parameters as offered, in order.
        feedback: `a=rtcp-fb` values offered for it, such as `nack` and `nack pli`.
        transport_cc_id: Header extension id of transport-wide congestion control, 0 where not offered.
    """

    section: int
    format: MediaFormat
    fmtp: Sequence[tuple[str, str]]
    feedback: frozenset[str]
    transport_cc_id: int = 0


class Section(msgspec.Struct, frozen=True):
    """Any media section, as far as an answer must repeat it."""

    kind: str
    protocol: str
    formats: str
    mid: str


class Fingerprint(msgspec.Struct, frozen=True):
    """Digest of the peer's certificate (RFC 8122)."""

    algorithm: str
    value: str


class Offer(msgspec.Struct, frozen=True):
    """An offer that can be answered.

    Attributes:
        sections: All media sections, in order.
        tracks: Those we take, in the order of their sections: one with pictures, at most one with sound.
        bundled: Ids of all sections are grouped for one transport.
        ufrag: ICE user name fragment.
        password: ICE password.
        ice_lite: The peer only answers checks.
        candidates: Where it can be reached, as far as it says.
        fingerprints: Of its certificate.
        setup: Its DTLS role.
        reduced_size: It takes RTCP packets that are not compound (RFC 5506).
    """

    sections: Sequence[Section]
    tracks: Sequence[OfferedTrack]
    bundled: bool
    ufrag: str
    password: str
    ice_lite: bool
    candidates: Sequence[RTCIceCandidate]
    fingerprints: Sequence[Fingerprint]
    setup: Setup
    reduced_size: bool

    @property
    def video(self) -> OfferedTrack:
        """The track with the pictures."""
        return next(track for track in self.tracks if track.format.codec.is_video)


def read_offer(data: bytes) -> Offer:
    """Read an offer.

    Raises:
        UnreadableOffer: Not UTF-8, not SDP, or beyond any sensible size.
        UnacceptableOffer: No H.264 that we take, or no way to take it: `field` names the attribute.
    """
    text = _text(data)
    try:
        description = SessionDescription.parse(text)
    except _PARSER_ERRORS as error:
        msg = f"not a session description: {type(error).__name__} {error}".strip()
        raise UnreadableOffer(msg, "sdp") from error
    media = description.media
    if not media:
        msg = "no media section: offer H.264 video"
        raise UnacceptableOffer(msg, "m")
    if len(media) > _MAX_SECTIONS:
        msg = f"{len(media)} media sections, more than {_MAX_SECTIONS}"
        raise UnreadableOffer(msg, "m")
    sections = [_section(each) for each in media]
    tracks = _tracks(media)
    taken = [media[track.section] for track in tracks]
    bundled = _bundled(description, [sections[track.section].mid for track in tracks])
    carrier = taken[0]
    if carrier.ice is None or carrier.dtls is None or carrier.dtls.role not in _SETUPS:
        msg = "no ICE credentials, or no setup attribute (RFC 8842)"
        raise UnacceptableOffer(msg, "setup")
    return Offer(
        sections=sections,
        tracks=tracks,
        bundled=bundled,
        ufrag=_matching(_UFRAG, carrier.ice.usernameFragment, "ice-ufrag"),
        password=_matching(_PASSWORD, carrier.ice.password, "ice-pwd"),
        ice_lite=bool(carrier.ice.iceLite),
        candidates=usable(candidate for each in taken for candidate in each.ice_candidates),
        fingerprints=_fingerprints(carrier.dtls),
        setup=_SETUPS[carrier.dtls.role],
        reduced_size="a=rtcp-rsize" in text,
    )


def read_candidate(text: str) -> RTCIceCandidate:
    """Read the value of an `a=candidate` line.

    Raises:
        UnreadableOffer: It is none.
    """
    try:
        return candidate_from_sdp(text)
    except _PARSER_ERRORS as error:
        msg = f"not an ICE candidate: {text[:100]!r}"
        raise UnreadableOffer(msg, "candidate") from error


def usable(candidates: Iterable[RTCIceCandidate]) -> list[RTCIceCandidate]:
    """Keep what can be checked: component 1 over UDP, by address.

    Names (mDNS) are passed over: looking them up would send multicast on a stranger's word, and is not needed, since
    the peer's own checks show where it is.
    """
    kept = [
        candidate
        for candidate in candidates
        if candidate.component == 1
        and candidate.protocol.lower() == "udp"
        and 0 < candidate.port < 65_536
        and 0 <= candidate.priority < 1 << 32
        and not candidate.ip.lower().endswith(".local")
    ]
    return kept[:_MAX_CANDIDATES]


def _text(data: bytes) -> str:
    if len(data) > MAX_OFFER_BYTES:
        msg = f"session description of {len(data)} bytes"
        raise UnreadableOffer(msg, "sdp")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        msg = f"not UTF-8: {error}"
        raise UnreadableOffer(msg, "sdp") from error
    # The parser's work grows with the product of some of these; no client sends a tenth of it.
    if text.count("\n") > _MAX_LINES or len(_COUNTED.findall(text)) > 4 * _MAX_MAPPINGS:
        msg = "session description with too many lines"
        raise UnreadableOffer(msg, "sdp")
    if text.count("a=rtpmap:") > _MAX_MAPPINGS or not text.startswith("v=0"):
        msg = "not a session description: begins with v=0, and has few payload types"
        raise UnreadableOffer(msg, "sdp")
    return text


def _section(media: MediaDescription) -> Section:
    mid = media.rtp.muxId
    if mid and not _MID.fullmatch(mid):
        msg = f"mid: {mid[:40]!r}"
        raise UnreadableOffer(msg, "mid")
    return Section(media.kind, media.profile, " ".join(map(str, media.fmt)), mid)


def _tracks(media: Sequence[MediaDescription]) -> list[OfferedTrack]:
    video = _first(media, "video", _h264)
    if video is None:
        offered = sorted({codec.mimeType.partition("/")[2] for each in media for codec in each.rtp.codecs})
        names = ", ".join(offered)[:200] or "no codec"
        msg = f"no sending video section with H.264 (found: {names}): offer H.264, packetization-mode=1"
        raise UnacceptableOffer(msg, "rtpmap")
    audio = _first(media, "audio", _opus)
    tracks = sorted([video] if audio is None else [video, audio], key=lambda track: track.section)
    payload_types = {track.format.payload_type for track in tracks}
    if len(payload_types) != len(tracks):
        msg = "the same payload type for picture and sound"
        raise UnacceptableOffer(msg, "rtpmap")
    for track in tracks:
        if not media[track.section].rtcp_mux:
            msg = "no rtcp-mux: RTP and RTCP must share a port (RFC 9725, 4.2)"
            raise UnacceptableOffer(msg, "rtcp-mux")
    return tracks


def _first(media: Sequence[MediaDescription], kind: str, choose: _Choose) -> OfferedTrack | None:
    for index, each in enumerate(media):
        if each.kind != kind or each.direction not in {"sendonly", "sendrecv", None}:
            continue
        if not _PROTOCOL.fullmatch(each.profile):
            continue
        codec = choose(each.rtp.codecs, set(each.fmt))
        if codec is not None:
            return _track(index, each, codec)
    return None


def _track(index: int, media: MediaDescription, codec: RTCRtpCodecParameters) -> OfferedTrack:
    fmtp = [(str(name), "" if value is None else str(value)) for name, value in codec.parameters.items()]
    is_video = media.kind == "video"
    return OfferedTrack(
        section=index,
        format=MediaFormat(
            payload_type=_payload_type(codec),
            codec=Codec.H264 if is_video else Codec.OPUS,
            clock_rate=codec.clockRate,
            channels=0 if is_video else codec.channels or 2,
            fmtp={name.strip().lower(): value.strip() for name, value in fmtp},
        ),
        fmtp=fmtp,
        feedback=frozenset(f"{each.type} {each.parameter or ''}".strip() for each in codec.rtcpFeedback),
        transport_cc_id=next(
            (each.id for each in media.rtp.headerExtensions if each.uri == TRANSPORT_CC and 0 < each.id < 15), 0
        ),
    )


def _h264(codecs: Sequence[RTCRtpCodecParameters], formats: set[int]) -> RTCRtpCodecParameters | None:
    """Choose the first H.264 of the offer that may be fragmented; else the first at all."""
    found = [each for each in codecs if _is(each, "video/h264", 90_000) and each.payloadType in formats]
    fragmenting = [each for each in found if _packetization_mode(each) == "1"]
    single = [each for each in found if _packetization_mode(each) == "0"]
    return next(iter(fragmenting + single), None)


def _opus(codecs: Sequence[RTCRtpCodecParameters], formats: set[int]) -> RTCRtpCodecParameters | None:
    return next((each for each in codecs if _is(each, "audio/opus", 48_000) and each.payloadType in formats), None)


def _is(codec: RTCRtpCodecParameters, mime_type: str, clock_rate: int) -> bool:
    return (
        codec.mimeType.lower() == mime_type and codec.clockRate == clock_rate and _payload_type(codec) < _PAYLOAD_TYPES
    )


def _payload_type(codec: RTCRtpCodecParameters) -> int:
    return _PAYLOAD_TYPES if codec.payloadType is None else codec.payloadType


def _packetization_mode(codec: RTCRtpCodecParameters) -> str:
    return str(codec.parameters.get("packetization-mode", "0")).strip()


def _bundled(description: SessionDescription, mids: Sequence[str]) -> bool:
    groups = [set(map(str, group.items)) for group in description.group if group.semantic == "BUNDLE"]
    if any(set(mids) <= group for group in groups) and len(set(mids)) == len(mids):
        return True
    if len(mids) == 1:
        return False
    msg = "picture and sound are not in one BUNDLE group (RFC 9725, 4.2)"
    raise UnacceptableOffer(msg, "group")


def _matching(pattern: re.Pattern[str], value: str | None, field: str) -> str:
    if value is None:
        msg = f"{field} is missing"
        raise UnacceptableOffer(msg, field)
    if not pattern.fullmatch(value):
        msg = f"{field}: {value[:40]!r} does not match RFC 8839, 5.4"
        raise UnreadableOffer(msg, field)
    return value


def _fingerprints(dtls: RTCDtlsParameters) -> list[Fingerprint]:
    found = [Fingerprint(each.algorithm, each.value) for each in dtls.fingerprints[:_MAX_SECTIONS]]
    if not any(each.algorithm.lower() in _DIGESTS for each in found):
        msg = "no fingerprint by SHA-256, SHA-384 or SHA-512"
        raise UnacceptableOffer(msg, "fingerprint")
    return found
