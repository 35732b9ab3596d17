"""Timestamps of a local authority: asked for, checked by us and by openssl, waited for while it is away."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

from domain.clock import Instant, ManualClock, SystemClock
from domain.errors import IntegrityError, InvalidSettings, LedgerUnavailable
from domain.settings import Settings
from storage.ledger import timestamps
from storage.ledger.der import with_certificates_in_order
from storage.ledger.keys import Keys
from storage.ledger.ledger import Ledger
from storage.ledger.notary import Notary
from storage.ledger.statements import Checkpoint
from storage.ledger.timestamps import Authority, Stamper, check, load_roots
from storage.objects.connect import connect
from storage.objects.port import ObjectStore
from tests.storage.ledger_child import entry
from tests.storage.ledger_services import TimeStampingAuthority
from tests.storage.test_ledger_checkpoint import KEY

LOCK_MS = 3_600_000


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TimeStampingAuthority]:
    with TimeStampingAuthority(tmp_path_factory.mktemp("tsa") / "tsa") as service:
        yield service


@pytest.fixture
def tsa(shared: TimeStampingAuthority) -> Iterator[TimeStampingAuthority]:
    shared.broken = None
    yield shared
    shared.broken = None


@pytest.fixture
async def authority(tsa: TimeStampingAuthority) -> AsyncIterator[Authority]:
    opened = Authority(tsa.url, str(tsa.root))
    yield opened
    await opened.close()


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    opened = await Ledger.connect(f"sqlite:///{tmp_path}/ledger.db")
    yield opened
    await opened.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    opened = connect(Settings(store=f"file:{tmp_path}/store"))
    yield opened
    await opened.close()


async def test_a_stamp_holds_for_us_and_for_openssl(authority: Authority, tsa: TimeStampingAuthority) -> None:
    token = await authority.stamp(b"a checkpoint")
    at = check(token, b"a checkpoint", load_roots(str(tsa.root)))
    assert abs(at - SystemClock().now()) < 10_000
    assert "Verification: OK" in tsa.verify(token, b"a checkpoint")


async def test_a_stamp_of_something_else(authority: Authority, tsa: TimeStampingAuthority, tmp_path: Path) -> None:
    token = await authority.stamp(b"a checkpoint")
    with pytest.raises(IntegrityError, match="of something else"):
        check(token, b"another", [])
    stranger = TimeStampingAuthority(tmp_path / "stranger")
    with pytest.raises(IntegrityError, match="timestamp"):
        check(token, b"a checkpoint", load_roots(str(stranger.root)))


async def test_what_is_changed_in_a_stamp(authority: Authority, tsa: TimeStampingAuthority) -> None:
    """No flipped bit makes it say another time: it is found, or it stands in the root's copy, which nobody reads."""
    token = await authority.stamp(b"a checkpoint")
    roots = load_roots(str(tsa.root))
    at = check(token, b"a checkpoint", roots)
    found = 0
    for bit in range(0, len(token) * 8, 11):
        changed = bytearray(token)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            assert check(bytes(changed), b"a checkpoint", roots) == at
        except IntegrityError:
            found += 1
    assert found > 0.7 * len(token) * 8 / 11


async def test_an_answer_to_another_question_is_refused(authority: Authority, tsa: TimeStampingAuthority) -> None:
    first = await authority.stamp(b"a checkpoint")
    tsa.broken = lambda _: (200, "application/timestamp-reply", first)
    with pytest.raises(IntegrityError, match="not the answer to what was asked"):
        await authority.stamp(b"a checkpoint")


async def test_answers_that_are_none(authority: Authority, tsa: TimeStampingAuthority) -> None:
    for broken, error in (
        ((200, "application/timestamp-reply", b"rubbish"), IntegrityError),
        ((200, "application/timestamp-reply", b""), IntegrityError),
        ((200, "text/html", b"log in first"), LedgerUnavailable),
        ((503, "application/timestamp-reply", b""), LedgerUnavailable),
    ):
        tsa.broken = lambda _, answer=broken: answer
        with pytest.raises(error):
            await authority.stamp(b"a checkpoint")
    tsa.broken = lambda _: (200, "application/timestamp-reply", tsa.reply(b"no request"))
    with pytest.raises(LedgerUnavailable, match="refused"):
        await authority.stamp(b"a checkpoint")


def test_certificates_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for name in ("nothing.pem", "empty.pem"):
        with pytest.raises(InvalidSettings, match="tsa_certificates"):
            load_roots(str(tmp_path / name))


async def signed(ledger: Ledger, count: int = 3) -> Checkpoint:
    begin = await ledger.size()
    await ledger.append([entry("cam-1", begin + number) for number in range(count)])
    made = await Notary(ledger, Keys(KEY, [KEY.verifier]), SystemClock()).make()
    assert made is not None
    return made


async def latest(ledger: Ledger) -> Checkpoint:
    found = await ledger.latest_checkpoint()
    assert found is not None
    return found


async def test_while_it_is_away_the_newest_waits(
    tmp_path: Path, ledger: Ledger, store: ObjectStore, tsa: TimeStampingAuthority
) -> None:
    service = TimeStampingAuthority(tmp_path / "own")
    service.start()
    service.stop()
    authority = Authority(service.url, str(service.root))
    stamper = Stamper(ledger, authority, store, LOCK_MS, SystemClock())
    await stamper.run()
    assert stamper.trouble == ""
    await signed(ledger)
    await stamper.run()
    assert "tsa_url" in stamper.trouble
    assert (await latest(ledger)).timestamp is None
    newest = await signed(ledger)
    service.start()
    before_ms = time.time_ns() // 1_000_000
    await stamper.run()
    assert stamper.trouble == ""
    stamped = await latest(ledger)
    assert stamped.size == newest.size
    assert stamped.timestamp is not None
    assert check(stamped.timestamp, newest.note.encode(), load_roots(str(service.root))) >= before_ms // 1000 * 1000
    assert await store.get(f"{timestamps.PREFIX}{newest.size:012}.tsr") == stamped.timestamp
    await stamper.run()
    assert service.asked == 1
    await authority.close()
    service.stop()


async def test_two_that_stamp_one_checkpoint_keep_one_stamp(
    ledger: Ledger, store: ObjectStore, authority: Authority
) -> None:
    made = await signed(ledger)
    stamper = Stamper(ledger, authority, store, LOCK_MS, ManualClock(Instant(SystemClock().now())))
    await stamper.run()
    first = (await latest(ledger)).timestamp
    await ledger.set_timestamp(made.size, b"")  # the other one asked before the first had written this
    await stamper._keep(made, await authority.stamp(made.note.encode()))
    assert (await latest(ledger)).timestamp == first


def test_certificates_in_any_order_are_read(tsa: TimeStampingAuthority) -> None:
    request = TimestampRequestBuilder().data(b"x").hash_algorithm(HashAlgorithm.SHA256).build()
    token = tsa.reply(request.as_bytes())
    ordered = with_certificates_in_order(token)
    assert sorted(token) == sorted(ordered)
    assert with_certificates_in_order(ordered) == ordered
    check(token, b"x", load_roots(str(tsa.root)))
    for end in range(0, len(token), 7):
        assert with_certificates_in_order(token[:end]) == token[:end]
