"""The S3 client library, and the only place that knows its exceptions.

The library's own `put_object` can neither create only nor leave the hashing to what is known already, and reads the
whole body into memory. So the PUT is signed with the library's signer and sent here, the file mapped into memory and
handed to the socket, its known SHA-256 in the signature and as the stored checksum: the server checks the bytes twice.
"""

from __future__ import annotations

import base64
import binascii
import mmap
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import certifi
import urllib3
from minio import Minio
from minio.commonconfig import COMPLIANCE, Tags
from minio.credentials.credentials import Credentials
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from minio.helpers import BaseURL, genheaders
from minio.retention import Retention
from minio.signer import sign_v4_s3
from minio.time import to_amz_date, utcnow
from urllib3.response import BaseHTTPResponse

from domain.clock import Instant
from domain.errors import LiuhenError, NotAuthorized, StoreUnavailable, StoreUnfit
from storage.objects.port import SourceDamaged

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30
"""Between two pieces of an answer: an erasure-coded server may think for seconds before it acknowledges a PUT."""
CONNECTIONS = 8

_DAMAGED = frozenset(
    {"XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "BadDigest", "IncompleteBody", "InvalidDigest"}
)
_FORBIDDEN = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AllAccessDisabled"})
_UNFIT = frozenset({"NoSuchBucket", "InvalidRequest", "MethodNotAllowed", "NotImplemented", "InvalidBucketName"})


class PreconditionFailed(LiuhenError):
    """An object stands under the key already."""


class S3Client:
    """A bucket's client: the library's, and a PUT of our own.

    Args:
        endpoint: `host:port`.
        bucket: Name of the bucket.
        key_id: Access key.
        secret: Secret key.
        tls: HTTPS.
        region: As the signature needs it.
    """

    def __init__(self, endpoint: str, bucket: str, key_id: str, secret: str, *, tls: bool, region: str) -> None:
        self.bucket = bucket
        self._region = region
        self._credentials = Credentials(key_id, secret)
        self._url = BaseURL(f"{'https' if tls else 'http'}://{endpoint}", region)
        # No retries here: who asks decides, and a repeated PUT must be told from a first one.
        self._http = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
            maxsize=CONNECTIONS,
            retries=False,
            cert_reqs="CERT_REQUIRED",
            ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
        )
        self.library = Minio(
            endpoint, access_key=key_id, secret_key=secret, secure=tls, region=region, http_client=self._http
        )

    def create(
        self,
        key: str,
        source: Path | bytes,
        *,
        sha256: str,
        retain_until: Instant,
        tags: Mapping[str, str],
        metadata: Mapping[str, str],
        content_type: str,
    ) -> str:
        """PUT with `If-None-Match: *`; returns the version id, empty where the server names none.

        Raises:
            PreconditionFailed: The key is taken.
        """
        headers = {
            **_lock_headers(retain_until, tags, metadata),
            "Content-Type": content_type,
            "If-None-Match": "*",
            "x-amz-checksum-sha256": base64.b64encode(bytes.fromhex(sha256)).decode(),
        }
        with _mapped(source) as body:
            answer = self._signed_put(key, body, headers, sha256)
        if answer.status == 412:
            raise PreconditionFailed(key)
        if answer.status != 200:
            raise _error(answer)
        version: str = answer.headers.get("x-amz-version-id", "")
        return version

    def close(self) -> None:
        """Close every connection."""
        self._http.clear()

    def _signed_put(self, key: str, body: memoryview | bytes, headers: dict[str, str], sha256: str) -> BaseHTTPResponse:
        url = self._url.build(method="PUT", region=self._region, bucket_name=self.bucket, object_name=key)
        date = utcnow()
        signed = sign_v4_s3(
            method="PUT",
            url=url,
            region=self._region,
            headers={
                **headers,
                "Host": url.netloc,
                "Content-Length": str(len(body)),
                "x-amz-content-sha256": sha256,
                "x-amz-date": to_amz_date(date),
            },
            credentials=self._credentials,
            content_sha256=sha256,
            date=date,
        )
        return self._http.urlopen("PUT", urlunsplit(url), body=body, headers=signed, redirect=False)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the library's errors into ours.

    Raises:
        StoreUnavailable: No answer, or one that says "later".
        SourceDamaged: The server got other bytes than were announced.
        NotAuthorized: Wrong credentials, or they may not do this.
        StoreUnfit: The bucket is missing, or it cannot do this.
    """
    try:
        yield
    except S3Error as error:
        raise _of_code(what, error.code or "", f"{error.code}: {error.message}") from error
    except (ServerError, InvalidResponseError) as error:
        msg = f"{what}: {error}"
        raise StoreUnavailable(msg) from error
    except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
        msg = f"{what}: {type(error).__name__}: {error}"
        raise StoreUnavailable(msg) from error


def checksum_hex(value: str | None) -> str | None:
    """Convert an `x-amz-checksum-sha256` header to hex; None where it is absent or of several parts."""
    try:
        raw = base64.b64decode(value or "", validate=True)
    except binascii.Error:
        return None
    return raw.hex() if len(raw) == 32 else None


def check_endpoint(endpoint: str) -> bool:
    """Tell whether this is `host` or `host:port`."""
    try:
        parts = urlsplit(f"//{endpoint}")
        return bool(parts.hostname) and parts.port != 0 and not parts.path
    except ValueError:
        return False


def object_tags(tags: Mapping[str, str]) -> Tags:
    """Return tags as the library takes them."""
    labels = Tags.new_object_tags()
    for name, value in tags.items():
        labels[name] = value
    return labels


def _of_code(what: str, code: str, text: str) -> LiuhenError:
    kind: type[LiuhenError] = StoreUnavailable
    if code == "InvalidRequest" and "future" in text:
        return StoreUnavailable(f"{what}: {text}; do the clocks differ?")
    if code in _DAMAGED:
        kind = SourceDamaged
    elif code in _FORBIDDEN:
        kind = NotAuthorized
    elif code in _UNFIT:
        kind = StoreUnfit
    return kind(f"{what}: {text}")


def _error(answer: BaseHTTPResponse) -> MinioException:
    if "application/xml" in (answer.headers.get("content-type") or "") and answer.data:
        return S3Error.fromxml(answer)
    return InvalidResponseError(answer.status, answer.headers.get("content-type"), None)


def _lock_headers(retain_until: Instant, tags: Mapping[str, str], metadata: Mapping[str, str]) -> dict[str, str]:
    lock = Retention(COMPLIANCE, retain_until.datetime())
    headers = genheaders(dict(metadata), None, object_tags(tags), lock, False)
    return {name: value if isinstance(value, str) else ",".join(value) for name, value in headers.items()}


@contextmanager
def _mapped(source: Path | bytes) -> Iterator[memoryview | bytes]:
    if isinstance(source, bytes) or not source.stat().st_size:
        yield source if isinstance(source, bytes) else b""
        return
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        data.madvise(mmap.MADV_SEQUENTIAL)
        with memoryview(data) as view:
            yield view
