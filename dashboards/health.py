"""`/metrics`, `/healthz` and `/readyz`, for any process that serves HTTP.

`/metrics?name[]=NAME` gives these series alone, as Prometheus' own clients do; what is computed when it is asked for is
computed for the whole page alone.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router


def health_router(
    registry: CollectorRegistry, ready: Callable[[], str], may_scrape: Callable[[Request], bool] = lambda _: True
) -> Router:
    """Make the router.

    Args:
        registry: What `/metrics` shows.
        ready: Returns why the process cannot serve yet, empty when it can.
        may_scrape: Tells whether metrics are for whoever asks; health is for everybody.
    """

    def metrics(request: Request) -> Response:
        if not may_scrape(request):
            return Response("metrics: not for this address (metrics_from)\n", status_code=403, media_type="text/plain")
        names = request.query_params.getlist("name[]")
        shown = registry.restricted_registry(names) if names else registry
        return Response(generate_latest(shown), media_type=CONTENT_TYPE_LATEST)

    async def healthz(_: Request) -> Response:
        """Answer as long as the event loop turns."""
        return Response("ok\n", media_type="text/plain")

    async def readyz(_: Request) -> Response:
        reason = ready()
        if reason:
            return Response(reason + "\n", status_code=503, media_type="text/plain", headers={"Retry-After": "1"})
        return Response("ok\n", media_type="text/plain")

    return Router([Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)])
