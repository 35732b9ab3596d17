"""Mutated HTTP bodies and SDP offers, seeded, to every route of the device API."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any, Final

import httpx

_OFFER: Final = """v=0\r
o=- 1 2 IN IP4 127.0.0.1\r
s=-\r
t=0 0\r
a=group:BUNDLE 0\r
m=video 9 UDP/TLS/RTP/SAVPF 96\r
c=IN IP4 0.0.0.0\r
a=mid:0\r
a=sendonly\r
a=rtcp-mux\r
a=ice-ufrag:abcd\r
a=ice-pwd:abcdefghijklmnopqrstuvwx\r
a=fingerprint:sha-256 {fingerprint}\r
a=setup:actpass\r
a=rtpmap:96 H264/90000\r
a=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r
a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r
""".format(fingerprint=":".join(["AB"] * 32))

_NOW: Final = "2026-03-02T08:00:00.000+08:00"
_BODIES: Final[dict[tuple[str, str], Any]] = {
    ("POST", "/api/v1/recorders/{id}/telemetry"): {"device_at": _NOW, "battery_percent": 50, "recording": True},
    ("POST", "/api/v1/recorders/{id}/sessions"): {"session_id": "rude-1", "act": "inspection"},
    ("POST", "/api/v1/recorders/{id}/sessions/rude-1/stop"): {"reason": "officer", "last_captured_at": _NOW},
    ("POST", "/api/v1/recorders/{id}/sessions/rude-1/resume"): {},
    ("POST", "/api/v1/recorders/{id}/sessions/rude-1/explanations"): {"method": "written", "cause": "x", "by": "y"},
    ("POST", "/api/v1/recorders/{id}/sessions/rude-1/end"): {"completed_at": _NOW},
    ("POST", "/api/v1/recorders/{id}/returned"): {},
    ("PUT", "/api/v1/recorders/{id}/index"): {
        "recordings": [{"session_id": "rude-1", "from": _NOW, "to": _NOW, "bytes": 1}]
    },
}


def pester(http: httpx.Client, recorder_id: str, rounds: int, seed: int) -> Counter[int]:
    """Send mutated bodies to every route; how often each status was answered."""
    chance = random.Random(seed)
    answers: Counter[int] = Counter()
    for _ in range(rounds):
        for (method, path), body in _BODIES.items():
            data = _mutated(json.dumps(body).encode(), chance)
            headers = {"Content-Type": "application/json"}
            answers[http.request(method, path.format(id=recorder_id), content=data, headers=headers).status_code] += 1
        offer = _mutated(_OFFER.encode(), chance)
        answer = http.post(f"/whip/{recorder_id}", content=offer, headers={"Content-Type": "application/sdp"})
        answers[answer.status_code] += 1
    return answers


def _mutated(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(5):
            case 0:
                changed[at:at] = chance.randbytes(chance.randrange(1, 8))
            case 1:
                del changed[at : at + chance.randrange(1, 20)]
            case 2 if at < len(changed):
                changed[at] = chance.randrange(256)
            case 3:
                changed[at:at] = chance.choice([b"1e999", b"-1", b"null", b'"', b"{}", b"[[[[", b"\\ud800", b"\r\n"])
            case _:
                changed[at:at] = changed[: chance.randrange(len(changed) + 1)]
    return bytes(changed)
