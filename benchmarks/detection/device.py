"""What a device says of itself, over a whole story: battery, space and clock that go wrong, or nearly do."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.detection.story import Says, Story

Trouble = Callable[[Story], None]
FORECAST_MIN = 30.0
READINGS_MS = 60_000
"""A forecast needs readings over some time; the page does not say how long, so delay is counted from there."""


def _span(story: Story) -> tuple[int, int]:
    return story.pieces[0].start, max(piece.end for piece in story.pieces)


def _moment(story: Story, *, before_ms: int = 100_000, clear_ms: int = 40_000) -> int | None:
    """Draw a moment at which the device is heard of; None where the story has none."""
    low, high = _span(story)
    for _ in range(30):
        at = story.draw.randint(low + before_ms, max(low + before_ms, high - 90_000))
        if not any(begin - clear_ms < at < end + 10_000 for begin, end, _ in story.telemetry_trouble):
            return at
    return None


def _also(story: Story, then: Callable[[int, Says], None]) -> None:
    first = story.says

    def both(at: int, says: Says) -> None:
        first(at, says)
        then(at, says)

    story.says = both


def battery_low(story: Story) -> None:
    """It falls slowly past 20 %; now and then it is charged then."""
    crossed = _moment(story)
    if crossed is None:
        return
    rate = story.draw.uniform(0.1, 0.5)
    charged = crossed + story.draw.randrange(60_000, 80_000) if story.draw.random() < 0.5 else 1 << 62
    charged = charged if charged < _span(story)[1] - 60_000 else 1 << 62

    def says(at: int, words: Says) -> None:
        words.battery = 20 + rate * (crossed - min(at, charged)) / 60_000
        words.charging = at >= charged

    _also(story, says)
    ends = charged < 1 << 62 and not story.telemetry_trouble
    # The percent are told to a tenth.
    early = round(0.05 / rate * 60_000)
    story.true("power.low_battery", crossed, slack_ms=early + 500, reach_ms=6_000, due=crossed, ends=ends, fault="low")


def battery_soon(story: Story) -> None:
    """It falls so fast that it will be empty within half an hour."""
    low, high = _span(story)
    rate, last = story.draw.uniform(1.2, 2.0), story.draw.uniform(10, 25)
    _also(story, lambda at, says: setattr(says, "battery", last + rate * (high - at) / 60_000))
    if last + rate * (high - low) / 60_000 > 98:
        raise ValueError("a longer story than a battery lasts")
    crossed = max(low, round(high - (FORECAST_MIN * rate - last) / rate * 60_000))
    due = max(crossed, low + READINGS_MS)
    story.true("power.low_battery", crossed, slack_ms=30_000, reach_ms=due - crossed + 240_000, due=due, fault="soon")


def space_low(story: Story) -> None:
    """The card fills slowly past 10 % free."""
    crossed = _moment(story)
    if crossed is None:
        return
    rate = story.draw.uniform(0.0005, 0.0028)
    _also(story, lambda at, says: setattr(says, "free", 0.10 + rate * (crossed - at) / 60_000))
    story.true("storage.low_space", crossed, slack_ms=800, reach_ms=6_000, due=crossed, fault="low")


def space_soon(story: Story) -> None:
    """The card fills so fast that it will be full within half an hour."""
    low, high = _span(story)
    rate, last = story.draw.uniform(0.012, 0.02), story.draw.uniform(0.11, 0.2)
    _also(story, lambda at, says: setattr(says, "free", last + rate * (high - at) / 60_000))
    crossed = max(low, round(high - (FORECAST_MIN * rate - last) / rate * 60_000))
    due = max(crossed, low + READINGS_MS)
    story.true("storage.low_space", crossed, slack_ms=30_000, reach_ms=due - crossed + 240_000, due=due, fault="soon")


def clock_steps(story: Story) -> None:
    """The device's clock jumps; now and then it is put right again."""
    at = _moment(story)
    if at is None:
        return
    step = story.draw.choice((-1, 1)) * story.draw.uniform(8_000, 120_000)
    right = at + story.draw.randrange(45_000, 80_000)
    repaired = story.draw.random() < 0.6 and right < _span(story)[1] - 60_000 and not story.telemetry_trouble
    until = right if repaired else 1 << 62

    def says(moment: int, words: Says) -> None:
        words.device_off_ms += step if at <= moment < until else 0

    _also(story, says)
    due = at + 2 * story.telemetry_ms
    story.true("clock.drift", at, slack_ms=500, reach_ms=6_000, due=due, ends=repaired, fault="step")


def clock_drifts(story: Story) -> None:
    """The device's clock goes wrong little by little."""
    at = _moment(story, before_ms=200_000)
    if at is None:
        return
    low = story.pieces[0].start
    sign = story.draw.choice((-1, 1))
    rate = 5_000 / (at - low)
    base, story.clock_off_ms = story.clock_off_ms, 0.0
    _also(story, lambda moment, says: setattr(says, "device_off_ms", sign * rate * (moment - low)))
    # A clock that begins slow looks like a long way for up to 2 s.
    reach = round(2_500 / rate) + 20_000
    end = _span(story)[1]
    sure = at + reach < end - 20_000 and not any(at - 40_000 < high for _, high, _ in story.telemetry_trouble)
    due = at + 2 * story.telemetry_ms
    story.true(
        "clock.drift", at, slack_ms=round(700 / rate) + 6_000, reach_ms=reach, due=due, required=sure, fault="drift"
    )
    del base


def nearly(story: Story) -> None:
    """All just right: 21 to 26 % and falling slowly, 10.5 to 15 % free, a clock 3.4 s off."""
    draw = story.draw
    low, high = _span(story)
    battery, slow = draw.uniform(21, 26), draw.uniform(0.05, 0.3)
    free, fills = draw.uniform(0.105, 0.15), draw.uniform(0.0003, 0.0015)
    story.clock_off_ms = draw.choice((-1, 1)) * draw.uniform(1_500, 3_400)

    def says(at: int, words: Says) -> None:
        words.battery = battery + slow * (high - at) / 60_000
        words.free = free + fills * (high - at) / 60_000

    _also(story, says)
    del low


def charging(story: Story) -> None:
    """Nearly empty, and charging all the time."""
    low = story.pieces[0].start
    level = story.draw.uniform(2, 15)

    def says(at: int, words: Says) -> None:
        words.battery, words.charging = level + 0.5 * (at - low) / 60_000, True

    _also(story, says)


TROUBLE: dict[Trouble, int] = {
    lambda _: None: 3,
    battery_low: 3,
    battery_soon: 2,
    space_low: 4,
    space_soon: 2,
    clock_steps: 5,
    clock_drifts: 3,
    nearly: 3,
    charging: 1,
}
"""How often each is drawn."""
CLOCKS: dict[Trouble, int] = {lambda _: None: 2, clock_steps: 2}
"""What goes beside a battery or a card that is the fault itself."""
