"""The catalogue made anew from objects and ledger alone equals the one that was lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Table, select

from domain.clock import Instant, ManualClock, SystemClock
from domain.errors import InvalidInput
from domain.events import Classified, Hold
from storage.catalog.catalog import Catalog
from storage.catalog.register import Register
from storage.catalog.tables import decisions, holds, releases, segments, sessions
from storage.ledger.batches import restore
from storage.ledger.ledger import Ledger
from storage.rebuild import rebuild
from storage.retention.retention import Retention
from tests.services.minio import MinioServer
from tests.services.postgres import PostgresServer
from tests.storage.verify_case import Case, case

NOW = SystemClock().now()
KNOWN = (segments, decisions, holds, releases)
"""Tables that can be known from objects and ledger."""


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.minio)])
async def lived(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Case, Catalog]]:
    """A site in which everything has happened that changes a row."""
    minio: MinioServer | None = request.getfixturevalue("minio") if request.param == "s3" else None
    async with case(tmp_path, minio, clock=ManualClock(NOW)) as one:
        catalog = await Catalog.connect(f"sqlite:///{tmp_path}/catalog.db")
        await one.fill()
        for row in one.rows:
            await catalog.add_segment(row)
            await catalog.announced(row.key)
        retention = Retention(one.store, catalog, one.ledger, clock=one.clock, policy_of=lambda _: "wucheng")
        await live(one, retention)
        yield one, catalog
        await catalog.close()


async def live(one: Case, retention: Retention) -> None:
    """Classes that lengthen locks, holds set, said again and lifted, and a deletion with its receipt."""
    at = one.clock.now()
    for session, recorder in (("s7", "cam-2"), ("s1", "cam-1")):
        said = Hold(at=at, recorder_id=recorder, session_id=session, reason="complaint", by="chief", released=False)
        await retention.apply(said)
    lifted = Hold(
        at=at.plus(5), recorder_id="cam-1", session_id="s1", reason="settled", by="chief", released=True,
        confirmed_by="deputy",
    )  # fmt: skip
    await retention.apply(lifted)
    case_file = Classified(
        at=at, recorder_id="cam-2", session_id="s7", class_="evidence", reason="case", by="officer", case="2026-1",
        closed_at=at, keep_until=at.plus(3 * 365 * 86_400_000),
    )  # fmt: skip
    await retention.apply(case_file)
    gone = one.rows[3]
    told = {"key": gone.key, "version_id": gone.version_id}
    await one.say("deletion", "s2", stage="intent", **told)
    one.wait(60)
    await one.say("deletion", "s2", stage="done", **told)
    await Register(retention.catalog).deleted(gone.key, one.clock.now())


async def rows(catalog: Catalog, table: Table) -> list[Any]:
    """Everything in a table, ordered."""
    found = await catalog.database.read(lambda connection: connection.execute(select(table)).all())
    return sorted((tuple(row) for row in found), key=str)


async def compare(old: Catalog, new: Catalog) -> None:
    for table in KNOWN:
        found = await rows(new, table)
        assert found == await rows(old, table), table.name
        assert found, table.name


async def test_it_equals_the_old_one(lived: tuple[Case, Catalog], tmp_path: Path) -> None:
    one, old = lived
    new = await Catalog.connect(f"sqlite:///{tmp_path}/new.db")
    made = await rebuild(new, one.store, one.ledger, NOW.plus(-86_400_000))
    await compare(old, new)
    lock = {row.key: row.retain_until for row in (await new.list_segments()).items}
    assert lock[one.rows[2].key] > one.rows[2].retain_until  # lengthened since the ledger was told
    assert (made.segments, made.deleted, made.decisions, made.holds, made.releases) == (4, 1, 1, 2, 1)
    assert {recorder: row.key for recorder, row in made.newest.items()} == {
        "cam-1": one.rows[3].key,
        "cam-2": one.rows[2].key,
    }
    assert made.absent == []
    await new.close()


async def test_following_the_ledger_again_changes_nothing(lived: tuple[Case, Catalog], tmp_path: Path) -> None:
    one, old = lived
    new = await Catalog.connect(f"sqlite:///{tmp_path}/new.db")
    await rebuild(new, one.store, one.ledger, NOW.plus(-86_400_000))
    await Retention(one.store, new, one.ledger, clock=one.clock, policy_of=lambda _: "wucheng").follow()
    await compare(old, new)
    await new.close()


async def test_the_database_of_the_ledger_may_be_lost_too(lived: tuple[Case, Catalog], tmp_path: Path) -> None:
    one, old = lived
    await one.keeper.turn()
    ledger = await Ledger.connect(f"sqlite:///{tmp_path}/other.db")
    assert await restore(ledger, one.store) == await one.ledger.size()
    new = await Catalog.connect(f"sqlite:///{tmp_path}/new.db")
    await rebuild(new, one.store, ledger, NOW.plus(-86_400_000))
    await compare(old, new)
    await ledger.close()
    await new.close()


@pytest.mark.postgres
async def test_onto_postgres(lived: tuple[Case, Catalog], postgres: PostgresServer, tmp_path: Path) -> None:
    one, old = lived
    new = await Catalog.connect(postgres.create_database(f"rebuilt_{tmp_path.name[-20:].replace('-', '_')}"))
    await rebuild(new, one.store, one.ledger, NOW.plus(-86_400_000))
    await compare(old, new)
    await new.close()


async def test_sessions_that_the_log_no_longer_has(lived: tuple[Case, Catalog], tmp_path: Path) -> None:
    one, _ = lived
    new = await Catalog.connect(f"sqlite:///{tmp_path}/new.db")
    made = await rebuild(new, one.store, one.ledger, NOW.plus(86_400_000))
    assert made.sessions == 3
    session = await new.get_session("cam-1", "s1")
    assert session is not None
    assert (session.opened_at, session.completed_at) == (one.rows[0].from_at, one.rows[1].to_at)
    await new.close()
    recent = await Catalog.connect(f"sqlite:///{tmp_path}/recent.db")
    await rebuild(recent, one.store, one.ledger, NOW.plus(-86_400_000))
    assert await rows(recent, sessions) == []
    await recent.close()


async def test_a_catalogue_that_is_not_empty_is_left_alone(lived: tuple[Case, Catalog]) -> None:
    one, old = lived
    before = await rows(old, segments)
    with pytest.raises(InvalidInput, match="empty database"):
        await rebuild(old, one.store, one.ledger, Instant(0))
    assert await rows(old, segments) == before


async def test_what_the_store_does_not_have_is_named(tmp_path: Path) -> None:
    async with case(tmp_path) as one:
        await one.fill()
        (tmp_path / "store" / "objects" / one.rows[1].key).unlink()
        new = await Catalog.connect(f"sqlite:///{tmp_path}/new.db")
        made = await rebuild(new, one.store, one.ledger, Instant(0))
        assert made.absent == [one.rows[1].key]
        assert [row.key for row in (await new.list_segments()).items].count(one.rows[1].key) == 1
        assert msgspec.structs.asdict(made)["segments"] == 4
        await new.close()
