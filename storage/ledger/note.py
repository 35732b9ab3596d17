"""Signed notes (C2SP signed-note): a text, and under it one line for each signature.

Verification needs a public key and nothing else. A signature line from a key that one does not know is passed over, so
a note may carry more than one: an SM2 signature (GB/T 32918) would stand beside the Ed25519 one, under signature type
0xff with a longer identifier, and everything that knows only Ed25519 goes on working.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from domain.errors import IntegrityError, InvalidInput

ED25519 = 0x01
"""Signature type of Ed25519 (RFC 8032) in the specification."""

MAX_NOTE_BYTES = 65_536
_KEY_ID_BYTES = 4
_PUBLIC_BYTES = 32
_NAME = re.compile(r"[^\s+]+")
_SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/=]+)")


class VerifierKey(msgspec.Struct, frozen=True):
    """Who may have signed.

    Attributes:
        name: Of the key; for a log, its origin.
        public: The public key's 32 bytes.
    """

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes that lead a signature."""
        typed = bytes([ED25519]) + self.public
        return hashlib.sha256(self.name.encode() + b"\n" + typed).digest()[:_KEY_ID_BYTES]

    def __str__(self) -> str:
        typed = bytes([ED25519]) + self.public
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(typed).decode()}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read `name+key id+base64(type and key)`, as `str()` writes it.

        Raises:
            InvalidInput: It is no such key, or of a signature type that this program does not know.
        """
        name, _, rest = text.strip().partition("+")
        key_id, _, typed = rest.partition("+")
        try:
            data = base64.b64decode(typed, validate=True)
        except binascii.Error as error:
            msg = f"key: {text!r} is not name+id+base64"
            raise InvalidInput(msg, "key") from error
        if data[:1] != bytes([ED25519]) or len(data) != 1 + _PUBLIC_BYTES:
            msg = f"key: {text!r} is no Ed25519 key"
            raise InvalidInput(msg, "key")
        key = cls(check_name(name), data[1:])
        if key.key_id.hex() != key_id:
            msg = f"key: {text!r} has an id that does not belong to it"
            raise InvalidInput(msg, "key")
        return key

    def verifies(self, text: bytes, signature: bytes) -> bool:
        """Tell whether a signature over a text is this key's."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A private key and the name it signs by."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self.verifier = VerifierKey(check_name(name), private.public_key().public_bytes_raw())
        self._private = private

    def sign(self, text: str) -> str:
        """Return the signed note of a text that ends in a line feed."""
        signature = self.verifier.key_id + self._private.sign(text.encode())
        return f"{text}\n— {self.verifier.name} {base64.b64encode(signature).decode()}\n"


def open_note(note: str, keys: Iterable[VerifierKey]) -> str:
    """Return the text of a note that one of these keys has signed.

    Raises:
        IntegrityError: It is no note, nobody known has signed it, or a signature of a known key is wrong.
    """
    text, signatures = _split(note)
    known = {(key.name, key.key_id): key for key in keys}
    good = 0
    for name, signature in signatures:
        key = known.get((name, signature[:_KEY_ID_BYTES]))
        if key is None:
            continue
        if not key.verifies(text.encode(), signature[_KEY_ID_BYTES:]):
            msg = f"note: the signature of {name} is not of this text"
            raise IntegrityError(msg)
        good += 1
    if not good:
        msg = f"note: not signed by {', '.join(sorted({name for name, _ in known})) or 'anybody known'}"
        raise IntegrityError(msg)
    return text


def check_name(name: str) -> str:
    """Return a key's name unchanged.

    Raises:
        InvalidInput: Empty, or with a space or a plus sign.
    """
    if not _NAME.fullmatch(name):
        msg = f"name: {name!r} must be text without spaces and plus signs"
        raise InvalidInput(msg, "name")
    return name


def _split(note: str) -> tuple[str, Sequence[tuple[str, bytes]]]:
    text, gap, rest = note.rpartition("\n\n")
    if not gap or not rest.endswith("\n") or len(note) > MAX_NOTE_BYTES:
        msg = "note: no text with signatures under it"
        raise IntegrityError(msg)
    signatures = []
    for line in rest.removesuffix("\n").split("\n"):
        found = _SIGNATURE.fullmatch(line)
        try:
            data = base64.b64decode(found[2], validate=True) if found else b""
        except binascii.Error:
            data = b""
        if found is None or len(data) <= _KEY_ID_BYTES or base64.b64encode(data).decode() != found[2]:
            msg = "note: a line that is no signature"
            raise IntegrityError(msg)
        signatures.append((found[1], data))
    return f"{text}\n", signatures
