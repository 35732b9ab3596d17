import base64
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput, InvalidMedia
from domain.media import Codec
from streams.ingest.backoff import Backoff
from streams.ingest.rtsp.auth import Authenticator, parse_challenges
from streams.ingest.rtsp.dialogue import parse_transport
from streams.ingest.rtsp.message import Response, parse_head
from streams.ingest.rtsp.sdp import parse_sdp
from streams.ingest.rtsp.url import Credentials, RtspUrl, join_control

OFFICER = Credentials("officer", "pa:ss")

HIKVISION = b"""v=0
o=- 1109162014219182 1109162014219192 IN IP4 192.168.1.64
s=Media Presentation
e=NONE
c=IN IP4 0.0.0.0
t=0 0
a=control:rtsp://192.168.1.64:554/Streaming/Channels/101/
m=video 0 RTP/AVP 96
b=AS:5000
a=recvonly
a=control:rtsp://192.168.1.64:554/Streaming/Channels/101/trackID=1
a=rtpmap:96 H264/90000
a=fmtp:96 profile-level-id=420029; packetization-mode=1; sprop-parameter-sets=Z00AKp2oHgCJ+WbgICAgQA==,aO48gA==
m=audio 0 RTP/AVP 8
a=control:rtsp://192.168.1.64:554/Streaming/Channels/101/trackID=2
a=rtpmap:8 PCMA/8000
a=Media_header:MEDIAINFO=494D4B48;
"""
DAHUA = b"""v=0\r
o=- 2252316236 2252316236 IN IP4 0.0.0.0\r
s=Media Server\r
c=IN IP4 0.0.0.0\r
t=0 0\r
a=control:*\r
a=packetization-supported:DH\r
m=video 0 RTP/AVP 98\r
a=control:trackID=0\r
a=framerate:25.000000\r
a=rtpmap:98 H265/90000\r
a=fmtp:98 profile-id=1;sprop-sps=QgEBAWAAAAMAsAAAAwAAAwBdoAKAgC0WNrkky;sprop-pps=RAHA8vA8kAA=\r
m=audio 0 RTP/AVP 97\r
a=control:trackID=1\r
a=rtpmap:97 MPEG4-GENERIC/16000\r
a=fmtp:97 streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1408\r
m=application 0 RTP/AVP 107\r
a=control:trackID=4\r
a=rtpmap:107 vnd.onvif.metadata/90000\r
"""
AXIS = b"""v=0
o=- 1 1 IN IP4 10.0.0.9
s=Session streamed with GStreamer
t=0 0
a=control:rtsp://10.0.0.9/axis-media/media.amp?videocodec=h264
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1;profile-level-id=4d0029
a=rtcp-fb:* nack pli
a=control:rtsp://10.0.0.9/axis-media/media.amp/stream=0?videocodec=h264
m=audio 0 RTP/AVP 97
a=rtpmap:97 G726-32/8000
a=control:rtsp://10.0.0.9/axis-media/media.amp/stream=1
"""
UNIVIEW = b"""v=0
o=- 0 0 IN IP4 0.0.0.0
s=Unispheric
m=video 0 RTP/AVP 105
a=CONTROL:trackID=1
a=rtpmap:105 h264/90000
a=rtpmap:x nonsense
a=fmtp:105
m=audio 0 RTP/AVP 0
a=control:trackID=2
"""


def formats(sdp: bytes) -> list[tuple[str, Codec | None, str]]:
    result = []
    for section in parse_sdp(sdp).sections:
        media = section.format()
        result.append((section.kind, media.codec if media else None, section.control.rpartition("/")[2]))
    return result


