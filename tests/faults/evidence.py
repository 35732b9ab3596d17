"""What must hold of the evidence after any fault, read from the log and the store alone."""

from __future__ import annotations

import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
from minio import Minio

from domain import wire
from domain.bus import Record, TopicPartition
from domain.errors import InvalidInput
from domain.events import AnyEvent, Fragment, SegmentStored
from domain.findings import Finding
from domain.settings import Settings
from domain.topics import EVENTS, FINDINGS, MEDIA, REJECTED
from storage import manifest
from storage.ledger.check import Check
from storage.ledger.entry import decode
from storage.ledger.keys import load_keys
from storage.ledger.ledger import Ledger
from streams.bus.connect import connect

Missing = tuple[int, int]
"""Where media is missing: from and to, ms since 1970."""


class Trace(msgspec.Struct):
    """What the log says.

    Attributes:
        fragments: Every acknowledged fragment by feed and number.
        stored: Announced segments by key.
        events: Events that could be read, partition after partition.
        findings: Lines of topic `findings` as they stand there.
        rejected: Records of topic `rejected`.
    """

    fragments: dict[tuple[str, int], Fragment] = {}
    stored: dict[str, list[SegmentStored]] = msgspec.field(default_factory=lambda: defaultdict(list))
    events: list[AnyEvent] = []
    findings: list[bytes] = []
    rejected: list[Record] = []

    def of(self, recorder_id: str) -> list[Fragment]:
        """Return the fragments of one recorder in the order of capture."""
        own = [fragment for fragment in self.fragments.values() if fragment.recorder_id == recorder_id]
        return sorted(own, key=lambda fragment: fragment.captured_at)

    def said(self, kind: str, recorder_id: str = "") -> list[Finding]:
        """Return the findings of a kind, repetitions of the same bytes taken out."""
        found = []
        for line in dict.fromkeys(self.findings):
            with suppress(InvalidInput):  # rubbish that a test has put there
                found.append(wire.decode_finding(line))
        return [one for one in found if one.kind == kind and recorder_id in {"", one.recorder_id}]

    def reasons(self, recorder_id: str = "") -> Counter[str]:
        """Return how often each reason stands on topic `rejected`."""
        own = [record for record in self.rejected if recorder_id in {"", record.key}]
        return Counter(record.headers["reason"].decode() for record in own)


async def read_trace(address: str) -> Trace:
    """Read the log; a fragment counts as acknowledged when either `events` or `media` has it."""
    bus = connect(address, partitions=4, client_id="test")
    await bus.start()
    trace = Trace()
    try:
        for topic in (EVENTS.name, MEDIA.name, FINDINGS.name, REJECTED.name):
            for partition in range(bus.partitions(topic)):
                async for record in bus.read(TopicPartition(topic, partition), 0):
                    _note(trace, record)
    finally:
        await bus.close()
    return trace


def _note(trace: Trace, record: Record) -> None:
    if record.topic == FINDINGS.name:
        trace.findings.append(record.value or b"")
    elif record.topic == REJECTED.name:
        trace.rejected.append(record)
    elif data := record.headers.get("event") if record.topic == MEDIA.name else record.value:
        with suppress(InvalidInput):
            _note_event(trace, wire.decode_event(data), is_told=record.topic == EVENTS.name)


def _note_event(trace: Trace, event: AnyEvent, *, is_told: bool) -> None:
    if is_told:
        trace.events.append(event)
    if isinstance(event, Fragment):
        known = trace.fragments.setdefault((event.feed_id, event.seq), event)
        assert known.sha256 == event.sha256, f"two fragments are {event.feed_id} {event.seq}"
    elif isinstance(event, SegmentStored):
        trace.stored[event.key].append(event)


def check_bucket(client: Minio, bucket: str, trace: Trace) -> int:
    """Check that every fragment is in exactly one object, whole, and every object one version; how many objects."""

    def objects() -> Iterator[tuple[str, bytes]]:
        names = [item.object_name or "" for item in client.list_objects(bucket, prefix="segments/", recursive=True)]
        for name in names:
            listed = client.list_objects(bucket, prefix=name, include_version=True)
            versions = [version for version in listed if version.object_name == name]
            assert len(versions) == 1, f"{name}: {len(versions)} versions"
            yield name, client.get_object(bucket, name).read()

    return check_objects(objects(), trace)


