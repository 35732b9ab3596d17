"""Signed notes, keys, and what the notary signs."""

from __future__ import annotations

import asyncio
import base64
import stat
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from domain.clock import Instant, ManualClock
from domain.errors import IntegrityError, InvalidInput, InvalidSettings
from storage.ledger.checkpoint import TreeHead, open_checkpoint, parse_head
from storage.ledger.keys import Keys, load_keys, trusted_keys
from storage.ledger.ledger import Ledger
from storage.ledger.merkle import verify_consistency
from storage.ledger.notary import Notary
from storage.ledger.note import SigningKey, VerifierKey, open_note
from storage.ledger.statements import Checkpoint
from tests.storage.ledger_child import entry
from tests.storage.test_ledger import change

T0 = Instant.parse("2026-05-04T08:00:00+08:00")
ORIGIN = "records.example.org/ledger"

# The example of the signed-note package of Go, with its public key.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def key_of(seed: int, name: str = ORIGIN) -> SigningKey:
    return SigningKey(name, Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


KEY = key_of(1)
HEAD = TreeHead(ORIGIN, 20417, bytes(range(32)), T0)
NOTE = HEAD.signed(KEY)


def test_a_note_signed_by_another_implementation() -> None:
    text = open_note(GO_NOTE, [VerifierKey.parse(GO_KEY)])
    assert text.endswith("your problem is.\n")
    assert str(VerifierKey.parse(GO_KEY)) == GO_KEY


def test_the_form_of_a_checkpoint() -> None:
    origin, size, root, at, blank, signature, end = NOTE.split("\n")
    assert (origin, size, blank, end) == (ORIGIN, "20417", "", "")
    assert (root, at) == (base64.b64encode(bytes(range(32))).decode(), "at 2026-05-04T08:00:00.000+08:00")
    assert signature.startswith(f"— {ORIGIN} ")
    assert base64.b64decode(signature.split()[2])[:4] == KEY.verifier.key_id


def test_the_public_key_alone_opens_it() -> None:
    public = VerifierKey.parse(str(KEY.verifier))
    assert open_checkpoint(NOTE, [key_of(2).verifier, public]) == HEAD


def test_the_time_need_not_be_there() -> None:
    head = TreeHead(ORIGIN, 0, bytes(32))
    assert open_checkpoint(head.signed(KEY), [KEY.verifier]) == head
    other = KEY.sign(f"{head.text()}an extension of somebody else\n")
    assert open_checkpoint(other, [KEY.verifier]) == head


def test_a_key_that_is_not_known_proves_nothing() -> None:
    for known in ([], [key_of(2).verifier], [key_of(1, "other").verifier]):
        with pytest.raises(IntegrityError, match="not signed by"):
            open_checkpoint(NOTE, known)


def test_further_signatures_are_passed_over_and_those_of_known_keys_are_not() -> None:
    second = key_of(2, "witness.example.org")
    both = NOTE + second.sign(HEAD.text()).rpartition("\n\n")[2]
    assert open_checkpoint(both, [KEY.verifier]) == HEAD
    assert open_checkpoint(both, [KEY.verifier, second.verifier]) == HEAD
    forged = NOTE + second.sign("something else\n").rpartition("\n\n")[2]
    assert open_checkpoint(forged, [KEY.verifier]) == HEAD
    with pytest.raises(IntegrityError, match=r"witness\.example\.org"):
        open_checkpoint(forged, [KEY.verifier, second.verifier])


def test_a_checkpoint_speaks_for_its_signer_alone() -> None:
    with pytest.raises(IntegrityError, match="not the name of a known key"):
        open_checkpoint(key_of(1, "other").sign(HEAD.text()), [key_of(1, "other").verifier])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n1\n",
        f"\n1\n{base64.b64encode(bytes(32)).decode()}\n",
        f"a\n01\n{base64.b64encode(bytes(32)).decode()}\n",
        f"a\n-1\n{base64.b64encode(bytes(32)).decode()}\n",
        f"a\n٣\n{base64.b64encode(bytes(32)).decode()}\n",
        f"a\n1\n{base64.b64encode(bytes(31)).decode()}\n",
        "a\n1\n?\n",
        f"a\n1\n{base64.b64encode(bytes(32)).decode()}\nat noon\n",
        f"a\n1\n{base64.b64encode(bytes(32)).decode()}\nat 2026-05-04T00:00:00.000Z\n",
    ],
)
def test_what_is_no_checkpoint(text: str) -> None:
    with pytest.raises(IntegrityError):
        parse_head(text)


