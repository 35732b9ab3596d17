"""rtsps against GStreamer's server with a certificate that it signed itself: known by its digest, or not at all."""

import asyncio
import contextlib
import datetime
import hashlib
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from domain.errors import NotAuthorized, Unavailable
from streams.ingest.rtsp.client import run
from streams.ingest.rtsp.options import RtspOptions
from tests.services.gstreamer import GstRtspServer
from tests.services.samples import Samples
from tests.streams.memory_ingest import MemoryFeed

ServerFactory = Callable[..., GstRtspServer]


def self_signed(path: Path) -> str:
    """Write a certificate and its key, over since yesterday and of another name, as cameras have; its SHA-256."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "IPCamera")])
    now = datetime.datetime.now(tz=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=9))
        .not_valid_after(now - datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


class Site:
    def __init__(self, server: GstRtspServer, sha256: str) -> None:
        self.server = server
        self.sha256 = sha256
        user, password = quote(server.username, safe=""), quote(server.password, safe="")
        self.url = server.url("/small").replace("://", f"://{user}:{password}@")

    async def pull(self, sha256: str | None) -> MemoryFeed:
        """Pull until pictures have come, or fail as the client fails."""
        feed = MemoryFeed("f", "cam-1", "s")
        pulling = asyncio.create_task(run(self.url, feed, RtspOptions(tls_sha256=sha256)))
        try:
            async with asyncio.timeout(20):
                while len(feed.units) < 40 and not pulling.done():  # noqa: ASYNC110 - polls the feed
                    await asyncio.sleep(0.02)
        finally:
            pulling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pulling
        return feed


@pytest.fixture
def site(tmp_path: Path, samples: Samples, gst_rtsp_factory: ServerFactory) -> Site:
    sha256 = self_signed(tmp_path / "camera.pem")
    server = gst_rtsp_factory({"/small": samples.get("small").pipeline()}, tls=tmp_path / "camera.pem")
    return Site(server, sha256)


async def test_a_camera_known_by_its_certificate_is_pulled(site: Site) -> None:
    feed = await site.pull(site.sha256)
    assert len(feed.units) >= 40
    octets = [site.sha256[at : at + 2].upper() for at in range(0, 64, 2)]
    assert len((await site.pull(":".join(octets))).units) >= 40, "as OpenSSL writes it"


async def test_another_certificate_is_refused(site: Site) -> None:
    with pytest.raises(NotAuthorized, match=site.sha256) as refused:
        await site.pull("0" * 64)
    assert site.server.password not in str(refused.value)


async def test_to_another_certificate_not_a_word_is_said(tmp_path: Path) -> None:
    self_signed(tmp_path / "other.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "other.pem")
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        options = RtspOptions(tls_sha256="0" * 64)
        with pytest.raises(NotAuthorized):
            await run(f"rtsps://officer:secret@127.0.0.1:{port}/", MemoryFeed("f", "cam-1", "s"), options)
        async with asyncio.timeout(10):
            while not heard:  # noqa: ASYNC110 - the server sees the connection close
                await asyncio.sleep(0.01)
    assert heard == [b""]


async def test_without_its_digest_a_certificate_must_be_valid(site: Site) -> None:
    with pytest.raises(Unavailable, match="certificate verify failed"):
        await site.pull(None)


async def test_a_digest_says_that_it_must_be_rtsps(site: Site) -> None:
    site.url = site.url.replace("rtsps://", "rtsp://")
    with pytest.raises(NotAuthorized, match="rtsps"):
        await site.pull(site.sha256)
