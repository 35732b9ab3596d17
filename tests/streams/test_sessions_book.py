"""The session book: folded from the log and from our own events, whichever comes first."""

from pathlib import Path

import pytest

from domain import wire
from domain.bus import Record
from domain.clock import Instant
from domain.events import AnyRecorderEvent, SessionEnded, SessionOpened, SessionResumed, SessionStopped
from streams.ingest import sessions
from streams.ingest.sessions import SessionBook

AT = Instant.parse("2026-03-02T09:00:00+08:00")


def opened(session_id: str = "s", at: int = 0) -> SessionOpened:
    return SessionOpened(at=AT.plus(at), recorder_id="body-1", session_id=session_id)


def stopped(at: int) -> SessionStopped:
    return SessionStopped(at=AT.plus(at), recorder_id="body-1", session_id="s", reason="battery", last_captured_at=AT)


def resumed(at: int) -> SessionResumed:
    return SessionResumed(at=AT.plus(at), recorder_id="body-1", session_id="s")


def ended(at: int, session_id: str = "s") -> SessionEnded:
    return SessionEnded(at=AT.plus(at), recorder_id="body-1", session_id=session_id, completed_at=AT)


def record(value: bytes) -> Record:
    return Record("events", 0, 0, "body-1", value, {}, AT)


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], None),
        ([opened()], "open"),
        ([opened(), stopped(5)], "stopped"),
        ([opened(), stopped(5), resumed(9)], "open"),
        ([resumed(9), opened(), stopped(5)], "open"),
        ([opened(), ended(9), resumed(12)], "ended"),
        ([ended(9), opened()], "ended"),
        ([stopped(5)], "stopped"),
    ],
)
def test_the_newest_word_counts_and_an_end_is_for_ever(events: list[AnyRecorderEvent], state: str | None) -> None:
    book = SessionBook()
    for event in events:
        book.take(record(wire.encode(event)))
    assert book.state("s") == state
    assert book.open_sessions("body-1") == (["s"] if state in {"open", "stopped"} else [])
    assert book.recorder("s") == ("body-1" if state else None)


def test_rubbish_changes_nothing() -> None:
    book = SessionBook()
    for value in (b"", b"{", b'{"type":"session_opened"}', b'{"type":"tick","at":"2026-03-02T09:00:00+08:00"}'):
        book.take(record(value))
    assert book.open_sessions("body-1") == []


def test_the_book_is_saved_with_its_place_in_the_log(tmp_path: Path) -> None:
    book = SessionBook()
    for event in (opened("a"), opened("b", 1), ended(2, "a"), opened("c", 3)):
        book.apply(event)
    book.save(tmp_path / "sessions.json", {0: 17, 1: 4})
    again = SessionBook()
    assert again.load(tmp_path / "sessions.json") == {0: 17, 1: 4}
    assert again.open_sessions("body-1") == ["b", "c"]
    assert again.state("a") == "ended"


@pytest.mark.parametrize("data", [None, b"", b"{", b'{"offsets":[],"sessions":{}}'])
def test_without_a_readable_file_the_log_is_read_from_its_beginning(tmp_path: Path, data: bytes | None) -> None:
    if data is not None:
        (tmp_path / "sessions.json").write_bytes(data)
    assert SessionBook().load(tmp_path / "sessions.json") == {}


def test_the_oldest_ended_sessions_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "ENDED_KEPT", 3)
    book = SessionBook()
    for number in range(5):
        book.apply(ended(number, f"s{number}"))
    assert [book.state(f"s{number}") for number in range(5)] == [None, None, "ended", "ended", "ended"]
