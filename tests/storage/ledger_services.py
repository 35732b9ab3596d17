"""A witness (C2SP tlog-witness) and a time-stamping authority (RFC 3161, by `openssl ts`), each on HTTP on loopback."""

from __future__ import annotations

import base64
import subprocess
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from domain.errors import IntegrityError
from storage.ledger.checkpoint import TreeHead, open_checkpoint
from storage.ledger.merkle import verify_consistency
from storage.ledger.note import SigningKey, VerifierKey

Answer = tuple[int, str, bytes]


class HttpService:
    """Answers POSTs in threads of its own; stopped and started again on the same port."""

    def __init__(self) -> None:
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    def answer(self, path: str, body: bytes) -> Answer:
        raise LookupError(path)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        answer = self.answer

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                code, kind, body = answer(self.path, self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Witness(HttpService):
    """Remembers the last head it has seen and cosigns what follows from it."""

    def __init__(self, log: VerifierKey, key: SigningKey) -> None:
        super().__init__()
        self._log = log
        self._key = key
        self.seen: TreeHead | None = None
        self.broken: Callable[[], Answer] | None = None

    def answer(self, path: str, body: bytes) -> Answer:
        if self.broken is not None:
            return self.broken()
        assert path == "/add-checkpoint"
        lines, _, note = body.decode().partition("\n\n")
        old, *proof = lines.split("\n")
        try:
            head = open_checkpoint(note, [self._log])
        except IntegrityError as error:
            return 403, "text/plain", str(error).encode()
        size = 0 if self.seen is None else self.seen.size
        if int(old.removeprefix("old ")) != size:
            return 409, "text/x.tlog.size", f"{size}\n".encode()
        if self.seen is not None:
            hashes = [base64.b64decode(line) for line in proof]
            if size == head.size and head.root != self.seen.root:
                return 409, "text/plain", b"another root"
            if not verify_consistency(size, head.size, hashes, self.seen.root, head.root):
                return 422, "text/plain", b"no proof"
        self.seen = head
        return 200, "text/plain", self._key.sign(head.text()).rpartition("\n\n")[2].encode()


class TimeStampingAuthority(HttpService):
    """A root, a signer's certificate under it, and `openssl ts -reply` for each request."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        folder.mkdir()
        self._folder = folder
        self.asked = 0
        self.broken: Callable[[bytes], Answer] | None = None
        self._lock = threading.Lock()
        (folder / "ts.cnf").write_text(_CONFIGURATION.format(folder=folder))
        (folder / "serial").write_text("01\n")
        self._openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=root -days 30 "
            "-keyout root.key -out root.pem -addext basicConstraints=critical,CA:TRUE"
        )
        self._openssl(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=tsa -keyout tsa.key -out tsa.csr"
        )
        self._openssl("x509 -req -in tsa.csr -CA root.pem -CAkey root.key -days 30 -extfile ts.cnf -out tsa.pem")

    @property
    def root(self) -> Path:
        return self._folder / "root.pem"

    def reply(self, request: bytes) -> bytes:
        with self._lock:
            (self._folder / "request.tsq").write_bytes(request)
            self._openssl("ts -reply -config ts.cnf -queryfile request.tsq -out reply.tsr")
            return (self._folder / "reply.tsr").read_bytes()

    def answer(self, path: str, body: bytes) -> Answer:
        self.asked += 1
        if self.broken is not None:
            return self.broken(body)
        return 200, "application/timestamp-reply", self.reply(body)

    def verify(self, token: bytes, data: bytes) -> str:
        """What `openssl ts -verify` says: somebody else's reading of the stamp."""
        (self._folder / "given.tsr").write_bytes(token)
        (self._folder / "given.data").write_bytes(data)
        return self._openssl("ts -verify -in given.tsr -data given.data -CAfile root.pem")

    def _openssl(self, arguments: str) -> str:
        command = ["openssl", *arguments.split()]
        done = subprocess.run(command, cwd=self._folder, check=True, capture_output=True, text=True)
        return done.stdout + done.stderr


_CONFIGURATION = """basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping

[tsa]
default_tsa = tsa_config

[tsa_config]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
certs = {folder}/root.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1
ordering = no
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""
