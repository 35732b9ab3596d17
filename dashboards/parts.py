"""What the pages and the API are made of: opened once a process, handed to each router."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from dashboards.hls.live import LivePictures
from dashboards.pages.shell import Shell
from dashboards.people.audit import Audit
from dashboards.people.guard import Guard
from dashboards.people.rights import Place
from dashboards.projection import Fleet
from dashboards.stream import Hub
from domain.bus import Bus
from domain.clock import Clock, Instant
from domain.probe import Probe
from domain.settings import Settings
from policies.local import Rulebook
from storage.catalog.catalog import Catalog
from storage.ledger.ledger import Ledger
from storage.objects.port import ObjectStore
from storage.office.office import Office

Officers = Callable[[str, Instant], frozenset[str]]
"""Accounts to whom a recorder was handed out at a moment."""


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """See the module.

    Attributes:
        settings: Of this installation.
        book: The policies in force.
        clock: The time.
        bus: The log, started; what people decide about recordings is said on it.
        fleet: What is now.
        hub: What changes.
        ready: Tells whether the fleet has caught up with the log.
        pictures: Live pictures.
        catalog: What was: sessions, findings, segments.
        store: Stored footage.
        ledger: The custody ledger.
        office: What people entered and decided.
        guard: Asks who may.
        audit: What people do, before it takes effect.
        shell: Draws pages.
        officers: To whom a recorder was handed out.
        probe: Looks at a camera's address; None where this process does not.
    """

    settings: Settings
    book: Rulebook
    clock: Clock
    bus: Bus
    fleet: Fleet
    hub: Hub
    ready: Callable[[], bool]
    pictures: LivePictures
    catalog: Catalog
    store: ObjectStore
    ledger: Ledger
    office: Office
    guard: Guard
    audit: Audit
    shell: Shell
    officers: Officers
    probe: Probe | None = None

    def place(self, recorder_id: str, at: Instant | None = None) -> Place:
        """Return where a recorder is, as far as rights go, and whose it was at a moment; now, where None."""
        recorder = self.fleet.recorders.get(recorder_id)
        officers = self.officers(recorder_id, at or self.clock.now())
        if recorder is None:
            return Place(officers=officers)
        return Place(unit_id=recorder.unit_id, site_id=recorder.site_id, officers=officers)
