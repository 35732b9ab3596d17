"""A file delivered to a whole system: the gap it fills closes, and the console shows nothing as owed any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from domain.clock import SystemClock
from domain.settings import Settings
from house.running import running
from tests.services.access import make_token
from tests.streams.uploads_client import bearer, mp4, send

RECORDERS = """
[[recorder]]
recorder_id = "rec-1"
kind = "body_worn"
token = "a-token-of-its-own"
"""


async def eventually(ask: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + 30
    while not await ask():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.1)


async def test_what_the_device_held_is_delivered_and_owed_no_more(tmp_path: Path) -> None:
    (tmp_path / "recorders.toml").write_text(RECORDERS)
    settings = Settings(
        bus=f"embedded:{tmp_path}/log",
        store=f"file:{tmp_path}/store",
        catalog=f"sqlite:///{tmp_path}/catalog.db",
        ledger=f"sqlite:///{tmp_path}/ledger.db",
        office=f"sqlite:///{tmp_path}/office.db",
        ledger_key_file=f"{tmp_path}/ledger.key",
        spool=f"{tmp_path}/spool",
        work=f"{tmp_path}/work",
        recorders=f"{tmp_path}/recorders.toml",
        http="127.0.0.1:0",
        partitions=1,
        upload_free_bytes=0,
    )
    now = SystemClock().now()
    start, end = now.plus(-3_600_000).rfc3339(), now.plus(-3_000_000).rfc3339()
    async with running(settings, ["ingest", "store", "console"]) as house:
        headers = {**bearer("a-token-of-its-own")}
        reader = bearer(await make_token(await house.office()))
        async with httpx.AsyncClient(base_url=house.address, headers=headers, timeout=30) as http:

            async def pending_is(wanted: float) -> bool:
                listed = (await http.get("/api/v1/recorders", headers=reader)).json()["items"]
                return [one["pending_bytes"] for one in listed if one["recorder_id"] == "rec-1"] == [wanted]

            data = mp4(1, size=100_000)
            held = {"session_id": "duty-1", "from": start, "to": end, "bytes": len(data)}
            answer = await http.put("/api/v1/recorders/rec-1/index", json={"recordings": [held]})
            assert answer.status_code == 202, answer.text
            await eventually(lambda: pending_is(len(data)), "the device's list is shown")
            said = {"session_id": "duty-1", "from": start, "to": end}
            answer = await send(http, data, token="a-token-of-its-own", **said)
            assert answer.status_code == 204, answer.text
            await eventually(lambda: pending_is(0), "the delivery is counted as stored")
            metrics = (await http.get("/metrics")).text
    assert 'liuhen_uploads_stored_total{via="tus"} ' in metrics
