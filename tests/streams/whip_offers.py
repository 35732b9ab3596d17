"""Offers as clients make them: Chromium's (thinned out), one in the manner of OBS, and the least there can be."""

import random
import re


def _crlf(text: str) -> str:
    return text.lstrip().replace("\n", "\r\n")


CHROMIUM = _crlf("""
v=0
o=- 6439781142593123670 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS e3d59090-66f6-426e-9582-78a0438ecac2
m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:z8by
a=ice-pwd:gFRQOJe4oHIHH6ZwOBbTdomL
a=ice-options:trickle
a=fingerprint:sha-256 D4:26:8B:BF:B7:FD:C0:00:BD:4A:B5:C5:FA:4D:17:2C:F3:9D:44:D9:12:7B:5E:5B:57:FC:03:E4:22:E4:7D:C9
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendonly
a=msid:e3d59090-66f6-426e-9582-78a0438ecac2 0f68a7f9-154b-4792-87f7-85cb80ff67e7
a=rtcp-mux
a=rtcp-rsize
a=rtcp-xr:rcvr-rtt=all
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
a=rtpmap:9 G722/8000
a=ssrc:2972588855 cname:D3I1cOBK9W00VPJm
a=ssrc:2972588855 msid:e3d59090-66f6-426e-9582-78a0438ecac2 0f68a7f9-154b-4792-87f7-85cb80ff67e7
m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:z8by
a=ice-pwd:gFRQOJe4oHIHH6ZwOBbTdomL
a=ice-options:trickle
a=fingerprint:sha-256 D4:26:8B:BF:B7:FD:C0:00:BD:4A:B5:C5:FA:4D:17:2C:F3:9D:44:D9:12:7B:5E:5B:57:FC:03:E4:22:E4:7D:C9
a=setup:actpass
a=mid:1
a=extmap:14 urn:ietf:params:rtp-hdrext:toffset
a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
a=extmap:13 urn:3gpp:video-orientation
a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay
a=extmap:6 http://www.webrtc.org/experiments/rtp-hdrext/video-content-type
a=extmap:7 http://www.webrtc.org/experiments/rtp-hdrext/video-timing
a=extmap:8 http://www.webrtc.org/experiments/rtp-hdrext/color-space
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id
a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id
a=sendonly
a=msid:e3d59090-66f6-426e-9582-78a0438ecac2 1947404b-0e7d-4207-ab71-7d7f746800de
a=rtcp-mux
a=rtcp-rsize
a=rtcp-xr:rcvr-rtt=all
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 goog-remb
a=rtcp-fb:96 transport-cc
a=rtcp-fb:96 ccm fir
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rtpmap:102 H264/90000
a=rtcp-fb:102 goog-remb
a=rtcp-fb:102 transport-cc
a=rtcp-fb:102 ccm fir
a=rtcp-fb:102 nack
a=rtcp-fb:102 nack pli
a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f
a=rtpmap:103 rtx/90000
a=fmtp:103 apt=102
a=ssrc-group:FID 1091291513 2391090185
a=ssrc:1091291513 cname:D3I1cOBK9W00VPJm
a=ssrc:1091291513 msid:e3d59090-66f6-426e-9582-78a0438ecac2 1947404b-0e7d-4207-ab71-7d7f746800de
a=ssrc:2391090185 cname:D3I1cOBK9W00VPJm
a=ssrc:2391090185 msid:e3d59090-66f6-426e-9582-78a0438ecac2 1947404b-0e7d-4207-ab71-7d7f746800de
""")

OBS = _crlf("""
v=0
o=rtc 3293845290 0 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=group:LS 0 1
a=msid-semantic:WMS *
a=ice-options:ice2,trickle
a=fingerprint:sha-256 D4:26:8B:BF:B7:FD:C0:00:BD:4A:B5:C5:FA:4D:17:2C:F3:9D:44:D9:12:7B:5E:5B:57:FC:03:E4:22:E4:7D:C9
m=audio 56012 UDP/TLS/RTP/SAVPF 111
c=IN IP4 127.0.0.1
a=mid:0
a=sendonly
a=ssrc:1820391 cname:liverecorder
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1
a=setup:actpass
a=ice-ufrag:lqzI
a=ice-pwd:OtgVbWnLIAj3JHqGcXrxyK
a=candidate:1 1 UDP 2122317823 127.0.0.1 56012 typ host
a=end-of-candidates
m=video 56012 UDP/TLS/RTP/SAVPF 96
c=IN IP4 127.0.0.1
a=mid:1
a=sendonly
a=ssrc:1820392 cname:liverecorder
a=rtcp-mux
a=rtpmap:96 H264/90000
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1
a=setup:actpass
a=ice-ufrag:lqzI
a=ice-pwd:OtgVbWnLIAj3JHqGcXrxyK
""")

BARE = _crlf("""
v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
m=video 9 UDP/TLS/RTP/SAVPF 96
a=rtcp-mux
a=rtpmap:96 H264/90000
a=setup:actpass
a=ice-ufrag:abcd
a=ice-pwd:0123456789abcdefghijkl
a=fingerprint:sha-256 D4:26:8B:BF:B7:FD:C0:00:BD:4A:B5:C5:FA:4D:17:2C:F3:9D:44:D9:12:7B:5E:5B:57:FC:03:E4:22:E4:7D:C9
""")


def mutated(offer: bytes, dice: random.Random) -> bytes:
    """Deletes, doubles, swaps, cuts and garbles lines."""
    lines = offer.split(b"\r\n")
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(lines))
        line = bytearray(lines[at])
        match dice.randrange(8):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[dice.randrange(len(lines))])
            case 2 if line:
                line[dice.randrange(len(line))] = dice.randrange(256)
                lines[at] = bytes(line)
            case 3:
                lines[at] = lines[at][: dice.randrange(len(line) + 1)]
            case 4:
                lines[at] = re.sub(rb"\d+", lambda _: str(dice.choice([0, -1, 2**16, 2**32, 10**30])).encode(), line)
            case 5:
                lines[at] = lines[at] + bytes(dice.choices(range(256), k=dice.randint(1, 300)))
            case 6:
                other = dice.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case _:
                lines[at] = lines[at].replace(b":", b" ").replace(b"/", b":")
        if not lines:
            return b""
    return b"\r\n".join(lines)
