"""The tree of RFC 9162: known answers, and a naive model of the RFC's own definitions."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import InvalidInput
from storage.ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    Range,
    Subtree,
    consistency_ranges,
    cover,
    fold,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

# The eight leaves of the Certificate Transparency reference tests, and the root after each of them.
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    bytes.fromhex(text)
    for text in (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
INCLUSION = {
    (0, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (5, 8): (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 3): ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",),
}
CONSISTENCY = {
    (1, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (6, 8): (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
}


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 9162 §2.1.1, written as the RFC has it."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = split(len(leaves))
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 9162 §2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_proof(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PROOF of RFC 9162 §2.1.4.1."""
    return naive_subproof(m, leaves, whole=True)


def naive_subproof(m: int, leaves: Sequence[bytes], *, whole: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*naive_subproof(m, leaves[:k], whole=whole), naive_root(leaves[k:])]
    return [*naive_subproof(m - k, leaves[k:], whole=False), naive_root(leaves[:k])]


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


class Tree:
    """Keeps the roots of complete subtrees as the ledger does, and proves from them alone."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        frontier = Frontier()
        self.nodes: dict[Subtree, bytes] = {}
        for number, leaf in enumerate(leaves):
            for level, node in enumerate(frontier.add(leaf_hash(leaf))):
                self.nodes[Subtree(level, number >> level)] = node
        self.root = frontier.root()

    def prove(self, ranges: Sequence[Range]) -> list[bytes]:
        return [fold([self.nodes[subtree] for subtree in cover(part)]) for part in ranges]


def leaves_of(size: int) -> list[bytes]:
    return [b"leaf %d" % number for number in range(size)]


def test_the_roots_of_the_reference_tests() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    frontier = Frontier()
    assert frontier.root() == EMPTY_ROOT
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        frontier.add(leaf_hash(leaf))
        assert frontier.root() == root


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_the_inclusion_proofs_of_the_reference_tests(index: int, size: int) -> None:
    proof = Tree(LEAVES[:size]).prove(inclusion_ranges(index, size))
    assert [step.hex() for step in proof] == list(INCLUSION[index, size])
    assert verify_inclusion(leaf_hash(LEAVES[index]), index, size, proof, ROOTS[size - 1])


@pytest.mark.parametrize(("first", "second"), CONSISTENCY)
def test_the_consistency_proofs_of_the_reference_tests(first: int, second: int) -> None:
    proof = Tree(LEAVES[:second]).prove(consistency_ranges(first, second))
    assert [step.hex() for step in proof] == list(CONSISTENCY[first, second])
    assert verify_consistency(first, second, proof, ROOTS[first - 1], ROOTS[second - 1])


@pytest.mark.parametrize("size", [*range(1, 34), 63, 64, 65, 100])
def test_every_proof_of_a_small_tree_is_the_rfcs(size: int) -> None:
    leaves = leaves_of(size)
    tree = Tree(leaves)
    assert tree.root == naive_root(leaves)
    for index in range(size):
        proof = tree.prove(inclusion_ranges(index, size))
        assert proof == naive_path(index, leaves)
        assert verify_inclusion(leaf_hash(leaves[index]), index, size, proof, tree.root)
    for first in range(1, size + 1):
        proof = tree.prove(consistency_ranges(first, size))
        assert proof == naive_proof(first, leaves)
        assert verify_consistency(first, size, proof, naive_root(leaves[:first]), tree.root)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_proofs_of_larger_trees(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 1500))
    leaves = leaves_of(size)
    tree = Tree(leaves)
    index = data.draw(st.integers(0, size - 1))
    proof = tree.prove(inclusion_ranges(index, size))
    assert proof == naive_path(index, leaves)
    assert verify_inclusion(leaf_hash(leaves[index]), index, size, proof, tree.root)
    first = data.draw(st.integers(1, size))
    proof = tree.prove(consistency_ranges(first, size))
    assert proof == naive_proof(first, leaves)
    assert verify_consistency(first, size, proof, naive_root(leaves[:first]), tree.root)


def flipped(data: bytes, bit: int) -> bytes:
    return bytes(byte ^ (1 << bit % 8 if place == bit // 8 else 0) for place, byte in enumerate(data))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_whatever_is_changed_in_an_inclusion_proof_is_found(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 40))
    index = data.draw(st.integers(0, size - 1))
    leaves = leaves_of(size)
    leaf, root = leaf_hash(leaves[index]), naive_root(leaves)
    proof = naive_path(index, leaves)
    other = data.draw(st.integers(-1, size + 1).filter(lambda number: number != index))
    assert not verify_inclusion(leaf, other, size, proof, root)
    bit = data.draw(st.integers(0, 255))
    assert not verify_inclusion(flipped(leaf, bit), index, size, proof, root)
    assert not verify_inclusion(leaf, index, size, proof, flipped(root, bit))
    assert not verify_inclusion(leaf, index, size, [*proof, leaf], root)
    assert not verify_inclusion(leaf, index, size, [*proof, b""], root)
    if proof:
        place = data.draw(st.integers(0, len(proof) - 1))
        assert not verify_inclusion(leaf, index, size, [*proof[:place], *proof[place + 1 :]], root)
        bad = [*proof[:place], flipped(proof[place], bit), *proof[place + 1 :]]
        assert not verify_inclusion(leaf, index, size, bad, root)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_whatever_is_changed_in_a_consistency_proof_is_found(data: st.DataObject) -> None:
    second = data.draw(st.integers(2, 40))
    first = data.draw(st.integers(1, second - 1))
    leaves = leaves_of(second)
    roots = naive_root(leaves[:first]), naive_root(leaves)
    proof = naive_proof(first, leaves)
    bit = data.draw(st.integers(0, 255))
    place = data.draw(st.integers(0, len(proof) - 1))
    assert verify_consistency(first, second, proof, *roots)
    assert not verify_consistency(first, second, proof, flipped(roots[0], bit), roots[1])
    assert not verify_consistency(first, second, proof, roots[0], flipped(roots[1], bit))
    assert not verify_consistency(first, second, [*proof, proof[-1]], *roots)
    assert not verify_consistency(first, second, [], *roots)
    bad = [*proof[:place], flipped(proof[place], bit), *proof[place + 1 :]]
    assert not verify_consistency(first, second, bad, *roots)
    shorter = [*proof[:place], *proof[place + 1 :]]
    assert not verify_consistency(first, second, shorter, *roots)


def test_what_needs_no_proof() -> None:
    root = naive_root(leaves_of(5))
    assert verify_consistency(0, 5, [], EMPTY_ROOT, root)
    assert verify_consistency(5, 5, [], root, root)
    assert not verify_consistency(0, 5, [], root, root)
    assert not verify_consistency(5, 5, [], root, flipped(root, 7))
    assert not verify_consistency(6, 5, [], root, root)
    assert not verify_consistency(5, 5, [root], root, root)


def test_a_leaf_is_never_taken_for_a_node() -> None:
    # Without the prefixes, two leaves would hash as one leaf made of both hashes.
    pair = leaf_hash(b"a") + leaf_hash(b"b")
    assert node_hash(leaf_hash(b"a"), leaf_hash(b"b")) != leaf_hash(pair)


def test_a_tree_can_be_gone_on_with_from_its_edge() -> None:
    leaves = leaves_of(50)
    for size in range(50):
        tree = Tree(leaves[:size])
        frontier = Frontier(size, [tree.nodes[subtree] for subtree in cover(Range(0, size))])
        for leaf in leaves[size:]:
            frontier.add(leaf_hash(leaf))
        assert frontier.root() == naive_root(leaves)


def test_what_cannot_be_proved_is_refused() -> None:
    for index, size in ((0, 0), (5, 5), (-1, 5)):
        with pytest.raises(InvalidInput, match="index"):
            inclusion_ranges(index, size)
    for first, second in ((6, 5), (-1, 5)):
        with pytest.raises(InvalidInput, match="first"):
            consistency_ranges(first, second)
    with pytest.raises(InvalidInput, match="size"):
        Frontier(3, [EMPTY_ROOT])
