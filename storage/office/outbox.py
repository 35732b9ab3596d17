"""What is to be sent to people, and what became of it.

A message says one thing of one alert; an entry of the outbox is a message to one person. Entries are written in the
transaction that changes the alert, so neither is ever without the other. Their ids are functions of what they say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    update,
)

from domain.alerts import RANK, AlertFinding
from domain.findings import Severity
from storage.office.channels import PARTY
from storage.office.office import Office, metadata

EntryState = Literal["queued", "sending", "sent", "failed", "superseded"]
messages = Table(
    "alert_messages",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("alert_id", String(32), nullable=False, index=True),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("message_id", String(32), nullable=False),
    Column("alert_id", String(32), nullable=False),
    Column("account_id", String(200), nullable=False),
    Column("contact", Text, nullable=False),
    Column("what", String(20), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("rank", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("not_before_ms", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("ended_at_ms", BigInteger),
    Column("claimed_by", String(200), nullable=False),
    Column("claimed_at_ms", BigInteger),
    Column("channel_id", String(32), nullable=False),
    Column("channel", String(20), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("given_up", Text, nullable=False),
    Column("is_doubtful", Boolean, nullable=False),
    Column("error", Text, nullable=False),
    Index("outbox_waiting", "state", "not_before_ms"),
    Index("outbox_by_alert", "alert_id", "account_id"),
)


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What is said, without the words; they come with the reader's language.

    Attributes:
        id: Function of the alert and its number.
        alert_id: Of which alert.
        number: Of the alert's messages.
        what: What it says, of `domain.alerts.What`.
        state: Of the alert, then.
        severity: How bad.
        family: What kind of matter.
        scope: What the alert is about.
        site_id: Premises.
        site: What people call them.
        unit_id: Unit.
        unit: What people call it.
        recorders: Names of the recorders in question, the first 20.
        recorder_count: All of them.
        findings: Findings that it names.
        finding_count: With those beyond the first 1,000.
        clauses: Articles.
        since: First sign.
        level: How far it was escalated.
        by: Account that caused it; empty where nobody did.
        note: In that person's words.
        summary: What a source outside the detectors says.
        runbook: Page that says what to do.
        found_at: When the newest finding in it was detected, for measuring the way.
        gathers: Others of the same site or unit that follow within the minute are covered by it.
    """

    id: str
    alert_id: str
    number: int
    what: str
    state: str
    severity: Severity
    family: str
    scope: str
    site_id: str = ""
    site: str = ""
    unit_id: str = ""
    unit: str = ""
    recorders: list[str] = msgspec.field(default_factory=list)
    recorder_count: int = 0
    findings: list[AlertFinding] = msgspec.field(default_factory=list)
    finding_count: int = 0
    clauses: list[str] = msgspec.field(default_factory=list)
    since: int = 0
    level: int = 0
    by: str = ""
    note: str = ""
    summary: str = ""
    runbook: str = ""
    found_at: int = 0
    gathers: bool = False


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A message to one person, waiting or under way.

    Attributes:
        seq: Its place in the outbox.
        id: Function of the message and the person.
        message: What is said.
        account_id: To whom.
        contact: Phone number or mail address of a party; empty for accounts.
        created_at: When it came.
        channel_id: By which channel it was tried last; empty where none was.
        tries: How often it was tried by that channel.
        given_up: Channels that failed too often.
        is_doubtful: A try may have arrived without our learning of it.
    """

    seq: int
    id: str
    message: Message
    account_id: str
    contact: str
    created_at: int
    channel_id: str
    tries: int
    given_up: list[str]
    is_doubtful: bool


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a message to one person, as it is shown.

    Attributes:
        id: Of the entry.
        what: What it says.
        account_id: To whom.
        channel: Kind of channel.
        state: queued, sending, sent, failed or superseded.
        created_at: When it came.
        not_before: When it is tried next.
        ended_at: When it was sent, or given up.
        tries: How often it was tried.
        is_doubtful: It may have arrived twice.
        error: Why the last try failed.
    """

    id: str
    what: str
    account_id: str
    channel: str
    state: EntryState
    created_at: int
    not_before: int
    ended_at: int | None
    tries: int
    is_doubtful: bool
    error: str


