"""Who must agree, for everyone who may ask, read from the regulations by hand."""

import msgspec
import pytest

from policies import load, names
from policies.access import APPLICANTS, WANTS, way
from policies.loader import build
from policies.model import Applicant

OUTSIDE: tuple[Applicant, ...] = ("authority", "party", "lawyer", "other_area")

# Policy, who asks, what for: steps, approver, articles; "closed": the document does not open it. What is not here is
# asked of nobody in the document, and decided by somebody with the right to (`OURS`).
OURS = (("approve",), "", ())
HEAD = "执法机构负责人"
BY_HAND = {
    # 第二十四条：未经行政机关负责人批准，不得对外提供或者发布
    **{
        ("gansu", who, want): (("approve",), "行政机关负责人", ("第二十四条",))
        for who in OUTSIDE
        for want in ("view", "copy")
    },
    ("gansu", "public", "copy"): (("approve",), "行政机关负责人", ("第二十四条",)),
    # 第二十四条：查阅依法办理，不得擅自；提供复议、信访、司法等单位经执法机构负责人批准；作为证据经本机构负责人同意
    **{
        ("chongqing", who, "view"): (("approve",), "", ("第二十四条",))
        for who in ("handler", "staff", "party", "lawyer")
    },
    **{
        ("chongqing", who, want): (("approve",), HEAD, ("第二十四条",))
        for who in ("authority", "other_area")
        for want in ("view", "copy")
    },
    ("chongqing", "public", "copy"): (("approve",), "", ("第二十四条",)),
    **{
        ("chongqing", who, "evidence_copy"): (("approve",), "本机构负责人", ("第二十四条",))
        for who in ("handler", "staff")
    },
    **{
        ("chongqing", who, "evidence_copy"): (("approve",), "本机构负责人", ("第二十四条",))
        for who in ("authority", "other_area")
    },
    **{("chongqing", who, "copy"): "closed" for who in ("handler", "staff", "party", "lawyer")},
    **{("chongqing", who, "evidence_copy"): "closed" for who in ("party", "lawyer")},
    # 第四十六条：复制经执法机构负责人同意；第四十八条：承办人、审核人、批准人
    **{
        ("zhuhui", who, "copy"): (("review", "approve"), HEAD, ("第四十六条", "第四十八条"))
        for who in ("handler", "staff", *OUTSIDE, "public")
    },
    # W-AV 第二十五条：查阅、调阅经有关负责人批准；第二十九条、第三十条：复制、作为证据
    **{("wucheng", who, "view"): (("approve",), "有关负责人", ("W-AV 第二十五条",)) for who in ("handler", "staff")},
    **{("wucheng", who, "copy"): (("approve",), "本单位负责人", ("W-AV 第二十九条",)) for who in ("handler", "staff")},
    **{
        ("wucheng", who, "evidence_copy"): (("approve",), "本机构负责人", ("W-AV 第三十条",))
        for who in ("handler", "staff", *OUTSIDE)
    },
    # Z-AC 第四条：承办人直接查阅，复制经法制机构负责人批准
    ("zhanhe", "handler", "view"): ((), "", ("Z-AC 第四条",)),
    ("zhanhe", "handler", "copy"): (("approve",), "委机关法制机构负责人", ("Z-AC 第四条",)),
    ("zhanhe", "handler", "evidence_copy"): "closed",
    # Z-AC 第五条：其他人员经委主要负责人批准；没有说可以复制
    ("zhanhe", "staff", "view"): (("approve",), "委主要负责人", ("Z-AC 第五条",)),
    ("zhanhe", "staff", "copy"): "closed",
    ("zhanhe", "staff", "evidence_copy"): "closed",
    # Z-AC 第六条：介绍信、证件经核实，可以查阅、复印、拷贝
    ("zhanhe", "authority", "view"): (("verify",), "", ("Z-AC 第六条",)),
    ("zhanhe", "authority", "copy"): (("verify",), "", ("Z-AC 第六条",)),
    ("zhanhe", "authority", "evidence_copy"): "closed",
    # Z-AC 第七条：核实以后还要经委主要负责人批准；只是查阅
    **{
        ("zhanhe", who, "view"): (("verify", "approve"), "委主要负责人", ("Z-AC 第七条",))
        for who in ("party", "lawyer")
    },
    **{("zhanhe", who, want): "closed" for who in ("party", "lawyer") for want in ("copy", "evidence_copy")},
    # Z-AC 第八条：来函，经委主要负责人批准，寄送或者派人阅卷
    **{
        ("zhanhe", "other_area", want): (("verify", "approve"), "委主要负责人", ("Z-AC 第八条",))
        for want in ("view", "copy")
    },
    ("zhanhe", "other_area", "evidence_copy"): "closed",
    # Z-AC 第三条：未经批准不得对外提供或者发布；没有写明由谁批准
    ("zhanhe", "public", "copy"): (("approve",), "", ("Z-AC 第三条",)),
    **{(name, "public", want): "closed" for name in names() for want in ("view", "evidence_copy")},
}


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("who", APPLICANTS)
@pytest.mark.parametrize("want", WANTS)
def test_who_must_agree(name: str, who: Applicant, want: str) -> None:
    found = way(load(name), who, want)  # type: ignore[arg-type]
    expected = BY_HAND.get((name, who, want), OURS)
    assert ("closed" if found is None else (found.steps, found.approver, found.clauses)) == expected


def test_papers_are_those_of_the_article_and_an_application_is_written_by_itself() -> None:
    zhanhe, wucheng = load("zhanhe"), load("wucheng")
    papers = {who: found.papers for who in APPLICANTS if (found := way(zhanhe, who, "view")) is not None}
    assert papers == {
        "handler": (),
        "staff": (),
        "authority": ("单位介绍信", "有效证件"),
        "party": ("单位介绍信", "有效身份证件"),
        "lawyer": ("单位介绍信", "有效身份证件", "委托书", "授权书", "律师执业证"),
        "other_area": ("来函",),
    }
    asked = way(wucheng, "staff", "view")
    assert asked is not None
    assert asked.papers == ()


def test_only_the_handler_of_zhanhe_looks_without_asking_and_only_at_their_own() -> None:
    alone = [
        (name, who, want)
        for name in names()
        for who in APPLICANTS
        for want in WANTS
        if (found := way(load(name), who, want)) is not None and not found.steps
    ]
    assert alone == [("zhanhe", "handler", "view")]
    found = way(load("zhanhe"), "handler", "view")
    assert found is not None
    assert found.own_only


def test_an_agency_may_name_who_reviews() -> None:
    raw = msgspec.to_builtins(load("wucheng"))
    raw["access"][2]["reviewer"] = "法制科"
    changed = way(build(raw, "wucheng.toml", locals_allowed=True), "staff", "view")
    assert changed is not None
    assert (changed.steps, changed.reviewer) == (("review", "approve"), "法制科")
