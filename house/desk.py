"""The roles that people see: the console."""

from __future__ import annotations

from pathlib import Path

from house.house import House, load


async def console(house: House) -> None:
    """Show the fleet: pages, API, pictures, metrics."""
    await load("dashboards.console", "storage.catalog.catalog", "storage.objects.connect", "streams.probing.prober")
    from prometheus_client import REGISTRY

    from dashboards.console import Console
    from dashboards.people.accounts import Accounts
    from dashboards.people.audit import Audit
    from dashboards.people.door import RealDoor
    from dashboards.people.requests import Origins
    from streams.probing.networks import networks_of
    from streams.probing.prober import Prober

    prober = Prober(networks_of(house.settings.camera_networks))
    house.stack.push_async_callback(prober.close)
    state = Path(house.settings.work) / f"console-{house.worker_id}.state"
    state.parent.mkdir(parents=True, exist_ok=True)
    bus, catalog, store = await house.bus(), await house.catalog(), await house.store()
    ledger, office = await house.ledger(), await house.office()
    made = Console(
        bus,
        catalog,
        house.clock,
        state,
        REGISTRY,
        store=store,
        ledger=ledger,
        office=office,
        door=RealDoor(office, house.clock, house.settings, Origins(house.settings)),
        settings=house.settings,
        book=house.book,
        probe=prober,
    )
    house.console = made
    house.jobs["console"] = made.run
    house.jobs["copies"] = made.footage.run
    house.farewell.append(made.close)
    house.not_ready.append(made.not_ready)
    house.routers += made.routers()
    first = await Accounts(office, Audit(ledger, house.clock), house.clock).first()
    if first is not None:
        house.first_link = f"{house.seen_at}/link/{first}"
