"""The five policies as they stand, and every way in which a file is refused."""

from __future__ import annotations

from typing import get_args

import pytest

from domain.errors import InvalidPolicy
from domain.findings import FindingKind
from policies import load, names
from policies.articles import instruments, known_ids, numeral
from policies.articles import parse as parse_articles
from policies.files import read
from policies.loader import parse
from policies.values import leaves

WUCHENG = read("wucheng.toml")


def changed(old: str, new: str, text: str = WUCHENG) -> str:
    assert text.count(old) >= 1, "the file no longer holds what this test changes"
    return text.replace(old, new, 1)


def test_the_five() -> None:
    assert names() == ("gansu", "chongqing", "zhuhui", "wucheng", "zhanhe")
    for name in names():
        assert load(name).name == name
    with pytest.raises(InvalidPolicy, match="no policy 'hangzhou'; there are gansu"):
        load("hangzhou")


def test_how_many_articles_and_items_there_are() -> None:
    counted = {one.prefix or one.policy: (one.articles, sum(map(len, one.items.values()))) for one in instruments()}
    assert counted == {
        "gansu": (25, 26),
        "chongqing": (28, 26),
        "zhuhui": (51, 5),
        "W-NS": (25, 0),
        "W-RS": (22, 55),
        "W-AV": (35, 40),
        "Z-AC": (14, 0),
        "Z-AV": (19, 13),
    }


def test_ids_are_written_as_printed() -> None:
    assert {"第十条（1）", "第十条（三）", "第二十五条"} <= known_ids("gansu")
    assert not {"第十条（一）", "第二十六条"} & known_ids("gansu")
    assert {"W-AV 第三十五条（四）", "W-NS 第二十五条"} <= known_ids("wucheng")
    assert "第一条" not in known_ids("wucheng")
    assert [numeral(number) for number in (1, 10, 11, 20, 21, 99)] == ["一", "十", "十一", "二十", "二十一", "九十九"]


@pytest.mark.parametrize("name", names())
def test_every_kind_of_finding_is_answered_for(name: str) -> None:
    # An empty list is an answer: the document is silent. A kind that is not there was forgotten.
    articles = load(name).articles
    assert set(articles.findings) == set(get_args(FindingKind))
    assert not articles.premises or set(articles.premises) == set(get_args(FindingKind))


@pytest.mark.parametrize("name", names())
def test_every_value_has_a_source_or_a_reason(name: str) -> None:
    found = list(leaves(load(name)))
    assert len(found) > 60
    for path, leaf in found:
        assert bool(leaf.source) or (leaf.ours and leaf.reason), path


def test_what_the_documents_say() -> None:
    """The figures that matter most, once more and by hand."""
    within = {name: load(name).store_by.within for name in names()}
    assert {name: (one.value, one.unit) for name, one in within.items() if one} == {
        "gansu": (2, "days"),
        "chongqing": (2, "working_days"),
        "wucheng": (2, "working_days"),
    }
    remote = {name: load(name).store_by.remote for name in names()}
    assert {name: (one.within.value, one.within.unit) for name, one in remote.items() if one} == {
        "gansu": (24, "hours"),
        "zhanhe": (24, "hours"),
    }
    assert {name for name in names() if load(name).store_by.delay} == {"chongqing", "wucheng"}
    kept = {name: (load(name).retention.ordinary.bound, load(name).retention.ordinary.months) for name in names()}
    assert kept == {
        "gansu": ("set_by_organ", None),
        "chongqing": ("at_least", 6),
        "zhuhui": ("archives_law", None),
        "wucheng": ("at_least", 6),
        "zhanhe": ("then_review", 12),
    }
    listed = {name: (len(load(name).stops.causes), load(name).stops.open.value) for name in names()}
    assert listed == {
        "gansu": (6, True),
        "chongqing": (3, True),
        "zhuhui": (0, True),
        "wucheng": (8, True),
        "zhanhe": (8, False),
    }
    asked = {
        name: {
            way
            for way in ("voice", "report", "written", "work_record")
            if (one := getattr(load(name).explanation, way)) and one.asked.value
        }
        for name in names()
    }
    assert asked == {
        "gansu": {"voice", "report", "written"},
        "chongqing": {"voice", "written", "work_record"},
        "zhuhui": set(),
        "wucheng": {"voice"},
        "zhanhe": {"work_record"},
    }
    assert [load(name).premises is not None for name in names()] == [False, False, False, True, False]
    assert sum(act.level == "full" for act in load("zhuhui").acts) == 12


