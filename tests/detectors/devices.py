"""Whole logs of what devices say of themselves and of what was seen and heard, with faults drawn by a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.detectors.logs import Line, at, ended, fragment, in_order, observation, opened, registered, telemetry, ticks

KINDS = (
    "power.low_battery",
    "storage.low_space",
    "device.silent",
    "clock.drift",
    "picture.covered",
    "picture.frozen",
    "picture.moved",
    "picture.blurred",
    "sound.missing",
)
_SEEN: dict[str, dict[str, object]] = {
    "cover": {"contrast": 1.2, "luma": 22.0, "sharpness": 0.3, "change": 0.0, "scene_shift": 0.99},
    "freeze": {"change": 0.0},
    "turn": {"scene_shift": 0.93},
    "blur": {"sharpness": 8.0},
    "night": {"luma": 25.0, "contrast": 7.0, "sharpness": 7.0, "scene_shift": 0.6},
    "mute": {"audio_dbfs": -101.0},
}
_FAULTS = (*_SEEN, "off", "clock", "drain", "fill")


def device_log(seed: int, recorders: int = 2, length: int = 400) -> list[Line]:
    """A log in order; no two events of a recorder share a moment."""
    draw = random.Random(seed)
    parts = [list(_device(draw, f"dev-{index}", length)) for index in range(recorders)]
    return in_order(*parts, ticks(0, length + 100))


def _device(draw: random.Random, name: str, length: int) -> Iterator[Line]:
    session = "s-" + name
    faults = [(draw.choice(_FAULTS), draw.uniform(30, length), draw.uniform(20, 150)) for _ in range(4)]
    battery, free = draw.uniform(24, 90), draw.uniform(12, 80)
    kind = draw.choice(["premises_camera", "body_worn"])
    yield registered(0.05, name, kind=kind, expects_audio=True, continuous=draw.random() < 0.5)
    yield opened(1.05, name, session)
    for second in range(2, length):
        on = {fault for fault, since, lasts in faults if since <= second < since + lasts}
        battery = max(0.0, battery - (0.1 if "drain" in on else 0.003))
        free = max(0.0, free - (0.1 if "fill" in on else 0.002))
        if "off" in on:
            continue
        if second % 2 == 0:
            yield fragment(second // 2, second - 2, 1.999, delay=0.1, feed=session, session=session, recorder=name)
        if second % 3 == 0:
            device = at(round(second + 0.3 - draw.uniform(0.1, 0.6) + (40 if "clock" in on else 0), 3))
            yield telemetry(
                second + 0.3,
                name,
                device_at=device,
                sent_at=device,
                battery_percent=round(battery),
                charging=False,
                storage_free_bytes=round(free * 1e8),
                storage_total_bytes=10_000_000_000,
            )
        if second % 4 == 0:
            seen: dict[str, object] = {"audio_dbfs": -30.0}
            for fault in _SEEN.keys() & on:
                seen |= _SEEN[fault]
            yield observation(second + 0.7, name, session, **seen)
    yield ended(length + 0.9, length, session, name)
