"""The draw of spot checks: the same for everybody who does it again, over all units, nothing twice."""

import hashlib
import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from storage.office.drawing import MAX_DRAWN, Item, draw, population_sha256

items = st.lists(
    st.builds(Item, st.sampled_from(["", "east", "west", "北区"]), st.text(min_size=1, max_size=6)),
    unique=True,
    max_size=40,
)
seeds = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(items, seeds, st.integers(1, 50), st.randoms())
def test_a_draw_is_of_its_population_and_its_seed_alone(
    population: list[Item], seed: str, count: int, order: random.Random
) -> None:
    drawn = draw(population, seed, count)
    assert len(drawn) == len(set(drawn)) == min(count, len(population))
    assert set(drawn) <= set(population)
    shuffled = list(population)
    order.shuffle(shuffled)
    assert draw(shuffled, seed, count) == drawn
    assert population_sha256(shuffled) == population_sha256(population)
    assert draw(population, seed, min(50, count + 1))[: len(drawn)] == drawn  # more of the same, no other ones


@given(items, seeds, st.integers(1, 50))
def test_no_unit_gives_its_second_before_all_have_given_their_first(
    population: list[Item], seed: str, count: int
) -> None:
    drawn = draw(population, seed, count)
    left = {item.unit_id: 0 for item in population}
    for item in population:
        left[item.unit_id] += 1
    given_so_far = dict.fromkeys(left, 0)
    for item in drawn:
        least = min((number for unit, number in given_so_far.items() if number < left[unit]), default=0)
        assert given_so_far[item.unit_id] == least
        given_so_far[item.unit_id] += 1


def test_every_item_has_the_same_chance() -> None:
    population = [Item("east", f"r{number}") for number in range(10)]
    times = dict.fromkeys(population, 0)
    for number in range(2000):
        for item in draw(population, hashlib.sha256(str(number).encode()).hexdigest(), 3):
            times[item] += 1
    assert all(500 < count < 700 for count in times.values())  # 600 each; 5 σ are 102


def test_bare_python_draws_the_same() -> None:
    population = [
        Item(unit, f"dev-{number}/s{number}") for number, unit in enumerate(["east", "west", "", "east", "北"])
    ]
    seed = "5e" * 32
    script = """
import hashlib, sys
seed, count, lines = sys.argv[1], int(sys.argv[2]), sys.stdin.read().splitlines(True)
rank, turns = {}, []
for key, line in sorted((hashlib.sha256((seed + chr(0) + line).encode()).hexdigest(), line) for line in lines):
    unit = line.split(chr(9))[0]
    rank[unit] = rank.get(unit, 0) + 1
    turns.append((rank[unit], key, line))
print("".join(line for _, _, line in sorted(turns)[:count]), end="")
"""
    lines = "".join(item.line() for item in population)
    command = [sys.executable, "-I", "-X", "utf8", "-c", script, seed, "4"]
    done = subprocess.run(command, input=lines, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == "".join(item.line() for item in draw(population, seed, 4))


@pytest.mark.parametrize("count", [0, MAX_DRAWN + 1])
def test_a_sample_of_none_or_of_too_many_is_refused(count: int) -> None:
    with pytest.raises(InvalidInput, match="count"):
        draw([Item("", "a")], "00", count)


def test_what_is_listed_twice_is_refused() -> None:
    with pytest.raises(InvalidInput, match="population"):
        draw([Item("", "a"), Item("", "a")], "00", 1)
