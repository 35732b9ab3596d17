"""The role that tells people: findings become alerts, alerts messages, messages reach somebody."""

from __future__ import annotations

import asyncio

from house.house import House, load


async def notify(house: House) -> None:
    """Follow the findings, and send what they give rise to."""
    await load("dashboards.alerts.notifier", "dashboards.notify.sender", "dashboards.notify.robots")
    from prometheus_client import REGISTRY

    from dashboards.alerts.book import Book, acks_of
    from dashboards.alerts.notifier import Notifier
    from dashboards.alerts.origins import Origins
    from dashboards.notify.metrics import Levels
    from dashboards.notify.robots import Robots
    from dashboards.notify.sender import Sender
    from dashboards.notify.webhook import Webhook

    settings, clock = house.settings, house.clock
    bus, office = await house.bus(), await house.office()
    origins = Origins(bus)
    book = Book(office, origins.name, acks_of(settings))
    webhook, robots, levels = Webhook(), Robots(), Levels()
    house.stack.push_async_callback(webhook.close)
    house.stack.push_async_callback(robots.close)
    house.stack.callback(REGISTRY.unregister, levels)
    REGISTRY.register(levels)
    sender = Sender(
        office,
        {"webhook": webhook, "other": robots},
        book,
        clock,
        worker=house.worker_id,
        public_url=settings.console_url or settings.public_url,
        levels=levels,
    )
    notifier = Notifier(bus, book, origins, clock, sender.ring)

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(origins.run())
            tasks.create_task(notifier.run())

    house.jobs["notify"] = run
    house.jobs["notify-send"] = sender.run
