"""RFC 3161: a time-stamping authority signs that a checkpoint existed at a time by its clock, not ours.

The newest checkpoint is stamped; it covers every entry before it, so while the authority is away nothing piles up: when
it is back, one stamp says of all that was missed as much as could then still be said. The answer (TimeStampResp, DER)
stands beside its checkpoint in the ledger and, as `ledger/timestamps/<size>.tsr`, locked in the evidence store.
"""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

import httpx
from cryptography.x509 import Certificate, load_pem_x509_certificates
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerifierBuilder,
    decode_timestamp_response,
)
from rfc3161_client.tsp import PKIStatus, TimeStampResponse

from domain.clock import Clock, Instant
from domain.errors import IntegrityError, InvalidSettings, LedgerUnavailable, LiuhenError
from storage.ledger.der import with_certificates_in_order
from storage.ledger.ledger import Ledger
from storage.ledger.statements import Checkpoint
from storage.objects.port import ObjectStore
from storage.secrets import read_secret, split_secret_file

PREFIX = "ledger/timestamps/"
TIMEOUT_S = 20.0
_MAX_ANSWER_BYTES = 262_144
_SHA256 = "2.16.840.1.101.3.4.2.1"


class Authority:
    """A time-stamping authority on HTTP (RFC 3161 §3.4).

    Args:
        url: Where it is, `https://host/path`; where it asks who we are, `https://user@host/path?secret_file=FILE` with
            the password in that file.
        certificates: PEM file of the root certificates (and intermediate ones) that its own leads to; where empty, the
            signature of its answers is left for a checker that has them.

    Raises:
        InvalidSettings: A file cannot be read, or a password stands in the address.
    """

    def __init__(self, url: str, certificates: str = "") -> None:
        self._url, login = _login(url)
        self._roots = load_roots(certificates) if certificates else []
        self._client = httpx.AsyncClient(timeout=TIMEOUT_S, verify=ssl.create_default_context(), auth=login)

    async def stamp(self, data: bytes) -> bytes:
        """Return the authority's answer (TimeStampResp, DER) about the SHA-256 of some bytes.

        Raises:
            LedgerUnavailable: No answer, or it would not now.
            IntegrityError: It answered about something else, or the signature is not its own.
        """
        request = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256).build()
        answer = await self._ask(request.as_bytes())
        response = _decode(answer)
        if response.status not in {PKIStatus.GRANTED, PKIStatus.GRANTED_WITH_MODS}:
            msg = f"tsa_url: refused: {response.status} {' '.join(response.status_string)}"
            raise LedgerUnavailable(msg)
        if response.tst_info.nonce != request.nonce:
            msg = "timestamp: not the answer to what was asked"
            raise IntegrityError(msg)
        check(answer, data, self._roots)
        return answer

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()

    async def _ask(self, request: bytes) -> bytes:
        try:
            answer = await self._client.post(
                self._url, content=request, headers={"Content-Type": "application/timestamp-query"}
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            msg = f"tsa_url: {type(error).__name__}: {error}"
            raise LedgerUnavailable(msg) from error
        kind = answer.headers.get("Content-Type", "").partition(";")[0]
        if not answer.is_success or kind != "application/timestamp-reply" or len(answer.content) > _MAX_ANSWER_BYTES:
            msg = f"tsa_url: answered {answer.status_code} {kind}"
            raise LedgerUnavailable(msg)
        return answer.content


def _login(address: str) -> tuple[httpx.URL, httpx.BasicAuth | None]:
    """Take user and password out of an address."""
    address, file = split_secret_file(address)
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL as error:
        msg = f"tsa_url: {error}"
        raise InvalidSettings(msg, "tsa_url") from error
    if url.password or (file and not url.username):
        msg = "tsa_url: an authority that asks for a password is https://user@host/path?secret_file=FILE"
        raise InvalidSettings(msg, "tsa_url")
    login = httpx.BasicAuth(url.username, read_secret(file, "tsa_url")) if file else None
    return url.copy_with(username=None, password=None), login


class Stamper:
    """Has the newest checkpoint stamped.

    Args:
        ledger: Whose checkpoint.
        authority: By whom.
        store: Where the stamp is kept too.
        lock_ms: For how long.
        clock: For the lock's end.
    """

    def __init__(self, ledger: Ledger, authority: Authority, store: ObjectStore, lock_ms: int, clock: Clock) -> None:
        self._ledger = ledger
        self._authority = authority
        self._store = store
        self._lock_ms = lock_ms
        self._clock = clock
        self.trouble = ""

    async def run(self) -> None:
        """Stamp the newest checkpoint if it is not; a failure is told in `trouble` and tried again next time."""
        newest = await self._ledger.latest_checkpoint()
        if newest is None or newest.timestamp is not None:
            return
        try:
            token = await self._authority.stamp(newest.note.encode())
            await self._keep(newest, token)
        except LiuhenError as error:
            self.trouble = str(error)
        else:
            self.trouble = ""

    async def close(self) -> None:
        """Let go of the authority."""
        await self._authority.close()

    async def _keep(self, checkpoint: Checkpoint, token: bytes) -> None:
        """Keep it in the store, then in the ledger; where two processes stamped one checkpoint, the store's stands."""
        key = f"{PREFIX}{checkpoint.size:012}.tsr"
        try:
            await self._store.put(
                key,
                token,
                sha256=hashlib.sha256(token).hexdigest(),
                retain_until=self._clock.now().plus(self._lock_ms),
                tags={"retention": "ledger"},
                metadata={},
                content_type="application/timestamp-reply",
            )
        except IntegrityError:
            token = await self._store.get(key, (await self._store.versions(key))[0].version_id)
            check(token, checkpoint.note.encode(), [])
        await self._ledger.set_timestamp(checkpoint.size, token)


def check(token: bytes, data: bytes, roots: list[Certificate]) -> Instant:
    """Return the time in a stamp over some bytes.

    Args:
        token: TimeStampResp, DER.
        data: What was stamped.
        roots: Root and intermediate certificates; where there are none, the signature is not checked.

    Raises:
        IntegrityError: It is no stamp, of something else, or not signed by an authority under these roots.
    """
    response = _decode(token)
    imprint = response.tst_info.message_imprint
    if imprint.hash_algorithm.dotted_string != _SHA256 or imprint.message != hashlib.sha256(data).digest():
        msg = "timestamp: of something else"
        raise IntegrityError(msg)
    if roots:
        _check_signature(response, data, roots)
    return Instant.of(response.tst_info.gen_time)


def load_roots(path: str) -> list[Certificate]:
    """Read the certificates of a PEM file.

    Raises:
        InvalidSettings: It cannot be read, or holds none.
    """
    try:
        return load_pem_x509_certificates(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        msg = f"tsa_certificates: {path}: {error}"
        raise InvalidSettings(msg, "tsa_certificates") from error


def _check_signature(response: TimeStampResponse, data: bytes, certificates: list[Certificate]) -> None:
    roots = [one for one in certificates if one.subject == one.issuer]
    between = [one for one in certificates if one.subject != one.issuer]
    try:
        VerifierBuilder(roots=roots, intermediates=between).build().verify_message(response, data)
    except Exception as error:  # as in `_decode`
        msg = f"timestamp: {error}"
        raise IntegrityError(msg) from error


def _decode(token: bytes) -> TimeStampResponse:
    try:
        response = decode_timestamp_response(with_certificates_in_order(token))
        if PKIStatus(response.status) in {PKIStatus.GRANTED, PKIStatus.GRANTED_WITH_MODS}:
            response.tst_info.gen_time  # noqa: B018 - it is read where it is asked for, and may be rubbish
    except Exception as error:  # whatever it stumbles over in bytes that somebody else has made
        msg = f"timestamp: cannot be read: {error}"
        raise IntegrityError(msg) from error
    return response
