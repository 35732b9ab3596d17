"""Footage joined where it meets, and what is missing between."""

from dashboards.days.track import Hole, How, Stretch, holes, joined
from tests.dashboards.feeds import at


def stretch(start: float, end: float, how: How = "stored", session: str = "s1") -> Stretch:
    return Stretch(from_=at(start), to=at(end), session_id=session, how=how)


def test_what_meets_is_joined_by_session_and_way() -> None:
    found = joined(
        [
            stretch(60, 120), stretch(0, 60), stretch(120.9, 180), stretch(181, 200),
            stretch(0, 60, session="s2"), stretch(200, 210, "pending"), stretch(205, 208, "pending"),
        ]
    )  # fmt: skip
    assert found == [
        stretch(0, 180),
        stretch(0, 60, session="s2"),
        stretch(181, 200),
        stretch(200, 210, "pending"),
    ]


def test_a_hole_is_what_nobody_has() -> None:
    found = holes(
        joined(
            [
                stretch(0, 60), stretch(90, 100), stretch(55, 80, "delivered"), stretch(100.5, 110, "pending"),
                stretch(500, 600, session="s2"),
            ]
        )
    )  # fmt: skip
    assert found == [Hole(at(80), at(90), "s1")], "between two sessions nothing is missing"
