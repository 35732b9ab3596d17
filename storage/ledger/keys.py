"""The key that signs checkpoints, in a file that nobody else may read, and the public keys beside it.

`FILE` holds the private key (PKCS #8, PEM), `FILE.pub` one line for each public key that has ever been in use: it is
what a checker needs, and how a ledger lives on when its key is changed. A new key is made where there is none.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from domain.errors import InvalidInput, InvalidSettings
from storage.ledger.note import SigningKey, VerifierKey, check_name
from storage.objects.disk import make_folder, sync_folder

SETTING = "ledger_key_file"


class Keys(msgspec.Struct, frozen=True):
    """Who signs, and who may have signed.

    Attributes:
        signer: Signs new checkpoints.
        trusted: Have signed those that there are: the signer's and its predecessors'.
    """

    signer: SigningKey
    trusted: list[VerifierKey]


def load_keys(path: Path, name: str) -> Keys:
    """Load the key, or make it where there is none, and note its public key.

    Args:
        path: Of the private key.
        name: What it signs by: the ledger's origin.

    Raises:
        InvalidSettings: No key, one that others may read, or a name that cannot be one.
    """
    try:
        check_name(name)
    except InvalidInput as error:
        msg = f"ledger_origin: {name!r} must be text without spaces and plus signs"
        raise InvalidSettings(msg, "ledger_origin") from error
    try:
        if not path.exists():
            _create(path)
        signer = SigningKey(name, _read(path))
        trusted = trusted_keys(path) if _public(path).exists() else []
        if signer.verifier not in trusted:
            trusted.append(signer.verifier)
            _write(_public(path), "".join(f"{key}\n" for key in trusted).encode(), 0o644, replace=True)
    except OSError as error:
        msg = f"{SETTING}: {error}"
        raise InvalidSettings(msg, SETTING) from error
    return Keys(signer, trusted)


def trusted_keys(path: Path) -> list[VerifierKey]:
    """Read the public keys beside a private key, which need not be there.

    Raises:
        InvalidSettings: There are none, or they cannot be read.
    """
    try:
        lines = _public(path).read_text(encoding="utf-8").splitlines()
        return [VerifierKey.parse(line) for line in lines if line.strip()]
    except (OSError, UnicodeDecodeError, InvalidInput) as error:
        msg = f"{SETTING}: {_public(path)}: {error}"
        raise InvalidSettings(msg, SETTING) from error


def _public(path: Path) -> Path:
    return path.with_name(f"{path.name}.pub")


def _read(path: Path) -> Ed25519PrivateKey:
    if path.stat().st_mode & 0o007:
        msg = f"{SETTING}: {path} may be read by everybody; chmod 600 it, and change the key if anybody has"
        raise InvalidSettings(msg, SETTING)
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        msg = f"{SETTING}: {path} holds no private key: {error}"
        raise InvalidSettings(msg, SETTING) from error
    if not isinstance(key, Ed25519PrivateKey):
        msg = f"{SETTING}: {path} holds no Ed25519 key"
        raise InvalidSettings(msg, SETTING)
    return key


def _create(path: Path) -> None:
    """Make a key; where two do so at once, the first one's stands for both."""
    make_folder(path.parent)
    made = Ed25519PrivateKey.generate()
    _write(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600, replace=False)


def _write(path: Path, data: bytes, mode: int, *, replace: bool) -> None:
    """Write a whole file, durably, so that nobody ever sees a part of it."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        if replace:
            draft.replace(path)
        else:
            _link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def _link(draft: Path, path: Path) -> None:
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        return
