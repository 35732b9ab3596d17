"""The register of requests and of viewings (查阅登记簿): read off the ledger, so nobody can change a line of it.

Zhanhe Z-AC 第三、六、七条 and Chongqing 第二十四条 ask for one. Requests are folded from their acts in the order of the
ledger by the functions that judged them; an act that was not possible where its request stood changes nothing. Of
viewings one line stands for a viewer, a session, a request and a day: a player asks for a part every few seconds.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from domain.clock import Instant
from domain.errors import InvalidInput
from domain.wire import convert
from storage.ledger.entry import Entry, decode
from storage.ledger.ledger import Ledger
from storage.office.request_steps import (
    Application,
    Decision,
    Request,
    ask,
    break_off,
    decide,
    deliver,
    revoke,
    withdraw,
)

KINDS = ("act", "access")
AT_ONCE = 2_000
MAX_REQUESTS = 50_000
MAX_VIEWINGS = 200_000
"""Lines that are kept at hand; beyond it the oldest go from the page, not from the ledger."""


class Registered(msgspec.Struct, kw_only=True):
    """A request as the ledger tells it.

    Attributes:
        number: Its number in the register, from 1.
        entry: Index of its first entry in the ledger.
        request: As it stands.
        last_entry: Index of the last entry that changed it.
    """

    number: int
    entry: int
    request: Request
    last_entry: int


class Viewing(msgspec.Struct, kw_only=True):
    """Somebody was shown something of a session on a day.

    Attributes:
        by: Account.
        recorder_id: Whose footage.
        session_id: Of which session.
        request: Under which request; empty where by office.
        first_at: When on that day first,
        last_at: and last.
        objects: How many recordings.
        entry: Index of the first entry.
    """

    by: str
    recorder_id: str
    session_id: str
    request: str
    first_at: Instant
    last_at: Instant
    objects: int
    entry: int


class Register:
    """See the module.

    Args:
        ledger: What is read.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._next = 0
        self._lock = asyncio.Lock()
        self._count = 0
        self.requests: dict[str, Registered] = {}
        self.viewings: dict[tuple[str, ...], Viewing] = {}

    async def update(self) -> None:
        """Read what the ledger has had since.

        Raises:
            LedgerUnavailable: It cannot be read.
            IntegrityError: A line of it is not one that was written there.
        """
        async with self._lock:
            while found := await self._ledger.of_kinds(KINDS, self._next, AT_ONCE):
                for index, line in found:
                    self._take(index, decode(line))
                    self._next = index + 1

    def between(self, start: Instant, end: Instant) -> tuple[list[Registered], list[Viewing]]:
        """Return the requests that were made in a time, and the viewings in it, in order."""
        made = [one for one in self.requests.values() if start <= one.request.application.asked_at < end]
        return made, [one for one in self.viewings.values() if start <= one.first_at < end]

    def _take(self, index: int, entry: Entry) -> None:
        if entry.kind == "access":
            self._viewed(index, entry)
            return
        what = str(entry.body.get("what", ""))
        if not what.startswith("request."):
            return
        if what == "request.asked":
            self._asked(index, entry)
            return
        known = self.requests.get(str(entry.body.get("request")))
        if known is None:
            return
        try:
            known.request = _after(known.request, what, entry)
        except InvalidInput:  # it was not possible any more: it has changed nothing
            return
        known.last_entry = index

    def _asked(self, index: int, entry: Entry) -> None:
        application = convert(entry.body["request"], Application)
        if application.id in self.requests:
            return
        self._count += 1
        made = ask(application, int(entry.body["days"]))
        self.requests[application.id] = Registered(number=self._count, entry=index, request=made, last_entry=index)
        if len(self.requests) > MAX_REQUESTS:
            del self.requests[next(iter(self.requests))]

    def _viewed(self, index: int, entry: Entry) -> None:
        if entry.body.get("what") != "view":
            return
        by, request = str(entry.body.get("by", "")), str(entry.body.get("request", ""))
        recorder_id, session_id = entry.recorder_id or "", entry.session_id or ""
        key = (by, recorder_id, session_id, request, f"{entry.at.datetime():%Y-%m-%d}")
        known = self.viewings.get(key)
        if known is not None:
            known.last_at, known.objects = max(known.last_at, entry.at), known.objects + 1
            return
        self.viewings[key] = Viewing(
            by=by,
            recorder_id=recorder_id,
            session_id=session_id,
            request=request,
            first_at=entry.at,
            last_at=entry.at,
            objects=1,
            entry=index,
        )
        if len(self.viewings) > MAX_VIEWINGS:
            del self.viewings[next(iter(self.viewings))]


def _after(request: Request, what: str, entry: Entry) -> Request:
    body: dict[str, Any] = entry.body
    by = str(body["by"])
    if what == "request.decided":
        return decide(request, convert(body["decision"], Decision), int(body["days"]))
    if what == "request.withdrawn":
        return withdraw(request, by, str(body["name"]), entry.at)
    if what == "request.revoked":
        return revoke(request, by, str(body["name"]), entry.at, str(body["reason"]))
    if what == "request.delivered":
        return deliver(request, by, entry.at, str(body["package_sha256"]))
    if what == "request.broken":
        return break_off(request)
    return request
