"""What a simulated device knows of itself: battery, space, clock. Pure, in seconds since the start of the run."""

from __future__ import annotations

from typing import Any

from domain.clock import Instant, ms
from streams.simulate.script import Device, Do

NORMAL_DRAIN_PERCENT_PER_MIN = 0.2
CHARGE_PERCENT_PER_MIN = 1.0


class Body:
    """Battery, card and clock of one device."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._battery = device.battery_percent
        self._free = float(device.storage_free_bytes)
        self._elapsed_s = 0.0
        self._swapped: set[int] = set()

    @property
    def dead(self) -> bool:
        """Whether the battery is empty."""
        return self._battery <= 0

    @property
    def full(self) -> bool:
        """Whether nothing more fits on the card."""
        return self._free <= 0

    def live(self, elapsed_s: float) -> None:
        """Let time pass up to this moment of the run."""
        step_s = max(0.0, elapsed_s - self._elapsed_s)
        self._elapsed_s = elapsed_s
        drain = NORMAL_DRAIN_PERCENT_PER_MIN + self._sum("drain")
        gain = CHARGE_PERCENT_PER_MIN if self._device.has("charge", elapsed_s) else 0.0
        self._battery = min(100.0, max(0.0, self._battery + (gain - drain * (gain == 0)) * step_s / 60))
        rate = self._device.bitrate_bps / 8 + self._sum("fill") * 1e6
        self._free = max(0.0, self._free - rate * step_s)
        for number, fault in enumerate(self._device.fault):
            if fault.do == "swap" and fault.active(elapsed_s) and number not in self._swapped:
                self._swapped.add(number)
                self._battery, self._free = 95.0, 0.95 * self._device.storage_total_bytes

    def telemetry(self, now: Instant, *, recording: bool) -> dict[str, Any]:
        """Return a telemetry body as the device would send it now."""
        device_now = now.plus(ms(self._sum("set_clock") + self._drift_s())).rfc3339()
        return {
            "device_at": device_now,
            "sent_at": device_now,
            "battery_percent": round(self._battery, 2),
            "charging": self._device.has("charge", self._elapsed_s),
            "storage_free_bytes": int(self._free),
            "storage_total_bytes": self._device.storage_total_bytes,
            "recording": recording,
            "signal_dbm": -61.0,
        }

    def _drift_s(self) -> float:
        drifts = [fault for fault in self._device.fault if fault.do == "drift"]
        return sum(one.value / 60 * min(one.for_s, max(0.0, self._elapsed_s - one.at_s)) for one in drifts)

    def _sum(self, do: Do) -> float:
        return sum(fault.value for fault in self._device.faults(self._elapsed_s) if fault.do == do)
