"""What a check can find. Each fault has a name, a place and a detail in words."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from domain.events import IntegrityFault

FaultName = Literal[
    "missing",
    "altered",
    "hidden",
    "unlisted",
    "unlocked",
    "mistagged",
    "undeleted",
    "unreadable",
    "unrecorded_gap",
    "ledger_entry",
    "ledger_checkpoint",
    "ledger_copy",
    "ledger_batch",
]
NAMES: tuple[FaultName, ...] = get_args(FaultName)

LEDGER = "ledger"
"""Stands for the recorder in an event about the ledger itself."""

_EVENTS: dict[FaultName, IntegrityFault] = {
    "missing": "missing",
    "altered": "altered",
    "hidden": "hidden",
    "unlisted": "unlisted",
    "unlocked": "unlocked",
    "mistagged": "altered",
    "undeleted": "unlisted",
    "unreadable": "altered",
    "unrecorded_gap": "missing",
    "ledger_entry": "ledger",
    "ledger_checkpoint": "ledger",
    "ledger_copy": "ledger",
    "ledger_batch": "ledger",
}


class Fault(msgspec.Struct, frozen=True):
    """Something that is not as it was written, or not as the policy asks.

    Attributes:
        fault: Its name; see docs/reference/verification.md.
        where: An object's key, or a place in the ledger as `storage.ledger.check` names it.
        detail: In words, for people.
        recorder_id: Whose footage it is about; `LEDGER` where it is about the ledger itself.
    """

    fault: FaultName
    where: str
    detail: str
    recorder_id: str = LEDGER

    def __str__(self) -> str:
        return f"{self.fault} {self.where}: {self.detail}"

    @property
    def event_fault(self) -> IntegrityFault:
        """How an `integrity` event says it."""
        return _EVENTS[self.fault]
