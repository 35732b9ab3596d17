"""Requests for footage in the office's database."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from domain.clock import Instant
from domain.errors import InvalidInput
from storage.office import requests, supervision
from storage.office.drawing import Item
from storage.office.office import Office
from storage.office.request_steps import DAY_MS, Application, Decision, Request, ask, decide, withdraw
from storage.office.supervision import Answer, Draw, Lead, Result, assign, handle

T0 = Instant(1_800_000_000_000)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def office(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Office]:
    address = f"sqlite:///{tmp_path}/office.db"
    if request.param == "postgres":
        server = request.getfixturevalue("postgres")
        address = server.create_database(f"requests_{uuid.uuid4().hex[:12]}")
    opened = await Office.connect(address)
    yield opened
    await opened.close()


def asked(number: int, want: str = "view", by: str = "zhang") -> Application:
    made = Application(
        id=f"{number:016x}",
        recorder_id="dev-1",
        session_id="s1",
        from_at=T0,
        to_at=T0.plus(60_000),
        policy="wucheng",
        who="staff",
        want="view",
        asked_by=by,
        asked_name=by,
        asked_at=T0.plus(number),
        reason="核查",
        matter="12号",
        steps=("approve",),
    )
    return msgspec.structs.replace(made, want=want)


def granted(application: Application) -> Request:
    said = Decision(step="approve", agrees=True, by="li", name="李四", at=T0.plus(100))
    return decide(ask(application, 7), said, 7)


async def test_what_is_kept_comes_back_as_it_was(office: Office) -> None:
    kept = await requests.add(office, ask(asked(1), 7))
    assert await requests.get(office, kept.id) == kept
    after = await requests.change(office, kept, granted(asked(1)))
    assert await requests.get(office, kept.id) == after
    assert await requests.get(office, "f" * 16) is None


async def test_of_two_who_change_it_at_once_one_is_told(office: Office) -> None:
    kept = await requests.add(office, ask(asked(1), 7))
    await requests.change(office, kept, granted(asked(1)))
    with pytest.raises(InvalidInput, match="meanwhile"):
        await requests.change(office, kept, withdraw(kept.request, "zhang", "张三", T0))
    found = await requests.get(office, kept.id)
    assert found is not None
    assert found.request.state == "granted"


async def test_the_newest_stand_first_and_are_found_by_state_and_person(office: Office) -> None:
    for number, by in enumerate(("zhang", "li", "zhang")):
        await requests.add(office, ask(asked(number, by=by), 7))
    first = await requests.get(office, f"{0:016x}")
    assert first is not None
    await requests.change(office, first, granted(first.request.application))
    assert [one.id[-1] for one in await requests.newest(office)] == ["2", "1", "0"]
    assert [one.id[-1] for one in await requests.newest(office, states=["asked"])] == ["2", "1"]
    assert [one.id[-1] for one in await requests.newest(office, asked_by="zhang")] == ["2", "0"]


async def test_a_copy_that_was_granted_waits_to_be_made(office: Office) -> None:
    kept = await requests.add(office, ask(asked(1, "copy"), 7))
    assert await requests.to_pack(office) == []
    await requests.change(office, kept, granted(asked(1, "copy")))
    assert [one.packing for one in await requests.to_pack(office)] == ["waiting"]
    await requests.set_packing(office, kept.id, "ready", sha256="a" * 64)
    assert await requests.to_pack(office) == []
    found = await requests.get(office, kept.id)
    assert found is not None
    assert (found.packing, found.packed_sha256) == ("ready", "a" * 64)


async def test_grants_are_those_that_hold_now_for_this_person_and_recorder(office: Office) -> None:
    for number, want in enumerate(("view", "copy")):
        kept = await requests.add(office, ask(asked(number, want), 7))
        await requests.change(office, kept, granted(asked(number, want)))
    await requests.add(office, ask(asked(9), 7))
    now = T0.plus(200)
    assert [one.id[-1] for one in await requests.grants_of(office, "zhang", "dev-1", now)] == ["0"]
    assert await requests.grants_of(office, "li", "dev-1", now) == []
    assert await requests.grants_of(office, "zhang", "dev-2", now) == []
    assert await requests.grants_of(office, "zhang", "dev-1", T0.plus(100 + 7 * DAY_MS)) == []


def lead(number: int, due_h: int | None = None) -> Lead:
    due = None if due_h is None else T0.plus(due_h * 3_600_000)
    return Lead(
        id=f"{number:016x}", source="ZJ", reference=f"n{number}", title="线索", text="", received_at=T0, due_at=due
    )


async def test_leads_without_a_time_stand_first_and_then_those_that_are_over_first(office: Office) -> None:
    for number, due_h in enumerate((48, None, 24)):
        await supervision.add_lead(office, lead(number, due_h))
    assert [one.reference for one in await supervision.list_leads(office)] == ["n1", "n2", "n0"]
    same = msgspec.structs.replace(lead(9, 1), reference="n1")
    assert (await supervision.add_lead(office, same)).id == lead(1).id
    found = await supervision.get_lead(office, lead(1).id)
    assert found is not None
    with pytest.raises(InvalidInput, match="due"):
        assign(found[0], "zhang", None)
    given = assign(found[0], "zhang", T0.plus(1000))
    await supervision.change_lead(office, given, found[1])
    with pytest.raises(InvalidInput, match="meanwhile"):
        await supervision.change_lead(office, given, found[1])
    await supervision.change_lead(office, handle(given, "已改正", "zhang", T0.plus(2000)), found[1] + 1)
    (done,) = await supervision.list_leads(office, states=["handled"])
    assert done.overdue(T0)
    assert [one.reference for one in await supervision.list_leads(office, states=["open"])] == ["n2", "n0"]


async def test_a_draw_and_all_its_results_come_back(office: Office) -> None:
    item = Item("east", "dev-1/s1")
    made = Draw(
        id="d" * 16,
        policy="wucheng",
        check_id="on_site",
        unit_id="",
        from_at=T0,
        to_at=T0.plus(1),
        population=(item,),
        population_sha256="0" * 64,
        entry=3,
        seed="5e" * 32,
        drawn=(item,),
        by="li",
        by_name="李",
        drawn_at=T0,
        facts={"dev-1/s1": {"gaps": 2}},
    )
    await supervision.add_draw(office, made)
    assert await supervision.get_draw(office, made.id) == made
    assert await supervision.all_draws(office) == [made]
    for verdict in ("problem", "ok"):
        answers = (Answer(point="一", verdict=verdict, note="无"),)
        await supervision.add_result(
            office, Result(draw_id=made.id, item=item.name, answers=answers, by="li", by_name="李", at=T0)
        )
    found = await supervision.results_of(office, [made.id, "none"])
    assert [one.answers[0].verdict for one in found[made.id]] == ["problem", "ok"]  # both stay, the newer last
    assert found["none"] == []
