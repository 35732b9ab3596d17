"""The command line of Liuhen. What the commands run is put together in `house/`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from commands import account, checking, demo, exporting
from commands.configuration import read_text, read_toml, rulebook_of
from commands.keeping import Handler, add_commands, instant
from domain.clock import SystemClock
from domain.errors import InvalidInput, LiuhenError, Refused, Unavailable
from domain.settings import Settings
from domain.settings import parse as parse_settings
from house.house import House
from house.running import EMBEDDED, ROLES, first_of, running, stop_event

FINE, FAULT, WRONG_USE, MISSING_SERVICE = 0, 1, 2, 3

T = TypeVar("T")

_log = logging.getLogger("liuhen")


def _serve(arguments: argparse.Namespace, roles: Sequence[str]) -> int:
    settings = load_settings(arguments.config)
    if not {"detect", "store"}.isdisjoint(roles):
        rulebook_of(settings)  # before anything is opened: what is wrong in a file is the only thing to say
    if tuple(roles) == ("detect",) and settings.bus.startswith("kafka://"):
        return _run_faust(settings)

    async def serve() -> None:
        stop = stop_event()
        async with running(settings, roles) as house:
            _log.info("%s: %s", ", ".join(roles), house.address)
            if house.first_link:
                print(f"尚无账户，一小时内打开 no accounts yet, open within the hour: {house.first_link}", flush=True)
            await stop.wait()

    _run(serve())
    return FINE


def _run_faust(settings: Settings) -> NoReturn:
    from streams.bus.connect import connect
    from streams.workers import detect

    bus = connect(settings.bus, partitions=settings.partitions, client_id=settings.worker_id or socket.gethostname())
    data = Path(settings.work) / "faust"
    data.mkdir(parents=True, exist_ok=True)
    detect.run_faust(settings.bus.removeprefix("kafka://"), bus, settings, data, rulebook_of(settings))


def _simulate(arguments: argparse.Namespace) -> int:
    from streams.simulate.fleet import Fleet
    from streams.simulate.script import parse_script

    script = parse_script(read_text(arguments.script, "script"))

    async def simulate() -> None:
        fleet = Fleet(script, SystemClock())
        for recorder_id, url in (await fleet.serve_cameras()).items():
            print(f"{recorder_id} {url}", flush=True)
        await first_of(fleet.run(), stop_event().wait())

    _run(simulate())
    return FINE


def _replay(arguments: argparse.Namespace) -> int:
    from detectors.contract import Thresholds
    from policies.loader import require
    from streams.workers.replay import opened, replay

    require(arguments.policy)
    settings = load_settings(arguments.config)
    thresholds, book = Thresholds.of(settings), rulebook_of(settings)
    try:
        with opened(arguments.events) as lines:
            return replay(lines, arguments.policy, sys.stdout, sys.stderr, thresholds=thresholds, book=book)
    except OSError as error:
        msg = f"{arguments.events}: {error.strerror}"
        raise InvalidInput(msg, "EVENTS.ndjson") from error


def _show_policy(arguments: argparse.Namespace) -> int:
    from policies.report import show_json, show_text

    policy = rulebook_of(load_settings(arguments.config)).policy(arguments.name)
    print(show_json(policy) if arguments.json else show_text(policy), end="")
    return FINE


def _show_deadline(arguments: argparse.Namespace) -> int:
    from policies.deadlines import store_by
    from policies.report import deadline_json, deadline_text

    now = arguments.now or SystemClock().now()
    book = rulebook_of(load_settings(arguments.config))
    deadline = store_by(
        book.policy(arguments.policy),
        arguments.kind,
        arguments.completed,
        remote=arguments.remote or arguments.returned is not None,
        returned=arguments.returned,
        calendar=book.calendar,
    )
    print((deadline_json if arguments.json else deadline_text)(deadline, now), end="")
    return FINE


def _doctor(arguments: argparse.Namespace) -> int:
    from dashboards.doctor import examine

    settings = load_settings(arguments.config)
    calendar = rulebook_of(settings).calendar

    async def run() -> bool:
        async with AsyncExitStack() as stack:
            house = House(settings, stack)
            parts = {
                "log": house.bus,
                "store": house.store,
                "catalogue": house.catalog,
                "ledger": house.ledger,
                "office": house.office,
                "key": lambda: _ledger_key(settings),
                "copies": lambda: _checkpoint_copies(house),
            }
            if settings.watch_url:
                parts["watch"] = lambda: _watch(settings)
            return await examine(parts, calendar, house.clock, print)

    return FINE if _run(run()) else MISSING_SERVICE


def _in_house(handler: Handler) -> Callable[[argparse.Namespace], int]:
    """Return what runs a handler in a house of its own, whose parts are closed behind it."""

    def run(arguments: argparse.Namespace) -> int:
        settings = load_settings(arguments.config)

        async def inside() -> int:
            async with AsyncExitStack() as stack:
                return await handler(arguments, House(settings, stack))

        return _run(inside())

    return run


async def _ledger_key(settings: Settings) -> str:
    """The public key that signs checkpoints, made where there is none."""
    from storage.ledger.keys import load_keys

    path = Path(settings.ledger_key_file)
    keys = await asyncio.to_thread(load_keys, path, settings.ledger_origin)
    return str(keys.signer.verifier)


async def _watch(settings: Settings) -> str:
    """How the watch finds everybody; what it has found is not the configuration's fault."""
    from prometheus_client import REGISTRY

    from dashboards.watch.seen import Seen

    seen = Seen(settings, SystemClock(), REGISTRY)
    view = await seen.seen()
    await seen.close()
    if view.away:
        raise Unavailable(f"watch_url: {view.away}")
    return f"{len(view.targets)} watched, not well: {', '.join(one.name for one in view.ill) or 'none'}"


