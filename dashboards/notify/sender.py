"""Sends what stands in the outbox.

1. Mark entries that are due as being sent, in one transaction.
2. Send them, several at once.
3. Write how each try ended, in the same transaction as the next 1.

A crash after 2 and before 3 leaves entries marked: it is in doubt whether they arrived. The next start puts them back.
To receivers that tell repetitions by their id they are sent again as they are; to others with a line that says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Mapping
from urllib.parse import quote

import msgspec
from sqlalchemy import Connection, select

from dashboards.alerts.book import Book
from dashboards.notify.choosing import Choice, Health, after_failure, choose, is_exhausted
from dashboards.notify.metrics import NOTIFICATIONS, NOTIFY_SECONDS, Levels
from dashboards.notify.text import write
from dashboards.notify.way import Undelivered, Way
from dashboards.words import words
from domain.alerts import Alert
from domain.clock import Clock
from domain.errors import OfficeUnavailable
from storage.office import accounts, channels, outbox
from storage.office import alerts as rows
from storage.office.channels import CONTACT, PARTY, Channel
from storage.office.office import Office
from storage.office.outbox import Entry, Result

MAX_IN_FLIGHT = 96
"""Letters under way at once; the rest waits in the outbox."""
AT_ONCE = 48
"""Letters to one person under way at once, so that one receiver that hangs holds up nobody else."""
ABANDONED_MS = 120_000
"""What another worker has been sending for longer than any try takes is put back."""
LOOK_EVERY_S = 0.5
END_S = 5.0
GATHER_S = 0.02
"""Tries that end so soon after each other are written together."""
MEASURE_EVERY_S = 5.0
RETRY_S = 1.0
STALE_MS = 60_000
"""What waited longer than that for a quiet hour to end is looked at again before it is sent."""

log = logging.getLogger(__name__)


class Reached(msgspec.Struct, frozen=True):
    """How somebody is reached: their channels, their addresses, their language."""

    channels: list[Channel]
    addresses: dict[str, str]
    language: str


class Sender:
    """See the module.

    Args:
        office: Where the outbox is.
        ways: By kind of channel; `other` for those not named.
        book: Told of people who cannot be reached.
        clock: The time.
        worker: Name of this process in the fleet.
        public_url: Address of the console, for links.
        levels: Shows what waits.
    """

    def __init__(
        self,
        office: Office,
        ways: Mapping[str, Way],
        book: Book,
        clock: Clock,
        *,
        worker: str,
        public_url: str = "",
        levels: Levels | None = None,
    ) -> None:
        self._office, self._ways, self._book, self._clock = office, ways, book, clock
        self._worker, self._public_url, self._levels = worker, public_url, levels or Levels()
        self._bell = asyncio.Event()
        self._tries: dict[asyncio.Task[Result], Entry] = {}
        self._results: list[Result] = []
        self._health = Health()
        self._measured_s = self._logged_s = float("-inf")

    def ring(self) -> None:
        """Something may be due."""
        self._bell.set()

    async def run(self) -> None:
        """Send until cancelled; what is under way then is in doubt, and is sent again by the next start."""
        await self._reclaim()
        try:
            while True:
                await self._turn()
        finally:
            await self._end()

    async def _end(self) -> None:
        """Give what is under way a moment, and write how it ended."""
        if self._tries:
            await asyncio.wait(self._tries, timeout=END_S)
        for task in self._tries:
            task.cancel()
        self._collect()
        results = self._results
        with contextlib.suppress(OfficeUnavailable):  # then it is in doubt, and the next start deals with it
            await self._office.write(lambda connection: outbox.settle(connection, results))

    async def _reclaim(self) -> None:
        def work(connection: Connection) -> int:
            return outbox.reclaim(connection, self._worker, int(self._clock.now()) - ABANDONED_MS)

        while True:
            try:
                lost = await self._office.write(work)
            except OfficeUnavailable as error:
                log.warning("notify: %s; trying again in %g s", error, RETRY_S)
                await asyncio.sleep(RETRY_S)
                continue
            if lost:
                log.warning("notify: %d messages were under way when this process last ended", lost)
            return

    async def _turn(self) -> None:
        self._bell.clear()
        try:
            await self._exchange()
            await self._measure()
        except OfficeUnavailable as error:
            log.warning("notify: %s; trying again in %g s", error, RETRY_S)
            await asyncio.sleep(RETRY_S)
            return
        await self._wait()

    async def _exchange(self) -> None:
        """Write how tries ended and take what is due; no transaction where there is neither."""
        now = int(self._clock.now())
        free = MAX_IN_FLIGHT - len(self._tries)
        due = await self._office.read(outbox.next_due) if free > 0 else None
        if not self._results and (due is None or due > now):
            return
        results, busy = self._results, Counter(entry.account_id for entry in self._tries.values())

        def work(connection: Connection) -> tuple[list[Entry], dict[str, Reached]]:
            outbox.settle(connection, results)  # step 3
            found = (
                outbox.claim(connection, now, self._worker, free, busy, at_once=AT_ONCE) if free > 0 else []
            )  # step 1
            return found, _reached(connection, {entry.account_id for entry in found})

        entries, reached = await self._office.write(work)
        self._results = self._results[len(results) :]
        for entry in entries:
            found = reached[entry.account_id]
            mine = msgspec.structs.replace(found, channels=_fitting(entry, found.channels))
            task = asyncio.create_task(self._deliver(entry, mine))
            self._tries[task] = entry

    async def _wait(self) -> None:
        """Until a try has ended, the bell rings, or it is time to look."""
        bell = asyncio.create_task(self._bell.wait())
        try:
            await asyncio.wait({bell, *self._tries}, timeout=LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            bell.cancel()
        if any(task.done() for task in self._tries):
            await asyncio.sleep(GATHER_S)
        self._collect()

    def _collect(self) -> None:
        for task in [task for task in self._tries if task.done()]:
            del self._tries[task]
            self._results.append(task.result())

    # -- one entry ----------------------------------------------------------------------------------------------

    async def _deliver(self, entry: Entry, reached: Reached) -> Result:
        try:
            return await self._deliver_now(entry, reached)
        except OfficeUnavailable as error:
            log.warning("notify: %s", error)
            return _later(entry, int(self._clock.now()) + 1000)

    async def _deliver_now(self, entry: Entry, reached: Reached) -> Result:
        now = int(self._clock.now())
        if now - entry.created_at > STALE_MS and not entry.is_doubtful and await self._is_superseded(entry):
            NOTIFICATIONS.labels("none", "superseded").inc()
            return Result(seq=entry.seq, state="superseded", at=now)
        choice = choose(entry, reached.channels, now, lambda channel: self._health.is_down(channel, now))
        if choice.channel is None:
            return await self._not_now(entry, choice, now)
        return await self._try(entry, choice, choice.channel, reached)

    async def _not_now(self, entry: Entry, choice: Choice, now: int) -> Result:
        if choice.wait_until is not None:
            return _later(entry, choice.wait_until)
        NOTIFICATIONS.labels("none", "nobody").inc()
        await self._tell_unreachable(entry, "no channel")
        return Result(seq=entry.seq, state="failed", at=now, error="no channel takes it")

    async def _try(self, entry: Entry, choice: Choice, channel: Channel, reached: Reached) -> Result:
        way = self._ways.get(channel.kind, self._ways["other"])
        address = reached.addresses.get(channel.id, "")
        letter = write(
            entry,
            words(reached.language),
            self._public_url,
            is_repetition=entry.is_doubtful and not way.tells_repetitions,
        )
        try:
            await way.send(_with_contact(address, entry.contact), letter)  # step 2
        except Undelivered as error:
            return await self._failed(entry, choice, channel, reached, error)
        now = int(self._clock.now())
        self._health.worked(channel.id)
        NOTIFICATIONS.labels(channel.kind, "sent").inc()
        if entry.message.what == "opened" and entry.tries == 0:
            NOTIFY_SECONDS.observe(max(0, now - entry.message.found_at) / 1000)
        return Result(
            seq=entry.seq,
            state="sent",
            at=now,
            channel_id=channel.id,
            channel=channel.kind,
            tries=entry.tries + 1,
            given_up=entry.given_up,
            is_doubtful=entry.is_doubtful,
        )

    async def _failed(
        self, entry: Entry, choice: Choice, channel: Channel, reached: Reached, error: Undelivered
    ) -> Result:
        now = int(self._clock.now())
        self._health.failed(channel.id, now)
        pause_ms = round(error.retry_after_s * 1000)
        result = after_failure(entry, choice, reached.channels, now, is_final=error.is_final, pause_ms=pause_ms)
        is_doubtful = entry.is_doubtful or error.is_doubtful
        exhausted = is_exhausted(result, entry, reached.channels)
        outcome = "given_up" if exhausted or result.state == "failed" else "doubtful" if error.is_doubtful else "failed"
        NOTIFICATIONS.labels(channel.kind, outcome).inc()
        self._log(entry, channel, error)
        if exhausted:
            await self._tell_unreachable(entry, str(error))
        return msgspec.structs.replace(result, is_doubtful=is_doubtful, error=str(error))

    def _log(self, entry: Entry, channel: Channel, error: Undelivered) -> None:
        """Say why a try failed, once a second; all are counted, and each stands in its alert."""
        if self._clock.monotonic() - self._logged_s >= 1.0:
            self._logged_s = self._clock.monotonic()
            log.warning("notify: a message to %s by %s: %s", entry.account_id, channel.kind, error)

    async def _tell_unreachable(self, entry: Entry, error: str) -> None:
        """Have the alert go to somebody else, and say so in its history."""
        try:
            await self._book.unreachable(entry.message.alert_id, entry.account_id, error, int(self._clock.now()))
        except OfficeUnavailable as away:
            log.warning("notify: %s could not be told, and that could not be written: %s", entry.account_id, away)

    async def _is_superseded(self, entry: Entry) -> bool:
        """Tell whether what waited for long needs no saying any more: it is over, and the reader never heard of it."""
        message = entry.message
        if message.what == "party":
            return False

        def work(connection: Connection) -> tuple[Alert | None, bool]:
            alert = rows.get(connection, message.alert_id)
            return alert, outbox.was_told(connection, message.alert_id, entry.account_id)

        alert, was_told = await self._office.read(work)
        if message.what == "resolved":
            return not was_told
        return alert is not None and alert.state == "resolved" and entry.tries == 0 and not entry.given_up

    async def _measure(self) -> None:
        if self._clock.monotonic() - self._measured_s < MEASURE_EVERY_S:
            return
        self._measured_s = self._clock.monotonic()
        now = int(self._clock.now())

        def work(connection: Connection) -> tuple[dict[tuple[str, str], int], int | None, bool]:
            lost = outbox.is_abandoned(connection, now - ABANDONED_MS)
            return rows.count_open(connection), outbox.oldest_waiting(connection, now), lost

        self._levels.open, oldest, is_abandoned = await self._office.read(work)
        if is_abandoned:  # by another worker that died, or by us where an answer of the database was lost
            await self._office.write(lambda connection: outbox.reclaim(connection, "", now - ABANDONED_MS))
        self._levels.waiting_s = 0.0 if oldest is None else max(0, now - oldest) / 1000


def _later(entry: Entry, at: int) -> Result:
    """Return that an entry is tried later, and nothing else of it changed."""
    return Result(
        seq=entry.seq,
        state="queued",
        at=at,
        channel_id=entry.channel_id,
        tries=entry.tries,
        given_up=entry.given_up,
        not_before=at,
        is_doubtful=entry.is_doubtful,
    )


def _reached(connection: Connection, account_ids: set[str]) -> dict[str, Reached]:
    if not account_ids:
        return {}
    ways, addresses = channels.channels_of(connection, account_ids), channels.addresses(connection, account_ids)
    table = accounts.accounts
    query = select(table.c.account_id, table.c.language).where(
        table.c.account_id.in_(list(account_ids)), table.c.state == "active"
    )
    languages = {row.account_id: row.language for row in connection.execute(query)}
    for account in account_ids - languages.keys() - {PARTY}:
        ways.pop(account, None)  # whoever left is told nothing more, whatever waits for them
    return {
        account: Reached(
            channels=ways.get(account, []),
            addresses={each.id: addresses.get(each.id, "") for each in ways.get(account, [])},
            language=languages.get(account, ""),
        )
        for account in account_ids
    }


def _with_contact(address: str, contact: str) -> str:
    """Put a party's number or mail address into the address of the channel that reaches parties."""
    return address.replace(CONTACT, quote(contact, safe="+@")) if contact else address


def _fitting(entry: Entry, channels: list[Channel]) -> list[Channel]:
    """Of the channels to parties, those by which this contact is reached."""
    if entry.account_id != PARTY:
        return channels
    kind = "mail" if "@" in entry.contact else "sms"
    return [channel for channel in channels if channel.kind == kind]
