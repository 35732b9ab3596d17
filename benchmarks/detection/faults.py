"""What goes wrong on the way of the media, one function a fault; each tells the story of it and notes what is true.

What must follow is what the interface says of each kind, applied to the moments that were drawn here. Faults are drawn
clear of the thresholds: an outage that lasts about as long as a stall takes would be nobody's mistake either way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from benchmarks.detection.story import Figures, Says, Story
from domain.clock import Instant
from domain.events import Integrity, IntegrityFault, StopReason
from policies.loader import load

Restart = Literal["full", "short", "none"]
VOICE_MS = 60_000
REPORT_MS = 600_000
WRITTEN_MS = 86_400_000
RECORDED = frozenset({"zhanhe", "chongqing"})
"""Here a reviewed work record is wanted, whatever else is said (of the causes that the second lists)."""
GOOD_S = 75.0
"""Longer than the minute in which a stop is explained."""


def cable(story: Story) -> None:
    """The network goes; the device records on. What it recorded is lost, comes in a burst, or is delivered later."""
    draw = story.draw
    seconds = draw.choice((draw.uniform(1.6, 2.4), draw.uniform(12, 45), draw.uniform(80, 150)))
    kept = draw.choice(("lost", "burst", "delivered"))
    low = story.now
    high = low + round(seconds * 1000)
    story.telemetry_trouble.append((low - 500, high, draw.random() < 0.7))
    last_word = low - 500
    announced = seconds > 10 and story.kind == "body_worn" and draw.random() < 0.3
    if announced:
        story.stop("connection_lost", after_ms=draw.randrange(800, 2_500))
    if kept == "burst":
        first = high + 600
        if not announced:
            story.silence("cable", until=first)
        story.hush(max(last_word, story.pieces[-1].at), first, "cable")
        if announced:
            story.now = high
            story.resume()
            story.now = low
        story.record((high - low) / 1000, arrives=lambda start, _: first + (start - low) // 20)
    else:
        story.skip(seconds)
        if announced:
            story.resume()
        story.connect()
        came = story.now + story.fragment_ms
        if not announced:
            story.silence("cable", until=came)
        story.hush(max(last_word, story.pieces[-1].at), high, "cable")
        story.gap(low, story.now, "network", "cable", came=came, ends=kept == "delivered")
        if kept == "delivered":
            story.deliver(draw.uniform(30, 70), low - 500, story.now + 500)
    story.record(GOOD_S)


def numbers(story: Story) -> None:
    """Fragments that were taken in never reach the log: ours."""
    low, count = story.now, story.draw.choice((1, 2, 3, 8, 12))
    count = max(count, 2) if story.fragment_ms == 1_000 else count
    story.lose(count)
    story.record(count * story.fragment_ms / 1000)
    story.silence("numbers", until=story.now + story.fragment_ms + round(story.delay_ms))
    story.gap(low, story.now, "server", "numbers", came=story.now + story.fragment_ms)
    story.record(GOOD_S)


def late(story: Story) -> None:
    """One fragment stands further behind than the lateness: a gap until it comes."""
    low = story.now
    story.hold_back(story.draw.randrange(32_000, 50_000))
    story.record(story.fragment_ms / 1000)
    back = story.now
    if back - low > 1_000:
        story.true("recording.gap", low, due=back + story.fragment_ms + 10_000, ends=True, fault="late")
    if story.fragment_ms >= 2_000:  # so long without media that it may count as a stall
        story.true("recording.stalled", low, required=False, fault="late")
    story.record(GOOD_S)


def server(story: Story) -> None:
    """We are restarted; what the device sent meanwhile is lost, and the session's stop is told afterwards."""
    low, seconds = story.now, story.draw.choice((story.draw.uniform(1.5, 2.4), story.draw.uniform(12, 40)))
    story.skip(seconds)
    story.silence("server", until=story.now)
    story.stop("server", after_ms=0, last=low)
    story.now += 1
    story.resume()
    story.connect()
    story.gap(low, story.now, "server", "server", came=story.now + story.fragment_ms)
    story.record(GOOD_S)


def jitter(story: Story) -> None:
    """Fragments come unevenly, by less than makes a stall."""
    reach = 4_000 - story.fragment_ms if story.fragment_ms < 4_000 else 1_000
    story.record(
        GOOD_S, arrives=lambda _, end: max(story.now + 300, end + 200 + round(story.draw.triangular(0, reach, 0)))
    )


def reconnect(story: Story) -> None:
    """A new connection goes on where the one before ended."""
    for _ in range(story.draw.randint(1, 4)):
        story.now += story.draw.randrange(0, 700)
        story.connect()
        story.record(story.draw.uniform(10, 30))


