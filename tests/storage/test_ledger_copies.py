"""Checkpoints out of the writer's reach: stores, folders, witnesses and the log; what waits while a place is away."""

from __future__ import annotations

import io
import logging
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from domain.clock import SystemClock
from domain.errors import IntegrityError, InvalidSettings, Refused, StoreUnavailable
from domain.settings import Settings
from storage.ledger.batches import MAX_ENTRIES, PREFIX, read_batches, restore
from storage.ledger.check import Check
from storage.ledger.checkpoint import open_checkpoint
from storage.ledger.keeper import Keeper, keeper, look_at_places, places
from storage.ledger.keys import Keys
from storage.ledger.ledger import Ledger
from storage.objects.connect import connect
from storage.objects.port import ObjectStore
from tests.services.minio import MinioServer
from tests.storage import test_object_store
from tests.storage.ledger_child import entry
from tests.storage.ledger_services import Witness
from tests.storage.test_ledger import change
from tests.storage.test_ledger_checkpoint import KEY, key_of

KEYS = Keys(KEY, [KEY.verifier])
WITNESS = key_of(7, "witness.example.org")
CLOCK = SystemClock()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        store=f"file:{tmp_path}/store",
        ledger=f"sqlite:///{tmp_path}/ledger.db",
        ledger_key_file=f"{tmp_path}/ledger.key",
        ledger_lock_days=1,
    )


@pytest.fixture
async def ledger(settings: Settings) -> AsyncIterator[Ledger]:
    opened = await Ledger.connect(settings.ledger)
    yield opened
    await opened.close()


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[ObjectStore]:
    opened = connect(settings)
    yield opened
    await opened.close()


@pytest.fixture
def witness() -> Iterator[Witness]:
    with Witness(KEY.verifier, WITNESS) as service:
        yield service


def keep(settings: Settings, ledger: Ledger, store: ObjectStore, copies: str = "store,log") -> Keeper:
    return keeper(msgspec.structs.replace(settings, checkpoint_copies=copies), ledger, KEYS, store, CLOCK)


async def grow(ledger: Ledger, count: int) -> None:
    begin = await ledger.size()
    await ledger.append([entry("cam-1", begin + number) for number in range(count)])


async def objects(store: ObjectStore, prefix: str = "ledger/") -> list[str]:
    return [listed.key async for listed in store.list(prefix)]