_message = msgspec.json.Decoder(Message)


# -- writing ----------------------------------------------------------------------------------------------------


def add_messages(office: Office, connection: Connection, said: Sequence[Message], now_ms: int) -> None:
    """Write what is said; again, it is the same."""
    found = [
        {"id": each.id, "alert_id": each.alert_id, "created_at_ms": now_ms, "body": msgspec.json.encode(each)}
        for each in said
    ]
    if found:
        connection.execute(office.insert(messages).on_conflict_do_nothing(), found)


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A message to one person, to be put into the outbox.

    Attributes:
        id: Function of the message and the person.
        account_id: To whom.
        contact: Phone number or mail address of a party.
        not_before: Not to be sent sooner.
    """

    id: str
    account_id: str
    contact: str = ""
    not_before: int = 0


def add_letters(office: Office, connection: Connection, letters: Sequence[tuple[Message, Letter]], now_ms: int) -> None:
    """Put messages to people into the outbox; again, they are there already."""
    found = [
        {
            "id": letter.id,
            "message_id": message.id,
            "alert_id": message.alert_id,
            "account_id": letter.account_id,
            "contact": letter.contact,
            "what": message.what,
            "severity": message.severity,
            "rank": RANK[message.severity],
            "state": "queued",
            "not_before_ms": max(letter.not_before, now_ms),
            "created_at_ms": now_ms,
            "claimed_by": "",
            "channel_id": "",
            "channel": "",
            "tries": 0,
            "given_up": "[]",
            "is_doubtful": False,
            "error": "",
        }
        for message, letter in letters
    ]
    if found:
        connection.execute(office.insert(outbox).on_conflict_do_nothing(), found)


# -- sending ----------------------------------------------------------------------------------------------------


def claim(
    connection: Connection, now_ms: int, worker: str, limit: int, busy: Mapping[str, int], *, at_once: int = 8
) -> list[Entry]:
    """Take entries that are due, the gravest first, and mark them as being sent by this worker.

    Of one alert, a person's entries go out in order: a later one waits until the earlier one has ended.

    Args:
        connection: A writing transaction.
        now_ms: The time.
        worker: Who takes them.
        limit: How many at most.
        busy: How many are under way to each account.
        at_once: How many may be under way to one account.
    """
    earlier = outbox.alias("earlier")
    unfinished = exists().where(
        earlier.c.alert_id == outbox.c.alert_id,
        earlier.c.account_id == outbox.c.account_id,
        earlier.c.contact == outbox.c.contact,
        earlier.c.seq < outbox.c.seq,
        earlier.c.state.in_(["queued", "sending"]),
    )
    query = (
        select(outbox, messages.c.body)
        .join(messages, messages.c.id == outbox.c.message_id)
        .where(outbox.c.state == "queued", outbox.c.not_before_ms <= now_ms, ~unfinished)
    )
    full = [account for account, count in busy.items() if count >= at_once]
    if full:
        query = query.where(outbox.c.account_id.not_in(full))
    query = query.order_by(outbox.c.rank.desc(), outbox.c.seq).limit(limit).with_for_update(of=outbox, skip_locked=True)
    room = defaultdict(lambda: at_once, {account: at_once - count for account, count in busy.items()})
    found = []
    for row in connection.execute(query):
        if room[row.account_id] > 0:
            room[row.account_id] -= 1
            found.append(_entry(row))
    if found:
        taken = update(outbox).where(outbox.c.seq.in_([entry.seq for entry in found]))
        connection.execute(taken.values(state="sending", claimed_by=worker, claimed_at_ms=now_ms))
    return found


def reclaim(connection: Connection, worker: str, abandoned_before_ms: int) -> int:
    """Put back what this worker was sending in an earlier life, and what others have been sending for too long.

    It is in doubt whether these arrived. Returns how many.
    """
    lost = and_(
        outbox.c.state == "sending",
        or_(outbox.c.claimed_by == worker, outbox.c.claimed_at_ms < abandoned_before_ms),
    )
    return connection.execute(
        update(outbox).where(lost).values(state="queued", claimed_by="", is_doubtful=True)
    ).rowcount


def is_abandoned(connection: Connection, before_ms: int) -> bool:
    """Tell whether anything has been marked as being sent for too long."""
    query = select(outbox.c.seq).where(outbox.c.state == "sending", outbox.c.claimed_at_ms < before_ms).limit(1)
    return connection.execute(query).first() is not None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How a try ended.

    Attributes:
        seq: Of the entry.
        state: What it is now.
        at: When.
        channel_id: By which channel.
        channel: Kind of that.
        tries: How often it was tried by that channel.
        given_up: Channels that failed too often.
        not_before: When it is tried again.
        is_doubtful: It may have arrived without our learning of it.
        error: Why it failed.
    """

    seq: int
    state: EntryState
    at: int
    channel_id: str = ""
    channel: str = ""
    tries: int = 0
    given_up: list[str] = msgspec.field(default_factory=list)
    not_before: int = 0
    is_doubtful: bool = False
    error: str = ""


