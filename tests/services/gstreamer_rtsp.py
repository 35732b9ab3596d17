"""GStreamer's RTSP server, run by the system's Python (which alone has its bindings).

/usr/bin/python3 gstreamer_rtsp.py '{"port": 8554, "auth": null, "tls": "", "user": "", "password": "",
                                     "mounts": {"/cam": {"pipeline": "( … name=pay0 )", "shared": false}}}'
"""

import json
import sys
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

_ROLE = "viewer"


def _factory(mount: dict[str, Any], guarded: bool) -> Any:
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(mount["pipeline"])
    factory.set_shared(mount["shared"])
    if guarded:
        permissions = GstRtspServer.RTSPPermissions()
        for right in ("media.factory.access", "media.factory.construct"):
            permissions.add_permission_for_role(_ROLE, right, True)
        factory.set_permissions(permissions)
    return factory


def _auth(method: str, user: str, password: str) -> Any:
    token = GstRtspServer.RTSPToken()
    token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, _ROLE)
    auth = GstRtspServer.RTSPAuth.new()
    if method == "digest":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    return auth


def main() -> None:
    options = json.loads(sys.argv[1])
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(options["port"]))
    if options["auth"]:
        auth = _auth(options["auth"], options["user"], options["password"])
        if options["tls"]:
            auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(options["tls"]))
        server.set_auth(auth)
    points = server.get_mount_points()
    for path, mount in options["mounts"].items():
        points.add_factory(path, _factory(mount, bool(options["auth"])))
    if server.attach(None) == 0:
        sys.exit(f"port {options['port']} cannot be listened on")
    GLib.MainLoop().run()


main()
