"""rtsps: who the camera must be. Either its certificate is valid, or it is the very one that was registered."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ssl

from domain.errors import NotAuthorized


def context(*, verify: bool, pinned: bool) -> ssl.SSLContext:
    """Return how to speak TLS with a camera.

    Args:
        verify: Issuer, name and dates of its certificate must be right.
        pinned: They need not, for `check_pin` follows.
    """
    made = ssl.create_default_context()
    if pinned or not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def check_pin(transport: asyncio.BaseTransport, sha256: str, shown: str) -> None:
    """Compare the certificate of a connection with the registered one, before anything is said on it.

    Args:
        transport: The connection, its handshake done.
        sha256: Hex digits of SHA-256 of the certificate (DER); colons between octets and capitals are allowed.
        shown: What to call the camera.

    Raises:
        NotAuthorized: It is another certificate, or there is none; names what was shown.
    """
    tls = transport.get_extra_info("ssl_object")
    certificate: bytes | None = tls.getpeercert(binary_form=True) if tls is not None else None
    found = hashlib.sha256(certificate).hexdigest() if certificate is not None else ""
    if hmac.compare_digest(found, sha256.replace(":", "").lower()):
        return
    what = f"a certificate with SHA-256 {found}" if found else "no certificate"
    msg = f"{shown} has {what}, which is not the registered one"
    raise NotAuthorized(msg)
