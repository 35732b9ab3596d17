import random

import pytest

from streams.ingest.rtp.reorder import IN_ORDER, ReorderBuffer, ReorderLimits


def test_order_is_restored_within_the_delay() -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer(ReorderLimits(delay_s=0.2))
    out = []
    for at, sequence in enumerate([10, 12, 13, 11, 15, 14, 16]):
        out += [packet.item for packet in buffer.push(sequence, sequence, at / 100)]
    assert out == [10, 11, 12, 13, 14, 15, 16]
    assert buffer.lost == 0


def test_a_hole_is_given_up_after_the_delay_and_no_later() -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer(ReorderLimits(delay_s=0.2))
    buffer.push(1, 1, 0.0)
    assert buffer.push(5, 5, 1.0) == []
    assert buffer.wake_at_s == pytest.approx(1.2)
    assert buffer.expire(1.19) == []
    (released,) = buffer.expire(1.2)
    assert (released.item, released.lost) == (5, 3)
    assert buffer.push(3, 3, 1.3) == []
    assert (buffer.lost, buffer.late, buffer.duplicates) == (2, 1, 0)
    assert buffer.push(3, 3, 1.3) == []
    assert buffer.duplicates == 1


def test_a_hole_is_given_up_when_too_many_wait() -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer(ReorderLimits(delay_s=10, packets=16))
    buffer.push(0, 0, 0.0)
    out = [packet for sequence in range(2, 40) for packet in buffer.push(sequence, sequence, 0.0)]
    assert [packet.item for packet in out] == list(range(2, 40))
    assert out[0].lost == 1


def test_on_a_reliable_transport_nothing_waits() -> None:
    buffer: ReorderBuffer[int] = ReorderBuffer(IN_ORDER)
    buffer.push(1, 1, 0.0)
    (released,) = buffer.push(9, 9, 0.0)
    assert released.lost == 7
    assert buffer.wake_at_s is None


def test_missing_packets_are_asked_for_a_few_times() -> None:
    limits = ReorderLimits(delay_s=1.0, nack=True, nack_after_s=0.01, nack_every_s=0.05, nack_tries=3)
    buffer: ReorderBuffer[int] = ReorderBuffer(limits)
    buffer.push(0xFFFE, 0, 0.0)
    buffer.push(1, 3, 0.0)
    assert buffer.nacks(0.0) == []
    assert buffer.wake_at_s == pytest.approx(0.01)
    assert buffer.nacks(0.01) == [0xFFFF, 0]
    assert buffer.nacks(0.02) == []
    assert [packet.item for packet in buffer.push(0xFFFF, 1, 0.03)] == [1]
    assert buffer.nacks(0.07) == [0]
    assert buffer.nacks(0.13) == [0]
    assert buffer.nacks(0.9) == []
    assert [packet.item for packet in buffer.push(0, 2, 0.95)] == [2, 3]
    assert buffer.nacks(2.0) == []


def test_a_new_numbering_is_believed_after_two_in_a_row_and_loses_neither() -> None:
    buffer: ReorderBuffer[str] = ReorderBuffer(ReorderLimits(delay_s=0.2))
    buffer.push(100, "a", 0.0)
    assert buffer.push(40_000, "stray", 0.0) == []
    assert [packet.item for packet in buffer.push(101, "b", 0.0)] == ["b"]
    assert buffer.push(40_001, "c", 0.0) == []
    released = buffer.push(40_002, "d", 0.0)
    assert [(packet.item, packet.restarted) for packet in released] == [("c", True), ("d", False)]


@pytest.mark.parametrize("seed", range(20))
def test_any_disorder_gives_order_and_counts_add_up(seed: int) -> None:
    rng = random.Random(seed)
    sent = list(range(65_000, 67_000))
    arriving = sorted((n for n in sent[1:] if rng.random() > 0.03), key=lambda n: n + rng.random() * 30)
    buffer: ReorderBuffer[int] = ReorderBuffer(ReorderLimits(delay_s=0.1))
    out = list(buffer.push(sent[0] & 0xFFFF, sent[0], 0.0))
    for at, number in enumerate(arriving):
        out += buffer.push(number & 0xFFFF, number, at / 1000)
        assert len(buffer.held) <= 512
    out += buffer.flush()
    items = [packet.item for packet in out]
    assert items == sorted(items)
    assert sum(packet.lost for packet in out) == items[-1] - items[0] + 1 - len(items)
    assert len(items) + buffer.late == len(arriving) + 1