def test_what_happens_when_the_time_is_over() -> None:
    reviewed = {name: load(name).retention.expiry.review.value for name in names()}
    assert reviewed == {
        "gansu": ("ordinary", "evidence"),
        "chongqing": ("evidence",),
        "zhuhui": ("ordinary", "evidence"),
        "wucheng": ("evidence",),
        "zhanhe": ("ordinary", "evidence"),
    }
    zhanhe = load("zhanhe").retention.expiry
    assert (zhanhe.reviewer.value, zhanhe.review.source) == ("管理人员", ("Z-AV 第十五条",))
    decided = {name: one.value for name in names() if (one := load(name).retention.evidence_by)}
    assert decided == {"gansu": "承办机构", "chongqing": "本机构负责人", "wucheng": "本机构负责人"}
    assert {load(name).retention.finding_hold.each_side.ms() for name in names()} == {600_000}


def test_what_is_a_case_of_long_term_keeping_by_itself() -> None:
    wucheng = load("wucheng")
    for act in wucheng.acts:
        case = wucheng.long_term(act=act.id)
        assert (case is not None) is (act.level == "full"), act.id
        assert case is None or case.source[0].startswith("W-AV 第十二条")
    assert wucheng.long_term() is None
    assert wucheng.long_term(act="dancing", cause="laziness") is None
    for name in ("zhanhe", "gansu"):
        assert load(name).long_term(cause="obstruction") is not None
        assert load(name).long_term(cause="low_battery") is None
    assert load("wucheng").retention.keep("long_term") is None
    assert load("wucheng").retention.keep("ordinary") == load("wucheng").retention.ordinary


def test_acts_that_must_not_be_interrupted() -> None:
    assert load("chongqing").unbroken("inspection")
    assert not load("gansu").unbroken("inspection")
    assert not load("wucheng").unbroken("inspection")
    assert load("wucheng").unbroken("coercion")
    assert not load("wucheng").unbroken("dancing")
    assert not load("wucheng").unbroken(None)


