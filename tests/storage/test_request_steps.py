"""Requests for footage: whatever people do and in whatever order, only what may happen happens."""

from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.clock import Instant
from domain.errors import InvalidInput
from policies.access import Step
from storage.office.request_steps import (
    DAY_MS,
    Application,
    Decision,
    Request,
    ask,
    break_off,
    decide,
    deliver,
    revoke,
    withdraw,
)

T0 = Instant(1_800_000_000_000)
PEOPLE = ("zhang", "li", "wang", "zhao")
STEPS: tuple[tuple[Step, ...], ...] = ((), ("approve",), ("review", "approve"), ("verify", "approve"), ("verify",))


def application(needed: tuple[Step, ...] = ("approve",), /, **changes: object) -> Application:
    made = Application(
        id="0" * 16,
        recorder_id="dev-1",
        session_id="s1",
        from_at=T0.plus(-60_000),
        to_at=T0.plus(-30_000),
        policy="wucheng",
        who="staff",
        want="view",
        asked_by="zhang",
        asked_name="张三",
        asked_at=T0,
        reason="案卷评查",
        matter="〔2026〕12号",
        steps=needed,
        approver="有关负责人",
        reviewer="审核人",
        clauses=("W-AV 第二十五条",),
    )
    return msgspec.structs.replace(made, **changes)


def decision(asked: Application, what: Step, who: str, **rest: object) -> Decision:
    at, title = T0.plus(1000), asked.title(what)
    made = Decision(step=what, agrees=True, by=who, name=who, at=at, acting_as=title, reason="因为")
    return msgspec.structs.replace(made, **rest)


@dataclass
class World:
    """What a request should be, told apart from how it is computed."""

    request: Request
    agreed: list[str] = field(default_factory=list)
    at: Instant = T0


acts = st.lists(
    st.tuples(
        st.sampled_from(["agree", "refuse", "withdraw", "revoke", "deliver", "break", "wait"]),
        st.sampled_from(PEOPLE),
        st.sampled_from(["verify", "review", "approve"]),
        st.integers(0, 10),
    ),
    max_size=14,
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(STEPS), st.sampled_from(["view", "copy"]), acts)
def test_nobody_sees_or_has_anything_without_everybody_s_word(
    steps: tuple[Step, ...], want: str, done: list[tuple[str, str, Step, int]]
) -> None:
    asked = application(steps, want=want)
    world = World(ask(asked, days=3))
    handed_over = 0
    for act, person, step, days in done:
        before = world.request
        try:
            world.request = _do(world, act, person, step, days)
        except InvalidInput:
            assert world.request is before  # what may not be changes nothing
            continue
        if act == "agree":
            world.agreed.append(person)
        handed_over += {"deliver": 1, "break": -1}.get(act, 0)
        assert handed_over in (0, 1)  # a copy is handed over once
    after = world.request
    if after.state in ("granted", "delivered", "revoked"):
        assert [one.step for one in after.decisions] == list(steps)
        assert all(one.agrees for one in after.decisions)
        assert "zhang" not in world.agreed
        assert len(set(world.agreed)) == len(steps)
    if after.lets_view(world.at):
        assert want == "view"
        assert after.expires_at is not None
        assert world.at < after.expires_at
    assert (handed_over == 1) == (after.state == "delivered")
    assert not (after.lets_view(world.at) and after.wants_package(world.at))


def _do(world: World, act: str, person: str, step: Step, days: int) -> Request:
    request, at = world.request, world.at
    if act in ("agree", "refuse"):
        said = decision(request.application, step, person, agrees=act == "agree", days=days, at=at)
        return decide(request, said, days=3)
    if act == "withdraw":
        return withdraw(request, person, person, at)
    if act == "revoke":
        return revoke(request, person, person, at, "不再需要")
    if act == "deliver":
        return deliver(request, person, at, "f" * 64)
    if act == "break":
        return break_off(request)
    world.at = at.plus(days * DAY_MS)
    return request


def test_a_grant_ends_with_its_time_and_says_so() -> None:
    asked = application()
    granted = decide(ask(asked, 7), decision(asked, "approve", "li", days=2), days=7)
    assert granted.expires_at == T0.plus(1000 + 2 * DAY_MS)
    last = granted.expires_at.plus(-1)
    assert granted.lets_view(last)
    assert granted.shown(last) == "granted"
    assert not granted.lets_view(granted.expires_at)
    assert granted.shown(granted.expires_at) == "expired"
    with pytest.raises(InvalidInput, match="nothing of it holds"):
        revoke(granted, "li", "李四", granted.expires_at, "过期")


def test_who_says_nothing_of_days_gives_the_usual_ones() -> None:
    asked = application()
    granted = decide(ask(asked, 7), decision(asked, "approve", "li"), days=7)
    assert granted.expires_at == T0.plus(1000 + 7 * DAY_MS)


def test_where_nobody_must_agree_it_holds_at_once() -> None:
    request = ask(application((), own=True), days=3)
    assert request.lets_view(T0)
    assert request.expires_at == T0.plus(3 * DAY_MS)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"by": "zhang"}, "decision"),
        ({"step": "review"}, "step"),
        ({"agrees": False, "reason": " "}, "reason"),
        ({"acting_as": ""}, "acting_as"),
        ({"acting_as": "局长"}, "acting_as"),
        ({"days": 91}, "days"),
        ({"reason": "长" * 2001}, "reason"),
    ],
)
def test_a_decision_that_may_not_be_taken_names_why(change: dict[str, object], field: str) -> None:
    asked = application()
    with pytest.raises(InvalidInput) as told:
        decide(ask(asked, 7), decision(asked, "approve", "li", **change), days=7)
    assert told.value.field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"reason": " "}, "reason"),
        ({"matter": ""}, "matter"),
        ({"reason": "长" * 2001}, "reason"),
        ({"to_at": T0.plus(-60_000)}, "to"),
        ({"who": "party"}, "applicant"),
        ({"organisation": "长" * 201}, "organisation"),
    ],
)
def test_an_application_says_what_the_article_asks(change: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as told:
        ask(msgspec.structs.replace(application(), **change), 7)
    assert told.value.field == field


def test_only_who_asked_takes_back_and_fetches() -> None:
    asked = application(want="copy")
    with pytest.raises(InvalidInput):
        withdraw(ask(asked, 7), "li", "李四", T0)
    granted = decide(ask(asked, 7), decision(asked, "approve", "li"), days=7)
    with pytest.raises(InvalidInput):
        withdraw(granted, "zhang", "张三", T0)
    with pytest.raises(InvalidInput):
        deliver(granted, "li", T0.plus(2000), "f" * 64)
    assert deliver(granted, "zhang", T0.plus(2000), "f" * 64).state == "delivered"
