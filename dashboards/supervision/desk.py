"""What supervisors do: draw, fill in, take in leads, give them to somebody. Said in the ledger first, then done."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from dashboards.parts import Parts
from dashboards.people.rights import Person, Place, Right
from dashboards.problem import Forbidden, Missing
from dashboards.supervision.reading import world_of
from domain.clock import Instant
from domain.errors import InvalidInput
from domain.wire import to_builtins
from policies.model import Check
from storage.ledger.entry import Entry
from storage.office import supervision
from storage.office.drawing import Item, draw, population_sha256
from storage.office.request_steps import EARLIEST, LATEST, Paper
from storage.office.supervision import MAX_TEXT, Answer, Draw, Lead, Result, assign, handle

FACTS = ("gaps", "missing_s", "unexplained", "late")


class SupervisionDesk:
    """See the module.

    Args:
        parts: Of this console.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    # Spot checks

    def check(self, policy: str, check_id: str) -> Check:
        """Return a check of a policy.

        Raises:
            InvalidInput: There is none.
        """
        known = self._parts.book.find(policy)
        found = next((one for one in known.checks if one.id == check_id), None) if known is not None else None
        if found is None:
            raise InvalidInput("check: the policy has no such check", "check")
        return found

    async def population(
        self, person: Person, policy: str, check: Check, *, unit_id: str, start: Instant, end: Instant
    ) -> tuple[list[Item], dict[str, dict[str, int]]]:
        """Return what may be drawn, and what the records say of each: figures by name."""
        world = await world_of(self._parts, start, end, lambda name: self._sees(person, name))
        mine = {
            name: owner
            for name, owner in world.owners.items()
            if owner.policy == policy and unit_id in ("", owner.unit_id)
        }
        if check.subject == "sessions":
            told = [(one.recorder_id, one.session_id) for one in world.sessions if one.recorder_id in mine]
            items = [Item(mine[recorder].unit_id, f"{recorder}/{session}") for recorder, session in told]
        else:
            is_camera = check.subject == "cameras"
            kinds = [name for name, owner in mine.items() if (owner.kind == "premises_camera") is is_camera]
            items = [Item(mine[name].unit_id, name) for name in kinds]
        facts: dict[str, dict[str, int]] = {}
        for one in world.findings:
            names = (one.recorder_id, f"{one.recorder_id}/{one.session_id}")
            name = names[check.subject == "sessions"]
            said = facts.setdefault(name, dict.fromkeys(FACTS, 0))
            if one.kind == "recording.gap":
                seconds = one.evidence.get("seconds")
                said["gaps"] += 1
                said["missing_s"] += (
                    round(seconds) if isinstance(seconds, int | float) and one.status != "closed" else 0
                )
            said["unexplained"] += one.kind == "recording.unexplained_stop" and one.status != "closed"
            said["late"] += one.kind == "upload.overdue"
        return sorted(items), facts

    async def draw(
        self, person: Person, *, policy: str, check_id: str, unit_id: str, start: Instant, end: Instant, count: int
    ) -> Draw:
        """Draw; see `storage.office.drawing` for how it is made sure that nobody chose.

        Raises:
            InvalidInput: There is nothing to draw from, or too much.
        """
        check = self.check(policy, check_id)
        items, facts = await self.population(person, policy, check, unit_id=unit_id, start=start, end=end)
        if not items:
            raise InvalidInput("population: there is nothing to draw from in that time", "population")
        draw(items, "", count)  # says what is wrong before anything is said
        one, now = secrets.token_hex(8), self._parts.clock.now()
        sha256 = population_sha256(items)
        body: dict[str, Any] = {
            "what": "check.population",
            "by": person.account_id,
            "draw": one,
            "policy": policy,
            "check": check_id,
            "unit": unit_id,
            "from": start.rfc3339(),
            "to": end.rfc3339(),
            "count": count,
            "population": len(items),
            "population_sha256": sha256,
        }
        (entry,) = await self._parts.ledger.append([Entry(kind="act", at=now, body=body)])
        seed = (await self._parts.ledger.root(entry + 1)).hex()
        drawn = draw(items, seed, count)
        names = [item.name for item in drawn]
        await self._parts.audit.note(person, "check.drawn", draw=one, seed=seed, entry=entry, drawn=names)
        made = Draw(
            id=one,
            policy=policy,
            check_id=check_id,
            unit_id=unit_id,
            from_at=start,
            to_at=end,
            population=tuple(items),
            population_sha256=sha256,
            entry=entry,
            seed=seed,
            drawn=tuple(drawn),
            by=person.account_id,
            by_name=person.name,
            drawn_at=now,
            facts={name: facts[name] for name in names if name in facts},
        )
        await supervision.add_draw(self._parts.office, made)
        return made

    async def get_draw(self, person: Person, one: str) -> Draw:
        """Return a draw.

        Raises:
            Missing: There is none, or it is not in their keeping.
        """
        made = await supervision.get_draw(self._parts.office, one)
        if made is None or not self.sees_draw(person, made):
            raise Missing(f"no draw {one}")
        return made

    def sees_draw(self, person: Person, made: Draw) -> bool:
        """Tell whether somebody may see a draw: every unit in it is in their keeping."""
        units = {item.unit_id for item in made.population}
        return all(person.may_at(Right.SUPERVISION_SEE, Place(unit_id=unit)) for unit in units)

    async def fill_in(
        self, person: Person, made: Draw, item: str, answers: Sequence[Answer], papers: Sequence[Paper]
    ) -> None:
        """Keep what was found of one that was drawn.

        Raises:
            InvalidInput: It was not drawn, or a point has no answer, or a problem no words.
            Forbidden: They do no checks there.
        """
        drawn = next((one for one in made.drawn if one.name == item), None)
        if drawn is None:
            raise InvalidInput("item: it was not drawn", "item")
        if not person.may_at(Right.CHECK_DO, Place(unit_id=drawn.unit_id)):
            raise Forbidden(f"this takes the right {Right.CHECK_DO}")
        check = self.check(made.policy, made.check_id)
        if [one.point for one in answers] != list(points_of(check)):
            raise InvalidInput("answers: one for each point of the form", "answers")
        for one in answers:
            if len(one.note) > MAX_TEXT or (one.verdict == "problem" and not one.note.strip()):
                raise InvalidInput(f"note: {one.point}: say what is wrong, in at most {MAX_TEXT} characters", "note")
        now = self._parts.clock.now()
        result = Result(
            draw_id=made.id,
            item=item,
            answers=tuple(answers),
            papers=tuple(papers),
            by=person.account_id,
            by_name=person.name,
            at=now,
        )
        await self._parts.audit.note(person, "check.result", draw=made.id, result=to_builtins(result))
        await supervision.add_result(self._parts.office, result)

    # Leads

    async def take_lead(self, person: Person, lead: Lead) -> Lead:
        """Take in a lead; the same one again is the same lead.

        Raises:
            InvalidInput: Its title, text or number is missing or too long.
        """
        for field, most in (("title", 200), ("reference", 200), ("text", MAX_TEXT)):
            text: str = getattr(lead, field)
            if len(text) > most or (field != "text" and (not text.strip() or not text.isprintable())):
                raise InvalidInput(f"{field}: 1 to {most} characters that can be printed", field)
        for field in ("unit_id", "recorder_id"):
            name: str = getattr(lead, field)
            if len(name) > 200 or not name.isprintable():
                raise InvalidInput(f"{field}: at most 200 characters that can be printed", field)
        if lead.due_at is not None and not EARLIEST <= lead.due_at < LATEST:
            raise InvalidInput("due_at: too early or too late", "due_at")
        known = await supervision.find_lead(self._parts.office, lead.source, lead.reference)
        if known is not None:
            return known
        due = "" if lead.due_at is None else lead.due_at.rfc3339()
        facts = {"lead": lead.id, "source": lead.source, "reference": lead.reference, "title": lead.title, "due": due}
        await self._parts.audit.note(person, "lead.received", **facts)
        return await supervision.add_lead(self._parts.office, lead)

    def sees_lead(self, person: Person, lead: Lead) -> bool:
        """Tell whether a lead is for somebody: in their keeping, or given to them."""
        return person.may_at(Right.LEAD_HANDLE, _place(lead))

    async def get_lead(self, person: Person, one: str) -> tuple[Lead, int]:
        """Return a lead and its version.

        Raises:
            Missing: There is none for them.
        """
        found = await supervision.get_lead(self._parts.office, one)
        if found is None or not self.sees_lead(person, found[0]):
            raise Missing(f"no lead {one}")
        return found

    async def assign(self, person: Person, one: str, assignee: str, due_at: Instant | None) -> None:
        """Give a lead to somebody; whoever may only handle their own may not.

        Raises:
            Missing, Forbidden, InvalidInput: As for `supervision.assign`.
        """
        lead, version = await self.get_lead(person, one)
        if not person.may_at(Right.SUPERVISION_SEE, Place(unit_id=lead.unit_id)):
            raise Forbidden(f"this takes the right {Right.SUPERVISION_SEE}")
        after = assign(lead, assignee, due_at)
        due = "" if after.due_at is None else after.due_at.rfc3339()
        await self._parts.audit.note(person, "lead.assigned", lead=one, assignee=after.assignee, due=due)
        await supervision.change_lead(self._parts.office, after, version)

    async def handle(self, person: Person, one: str, outcome: str) -> None:
        """Say what came of a lead."""
        lead, version = await self.get_lead(person, one)
        after = handle(lead, outcome, person.account_id, self._parts.clock.now())
        await self._parts.audit.note(person, "lead.handled", lead=one, outcome=after.outcome)
        await supervision.change_lead(self._parts.office, after, version)

    def _sees(self, person: Person, recorder_id: str) -> bool:
        return person.may_at(Right.SUPERVISION_SEE, self._parts.place(recorder_id))


def points_of(check: Check) -> tuple[str, ...]:
    """Return the points of a check's form; the check itself where the document names none."""
    return check.points or (check.zh,)


def _place(lead: Lead) -> Place:
    return Place(unit_id=lead.unit_id, officers=frozenset({lead.assignee} - {""}))
