"""The command line of Liuhen, and the only place that wires its parts together.

Parts are imported where they are used: `liuhen ingest` must be recording again a moment after it was killed, and
loads neither Faust nor a database for it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
import tomllib
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import msgspec

from domain import settings as configuration
from domain.clock import SystemClock
from domain.errors import InvalidInput, InvalidSettings, LiuhenError, Refused, Unavailable
from domain.settings import Settings

if TYPE_CHECKING:
    import uvicorn
    from fastapi import APIRouter

    from dashboards.console import Console
    from domain.bus import Bus
    from domain.registry import Registration
    from storage.catalog.catalog import Catalog
    from storage.objects.port import ObjectStore
    from streams.simulate.script import Script

FINE, FAULT, WRONG_USE, MISSING_SERVICE = 0, 1, 2, 3
SHUTDOWN_S = 15.0

T = TypeVar("T")

_log = logging.getLogger("liuhen")


# --- one process and what runs in it --------------------------------------------------------------------------------


class House:
    """What runs in this process: parts opened once, jobs and routes; closed in reverse order."""

    def __init__(self, settings: Settings, stack: AsyncExitStack) -> None:
        self.settings = settings
        self.stack = stack
        self.clock = SystemClock()
        self.worker_id = settings.worker_id or socket.gethostname()
        self.jobs: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}
        self.routers: list[APIRouter] = []
        self.not_ready: list[Callable[[], str]] = []
        self.farewell: list[Callable[[], Awaitable[None]]] = []
        self.console: Console | None = None
        self.address = ""
        self._bus: Bus | None = None
        self._catalog: Catalog | None = None
        self._store: ObjectStore | None = None

    async def bus(self) -> Bus:
        """Return the log, started."""
        if self._bus is None:
            from streams.bus.connect import connect

            bus = connect(self.settings.bus, partitions=self.settings.partitions, client_id=self.worker_id)
            await bus.start()
            self.stack.push_async_callback(bus.close)
            self._bus = bus
        return self._bus

    async def catalog(self) -> Catalog:
        """Return the catalogue, its schema up to date."""
        if self._catalog is None:
            from storage.catalog.catalog import Catalog

            _make_parent(self.settings.catalog)
            self._catalog = await Catalog.connect(self.settings.catalog)
            self.stack.push_async_callback(self._catalog.close)
        return self._catalog

    async def store(self) -> ObjectStore:
        """Return the object store, found fit to keep evidence."""
        if self._store is None:
            from storage.objects.connect import connect

            self._store = connect(self.settings)
            self.stack.push_async_callback(self._store.close)
            await self._store.probe()
        return self._store


def _make_parent(address: str) -> None:
    """Make the folder of an embedded database; a database server makes its own."""
    if address.startswith("sqlite:///"):
        Path(address.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)


async def _ingest(house: House) -> None:
    from streams.ingest.api.locks import RecorderLocks
    from streams.ingest.api.routes import device_router
    from streams.ingest.registering import register
    from streams.ingest.service import IngestService
    from streams.ingest.whip.options import options_from
    from streams.ingest.whip.routes import whip_router
    from streams.ingest.whip.service import WhipService

    service = IngestService(await house.bus(), house.settings, house.clock)
    await service.start()
    house.stack.push_async_callback(service.stop)
    locks = RecorderLocks()
    whip = WhipService(service, house.clock, options_from(house.settings), locks)
    house.farewell.append(whip.close)
    house.routers += [
        whip_router(service, whip, public_url=house.settings.public_url),
        device_router(service, house.clock, before_end=whip.close_session, locks=locks),
    ]
    await register(await house.bus(), _registrations(house.settings))


async def _store(house: House) -> None:
    from streams.workers.store import StoreWorker

    store, catalog, bus = await house.store(), await house.catalog(), await house.bus()
    worker = StoreWorker(bus, store, catalog, house.settings, clock=house.clock)
    house.jobs["store"] = worker.run


async def _detect(house: House) -> None:
    from streams.workers import detect

    bus = await house.bus()
    house.jobs["detect"] = lambda: detect.run(bus, house.settings)


async def _tick(house: House) -> None:
    from streams.workers import tick

    bus = await house.bus()
    house.jobs["tick"] = lambda: tick.run(bus, house.clock)


async def _console(house: House) -> None:
    from prometheus_client import REGISTRY

    from dashboards.console import Console

    state = Path(house.settings.work) / f"console-{house.worker_id}.state"
    state.parent.mkdir(parents=True, exist_ok=True)
    bus, catalog, store = await house.bus(), await house.catalog(), await house.store()
    console = Console(bus, catalog, house.clock, state, REGISTRY, store=store)
    house.console = console
    house.jobs["console"] = console.run
    house.farewell.append(console.close)
    house.not_ready.append(console.not_ready)
    house.routers += console.routers()


ROLES: dict[str, Callable[[House], Awaitable[None]]] = {
    "ingest": _ingest,
    "store": _store,
    "detect": _detect,
    "tick": _tick,
    "console": _console,
}


@contextlib.asynccontextmanager
async def _running(settings: Settings, roles: Sequence[str]) -> Any:
    """Open a house with these roles and serve it until the block is left."""
    import uvicorn

    listener = _listen(settings.http)
    async with AsyncExitStack() as stack:
        stack.callback(listener.close)
        house = House(settings, stack)
        host, port = listener.getsockname()[:2]
        house.address = f"http://{host}:{port}"
        for role in roles:
            await ROLES[role](house)
        server = _server(uvicorn.Config(_app(house), log_config=None, access_log=False, lifespan="off", loop="none"))
        tasks = [asyncio.create_task(server.serve(sockets=[listener]), name="http")]
        tasks += [asyncio.create_task(_keep_running(name, job), name=name) for name, job in house.jobs.items()]
        try:
            yield house
        finally:
            for say_goodbye in house.farewell:  # streams end first: the server waits for open answers
                await say_goodbye()
            server.should_exit = True
            for task in tasks[1:]:
                task.cancel()
            _, late = await asyncio.wait(tasks, timeout=SHUTDOWN_S)
            for task in late:
                task.cancel()


async def _keep_running(name: str, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a job again when it breaks, so that a broken store or detector never ends the recording beside it."""
    import random

    from streams.ingest.backoff import Backoff

    backoff = Backoff(random.random)
    while True:
        try:
            await job()
        except Exception:
            wait_s = backoff.after_failure()
            _log.exception("%s broke; again in %.1f s", name, wait_s)
            await asyncio.sleep(wait_s)
        else:
            return


