"""Configuration: unknown keys refused, the environment wins, secrets stay out of files."""

from __future__ import annotations

import pytest

from domain.errors import InvalidSettings
from domain.settings import Settings, parse


def test_defaults_are_embedded() -> None:
    assert parse({}, {}) == Settings()
    assert Settings().bus.startswith("embedded:")


def test_the_environment_wins_and_is_converted() -> None:
    settings = parse({"partitions": 2, "policy": "gansu"}, {"LIUHEN_PARTITIONS": "16", "PATH": "/bin"})
    assert (settings.partitions, settings.policy) == (16, "gansu")


@pytest.mark.parametrize(
    ("table", "environment", "named"),
    [
        ({"buss": "x"}, {}, "buss"),
        ({}, {"LIUHEN_BUSS": "x"}, "LIUHEN_BUSS"),
        ({"partitions": 0}, {}, "partitions"),
        ({"segment_s": 7}, {}, "segment_s"),
        ({"store_secret": "x"}, {}, "store_secret"),
    ],
)
def test_what_is_wrong_is_named(table: dict[str, object], environment: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidSettings, match=named):
        parse(table, environment)
