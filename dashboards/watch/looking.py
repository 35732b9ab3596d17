"""Looks at one target over HTTP. The only module of the watch that asks anybody anything."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

import httpx

from dashboards.watch.states import Look
from dashboards.watch.targets import Target
from domain.clock import Clock

LOOK_S = 5.0
"""Longest time for one target, all questions together: a stopped process takes connections and says nothing."""
MAX_ANSWER_BYTES = 1_000_000
MAX_DETAIL = 200

PROGRESS = "liuhen_progress_total"
_STARTED = "process_start_time_seconds"
_RULES = 'timestamp(ALERTS{alertname="LiuhenWatchdog",alertstate="firing"})'
"""When the rule that always fires was last evaluated."""
_SERIES = re.compile(r'^(\w+)(?:\{[^}]*?reader="([^"]*)"[^}]*\})? ([0-9.eE+-]+)$', re.MULTILINE)


class Looker:
    """Asks targets how they are; as many at once as are asked for.

    Args:
        clock: When something was seen.
        look_s: Longest time for one target.
    """

    def __init__(self, clock: Clock, look_s: float = LOOK_S) -> None:
        self._clock = clock
        self._look_s = look_s
        # No proxy from the environment: it would be one more that the watch depends on. No connection is kept, so that
        # each look is answered by whoever listens now.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.AsyncClient(timeout=look_s, limits=limits, trust_env=False)

    async def look(self, target: Target, beat: float = 0.0) -> Look:
        """Look once; whatever goes wrong is what was seen.

        Args:
            target: At whom.
            beat: For the way of an alert: the newest sign of life that came by it.
        """
        try:
            async with asyncio.timeout(self._look_s):
                return await self._ask(target, beat)
        except TimeoutError:
            return self._seen(fault="silent", detail=f"no answer within {self._look_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return self._seen(fault="silent", detail=f"{type(error).__name__}: {error}"[:MAX_DETAIL])

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()

    async def _ask(self, target: Target, beat: float) -> Look:
        if target.kind == "alerts":
            return self._seen(figures={"watchdog": beat})
        if target.kind == "liuhen":
            return await self._ask_ours(target.url)
        trouble = await self._trouble(f"{target.url}/-/healthy") or await self._trouble(f"{target.url}/-/ready")
        if trouble or target.kind == "alertmanager":
            return self._seen(fault="trouble" if trouble else "", detail=trouble)
        return self._seen(figures={"rules": await self._rules_at(target.url)})

    async def _ask_ours(self, url: str) -> Look:
        trouble = await self._trouble(f"{url}/healthz")
        if trouble:
            return self._seen(fault="trouble", detail=trouble)
        unready = await self._trouble(f"{url}/readyz")
        metrics = await self._get(f"{url}/metrics", {"name[]": [PROGRESS, _STARTED]})
        if not metrics.is_success:  # it may be well, and nobody could tell
            return self._seen(fault="trouble", detail=f"{metrics.status_code} {metrics.text.strip()}"[:MAX_DETAIL])
        text = metrics.text
        series = [(match[1], match[2], float(match[3])) for match in _SERIES.finditer(text)]
        figures = {reader: value for name, reader, value in series if name == PROGRESS}
        life = next((value for name, _, value in series if name == _STARTED), 0.0)
        return self._seen(unready=unready, figures=figures, life=life)

    async def _trouble(self, url: str) -> str:
        """Return what a page complains of, empty when it answers with success."""
        answer = await self._get(url, {})
        return "" if answer.is_success else f"{answer.status_code} {answer.text.strip()}"[:MAX_DETAIL]

    async def _rules_at(self, url: str) -> float:
        """Return when Prometheus' rules were last evaluated; 0 where the one that always fires does not."""
        answer = (await self._get(f"{url}/api/v1/query", {"query": _RULES})).raise_for_status().json()
        try:
            return max((float(one["value"][1]) for one in answer["data"]["result"]), default=0.0)
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError("not an answer of Prometheus") from error

    async def _get(self, url: str, params: Mapping[str, str | list[str]]) -> httpx.Response:
        async with self._client.stream("GET", url, params=dict(params)) as answer:
            content = b""
            async for piece in answer.aiter_bytes():
                content += piece
                if len(content) > MAX_ANSWER_BYTES:
                    raise ValueError(f"more than {MAX_ANSWER_BYTES} bytes")
        return httpx.Response(answer.status_code, content=content, request=answer.request)

    def _seen(self, **what: object) -> Look:
        return Look(at=self._clock.now(), now_s=self._clock.monotonic(), **what)  # type: ignore[arg-type]
