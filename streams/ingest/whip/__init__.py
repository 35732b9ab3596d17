"""WHIP (RFC 9725): recorders push H.264 and Opus over WebRTC; ICE, DTLS and keys are aiortc's, the media is ours."""
