"""The notifier on real services: PostgreSQL under several of them, Kafka under the command, a real Alertmanager."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from dashboards.alerts.book import Book
from dashboards.alerts.signal import Origin, of_finding
from dashboards.notify.sender import Sender
from dashboards.notify.webhook import Webhook
from domain.clock import SystemClock
from domain.registry import Registration
from domain.settings import Settings
from domain.wire import encode
from storage.office import alerts as rows
from storage.office import outbox
from storage.office.accounts import DutyRow
from storage.office.alerts import Filter
from storage.office.office import Office
from streams.bus.connect import connect
from tests.dashboards.serving import served
from tests.faults.notify_house import NotifyHouse
from tests.services import notifying
from tests.services.alertmanager import AlertmanagerServer
from tests.services.kafka import KafkaServer
from tests.services.liuhen import Liuhen
from tests.services.postgres import PostgresServer
from tests.services.process import poll_until
from tests.services.receiver import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


async def test_two_notifiers_on_one_postgresql_make_one_alert_and_send_each_message_once(
    postgres: PostgresServer, receiver: Receiver
) -> None:
    address = postgres.create_database(f"notify_{uuid.uuid4().hex[:8]}")
    offices = [await Office.connect(address) for _ in range(2)]
    clock = SystemClock()
    await notifying.person(offices[0], "zhang")
    await notifying.channel(offices[0], "zhang", receiver.url)
    books = [Book(office) for office in offices]
    site = Origin(site_id="canteen", unit_id="north")
    together = [of_finding(notifying.finding(f"cam-{n}"), site) for n in range(100)]
    apart = [of_finding(notifying.finding(f"body-{n}"), Origin()) for n in range(100)]

    async def take(book: Book, part: int) -> None:
        mine = [*together[part::2], *apart[part::2]]
        for start in range(0, len(mine), 10):
            await book.take(mine[start : start + 10], int(clock.now()))

    await asyncio.gather(*(take(book, part) for part, book in enumerate(books)))
    await asyncio.gather(*(take(book, part) for part, book in enumerate(reversed(books))))  # all of it once more
    found = await offices[0].read(lambda connection: rows.list_newest(connection, Filter(), limit=1000))
    assert len(found) == 101
    assert next(alert for alert in found if alert.scope == "site").findings == 100

    async with contextlib.AsyncExitStack() as stack:
        for number, (office, book) in enumerate(zip(offices, books, strict=True)):
            webhook = Webhook()
            stack.push_async_callback(webhook.close)
            sender = Sender(office, {"webhook": webhook, "other": webhook}, book, clock, worker=f"worker-{number}")
            task = asyncio.create_task(sender.run())
            stack.push_async_callback(_ended, task)
        for _ in range(3):
            await asyncio.gather(*(book.advance(int(clock.now()) + 1000) for book in books))
        await asyncio.to_thread(receiver.wait_for, 101, 30)
        async with asyncio.timeout(20):
            while await _waits(offices[0]):  # noqa: ASYNC110 - a database rings no bell
                await asyncio.sleep(0.05)
    assert len(receiver.requests) == 101
    assert len(receiver.named()) == 200
    for office in offices:
        await office.close()


async def _waits(office: Office) -> bool:
    now = int(SystemClock().now())
    return await office.read(lambda connection: outbox.oldest_waiting(connection, now)) is not None


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.timeout(240)
async def test_the_command_on_kafka_and_postgresql_killed_once(
    kafka: KafkaServer, postgres: PostgresServer, receiver: Receiver, tmp_path: Path
) -> None:
    address = postgres.create_database(f"notify_{uuid.uuid4().hex[:8]}")
    office = await Office.connect(address)
    await notifying.person(office, "li", [DutyRow("duty_officer", "kafka-unit")])
    await notifying.channel(office, "li", f"{receiver.url}/li")
    await office.close()
    settings = {"LIUHEN_BUS": f"kafka://{kafka.bootstrap}", "LIUHEN_OFFICE": address, "LIUHEN_WORKER_ID": "notify-1"}
    bus = connect(settings["LIUHEN_BUS"], partitions=4, client_id="test")
    await bus.start()
    run = uuid.uuid4().hex[:6]
    names = [f"notify-{run}-{number}" for number in range(30)]
    for name in names:
        said = Registration(
            recorder_id=name, kind="premises_camera", policy="wucheng", site_id=f"site-{name}", unit_id="kafka-unit"
        )
        await bus.publish("registry", name, encode(said))
    expected = set()
    with Liuhen(tmp_path / "notify", ["notify"], settings) as notify:
        for number, name in enumerate(names):
            found = notifying.finding(name)
            expected.add(found.id)
            await bus.publish("findings", name, encode(found))
            if number == 14:
                await asyncio.to_thread(notify.kill)
                await asyncio.to_thread(notify.start)
        await asyncio.to_thread(
            poll_until, lambda: expected <= set(receiver.named()), f"all were told\n{notify.log_tail()}", 90
        )
        async with httpx.AsyncClient() as client:
            metrics = (await client.get(f"{notify.url}/metrics")).text
    await bus.close()
    assert {receiver.named()[finding] for finding in expected} == {1}
    assert 'liuhen_notifications_total{channel="webhook",result="sent"}' in metrics
    assert "liuhen_outbox_oldest_seconds" in metrics


async def test_a_whole_site_goes_down_and_each_who_is_told_gets_one_message(tmp_path: Path, receiver: Receiver) -> None:
    house = NotifyHouse(tmp_path)
    office = await Office.connect(house.office)
    for name in ("zhang", "li"):
        await notifying.person(office, name)
        await notifying.channel(office, name, f"{receiver.url}/{name}")
    await office.close()
    cameras = [f"cam-{number}" for number in range(100)]
    with house:
        for name in cameras:
            house.publish(
                Registration(
                    recorder_id=name, kind="premises_camera", policy="wucheng", site_id="canteen", unit_id="north"
                )
            )
        house.kill()
        house.start()  # has read the registry before the first finding
        house.publish(*(notifying.finding(name) for name in cameras[:3]))
        receiver.wait_for(2)
        house.publish(*(notifying.finding(name) for name in cameras[3:]))
        house.publish(*(notifying.finding(name, "device.silent") for name in cameras))
        last = notifying.finding("elsewhere")
        house.publish(last)
        poll_until(lambda: last.id in receiver.named(), "what came after them was told")
    told = [body for body in receiver.bodies() if body["site_id"] == "canteen"]
    assert [body["what"] for body in told] == ["opened", "opened"]
    assert len({body["alert"] for body in told}) == 1


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[str]:
    (tmp_path / "token").write_text("an-alertmanagers-own-token")
    async with served(tmp_path, settings=Settings(alertmanager_token_file=str(tmp_path / "token"))) as here:
        yield here.url


async def test_a_real_alertmanager_fires_and_resolves_one_alert(
    console: str, alertmanager_factory: Callable[..., AlertmanagerServer]
) -> None:
    hook = f"{console}/api/v1/alertmanager"
    server = await asyncio.to_thread(alertmanager_factory, hook, "an-alertmanagers-own-token")
    labels = {"alertname": "LiuhenObjectStoreAway", "severity": "critical", "owner": "operator"}
    alarm = {"labels": labels, "annotations": {"summary": "写入存储持续失败", "runbook": "runbook#away"}}
    async with httpx.AsyncClient(base_url=console) as client:

        async def until(state: Callable[[dict[str, object]], bool]) -> dict[str, object]:
            async with asyncio.timeout(40):
                while True:
                    items = (await client.get("/api/v1/alerts")).json()["items"]
                    if items and state(items[0]):
                        assert len(items) == 1, json.dumps(items)
                        return dict(items[0])
                    await asyncio.sleep(0.2)

        async def post(**more: str) -> None:
            async with httpx.AsyncClient() as other:
                (await other.post(f"{server.url}/api/v2/alerts", json=[{**alarm, **more}])).raise_for_status()

        await post()
        found = await until(lambda alert: alert["state"] == "opened")
        assert (found["summary"], found["severity"], found["family"]) == ("写入存储持续失败", "critical", "system")
        await post(endsAt=SystemClock().now().rfc3339())
        over = await until(lambda alert: alert["quiet_since"] is not None)
        assert over["id"] == found["id"]
        assert over["findings"] == 1, "sent again and again it is one"
