"""RTP taken apart: pure, every time passed in; no sockets, no tasks, no logging."""
