"""The changelog: what a holder that lost its partition still writes takes nothing away, however Kafka compacts."""

from __future__ import annotations

from itertools import pairwise

from detectors.registry import rules
from streams.runners.changelog import Changelog
from streams.runners.engine import Partition
from streams.runners.outputs import Output
from tests.detectors.logs import by_recorder, inputs, recording, said

Log = list[tuple[str, bytes | None]]


def held(log: Log) -> tuple[Partition, Changelog]:
    """A process that has gained the partition."""
    partition, changelog = Partition(rules()), Changelog(0)
    changelog.restore(partition, log)
    return partition, changelog


def written(partition: Partition, changelog: Changelog) -> Log:
    """Step 5."""
    save = partition.save()
    return [pair(one) for one in [*changelog.states(save), changelog.checkpoint(save), *changelog.outdated(save)]]


def pair(output: Output) -> tuple[str, bytes | None]:
    assert output.key is not None
    return output.key, output.value


def compacted(log: Log) -> Log:
    """What Kafka keeps at most once it has compacted: the newest record of each key, deletions gone."""
    newest = dict(log)
    return [(key, value) for key, value in newest.items() if value is not None]


def test_a_late_writer_takes_nothing_away() -> None:
    lines = recording(14, recorders=4)
    records = inputs(lines)
    expected = by_recorder(said(lines))
    first, first_log = held([])
    early = first.run(records[:200])
    first.fold(early)
    log = written(first, first_log)
    stale = first.run(records[200:220])  # counted in by a process that has lost the partition and not heard of it
    first.fold(stale)

    second, second_log = held(compacted(log))
    middle = second.run(records[200:600])
    second.fold(middle)
    log += written(second, second_log)
    log = compacted(log) + written(first, first_log)  # only now does the first write

    third, _ = held(compacted(log))
    assert third.offset == 599
    rest = third.run(records[600:])
    third.fold(rest)
    findings = [one.finding for one in [*early.said, *middle.said, *rest.said, *third.finish()]]
    assert by_recorder(findings) == expected


def test_keys_of_former_holders_do_not_pile_up() -> None:
    records = inputs(recording(14, recorders=3))
    log: Log = []
    cuts = range(0, len(records) + 1, 100)
    for low, high in pairwise(cuts):
        partition, changelog = held(log)
        partition.fold(partition.run(records[low:high]))
        log = compacted(log + written(partition, changelog))
    assert len(log) == 4  # three recorders and the partition, each once
