"""The HTTP side of a process: one server, and the routes of whatever roles run in it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import uvicorn
from prometheus_client import REGISTRY, disable_created_metrics
from starlette.applications import Starlette

from dashboards.health import health_router

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Router
    from starlette.types import ASGIApp, Receive, Scope, Send

_LOOK_EVERY_S: Final = 1.0


class Front:
    """The HTTP server of a process, and its routes, served from the moment it is made.

    Args:
        listener: Where it answers; nowhere when None.
        not_ready: Why the process cannot serve yet, empty when it can; asked at each `/readyz`.
        may_scrape: Tells whether metrics are for whoever asks.

    FastAPI comes in only with routes that are its own: loading it would cost a restarted recording 0.2 s.
    """

    def __init__(
        self,
        listener: socket.socket | None,
        not_ready: Callable[[], str],
        may_scrape: Callable[[Request], bool] = lambda _: True,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._routers: list[Router] = []
        self.add([health_router(REGISTRY, not_ready, may_scrape)])
        config = uvicorn.Config(
            self._answer,
            interface="asgi3",
            log_config=None,
            access_log=False,
            lifespan="off",
            loop="none",
            ws="none",
            server_header=False,
        )
        self._server = _Server(config)
        sockets = [listener] if listener is not None else []
        self._task = asyncio.create_task(self._server.serve(sockets=sockets), name="http")

    def add(self, routers: Sequence[Router]) -> None:
        """Answer with these routes too, from the next request on."""
        self._routers += routers
        own = [router for router in self._routers if hasattr(router, "include_router")]
        plain = [route for router in self._routers if router not in own for route in router.routes]
        if own:
            from fastapi import FastAPI

            api = FastAPI(openapi_url=None)  # the document is a route of the console's, for those signed in
            api.routes.extend(plain)
            for router in own:
                api.include_router(router)  # type: ignore[arg-type]
            self._app: ASGIApp = api
        else:
            self._app = Starlette(routes=plain)

    def end(self) -> asyncio.Task[None]:
        """Begin to end; the task is over when the last answer is."""
        self._server.leave()
        return self._task

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


class _Server(uvicorn.Server):
    """Leaves signals to us: ingest must flush its feeds before the server goes.

    And looks up once a second, not ten times: each of them would wake a process that has nothing to do.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        """Begin to end."""
        self.should_exit = True
        self._leaving.set()

    async def main_loop(self) -> None:
        """Keep the date of the answers until it is time to end."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), _LOOK_EVERY_S)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
