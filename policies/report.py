"""A policy and a deadline, written out: for people in Chinese, for programs as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from domain.clock import Instant
from policies.deadlines import Deadline, plain_time
from policies.labels import BOUNDS, FIELDS, LEVELS, MAY, UNITS
from policies.model import Access, Act, Check, Keep, LongTerm, Policy
from policies.values import Flag, Number, Period, Sourced, Term, Text, Texts


def show_text(policy: Policy) -> str:
    """Return the whole policy for a person to read, each value with its article, or marked as ours."""
    lines = [f"{policy.document.authority}（{policy.name}）"]
    for name in policy.__struct_fields__:
        value = getattr(policy, name)
        if name == "name" or value is None or value == () or _is_blank(value):
            continue
        lines += ["", f"【{FIELDS[name]}】", *_lines(value, "")]
    return "\n".join(lines) + "\n"


def show_json(policy: Policy) -> str:
    """Return the whole policy as one JSON object."""
    return json.dumps(msgspec.to_builtins(policy), ensure_ascii=False, indent=2) + "\n"


def deadline_fields(deadline: Deadline, now: Instant) -> dict[str, Any]:
    """Return what `liuhen policy deadline --json` prints."""
    return {
        "policy": deadline.policy,
        "completed": deadline.completed.rfc3339(),
        "remote": deadline.remote,
        "returned": _time(deadline.returned),
        "store_by": _time(deadline.store_by),
        "warn_at": _time(deadline.warn_at),
        "seconds_left": deadline.seconds_left(now),
        "clauses": list(deadline.clauses),
        "note": deadline.note,
    }


def deadline_json(deadline: Deadline, now: Instant) -> str:
    """Return the fields as one line of JSON."""
    return json.dumps(deadline_fields(deadline, now), ensure_ascii=False) + "\n"


def deadline_text(deadline: Deadline, now: Instant) -> str:
    """Return the deadline for a person to read."""
    lines = [f"制作完成：{plain_time(deadline.completed)}"]
    if deadline.remote:
        lines.append(f"返回单位：{plain_time(deadline.returned) if deadline.returned is not None else '未知'}")
    if deadline.store_by is None:
        lines.append("储存期限：无")
    else:
        lines.append(f"储存期限：{plain_time(deadline.store_by)}（{_left(deadline, now)}）")
    if deadline.warn_at is not None:
        lines.append(f"提醒时间：{plain_time(deadline.warn_at)}［本系统定］")
    if deadline.clauses:
        lines.append(f"依据：{'、'.join(deadline.clauses)}")
    if deadline.note:
        lines.append(f"说明：{deadline.note}")
    return "\n".join(lines) + "\n"


def _left(deadline: Deadline, now: Instant) -> str:
    seconds = deadline.seconds_left(now) or 0.0
    hours, minutes = divmod(int(abs(seconds)) // 60, 60)
    length = f"{hours}小时{minutes}分"
    if not deadline.overdue(now):
        return f"还有{length}"
    return f"已过{length}，只因其间有节假日" if deadline.days_off_only(now) else f"已过{length}"


def _time(moment: Instant | None) -> str | None:
    return None if moment is None else moment.rfc3339()


def _lines(value: object, indent: str) -> Iterator[str]:
    if isinstance(value, Sourced):
        yield f"{indent}{_value(value)}　{_basis(value)}"
        return
    if isinstance(value, tuple):
        for entry in value:
            yield from _lines(entry, indent)
        return
    for name in getattr(value, "__struct_fields__", ()):
        inner = getattr(value, name)
        if inner is None or inner in ((), "", {}):
            continue
        yield from _named(FIELDS[name], inner, indent)


def _named(label: str, inner: object, indent: str) -> Iterator[str]:
    if isinstance(inner, Sourced):
        yield f"{indent}{label}：{_value(inner)}　{_basis(inner)}"
    elif isinstance(inner, dict):
        yield f"{indent}{label}"
        for key, articles in inner.items():
            yield f"{indent}  {key}：{'、'.join(articles) or '文件没有规定'}"
    elif isinstance(inner, msgspec.Struct) or (isinstance(inner, tuple) and isinstance(inner[0], msgspec.Struct)):
        yield f"{indent}{label}"
        yield from _lines(inner, indent + "  ")
    else:
        yield f"{indent}{label}：{'、'.join(inner) if isinstance(inner, tuple) else inner}"


def _is_blank(value: object) -> bool:
    return isinstance(value, msgspec.Struct) and all(getattr(value, name) is None for name in value.__struct_fields__)


def _value(leaf: Sourced) -> str:
    match leaf:
        case Flag():
            return "是" if leaf.value else "否"
        case Period():
            return f"{leaf.value}{UNITS[leaf.unit]}"
        case Texts():
            return "、".join(leaf.value) + ("（等）" if leaf.open else "")
        case Number() | Text():
            return str(leaf.value)
        case Keep():
            figure = f"，{leaf.months}个月" if leaf.months else ""
            return f"{leaf.zh}：{BOUNDS[leaf.bound]}{figure}"
        case Term():
            return f"{leaf.zh}（{leaf.id}）{_more(leaf)}"
    msg = f"no way to write {type(leaf).__name__}"
    raise TypeError(msg)


def _more(term: Term) -> str:
    match term:
        case Act():
            return f"：{LEVELS[term.level]}"
        case LongTerm():
            marks = [
                f"{term.approver}批准" if term.approver else "",
                f"行为 {'、'.join(term.acts)}" if term.acts else "",
                f"中止原因 {'、'.join(term.causes)}" if term.causes else "",
            ]
            return "：" + "；".join(mark for mark in marks if mark) if any(marks) else ""
        case Access():
            parts = [
                "、".join(MAY[one] for one in term.may),
                term.scope and f"范围 {term.scope}",
                term.reviewer and f"{term.reviewer}审核",
                term.approver and f"{term.approver}批准",
                term.documents and f"凭{'、'.join(term.documents)}",
                term.register and "登记",
            ]
            return "：" + "；".join(part for part in parts if part)
        case Check():
            period = f"每{term.months}个月" if term.months else "没有周期"
            points = f"；{'；'.join(term.points)}" if term.points else ""
            return f"：{term.by}{'，' if term.by else ''}{period}{points}"
    percent = getattr(term, "minimum_percent", None)
    return f"：至少{percent.value}%（本系统定）" if percent is not None else ""


def _basis(leaf: Sourced) -> str:
    note = f"　※{leaf.note}" if leaf.note else ""
    if leaf.local:
        return f"［{leaf.local}：{'、'.join(leaf.source)}］{note}"
    if leaf.ours:
        return f"［本系统定：{leaf.reason}］{note}"
    return f"［{'、'.join(leaf.source)}］{note}"
