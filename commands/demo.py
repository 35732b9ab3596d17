"""`liuhen demo`: everything embedded, simulated recorders and cameras, and what happened in the days before."""

from __future__ import annotations

import argparse
import contextlib
import logging
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from commands.configuration import read_text
from domain.errors import Unavailable
from domain.settings import Settings
from house.house import House
from house.people import invitation, invite_guests
from house.running import EMBEDDED, first_of, listen, running, stop_event

if TYPE_CHECKING:
    from streams.simulate.history import Told
    from streams.simulate.script import Script

FINE, FAULT = 0, 1


def run(arguments: argparse.Namespace) -> int:
    """Run it until interrupted, or for `--seconds`."""
    import uvloop

    from streams.simulate.script import parse_script

    text = read_text(arguments.script, "script") if arguments.script else _built_in_script()
    script = msgspec.structs.replace(parse_script(text), seconds=arguments.seconds)
    with contextlib.ExitStack() as stack:
        folder = Path(arguments.data or stack.enter_context(tempfile.TemporaryDirectory(prefix="liuhen-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(folder / "demo.log", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().handlers[:] = [handler]
        return uvloop.run(
            _run_demo(_demo_settings(folder), script, folder, arguments.days, furnished=not arguments.script)
        )


def _built_in_script() -> str:
    from importlib import resources

    return resources.files("streams.simulate").joinpath("demo.toml").read_text(encoding="utf-8")


def _demo_settings(folder: Path) -> Settings:
    """Everything embedded in one folder, on loopback, at the usual port where it is free."""
    usual = Settings().http
    try:
        listen(usual).close()
    except Unavailable:
        usual = "127.0.0.1:0"
    return Settings(
        bus=f"embedded:{folder}/log",
        store=f"file:{folder}/store",
        catalog=f"sqlite:///{folder}/catalog.db",
        ledger=f"sqlite:///{folder}/ledger.db",
        office=f"sqlite:///{folder}/office.db",
        ledger_key_file=f"{folder}/ledger.key",
        spool=f"{folder}/spool",
        work=f"{folder}/work",
        http=usual,
        ice_hosts="127.0.0.1",
        worker_id="demo",
        second_factor=False,
        camera_networks="127.0.0.1/32",
    )


async def _run_demo(settings: Settings, script: Script, folder: Path, days: int, *, furnished: bool) -> int:
    from dashboards.demonstration import show, summary
    from house.furnishing import ask, furnish
    from house.history import tell
    from streams.ingest.registering import register
    from streams.simulate.fleet import Fleet
    from streams.simulate.registrations import registrations, with_tokens

    stop = stop_event()
    told: list[Told] = []
    if days and not (folder / "log").exists():
        print(f"正在准备前 {days} 天的数据 preparing what happened in the {days} days before …", flush=True)
        async with AsyncExitStack() as stack:
            told = await tell(House(settings, stack), script.device, days)
    async with running(settings, EMBEDDED) as house:
        script = with_tokens(msgspec.structs.replace(script, system=house.address))
        fleet = Fleet(script, house.clock)
        urls = await fleet.serve_cameras()
        print(f"控制台 console: {house.address}/\n数据 data: {folder}", flush=True)
        guests = await invite_guests(house)
        print(invitation(guests), flush=True)
        if furnished:
            await furnish(house, script.device, urls, guests)
            await ask(house, guests, [(one.recorder_id, one.session_id, one.begins_at, one.ends_at) for one in told])
        else:
            await register(await house.bus(), registrations(script, urls))
        await first_of(fleet.run(), stop.wait(), show(house.fleet, house.clock))
        good = await summary(house.fleet, await house.catalog(), house.clock)
    return FINE if good else FAULT
