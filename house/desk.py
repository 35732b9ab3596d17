"""The roles that people see: the console."""

from __future__ import annotations

from pathlib import Path

from house.house import House, load


async def console(house: House) -> None:
    """Show the fleet: pages, API, pictures, metrics."""
    await load("dashboards.console", "storage.catalog.catalog", "storage.objects.connect")
    from prometheus_client import REGISTRY

    from dashboards.console import Console
    from dashboards.people.doors import Open

    state = Path(house.settings.work) / f"console-{house.worker_id}.state"
    state.parent.mkdir(parents=True, exist_ok=True)
    bus, catalog, store = await house.bus(), await house.catalog(), await house.store()
    made = Console(
        bus,
        catalog,
        house.clock,
        state,
        REGISTRY,
        store=store,
        ledger=await house.ledger(),
        office=await house.office(),
        door=Open(),
        settings=house.settings,
        book=house.book,
    )
    house.console = made
    house.jobs["console"] = made.run
    house.farewell.append(made.close)
    house.not_ready.append(made.not_ready)
    house.routers += made.routers()
