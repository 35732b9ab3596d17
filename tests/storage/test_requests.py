"""Requests for footage in the office's database."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from domain.clock import Instant
from domain.errors import InvalidInput
from storage.office import requests
from storage.office.office import Office
from storage.office.request_steps import DAY_MS, Application, Decision, Request, ask, decide, withdraw

T0 = Instant(1_800_000_000_000)


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    opened = await Office.connect(f"sqlite:///{tmp_path}/office.db")
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
