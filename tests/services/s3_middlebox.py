"""A gateway before an S3 server that leaves headers out and signs anew, as an endpoint behaves that ignores them."""

import hashlib
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import urllib3
from minio.credentials.credentials import Credentials
from minio.signer import sign_v4_s3
from minio.time import to_amz_date, utcnow

from tests.services.minio import MinioServer

_ITS_OWN = {"host", "authorization", "x-amz-date", "x-amz-content-sha256", "connection", "accept-encoding"}
_BETWEEN_US = {"connection", "transfer-encoding", "content-encoding", "date", "server"}


class Middlebox:
    """Serves on a free port of loopback until the block is left.

    Args:
        minio: The server behind.
        drop: Request headers that it leaves out.
        replace: Request headers that it gives another value.
        swallow: A sub-resource (`legal-hold`) whose PUT it answers with success and does not pass on.
    """

    def __init__(
        self,
        minio: MinioServer,
        *,
        drop: frozenset[str] = frozenset(),
        replace: Mapping[str, str] | None = None,
        swallow: str = "",
    ) -> None:
        self._http = urllib3.PoolManager(retries=False)
        handler = _handler(minio, self._http, drop, replace or {}, swallow)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="middlebox")

    @property
    def endpoint(self) -> str:
        """`host:port`, plain HTTP."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._http.clear()


def _handler(
    minio: MinioServer, http: urllib3.PoolManager, drop: frozenset[str], replace: Mapping[str, str], swallow: str
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.command == "PUT" and swallow and swallow in self.path.partition("?")[2]:
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            kept = {k.lower(): v for k, v in self.headers.items() if k.lower() not in _ITS_OWN | drop}
            kept |= {name: value for name, value in replace.items() if name in kept}
            url = urlsplit(f"http://{minio.endpoint}{self.path}")
            answer = http.urlopen(self.command, url.geturl(), body=body, headers=_signed(minio, self, url, kept, body))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in _BETWEEN_US | {"content-length"}:
                    self.send_header(name, value)
            data = answer.data
            length = answer.headers.get("content-length", "0") if self.command == "HEAD" else str(len(data))
            self.send_header("Content-Length", length)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass_on  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler


def _signed(minio: MinioServer, request: BaseHTTPRequestHandler, url: Any, kept: dict[str, str], body: bytes) -> Any:
    sha256, date = hashlib.sha256(body).hexdigest(), utcnow()
    own = {"Host": url.netloc, "x-amz-content-sha256": sha256, "x-amz-date": to_amz_date(date)}
    return sign_v4_s3(
        method=request.command,
        url=url,
        region="us-east-1",
        headers={**kept, **own},
        credentials=Credentials(minio.access_key, minio.secret_key),
        content_sha256=sha256,
        date=date,
    )