def clock_forward(story: Story) -> None:
    """Capture times go back, and later forward again: they were behind and are put right. Nothing is missing."""
    step = story.draw.randrange(3_000, 9_000)
    story.shift_ms -= step
    story.record(GOOD_S)
    story.shift_ms += step
    story.record(GOOD_S)


def clock_back(story: Story) -> None:
    """Capture times go back; nothing is missing."""
    story.shift_ms -= story.draw.randrange(3_000, 30_000)
    story.record(GOOD_S)


def clock_hides(story: Story) -> None:
    """Fragments are lost while the clock mapping goes back by as much: the numbers alone tell."""
    low = story.now
    count = max(2, story.draw.randrange(8_000, 20_000) // story.fragment_ms)
    story.lose(count)
    story.record(count * story.fragment_ms / 1000)
    came = story.now + story.fragment_ms
    story.silence("clock", until=came)
    story.gap(low, story.now, "clock", "clock", came=came)
    story.shift_ms -= story.now - low
    story.record(GOOD_S)


def officer(story: Story) -> None:
    """The officer stops, and goes on or not; explains it or not."""
    _stop_and_explain(story, "officer", "officer")


def maintenance(story: Story) -> None:
    """It is stopped for maintenance."""
    _stop_and_explain(story, "maintenance", "maintenance")


def device_says(story: Story) -> None:
    """The device stops by itself and says so."""
    _stop_and_explain(story, "device", "device_stop")


def device_silent(story: Story) -> None:
    """The device stops by itself; only its own word tells of it."""
    _stop_and_explain(story, None, "device_stop")


def battery_dies(story: Story) -> None:
    """The battery runs down until the device is off; later it is back with another."""
    draw, begin, low = story.draw, story.pieces[0].start, story.now + 150_000
    rate, empty = draw.uniform(1.5, 4.0), draw.uniform(1.0, 4.0)
    announced = draw.random() < 0.5
    seconds = draw.choice((draw.uniform(15, 45), draw.uniform(80, 150)))

    def says(at: int, words: Says) -> None:
        words.battery = empty + rate * (low - at) / 60_000 if at < low else 90.0

    story.says = says
    # Low: at 20 %, or when it will be empty within 30 minutes at this rate.
    limit = max(20.0, 30 * rate)
    crossed = max(begin, round(low - (limit - empty) / rate * 60_000))
    late = round(low - (20 - empty) / rate * 60_000)
    due = max(crossed, begin + 60_000)
    story.true(
        "power.low_battery", crossed, slack_ms=6_000, reach_ms=max(late, due) - crossed + 240_000, due=due, ends=True
    )
    story.record((low - story.now) / 1000)
    _outage(story, "battery" if announced else None, "battery", seconds, off=True)


def card_full(story: Story) -> None:
    """The card fills until the device stops; later it has another."""
    draw, begin, low = story.draw, story.pieces[0].start, story.now + 150_000
    rate = draw.uniform(0.02, 0.05)  # of the card, a minute
    announced = draw.random() < 0.5

    seconds = draw.uniform(15, 60)

    def says(at: int, words: Says) -> None:
        words.free = 0.004 + rate * (low - at) / 60_000
        if at >= low:
            words.free = 0.0005 if at < low + seconds * 1000 else 0.9

    story.says = says
    limit = max(0.10, 30 * rate)
    crossed = max(begin, round(low - limit / rate * 60_000))
    late = round(low - 0.10 / rate * 60_000)
    due = max(crossed, begin + 60_000)
    story.true(
        "storage.low_space", crossed, slack_ms=8_000, reach_ms=max(late, due) - crossed + 240_000, due=due, ends=True
    )
    story.record((low - story.now) / 1000)
    _outage(story, "storage" if announced else None, "storage", seconds, off=False)


def _outage(story: Story, reason: StopReason | None, cause: str, seconds: float, *, off: bool) -> None:
    """The device does not record for so long, and then does again; announced or not."""
    low = story.now
    high = low + round(seconds * 1000)
    stop_at = 0
    if reason is not None:
        stop_at = story.stop(reason)
    if off:
        story.telemetry_trouble.append((low, high, False))
    else:
        story.idle.append((low, high))
    story.now = high
    if reason is not None:
        story.resume()
    else:
        story.silence(cause, until=story.now + story.fragment_ms)
    if off:
        story.hush(max(story.pieces[-1].at, stop_at, low - 5_000), high, cause)
    story.connect()
    story.gap(low, story.now, cause, cause, came=story.now + story.fragment_ms)
    is_stop = reason is not None or not off
    _restart(story, low, stop_at or low, "full", cause if reason else "", is_stop=is_stop)


def _stop_and_explain(story: Story, reason: StopReason | None, cause: str) -> None:
    draw, low = story.draw, story.now
    restart: Restart = draw.choice(("full", "full", "full", "short", "none")) if reason else "full"
    at = story.stop(reason) if reason else 0
    seconds = draw.uniform(20, 90)
    story.idle.append((low, low + (700 if restart == "none" else round(seconds * 1000))))
    if restart == "none":
        _restart(story, low, at, restart, cause if reason else "", is_stop=True)
        return
    story.skip(seconds)
    if not story.telemetry_ms:
        story.hush(at, story.now, cause)
    if reason:
        story.resume()
    else:
        story.silence(cause, until=story.now + story.fragment_ms)
    if draw.random() < 0.7:
        story.connect()
    story.gap(low, story.now, cause, cause, came=story.now + story.fragment_ms)
    _restart(story, low, at or low, restart, cause if reason else "", is_stop=True)


def _restart(story: Story, low: int, stop_at: int, restart: Restart, cause: str, *, is_stop: bool) -> None:
    """Recording goes on (or not) and is explained (or not); note whether the explanation is one.

    Args:
        story: Up to the restart.
        low: Last captured moment.
        stop_at: When the stop was learnt.
        restart: How much is recorded afterwards.
        cause: Right cause of the finding; empty where none is asked for.
        is_stop: By the rule it is a stop, and not only silence.
    """
    draw, policy = story.draw, load(story.policy)
    said = draw.choice(("speech", "speech", "voice", "nothing", "nothing", "murmur", "late", "record", "unlisted"))
    if restart == "none":
        said = draw.choice(("nothing", "written", "record"))
    begin = story.now
    listed = draw.choice([one.id for one in policy.stops.causes] or ["other"])
    asks_voice, asks_review = policy.explanation.voice.asked.value, story.policy == "zhanhe"
    regulated = policy.stops.regulated.value
    murmur = 1_500 if story.fragment_ms < 4_000 else 0
    spoken = {"speech": (2_000, draw.uniform(8_000, 20_000)), "late": (75_000, 12_000), "murmur": (9_000, murmur)}.get(
        said
    )
    if spoken is not None:
        first = begin + round(spoken[0])
        _spoken(story, first, first + round(spoken[1]))
    counts = {"speech": asks_voice or not regulated}.get(said, False)
    if said == "voice":
        story.explain(draw.uniform(6, 45), "voice", listed)
        counts = not asks_review
    elif said == "written":
        story.explain(draw.uniform(6, 200), "written", listed, text="设备故障")
        counts = not asks_review
    elif said == "record":
        story.explain(draw.uniform(6, 45), "work_record", listed, text="已记录", approved_by="chief-1")
        counts = True
    elif said == "unlisted":
        story.explain(draw.uniform(6, 45), "voice", "lunch", text="午饭")
        counts = not regulated
    story.record({"full": 100.0, "short": draw.uniform(15, 45), "none": 0.0}[restart])
    ended = story.end(completed=low if restart == "none" else None)
    due = _due(story.policy, restart, begin, stop_at, ended)
    if is_stop and not counts:
        fault = f"stop, {restart}, {said}, {story.policy}"
        causes = (cause,) if cause else ()
        story.true("recording.unexplained_stop", low, slack_ms=1_200, due=due, causes=causes, fault=fault)
    if is_stop and counts and said in {"voice", "written"} and _wants_more(story.policy, restart, said):
        due = ended + WRITTEN_MS
        fault = f"no follow-up, {restart}, {said}, {story.policy}"
        story.true("recording.unexplained_stop", low, slack_ms=1_200, due=due, fault=fault)
    story.open()
    story.record(30)


def _wants_more(policy: str, restart: Restart, said: str) -> bool:
    """Chongqing: a work record besides, for all causes that it lists; Gansu: the writing after a report."""
    return policy == "chongqing" or (policy == "gansu" and restart == "none" and said != "written")


def _due(policy: str, restart: Restart, begin: int, stop_at: int, ended: int) -> int:
    """When the explanation was due: the interface's times, for each of the five."""
    if policy == "zhanhe":
        return ended + WRITTEN_MS
    if restart == "full":
        return begin + VOICE_MS
    if policy == "gansu":
        return (stop_at if restart == "none" else ended) + REPORT_MS
    return ended + WRITTEN_MS


def _spoken(story: Story, low: int, high: int) -> None:
    before = story.looks

    def looks(at: int, figures: Figures) -> None:
        before(at, figures)
        if low <= at < high:
            figures.speech = 0.8

    story.looks = looks


def stop_and_go(story: Story) -> None:
    """The officer stops again and again, and explains each time."""
    draw, times, begin = story.draw, story.draw.choice((2, 3, 3, 4, 5, 6)), story.now
    policy = load(story.policy)
    listed = draw.choice([one.id for one in policy.stops.causes] or ["other"])
    for number in range(1, times + 1):
        low = story.now
        at = story.stop("officer")
        length = draw.uniform(8, 25)
        story.idle.append((low, low + round(length * 1000)))
        story.skip(length)
        story.resume()
        story.gap(low, story.now, "officer", "stop and go", came=story.now + story.fragment_ms)
        method, more = ("voice", {}) if story.policy not in RECORDED else ("work_record", {"approved_by": "chief-1"})
        story.explain(draw.uniform(7, 9), method, listed, stopped_at=Instant(low), text="已说明", **more)
        if number == 3:
            story.true("recording.stop_and_go", begin, due=at, causes=("officer",), ends=True, fault="stop and go")
        story.record(draw.uniform(14, 30))
    story.record(GOOD_S)
    story.end()
    story.open()
    story.record(20)


def store_away(story: Story) -> None:
    """The store takes nothing for some minutes."""
    low = story.now + story.draw.randrange(0, 30_000)
    high = low + story.draw.choice((story.draw.randrange(60_000, 170_000), story.draw.randrange(330_000, 480_000)))
    story.store_away = (low, high)
    story.record((high - story.now) / 1000 + 60)
    groups: dict[tuple[str, str, int], list[int]] = {}
    for piece in story.pieces:
        groups.setdefault((piece.session, piece.feed, piece.start // 60_000), []).append(piece.at)
    waited = [min(came) for came in groups.values() if low <= max(came) + story.store_lag_ms < high]
    if waited and high - min(waited) > 310_000:
        oldest = min(waited)
        story.true("store.stalled", oldest, slack_ms=1_500, due=oldest + 300_000, ends=True, fault="store")


def broken(story: Story) -> None:
    """A check finds stored evidence altered."""
    for number in range(story.draw.randint(1, 2)):
        story.record(10)
        fault: IntegrityFault = story.draw.choice(("missing", "altered", "hidden", "unlisted"))
        story.say(Integrity(at=Instant(story.now), recorder_id=story.name, key=f"{story.name}/{number}", fault=fault))
        story.true("integrity.broken", story.now, due=story.now, causes=(fault,), fault=fault)
    story.record(20)


def tail(story: Story) -> None:
    """The end of a recording is missing."""
    low = story.now
    story.skip(story.draw.uniform(14, 40))
    ended = story.end(completed=story.now)
    story.silence("tail", until=ended)
    # It may be said when nothing that came before the end was heard of can fill it.
    story.true("recording.gap", low, due=ended + 10_000, fault="tail")
    story.open()
    story.record(20)


def never_begins(story: Story) -> None:
    """A session is opened, and nothing comes for a while."""
    story.end()
    story.now += 2_000
    opened = story.now
    story.open()
    story.skip(story.draw.uniform(16, 45))
    story.true("recording.stalled", opened, due=opened + 10_000, ends=True, fault="never begins")
    story.record(40)


def in_pieces(story: Story) -> None:
    """One step recorded in pieces at several places: several sessions, no interruption."""
    for _ in range(story.draw.randint(1, 3)):
        story.end()
        story.skip(story.draw.uniform(5, 60))
        story.open()
        story.record(story.draw.uniform(20, 60))


Fault = Callable[[Story], None]
ANYONE: dict[Fault, int] = {
    cable: 4,
    numbers: 2,
    late: 1,
    server: 2,
    jitter: 1,
    reconnect: 1,
    store_away: 4,
    broken: 2,
}
"""How often each is drawn."""
CLOCK: dict[Fault, int] = {clock_forward: 1, clock_back: 1, clock_hides: 1}
"""The capture clock is another one afterwards: they come last."""
IN_SESSIONS: dict[Fault, int] = {tail: 1, never_begins: 1, in_pieces: 1, maintenance: 1}
"""What would be a stall of a recorder that records at all times."""
BODY_WORN: dict[Fault, int] = {officer: 4, device_says: 1, device_silent: 2, stop_and_go: 4}
RESERVES: dict[Fault, int] = {battery_dies: 3, card_full: 2}
"""They say what the device says of itself from the beginning, and come first."""