@given(st.integers(0, len(NOTE.encode()) * 8 - 1))
def test_every_flipped_bit_in_a_checkpoint_is_found(bit: int) -> None:
    changed = bytearray(NOTE.encode())
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(IntegrityError):
        open_checkpoint(changed.decode("utf-8", "replace"), [KEY.verifier])


@pytest.mark.parametrize(
    "text",
    ["", "a", "a+b", "a+00000000+AQ==", f"{KEY.verifier}A", str(KEY.verifier).replace("+", "+0", 1), f" +{KEY}"],
)
def test_what_is_no_public_key(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"key|name"):
        VerifierKey.parse(text)


# Keys in files


def test_a_key_is_made_once_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "deep/ledger.key"
    first = load_keys(path, ORIGIN)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = load_keys(path, ORIGIN)
    assert again.signer.verifier == first.signer.verifier
    assert trusted_keys(path) == [first.signer.verifier]
    assert sorted(one.name for one in path.parent.iterdir()) == ["ledger.key", "ledger.key.pub"]


async def test_two_processes_that_start_at_once_have_one_key(tmp_path: Path) -> None:
    path = tmp_path / "ledger.key"
    made = await asyncio.gather(*(asyncio.to_thread(load_keys, path, ORIGIN) for _ in range(8)))
    assert len({str(keys.signer.verifier) for keys in made}) == 1
    assert trusted_keys(path) == [made[0].signer.verifier]


def test_a_changed_key_leaves_its_predecessor_trusted(tmp_path: Path) -> None:
    path = tmp_path / "ledger.key"
    first = load_keys(path, ORIGIN)
    path.unlink()
    second = load_keys(path, ORIGIN)
    assert second.signer.verifier != first.signer.verifier
    assert second.trusted == [first.signer.verifier, second.signer.verifier]
    assert load_keys(path, ORIGIN).trusted == second.trusted


def test_key_files_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "ledger.key"
    load_keys(path, ORIGIN)
    path.chmod(0o644)
    with pytest.raises(InvalidSettings, match="chmod 600"):
        load_keys(path, ORIGIN)
    path.chmod(0o640)  # a group may: secrets of Kubernetes come so
    load_keys(path, ORIGIN)
    path.write_text("no key")
    with pytest.raises(InvalidSettings, match="holds no private key"):
        load_keys(path, ORIGIN)
    other = generate_private_key(SECP256R1())
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(InvalidSettings, match="no Ed25519 key"):
        load_keys(path, ORIGIN)
    with pytest.raises(InvalidSettings, match="ledger_origin"):
        load_keys(path, "two words")
    with pytest.raises(InvalidSettings, match="ledger_key_file"):
        load_keys(tmp_path / "ledger.key/below", ORIGIN)
    with pytest.raises(InvalidSettings, match="ledger_key_file"):
        trusted_keys(tmp_path / "nothing")


# The notary


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    opened = await Ledger.connect(f"sqlite:///{tmp_path}/ledger.db")
    yield opened
    await opened.close()


def notary(ledger: Ledger, clock: ManualClock | None = None, key: SigningKey = KEY) -> Notary:
    return Notary(ledger, Keys(key, [KEY.verifier, key.verifier]), clock or ManualClock(T0))