def check_directory(store: Path, trace: Trace) -> int:
    """Check the same of a directory store."""
    files = sorted(path for path in store.rglob("segments/**/*.mp4") if path.is_file())
    return check_objects(((str(path).partition("/segments/")[2], path.read_bytes()) for path in files), trace)


def check_objects(objects: Iterator[tuple[str, bytes]], trace: Trace) -> int:
    """Check objects, as name and bytes."""
    where: Counter[tuple[str, int]] = Counter()
    count = 0
    for name, data in objects:
        count += 1
        said = manifest.check(io.BytesIO(data))
        where.update((said.feed_id, entry.seq) for entry in said.fragments)
        announced = [stored for key, found in trace.stored.items() if key.endswith(name) for stored in found]
        digests = {stored.sha256 for stored in announced}
        assert digests == {hashlib.sha256(data).hexdigest()}, f"{name}: announced as {digests}"
    twice = [place for place, times in where.items() if times > 1]
    assert not twice, f"stored twice: {twice[:5]}"
    missing = trace.fragments.keys() - where.keys()
    assert not missing, f"{len(missing)} acknowledged fragments are in no object: {sorted(missing)[:5]}"
    assert not where.keys() - trace.fragments.keys()
    return count


async def check_ledger(directory: Path, trace: Trace) -> int:
    """Check that the ledger is what its checkpoints say, and has each stored segment once; how many entries."""
    ledger = await Ledger.connect(f"sqlite:///{directory}/ledger.db")
    try:
        keys = load_keys(directory / "ledger.key", Settings().ledger_origin)
        faults = [str(fault) async for fault in Check(ledger, keys.trusted).run()]
        entries = [decode(line) async for _, line in ledger.read()]
        newest = await ledger.latest_checkpoint()
    finally:
        await ledger.close()
    assert faults == []
    assert newest is not None
    assert newest.size > 0
    attested = Counter((one.body["key"], one.body["sha256"]) for one in entries if one.kind == "segment")
    assert attested == Counter({(key, said[0].sha256): 1 for key, said in trace.stored.items()})
    return len(entries)


def gaps(fragments: list[Fragment], longer_than_ms: int = 100) -> list[Missing]:
    """Return where media is missing between fragments in order of capture."""
    found: list[Missing] = []
    end: int | None = None
    for fragment in fragments:
        if end is not None and fragment.captured_at - end > longer_than_ms:
            found.append((end, int(fragment.captured_at)))
        end = max(end or 0, int(fragment.captured_at) + round(fragment.duration_s * 1000))
    return found


def check_findings(trace: Trace, recorders: tuple[str, ...], until_ms: int, cause: str | None = None) -> None:
    """Check that the gaps found are those that are there, and that no finding is said twice in other words.

    Args:
        trace: The log.
        recorders: Whose.
        until_ms: Later gaps may not have been said yet.
        cause: What every gap must be put down to.
    """
    for recorder in recorders:
        real = [gap for gap in gaps(trace.of(recorder), 1_000) if gap[1] < until_ms]
        opened = [one for one in trace.said("recording.gap", recorder) if one.status == "opened"]
        said = sorted(_span(one) for one in opened if _span(one)[1] < until_ms)
        assert _alike(said, real), f"{recorder}: found {said}, missing {real}"
        assert len({one.id for one in opened}) == len(opened), f"{recorder}: a gap opened twice"
        if cause is not None:
            assert {one.cause for one in opened} <= {cause}, [(one.cause, one.evidence) for one in opened]
        stalls = trace.said("recording.stalled", recorder)
        ended = {one.id for one in stalls if one.status == "closed"}
        assert {one.id for one in stalls if one.status == "opened" and int(one.detected_at) < until_ms} <= ended


def _span(finding: Finding) -> Missing:
    start, end = (str(finding.evidence[name]) for name in ("from", "to"))
    return int(wire.convert(start, type(finding.began_at))), int(wire.convert(end, type(finding.began_at)))


def _alike(said: list[Missing], real: list[Missing]) -> bool:
    pairs = zip(said, real, strict=False)
    return len(said) == len(real) and all(abs(a[0] - b[0]) <= 300 and abs(a[1] - b[1]) <= 300 for a, b in pairs)
