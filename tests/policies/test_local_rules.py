"""A local agency's file: what it may replace, and what is refused."""

from __future__ import annotations

import pytest

from domain.clock import Instant
from domain.errors import InvalidPolicy
from policies import load
from policies.deadlines import store_by
from policies.local import default, override, rulebook
from policies.report import show_text
from policies.retention import lock_months, retain_until

HEADER = 'policy = "wucheng"\nagency = "某某区卫生健康局"\n'
STRICTER = (
    HEADER
    + """
[store_by]
within = { value = 1, unit = "working_days", source = ["某卫执〔2026〕3号 第二条"] }
[retention]
ordinary = { zh = "不作为证据使用", bound = "at_least", months = 24, source = ["某卫执〔2026〕3号 第五条"] }
[explanation.voice]
within = { value = 30, unit = "seconds", source = ["某卫执〔2026〕3号 第七条"] }
[[stops.causes]]
id = "fire"
zh = "火情"
source = ["某卫执〔2026〕3号 第八条"]
[[stops.causes]]
id = "site_change"
zh = "检查场所变更"
source = ["某卫执〔2026〕3号 第八条"]
"""
)
DONE = Instant.parse("2026-03-09T10:00:00+08:00")


def test_single_values_are_replaced_and_say_by_whom() -> None:
    local = override(STRICTER, "local.toml")
    assert local.store_by.within is not None
    assert (local.store_by.within.value, local.store_by.within.local) == (1, "某某区卫生健康局")
    assert local.explanation.voice.within.value == 30
    assert local.explanation.voice.asked == load("wucheng").explanation.voice.asked
    assert [cause.id for cause in local.stops.causes] == [
        *(cause.id for cause in load("wucheng").stops.causes),
        "fire",
    ]
    changed = local.cause("site_change")
    assert changed is not None
    assert changed.zh == "检查场所变更"
    assert store_by(local, "body_worn", DONE).store_by == Instant.parse("2026-03-11T00:00:00+08:00")
    assert store_by(local, "body_worn", DONE).clauses == ("某卫执〔2026〕3号 第二条",)
    assert "［某某区卫生健康局：某卫执〔2026〕3号 第二条］" in show_text(local)
    assert lock_months(local) == 24
    assert retain_until(DONE, local) == Instant.parse("2028-03-09T10:00:00+08:00")


def test_the_policy_itself_is_untouched() -> None:
    before = load("wucheng")
    override(STRICTER, "local.toml")
    assert load("wucheng") == before
    assert before.store_by.within is not None
    assert before.store_by.within.value == 2


def test_a_file_over_a_file() -> None:
    more = HEADER.replace("某某区", "某某分") + (
        '[store_by]\nwithin = { value = 12, unit = "hours", source = ["分局通知"] }\n'
    )
    book = rulebook([("a.toml", STRICTER), ("b.toml", more)])
    found = book.policy("wucheng")
    assert found.store_by.within is not None
    assert (found.store_by.within.unit, found.store_by.within.local) == ("hours", "某某分卫生健康局")
    assert found.explanation.voice.within.value == 30
    assert book.policy("gansu") == load("gansu")
    assert store_by(found, "body_worn", DONE).store_by == Instant.parse("2026-03-09T22:00:00+08:00")


def test_a_book_with_a_calendar_of_its_own() -> None:
    text = '[[year]]\nyear = 2031\nsource = "n"\ndays_off = ["2031-01-01"]\n'
    book = rulebook(calendars=[("c.toml", text)])
    late = Instant.parse("2030-12-31T10:00:00+08:00")
    assert store_by(book.policy("wucheng"), "body_worn", late, calendar=book.calendar).note is None
    assert default().policies == {}
    with pytest.raises(InvalidPolicy, match="no policy"):
        book.policy("hangzhou")


def test_an_organ_may_set_what_the_document_leaves_to_it() -> None:
    text = 'policy = "gansu"\nagency = "某市卫健委"\n[retention]\n' + (
        'ordinary = { zh = "其他音像记录", bound = "at_least", months = 36, source = ["某市通知"] }\n'
    )
    assert lock_months(override(text, "g.toml")) == 36