REFUSED = [
    # not TOML; unknown keys, at any depth; wrong types
    ("[document]", "[document", "wucheng.toml: "),
    ("[retention]", "[retension]", "wucheng.toml: retension: "),
    ("warn_left = {", "warn_lefft = {", "wucheng.toml: store_by.warn_lefft: "),
    ('value = 2, unit = "working_days"', 'value = 2, unti = "working_days"', "store_by.within.un"),
    ('value = 2, unit = "working_days"', 'value = 2, unit = "weeks"', "store_by.within.unit: "),
    ('value = 2, unit = "working_days"', 'value = 0, unit = "working_days"', "store_by.within.value: "),
    ('value = 2, unit = "working_days"', 'value = "two", unit = "working_days"', "store_by.within.value: "),
    ('level = "full"', 'level = "most"', "acts[0].level: "),
    ('may = ["search"]', 'may = ["erase"]', "access[0].may[0]: "),
    ("months = 6, source", 'months = "6", source', "retention.ordinary.months: "),
    ("pieces = { value = true", 'pieces = { value = "yes"', "stops.pieces.value: "),
    # sources
    (', source = ["W-AV 第二十三条"] }\noldest', " }\noldest", "backup.off_site: no source"),
    ('source = ["W-NS 第五条"]', 'source = ["W-NS 第五十条"]', "premises.coverage: source: the document has no W-NS"),
    ('source = ["W-NS 第五条"]', 'source = ["第五条"]', "premises.coverage: source: the document has no 第五"),
    (
        '"recording.gap" = ["W-AV 第十八条"]',
        '"recording.gap" = ["W-AV 第三十六条"]',
        "articles.findings.recording.gap: ",
    ),
    ('"recording.gap" = ["W-AV', '"recording.hole" = ["W-AV', "articles.findings.recording.hole: no such kind"),
    ('"recording.gap" = ["W-NS', '"recording.hole" = ["W-NS', "articles.premises.recording.hole: no such kind"),
    ('unbroken = ["W-AV 第十二条"]', 'unbroken = ["W-AV 第九十九条"]', "articles.unbroken: "),
    (', ours = true, reason = "原文是定期，没有数字"', ", ours = true", "backup.oldest: ours, but without a reason"),
    (
        'approver = "本单位负责人"\nsource = ["W-AV 第二十九条（三）", "W-AV 第二十九条"]',
        "",
        "long_term.reconsideration_litigation: no",
    ),
    # lists and what belongs together
    ('id = "equipment_damage"', 'id = "equipment_failure"', "stops.causes.equipment_failure: twice"),
    ('id = "equipment_damage"', 'id = "Equipment Damage"', "stops.causes[1].id: "),
    ('"body_worn", "room_camera"', '"body_worn", "drone"', "store_by.kinds: no kind of recorder 'drone'"),
    ('bound = "at_least", months = 6', 'bound = "at_least"', "retention.ordinary.months: "),
    ('bound = "case_file"', 'bound = "case_file", months = 6', "retention.evidence.months: "),
    (
        "warn_left = {",
        'timely = { value = 2, unit = "days", source = ["W-AV 第十条"] }\nwarn_left = {',
        "store_by.timely: ",
    ),
    ("[explanation.voice]", '[explanation.voice]\ncauses = ["laziness"]', "explanation.voice.causes: 'laziness'"),
    ('name = "wucheng"', 'name = "hangzhou"', "name: no policy 'hangzhou'"),
    ('name = "wucheng"', "", "name: "),
    # retention
    (
        'review = { value = ["evidence"]',
        'review = { value = ["long_term"]',
        "retention.expiry.review: no class 'long_term'",
    ),
    (
        'finding_kinds = { value = ["recording.gap"',
        'finding_kinds = { value = ["hole"',
        "no such kind of finding 'hole'",
    ),
    ('acts = ["major_complex_case"]', 'acts = ["dancing"]', "long_term.major_complex_case.acts: 'dancing'"),
    ('acts = ["major_complex_case"]', 'causes = ["laziness"]', "long_term.major_complex_case.causes: 'laziness'"),
    (
        'bound = "at_least", months = 6',
        'bound = "then_review", months = 6',
        "retention.expiry.review: ordinary is reviewed",
    ),
    (
        'each_side = { value = 10, unit = "minutes"',
        'each_side = { value = 9, unit = "days"',
        "finding_hold.each_side: ",
    ),
    ('listed_for = { value = 7, unit = "days"', 'listed_for = { value = 7, unit = "months"', "expiry.listed_for: "),
    # what only an override may carry
    ("off_site = { value = true", 'off_site = { local = "us", value = true', "backup.off_site: `local`"),
]


@pytest.mark.parametrize(("old", "new", "said"), REFUSED)
def test_refused(old: str, new: str, said: str) -> None:
    with pytest.raises(InvalidPolicy, match=r"^wucheng\.toml: ") as refused:
        parse(changed(old, new), "wucheng.toml")
    assert said in str(refused.value)


def test_an_article_of_another_document_is_unknown() -> None:
    text = changed('source = ["第二十二条"]', 'source = ["W-AV 第二十三条"]', read("gansu.toml"))
    with pytest.raises(InvalidPolicy, match="the document has no W-AV 第二十三条"):
        parse(text, "gansu.toml")


def test_a_rule_without_a_figure_needs_a_time_to_warn() -> None:
    lines = [line for line in read("zhanhe.toml").splitlines() if not line.startswith("timely")]
    with pytest.raises(InvalidPolicy, match=r"zhanhe\.toml: store_by\.timely: "):
        parse("\n".join(lines), "zhanhe.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[instrument]", "x.toml"),
        ('[[instrument]]\npolicy = "a"\nprefix = ""\ntitle = "t"\n', "articles"),
        (
            '[[instrument]]\npolicy = "a"\nprefix = ""\ntitle = "t"\narticles = 2\nrestored = ["第三条"]',
            "t has no 第三条",
        ),
        (
            '[[instrument]]\npolicy = "a"\nprefix = ""\ntitle = "t"\narticles = 2\nitems = { "第三条" = ["一"] }',
            "第三条",
        ),
    ],
)
def test_refused_lists_of_articles(text: str, said: str) -> None:
    with pytest.raises(InvalidPolicy, match=r"^x\.toml: ") as refused:
        parse_articles(text, "x.toml")
    assert said in str(refused.value)
