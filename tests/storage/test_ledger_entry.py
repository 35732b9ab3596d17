"""Lines of the ledger: the same statement is the same bytes, and nothing else is read as one."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.clock import Instant
from domain.errors import IntegrityError, InvalidInput
from storage.ledger.entry import KINDS, MAX_LINE_BYTES, Entry, decode, entry_id, segment_id

T0 = Instant.parse("2026-05-04T08:00:00+08:00")

_scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
_text = st.text(st.characters(exclude_categories=["Cs"]))
_values = st.recursive(_scalars | _text, lambda inner: st.lists(inner) | st.dictionaries(_text, inner), max_leaves=8)
_bodies = st.dictionaries(_text, _values, max_size=4)
_entries = st.builds(
    Entry,
    kind=st.sampled_from(sorted(KINDS)),
    at=st.integers(0, 4 * 10**12).map(Instant),
    body=_bodies,
    recorder_id=st.none() | st.just("cam-1"),
    session_id=st.none() | st.just("s1"),
)


def segment(**more: Any) -> Entry:
    body = {"key": "segments/cam-1/a.mp4", "sha256": "ab" * 32, "version_id": "v1", "bytes": 1000}
    return Entry(kind="segment", at=T0, body=body | more, recorder_id="cam-1", session_id="s1")


def test_the_form_of_a_line() -> None:
    line = Entry(kind="hold", at=T0, body={"reason": "案件", "by": "li"}, recorder_id="cam-1").line()
    said = json.loads(line)
    assert line == json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert list(said) == ["alg", "at", "body", "id", "kind", "recorder_id", "v"]
    assert (said["v"], said["alg"], said["at"]) == (1, "sha256", "2026-05-04T08:00:00.000+08:00")
    assert len(said["id"]) == 32


@given(_entries)
def test_what_is_written_is_read_again(entry: Entry) -> None:
    again = decode(entry.line())
    assert again.line() == entry.line()
    assert (again.kind, again.at, again.id) == (entry.kind, entry.at, entry.id)


@given(_bodies)
def test_the_order_of_fields_is_nothing(body: dict[str, Any]) -> None:
    turned = dict(reversed(list(body.items())))
    one, other = (Entry(kind="access", at=T0, body=given) for given in (body, turned))
    assert (one.line(), one.id) == (other.line(), other.id)


def test_another_statement_has_another_id() -> None:
    first = Entry(kind="access", at=T0, body={"by": "li"}, recorder_id="cam-1", session_id="s1")
    changes: list[dict[str, Any]] = [
        {"kind": "export"},
        {"at": T0.plus(1)},
        {"body": {"by": "wang"}},
        {"recorder_id": None},
        {"session_id": "s2"},
        {"recorder_id": "s1", "session_id": "cam-1"},
    ]
    ids = {first.id, *(msgspec.structs.replace(first, **change).id for change in changes)}
    assert len(ids) == len(changes) + 1


def test_a_segment_stated_again_by_a_later_clock_is_the_same() -> None:
    again = msgspec.structs.replace(segment(retain_until="2027-01-01T00:00:00+08:00"), at=T0.plus(60_000))
    assert again.id == segment().id == segment_id("cam-1", "s1", "segments/cam-1/a.mp4", "ab" * 32)
    assert segment(sha256="cd" * 32).id != segment().id


def test_an_id_follows_from_its_four_parts() -> None:
    body = {"by": "li"}
    entry = Entry(kind="approval", at=T0, body=body)
    assert entry.id == entry_id("approval", None, None, {"at": str(T0), "body": body})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"x": float("nan")}, "body.x"),
        ({"x": [1.0, float("inf")]}, "body.x"),
        ({"x": {"y": b"bytes"}}, "body.x.y"),
        ({"x": {1: "number"}}, "body.x"),
        ({"x": {1, 2}}, "body.x"),
        ({"x": "\ud800"}, "body"),
        ({"x": "a" * MAX_LINE_BYTES}, "body"),
    ],
)
def test_what_json_cannot_carry_is_refused(body: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Entry(kind="access", at=T0, body=body).line()
    assert caught.value.field == field


def test_a_kind_that_the_ledger_has_not() -> None:
    with pytest.raises(InvalidInput, match="kind"):
        Entry(kind="opinion", at=T0, body={}).line()


def _changed(**fields: object) -> bytes:
    return json.dumps({**json.loads(segment().line()), **fields}, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[1]",
        segment().line() + b"\n",
        b" " + segment().line(),
        segment().line().replace(b'"kind"', b'"kinds"'),
        json.dumps(json.loads(segment().line())).encode(),
        _changed(id="0" * 32),
        _changed(v=2),
        _changed(alg="sm3"),
        _changed(at="2026-05-04T08:00:00"),
        _changed(at="2026-05-04T00:00:00.000Z"),
        _changed(kind="opinion"),
        _changed(more=1),
        _changed(body=[]),
        b"[" * 100_000,
    ],
)
def test_a_line_in_another_form_is_none(line: bytes) -> None:
    with pytest.raises(IntegrityError):
        decode(line)


@given(_entries, st.data())
def test_a_flipped_bit_makes_no_other_line_of_the_same_entry(entry: Entry, data: st.DataObject) -> None:
    line = bytearray(entry.line())
    bit = data.draw(st.integers(0, len(line) * 8 - 1))
    line[bit // 8] ^= 1 << bit % 8
    try:
        assert decode(bytes(line)).line() != entry.line()
    except IntegrityError:
        assert bytes(line) != entry.line()
