"""Batches of telemetry: every good reading is kept, every bad one is named and kept as rejected."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from domain.clock import Instant
from domain.errors import InvalidEvent, Unavailable
from domain.events import Telemetry
from streams.ingest.api.events import event_from
from streams.ingest.api.problems import Problem, unavailable
from streams.ingest.ports import IngestPort

MAX_READINGS: Final = 1000
"""In one request; a device with more sends several."""

REASON: Final = "telemetry"


async def take_readings(ingest: IngestPort, recorder_id: str, body: Any, at: Instant) -> int:
    """Record one reading, or a list of them, and return how many.

    Raises:
        Problem: 413, too many; 422, some or all cannot be read: `errors` lists index, field and detail of each,
            `accepted` counts those that were kept all the same. 503, `pending` lists the indices to send again.
        Unavailable: Nothing could be taken.
    """
    items = body if isinstance(body, list) else [body]
    if len(items) > MAX_READINGS:
        raise Problem(413, f"at most {MAX_READINGS} readings in a request", more={"limit_items": MAX_READINGS})
    good: list[tuple[int, Telemetry]] = []
    bad: list[tuple[int, InvalidEvent]] = []
    for index, item in enumerate(items):
        try:
            good.append((index, event_from(item, Telemetry, recorder_id, at)))
        except InvalidEvent as error:
            bad.append((index, error))
    await _record(ingest, good)
    for index, reason in bad:
        await ingest.reject(recorder_id, msgspec.json.encode(items[index]), REASON, str(reason))
    if bad:
        raise _unreadable(bad, len(good), listed=isinstance(body, list))
    return len(good)


async def _record(ingest: IngestPort, good: list[tuple[int, Telemetry]]) -> None:
    # All at once: the log acknowledges them together, and keeps the order of the calls.
    results = await asyncio.gather(*(ingest.record(event) for _, event in good), return_exceptions=True)
    failed = [result for result in results if isinstance(result, BaseException)]
    for error in failed:
        if not isinstance(error, Unavailable):
            raise error
    if failed:
        problem = unavailable(str(failed[0]))
        pending = [index for (index, _), result in zip(good, results, strict=True) if result is not None]
        problem.more.update(accepted=len(good) - len(failed), pending=pending)
        raise problem


def _unreadable(bad: list[tuple[int, InvalidEvent]], accepted: int, *, listed: bool) -> Problem:
    errors = [{"index": index, "field": error.field, "detail": str(error)} for index, error in bad]
    index, first = bad[0]
    path = f"[{index}].{first.field}".rstrip(".") if listed else first.field
    detail = f"{path}: {first}" if path else str(first)
    return Problem(422, detail, field=path, more={"accepted": accepted, "errors": errors})
