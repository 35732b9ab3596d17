"""One-time codes of six digits (TOTP, RFC 6238), and the picture that an authenticator app reads their seed from."""

from __future__ import annotations

import io

import pyotp
import segno

from domain.clock import Instant

STEP_MS = 30_000
WINDOW = 1
"""Steps that a phone's clock may be off to either side."""
ISSUER = "Liuhen"


def new_seed() -> str:
    """Return a seed of 160 random bits, base 32."""
    return pyotp.random_base32()


def step_of(seed: str, code: str, now: Instant) -> int | None:
    """Return which time step a code is of; None where it is of none near now."""
    digits = "".join(code.split())
    if not seed or not (len(digits) == 6 and digits.isascii() and digits.isdigit()):
        return None
    totp = pyotp.TOTP(seed)
    current = now // STEP_MS
    for step in range(current - WINDOW, current + WINDOW + 1):
        if pyotp.utils.strings_equal(totp.generate_otp(step), digits):
            return step
    return None


def picture(seed: str, login: str) -> bytes:
    """Return the address of a seed as a QR code, SVG."""
    address = pyotp.TOTP(seed).provisioning_uri(name=login, issuer_name=ISSUER)
    out = io.BytesIO()
    segno.make(address, error="m").save(out, kind="svg", scale=5, border=4, dark="#000", light="#fff")
    return out.getvalue()