def test_the_dialects_of_four_makers() -> None:
    assert formats(HIKVISION) == [("video", Codec.H264, "trackID=1"), ("audio", Codec.PCMA, "trackID=2")]
    assert formats(DAHUA) == [
        ("video", Codec.H265, "trackID=0"),
        ("audio", Codec.AAC, "trackID=1"),
        ("application", None, "trackID=4"),
    ]
    assert formats(AXIS) == [("video", Codec.H264, "stream=0?videocodec=h264"), ("audio", None, "stream=1")]
    assert parse_sdp(AXIS).sections[0].feedback == ["nack pli"]
    assert formats(UNIVIEW) == [("video", Codec.H264, "trackID=1"), ("audio", Codec.PCMU, "trackID=2")]
    media = parse_sdp(HIKVISION).sections[0].format()
    assert media is not None
    assert media.fmtp["sprop-parameter-sets"] == "Z00AKp2oHgCJ+WbgICAgQA==,aO48gA=="


@pytest.mark.parametrize("body", [b"", b"v=0\r\n", b"\xff\xfe\x00", b"m=video 0 RTP/AVP 96\n" * 17])
def test_descriptions_without_sense_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidMedia):
        parse_sdp(body)


@given(
    st.lists(st.sampled_from([*HIKVISION.splitlines(), *DAHUA.splitlines(), b"a=", b"m=", b"\x00", b"a=fmtp:96 =;"]))
)
def test_any_lines_are_read_or_refused(lines: list[bytes]) -> None:
    try:
        for section in parse_sdp(b"\n".join(lines)).sections:
            section.format()
    except InvalidMedia:
        return


@pytest.mark.parametrize(
    ("base", "control", "resolved"),
    [
        ("rtsp://h/cam", "trackID=1", "rtsp://h/cam/trackID=1"),
        ("rtsp://h/cam/", "trackID=1", "rtsp://h/cam/trackID=1"),
        ("rtsp://h/cam?channel=1&subtype=0", "trackID=1", "rtsp://h/cam?channel=1&subtype=0/trackID=1"),
        ("rtsp://h/cam", "*", "rtsp://h/cam"),
        ("rtsp://h/cam", "", "rtsp://h/cam"),
        ("rtsp://h/cam", "/other/1", "rtsp://h/other/1"),
        ("rtsp://h/cam", "rtsp://u:p@i/x", "rtsp://i/x"),
        ("rtsp://h/cam", "?track=1", "rtsp://h/cam?track=1"),
    ],
)
def test_controls_are_resolved_as_cameras_mean_them(base: str, control: str, resolved: str) -> None:
    assert join_control(base, control) == resolved


def test_addresses_show_neither_credentials_nor_query() -> None:
    url = RtspUrl.parse("rtsp://officer:p%40ss:w@ord@[::1]:8554/cam?user=a&password=b")
    assert (url.host, url.port, url.credentials) == ("::1", 8554, Credentials("officer", "p@ss:w@ord"))
    assert url.request == "rtsp://[::1]:8554/cam?user=a&password=b"
    assert url.shown == "rtsp://[::1]:8554/cam"
    assert "p@ss" not in f"{url!r} {url.credentials!r}"
    assert RtspUrl.parse("rtsp://h").request == "rtsp://h/"
    for wrong in ("http://officer:secret@h/", "rtsp://officer:secret@", "rtsp://officer:secret@h:99999/", "secret"):
        with pytest.raises(InvalidInput) as raised:
            RtspUrl.parse(wrong)
        assert "secret" not in str(raised.value)


def fields(header: str) -> dict[str, str]:
    return {name: quoted or token for name, quoted, token in re.findall(r'(\w+)=(?:"([^"]*)"|([\w-]+))', header)}


