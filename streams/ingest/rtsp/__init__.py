"""RTSP 1.0 client (RFC 2326): cameras pulled over interleaved TCP or UDP."""
