"""`liuhen replay`: the detectors over a file of events, one JSON finding a line. Constant memory but for the states."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TextIO

import msgspec

from detectors.contract import Thresholds
from detectors.registry import rules
from domain import wire
from policies.clauses import DEFAULT
from policies.local import Rulebook
from streams.runners.engine import Input, Outcome, Partition

BATCH_LINES = 500


def replay(
    lines: Iterable[str],
    policy: str,
    out: TextIO,
    err: TextIO,
    *,
    thresholds: Thresholds | None = None,
    book: Rulebook | None = None,
) -> int:
    """Run the detectors over lines of events.

    At the end of the file, what waits only for its place in order is said, as the next ticks would bring it out.

    Args:
        lines: One JSON event each, in log order; empty lines are passed over. Read as they are needed.
        policy: Policy of recorders that name none.
        out: Takes one JSON finding a line.
        err: Takes one line for each rejected one: its number from 1, and why.
        thresholds: Settings; their policy is replaced by `policy`.
        book: The policies in force; those of the package alone where absent.

    Returns:
        0, or 1 where a line was rejected; everything else is done all the same.
    """
    partition = Partition(rules(_with_policy(thresholds, policy or DEFAULT), book))
    rejected = 0
    for batch in _batches(lines):
        outcome = partition.run(batch)
        partition.fold(outcome)
        rejected += len(outcome.rejected)
        _write(outcome, out, err)
    for said in partition.finish():
        out.write(wire.encode(said.finding).decode() + "\n")
    out.flush()
    return 1 if rejected else 0


@contextmanager
def opened(path: str) -> Iterator[Iterable[str]]:
    """Open a file of events, `-` being standard input, so that bytes that are no UTF-8 spoil only their own line.

    Raises:
        OSError: It cannot be opened.
    """
    if path == "-":
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
        yield sys.stdin
        return
    with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        yield lines


def _with_policy(thresholds: Thresholds | None, policy: str) -> Thresholds:
    return msgspec.structs.replace(thresholds or Thresholds(), policy=policy)


def _batches(lines: Iterable[str]) -> Iterator[list[Input]]:
    """The number of a line, from 1, serves as its offset."""
    inputs = (
        Input(number, line.strip().encode("utf-8", "surrogateescape"))
        for number, line in enumerate(lines, 1)
        if line.strip()
    )
    while batch := list(islice(inputs, BATCH_LINES)):
        yield batch


def _write(outcome: Outcome, out: TextIO, err: TextIO) -> None:
    for said in outcome.said:
        out.write(wire.encode(said.finding).decode() + "\n")
    for bad in outcome.rejected:
        detail = bad.detail.encode("utf-8", "backslashreplace").decode()
        err.write(f"line {bad.offset}: {bad.reason}: {detail}\n")
