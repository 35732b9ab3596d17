"""`/metrics` and `/healthz` from a thread, for a process whose event loop belongs to somebody else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import make_wsgi_app

_log = logging.getLogger(__name__)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Requests are not worth a line each."""


def serve(address: str, trouble: Callable[[], str]) -> int | None:
    """Answer for as long as the process lives.

    Args:
        address: `host:port`; port 0 takes a free one.
        trouble: Returns what is wrong, empty if nothing is. Asked from another thread.

    Returns:
        The port; None where it could not be had, because detecting is more than being asked about it.
    """
    host, _, port = address.rpartition(":")
    metrics = make_wsgi_app()

    def answer(environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environment.get("PATH_INFO", "")
        if path == "/metrics":
            return cast("Iterable[bytes]", metrics(environment, start))
        if path not in {"/healthz", "/readyz"}:
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [b"no such page\n"]
        wrong = trouble()
        start("503 Service Unavailable" if wrong else "200 OK", [("Content-Type", "text/plain")])
        return [(wrong or "ok").encode() + b"\n"]

    try:
        server = make_server(host.strip("[]"), int(port), answer, _Server, _Quiet)
    except OSError as error:
        _log.warning("no /metrics and no /healthz on %s: %s", address, error)
        return None
    threading.Thread(target=server.serve_forever, name="liuhen-status", daemon=True).start()
    return server.server_port
