"""Checks that were drawn, what was found in them, and leads that came from elsewhere.

Written once; a result that was wrong gets a newer one beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Index, Integer, String, Table, Text, UniqueConstraint, select

from domain.clock import Instant
from domain.errors import InvalidInput
from domain.wire import convert, encode
from storage.office.drawing import Item
from storage.office.office import Office, metadata
from storage.office.request_steps import Paper

Verdict = Literal["ok", "problem", "not_applicable"]
LeadState = Literal["open", "assigned", "handled"]
MAX_TEXT = 4_000

draws = Table(
    "check_draws",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("policy", String(64), nullable=False),
    Column("check_id", String(64), nullable=False),
    Column("unit_id", String(200), nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("to_ms", BigInteger, nullable=False),
    Column("drawn_at_ms", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("check_draws_by_time", "drawn_at_ms", "id"),
)
results = Table(
    "check_results",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("draw_id", String(32), nullable=False),
    Column("item", String(300), nullable=False),
    Column("body", Text, nullable=False),
    Index("check_results_by_draw", "draw_id", "number"),
)
leads = Table(
    "leads",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("source", String(200), nullable=False),
    Column("reference", String(200), nullable=False),
    Column("state", String(16), nullable=False),
    Column("unit_id", String(200), nullable=False),
    Column("assignee", String(200), nullable=False),
    Column("due_ms", BigInteger),
    Column("received_ms", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("body", Text, nullable=False),
    UniqueConstraint("source", "reference", name="leads_once"),
    Index("leads_by_state", "state", "due_ms"),
)


class Draw(msgspec.Struct, frozen=True, kw_only=True):
    """A draw.

    Attributes:
        id: 16 hex digits.
        policy: Whose check.
        check_id: Which, of the policy's.
        unit_id: In which unit; empty: in all that whoever drew may see.
        from_at: Beginning of the time that is checked.
        to_at: End of it.
        population: What could be drawn.
        population_sha256: Its hash, as the ledger has it.
        entry: Index of that entry.
        seed: Root of the ledger with that entry in it, hex.
        drawn: What was drawn, in order.
        by: Account that drew.
        by_name: What people call them.
        drawn_at: When.
        facts: Of each drawn item, what the records say of it: figures by name.
    """

    id: str
    policy: str
    check_id: str
    unit_id: str
    from_at: Instant
    to_at: Instant
    population: tuple[Item, ...]
    population_sha256: str
    entry: int
    seed: str
    drawn: tuple[Item, ...]
    by: str
    by_name: str
    drawn_at: Instant
    facts: dict[str, dict[str, int]] = {}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What was found on one point of a form."""

    point: str
    verdict: Verdict
    note: str = ""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A filled-in form of one item.

    Attributes:
        draw_id: Of which draw.
        item: Which of the drawn.
        answers: Point by point.
        papers: What was put to it.
        by: Account.
        by_name: What people call them.
        at: When.
    """

    draw_id: str
    item: str
    answers: tuple[Answer, ...]
    by: str
    by_name: str
    at: Instant
    papers: tuple[Paper, ...] = ()


class Lead(msgspec.Struct, frozen=True, kw_only=True):
    """Something that may be an offence, pushed here or entered by hand (W-NS 第八条, 第十七条).

    Attributes:
        id: 16 hex digits.
        source: Who pushed it: the integration's account, or who entered it.
        reference: Its number there; the same one again is the same lead.
        title: In a line.
        text: In words.
        unit_id: Of which unit; empty where nobody said.
        recorder_id: About which recorder, where about one.
        received_at: When it came.
        due_at: By when it is to be handled; None: nobody has set it yet.
        state: Where it stands.
        assignee: Account that handles it.
        outcome: What came of it.
        handled_at: When.
        handled_by: By whom.
    """

    id: str
    source: str
    reference: str
    title: str
    text: str
    received_at: Instant
    unit_id: str = ""
    recorder_id: str = ""
    due_at: Instant | None = None
    state: LeadState = "open"
    assignee: str = ""
    outcome: str = ""
    handled_at: Instant | None = None
    handled_by: str = ""

    def overdue(self, now: Instant) -> bool:
        """Tell whether its time is over: now, or when it was handled."""
        return self.due_at is not None and (self.handled_at or now) > self.due_at


def assign(lead: Lead, assignee: str, due_at: Instant | None) -> Lead:
    """Give a lead to somebody.

    Raises:
        InvalidInput: It was handled, or nobody is named, or it has no time.
    """
    if lead.state == "handled":
        raise InvalidInput("lead: it was handled", "lead")
    if not assignee.strip():
        raise InvalidInput("assignee: who handles it", "assignee")
    due = due_at or lead.due_at
    if due is None:
        raise InvalidInput("due: a lead is handled within a set time; set it", "due")
    return msgspec.structs.replace(lead, state="assigned", assignee=assignee.strip(), due_at=due)


def handle(lead: Lead, outcome: str, by: str, at: Instant) -> Lead:
    """Say what came of a lead.

    Raises:
        InvalidInput: It was handled, or nothing is said.
    """
    if lead.state == "handled":
        raise InvalidInput("lead: it was handled", "lead")
    if not outcome.strip() or len(outcome) > MAX_TEXT:
        raise InvalidInput(f"outcome: 1 to {MAX_TEXT} characters", "outcome")
    return msgspec.structs.replace(lead, state="handled", outcome=outcome.strip(), handled_at=at, handled_by=by)


# Draws


async def add_draw(office: Office, made: Draw) -> None:
    """Keep a draw."""
    row = {
        "id": made.id,
        "policy": made.policy,
        "check_id": made.check_id,
        "unit_id": made.unit_id,
        "from_ms": int(made.from_at),
        "to_ms": int(made.to_at),
        "drawn_at_ms": int(made.drawn_at),
        "body": encode(made).decode(),
    }
    await office.write(lambda connection: connection.execute(draws.insert().values(row)))


async def get_draw(office: Office, one: str) -> Draw | None:
    """Return a draw, None where there is none of that id."""
    query = select(draws.c.body).where(draws.c.id == one)
    body = await office.read(lambda connection: connection.execute(query).scalar())
    return None if body is None else convert(msgspec.json.decode(body), Draw)


async def all_draws(office: Office, limit: int = 200) -> list[Draw]:
    """Return draws, the newest first."""
    query = select(draws.c.body).order_by(draws.c.drawn_at_ms.desc(), draws.c.id).limit(limit)
    bodies = await office.read(lambda connection: connection.execute(query).scalars().all())
    return [convert(msgspec.json.decode(body), Draw) for body in bodies]


async def add_result(office: Office, made: Result) -> None:
    """Keep a result; a former one of the same item stays beside it."""
    row = {"draw_id": made.draw_id, "item": made.item, "body": encode(made).decode()}
    await office.write(lambda connection: connection.execute(results.insert().values(row)))


async def results_of(office: Office, draw_ids: Sequence[str]) -> dict[str, list[Result]]:
    """Return the results of draws, in order, by draw."""
    query = select(results.c.body).where(results.c.draw_id.in_(draw_ids)).order_by(results.c.number)
    bodies = await office.read(lambda connection: connection.execute(query).scalars().all())
    found: dict[str, list[Result]] = {one: [] for one in draw_ids}
    for body in bodies:
        result = convert(msgspec.json.decode(body), Result)
        found[result.draw_id].append(result)
    return found


# Leads


async def add_lead(office: Office, lead: Lead) -> Lead:
    """Keep a lead; one that is known by its source and number stays as it is, and is returned."""

    def work(connection: Connection) -> Lead:
        statement = office.insert(leads).values(_lead_row(lead, 0)).on_conflict_do_nothing()
        connection.execute(statement)
        same = (leads.c.source == lead.source, leads.c.reference == lead.reference)
        body: str = connection.execute(select(leads.c.body).where(*same)).scalar_one()
        return convert(msgspec.json.decode(body), Lead)

    return await office.write(work)


async def find_lead(office: Office, source: str, reference: str) -> Lead | None:
    """Return a lead by its number at its source."""
    query = select(leads.c.body).where(leads.c.source == source, leads.c.reference == reference)
    body = await office.read(lambda connection: connection.execute(query).scalar())
    return None if body is None else convert(msgspec.json.decode(body), Lead)


async def get_lead(office: Office, one: str) -> tuple[Lead, int] | None:
    """Return a lead and its version, None where there is none of that id."""
    query = select(leads.c.body, leads.c.version).where(leads.c.id == one)
    row = await office.read(lambda connection: connection.execute(query).one_or_none())
    return None if row is None else (convert(msgspec.json.decode(row[0]), Lead), int(row[1]))


async def change_lead(office: Office, after: Lead, version: int) -> None:
    """Put a lead in place of itself.

    Raises:
        InvalidInput: Somebody else changed it meanwhile.
    """

    def work(connection: Connection) -> None:
        mine = (leads.c.id == after.id, leads.c.version == version)
        if connection.execute(leads.update().where(*mine).values(_lead_row(after, version + 1))).rowcount != 1:
            raise InvalidInput("lead: somebody else changed it meanwhile; look at it again", "lead")

    await office.write(work)


async def list_leads(office: Office, *, states: Sequence[LeadState] = (), limit: int = 500) -> list[Lead]:
    """Return leads: those without a time first, then by the time that is over first."""
    query = select(leads.c.body)
    if states:
        query = query.where(leads.c.state.in_(states))
    query = query.order_by(leads.c.due_ms.is_not(None), leads.c.due_ms, leads.c.received_ms, leads.c.id).limit(limit)
    bodies = await office.read(lambda connection: connection.execute(query).scalars().all())
    return [convert(msgspec.json.decode(body), Lead) for body in bodies]


def _lead_row(lead: Lead, version: int) -> dict[str, Any]:
    return {
        "id": lead.id,
        "source": lead.source,
        "reference": lead.reference,
        "state": lead.state,
        "unit_id": lead.unit_id,
        "assignee": lead.assignee,
        "due_ms": None if lead.due_at is None else int(lead.due_at),
        "received_ms": int(lead.received_at),
        "version": version,
        "body": encode(lead).decode(),
    }
