"""Our answer to an offer (RFC 9429, RFC 8843): we only receive, all on one transport, all candidates in it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

import msgspec

from domain.media import Codec
from streams.ingest.whip.offer import TRANSPORT_CC, Fingerprint, Offer, OfferedTrack, Section

_FEEDBACK: Final = ("nack", "nack pli")
_LEVEL_5_2: Final = "34"
"""Above what any recorder sends; only said where the offer lets the two directions differ."""


class LocalEnd(msgspec.Struct, frozen=True):
    """What the answer says of our side.

    Attributes:
        ufrag: ICE user name fragment.
        password: ICE password.
        fingerprints: Of our certificate.
        candidates: `a=candidate` values.
        address: Of the first candidate.
        port: Of the first candidate.
    """

    ufrag: str
    password: str
    fingerprints: Sequence[Fingerprint]
    candidates: Sequence[str]
    address: str
    port: int


def feedback_for(track: OfferedTrack) -> list[str]:
    """Return the `a=rtcp-fb` values we answer: transport-wide congestion control, or else REMB, never both."""
    agreed: list[str] = [value for value in _FEEDBACK if value in track.feedback]
    if uses_transport_cc(track):
        agreed.append("transport-cc")
    elif "goog-remb" in track.feedback:
        agreed.append("goog-remb")
    return agreed


def uses_transport_cc(track: OfferedTrack) -> bool:
    """Tell whether the sender numbers its packets over all tracks and wants their arrival times back."""
    return bool(track.transport_cc_id) and "transport-cc" in track.feedback


def write_answer(offer: Offer, end: LocalEnd, session: int) -> str:
    """Write the answer.

    Args:
        offer: What is answered.
        end: Our side.
        session: Number for the origin line, unique among our sessions.
    """
    taken = {track.section: track for track in offer.tracks}
    lines = ["v=0", f"o=- {session} 1 IN IP4 0.0.0.0", "s=-", "t=0 0"]
    if offer.bundled:
        lines.append("a=group:BUNDLE " + " ".join(offer.sections[index].mid for index in sorted(taken)))
    for index, section in enumerate(offer.sections):
        track = taken.get(index)
        lines += _refused(section) if track is None else _accepted(offer, section, track, end)
    return "\r\n".join(lines) + "\r\n"


def _refused(section: Section) -> list[str]:
    lines = [f"m={section.kind} 0 {section.protocol} {section.formats}", "c=IN IP4 0.0.0.0", "a=inactive"]
    return [*lines, f"a=mid:{section.mid}"] if section.mid else lines


def _accepted(offer: Offer, section: Section, track: OfferedTrack, end: LocalEnd) -> list[str]:
    payload_type = track.format.payload_type
    version = ipaddress.ip_address(end.address).version
    lines = [
        f"m={section.kind} {end.port} {section.protocol} {payload_type}",
        f"c=IN IP{version} {end.address}",
        "a=recvonly",
        "a=rtcp-mux",
    ]
    if section.mid:
        lines.append(f"a=mid:{section.mid}")
    if offer.reduced_size:
        lines.append("a=rtcp-rsize")
    if uses_transport_cc(track):
        lines.append(f"a=extmap:{track.transport_cc_id} {TRANSPORT_CC}")
    return lines + _codec(track) + _transport(offer, end)


def _codec(track: OfferedTrack) -> list[str]:
    media = track.format
    name = f"H264/{media.clock_rate}" if media.codec is Codec.H264 else f"opus/{media.clock_rate}/{media.channels}"
    lines = [f"a=rtpmap:{media.payload_type} {name}"]
    lines += [f"a=rtcp-fb:{media.payload_type} {value}" for value in feedback_for(track)]
    parameters = _h264_parameters(track) if media.codec is Codec.H264 else "minptime=10;useinbandfec=1"
    return [*lines, f"a=fmtp:{media.payload_type} {parameters}"]


def _h264_parameters(track: OfferedTrack) -> str:
    """Repeat the profile; ask for a high level where the sender's need not be ours (RFC 6184, 8.1)."""
    offered = track.format.fmtp
    profile = offered.get("profile-level-id", "42e01f")
    parts = [f"packetization-mode={offered.get('packetization-mode', '0')}"]
    if offered.get("level-asymmetry-allowed") == "1":
        parts.insert(0, "level-asymmetry-allowed=1")
        profile = profile[:4] + _LEVEL_5_2
    return ";".join([*parts, f"profile-level-id={profile}"])


def _transport(offer: Offer, end: LocalEnd) -> list[str]:
    lines = [f"a=ice-ufrag:{end.ufrag}", f"a=ice-pwd:{end.password}"]
    lines += [f"a=fingerprint:{each.algorithm} {each.value}" for each in end.fingerprints]
    lines.append("a=setup:passive" if offer.setup == "client" else "a=setup:active")
    lines += [f"a=candidate:{value}" for value in end.candidates]
    return [*lines, "a=end-of-candidates"]