def settle(connection: Connection, results: Sequence[Result]) -> None:
    """Write how tries ended."""
    found = [
        {
            "of": result.seq,
            "state": result.state,
            "ended_at_ms": result.at if result.state != "queued" else None,
            "channel_id": result.channel_id,
            "channel": result.channel,
            "tries": result.tries,
            "given_up": msgspec.json.encode(result.given_up).decode(),
            "not_before_ms": result.not_before,
            "is_doubtful": result.is_doubtful,
            "error": result.error[:500],
            "claimed_by": "",
        }
        for result in results
    ]
    if found:
        connection.execute(update(outbox).where(outbox.c.seq == bindparam("of")), found)


# -- reading ----------------------------------------------------------------------------------------------------


def of_alert(connection: Connection, alert_id: str, limit: int = 500) -> list[Sent]:
    """Return what was sent of an alert, or is to be."""
    query = select(outbox).where(outbox.c.alert_id == alert_id).order_by(outbox.c.seq).limit(limit)
    return [
        Sent(
            id=row.id,
            what=row.what,
            account_id=row.account_id,
            channel=row.channel,
            state=row.state,
            created_at=row.created_at_ms,
            not_before=row.not_before_ms,
            ended_at=row.ended_at_ms,
            tries=row.tries,
            is_doubtful=row.is_doubtful,
            error=row.error,
        )
        for row in connection.execute(query)
    ]


def was_told(connection: Connection, alert_id: str, account_id: str) -> bool:
    """Tell whether anything of an alert reached a person, or may have."""
    query = select(func.count()).where(
        outbox.c.alert_id == alert_id,
        outbox.c.account_id == account_id,
        or_(outbox.c.state == "sent", outbox.c.is_doubtful),
    )
    return bool(connection.execute(query).scalar())


def told(connection: Connection, alert_id: str) -> frozenset[str]:
    """Return accounts to which anything of an alert was sent, or is to be."""
    query = select(outbox.c.account_id).where(outbox.c.alert_id == alert_id, outbox.c.account_id != PARTY).distinct()
    return frozenset(connection.execute(query).scalars())


def oldest_waiting(connection: Connection, now_ms: int) -> int | None:
    """Return when the oldest entry that should be out by now came; None where nothing waits."""
    query = select(func.min(outbox.c.created_at_ms)).where(
        outbox.c.state.in_(["queued", "sending"]), or_(outbox.c.not_before_ms <= now_ms, outbox.c.tries > 0)
    )
    return connection.execute(query).scalar()


def next_due(connection: Connection) -> int | None:
    """Return when the next entry is due."""
    return connection.execute(select(func.min(outbox.c.not_before_ms)).where(outbox.c.state == "queued")).scalar()


def _entry(row: Any) -> Entry:
    return Entry(
        seq=row.seq,
        id=row.id,
        message=_message.decode(row.body),
        account_id=row.account_id,
        contact=row.contact,
        created_at=row.created_at_ms,
        channel_id=row.channel_id,
        tries=row.tries,
        given_up=msgspec.json.decode(row.given_up, type=list[str]),
        is_doubtful=row.is_doubtful,
    )
