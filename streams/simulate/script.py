"""The script of a simulation: which devices there are, and what goes wrong with them when.

A script is TOML. Times are seconds from the start of the run::

    seconds = 60
    system = "http://127.0.0.1:8600"

    [[device]]
    id = "rec-01"
    kind = "body_worn"
    token = "…"

    [[device.fault]]
    at_s = 12
    for_s = 8
    do = "pull_cable"
"""

from __future__ import annotations

import tomllib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from domain.errors import InvalidSettings
from domain.events import Kind, Name
from domain.ids import RecorderId

Do = Literal[
    "pull_cable",  # the network goes; the device records on
    "stop",  # the officer stops recording, and resumes when the time is over
    "explain",  # a written explanation is sent
    "drain",  # the battery falls by `value` percent a minute
    "charge",
    "fill",  # free space falls by `value` MB a second
    "swap",  # a fresh battery and an empty card are put in
    "set_clock",  # the device clock jumps by `value` seconds
    "drift",  # the device clock gains `value` seconds a minute
    "jitter",  # what it sends is held back, by up to `value` seconds
    "power_off",  # everything stops without a word
    "cover",
    "freeze",
    "turn",
    "blur",
    "night",
    "mute",  # the microphone is dead
    "speak",  # somebody explains aloud
    "mute_stream",  # RTSP: connected, playing, and nothing comes
    "refuse",  # RTSP: connections are refused
]

PICTURE_FAULTS = frozenset({"cover", "freeze", "turn", "blur", "night"})


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that goes wrong.

    Attributes:
        at_s: When, seconds from the start.
        for_s: How long; the rest of the run where absent.
        do: What.
        value: How much, where that means something.
        text: Words of an explanation.
        cause: Its cause, an id of the policy's list or other.
    """

    at_s: Annotated[float, Meta(ge=0)]
    do: Do
    for_s: Annotated[float, Meta(gt=0)] = 1e9
    value: float = 0.0
    text: str = ""
    cause: str = "other"

    def active(self, elapsed_s: float) -> bool:
        """Tell whether the fault is on, so many seconds into the run."""
        return self.at_s <= elapsed_s < self.at_s + self.for_s


class Device(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One simulated recorder (pushes by WHIP) or camera (serves RTSP).

    Attributes:
        id: Recorder id.
        kind: What it is; body-worn recorders push, cameras are pulled.
        name: What people call it; burnt into the picture.
        site_id: Premises.
        unit_id: Enforcement unit.
        token: Bearer token with which it pushes.
        policy: Policy it is registered under, where the simulation registers it.
        width: Picture width, pixels.
        height: Picture height, pixels.
        fps: Pictures a second.
        gop_s: Seconds from keyframe to keyframe.
        bitrate_bps: Video bit rate.
        audio: Whether it has a microphone.
        act: Procedure that its session records.
        battery_percent: At the start.
        storage_free_bytes: At the start.
        storage_total_bytes: Size of its card.
        fault: What goes wrong.
    """

    id: RecorderId
    kind: Kind
    name: str = ""
    site_id: Name | None = None
    unit_id: Name | None = None
    token: str = ""
    policy: Name = "wucheng"
    width: Annotated[int, Meta(ge=64, le=7680, multiple_of=2)] = 640
    height: Annotated[int, Meta(ge=64, le=4320, multiple_of=2)] = 360
    fps: Annotated[int, Meta(ge=1, le=60)] = 12
    gop_s: Annotated[float, Meta(gt=0, le=30)] = 1.0
    bitrate_bps: Annotated[int, Meta(ge=10_000, le=50_000_000)] = 400_000
    audio: bool = True
    act: Name = "inspection"
    battery_percent: Annotated[float, Meta(ge=0, le=100)] = 80.0
    storage_free_bytes: Annotated[int, Meta(ge=0)] = 24_000_000_000
    storage_total_bytes: Annotated[int, Meta(gt=0)] = 32_000_000_000
    fault: list[Fault] = []

    @property
    def pushes(self) -> bool:
        """Whether it sends by WHIP; the others are pulled by RTSP."""
        return self.kind == "body_worn"

    def faults(self, elapsed_s: float) -> list[Fault]:
        """Return the faults that are on, so many seconds into the run."""
        return [fault for fault in self.fault if fault.active(elapsed_s)]

    def has(self, do: Do, elapsed_s: float) -> bool:
        """Tell whether a fault of this kind is on."""
        return any(fault.do == do for fault in self.faults(elapsed_s))


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole simulation.

    Attributes:
        device: The devices.
        system: Address of the running system.
        seconds: How long to run; until interrupted where 0.
        rtsp: `host:port` on which the cameras are served; port 0 takes a free one.
    """

    device: Annotated[list[Device], Meta(min_length=1)]
    system: str = "http://127.0.0.1:8600"
    seconds: Annotated[float, Meta(ge=0)] = 0.0
    rtsp: str = "127.0.0.1:0"


def parse_script(text: str) -> Script:
    """Read a script.

    Raises:
        InvalidSettings: Not TOML, an unknown key, a value out of range, or two devices of one id; names the place.
    """
    try:
        script = msgspec.convert(tomllib.loads(text), Script)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        msg = f"script: {error}"
        raise InvalidSettings(msg) from error
    ids = [device.id for device in script.device]
    for recorder_id in ids:
        if ids.count(recorder_id) > 1:
            msg = f"script: device {recorder_id!r} stands in it twice"
            raise InvalidSettings(msg, "device.id")
    return script
