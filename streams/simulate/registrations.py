"""How simulated devices are registered."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import msgspec

from domain.registry import Registration, hash_token
from streams.simulate.script import Script


def with_tokens(script: Script) -> Script:
    """Give every device that has none a random bearer token."""
    devices = [msgspec.structs.replace(d, token=d.token or secrets.token_urlsafe(24)) for d in script.device]
    return msgspec.structs.replace(script, device=devices)


def registrations(script: Script, urls: Mapping[str, str]) -> list[Registration]:
    """Return the registrations of a script's devices.

    Args:
        script: With a token for every device that pushes.
        urls: RTSP address by id of the cameras.
    """
    return [
        Registration(
            recorder_id=device.id,
            kind=device.kind,
            policy=device.policy,
            site_id=device.site_id,
            unit_id=device.unit_id,
            name=device.name or None,
            url=urls.get(device.id),
            token_sha256=hash_token(device.token) if device.pushes else None,
            expects_audio=device.audio,
            continuous=not device.pushes,
        )
        for device in script.device
    ]