async def _checkpoint_copies(house: House) -> str:
    from storage.ledger.keeper import look_at_places

    found = await look_at_places(house.settings, await house.ledger(), await house.store(), house.clock)
    return ", ".join(found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="liuhen", description="留痕: whole-trace recording for health enforcement.")
    parser.add_argument("--config", metavar="FILE", help="configuration (default: liuhen.toml where it exists)")
    parser.add_argument("--verbose", "-v", action="store_true", help="say more on standard error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    shown = add("demo", "simulated recorders and cameras, embedded, nothing to configure", demo.run)
    shown.add_argument("--seconds", type=float, default=0.0, help="end by itself after so long")
    shown.add_argument("--data", metavar="DIR", help="keep the data here (default: a fresh temporary directory)")
    shown.add_argument("--script", metavar="FILE", help="another script than the built-in one")
    shown.add_argument("--days", type=int, default=7, help="so many days of a past (default: 7; 0 for none)")
    add("up", "everything in one process, embedded", lambda arguments: _serve(arguments, EMBEDDED))
    for role in ROLES:
        add(role, f"the {role} role alone, for Kafka", lambda arguments: _serve(arguments, (arguments.command,)))
    simulate = add("simulate", "recorders and cameras as clients of a running system", _simulate)
    simulate.add_argument("--script", metavar="FILE", required=True)
    replay = add("replay", "run the detectors over a file of events", _replay)
    replay.add_argument("events", metavar="EVENTS.ndjson", help="one JSON event a line; - reads standard input")
    replay.add_argument("--policy", default="wucheng", help="for recorders that name none (default: wucheng)")
    policy = commands.add_parser("policy", help="the rules as data").add_subparsers(required=True, metavar="WHAT")
    show = policy.add_parser("show", help="a policy, each value with its article")
    show.add_argument("name", metavar="NAME")
    show.set_defaults(run=_show_policy)
    deadline = policy.add_parser("deadline", help="by when a recording must be in the store")
    deadline.add_argument("--policy", required=True, metavar="NAME")
    deadline.add_argument("--completed", required=True, type=instant, metavar="T", help="RFC 3339 with offset")
    deadline.add_argument("--returned", type=instant, metavar="T", help="back at the unit, after remote work")
    deadline.add_argument("--remote", action="store_true", help="recorded away from the unit")
    deadline.add_argument("--kind", default="body_worn", help="of recorder: body_worn, premises_camera, room_camera")
    deadline.add_argument("--now", type=instant, metavar="T")
    deadline.set_defaults(run=_show_deadline)
    for one in (show, deadline):
        one.add_argument("--json", action="store_true")
    add_commands(commands, _in_house)
    checking.add_commands(commands, _in_house)
    exporting.add_commands(commands, _in_house)
    account.add_commands(commands, _in_house)
    add("doctor", "check what the configuration needs, and say what is wrong", _doctor)
    return parser


def load_settings(path: str | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the configuration.

    Raises:
        InvalidSettings: The file cannot be read, or says something that cannot be used.
    """
    from policies.loader import require

    name = path or environment.get("LIUHEN_CONFIG") or ("liuhen.toml" if Path("liuhen.toml").is_file() else "")
    settings = parse_settings(read_toml(name, "config") if name else {}, environment)
    require(settings.policy)
    return settings


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