def _app(house: House) -> Any:
    from fastapi import FastAPI
    from prometheus_client import REGISTRY, disable_created_metrics

    from dashboards.health import health_router

    disable_created_metrics()  # type: ignore[no-untyped-call]
    app = FastAPI(title="Liuhen 留痕", docs_url=None, redoc_url=None)
    for router in house.routers:
        app.include_router(router)
    app.include_router(health_router(REGISTRY, lambda: "; ".join(filter(None, (ask() for ask in house.not_ready)))))
    return app


def _server(config: uvicorn.Config) -> uvicorn.Server:
    import uvicorn

    class Server(uvicorn.Server):
        """Leaves signals to us: ingest must flush its feeds before the server goes."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Server(config)


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        msg = f"http: {address!r} is not host:port"
        raise InvalidSettings(msg, "http")
    try:
        return socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        msg = f"http: cannot listen on {address}: {error}"
        raise Unavailable(msg) from error


def _registrations(settings: Settings) -> list[Registration]:
    from domain.registry import Registration, hash_tokens
    from domain.wire import convert

    if not settings.recorders:
        return []
    entries = _read_toml(settings.recorders, "recorders").get("recorder", [])
    try:
        return [convert(hash_tokens({"policy": settings.policy, **entry}), Registration) for entry in entries]
    except (InvalidInput, TypeError) as error:
        msg = f"{settings.recorders}: {error}"
        raise InvalidSettings(msg, "recorders") from error


# --- commands -------------------------------------------------------------------------------------------------------


def _serve(arguments: argparse.Namespace, roles: Sequence[str]) -> int:
    settings = load_settings(arguments.config)
    if tuple(roles) == ("detect",) and settings.bus.startswith("kafka://"):
        return _run_faust(settings)

    async def serve() -> None:
        stop = _stop_event()
        async with _running(settings, roles) as house:
            _log.info("%s: %s", ", ".join(roles), house.address)
            await stop.wait()

    _run(serve())
    return FINE


def _run_faust(settings: Settings) -> NoReturn:
    from streams.bus.connect import connect
    from streams.workers import detect

    bus = connect(settings.bus, partitions=settings.partitions, client_id=settings.worker_id or socket.gethostname())
    data = Path(settings.work) / "faust"
    data.mkdir(parents=True, exist_ok=True)
    detect.run_faust(settings.bus.removeprefix("kafka://"), bus, settings, data)


def _demo(arguments: argparse.Namespace) -> int:
    from streams.simulate.script import parse_script

    text = Path(arguments.script).read_text(encoding="utf-8") if arguments.script else _built_in_script()
    script = msgspec.structs.replace(parse_script(text), seconds=arguments.seconds)
    with contextlib.ExitStack() as stack:
        folder = Path(arguments.data or stack.enter_context(tempfile.TemporaryDirectory(prefix="liuhen-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(folder / "demo.log", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().handlers[:] = [handler]
        return _run(_run_demo(_demo_settings(folder), script, folder))


def _built_in_script() -> str:
    from importlib import resources

    return resources.files("streams.simulate").joinpath("demo.toml").read_text(encoding="utf-8")


def _demo_settings(folder: Path) -> Settings:
    """Everything embedded in one folder, on loopback, at the usual port where it is free."""
    usual = Settings().http
    try:
        _listen(usual).close()
    except Unavailable:
        usual = "127.0.0.1:0"
    return Settings(
        bus=f"embedded:{folder}/log",
        store=f"file:{folder}/store",
        catalog=f"sqlite:///{folder}/catalog.db",
        spool=f"{folder}/spool",
        work=f"{folder}/work",
        http=usual,
        ice_hosts="127.0.0.1",
        worker_id="demo",
    )


async def _run_demo(settings: Settings, script: Script, folder: Path) -> int:
    from dashboards.demonstration import show, summary
    from streams.ingest.registering import register
    from streams.simulate.fleet import Fleet
    from streams.simulate.registrations import registrations, with_tokens

    stop = _stop_event()
    async with _running(settings, tuple(ROLES)) as house:
        script = with_tokens(msgspec.structs.replace(script, system=house.address))
        fleet = Fleet(script, house.clock)
        await register(await house.bus(), registrations(script, await fleet.serve_cameras()))
        print(f"控制台 console: {house.address}/\n数据 data: {folder}", flush=True)
        await _first_of(fleet.run(), stop.wait(), show(house.console.fleet, house.clock))
        good = await summary(house.console.fleet, await house.catalog(), house.clock)
    return FINE if good else FAULT


def _simulate(arguments: argparse.Namespace) -> int:
    from streams.simulate.fleet import Fleet
    from streams.simulate.script import parse_script

    script = parse_script(_read_text(arguments.script, "script"))

    async def simulate() -> None:
        fleet = Fleet(script, SystemClock())
        for recorder_id, url in (await fleet.serve_cameras()).items():
            print(f"{recorder_id} {url}", flush=True)
        await _first_of(fleet.run(), _stop_event().wait())

    _run(simulate())
    return FINE


def _replay(arguments: argparse.Namespace) -> int:
    from detectors.contract import Thresholds
    from streams.workers.replay import opened, replay

    thresholds = Thresholds.of(load_settings(arguments.config))
    try:
        with opened(arguments.events) as lines:
            return replay(lines, arguments.policy, sys.stdout, sys.stderr, thresholds=thresholds)
    except OSError as error:
        msg = f"{arguments.events}: {error.strerror}"
        raise InvalidInput(msg, "EVENTS.ndjson") from error


def _doctor(arguments: argparse.Namespace) -> int:
    from dashboards.doctor import examine

    settings = load_settings(arguments.config)

    async def run() -> bool:
        async with AsyncExitStack() as stack:
            house = House(settings, stack)
            return await examine({"log": house.bus, "store": house.store, "catalogue": house.catalog}, print)

    return FINE if _run(run()) else MISSING_SERVICE


def _stop_event() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _first_of(*jobs: Coroutine[Any, Any, object]) -> None:
    """Run until one is over; the others are cancelled and end in their own time."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="liuhen", description="留痕: whole-trace recording for health enforcement.")
    parser.add_argument("--config", metavar="FILE", help="configuration (default: liuhen.toml where it exists)")
    parser.add_argument("--verbose", "-v", action="store_true", help="say more on standard error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    demo = add("demo", "simulated recorders and cameras, embedded, nothing to configure", _demo)
    demo.add_argument("--seconds", type=float, default=0.0, help="end by itself after so long")
    demo.add_argument("--data", metavar="DIR", help="keep the data here (default: a fresh temporary directory)")
    demo.add_argument("--script", metavar="FILE", help="another script than the built-in one")
    add("up", "everything in one process, embedded", lambda arguments: _serve(arguments, tuple(ROLES)))
    for role in ROLES:
        add(role, f"the {role} role alone, for Kafka", lambda arguments: _serve(arguments, (arguments.command,)))
    simulate = add("simulate", "recorders and cameras as clients of a running system", _simulate)
    simulate.add_argument("--script", metavar="FILE", required=True)
    replay = add("replay", "run the detectors over a file of events", _replay)
    replay.add_argument("events", metavar="EVENTS.ndjson", help="one JSON event a line; - reads standard input")
    replay.add_argument("--policy", default="wucheng", help="for recorders that name none (default: wucheng)")
    add("doctor", "check what the configuration needs, and say what is wrong", _doctor)
    return parser


def load_settings(path: str | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the configuration.

    Raises:
        InvalidSettings: The file cannot be read, or says something that cannot be used.
    """
    name = path or environment.get("LIUHEN_CONFIG") or ("liuhen.toml" if Path("liuhen.toml").is_file() else "")
    return configuration.parse(_read_toml(name, "config") if name else {}, environment)


def _read_toml(name: str, field: str) -> dict[str, Any]:
    try:
        return tomllib.loads(_read_text(name, field))
    except tomllib.TOMLDecodeError as error:
        msg = f"{name}: {error}"
        raise InvalidSettings(msg, field) from error


def _read_text(name: str, field: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{field}: {name} cannot be read: {error}"
        raise InvalidSettings(msg, field) from error


def _run(job: Coroutine[Any, Any, T]) -> T:
    import uvloop

    return uvloop.run(job)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the answer is the exit code: 0 fine, 1 a fault found, 2 wrong use, 3 a service is missing."""
    arguments = _parser().parse_args(argv)
    _set_up_logging(arguments.verbose)
    try:
        return int(arguments.run(arguments))
    except InvalidInput as error:
        return _say(error, WRONG_USE)
    except (Unavailable, Refused) as error:
        return _say(error, MISSING_SERVICE)
    except LiuhenError as error:
        return _say(error, FAULT)
    except KeyboardInterrupt:
        return FINE


def _say(error: LiuhenError, code: int) -> int:
    sys.stderr.write(f"liuhen: {error}\n")
    return code


def _set_up_logging(verbose: bool) -> None:
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, format=form, stream=sys.stderr)
    for noisy in ("aioice", "aiortc", "uvicorn", "httpx", "alembic", "faust", "mode"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("kafka").setLevel(logging.ERROR)  # what matters of it comes as BusUnavailable


if __name__ == "__main__":
    sys.exit(main())
