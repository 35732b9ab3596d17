"""Why media is missing: small rules, each with its reason, asked in order; the first that knows says.

They see what the log showed around the gap: stops, what the device said of itself, the feed on both sides.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from domain.events import Telemetry

MAX_SAMPLES = 24
SAMPLE_EVERY_MS = 5_000
BEFORE_MS = 120_000
"""What a device said longer ago explains nothing."""
EMPTY_PERCENT = 5.0
"""Recorders switch themselves off at about this level."""
FALLING_MS = 60_000
"""A battery that falls so fast that it is empty so soon after the last media."""
FULL_FRACTION = 0.02
FULL_BYTES = 64_000_000
WEAK_DBM = -105.0
"""LTE edge of cell: RSRP below this loses bearers (3GPP TS 36.133 reports down to −140, service ends near −110)."""

REASONS = {
    "officer": "officer",
    "device": "device_stop",
    "battery": "battery",
    "storage": "storage",
    "connection_lost": "network",
    "server": "server",
    "maintenance": "maintenance",
}
"""Reason of a stop → cause of what it left; `unknown` is none."""
_ON_THE_WAY = frozenset({"connection_lost", "server"})


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """What a device said at one moment.

    Attributes:
        at: When measured, on our clock.
        heard: When it came in.
        battery: Percent.
        charging: On mains.
        free: Bytes free.
        total: Bytes in all.
        recording: It says that it records.
        signal: dBm.
    """

    at: int
    heard: int
    battery: float | None
    charging: bool | None
    free: int | None
    total: int | None
    recording: bool | None
    signal: float | None


class Stop(msgspec.Struct, frozen=True, array_like=True):
    """A `session_stopped`."""

    at: int
    last_captured: int
    reason: str


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule sees of one gap.

    Attributes:
        began: End of the media before it.
        ended: Start of what comes after it.
        clock_moved: The capture clock was seen to move across it.
        numbers_lost: Fragments that were numbered on arrival and never reached the log.
        packets_lost: The fragment after it has packets missing.
        feed_changed: Media goes on over another connection.
        stops: Stops of the session.
        samples: What the device said, in order.
    """

    began: int
    ended: int
    clock_moved: bool
    numbers_lost: int
    packets_lost: bool
    feed_changed: bool
    stops: tuple[Stop, ...]
    samples: tuple[Sample, ...]

    def last_before(self) -> Sample | None:
        """Return the last thing the device said of the time before the gap."""
        found = [sample for sample in self.samples if self.began - BEFORE_MS <= sample.at <= self.began + 2_000]
        return found[-1] if found else None

    def within(self) -> list[Sample]:
        """Return what the device measured during the gap, whenever it came in."""
        return [sample for sample in self.samples if self.began < sample.at < self.ended]


def note(samples: tuple[Sample, ...], event: Telemetry, last_media: int) -> tuple[Sample, ...]:
    """Add a telemetry event, one sample kept for every 5 s.

    A batch sent late is placed when it was measured. When full, the oldest goes, unless that would leave too little
    of the time before a silence that still lasts: then one from the middle goes.
    """
    delay = max(0, event.sent_at - event.device_at) if event.sent_at is not None else 0
    sample = Sample(
        event.at - delay,
        int(event.at),
        event.battery_percent,
        event.charging,
        event.storage_free_bytes,
        event.storage_total_bytes,
        event.recording,
        event.signal_dbm,
    )
    if samples and samples[-1].at <= sample.at < samples[-1].at + 1_000 and samples[-1] == sample:
        return samples
    kept = sorted((*samples, sample), key=lambda one: (one.at, one.heard))
    if len(kept) >= 3 and kept[-1] is sample and kept[-2].at - kept[-3].at < SAMPLE_EVERY_MS:
        del kept[-2]
    if len(kept) > MAX_SAMPLES:
        del kept[0 if kept[6].at <= last_media else 6]
    return tuple(kept)


def _stopped(scene: Scene) -> str | None:
    """A stop that was announced says itself why."""
    for stop in reversed(scene.stops):
        if scene.began - 1_000 <= max(stop.last_captured, scene.began) < scene.ended and stop.at >= scene.began - 1_000:
            return REASONS.get(stop.reason)
        # What was captured before a stop and never came was lost on the way, if that is why it stopped.
        if stop.reason in _ON_THE_WAY and scene.began <= stop.at and stop.last_captured <= scene.ended + 1_000:
            return REASONS[stop.reason]
    return None


def _clock(scene: Scene) -> str | None:
    """The numbers say that media is missing while the times do not: the clock moved over it."""
    return "clock" if scene.clock_moved else None


def _battery(scene: Scene) -> str | None:
    """It was nearly empty and not charging when it was last heard, or falling so fast that it soon was."""
    last = scene.last_before()
    if last is None or last.battery is None or last.charging:
        return None
    if last.battery <= EMPTY_PERCENT:
        return "battery"
    first = next((one for one in scene.samples if one.battery is not None and one.at >= last.at - BEFORE_MS), last)
    if first.battery is None or first.at == last.at:
        return None
    falling = (first.battery - last.battery) / (last.at - first.at)  # percent per millisecond
    left = last.battery - falling * (min(scene.ended, scene.began + FALLING_MS) - last.at)
    return "battery" if falling > 0 and left <= EMPTY_PERCENT else None


def _storage(scene: Scene) -> str | None:
    """Its card was full when it was last heard."""
    last = scene.last_before()
    if last is None or last.free is None:
        return None
    full = last.free <= FULL_BYTES or (last.total is not None and last.free <= FULL_FRACTION * last.total)
    return "storage" if full else None


def _device(scene: Scene) -> str | None:
    """It says itself that it was not recording."""
    return "device_stop" if any(sample.recording is False for sample in scene.within()) else None


def _weak_link(scene: Scene) -> str | None:
    """The link was weak, packets are missing, or the device recorded on and was only heard of later."""
    last = scene.last_before()
    near = [*([last] if last else []), *scene.within()]
    if any(sample.signal is not None and sample.signal <= WEAK_DBM for sample in near):
        return "network"
    heard_later = any(sample.recording and sample.heard >= scene.ended for sample in scene.within())
    return "network" if heard_later or scene.packets_lost else None


def _server(scene: Scene) -> str | None:
    """Fragments are numbered when they arrive here: what has a number and is not in the log was lost by us."""
    return "server" if scene.numbers_lost else None


def _new_feed(scene: Scene) -> str | None:
    """The connection had to be made again, and nothing else speaks."""
    return "network" if scene.feed_changed else None


RULES: tuple[Callable[[Scene], str | None], ...] = (
    _stopped,
    _clock,
    _battery,
    _storage,
    _device,
    _weak_link,
    _server,
    _new_feed,
)


def cause(scene: Scene) -> str:
    """Return the cause of a gap: battery, storage, network, server, officer, device_stop, maintenance, clock, unknown.

    A stop of unknown reason is no reason to look no further.
    """
    return next((found for rule in RULES if (found := rule(scene)) is not None), "unknown")
