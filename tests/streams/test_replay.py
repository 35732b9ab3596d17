"""`liuhen replay`: one finding a line, rejected lines named, the rest done all the same."""

from __future__ import annotations

import io
import json
from pathlib import Path

from domain import wire
from streams.workers.replay import opened as opened_file
from streams.workers.replay import replay
from tests.detectors.logs import fragments, in_order, opened, recording, registered, said, ticks


def run(lines: list[str], policy: str = "wucheng") -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = replay(lines, policy, out, err)
    return code, out.getvalue(), err.getvalue()


def test_findings_one_a_line_and_the_same_each_time() -> None:
    lines = [json.dumps(line) + "\n" for line in recording(4)]
    code, out, err = run(lines)
    assert (code, err) == (0, "")
    assert [wire.decode_finding(line) for line in out.splitlines()] == said(recording(4))
    assert run(lines) == (code, out, err)


def test_rejected_lines_are_named_and_the_rest_is_done() -> None:
    lines = [json.dumps(line) for line in recording(4)]
    _, clean, _ = run(lines)
    bad = [*lines[:10], "", "{nonsense", *lines[10:50], '{"type":"wink","at":"2026-03-02T09:00:00Z"}', *lines[50:]]
    code, out, err = run(bad)
    assert (code, out) == (1, clean)
    first, second = err.splitlines()
    assert first.startswith("line 12: invalid_event")
    assert second.startswith("line 53: invalid_event")
    assert "wink" in second


def test_the_policy_is_for_recorders_that_name_none() -> None:
    nameless = in_order([opened()], fragments(0, 5, 0), ticks(0, 20))
    named = in_order([registered(policy="zhanhe")], nameless)

    def clauses(log: list[dict[str, object]], policy: str) -> list[str]:
        _, out, _ = run([json.dumps(line) for line in log], policy)
        return wire.decode_finding(out.splitlines()[0]).clauses

    assert clauses(nameless, "chongqing") == ["第十一条"]
    assert clauses(nameless, "wucheng") == ["W-AV 第十八条"]
    assert clauses(named, "chongqing") == ["Z-AV 第十二条"]


def test_a_file_with_broken_bytes(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    good = [json.dumps(line).encode() for line in recording(4)]
    path.write_bytes(b"\n".join([good[0], b'{"type":"tick","at":"\xff\xfe"}', *good[1:]]))
    out, err = io.StringIO(), io.StringIO()
    with opened_file(str(path)) as lines:
        assert replay(lines, "wucheng", out, err) == 1
    assert err.getvalue().startswith("line 2: ")
    assert [wire.decode_finding(line) for line in out.getvalue().splitlines()] == said(recording(4))
