"""Texts: both languages say the same things, and figures read well."""

from typing import get_args

import pytest

from dashboards.words import LANGUAGES, texts, words
from domain.findings import Figure, FindingKind
from policies.loader import names
from policies.local import default


def test_both_languages_have_the_same_texts() -> None:
    keys = [
        {
            (name, section, key)
            for name, table in texts(code).items()
            for section, said in table.items()
            if isinstance(said, dict)
            for key in said
        }
        for code in LANGUAGES
    ]
    assert keys[0] ^ keys[1] == set()


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_kind_of_finding_has_a_text(code: str) -> None:
    for kind in get_args(FindingKind):
        assert words(code).finding(kind, kind, {}) != kind


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_act_of_a_policy_has_a_text(code: str) -> None:
    acts = {act.id for name in names() for act in default().policy(name).acts}
    assert {act for act in acts if words(code)("act", act) == act} == set()


def test_findings_in_words() -> None:
    params: dict[str, Figure] = {
        "seconds": 12.0,
        "from": "2026-05-06T09:00:00.000+08:00",
        "to": "2026-05-06T09:00:12.000+08:00",
    }
    zh = words("zh").finding("recording.gap", "recording.gap", {**params, "cause": "network"})
    assert zh == "录像缺失 12 秒（09:00:00 至 09:00:12）：网络中断"
    assert words("en").finding("unknown.key", "recording.gap", {}) == "— s of recording missing (— to —): cause unknown"
    assert words("en").finding("no.such", "no.such", {}) == "no.such"
    assert words("xx") is words("zh")


@pytest.mark.parametrize(
    ("seconds", "zh", "en"),
    [
        (0.4, "0秒", "0 s"),
        (-5, "0秒", "0 s"),
        (59, "59秒", "59 s"),
        (60, "1分", "1 min"),
        (125, "2分 5秒", "2 min 5 s"),
        (3600, "1时", "1 h"),
        (7322, "2时 2分", "2 h 2 min"),
        (90_000, "1天 1时", "1 d 1 h"),
    ],
)
def test_durations(seconds: float, zh: str, en: str) -> None:
    assert (words("zh").duration(seconds), words("en").duration(seconds)) == (zh, en)


def test_sizes_and_ratios() -> None:
    w = words("en")
    assert [w.size(n) for n in (0, 999, 1000, 9_940, 12_000, 3_600_000_000)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "9.9 kB",
        "12 kB",
        "3.6 GB",
    ]
    assert [w.percent(r) for r in (None, 0.0, 0.5, 0.994, 0.99999, 1.0)] == [
        "—",
        "0 %",
        "50 %",
        "99.4 %",
        "99.9 %",
        "100 %",
    ]
