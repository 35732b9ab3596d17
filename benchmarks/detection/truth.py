"""What is true of a log, and how what was said is held against it.

The truth comes from whoever made the faults: moments that were drawn, and what the interface says must follow.
Nothing of it is computed by the detectors' code.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from domain.findings import Finding, FindingKind


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """One fault that is to be found, once. Moments are milliseconds since 1970.

    Attributes:
        kind: Kind of its finding.
        recorder: Its recorder.
        low: Earliest `began_at` that is right.
        high: Latest one.
        due: When the rule's own threshold was reached, from which delay is counted; None where none is counted.
        causes: Right causes; empty where the interface names none.
        ends: The condition ended within the log, and the finding must close.
        required: It must be found; else it may be, and is neither right nor wrong.
        fault: Name of the fault, for people.
    """

    kind: FindingKind
    recorder: str
    low: int
    high: int
    due: int | None = None
    causes: tuple[str, ...] = ()
    ends: bool = False
    required: bool = True
    fault: str = ""


class Heard(NamedTuple):
    """A finding, and the newest moment of the log when it was said."""

    finding: Finding
    at: int


class Score(msgspec.Struct):
    """Of one kind.

    Attributes:
        instances: Faults to be found.
        found: Those that were.
        false: Findings that are about no fault.
        delays_s: From the threshold to when it was said, log time.
        cause_right: Findings whose cause is right.
        cause_asked: Findings whose cause could be wrong.
        closed: Findings that closed.
        closes: Findings that had to.
        missed: What was not found, for people.
        wrong: What was false or had a wrong cause, for people.
    """

    instances: int = 0
    found: int = 0
    false: int = 0
    delays_s: list[float] = []
    cause_right: int = 0
    cause_asked: int = 0
    closed: int = 0
    closes: int = 0
    missed: list[str] = []
    wrong: list[str] = []

    @property
    def recall(self) -> float:
        """Part of the faults that was found."""
        return self.found / self.instances if self.instances else 1.0

    @property
    def precision(self) -> float:
        """Part of what was said that is about a fault."""
        said = self.found + self.false
        return self.found / said if said else 1.0

    @property
    def cause_accuracy(self) -> float | None:
        """Part of the causes that are right; None where there are none."""
        return self.cause_right / self.cause_asked if self.cause_asked else None

    def add(self, other: Score) -> None:
        """Count another one in."""
        for field in msgspec.structs.fields(Score):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def figures(self) -> dict[str, Any]:
        """What is published."""
        figures: dict[str, Any] = {
            "instances": self.instances,
            "found": self.found,
            "false": self.false,
            "recall": self.recall,
            "precision": self.precision,
            "closed": self.closed,
            "closes": self.closes,
            "cause_accuracy": self.cause_accuracy,
        }
        if self.delays_s:
            cuts = statistics.quantiles([*self.delays_s, self.delays_s[-1]], n=20, method="inclusive")
            longest = max(self.delays_s)
            figures |= {"delay_s": {"median": statistics.median(self.delays_s), "p95": cuts[18], "max": longest}}
        return figures


Scores = dict[str, Score]


def score(truths: Sequence[Truth], heard: Iterable[Heard]) -> Scores:
    """Hold what was said against what is true, by kind."""
    scores: Scores = defaultdict(Score)
    left: dict[tuple[str, str], list[Truth]] = defaultdict(list)
    for truth in truths:
        left[truth.kind, truth.recorder].append(truth)
        scores[truth.kind].instances += truth.required
    matched: dict[str, Truth] = {}
    for one in heard:
        if one.finding.status == "opened":
            _opened(one, left, matched, scores[one.finding.kind])
        elif one.finding.status == "closed" and one.finding.id in matched:
            truth = matched.pop(one.finding.id)
            scores[truth.kind].closed += truth.ends
    for (kind, _), truths_left in left.items():
        scores[kind].missed += [f"{one.fault}: {one}" for one in truths_left if one.required]
    return dict(scores)


def _opened(one: Heard, left: dict[tuple[str, str], list[Truth]], matched: dict[str, Truth], counted: Score) -> None:
    finding = one.finding
    candidates = left.get((finding.kind, finding.recorder_id), [])
    fitting = [truth for truth in candidates if truth.low <= finding.began_at <= truth.high]
    if not fitting:
        counted.false += 1
        counted.wrong.append(f"false: {finding}")
        return
    truth = max(fitting, key=lambda one: one.required)
    if not truth.required:
        return
    candidates.remove(truth)
    matched[finding.id] = truth
    counted.found += 1
    counted.closes += truth.ends
    if truth.due is not None:
        counted.delays_s.append((one.at - truth.due) / 1000)
    if truth.causes:
        counted.cause_asked += 1
        counted.cause_right += finding.cause in truth.causes
        if finding.cause not in truth.causes:
            counted.wrong.append(f"cause {finding.cause}, not {truth.causes} ({truth.fault}): {finding}")


def merged(parts: Iterable[Scores]) -> Scores:
    """Count several scores together."""
    whole: Scores = defaultdict(Score)
    for part in parts:
        for kind, one in part.items():
            whole[kind].add(one)
    return dict(whole)
