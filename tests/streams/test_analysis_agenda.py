"""What is looked at next: the newest, at most every four seconds, speech first, and never more than fits."""

from __future__ import annotations

from domain.clock import Instant
from domain.events import Fragment
from streams.analysis.agenda import LISTEN_MS, MAX_RECORDERS, STALE_MS, Agenda

T0 = Instant.parse("2026-03-02T09:00:00+08:00")


def fragment(
    seq: int, *, recorder: str = "r1", feed: str = "f1", codec: str = "h264", seconds: float = 1.0
) -> Fragment:
    captured = T0.plus(round(seq * seconds * 1000))
    return Fragment(
        at=captured.plus(1200),
        recorder_id=recorder,
        session_id="s1",
        feed_id=feed,
        seq=seq,
        captured_at=captured,
        duration_s=seconds,
        bytes=3,
        sha256="0" * 64,
        codec=codec,
    )


def offer(agenda: Agenda, seq: int, data: bytes = b"abc", **fields: str) -> None:
    event = fragment(seq, **fields)  # type: ignore[arg-type]
    agenda.offer(event, data, int(event.at))


def at(seq: int) -> int:
    return int(fragment(seq).at)


def test_at_most_every_four_seconds_and_exactly_then() -> None:
    agenda = Agenda(4_000)
    looked = []
    for seq in range(20):
        offer(agenda, seq)
        while (task := agenda.take(at(seq))) is not None:
            looked.append(task.event.seq)
    assert looked == [0, 4, 8, 12, 16]
    assert agenda.shed == 0


def test_only_the_newest_waits() -> None:
    agenda = Agenda(4_000)
    for seq in range(50):
        offer(agenda, seq)
    assert len(agenda) == 1
    task = agenda.take(at(49))
    assert task is not None
    assert task.event.seq == 49
    assert agenda.shed == 49
    assert agenda.take(at(49)) is None


def test_those_who_wait_for_longest_come_first() -> None:
    agenda = Agenda(4_000)
    for seq in range(3):
        for name in ("a", "b", "c"):
            offer(agenda, seq, recorder=name)
    taken = [agenda.take(at(3)) for _ in range(3)]
    assert [(one.event.recorder_id, one.event.seq) for one in taken if one] == [("a", 2), ("b", 2), ("c", 2)]


def test_what_is_stale_is_passed_over() -> None:
    agenda = Agenda(4_000)
    offer(agenda, 0)
    assert agenda.take(at(0) + STALE_MS + 1) is None
    assert agenda.shed == 1
    assert len(agenda) == 0


def test_sound_after_a_beginning_is_listened_to_whole_and_first() -> None:
    agenda = Agenda(4_000)
    offer(agenda, 0, recorder="camera")
    for seq in range(120):
        offer(agenda, seq, codec="h264,opus")
    tasks = []
    while (task := agenda.take(at(120))) is not None:
        tasks.append(task)
    listened = [task.event.seq for task in tasks if task.listen]
    assert listened == list(range(LISTEN_MS // 1000))
    assert tasks[: len(listened)] == [task for task in tasks if task.listen]
    assert [task.event.seq for task in tasks if task.listen and task.look] == list(range(0, 90, 4))
    assert all(task.hear for task in tasks if task.event.recorder_id == "r1")


def test_a_new_feed_and_a_gap_are_beginnings() -> None:
    agenda = Agenda(4_000)

    def listens(seq: int, feed: str) -> bool:
        offer(agenda, seq, feed=feed, codec="h264,aac")
        task = agenda.take(at(seq))
        return task is not None and task.listen

    assert [listens(seq, "f1") for seq in (*range(90), 90)][-2:] == [True, False]
    assert not listens(91, "f1")
    assert listens(92, "f2")
    assert [listens(seq, "f2") for seq in range(93, 183)][-1] is False
    assert listens(186, "f2")


def test_what_waits_is_bounded_pictures_going_first() -> None:
    agenda = Agenda(4_000, max_bytes=1_000)
    offer(agenda, 0, b"x" * 400, recorder="p1")
    offer(agenda, 0, b"x" * 400, recorder="p2")
    offer(agenda, 0, b"x" * 400, recorder="s1", codec="h264,opus")
    assert len(agenda) == 2
    offer(agenda, 0, b"x" * 400, recorder="s2", codec="h264,opus")
    assert len(agenda) == 2
    assert [task.listen for task in (agenda.take(at(0)), agenda.take(at(0))) if task] == [True, True]
    offer(agenda, 0, b"x" * 1_001, recorder="p3")
    assert len(agenda) == 0
    assert agenda.shed == 3


def test_so_are_the_recorders_it_knows() -> None:
    agenda = Agenda(4_000)
    for number in range(MAX_RECORDERS + 5):
        offer(agenda, 0, recorder=f"r{number}")
        agenda.take(at(0))
    offer(agenda, 1, recorder="r0")  # forgotten, so it is looked at again
    assert agenda.take(at(1)) is not None
    offer(agenda, 1, recorder=f"r{MAX_RECORDERS + 4}")
    assert agenda.take(at(1)) is None
