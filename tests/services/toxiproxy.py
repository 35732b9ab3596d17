"""A real Toxiproxy: cuts, slows and limits TCP connections on demand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.services.cache import cached, pinned
from tests.services.process import Server, free_port


class Proxy:
    """One proxied port. The stream "downstream" is what the client receives, "upstream" what it sends."""

    def __init__(self, api: httpx.Client, name: str, listen: str) -> None:
        self._api = api
        self._path = f"/proxies/{name}"
        self.address = listen

    def disable(self) -> None:
        """Closes every connection and refuses new ones."""
        self._post(self._path, enabled=False)

    def enable(self) -> None:
        """Listens again."""
        self._post(self._path, enabled=True)

    def latency(self, latency_ms: int, jitter_ms: int = 0, stream: str = "downstream") -> None:
        """Delays the data."""
        self._toxic("latency", stream, latency=latency_ms, jitter=jitter_ms)

    def black_hole(self, stream: str = "downstream") -> None:
        """Swallows the data and keeps the connection open: a peer that answers nothing."""
        self._toxic("timeout", stream, timeout=0)

    def cut_after(self, limit_bytes: int, stream: str = "downstream") -> None:
        """Closes each connection once that much has passed."""
        self._toxic("limit_data", stream, bytes=limit_bytes)

    def bandwidth(self, rate_kbytes_s: int, stream: str = "downstream") -> None:
        """Limits the rate, in kB/s."""
        self._toxic("bandwidth", stream, rate=rate_kbytes_s)

    def heal(self) -> None:
        """Takes every toxic off and listens."""
        for toxic in self._api.get(f"{self._path}/toxics").raise_for_status().json():
            self._api.delete(f"{self._path}/toxics/{toxic['name']}").raise_for_status()
        self.enable()

    def remove(self) -> None:
        """Ends the proxy."""
        self._api.delete(self._path).raise_for_status()

    def _toxic(self, kind: str, stream: str, **attributes: int) -> None:
        self._post(f"{self._path}/toxics", type=kind, stream=stream, name=f"{kind}-{stream}", attributes=attributes)

    def _post(self, path: str, **body: Any) -> None:
        self._api.post(path, json=body).raise_for_status()


class ToxiproxyServer(Server):
    """One Toxiproxy and its HTTP interface."""

    name = "toxiproxy"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._port = free_port()
        self._api = httpx.Client(base_url=f"http://127.0.0.1:{self._port}", timeout=10)

    def add(self, name: str, upstream: str, listen: str | None = None) -> Proxy:
        """A new proxy to `upstream` (`host:port`), on `listen` or on a free port: see `Proxy.address`."""
        address = listen or f"127.0.0.1:{free_port()}"
        body = {"name": name, "listen": address, "upstream": upstream, "enabled": True}
        self._api.post("/proxies", json=body).raise_for_status()
        return Proxy(self._api, name, address)

    def command(self) -> Sequence[str]:
        binary = cached("Toxiproxy", f"bin/toxiproxy-{pinned('TOXIPROXY_VERSION')}")
        return [str(binary), "-host", "127.0.0.1", "-port", str(self._port)]

    def is_ready(self) -> bool:
        try:
            return self._api.get("/version").is_success
        except httpx.TransportError:
            return False
