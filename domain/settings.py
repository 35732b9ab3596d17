"""Configuration: what `liuhen.toml` and `LIUHEN_…` variables may say. Pure; the command line reads the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from domain.errors import InvalidSettings

ENV_PREFIX = "LIUHEN_"

Positive = Annotated[float, Meta(gt=0)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set. Every key is overridden by `LIUHEN_` + its name in capitals.

    Attributes:
        bus: `embedded:DIR` or `kafka://host:port[,host:port…]`.
        store: `file:DIR` or `s3://KEY_ID@host:port/bucket?tls=0`.
        store_secret: Secret key of the object store; by environment only.
        store_secret_file: File that holds it.
        catalog: SQLAlchemy address: `sqlite:///FILE` or `postgresql+psycopg://…`.
        policy: Policy of recorders that name none.
        recorders: TOML file of registrations (`[[recorder]]`) that are published at start; none where empty.
        http: `host:port` of this process's HTTP service (console, WHIP, API, metrics); port 0 takes a free one.
        spool: Directory for fragments that the log has not acknowledged.
        spool_max_bytes: Most that may wait there.
        work: Directory for segments being gathered.
        worker_id: Name of this process in the fleet; its host name where empty.
        public_url: How devices reach this process, for `Location`; relative where empty.
        ice_hosts: Addresses to offer for WebRTC, comma-separated; all of the machine's where empty.
        whip_max_sessions: WHIP sessions one process takes before it answers 503.
        whip_silent_s: Without a packet for so long, a WHIP peer is taken for gone.
        whip_linger_s: How long a session that media alone has opened waits for a recorder that lost its connection.
        fragment_max_s: Longest fragment, seconds.
        fragment_max_bytes: Fragment size at which one is cut, bytes.
        segment_s: Length of a segment on the clock, seconds; must divide an hour.
        partitions: Partitions of a topic that does not exist yet.
        stall_after_s: Silence after the end of the last fragment that is a stall.
        stall_after_open_s: Silence after opening, resuming or registering that is a stall.
        lateness_s: How far out of order events may stand.
        gap_min_s: Missing media shorter than this is no gap.
    """

    bus: str = "embedded:data/log"
    store: str = "file:data/store"
    store_secret: str = ""
    store_secret_file: str = ""
    catalog: str = "sqlite:///data/catalog.db"
    policy: str = "wucheng"
    recorders: str = ""
    http: str = "127.0.0.1:8600"
    spool: str = "data/spool"
    spool_max_bytes: Annotated[int, Meta(ge=16_000_000)] = 20_000_000_000
    work: str = "data/work"
    worker_id: str = ""
    public_url: str = ""
    ice_hosts: str = ""
    whip_max_sessions: Annotated[int, Meta(ge=1, le=10_000)] = 64
    whip_silent_s: Positive = 10.0
    whip_linger_s: Positive = 60.0
    fragment_max_s: Annotated[float, Meta(ge=0.5, le=4)] = 4.0
    fragment_max_bytes: Annotated[int, Meta(ge=65_536, le=4_000_000)] = 1_000_000
    segment_s: Annotated[int, Meta(ge=4, le=3600)] = 60
    partitions: Annotated[int, Meta(ge=1, le=1000)] = 8
    stall_after_s: Positive = 5.0
    stall_after_open_s: Positive = 10.0
    lateness_s: Positive = 10.0
    gap_min_s: Positive = 1.0


def parse(table: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """Make settings from a parsed TOML table and the environment, which wins.

    Raises:
        InvalidSettings: An unknown key, or a value of a wrong type or out of range; names the key.
    """
    known = {field.name for field in msgspec.structs.fields(Settings)}
    merged: dict[str, Any] = dict(table)
    for name, value in environment.items():
        key = name.removeprefix(ENV_PREFIX).lower()
        if not name.startswith(ENV_PREFIX) or name in _NOT_SETTINGS:
            continue
        if key not in known:
            msg = f"{name}: no such setting"
            raise InvalidSettings(msg, name)
        merged[key] = value
    if "store_secret" in table:
        msg = "store_secret: not in a file that is shown around; use LIUHEN_STORE_SECRET or store_secret_file"
        raise InvalidSettings(msg, "store_secret")
    try:
        settings = msgspec.convert(merged, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidSettings(str(error)) from error
    if 3600 % settings.segment_s:
        msg = f"segment_s: {settings.segment_s} does not divide an hour"
        raise InvalidSettings(msg, "segment_s")
    return settings


_NOT_SETTINGS = frozenset({"LIUHEN_CACHE", "LIUHEN_CONFIG"})


def embedded_dir(address: str, scheme: str) -> Path | None:
    """Return the directory of an `embedded:DIR` or `file:DIR` address, None where it is another kind."""
    prefix = scheme + ":"
    return Path(address[len(prefix) :]) if address.startswith(prefix) else None
