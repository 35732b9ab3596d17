"""What keeps the parts of one process running."""

import asyncio

import pytest

from house.running import _keep_running
from streams.ingest.backoff import Backoff


async def test_a_job_that_ran_well_for_long_is_not_made_to_wait_for_its_earlier_failures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran_s: list[float] = []

    class Noted(Backoff):
        def after_failure(self, ran: float = 0.0) -> float:
            ran_s.append(ran)
            return 0.0

    monkeypatch.setattr("streams.ingest.backoff.Backoff", Noted)
    lengths_s = [0.0, 0.2, 0.0]

    async def job() -> None:
        if lengths_s:
            await asyncio.sleep(lengths_s.pop(0))
            raise ZeroDivisionError

    await asyncio.wait_for(_keep_running("job", job), 10)
    assert len(ran_s) == 3
    assert ran_s[1] >= 0.2
    assert lengths_s == []
