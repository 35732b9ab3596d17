"""The topics of the log: their names, what stands in them, how long, how they are keyed."""

from __future__ import annotations

import msgspec

MAX_RECORD_BYTES = 8 * 1024 * 1024
"""Largest record: a self-contained 4K keyframe fragment, with room."""

MAX_REJECTED_BYTES = MAX_RECORD_BYTES - 65_536
"""Of what cannot be read, so much goes to topic `rejected`: a foreign writer's record may be larger than any of ours,
and could otherwise never be told, nor passed over."""


class Topic(msgspec.Struct, frozen=True):
    """What a topic is made with.

    Attributes:
        name: Name on the wire.
        retention_s: Records older than this may be dropped; None keeps them for ever.
        compacted: Only the newest record of each key is kept. Never for `events`: runners need offsets without holes.
    """

    name: str
    retention_s: int | None
    compacted: bool = False


_DAY_S = 86_400

EVENTS = Topic("events", 30 * _DAY_S)
"""Everything observed, one JSON event a record, key = recorder; `tick` stands in every partition once a second."""

MEDIA = Topic("media", 3 * _DAY_S)
"""Fragments: value = init + moof + mdat, header `event` = the JSON of its `fragment` event, key = recorder. A record
with an empty value and the header `event` = `session_ended` tells the store that a session is whole."""

FINDINGS = Topic("findings", 30 * _DAY_S)
"""What the detectors found, one JSON finding a record, key = recorder."""

REJECTED = Topic("rejected", 30 * _DAY_S)
"""What could not be read: value = the original bytes; headers `reason`, `detail`, `source`."""

REGISTRY = Topic("registry", None, compacted=True)
"""Registered recorders and cameras, key = recorder; the newest registration counts."""

DETECT_STATE = Topic("detect-state", None, compacted=True)
"""Changelog of the detectors, written to the partition of the events it belongs to."""

ALL = (EVENTS, MEDIA, FINDINGS, REJECTED, REGISTRY, DETECT_STATE)

EVENT_HEADER = "event"
REASON_HEADER = "reason"
DETAIL_HEADER = "detail"
SOURCE_HEADER = "source"

SEGMENT_HEADER = "segment"
"""On a `media` record: `1` where the fragment begins a segment; decode times start from 0 there."""
DEPENDENT_HEADER = "dependent"
"""On a `media` record: `1` where its first picture is no keyframe."""
FEED_END_HEADER = "feed_end"
"""On an empty `media` record: id of the feed of which no fragment will come any more."""
