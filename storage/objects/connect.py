"""Object stores by their address in the configuration."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

from domain.errors import InvalidSettings
from domain.settings import Settings
from storage.objects.file import FileStore
from storage.objects.port import BlockingStore, ObjectStore
from storage.objects.s3 import S3Store
from storage.objects.s3_wire import S3Client, check_endpoint
from storage.secrets import read_secret, split_secret_file

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SWITCH = {"0": False, "1": True}


def connect(settings: Settings) -> ObjectStore:
    """Make the store of `settings.store`; nothing is asked of it yet.

    `file:DIR[?immutable=1]`, or `s3://KEY_ID@host:port/bucket[?tls=0][&region=NAME]` with the secret in
    `store_secret` or in the file `store_secret_file`.

    Raises:
        InvalidSettings: The address is of no known form, or the secret is missing.
    """
    return ObjectStore(_blocking(settings))


def connect_second(address: str, settings: Settings, setting: str) -> ObjectStore:
    """Make another store than `settings.store`, as `setting` names it; nothing is asked of it yet.

    Args:
        address: As in `connect`, and of S3 with `secret_file=FILE` among its options; without it, the secret is the
            first store's.
        settings: For that secret.
        setting: For messages.

    Raises:
        InvalidSettings: As for `connect`; names `setting`.
    """
    store, file = split_secret_file(address)
    changed = msgspec.structs.replace(settings, store=store)
    if file:
        changed = msgspec.structs.replace(changed, store_secret="", store_secret_file=file)
    try:
        return connect(changed)
    except InvalidSettings as error:
        msg = f"{setting}: {error}"
        raise InvalidSettings(msg, setting) from error


def _blocking(settings: Settings) -> BlockingStore:
    url = urlsplit(settings.store)
    if url.scheme == "file" and not url.netloc and url.path:
        options = _options(url, {"immutable": "0"})
        return FileStore(Path(unquote(url.path)), immutable=_switch(options, "immutable"))
    if url.scheme == "s3":
        return _s3(settings, url)
    msg = "store: use file:DIR or s3://KEY_ID@host:port/bucket?tls=0"
    raise InvalidSettings(msg, "store")


def _s3(settings: Settings, url: SplitResult) -> S3Store:
    options = _options(url, {"tls": "1", "region": "us-east-1"})
    key_id, at, endpoint = url.netloc.rpartition("@")
    bucket = url.path.strip("/")
    if ":" in key_id:
        msg = "store: no secret in the address; use LIUHEN_STORE_SECRET or store_secret_file"
        raise InvalidSettings(msg, "store")
    if not at or not key_id or not _BUCKET.fullmatch(bucket) or not check_endpoint(endpoint):
        msg = "store: an S3 address is s3://KEY_ID@host:port/bucket?tls=0"
        raise InvalidSettings(msg, "store")
    tls = _switch(options, "tls")
    client = S3Client(endpoint, bucket, unquote(key_id), _secret(settings), tls=tls, region=options["region"])
    return S3Store(client)


def _secret(settings: Settings) -> str:
    if settings.store_secret:
        return settings.store_secret
    if not settings.store_secret_file:
        msg = "store: its secret key is missing; set LIUHEN_STORE_SECRET or store_secret_file"
        raise InvalidSettings(msg, "store_secret")
    return read_secret(settings.store_secret_file, "store_secret_file")


def _options(url: SplitResult, defaults: dict[str, str]) -> dict[str, str]:
    given = dict(parse_qsl(url.query, keep_blank_values=True))
    unknown = given.keys() - defaults.keys()
    if unknown:
        msg = f"store: no such option: {', '.join(sorted(unknown))}"
        raise InvalidSettings(msg, "store")
    return defaults | given


def _switch(options: dict[str, str], name: str) -> bool:
    if options[name] not in _SWITCH:
        msg = f"store: {name} is 0 or 1"
        raise InvalidSettings(msg, "store")
    return _SWITCH[options[name]]
