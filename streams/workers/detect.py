"""`liuhen detect`: runs the detectors over the log, until it is cancelled or told to stop."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import NoReturn

from detectors.contract import Thresholds
from detectors.registry import rules
from domain.bus import Bus
from domain.settings import Settings
from policies.local import Rulebook
from streams.runners import status
from streams.runners.loop import DetectLoop


def spare_the_collector() -> None:
    """States are trees without cycles: walking them for garbage finds none, and takes a fifth of the time."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def run(bus: Bus, settings: Settings, book: Rulebook | None = None) -> None:
    """Run the detectors on any log, in this event loop, until cancelled.

    Args:
        bus: The log, started.
        settings: Thresholds and the policy of recorders that name none.
        book: The policies in force; those of the package alone where absent.
    """
    await DetectLoop(bus, rules(Thresholds.of(settings), book)).run()


def run_faust(bootstrap: str, bus: Bus, settings: Settings, data_dir: Path, book: Rulebook | None = None) -> NoReturn:
    """Run the detectors under Faust on Kafka, with an event loop of its own, until SIGTERM; then end the process.

    Any trouble ends the process with a code other than 0, and its supervisor starts it again: whatever was not
    acknowledged is then done again, with the same result. `/metrics` and `/healthz` are answered on `settings.http`.

    Args:
        bootstrap: `host:port[,host:port…]` of the brokers.
        bus: The log on the same brokers, not started.
        settings: As for `run`.
        data_dir: Where Faust may keep files.
        book: As for `run`.
    """
    from streams.runners import faust_app  # noqa: PLC0415 - Faust takes its time, and only this role needs it

    worker = faust_app.FaustDetect(bootstrap, bus, rules(Thresholds.of(settings), book), data_dir=str(data_dir))
    status.serve(settings.http, worker.trouble)
    spare_the_collector()
    faust_app.run(worker)
