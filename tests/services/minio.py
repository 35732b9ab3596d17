"""A real S3 server: MinIO on one directory."""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
from minio import Minio

from tests.services.cache import cached, pinned
from tests.services.process import Server, free_port


class MinioServer(Server):
    """One MinIO with random root credentials; buckets are made by whoever needs them."""

    name = "minio"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port = free_port()
        self._console_port = free_port()
        self.access_key = f"root-{secrets.token_hex(4)}"
        self.secret_key = secrets.token_urlsafe(24)

    @property
    def endpoint(self) -> str:
        """`host:port`, plain HTTP."""
        return f"127.0.0.1:{self.port}"

    def client(self, endpoint: str | None = None) -> Minio:
        """A client as root; `endpoint` to go through a proxy."""
        return Minio(endpoint or self.endpoint, access_key=self.access_key, secret_key=self.secret_key, secure=False)

    def command(self) -> Sequence[str]:
        binary = cached("MinIO", f"bin/minio-{pinned('MINIO_VERSION')}")
        console = f"127.0.0.1:{self._console_port}"
        data = str(self.directory / "data")
        return [str(binary), "server", "--address", self.endpoint, "--console-address", console, data]

    def environment(self) -> Mapping[str, str]:
        return {
            "MINIO_ROOT_USER": self.access_key,
            "MINIO_ROOT_PASSWORD": self.secret_key,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "MINIO_CALLHOME_ENABLE": "off",
            "MINIO_CI_CD": "1",  # lets it keep its data on the root disk, as a test must
        }

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"http://{self.endpoint}/minio/health/ready", timeout=2).is_success
        except httpx.TransportError:
            return False
