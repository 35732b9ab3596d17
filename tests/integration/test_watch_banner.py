"""A real browser on an open page: who has died comes up by itself, in words, and goes away again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry

from dashboards.pages.shell import Shell, static_router
from dashboards.pages.watch import watch_banner_router
from dashboards.people.doors import Open
from dashboards.people.guard import Guard, declare
from dashboards.people.rights import Right
from dashboards.watch.seen import Seen
from dashboards.watch.view import Watched, WatchView
from domain import wire
from domain.clock import Instant, SystemClock
from domain.settings import Settings
from tests.services.browser import Browser
from tests.services.process import free_port

BANNER = "return document.getElementById('banner').innerText"
WIDTH = "return document.getElementById('banner').getBoundingClientRect().height"


@asynccontextmanager
async def served(app: FastAPI, port: int) -> AsyncIterator[None]:
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn sets a flag, it rings no bell
        await asyncio.sleep(0.02)
    try:
        yield
    finally:
        server.should_exit = True
        await serving


def a_watch(view: list[WatchView]) -> FastAPI:
    app = FastAPI()

    @app.get("/watch")
    async def watch() -> Response:
        return Response(wire.encode(view[-1]), media_type="application/json")

    return app


def a_console(seen: Seen) -> FastAPI:
    """Any page of the shell, with its banner."""
    guard, shell = Guard(Open()), Shell(SystemClock())
    router = guard.router()

    @router.get("/")
    @declare(Right.SIGNED_IN)
    async def page(request: Request) -> Response:
        return shell.page(request, "base.html")

    app = FastAPI()
    for one in (router, static_router(guard), watch_banner_router(guard, shell, seen)):
        app.include_router(one)
    return app


async def says(browser: Browser, text: str, timeout_s: float = 60) -> str:
    """Wait until the banner says so; nothing, where the text is empty."""
    until = time.monotonic() + timeout_s
    while True:
        said: str = await asyncio.to_thread(browser.driver.execute_script, BANNER)
        if (text in said) if text else not said.strip():
            return said
        assert time.monotonic() < until, said
        await asyncio.sleep(0.2)


@pytest.mark.browser
async def test_the_banner_of_an_open_page(browser: Browser, tmp_path: Path) -> None:
    now = SystemClock().now
    view = [WatchView(at=now())]
    port, watch_port = free_port(), free_port()
    seen = Seen(Settings(watch_url=f"http://127.0.0.1:{watch_port}"), SystemClock(), CollectorRegistry())
    store = Watched(
        name="<b>store</b>", kind="liuhen", condition="ill", fault="silent", since=Instant.parse("2026-05-04T08:00:00Z")
    )
    async with served(a_console(seen), port):
        async with served(a_watch(view), watch_port):
            await asyncio.to_thread(browser.driver.get, f"http://127.0.0.1:{port}/")
            await says(browser, "")
            assert await asyncio.to_thread(browser.driver.execute_script, WIDTH) == 0
            view.append(WatchView(at=now(), targets=(store,)))
            said = await says(browser, "▲ <b>store</b> 没有应答，自 16:00:00 起 · ")
            assert "天" in said  # for so long
            view.append(WatchView(at=now()))
            await says(browser, "")
            view.append(WatchView(at=now(), targets=(store,)))
            await says(browser, "store")
        said = await says(browser, "监护进程没有应答，自 ")
        assert "监护进程最后一次报告时： <b>store</b> 没有应答" in said
    await says(browser, "控制台没有应答")
    await seen.close()
    browser.driver.get("about:blank")
