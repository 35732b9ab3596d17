"""The role that watches the others: it opens no log, no database and no store."""

from __future__ import annotations

from pathlib import Path

from house.house import House


async def watch(house: House) -> None:
    """Say who is dead, to consoles and, on a way of its own, to people."""
    from dashboards.watch.routes import watch_router
    from dashboards.watch.sending import Sender
    from dashboards.watch.targets import targets_of
    from dashboards.watch.watch import Watch
    from storage.secrets import read_secret

    settings = house.settings
    watch = Watch(
        targets_of(settings),
        house.clock,
        every_s=settings.watch_every_s,
        after_s=settings.watch_after_s,
        memory=Path(settings.work) / "watch.json",
        sender=Sender(settings.watch_notify_file) if settings.watch_notify_file else None,
    )
    house.stack.push_async_callback(watch.close)
    token = read_secret(settings.watch_token_file, "watch_token_file") if settings.watch_token_file else ""
    house.routers.append(watch_router(watch, token))
    house.jobs["watch"] = watch.run
