"""The outbox and what receivers do to it: they refuse, fail, hang, are away; people sleep, or have no channel."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from dashboards.alerts.book import Acks, Book
from dashboards.alerts.signal import Origin, of_finding
from dashboards.notify import choosing
from dashboards.notify.choosing import Choice, Health, after_failure, choose, is_exhausted
from dashboards.notify.robots import Robots
from dashboards.notify.sender import Sender
from dashboards.notify.way import Way
from dashboards.notify.webhook import Webhook
from domain.clock import Instant, SystemClock
from storage.office import accounts, outbox
from storage.office import alerts as rows
from storage.office.accounts import DutyRow
from storage.office.channels import Channel
from storage.office.office import Office
from storage.office.outbox import Entry, Message
from tests.services import notifying
from tests.services.process import poll_until
from tests.services.receiver import Receiver

NORTH = Origin(site_id="canteen", unit_id="north")


class Post:
    """A sender in this process, its office and one receiver."""

    def __init__(self, office: Office, receiver: Receiver) -> None:
        self.office, self.receiver, self.clock = office, receiver, SystemClock()
        self.book = Book(office, acks=Acks(critical=600_000, warning=600_000))
        self.webhook, self.robots = Webhook(), Robots()

    def now(self) -> int:
        return int(self.clock.now())

    @contextlib.asynccontextmanager
    async def sending(self) -> AsyncIterator[Sender]:
        """A sender that runs while the block does."""
        ways: dict[str, Way] = {"webhook": self.webhook, "other": self.robots}
        sender = Sender(self.office, ways, self.book, self.clock, worker="here", public_url="https://console.example")
        task = asyncio.create_task(sender.run())
        try:
            yield sender
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def found(self, recorder: str = "cam-1", origin: Origin = NORTH, **fields: Any) -> str:
        """A finding, and the message about it in the outbox; returns the alert's id."""
        signal = of_finding(notifying.finding(recorder, **fields), origin)
        await self.book.take([signal], self.now())
        await self.book.advance(self.now() + 1000)
        found = await self.office.read(lambda connection: rows.newest(connection, [signal.group]))
        return found[signal.group].id

    async def sent(self, alert_id: str) -> list[outbox.Sent]:
        return await self.office.read(lambda connection: outbox.of_alert(connection, alert_id))

    async def until(self, ready: Callable[[list[outbox.Sent]], bool], alert_id: str, timeout_s: float = 20) -> None:
        async with asyncio.timeout(timeout_s):
            while not ready(await self.sent(alert_id)):  # noqa: ASYNC110 - a database rings no bell
                await asyncio.sleep(0.05)

    async def history(self, alert_id: str) -> list[str]:
        return [line.what for line in await self.office.read(lambda connection: rows.history(connection, alert_id))]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


