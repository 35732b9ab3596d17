"""The way of a camera into use: nobody gets there without the papers, and what is missing is named with its article."""

from datetime import date
from typing import cast, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.clock import Instant
from domain.errors import InvalidInput
from policies.loader import load
from storage.office.admission import LAW, MOVES, NotReady, Part, Rules, Step, after, after_change, gaps
from storage.office.dossier import (
    Camera,
    Certificate,
    Confirmation,
    Contact,
    Notice,
    Review,
    Seen,
    Site,
    State,
    check_credit_code,
)

PAPER = "a" * 64
TODAY = date(2026, 3, 2)
URL = "rtsp://10.0.0.5/stream"
SITE = Site(
    site_id="s1",
    name="仁和口腔",
    party_name="仁和口腔门诊部",
    address="婺城区人民路1号",
    contacts=(Contact(name="王", phone="13800000000"),),
)
FULL = Camera(
    camera_id="s1-1",
    site_id="s1",
    name="消毒间",
    place="消毒间 器械清洗",
    standard="GB/T 28181",
    url=URL,
    seen=Seen(at=Instant(0), url=URL, ok=True, codec="h264"),
    confirmation=Confirmation(
        document=PAPER,
        signed_on="2026-02-01",
        agency_signatory="张",
        party_signatory="王",
        consents=("安装", "记录内容"),
    ),
    notice=Notice(photo=PAPER, posted_on="2026-02-20", where="大门"),
    certificate=Certificate(
        required=True, kind="计量检定", number="J-1", issuer="计量院", expires_on="2027-01-01", document=PAPER
    ),
    review=Review(
        legality_by="李",
        technology_by="赵",
        reviewed_on="2026-02-21",
        document=PAPER,
        markings="门口标牌",
        published_at="区政府网站",
        published_on="2026-02-22",
    ),
)
WUCHENG = Rules.of(load("wucheng"), TODAY, review=False)
STRICT = Rules.of(load("wucheng"), TODAY, review=True)


def without(camera: Camera, path: str) -> Camera:
    """The same without one thing."""
    part, _, field = path.partition(".")
    if not field:
        return msgspec.structs.replace(camera, **{part: type(getattr(camera, part))()})
    inner = getattr(camera, part)
    empty = {"consents": ("安装",), "required": True}.get(field, "")
    return msgspec.structs.replace(camera, **{part: msgspec.structs.replace(inner, **{field: empty})})


def test_the_whole_way() -> None:
    camera = msgspec.structs.replace(FULL, state="draft")
    way: list[tuple[Step, State]] = [
        ("confirm", "confirmed"),
        ("notice", "noticed"),
        ("activate", "active"),
        ("suspend", "suspended"),
        ("resume", "active"),
        ("retire", "retired"),
    ]
    for step, state in way:
        camera = msgspec.structs.replace(camera, state=after(step, SITE, camera, STRICT, by="chief", reason="维修"))
        assert camera.state == state
    for step in MOVES:
        with pytest.raises(NotReady, match="retired"):
            after(step, SITE, camera, STRICT, by="chief", reason="x")


@pytest.mark.parametrize(
    ("step", "path", "field", "article"),
    [
        ("confirm", "standard", "basics.standard", "W-NS 第十一条"),
        ("confirm", "place", "basics.place", "W-NS 第十三条"),
        ("confirm", "confirmation.document", "confirmation.document", "W-NS 第十二条"),
        ("confirm", "confirmation.party_signatory", "confirmation.party_signatory", "W-NS 第十二条"),
        ("confirm", "confirmation.consents", "confirmation.consents", "W-NS 第十二条"),
        ("notice", "notice.photo", "notice.photo", "W-NS 第十二条"),
        ("activate", "certificate.number", "certificate.number", "W-NS 第十一条"),
        ("activate", "review.legality_by", "review.legality_by", LAW),
        ("resume", "review.published_at", "review.published_at", LAW),
    ],
)
def test_what_is_missing_is_named_with_its_article(step: Step, path: str, field: str, article: str) -> None:
    begins = min(MOVES[step][0])
    camera = msgspec.structs.replace(without(FULL, path), state=begins)
    with pytest.raises(NotReady) as told:
        after(step, SITE, camera, STRICT, by="chief")
    assert [gap.field for gap in told.value.gaps] == [field]
    assert article in told.value.gaps[0].articles
    assert told.value.field == field


def test_each_consent_is_asked_for_by_itself() -> None:
    camera = msgspec.structs.replace(FULL, confirmation=msgspec.structs.replace(FULL.confirmation, consents=()))
    assert [gap.detail for gap in gaps("confirm", SITE, camera, WUCHENG)] == ["安装", "记录内容"]


def test_a_party_that_nobody_can_reach_is_missing_something() -> None:
    site = msgspec.structs.replace(SITE, contacts=(Contact(name="王"),), party_name="")
    assert [gap.field for gap in gaps("confirm", site, FULL, WUCHENG)] == ["site.party_name", "site.contacts"]


def test_an_address_that_was_changed_after_the_look_was_not_looked_at() -> None:
    camera = msgspec.structs.replace(FULL, url="rtsp://10.0.0.6/other")
    assert [gap.field for gap in gaps("activate", SITE, camera, WUCHENG)] == ["address.seen"]


