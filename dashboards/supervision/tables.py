"""The figures of supervision as sheets."""

from __future__ import annotations

from dashboards.sheets import Table, Value
from dashboards.supervision.figures import DEFINITIONS, By, Figures
from dashboards.words import Words


def figures_table(w: Words, title: str, by: By, groups: list[Figures], names: dict[str, str]) -> Table:
    """Return the figures as a sheet, their definitions below."""
    columns = (
        "sessions", "hours", "completeness", "missing", "stops", "explained_in_time", "explained_late",
        "awaiting_review", "unexplained", "stored_in_time", "stored_late", "not_stored", "not_due", "no_deadline",
        "alerts", "acknowledged", "response", "checks", "checks_failed", "in_use", "officers", "per_officer", "cameras",
    )  # fmt: skip
    rows: list[list[Value]] = [
        [
            group_name(w, by, one, names, first=number == 0),
            one.sessions,
            round(one.recorded_s / 3600, 2),
            one.completeness,
            round(one.missing_s),
            one.stops,
            one.explained_in_time,
            one.explained_late,
            one.awaiting_review,
            one.unexplained,
            one.stored_in_time,
            one.stored_late,
            one.not_stored,
            one.not_due,
            one.no_deadline,
            one.alerts,
            one.acknowledged,
            one.median_response_s,
            one.checks,
            one.checks_failed,
            one.in_use,
            one.officers,
            one.per_officer,
            sum(one.cameras.values()),
        ]
        for number, one in enumerate(groups)
    ]
    header = [w("supervision", f"by_{by}"), *(w("supervision", f"column_{name}") for name in columns)]
    notes = [
        f"{w('supervision', f'figure_{name}')}：{w('supervision', f'define_{name}')}（{'、'.join(articles)}）"
        for name, articles in DEFINITIONS.items()
    ]
    return Table(title, header, rows, notes)


def causes_table(w: Words, groups: list[Figures], names: dict[str, str]) -> Table:
    """Return the gaps by group and cause as a sheet."""
    rows: list[list[Value]] = [
        [
            names.get(one.name, one.name) or w("shell", "all"),
            w("cause", cause),
            said.count,
            round(said.seconds),
            said.filled,
        ]
        for one in groups
        for cause, said in sorted(one.gaps.items())
    ]
    columns = ("group", "cause", "gap_count", "gap_seconds", "gap_filled")
    title = w("supervision", "figure_gaps")
    return Table(title, [w("supervision", f"column_{name}") for name in columns], rows)


def group_name(w: Words, by: By, one: Figures, names: dict[str, str], *, first: bool) -> str:
    """Return what a group is called."""
    if first:
        return w("supervision", "whole")
    if by == "kind":
        return w("kind", one.name)
    return names.get(one.name, one.name) or w("supervision", "no_group")
