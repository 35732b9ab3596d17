"""The role that keeps evidence: ledger, retention, checks, the copy off site."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from house.house import House, load

if TYPE_CHECKING:
    from domain.events import Integrity
    from storage.ledger.keeper import Keeper
    from streams.workers.custody import Chore

DECISIONS_EVERY_S = 2.0
"""How soon a hold that somebody wrote to the ledger (`liuhen hold`) is on the objects."""
EXPIRY_EVERY_S = 3600.0


async def custody(house: House) -> None:
    """Follow what is stored and found into the ledger; keep, check and copy evidence."""
    await load("streams.workers.custody", "storage.catalog.catalog", "storage.objects.connect")
    from domain.topics import EVENTS
    from domain.wire import encode
    from storage.ledger.keeper import keeper
    from storage.ledger.keys import load_keys
    from storage.retention.expiry import Expiry
    from storage.retention.retention import Retention
    from streams.workers.custody import Checkpoints, Chore, CustodyWorker, Expiries

    settings, clock = house.settings, house.clock
    store, catalog, ledger = await house.store(), await house.catalog(), await house.ledger()
    bus = await house.bus()
    policy_of = house.policy_of(await house.registrations())

    async def tell(fault: Integrity) -> None:
        await bus.publish(EVENTS.name, fault.recorder_id, encode(fault))

    retention = Retention(store, catalog, ledger, clock=clock, policy_of=policy_of, book=house.book, on_fault=tell)
    keeps = keeper(settings, ledger, load_keys(Path(settings.ledger_key_file), settings.ledger_origin), store, clock)
    house.stack.push_async_callback(keeps.close)
    chores = [
        Chore("checkpoint", settings.checkpoint_s, Checkpoints(keeps, ledger, bus, clock).run),
        Chore("decisions", DECISIONS_EVERY_S, retention.follow),
        Chore("expiry", EXPIRY_EVERY_S, Expiries(Expiry(retention), clock).run),
        await _verification(house, keeps, tell),
        *await _copy_off_site(house, tell),
    ]
    house.jobs["custody"] = CustodyWorker(bus, catalog, ledger, retention, chores).run


async def _verification(house: House, keeps: Keeper, tell: Callable[[Integrity], Awaitable[None]]) -> Chore:
    """The check of all evidence that runs by itself."""
    from storage.ledger.keys import trusted_keys
    from storage.ledger.timestamps import load_roots
    from storage.verify.scheduled import LOOK_EVERY_S, Scheduled
    from storage.verify.verifier import Rest, Verifier
    from streams.workers.custody import Chore

    settings, store, ledger = house.settings, await house.store(), await house.ledger()
    trusted = trusted_keys(Path(settings.ledger_key_file))
    roots = load_roots(settings.tsa_certificates) if settings.tsa_certificates else []

    def make(rest: Rest) -> Verifier:
        return Verifier(
            store,
            ledger,
            trusted,
            keeps.copier.places,
            house.clock,
            book=house.book,
            roots=roots,
            gap_min_s=settings.gap_min_s,
            rest=rest,
        )

    every_s, bytes_per_s = settings.verify_every_s, settings.verify_bytes_per_s
    scheduled = Scheduled(make, tell, house.clock, Path(settings.work), every_s=every_s, bytes_per_s=bytes_per_s)
    return Chore("verify", min(LOOK_EVERY_S, every_s), scheduled.run_if_due)


async def _copy_off_site(house: House, tell: Callable[[Integrity], Awaitable[None]]) -> list[Chore]:
    """The copy of everything in a second store, where one is set."""
    settings = house.settings
    if not settings.offsite:
        return []
    from storage.objects.connect import connect_second
    from storage.offsite.offsite import Offsite
    from streams.workers.custody import Chore

    second = connect_second(settings.offsite, settings, "offsite")
    house.stack.push_async_callback(second.close)
    offsite = Offsite(
        await house.store(),
        second,
        await house.ledger(),
        house.clock,
        Path(settings.work) / "offsite",
        name=settings.offsite.partition("?")[0],
        lock_ms=settings.ledger_lock_days * 86_400_000,
        tell=tell,
    )
    return [Chore("offsite", settings.checkpoint_s, offsite.run)]