@pytest.mark.parametrize(("algorithm", "name"), [("MD5", "md5"), ("SHA-256", "sha256")])
@pytest.mark.parametrize("qop", [False, True])
def test_digest_answers_are_those_of_the_rfc(algorithm: str, name: str, qop: bool) -> None:
    def hashed(text: str) -> str:
        return hashlib.new(name, text.encode()).hexdigest()

    auth = Authenticator(OFFICER, lambda: "0a4f113b")
    offer = f'Digest realm="cam, one", nonce="n1", algorithm={algorithm}, opaque="o"' + (', qop="auth-int,auth"' * qop)
    assert auth.challenged([offer])
    header = auth.authorization("DESCRIBE", "rtsp://h/cam")
    assert header is not None
    got = fields(header)
    secret, request = hashed("officer:cam, one:pa:ss"), hashed("DESCRIBE:rtsp://h/cam")
    expected = hashed(f"{secret}:n1:00000001:0a4f113b:auth:{request}" if qop else f"{secret}:n1:{request}")
    assert got["response"] == expected
    assert (got["opaque"], got["algorithm"], got["uri"]) == ("o", algorithm, "rtsp://h/cam")
    assert "pa:ss" not in header


def test_the_strongest_offer_is_taken_and_a_wrong_password_is_not_tried_twice() -> None:
    offers = ['Basic realm="a", Digest realm="a", nonce="1"', 'Digest realm="a", nonce="2", algorithm=SHA-256']
    assert [offer["scheme"] for offer in parse_challenges(offers[0])] == ["basic", "digest"]
    auth = Authenticator(OFFICER)
    assert auth.challenged(offers)
    assert "algorithm=SHA-256" in (auth.authorization("PLAY", "rtsp://h/") or "")
    assert not auth.challenged(['Digest realm="a", nonce="3", algorithm=SHA-256'])
    assert auth.challenged(['Digest realm="a", nonce="4", algorithm=SHA-256, stale=TRUE'])
    auth.accepted()
    assert auth.challenged(['Digest realm="a", nonce="5", algorithm=SHA-256'])
    assert not Authenticator(None).challenged(offers)
    assert not Authenticator(OFFICER).challenged(['Digest realm="a", nonce="1", algorithm=MD6', "Bearer"])


def test_basic_is_answered_where_nothing_better_is_offered() -> None:
    auth = Authenticator(OFFICER)
    assert auth.challenged(['basic REALM="cam"'])
    assert auth.authorization("PLAY", "x") == "Basic " + base64.b64encode(b"officer:pa:ss").decode()


def test_heads_are_read_in_any_dialect_and_within_bounds() -> None:
    message, length = parse_head(b"RTSP/1.0  200  OK\ncseq:3\nCONTENT-LENGTH : 12\nSession: 5;timeout=3\n x=1\n\n")
    assert isinstance(message, Response)
    assert (message.status, length, message.headers.get("CSeq")) == (200, 12, "3")
    assert message.headers.get("session") == "5;timeout=3 x=1"
    for head in (b"HTTP/1.1 200 OK\r\n\r\n", b"RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n", b"\xff\xff"):
        with pytest.raises(InvalidMedia):
            parse_head(head)


def test_transports_are_checked_against_what_was_asked() -> None:
    assert parse_transport("RTP/AVP/TCP;unicast;interleaved=4-5;ssrc=1", "tcp", 0).channels == (4, 5)
    assert parse_transport("", "tcp", 1).channels == (2, 3)
    udp = parse_transport("RTP/AVP/UDP;unicast;client_port=1-2;server_port=6970-6971;source=10.0.0.1", "udp", 0)
    assert (udp.server_ports, udp.source) == ((6970, 6971), "10.0.0.1")
    for value, asked in (("RTP/AVP;unicast;client_port=1-2", "tcp"), ("RTP/AVP/TCP;interleaved=300-301", "tcp")):
        with pytest.raises(InvalidMedia):
            parse_transport(value, asked, 0)  # type: ignore[arg-type]


def test_waits_double_to_half_a_minute_and_start_anew_after_health() -> None:
    low, high = Backoff(lambda: 0.0), Backoff(lambda: 1.0)
    assert [high.after_failure() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert [low.after_failure() for _ in range(7)] == [0.5, 1, 2, 4, 8, 15, 15]
    assert high.after_failure(ran_s=60) == 1
