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
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=16, keepalive_expiry=30.0)
        self._client = httpx.AsyncClient(timeout=TIMEOUT, limits=limits, follow_redirects=False, trust_env=False)

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
            answer = await self._client.post(address, content=content, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Undelivered(f"no connection: {type(error).__name__}") from error
        except httpx.TransportError as error:
            raise Undelivered(f"no answer: {type(error).__name__}", is_doubtful=True) from error
        except (httpx.InvalidURL, httpx.HTTPError) as error:
            raise Undelivered(f"not sent: {type(error).__name__}", is_final=True) from error
        if not answer.is_success:
            raise _refused(answer)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()


def _refused(answer: httpx.Response) -> Undelivered:
    status = answer.status_code
    is_final = 300 <= status < 500 and status not in _AGAIN
    wait = answer.headers.get("Retry-After", "")
    return Undelivered(
        f"answered {status}", is_final=is_final, retry_after_s=min(float(wait), 3600.0) if wait.isdigit() else 0.0
    )
