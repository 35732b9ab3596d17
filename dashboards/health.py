"""`/metrics`, `/healthz` and `/readyz`, for any process that serves HTTP."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


def health_router(registry: CollectorRegistry, ready: Callable[[], str]) -> APIRouter:
    """Make the router.

    Args:
        registry: What `/metrics` shows.
        ready: Returns why the process cannot serve yet, empty when it can.
    """
    router = APIRouter()

    @router.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @router.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        """Answer as long as the event loop turns."""
        return Response("ok\n", media_type="text/plain")

    @router.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        reason = ready()
        if reason:
            return Response(reason + "\n", status_code=503, media_type="text/plain", headers={"Retry-After": "1"})
        return Response("ok\n", media_type="text/plain")

    return router
