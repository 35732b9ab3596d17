"""Devices to the log: RTSP pulled, WHIP pushed, both through the same RTP core."""