@pytest.mark.parametrize("text", ["2026-03-01", "2026-02-30", ""])
def test_a_certificate_that_ran_out_is_none(text: str) -> None:
    camera = msgspec.structs.replace(FULL, certificate=msgspec.structs.replace(FULL.certificate, expires_on=text))
    assert [gap.field for gap in gaps("activate", SITE, camera, WUCHENG)] == ["certificate.expires_on"]


def test_nothing_can_be_signed_tomorrow() -> None:
    camera = msgspec.structs.replace(FULL, notice=msgspec.structs.replace(FULL.notice, posted_on="2026-03-03"))
    assert [gap.field for gap in gaps("notice", SITE, camera, WUCHENG)] == ["notice.posted_on"]


def test_whoever_entered_the_papers_does_not_let_it_into_use_where_the_agency_asks_for_two() -> None:
    camera = msgspec.structs.replace(FULL, state="noticed", prepared_by=("operator",))
    with pytest.raises(NotReady, match="papers") as told:
        after("activate", SITE, camera, STRICT, by="operator")
    assert told.value.field == "by"
    assert after("activate", SITE, camera, STRICT, by="chief") == "active"
    assert after("activate", SITE, camera, WUCHENG, by="operator") == "active"


def test_taking_out_of_use_needs_a_reason() -> None:
    camera = msgspec.structs.replace(FULL, state="active")
    with pytest.raises(NotReady) as told:
        after("suspend", SITE, camera, WUCHENG, by="chief", reason=" ")
    assert told.value.field == "reason"


def test_a_policy_that_is_silent_asks_for_the_same_as_a_rule_of_ours() -> None:
    rules = Rules.of(load("gansu"), TODAY, review=False)
    lacking = gaps("activate", SITE, Camera(camera_id="a", site_id="s1"), rules)
    assert {gap.field for gap in lacking} >= {"confirmation.document", "notice.photo"}
    assert all(not gap.articles for gap in lacking)


_PATHS = [
    *("name", "place", "standard", "url", "confirmation", "notice", "certificate.expires_on", "review"),
    *("confirmation.document", "confirmation.signed_on", "confirmation.agency_signatory", "confirmation.consents"),
    *("confirmation.party_signatory", "notice.photo", "notice.where", "notice.posted_on"),
]
_BEGINNINGS = [
    Camera(camera_id="s1-1", site_id="s1"),
    *(msgspec.structs.replace(FULL, state=state) for state in ("draft", "confirmed", "noticed", "active", "suspended")),
]
_moves = st.one_of(
    st.tuples(st.just("step"), st.sampled_from(sorted(MOVES))),
    st.tuples(st.just("lose"), st.sampled_from(_PATHS)),
    st.tuples(st.just("mend"), st.sampled_from(get_args(Part))),
)


def _part_of(path: str) -> Part:
    part = path.partition(".")[0]
    parts: dict[str, Part] = {"url": "address", "name": "basics", "place": "basics", "standard": "basics"}
    return parts.get(part) or cast("Part", part)


def _mended(camera: Camera, part: Part) -> Camera:
    fields = {"basics": ("name", "place", "standard"), "address": ("url", "seen")}.get(part, (part,))
    return msgspec.structs.replace(camera, **{field: getattr(FULL, field) for field in fields})


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(_BEGINNINGS), st.lists(_moves, max_size=25), st.booleans())
def test_no_way_leads_into_use_without_the_papers(begun: Camera, moves: list[tuple[str, str]], review: bool) -> None:
    rules = STRICT if review else WUCHENG
    camera = begun
    ever_retired = False
    for kind, name in moves:
        try:
            if kind == "step":
                state = after(name, SITE, camera, rules, by="chief", reason="x")  # type: ignore[arg-type]
                camera = msgspec.structs.replace(camera, state=state)
            else:
                part: Part = _part_of(name) if kind == "lose" else name  # type: ignore[assignment]
                changed = without(camera, name) if kind == "lose" else _mended(camera, part)
                camera = msgspec.structs.replace(changed, state=after_change(part, camera))
        except NotReady:
            continue
        ever_retired = ever_retired or camera.state == "retired"
        assert (camera.state == "retired") == ever_retired
        if camera.state == "active":
            owed = [gap.field for gap in gaps("activate", SITE, camera, rules)]
            # A certificate may be exchanged while the camera records; what it runs out by is told on the pages.
            assert [field for field in owed if not field.startswith("certificate.")] == []
        if camera.state in ("noticed", "confirmed"):
            assert gaps("confirm", SITE, camera, rules) in ([], [_url_gap(camera)])


def _url_gap(camera: Camera) -> object:
    """An address may be changed while the papers are being gathered; it is looked at before use."""
    return next((gap for gap in gaps("confirm", SITE, camera, WUCHENG) if gap.field == "address.url"), None)


def test_a_credit_code_checks_itself() -> None:
    assert check_credit_code(" 91350100m000100y43 ") == "91350100M000100Y43"
    assert check_credit_code("") == ""
    for wrong in ("91350100M000100Y44", "91350100M000100Y4", "91350100I000100Y43", "X" * 19):
        with pytest.raises(InvalidInput, match="credit_code"):
            check_credit_code(wrong)
