"""Watchers of the NiceGUI page without a browser: they shake hands as its script does, and say when a row came.

NICEGUI_PYTHON -m benchmarks.console_nicegui_watch URL COUNT
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
import sys
import time
import uuid
from typing import Any
from urllib.parse import urlencode

import httpx
import socketio  # type: ignore[import-not-found]

_QUERY = re.compile(r"query: (\{.*?\}),\n")


async def watch(url: str, say: bool) -> Any:
    async with httpx.AsyncClient() as http:
        html = (await http.get(url, timeout=60)).text
    found = _QUERY.search(html)
    if found is None:
        raise SystemExit("the page says no query for its socket")
    query = ast.literal_eval(found[1]) | {
        "tab_id": str(uuid.uuid4()),
        "document_id": str(uuid.uuid4()),
        "old_tab_id": "",
    }
    client = socketio.AsyncClient(reconnection=False)

    async def came(event: str, *data: Any) -> None:
        if say:
            names = re.findall(r"rec-\d{4}", json.dumps(data, ensure_ascii=False))
            sys.stdout.write(json.dumps({"came": names, "at": time.time(), "event": event}) + "\n")
            sys.stdout.flush()

    client.on("*", came)
    told = {key: "true" if value is True else value for key, value in query.items()}
    address = f"{url}/?{urlencode(told)}"
    await client.connect(address, socketio_path="/_nicegui_ws/socket.io", transports=["websocket"], wait_timeout=30)
    if not query.get("implicit_handshake"):
        await client.call("handshake", query, timeout=30)
    return client


async def main() -> None:
    clients = [await watch(sys.argv[1], number == 0) for number in range(int(sys.argv[2]))]
    sys.stdout.write(json.dumps({"watching": len(clients)}) + "\n")
    sys.stdout.flush()
    await asyncio.gather(*(client.wait() for client in clients))


if __name__ == "__main__":
    asyncio.run(main())