async def grow(ledger: Ledger, count: int, name: str = "cam-1") -> None:
    begin = await ledger.size()
    await ledger.append([entry(name, begin + number) for number in range(count)])


async def test_only_what_is_new_is_signed(ledger: Ledger) -> None:
    clock = ManualClock(T0)
    assert await notary(ledger, clock).make() is None
    await grow(ledger, 3)
    first = await notary(ledger, clock).make()
    assert first is not None
    assert open_checkpoint(first.note, [KEY.verifier]) == TreeHead(ORIGIN, 3, await ledger.root(), T0)
    clock.advance(60)
    assert await notary(ledger, clock).make() is None
    assert await ledger.latest_checkpoint() == first


async def test_each_checkpoint_follows_from_the_one_before(ledger: Ledger) -> None:
    heads = [TreeHead(ORIGIN, 0, await ledger.root())]
    for count in (1, 2, 700, 3, 64):
        await grow(ledger, count)
        made = await notary(ledger).make()
        assert made is not None
        heads.append(open_checkpoint(made.note, [KEY.verifier]))
    for first, second in pairwise(heads):
        proof = await ledger.consistency(first.size, second.size)
        assert verify_consistency(first.size, second.size, proof, first.root, second.root)


async def test_two_notaries_sign_one_checkpoint(ledger: Ledger) -> None:
    await grow(ledger, 5)
    one, other = await asyncio.gather(notary(ledger, ManualClock(T0)).make(), notary(ledger, ManualClock(T0)).make())
    made = [checkpoint for checkpoint in (one, other) if checkpoint is not None]
    assert {checkpoint.note for checkpoint in made} == {checkpoint.note async for checkpoint in ledger.checkpoints()}


async def test_a_new_key_goes_on_where_the_old_one_ended(ledger: Ledger) -> None:
    await grow(ledger, 5)
    await notary(ledger).make()
    await grow(ledger, 5)
    made = await notary(ledger, key=key_of(2)).make()
    assert made is not None
    assert open_checkpoint(made.note, [key_of(2).verifier]).size == 10


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ('DELETE FROM ledger_entries WHERE "index" >= 90', "has 90 entries, and 100 were signed for"),
        ('DELETE FROM ledger_entries WHERE "index" = 104', "entry 104 is missing"),
        ('UPDATE ledger_entries SET line = CAST(\'{"v":1}\' AS BLOB) WHERE "index" = 105', "between 100 and 110"),
        ('UPDATE ledger_entries SET nodes = zeroblob(32) WHERE "index" = 109', "does not hold the nodes it should"),
        ('UPDATE ledger_entries SET nodes = zeroblob(64) WHERE "index" = 109', "between 100 and 110"),
        ('UPDATE ledger_entries SET nodes = zeroblob(224) WHERE "index" = 63', "100 entries has signed"),
        ("UPDATE ledger_checkpoints SET size = 99", "99 entries has signed"),
        ("UPDATE ledger_checkpoints SET note = 'x' || note", "the signature of"),
        ("UPDATE ledger_checkpoints SET note = replace(note, '100', '101')", "the signature of"),
    ],
)
async def test_nothing_is_signed_that_does_not_follow(
    ledger: Ledger, tmp_path: Path, statement: str, says: str
) -> None:
    await grow(ledger, 100)
    await notary(ledger).make()
    await grow(ledger, 10)
    change(tmp_path / "ledger.db", statement)
    with pytest.raises(IntegrityError, match=says):
        await notary(ledger).make()
    assert len([one async for one in ledger.checkpoints()]) == 1


async def test_a_key_that_nobody_knows_signs_nothing_after_another(ledger: Ledger) -> None:
    await grow(ledger, 5)
    await ledger.add_checkpoint(Checkpoint(5, T0, TreeHead(ORIGIN, 5, await ledger.root()).signed(key_of(3))))
    await grow(ledger, 5)
    with pytest.raises(IntegrityError, match="not signed by"):
        await notary(ledger).make()
