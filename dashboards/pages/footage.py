"""Requests for footage put together: the desk, the maker of copies, the register, and their pages and API."""

from __future__ import annotations

from fastapi import APIRouter

from dashboards.footage.api import requests_api
from dashboards.footage.desk import RequestDesk
from dashboards.footage.packing import Packer
from dashboards.footage.register import Register
from dashboards.pages.request_register import register_router
from dashboards.pages.requests import requests_router
from dashboards.parts import Parts
from storage.retention.desk import Desk
from storage.retention.retention import Retention


class Footage:
    """See the module.

    Args:
        parts: Of this console.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.packer = Packer(parts)
        self.desk = RequestDesk(parts, self.packer.wake, _holds(parts).hold)
        self.register = Register(parts.ledger)

    def routers(self) -> list[APIRouter]:
        """Return the routers; the register's goes before those of one request."""
        return [
            register_router(self._parts, self.register),
            requests_router(self._parts, self.desk, self.packer),
            requests_api(self._parts, self.desk, self.register),
        ]

    async def run(self) -> None:
        """Make copies until cancelled."""
        await self.packer.run(self.desk.broke_off)


def _holds(parts: Parts) -> Desk:
    def policy_of(recorder_id: str) -> str:
        recorder = parts.fleet.recorders.get(recorder_id)
        return (recorder.policy if recorder else "") or parts.settings.policy

    store, catalog, ledger = parts.store, parts.catalog, parts.ledger
    return Desk(Retention(store, catalog, ledger, clock=parts.clock, policy_of=policy_of, book=parts.book))