async def test_one_turn_puts_everything_where_it_belongs(
    settings: Settings, ledger: Ledger, store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    one = keep(settings, ledger, store)
    assert [place.name for place in one.copier.places] == ["store", "log"]
    await grow(ledger, 5)
    state = await one.turn()
    await grow(ledger, 2)
    state = await one.turn()
    assert (state.troubles, state.faults, state.unwritten) == ({}, {}, 0)
    assert [(place.name, place.waiting, place.trouble) for place in state.places] == [("store", 0, ""), ("log", 0, "")]
    assert await objects(store) == [
        "ledger/checkpoints/000000000005.txt",
        "ledger/checkpoints/000000000007.txt",
        "ledger/entries/000000000000-000000000005.ndjson",
        "ledger/entries/000000000005-000000000007.ndjson",
    ]
    notes = [note async for note in one.copier.places[0].held()]
    assert notes == [checkpoint.note async for checkpoint in ledger.checkpoints()]
    said = [record.getMessage() for record in caplog.records if "ledger checkpoint" in record.getMessage()]
    assert len(said) == 2
    assert all(word in said[1] for word in notes[1].split())
    await one.close()


async def test_the_objects_are_locked(settings: Settings, ledger: Ledger, store: ObjectStore) -> None:
    one = keep(settings, ledger, store)
    await grow(ledger, 5)
    await one.turn()
    for key in await objects(store):
        head = await store.head(key)
        assert head is not None
        assert head.retain_until is not None
        assert abs(head.retain_until - CLOCK.now() - 86_400_000) < 60_000
        with pytest.raises(Refused, match="locked"):
            await store.delete(key)
    await one.close()


async def test_a_turn_with_nothing_new_does_nothing(settings: Settings, ledger: Ledger, store: ObjectStore) -> None:
    one = keep(settings, ledger, store)
    await one.turn()
    assert await objects(store) == []
    await grow(ledger, 1)
    await one.turn()
    before = await objects(store)
    await one.turn()
    assert await objects(store) == before
    await one.close()


async def test_what_a_place_that_was_away_has_missed_comes_in_order(
    settings: Settings, ledger: Ledger, store: ObjectStore, tmp_path: Path
) -> None:
    away = tmp_path / "second"
    away.write_text("a file where the folder should be")
    one = keep(settings, ledger, store, f"log,file:{away}")
    for _ in range(3):
        await grow(ledger, 2)
        state = await one.turn()
    stands = {place.name: place for place in state.places}[f"file:{away}"]
    assert (stands.waiting, stands.delivered_at, stands.contradicts) == (3, None, False)
    assert stands.trouble
    await one.close()
    away.unlink()
    again = keep(settings, ledger, store, f"log,file:{away}")  # another life: what waited was in no process's memory
    state = await again.turn()
    assert [place.waiting for place in state.places] == [0, 0]
    held = [open_checkpoint(note, [KEY.verifier]).size async for note in again.copier.places[1].held()]
    assert held == [2, 4, 6]
    await again.close()


async def test_a_store_that_is_away_keeps_no_checkpoint_from_being_signed(
    settings: Settings, ledger: Ledger, tmp_path: Path
) -> None:
    (tmp_path / "store").write_text("a file where the folder should be")
    store = connect(settings)
    one = keep(settings, ledger, store)
    await grow(ledger, 4)
    state = await one.turn()
    assert "write" in state.troubles
    assert (state.unwritten, state.faults) == (4, {})
    assert [place.waiting for place in state.places] == [1, 0]
    (tmp_path / "store").unlink()
    state = await one.turn()
    assert (state.unwritten, state.troubles) == (0, {})
    assert len(await objects(store)) == 2
    await one.close()
    await store.close()


async def test_another_checkpoint_in_a_place_is_a_contradiction(
    settings: Settings, ledger: Ledger, store: ObjectStore
) -> None:
    await grow(ledger, 4)
    one = keep(settings, ledger, store)
    await one.turn()
    await one.close()
    other = await Ledger.connect(settings.ledger.replace("ledger.db", "rewritten.db"))
    await other.append([entry("cam-2", number) for number in range(4)])
    forger = keep(settings, other, store)  # with our own key
    state = await forger.turn()
    assert [place.contradicts for place in state.places] == [True, False]
    assert set(state.faults) == {"write", "store"}
    await forger.close()
    await other.close()


async def test_a_witness_follows_and_its_cosignature_is_kept(
    settings: Settings, ledger: Ledger, store: ObjectStore, witness: Witness
) -> None:
    one = keep(settings, ledger, store, f"store,{witness.url}")
    for count in (1, 6, 57):
        await grow(ledger, count)
        assert (await one.turn()).troubles == {}
    assert witness.seen is not None
    assert witness.seen.size == 64
    receipt = {delivery.place: delivery.receipt for delivery in await ledger.deliveries()}[witness.url]
    newest = await ledger.latest_checkpoint()
    assert newest is not None
    assert open_checkpoint(newest.note + receipt, [KEY.verifier, WITNESS.verifier]).root == witness.seen.root
    await one.close()


async def test_a_witness_that_knows_more_than_we_remember(
    settings: Settings, ledger: Ledger, store: ObjectStore, witness: Witness, tmp_path: Path
) -> None:
    one = keep(settings, ledger, store, f"log,{witness.url}")
    await grow(ledger, 10)
    await one.turn()
    change(tmp_path / "ledger.db", "DELETE FROM ledger_deliveries")
    await grow(ledger, 3)
    state = await one.turn()
    assert [place.trouble for place in state.places] == ["", ""]
    assert witness.seen is not None
    assert witness.seen.size == 13
    await one.close()


async def test_a_witness_that_forgot(settings: Settings, ledger: Ledger, store: ObjectStore, witness: Witness) -> None:
    one = keep(settings, ledger, store, f"log,{witness.url}")
    await grow(ledger, 10)
    await one.turn()
    witness.seen = None
    await grow(ledger, 3)
    assert [place.trouble for place in (await one.turn()).places] == ["", ""]
    await one.close()


async def test_a_witness_does_not_follow_a_rewritten_ledger(
    settings: Settings, ledger: Ledger, store: ObjectStore, witness: Witness
) -> None:
    await grow(ledger, 10)
    one = keep(settings, ledger, store, f"log,{witness.url}")
    await one.turn()
    await one.close()
    for count in (20, 10, 4):  # longer, as long, shorter
        other = await Ledger.connect(settings.ledger.replace("ledger.db", f"rewritten-{count}.db"))
        await other.append([entry("cam-2", number) for number in range(count)])
        forger = keep(settings, other, store, f"log,{witness.url}")
        state = await forger.turn()
        assert list(state.faults) == [*(["write"] if count == 10 else []), witness.url]
        await forger.close()
        await other.close()
    assert witness.seen is not None
    assert witness.seen.root == await ledger.root(10)


async def test_a_witness_that_is_away_or_says_no(
    settings: Settings, ledger: Ledger, store: ObjectStore, witness: Witness
) -> None:
    one = keep(settings, ledger, store, f"log,{witness.url}")
    await grow(ledger, 10)
    witness.stop()
    state = await one.turn()
    assert (state.places[1].waiting, state.faults) == (1, {})
    witness.start()
    for code, kind in ((500, "text/plain"), (404, "text/plain"), (429, "text/plain"), (302, "text/html")):
        witness.broken = lambda code=code, kind=kind: (code, kind, b"no")
        state = await one.turn()
        assert str(code) in state.places[1].trouble
        assert not state.places[1].contradicts
    witness.broken = lambda: (409, "text/plain", b"no")
    assert (await one.turn()).places[1].contradicts
    witness.broken = None
    assert (await one.turn()).places[1].trouble == ""
    await one.close()


@pytest.mark.parametrize(
    ("copies", "says"),
    [
        ("pigeon", "pigeon"),
        ("store,store", "twice"),
        ("s3://nowhere", "checkpoint_copies: store"),
        ("s3://key@127.0.0.1:1/bucket?secret_file=/nothing", "checkpoint_copies: store_secret_file"),
    ],
)
async def test_places_that_cannot_be(
    settings: Settings, ledger: Ledger, store: ObjectStore, copies: str, says: str
) -> None:
    with pytest.raises(InvalidSettings, match=says):
        places(msgspec.structs.replace(settings, checkpoint_copies=copies), ledger, store, CLOCK)


async def test_places_are_looked_at_without_being_given_anything(
    settings: Settings, ledger: Ledger, store: ObjectStore, tmp_path: Path
) -> None:
    (tmp_path / "taken").touch()

    async def look(copies: str) -> list[str]:
        return await look_at_places(msgspec.structs.replace(settings, checkpoint_copies=copies), ledger, store, CLOCK)

    assert await look(f"store,file:{tmp_path}/second") == ["store", f"file:{tmp_path}/second"]
    assert await objects(store) == []
    with pytest.raises(InvalidSettings, match="names 1 of at least 2 places"):
        await look("log")
    with pytest.raises(StoreUnavailable, match="taken"):
        await look(f"log,file:{tmp_path}/taken")


async def test_a_second_bucket(
    settings: Settings, ledger: Ledger, store: ObjectStore, minio: MinioServer, tmp_path: Path
) -> None:
    bucket = test_object_store.new_bucket(minio)
    secret = tmp_path / "secret"
    secret.write_text(minio.secret_key)
    address = f"s3://{minio.access_key}@{minio.endpoint}/{bucket}?tls=0&secret_file={secret}"
    one = keep(settings, ledger, store, f"store,{address}")
    await grow(ledger, 3)
    state = await one.turn()
    assert [place.trouble for place in state.places] == ["", ""]
    assert [note async for note in one.copier.places[1].held()] == [note async for note in one.copier.places[0].held()]
    second = one.copier.places[1]
    before = [note async for note in second.held()]
    key = "ledger/checkpoints/000000000003.txt"
    minio.client().put_object(bucket, key, io.BytesIO(b"another"), 7)
    assert [note async for note in second.held()] == before  # the first version is what counts
    minio.client().remove_object(bucket, key)
    assert [note async for note in second.held()] == []
    found = [str(fault) async for fault in Check(ledger, KEYS.trusted, one.copier.places).run()]
    assert found == [f"checkpoint 3 in {address}: was delivered and is gone"]
    await one.close()


# The entries in the store


async def test_a_lost_database_comes_back_from_the_store(
    settings: Settings, ledger: Ledger, store: ObjectStore
) -> None:
    one = keep(settings, ledger, store)
    for count in (3, 700, 1):
        await grow(ledger, count)
        await one.turn()
    await one.close()
    for have in (0, 1, 500):
        again = await Ledger.connect(settings.ledger.replace("ledger.db", f"again-{have}.db"))
        await again.append([entry("cam-1", number) for number in range(have)])
        assert await restore(again, store) == 704 - have
        assert await again.root() == await ledger.root()
        await again.close()


async def test_batches_that_overlap_agree(settings: Settings, ledger: Ledger, store: ObjectStore) -> None:
    one = keep(settings, ledger, store)
    await grow(ledger, 5)
    await one.turn()
    change(Path(settings.ledger.removeprefix("sqlite:///")), "DELETE FROM ledger_deliveries")  # a crash before it
    await grow(ledger, 3)
    await one.turn()
    await one.close()
    assert len(await objects(store, PREFIX)) == 2
    found = [pair async for pair in read_batches(store)]
    assert found == [pair async for pair in ledger.read()]


async def test_much_at_once_is_cut(
    settings: Settings, ledger: Ledger, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.ledger.batches.MAX_BYTES", 2_000)
    assert MAX_ENTRIES > 40
    one = keep(settings, ledger, store)
    await grow(ledger, 40)
    await one.turn()
    await one.close()
    assert len(await objects(store, PREFIX)) > 3
    assert [pair async for pair in read_batches(store)] == [pair async for pair in ledger.read()]


async def put(store: ObjectStore, key: str, data: bytes) -> None:
    await store.put(
        key,
        data,
        sha256=test_object_store.digest(data),
        retain_until=CLOCK.now().plus(1000),
        tags={},
        metadata={},
    )


@pytest.mark.parametrize(
    ("key", "data", "says"),
    [
        ("000000000003-000000000004", b"x\n", "entries 2 to 3 are not in the store"),
        ("000000000001-000000000003", b"x\ny\n", "does not agree"),
        ("000000000002-000000000004", b"x\n", "does not hold 2 entries"),
        ("000000000002-000000000003", b"x", "does not hold 1 entries"),
        ("000000000003-000000000003", b"", "is no batch"),
        ("rubbish", b"", "is no batch"),
    ],
)
async def test_batches_that_were_tampered_with(store: ObjectStore, key: str, data: bytes, says: str) -> None:
    await put(store, f"{PREFIX}000000000000-000000000002.ndjson", b"a\nb\n")
    await put(store, f"{PREFIX}{key}.ndjson", data)
    with pytest.raises(IntegrityError, match=says):
        _ = [pair async for pair in read_batches(store)]


async def test_a_store_that_says_something_else_than_the_ledger(
    settings: Settings, ledger: Ledger, store: ObjectStore
) -> None:
    one = keep(settings, ledger, store)
    await grow(ledger, 5)
    await one.turn()
    await one.close()
    other = await Ledger.connect(settings.ledger.replace("ledger.db", f"{uuid.uuid4().hex}.db"))
    await other.append([entry("cam-2", number) for number in range(3)])
    with pytest.raises(IntegrityError, match="what the store has as entry 2"):
        await restore(other, store)
    await other.close()
