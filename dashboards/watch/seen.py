"""The console's side of the watch: how everybody is, or that the watch itself does not answer.

Where no `watch_url` is set, there is no process to ask, and the console's own process looks at itself: with everything
in one process, a loop of it that stands is seen; that the process is gone nobody here can say.
"""

from __future__ import annotations

import asyncio

import httpx
import msgspec
from prometheus_client import CollectorRegistry

from dashboards.watch.looking import PROGRESS
from dashboards.watch.states import Look, State, step
from dashboards.watch.targets import Target
from dashboards.watch.view import WatchView, watched
from domain import wire
from domain.clock import Clock, Instant
from domain.errors import InvalidEvent
from domain.settings import Settings
from storage.secrets import read_secret

ASK_S = 3.0
KEEP_S = 3.0
"""However many watch the console, the watch is asked no more often than this."""
MAX_ANSWER_BYTES = 1_000_000

_SELF = Target("liuhen", "liuhen", "")


class Seen:
    """See the module. One for a console; `seen` may be called by any number of requests.

    Args:
        settings: `watch_url`, `watch_token_file`, `watch_every_s`, `watch_after_s`.
        clock: The time.
        registry: Where this process's own figures are.

    Raises:
        InvalidSettings: The token's file cannot be read.
    """

    def __init__(self, settings: Settings, clock: Clock, registry: CollectorRegistry) -> None:
        self._url = settings.watch_url.rstrip("/")
        self._every_s, self._after_s = settings.watch_every_s, settings.watch_after_s
        self._clock = clock
        self._registry = registry
        token = read_secret(settings.watch_token_file, "watch_token_file") if settings.watch_token_file else ""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.AsyncClient(timeout=ASK_S, headers=headers, trust_env=False)
        self._turn = asyncio.Lock()
        self._own = State()
        self._view = WatchView(every_s=self._every_s)
        self._asked_s: float | None = None

    async def seen(self) -> WatchView:
        """Return how everybody is; never raises, never takes longer than `ASK_S` and a moment."""
        async with self._turn:
            now_s = self._clock.monotonic()
            keep_s = KEEP_S if self._url else self._every_s
            if self._asked_s is None or now_s - self._asked_s >= keep_s:
                self._view = await self._ask() if self._url else self._look_at_self()
                self._asked_s = self._clock.monotonic()
            return self._view

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()

    async def _ask(self) -> WatchView:
        try:
            async with asyncio.timeout(ASK_S):
                answer = await self._client.get(f"{self._url}/watch")
            if not answer.is_success or len(answer.content) > MAX_ANSWER_BYTES:
                return self._away(f"{answer.status_code}")
            view = wire.convert(msgspec.json.decode(answer.content), WatchView)
        except TimeoutError:
            return self._away(f"no answer within {ASK_S:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError, InvalidEvent) as error:
            return self._away(f"{type(error).__name__}: {error}"[:200])
        if view.at is not None and self._clock.now() - view.at > 1000 * (5 * view.every_s + 10):
            return self._away("it answers, and looks at nobody any more", view.at)
        return view

    def _away(self, why: str, since: Instant | None = None) -> WatchView:
        """Keep what the watch last told, and say that it tells nothing now."""
        since = self._view.away_since or since or self._clock.now()
        return msgspec.structs.replace(self._view, away=why, away_since=since)

    def _look_at_self(self) -> WatchView:
        families = self._registry.restricted_registry([PROGRESS]).collect()
        samples = [sample for family in families for sample in family.samples if sample.name == PROGRESS]
        figures = {sample.labels["reader"]: sample.value for sample in samples}
        at = self._clock.now()
        self._own = step(self._own, Look(at=at, now_s=self._clock.monotonic(), figures=figures), self._after_s)
        return WatchView(by="self", at=at, every_s=self._every_s, targets=(watched(_SELF, self._own),))
