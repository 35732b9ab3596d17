"""A receiver of webhooks: counts what comes, by request and by id, and can be told to fail, to hang or to be away."""

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.services.process import free_port, poll_until


class Receiver:
    """One HTTP server on a thread.

    Attributes:
        requests: Each that was answered with 200: path, header `Idempotency-Key`, body, arrival in ms since the epoch.
        status: What is answered.
        hangs: Set while no request is answered at all.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.requests: list[tuple[str, str, dict[str, Any], int]] = []
        self.refused = 0
        self.status = 200
        self.hangs = False
        self._release = threading.Event()
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                if len(body) < length:
                    self.close_connection = True  # whoever sent it was killed in the middle
                    return
                status = receiver.take(self.path, self.headers.get("Idempotency-Key", ""), body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                return

        class QuietServer(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                return  # a sender that was killed closes in the middle

        self._server = QuietServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        self.let_go()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def take(self, path: str, key: str, body: bytes) -> int:
        if self.hangs:
            self._release.wait(60)
        if self.status >= 300:
            self.refused += 1
            return self.status
        said = json.loads(body) if body.startswith(b"{") else {"text": body.decode()}
        with self._lock:
            self.requests.append((path, key, said, round(time.time() * 1000)))
        return self.status

    def let_go(self) -> None:
        """Answer what hangs, and hang no longer."""
        self.hangs = False
        self._release.set()

    def bodies(self, path: str | None = None) -> list[dict[str, Any]]:
        with self._lock:
            return [body for where, _, body, _ in self.requests if path in (None, where)]

    def ids(self) -> Counter[str]:
        """How often each id came."""
        with self._lock:
            return Counter(key for _, key, _, _ in self.requests)

    def named(self) -> Counter[str]:
        """How often each finding was named, repeated requests counted once."""
        with self._lock:
            first = {key: body for _, key, body, _ in reversed(self.requests)}
        return Counter(finding for body in first.values() for finding in body.get("findings", ()))

    def wait_for(self, count: int, timeout_s: float = 20) -> None:
        """Until so many requests have come."""
        poll_until(lambda: len(self.requests) >= count, f"{count} requests came, not {len(self.requests)}", timeout_s)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