@pytest.fixture
async def post(tmp_path: Path, receiver: Receiver) -> AsyncIterator[Post]:
    office = await Office.connect(f"sqlite:///{tmp_path}/office.db")
    made = Post(office, receiver)
    yield made
    await made.webhook.close()
    await made.robots.close()
    await office.close()


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between tries of a tenth of a second."""
    monkeypatch.setattr(choosing, "PAUSES_MS", (100, 100, 100))
    monkeypatch.setattr(choosing, "AGAIN_MS", 300)


async def test_a_message_says_what_where_since_when_why_and_what_to_do(post: Post) -> None:
    await notifying.person(post.office, "zhang")
    await notifying.person(post.office, "smith", language="en")
    for name in ("zhang", "smith"):
        await notifying.channel(post.office, name, f"{post.receiver.url}/{name}")
    alert_id = await post.found()
    async with post.sending():
        await post.until(lambda sent: all(each.state == "sent" for each in sent) and len(sent) == 2, alert_id)
    (chinese,), (english,) = post.receiver.bodies("/zhang"), post.receiver.bodies("/smith")
    for part in ("canteen", "north", "cam-1", "画面已中断", "第十八条", "音像记录", "请做", "一分钟内"):
        assert part in chinese["title"] + chinese["text"]
    assert chinese["link"] == f"https://console.example/alerts/{alert_id}"
    assert "To do" in english["text"]
    assert chinese["id"] != english["id"]
    assert chinese["what"] == "opened"


async def test_a_receiver_that_fails_gets_it_later_once(post: Post, fast: None) -> None:
    await notifying.person(post.office, "zhang")
    await notifying.channel(post.office, "zhang", post.receiver.url)
    post.receiver.status = 500
    alert_id = await post.found()
    async with post.sending():
        await post.until(lambda sent: sent[0].tries >= 2, alert_id)
        post.receiver.status = 200
        await post.until(lambda sent: sent[0].state == "sent", alert_id)
    assert list(post.receiver.ids().values()) == [1]
    assert (await post.sent(alert_id))[0].error == ""


async def test_a_channel_that_is_away_is_left_for_the_next_one(post: Post, fast: None) -> None:
    await notifying.person(post.office, "zhang")
    await notifying.channel(post.office, "zhang", "http://127.0.0.1:9/", position=0, kind="webhook")
    await notifying.channel(post.office, "zhang", f"{post.receiver.url}/second", position=1)
    alert_id = await post.found(severity="critical")
    async with post.sending():
        await post.until(lambda sent: sent[0].state == "sent", alert_id, 40)
    assert len(post.receiver.bodies("/second")) == 1


async def test_who_cannot_be_reached_is_passed_over_and_told_when_it_works_again(post: Post, fast: None) -> None:
    await notifying.person(post.office, "zhang")
    await notifying.person(post.office, "boss", [DutyRow("supervisor", "north")])
    await notifying.channel(post.office, "zhang", f"{post.receiver.url}/zhang")
    with Receiver() as other:
        await notifying.channel(post.office, "boss", f"{other.url}/boss")
        post.receiver.status = 404
        alert_id = await post.found(severity="critical")
        async with post.sending() as sender:
            await post.until(lambda sent: bool(sent[0].error), alert_id)
            await post.book.advance(post.now())
            sender.ring()
            other.wait_for(1)
            assert other.bodies()[0]["what"] == "escalated"
            history = await post.history(alert_id)
            assert "untold" in history
            assert "escalated" in history
            post.receiver.status = 200
            await post.until(lambda sent: all(each.state == "sent" for each in sent), alert_id)
    assert len(post.receiver.bodies("/zhang")) == 1


async def test_a_receiver_that_hangs_holds_up_nobody_else(post: Post) -> None:
    await notifying.person(post.office, "zhang")
    await notifying.channel(post.office, "zhang", f"{post.receiver.url}/zhang")
    post.receiver.hangs = True
    for number in range(60):
        await post.found(f"body-{number}", Origin())
    with Receiver() as other:
        await notifying.person(post.office, "li", [DutyRow("duty_officer", "north")])
        await notifying.channel(post.office, "li", f"{other.url}/li")
        async with post.sending():
            alert_id = await post.found()
            await post.until(lambda sent: bool(sent) and sent[-1].state == "sent", alert_id, 8)
            post.receiver.let_go()
            await asyncio.to_thread(poll_until, lambda: len(post.receiver.ids()) >= 60, "all of them came")
    assert set(post.receiver.ids().values()) == {1}


async def test_nobody_is_there_to_be_told(post: Post) -> None:
    before = REGISTRY.get_sample_value("liuhen_notifications_total", {"channel": "none", "result": "nobody"}) or 0
    alert_id = await post.found(severity="critical")
    assert await post.sent(alert_id) == []
    assert (await post.history(alert_id)).count("untold") == 3, "at each level"
    after = REGISTRY.get_sample_value("liuhen_notifications_total", {"channel": "none", "result": "nobody"}) or 0
    assert after - before == 3


async def test_whoever_left_is_told_nothing_more(post: Post) -> None:
    await notifying.person(post.office, "zhang")
    await notifying.channel(post.office, "zhang", post.receiver.url)
    alert_id = await post.found()
    await accounts.set_state(post.office, "zhang", "disabled")
    async with post.sending():
        await post.until(lambda sent: sent[0].state == "failed", alert_id)
    assert post.receiver.requests == []
    assert "untold" in await post.history(alert_id)


async def test_what_was_under_way_at_a_crash_is_sent_again_and_says_so_where_nobody_could_tell(post: Post) -> None:
    await notifying.person(post.office, "zhang")
    await notifying.person(post.office, "li")
    await notifying.channel(post.office, "zhang", f"{post.receiver.url}/zhang")
    robot = post.receiver.url.replace("http://", "json://")
    await notifying.channel(post.office, "li", f"{robot}/li", kind="other")
    alert_id = await post.found()
    # Step 1 of a life that ended before step 3.
    taken = await post.office.write(lambda connection: outbox.claim(connection, post.now() + 1000, "here", 10, {}))
    assert len(taken) == 2
    async with post.sending():
        await post.until(lambda sent: all(each.state == "sent" for each in sent), alert_id)
    hook, apprised = post.receiver.bodies("/zhang")[0], post.receiver.bodies("/li")[0]
    assert "可能与先前" not in hook["text"]
    assert "可能与先前" in apprised["message"]
    assert hook["id"] == next(entry.id for entry in taken if entry.account_id == "zhang")
    assert all(each.is_doubtful for each in await post.sent(alert_id))


@pytest.mark.parametrize("status", [500, 404])
async def test_a_robot_that_refuses_does_not_give_its_address_away(
    post: Post, fast: None, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    await notifying.person(post.office, "zhang")
    robot = post.receiver.url.replace("http://", "json://user:s3cr3t@")
    await notifying.channel(post.office, "zhang", f"{robot}/?+X-Token=s3cr3t", kind="dingtalk")
    post.receiver.status = status
    alert_id = await post.found()
    async with post.sending():
        await post.until(lambda sent: bool(sent[0].error), alert_id)
    assert (await post.sent(alert_id))[0].error == f"answered {status}"
    assert "s3cr3t" not in caplog.text


async def test_an_address_that_apprise_does_not_know(post: Post) -> None:
    await notifying.person(post.office, "zhang")
    await notifying.channel(post.office, "zhang", "pigeon://roof", kind="other")
    alert_id = await post.found()
    async with post.sending():
        await post.until(lambda sent: bool(sent[0].error), alert_id)
    assert "no address" in (await post.sent(alert_id))[0].error


# -- choosing: pure ---------------------------------------------------------------------------------------------


def _entry(severity: Any = "warning", **fields: Any) -> Entry:
    message = Message(
        id="m", alert_id="a", number=1, what="opened", state="opened", severity=severity, family="power", scope="site"
    )
    return Entry(
        **{
            "seq": 1,
            "id": "e",
            "message": message,
            "account_id": "zhang",
            "contact": "",
            "created_at": 0,
            "channel_id": "",
            "tries": 0,
            "given_up": [],
            "is_doubtful": False,
            **fields,
        }
    )


def _channel(name: str, **fields: Any) -> Channel:
    return Channel(**{"id": name, "account_id": "zhang", "position": 0, "kind": "webhook", **fields})


NIGHT = int(Instant.parse("2026-05-06T23:30:00+08:00"))
MORNING = int(Instant.parse("2026-05-07T07:00:00+08:00"))
NOON = int(Instant.parse("2026-05-06T12:00:00+08:00"))


def test_quiet_hours_wait_for_the_morning_unless_it_is_critical() -> None:
    quiet = [_channel("a", quiet_from="22:00", quiet_to="07:00")]
    assert choose(_entry(), quiet, NIGHT, lambda _: False) == Choice(wait_until=MORNING)
    assert choose(_entry("critical"), quiet, NIGHT, lambda _: False).channel == quiet[0]
    assert choose(_entry(), quiet, NOON, lambda _: False).channel == quiet[0]
    assert choose(_entry(), quiet, MORNING, lambda _: False).channel == quiet[0]


def test_a_channel_takes_its_severities_alone() -> None:
    both = [_channel("a", min_severity="critical"), _channel("b", min_severity="info")]
    assert choose(_entry("info"), both, NOON, lambda _: False).channel == both[1]
    assert choose(_entry("info"), both[:1], NOON, lambda _: False) == Choice()


def test_tries_then_the_next_channel_then_the_end() -> None:
    both = [_channel("a"), _channel("b")]
    entry, now, waits, used = _entry(), 1_000, [], []
    for _ in range(9):
        choice = choose(entry, both, now, lambda _: False)
        assert choice.channel is not None
        used.append(choice.channel.id)
        result = after_failure(entry, choice, both, now, is_final=False)
        waits.append(result.not_before - now)
        if is_exhausted(result, entry, both):
            used.append("exhausted")
        entry = _entry(channel_id=result.channel_id, tries=result.tries, given_up=result.given_up)
        now = result.not_before
    assert used == ["a"] * 4 + ["b"] * 4 + ["exhausted", "a"]
    assert waits == [1_000, 4_000, 15_000, 0, 1_000, 4_000, 15_000, 300_000, 300_000]
    late = after_failure(entry, Choice(both[0], is_last_hope=True), both, choosing.GIVE_UP_MS + 1, is_final=False)
    assert late.state == "failed"


def test_a_channel_that_is_down_is_left_alone_but_for_one_letter_a_minute() -> None:
    health = Health()
    for _ in range(choosing.DOWN_AFTER):
        assert not health.is_down("a", 0)
        health.failed("a", 0)
    assert health.is_down("a", 1_000)
    assert not health.is_down("a", choosing.PROBE_MS)
    assert health.is_down("a", choosing.PROBE_MS + 1)
    health.worked("a")
    assert not health.is_down("a", choosing.PROBE_MS + 2)
