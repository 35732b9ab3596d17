"""How a device was, slot by slot: the last two hours of it in memory, the rest in the catalogue. Pure."""

from __future__ import annotations

from domain.events import Telemetry
from storage.catalog.history import HOUR_MS, Reading

SLOT_MS = 600_000
"""Readings of a device are kept so far apart: 144 points a day."""


def take_reading(readings: dict[int, Reading], event: Telemetry) -> bool:
    """Keep what a device says in the slot in which it was measured; tell whether that slot is new.

    A batch that was sent late counts when it was measured, by the device's own clock; what is older than this hour and
    the one before is left out, and hours older than that are forgotten.
    """
    sent_at = int(event.sent_at or event.device_at)
    measured_at = int(event.at) - max(0, sent_at - int(event.device_at))
    slot = measured_at - measured_at % SLOT_MS
    oldest = max(slot, *readings) // HOUR_MS * HOUR_MS - HOUR_MS if readings else slot
    if slot < oldest:
        return False
    fresh = slot not in readings
    _fill(readings.setdefault(slot, Reading(slot)), event, sent_at - int(event.at))
    for old in [at for at in readings if at < oldest]:
        del readings[old]
    return fresh


def _fill(one: Reading, event: Telemetry, offset_ms: int) -> None:
    one.offset_ms = offset_ms
    one.battery = one.battery if event.battery_percent is None else event.battery_percent / 100
    one.charging = one.charging if event.charging is None else event.charging
    if event.storage_free_bytes is not None and event.storage_total_bytes:
        one.space = min(1.0, event.storage_free_bytes / event.storage_total_bytes)
    if event.signal_dbm is not None:
        one.signal_dbm = event.signal_dbm if one.signal_dbm is None else min(one.signal_dbm, event.signal_dbm)