def test_an_agency_may_have_more_reviewed_but_not_less() -> None:
    header = 'policy = "zhanhe"\nagency = "a"\n[retention.expiry]\n'
    less = header + 'review = { value = ["evidence"], source = ["通知"] }\n'
    with pytest.raises(InvalidPolicy, match=r"ordinary is reviewed"):
        override(less, "z.toml")
    more = less.replace("zhanhe", "wucheng").replace('["evidence"]', '["ordinary", "evidence"]')
    with pytest.raises(InvalidPolicy, match="looser than the document"):
        override(more.replace('["ordinary", "evidence"]', '["ordinary"]'), "w.toml")
    assert override(more, "w.toml").retention.expiry.review.value == ("ordinary", "evidence")


REFUSED = [
    ('agency = "a"', "policy: missing"),
    ('policy = "wucheng"', "agency: missing"),
    ('policy = "wucheng"\nagency = ""', "agency: missing"),
    ('policy = "hangzhou"\nagency = "a"', "no policy 'hangzhou'"),
    (HEADER + 'name = "gansu"', "name: not for an agency"),
    (HEADER + "[articles]\nunbroken = []", "articles: not for an agency"),
    (HEADER + "[", "local.toml"),
    (HEADER + "[stroe_by]\nx = { value = 1, source = ['n'] }", "stroe_by"),
    (HEADER + "[store_by]\nwithni = { value = 1, unit = 'days', source = ['n'] }", "store_by.withni"),
    (HEADER + "[store_by]\nwithin = { value = 1, unit = 'working_days' }", "store_by.within: an agency's value needs"),
    (HEADER + "[store_by]\nwithin = { value = 1, unit = 'days', ours = true, reason = 'r' }", "needs a source"),
    (HEADER + "[store_by]\nwithin = { value = 1, unit = 'days', source = ['n'], local = 'me' }", "`local`"),
    (HEADER + "[store_by]\nwithin = 1", "store_by.within: only values with a source"),
    (HEADER + "[explanation.voice]\ncauses = ['fire']", "explanation.voice.causes: only values with a source"),
    (HEADER + "[[stops.causes]]\nid = 'fire'\nzh = '火'", "stops.causes.fire: an agency's value needs a source"),
    # looser than the document
    (HEADER + "[store_by]\nwithin = { value = 3, unit = 'working_days', source = ['n'] }", "looser"),
    (HEADER + "[store_by]\nwithin = { value = 3, unit = 'days', source = ['n'] }", "looser"),
    (HEADER + "[store_by]\nwithin = { value = 49, unit = 'hours', source = ['n'] }", "looser"),
    (
        HEADER + "[retention]\nordinary = { zh = 'o', bound = 'at_least', months = 5, source = ['n'] }",
        "retention.ordinary: looser",
    ),
    (
        HEADER + "[retention]\nevidence = { zh = 'o', bound = 'at_least', months = 60, source = ['n'] }",
        "retention.evidence: looser",
    ),
    (
        HEADER.replace("wucheng", "gansu")
        + "[store_by]\nwithin = { value = 2, unit = 'working_days', source = ['n'] }",
        "looser",
    ),
    (
        HEADER.replace("wucheng", "gansu") + "[store_by.remote]\nwithin = { value = 1, unit = 'days', source = ['n'] }",
        "store_by.remote.within: looser",
    ),
]


@pytest.mark.parametrize(("text", "said"), REFUSED)
def test_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidPolicy) as refused:
        override(text, "local.toml")
    assert said in str(refused.value)


def test_hours_that_end_no_later_than_the_days_are_stricter() -> None:
    text = HEADER + "[store_by]\nwithin = { value = 48, unit = 'hours', source = ['n'] }"
    assert store_by(override(text, "x"), "body_worn", DONE).store_by == DONE.plus(48 * 3_600_000)
