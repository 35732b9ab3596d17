"""GStreamer's RTSP server as a camera that nobody here wrote."""

import glob
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from tests.services.cache import ServiceMissingError, installed
from tests.services.process import Server, accepts, free_port

_SCRIPT = Path(__file__).with_name("gstreamer_rtsp.py")
_BINDINGS = "/usr/lib/*/girepository-1.0/GstRtspServer-1.0.typelib"


class GstRtspServer(Server):
    """RTSP over TCP and UDP, with RTCP sender reports.

    Args:
        directory: For its log.
        mounts: Mount point (`/cam`) to pipeline in gst-launch's language, payloaders named pay0, pay1 …;
            `Sample.pipeline` makes one.
        shared: True: one pipeline for all clients of a mount point, as a live camera has. False: each client
            gets its own, from the start.
        auth: What the server asks for; user "officer", password "s3cret:with/odd@chars".
        tls: PEM file of a certificate and its key: TLS alone, and Basic unless `auth` says otherwise.
    """

    name = "gst-rtsp"
    username = "officer"
    password = "s3cret:with/odd@chars"

    def __init__(
        self,
        directory: Path,
        mounts: Mapping[str, str],
        *,
        shared: bool = False,
        auth: Literal["basic", "digest"] | None = None,
        tls: Path | None = None,
    ) -> None:
        super().__init__(directory)
        self.port = free_port()
        self._scheme = "rtsps" if tls else "rtsp"
        self._options = {
            "port": self.port,
            "auth": auth or ("basic" if tls else None),
            "tls": str(tls or ""),
            "user": self.username,
            "password": self.password,
            "mounts": {path: {"pipeline": pipeline, "shared": shared} for path, pipeline in mounts.items()},
        }

    def url(self, mount: str) -> str:
        """`rtsp://` or `rtsps://` address of a mount point, without credentials."""
        return f"{self._scheme}://127.0.0.1:{self.port}{mount}"

    def command(self) -> Sequence[str]:
        if not glob.glob(_BINDINGS):
            raise ServiceMissingError("GStreamer's RTSP server", _BINDINGS)
        python = installed("the system's Python", "/usr/bin/python3")
        return [python, str(_SCRIPT), json.dumps(self._options)]

    def is_ready(self) -> bool:
        return accepts(self.port)
