"""Figures of the custody worker for Prometheus, on the default registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from storage.ledger.keeper import KeeperState

ENTRIES = Gauge("liuhen_ledger_entries", "Entries in the custody ledger.")
UNWRITTEN = Gauge("liuhen_ledger_unwritten_entries", "Entries under a checkpoint that are not in the evidence store.")
WAITING = Gauge("liuhen_ledger_copies_waiting", "Checkpoints that a place outside has not got.", ["place"])
DELIVERED = Gauge(
    "liuhen_ledger_copy_timestamp_seconds", "When a place outside got its last checkpoint; 0 if never.", ["place"]
)
FAULTS = Gauge("liuhen_ledger_faults", "Signs that the ledger is not what it was, found by its keeper.")
EXPIRED = Counter("liuhen_expiry", "What became of objects whose time was over, by outcome.", ["outcome"])
FAILURES = Counter("liuhen_custody_failures", "Tries that failed and are repeated, by chore.", ["chore"])
LAST_RUN = Gauge("liuhen_custody_timestamp_seconds", "When a chore was last done without trouble.", ["chore"])


def show(state: KeeperState) -> None:
    """Show how the ledger stands."""
    UNWRITTEN.set(state.unwritten)
    FAULTS.set(len(state.faults))
    for place in state.places:
        WAITING.labels(place.name).set(place.waiting)
        DELIVERED.labels(place.name).set(0 if place.delivered_at is None else place.delivered_at / 1000)
