"""All routers of registration: sites, cameras, the ledger of recorders, and their API."""

from __future__ import annotations

from fastapi import APIRouter

from dashboards.pages.cameras import cameras_router
from dashboards.pages.premises import premises_router
from dashboards.pages.recorders import recorders_router
from dashboards.pages.sheets import sheets_router
from dashboards.parts import Parts
from dashboards.registration.api import registration_api
from dashboards.registration.registering import Registering


def registration_routers(parts: Parts, registering: Registering) -> list[APIRouter]:
    """Make the routers."""
    registrar = registering.registrar
    return [
        sheets_router(parts, registering),
        premises_router(parts, registrar),
        cameras_router(parts, registrar),
        recorders_router(parts, registering),
        registration_api(parts, registering),
    ]
