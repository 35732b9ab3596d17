"""Letters as JSON by HTTP POST. The one module that imports httpx for sending.

Header `Idempotency-Key` and field `id` are the same for every try of a letter, so a receiver that remembers ids takes
each once, whatever is killed or cut here.
"""

from __future__ import annotations

import httpx
import msgspec

from dashboards.notify.way import Undelivered, Written

TIMEOUT = httpx.Timeout(10.0, connect=5.0)
_AGAIN = frozenset({408, 425, 429})


class Webhook:
    """See the module."""

    tells_repetitions = True

    def __init__(self) -> None:
        self._tls = httpx.create_ssl_context(trust_env=False)
        self._free: list[httpx.AsyncClient] = []

    async def send(self, address: str, letter: Written) -> None:
        """Post it.

        Raises:
            Undelivered: No answer, or one that is not 2xx.
        """
        content = msgspec.json.encode(
            {"id": letter.id, "title": letter.title, "text": letter.body, "link": letter.link, **letter.facts}
        )
        headers = {"Content-Type": "application/json", "Idempotency-Key": letter.id}
        try:
            answer = await self._post(address, content, headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Undelivered(f"no connection: {type(error).__name__}") from error
        except httpx.TransportError as error:
            raise Undelivered(f"no answer: {type(error).__name__}", is_doubtful=True) from error
        except (httpx.InvalidURL, httpx.HTTPError) as error:
            raise Undelivered(f"not sent: {type(error).__name__}", is_final=True) from error
        if not answer.is_success:
            raise _refused(answer)

    async def _post(self, address: str, content: bytes, headers: dict[str, str]) -> httpx.Response:
        # A pool looks at each of its connections for each request: with 30 of them that was nine tenths of the work.
        # So each client has one connection, and there are as many as letters under way at once.
        client = self._free.pop() if self._free else self._client()
        try:
            answer = await client.post(address, content=content, headers=headers)
        except BaseException:
            await client.aclose()
            raise
        self._free.append(client)
        return answer

    def _client(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=30.0)
        return httpx.AsyncClient(
            verify=self._tls, timeout=TIMEOUT, limits=limits, follow_redirects=False, trust_env=False
        )

    async def close(self) -> None:
        """Let go of connections."""
        for client in self._free:
            await client.aclose()


def _refused(answer: httpx.Response) -> Undelivered:
    status = answer.status_code
    is_final = 300 <= status < 500 and status not in _AGAIN
    wait = answer.headers.get("Retry-After", "")
    return Undelivered(
        f"answered {status}", is_final=is_final, retry_after_s=min(float(wait), 3600.0) if wait.isdigit() else 0.0
    )
