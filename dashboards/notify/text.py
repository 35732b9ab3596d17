"""Messages in words: what, where, since when, which article, what to do."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from dashboards.notify.way import Written
from dashboards.words import Words
from domain.clock import Instant
from policies.articles import instruments
from storage.office.channels import PARTY
from storage.office.outbox import Entry, Message

MAX_KINDS = 5
MAX_CLAUSES = 8
MAX_LETTERS = 1500
"""Robots of messengers cut off or refuse what is longer than some 2,000 characters."""


def write(entry: Entry, words: Words, public_url: str, *, is_repetition: bool = False) -> Written:
    """Put an entry of the outbox into words.

    Args:
        entry: What is said, to whom.
        words: In this language.
        public_url: Address of the console; no link where empty.
        is_repetition: It may have arrived before, and the reader could not tell.
    """
    message = _plain(entry.message)
    link = f"{public_url.rstrip('/')}/alerts/{message.alert_id}" if public_url else ""
    if entry.account_id == PARTY:
        title, lines, link = _party_title(message, words), _party(message, words), ""
    else:
        title, lines = _title(message, words), _lines(message, words)
    if is_repetition:
        lines.append(words("notify", "doubtful"))
    body = "\n".join(lines)
    return Written(
        id=entry.id,
        title=title,
        body=body if len(body) <= MAX_LETTERS else body[: MAX_LETTERS - 1] + "…",
        severity=message.severity,
        link=link,
        facts=_facts(message),
    )


def _plain(message: Message) -> Message:
    """Return a message whose names and notes begin no line of their own: they are what somebody typed."""
    texts = {name: _line(getattr(message, name)) for name in ("site", "unit", "note", "summary", "by", "runbook")}
    return msgspec.structs.replace(message, recorders=[_line(name) for name in message.recorders], **texts)


def _line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _title(message: Message, words: Words) -> str:
    family = words("notify_family", message.family)
    matter = words("notify_matter", message.what, family=family, count=message.recorder_count)
    severity = words("notify_severity", message.severity)
    return words("notify", "title", severity=severity, where=_where(message, words), matter=matter)


def _lines(message: Message, words: Words) -> list[str]:
    lines = [
        words("notify", "what", what=_what(message, words)),
        words("notify", "where", where=_where(message, words)),
    ]
    if message.recorders and message.scope != "source":
        names = words("notify", "separator").join(message.recorders)
        key = "recorders_more" if message.recorder_count > len(message.recorders) else "recorders"
        lines.append(words("notify", key, names=names, count=message.recorder_count))
    lines.append(words("notify", "since", since=_moment(message.since)))
    lines.append(words("notify", "clauses", clauses=_clauses(message, words)))
    todo = "resolved" if message.what == "resolved" else message.family
    runbook = f" {message.runbook}" if message.runbook and message.what != "resolved" else ""
    lines.append(words("notify", "todo", todo=words("notify_todo", todo) + runbook))
    if message.by:
        lines.append(words("notify", "by", by=message.by))
    if message.note:
        lines.append(words("notify", "note", note=message.note))
    if message.gathers:
        lines.append(words("notify", "gathers"))
    lines.append(words("notify", "alert", id=message.alert_id))
    return lines


def _party_title(message: Message, words: Words) -> str:
    return words("notify", "party_title", site=message.site)


def _party(message: Message, words: Words) -> list[str]:
    lines = [
        words("notify", "party_what", what=_what(message, words)),
        words("notify", "party_since", since=_moment(message.since)),
    ]
    if message.note:
        lines.append(message.note)
    lines.append(words("notify", "party_ask", unit=message.unit or message.site))
    return lines


def _what(message: Message, words: Words) -> str:
    if message.summary:
        return message.summary
    said: dict[str, tuple[str, dict[str, Any]]] = {}
    for finding in message.findings:
        said.setdefault(finding.kind, (finding.key, dict(finding.params)))
    counts = Counter(finding.kind for finding in message.findings)
    texts = []
    for kind, count in counts.most_common(MAX_KINDS):
        key, params = said[kind]
        text = words.finding(key, kind, params)
        texts.append(words("notify", "several", text=text, count=count) if count > 1 else text)
    return words("notify", "separator").join(texts) or words("notify_family", message.family)


def _where(message: Message, words: Words) -> str:
    if message.site and message.unit:
        return words("notify", "site_unit", site=message.site, unit=message.unit)
    return message.site or message.unit or words("notify", "separator").join(message.recorders[:3])


def _clauses(message: Message, words: Words) -> str:
    shown = [cite(clause) for clause in message.clauses[:MAX_CLAUSES]]
    return words("notify", "separator").join(shown) or words("notify", "no_clause")


def cite(clause: str) -> str:
    """Return an article with the title of its document, as people cite it: 《…规范》第十八条."""
    prefix, _, number = clause.rpartition(" ")
    title = next((each.title for each in instruments() if each.prefix == prefix and prefix), "")
    return f"《{title}》{number}" if title else clause


def _moment(at: int) -> str:
    return Instant(at).datetime().strftime("%Y-%m-%d %H:%M:%S")


def _facts(message: Message) -> dict[str, Any]:
    return {
        "alert": message.alert_id,
        "number": message.number,
        "what": message.what,
        "state": message.state,
        "severity": message.severity,
        "family": message.family,
        "site_id": message.site_id,
        "unit_id": message.unit_id,
        "recorders": message.recorders,
        "recorder_count": message.recorder_count,
        "findings": [finding.id for finding in message.findings],
        "clauses": message.clauses,
        "since": Instant(message.since).rfc3339(),
    }
