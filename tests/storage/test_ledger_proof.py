"""Proofs that stand by themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.clock import Instant, ManualClock
from domain.errors import IntegrityError, InvalidInput
from storage.ledger.keys import Keys
from storage.ledger.ledger import Ledger
from storage.ledger.notary import Notary
from storage.ledger.proof import parse_proof, prove
from tests.storage.ledger_child import entry
from tests.storage.test_ledger_checkpoint import KEY, key_of

T0 = Instant.parse("2026-05-04T08:00:00+08:00")


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    opened = await Ledger.connect(f"sqlite:///{tmp_path}/ledger.db")
    for size in (3, 10, 40):
        await opened.append([entry("cam-1", number) for number in range(size)])
        await Notary(opened, Keys(KEY, [KEY.verifier]), ManualClock(T0)).make()
    await opened.append([entry("cam-1", 40)])
    yield opened
    await opened.close()


async def test_every_entry_that_a_checkpoint_covers(ledger: Ledger) -> None:
    for index in range(40):
        proof = parse_proof((await prove(ledger, index)).text())
        line = entry("cam-1", index).line()
        assert proof.check(line, [KEY.verifier]).size == (3 if index < 3 else 10 if index < 10 else 40)
        with pytest.raises(IntegrityError, match="not of this entry"):
            proof.check(line + b" ", [KEY.verifier])
        with pytest.raises(IntegrityError, match="not signed by"):
            proof.check(line, [key_of(2).verifier])


@pytest.mark.parametrize("index", [40, 41, -1])
async def test_what_no_checkpoint_covers(ledger: Ledger, index: int) -> None:
    with pytest.raises(InvalidInput, match="no checkpoint covers"):
        await prove(ledger, index)


async def test_every_bit_of_a_proof_counts(ledger: Ledger) -> None:
    text = (await prove(ledger, 17)).text()
    line = entry("cam-1", 17).line()
    for bit in range(len(text.encode()) * 8):
        changed = bytearray(text.encode())
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(IntegrityError):
            parse_proof(changed.decode("utf-8", "replace")).check(line, [KEY.verifier])


async def test_extra_data_is_passed_over(ledger: Ledger) -> None:
    first, _, rest = (await prove(ledger, 5)).text().partition("\n")
    proof = parse_proof(f"{first}\nextra AAAA\n{rest}")
    assert proof.check(entry("cam-1", 5).line(), [KEY.verifier]).size == 10


@pytest.mark.parametrize(
    "text", ["", "c2sp.org/tlog-proof@v1\n\n", "c2sp.org/tlog-proof@v1\nindex -1\n\nx", "x\nindex 1\n\n"]
)
def test_what_is_no_proof(text: str) -> None:
    with pytest.raises(IntegrityError, match="proof"):
        parse_proof(text)
