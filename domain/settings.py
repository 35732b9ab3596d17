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
        catalog: SQLAlchemy address: `sqlite:///FILE` or `postgresql+psycopg://user@host/database?secret_file=FILE`, the
            password in that file.
        ledger: SQLAlchemy address of the custody ledger, which is a database of its own; as for `catalog`.
        office: Database of what people enter and decide (accounts, premises, alerts, requests): `sqlite:///FILE` or
            `postgresql+psycopg://…`. It can be made from nothing else: back it up.
        alert_ack_critical_s: How long those who are told of a critical alert have to acknowledge it before it goes to
            the next level; 0: it does not. A rule of routing may say otherwise.
        alert_ack_warning_s: The same of a warning.
        alertmanager_token_file: File with the bearer token by which Prometheus' Alertmanager may send its alerts here;
            where empty it may not.
        ledger_key_file: Private key that signs the ledger's checkpoints; made where there is none. The public keys are
            beside it in a file of the same name and `.pub`.
        ledger_origin: Name of this ledger, by which its key signs; such as `records.example.org/ledger`, without spaces
            and plus signs.
        ledger_lock_days: How long the ledger's objects in the stores are locked.
        checkpoint_s: A checkpoint is signed at least so often, while there is something new.
        checkpoint_copies: Where checkpoints go, comma-separated, at least two: `store` (the evidence store), `log` (a
            line on the process's log), `file:DIR`, `s3://KEY_ID@host:port/bucket?tls=0&secret_file=FILE`, or the
            http(s) address of a witness (C2SP tlog-witness).
        tsa_url: Time-stamping authority (RFC 3161) for checkpoints, `https://host/path`, or with a login
            `https://user@host/path?secret_file=FILE`; none where empty.
        tsa_certificates: PEM file of the root and intermediate certificates that its answers are checked against.
        verify_every_s: Pause between two checks of all evidence by the custody worker.
        verify_bytes_per_s: Most that such a check reads on average; 0 sets no limit.
        offsite: Second store, to which everything is copied: `file:DIR` or
            `s3://KEY_ID@host:port/bucket?tls=0&secret_file=FILE`; none where empty.
        policy: Policy of recorders that name none.
        policy_files: TOML files with an agency's own values, comma-separated, a later one laid over an earlier one; see
            the guide.
        calendar_files: TOML files with the holiday notices of further years, comma-separated; see the guide.
        recorders: TOML file of registrations (`[[recorder]]`) that are published at start; none where empty.
        camera_networks: Networks that cameras of sites may be in, comma-separated (`10.0.0.0/8`): whoever registers one
            has its address looked at from here, and must not learn of other networks by it.
        monitoring_review: Cameras of sites are electronic monitoring equipment (行政处罚法第四十一条): before use they
            are reviewed in law and technology, marked and published, and let into use by another person than the one
            who entered their papers.
        http: `host:port` of this process's HTTP service (console, WHIP, API, metrics); port 0 takes a free one.
        console_url: How browsers reach the console, `https://host[:port]`; taken from each request where empty. Links
            that are sent to people begin with it.
        trusted_proxies: Addresses and networks of the proxies before this process, comma-separated: what they say of a
            client (`X-Forwarded-For`, `X-Forwarded-Proto`) is believed.
        plain_http: Let people sign in over HTTP without encryption from other machines too: whoever listens on the
            network has their passwords.
        metrics_from: Addresses and networks that may read `/metrics`, comma-separated. Behind a proxy on this machine
            that is not one of `trusted_proxies` nobody may.
        session_idle_s: A browser that asks for nothing for so long is signed out. An open wall asks all the time.
        session_max_s: So long after signing in it is signed out in any case.
        second_factor: Whoever may see footage, manage accounts or read the audit needs one-time codes (TOTP) as well.
        oidc_issuer: OpenID Connect provider that people may sign in by, `https://host/path`; none where empty.
        oidc_client_id: What this console is called there.
        oidc_secret_file: File of the secret that it shows there.
        oidc_claim: Claim of the provider's that is an account's login.
        spool: Directory for fragments that the log has not acknowledged.
        spool_max_bytes: Most that may wait there.
        work: Directory for segments being gathered. The console keeps views of delivered files there, 10 GiB at most.
        uploads: Directory for files that devices deliver later, shared by `ingest` and `store` here; `uploads` in
            `work` where empty. Give it a disk of its own where docking stations deliver many at once.
        upload_max_bytes: Largest file taken in one upload; S3 takes 5 GiB in one object.
        upload_recorder_bytes: Most that may wait here of one recorder, coming or not in the store yet.
        upload_recorder_files: Uploads of one recorder that may be unfinished at once.
        upload_free_bytes: An upload that would leave less free on that disk is refused.
        upload_expires_s: An upload from which nothing came for so long is removed.
        dropbox: Directory into which docking stations copy files, `<recorder>/<session>/<from>_<to>.<ext>`; none where
            empty.
        dropbox_stable_s: A file there is taken when it has not changed for so long.
        worker_id: Name of this process in the fleet; its host name where empty.
        public_url: How devices reach this process, for `Location`; relative where empty.
        ice_hosts: Addresses to offer for WebRTC, comma-separated; all of the machine's where empty. Behind NAT that
            maps ports one to one, `public=private`: the private address is bound, the public one offered.
        ice_ports: UDP ports for WebRTC, `first-last`; any free ones where empty. Each connection takes one on each
            address, and a recorder that comes back has two for a moment.
        whip_max_sessions: WHIP sessions one process takes before it answers 503.
        whip_silent_s: Without a packet for so long, a WHIP peer is taken for gone.
        whip_linger_s: How long a session that media alone has opened waits for a recorder that lost its connection.
        fragment_max_s: Longest fragment, seconds.
        fragment_max_bytes: Fragment size at which one is cut, bytes.
        segment_s: Length of a segment on the clock, seconds; must divide an hour. Choose at least half the longest
            distance between keyframes: a GOP longer than two segments is parted, and the segment that goes on with it
            can be decoded only from its first keyframe on, or behind the one before.
        partitions: Partitions of a topic that does not exist yet.
        stall_after_s: Silence after the end of the last fragment that is a stall.
        stall_after_open_s: Silence after opening, resuming or registering that is a stall.
        lateness_s: How far out of order events may stand.
        gap_min_s: Missing media shorter than this is no gap.
        battery_low_percent: A battery at most so full is low.
        battery_well_percent: From so full on it is well again.
        storage_low_percent: A device's card with at most so much free is nearly full.
        storage_well_percent: With so much free it is well again.
        forecast_low_s: Battery or space that will be used up within so many seconds is low.
        forecast_well_s: Lasting so many seconds, it is well again.
        silent_after_s: Neither media nor telemetry for so long is silence.
        clock_drift_s: A device clock further off than this has drifted.
        clock_well_s: One that is at most so far off is right again.
        covered_contrast: Standard deviation of Y below which a lens counts as covered.
        frozen_change: Mean absolute difference of pictures, as a part of 255, up to which they are the same.
        frozen_after_s: How long they must be the same.
        moved_shift: 1 − correlation with the reference picture above which a fixed camera was moved.
        blurred_fraction: Part of the recorder's own median sharpness below which a picture is blurred.
        sound_missing_dbfs: Sound up to this level is none.
        sound_missing_after_s: How long it must be missing.
        analyse_processes: Processes that decode keyframes and sound, beside everything else.
        analyse_every_s: Least time between two keyframes looked at of one recorder.
        restart_min_s: A restart that brings less media than this before the next stop is none.
        speech_wait_s: How long the analysis may come behind the media it heard speech in.
        stop_and_go_stops: So many officer's stops in one session are stop-and-go.
        store_after_s: A fragment that is not in the store so long after it arrived is stuck.
        grant_days: How many days a granted request for footage holds, where whoever decides says nothing of it; in no
            document.
        watch: Whom `liuhen watch` watches: `name=http://host:port`, comma-separated. Names that begin with `prometheus`
            and `alertmanager` are these programs; all others are processes of ours.
        watch_url: Where the console asks what the watch sees, `http://host:port`; where empty, it sees its own process
            alone.
        watch_every_s: Pause between two looks at everybody.
        watch_after_s: A process that answers and does not get on for so long is taken for dead, and so is the way of
            alerts when no sign of life comes by it; three looks running must say so.
        watch_notify_file: File of Apprise addresses, one a line, by which the watch tells people itself; none where
            empty.
        watch_token_file: File of the token that the watch asks of consoles and of Alertmanager; none where empty.
    """

    bus: str = "embedded:data/log"
    store: str = "file:data/store"
    store_secret: str = ""
    store_secret_file: str = ""
    catalog: str = "sqlite:///data/catalog.db"
    ledger: str = "sqlite:///data/ledger.db"
    office: str = "sqlite:///data/office.db"
    alert_ack_critical_s: Annotated[float, Meta(ge=0)] = 300.0
    alert_ack_warning_s: Annotated[float, Meta(ge=0)] = 1_800.0
    alertmanager_token_file: str = ""
    ledger_key_file: str = "data/ledger.key"
    ledger_origin: str = "liuhen/ledger"
    ledger_lock_days: Annotated[int, Meta(ge=1, le=36_500)] = 3_650
    checkpoint_s: Annotated[float, Meta(gt=0, le=60)] = 60.0
    checkpoint_copies: str = "store,log"
    tsa_url: str = ""
    tsa_certificates: str = ""
    verify_every_s: Positive = 86_400.0
    verify_bytes_per_s: Annotated[int, Meta(ge=0)] = 50_000_000
    offsite: str = ""
    policy: str = "wucheng"
    policy_files: str = ""
    calendar_files: str = ""
    recorders: str = ""
    camera_networks: str = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,fc00::/7"
    monitoring_review: bool = False
    http: str = "127.0.0.1:8600"
    console_url: str = ""
    trusted_proxies: str = ""
    plain_http: bool = False
    metrics_from: str = "127.0.0.0/8,::1"
    session_idle_s: Annotated[float, Meta(ge=60)] = 3_600.0
    session_max_s: Annotated[float, Meta(ge=300, le=604_800)] = 43_200.0
    second_factor: bool = True
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_secret_file: str = ""
    oidc_claim: Annotated[str, Meta(min_length=1)] = "preferred_username"
    spool: str = "data/spool"
    spool_max_bytes: Annotated[int, Meta(ge=16_000_000)] = 20_000_000_000
    work: str = "data/work"
    uploads: str = ""
    upload_max_bytes: Annotated[int, Meta(ge=1_000_000, le=5_368_709_120)] = 5_368_709_120
    upload_recorder_bytes: Annotated[int, Meta(ge=1_000_000)] = 40_000_000_000
    upload_recorder_files: Annotated[int, Meta(ge=1, le=1000)] = 8
    upload_free_bytes: Annotated[int, Meta(ge=0)] = 2_000_000_000
    upload_expires_s: Positive = 604_800.0
    dropbox: str = ""
    dropbox_stable_s: Positive = 10.0
    worker_id: str = ""
    public_url: str = ""
    ice_hosts: str = ""
    ice_ports: Annotated[str, Meta(pattern=r"^(\d{1,5}-\d{1,5})?$")] = ""
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
    battery_low_percent: Annotated[float, Meta(ge=0, le=100)] = 20.0
    battery_well_percent: Annotated[float, Meta(ge=0, le=100)] = 25.0
    storage_low_percent: Annotated[float, Meta(ge=0, le=100)] = 10.0
    storage_well_percent: Annotated[float, Meta(ge=0, le=100)] = 15.0
    forecast_low_s: Positive = 1_800.0
    forecast_well_s: Positive = 2_700.0
    silent_after_s: Positive = 60.0
    clock_drift_s: Positive = 5.0
    clock_well_s: Positive = 3.0
    covered_contrast: Positive = 4.0
    frozen_change: Annotated[float, Meta(ge=0, le=1)] = 0.0001
    frozen_after_s: Positive = 30.0
    moved_shift: Annotated[float, Meta(gt=0, le=1)] = 0.5
    blurred_fraction: Annotated[float, Meta(gt=0, lt=1)] = 0.15
    sound_missing_dbfs: Annotated[float, Meta(ge=-120, le=0)] = -70.0
    sound_missing_after_s: Positive = 60.0
    analyse_processes: Annotated[int, Meta(ge=1, le=64)] = 1
    analyse_every_s: Annotated[float, Meta(ge=0.5)] = 4.0
    restart_min_s: Positive = 5.0
    speech_wait_s: Annotated[float, Meta(ge=0)] = 2.0
    stop_and_go_stops: Annotated[int, Meta(ge=2)] = 3
    store_after_s: Positive = 300.0
    grant_days: Annotated[int, Meta(ge=1, le=90)] = 7
    watch: str = ""
    watch_url: str = ""
    watch_every_s: Annotated[float, Meta(ge=0.1, le=10)] = 10.0
    watch_after_s: Annotated[float, Meta(ge=1, le=70)] = 60.0
    watch_notify_file: str = ""
    watch_token_file: str = ""


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
