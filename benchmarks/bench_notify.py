"""How long from a finding to the message about it: through Liuhen, beside Alertmanager with the same webhook.

python -m benchmarks.bench_notify [--short] [--findings 1000] [--rounds 3] [--json FILE]

One receiver takes the webhooks of both. Findings are all of different recorders at no common site, so each is a message
of its own. Ours are written to the log and followed by the role `notify`; it groups for 0.3 s, and so does Alertmanager
(`group_wait`), to which each is posted as an alert with a name of its own. Two ways: at 50 a second, and all at once.
Ours goes through log, database and outbox, durably; Alertmanager keeps notifications in memory and writes them down now
and then.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.meter import cpu_s, family
from benchmarks.report import parser, publish, table
from domain.clock import SystemClock
from storage.office.office import Office
from tests.faults.notify_house import NotifyHouse
from tests.services import notifying
from tests.services.alertmanager import AlertmanagerServer
from tests.services.process import poll_until
from tests.services.receiver import Receiver

RATE_PER_S = 50.0


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="liuhen-bench-") as name:
        figures = _run(Path(name), arguments)
    publish("notify", figures, _table(figures), arguments.json)


def _arguments() -> Any:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--findings", type=int, default=1000)
    options.add_argument("--rounds", type=int, default=3)
    found = options.parse_args()
    if found.short:
        found.findings, found.rounds = 40, 1
    return found


def _run(folder: Path, arguments: Any) -> dict[str, Any]:
    spent: dict[str, list[float]] = {"liuhen": [], "alertmanager": []}
    delays: dict[str, dict[str, list[float]]] = {who: {"paced": [], "at_once": []} for who in spent}
    (folder / "liuhen").mkdir()
    with Receiver() as receiver, NotifyHouse(folder / "liuhen") as ours:
        asyncio.run(_somebody(ours, f"{receiver.url}/liuhen"))
        with AlertmanagerServer(folder / "alertmanager", f"{receiver.url}/alertmanager", wait="300ms") as peer:
            senders: dict[str, tuple[Callable[[str], str], int]] = {
                "liuhen": (_finding(ours), ours.pid),
                "alertmanager": (_alarm(peer), peer.pid),
            }
            for number in range(arguments.rounds):
                for how, rate in (("paced", RATE_PER_S), ("at_once", 0.0)):
                    for who, (send, pid) in senders.items():
                        before = cpu_s(family(pid))
                        names = [f"{how}-{number}-{each}" for each in range(arguments.findings)]
                        found = _measure(receiver, who, send, names, rate)
                        delays[who][how] += found
                        spent[who].append(cpu_s(family(pid)) - before)
                        print(f"round {number}: {who} {how} p95 {_quantile(found, 0.95):.2f} s", flush=True)
    messages = arguments.findings * arguments.rounds * 2
    return {
        "findings": arguments.findings,
        "rounds": arguments.rounds,
        "per_s": RATE_PER_S,
        "group_wait_s": 0.3,
        "seconds": {who: {how: _spread(found) for how, found in ways.items() if found} for who, ways in delays.items()},
        "cpu_ms_per_message": {who: round(1000 * sum(found) / messages, 2) for who, found in spent.items()},
    }


async def _somebody(ours: NotifyHouse, address: str) -> None:
    office = await Office.connect(ours.office)
    await notifying.person(office, "zhang")
    await notifying.channel(office, "zhang", address)
    await office.close()


def _finding(ours: NotifyHouse) -> Callable[[str], str]:
    def send(name: str) -> str:
        found = notifying.finding(name)
        ours.publish(found)
        return found.id

    return send


def _alarm(peer: AlertmanagerServer) -> Callable[[str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", peer.port)

    def send(name: str) -> str:
        labels = {"alertname": name, "severity": "warning"}
        content = json.dumps([{"labels": labels, "annotations": {"summary": name}}])
        connection.request("POST", "/api/v2/alerts", content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            msg = f"Alertmanager answered {answer.status}"
            raise RuntimeError(msg)
        return name

    return send


def _measure(receiver: Receiver, who: str, send: Callable[[str], str], names: list[str], per_s: float) -> list[float]:
    """Seconds from handing in each to its message at the receiver."""
    clock, began_s, sent = SystemClock(), time.monotonic(), {}
    for number, name in enumerate(names):
        if per_s:
            time.sleep(max(0.0, began_s + number / per_s - time.monotonic()))
        at = int(clock.now())
        sent[send(name)] = at
    poll_until(lambda: sent.keys() <= _arrived(receiver, who).keys(), f"{who} has told all", 120, 0.2)
    arrived = _arrived(receiver, who)
    return [(arrived[name] - at) / 1000 for name, at in sent.items()]


def _arrived(receiver: Receiver, who: str) -> dict[str, int]:
    """When each finding, or alert by its name, was first told."""
    found: dict[str, int] = {}
    for path, _, body, at in list(receiver.requests):
        if path != f"/{who}":
            continue
        names = body["findings"] if who == "liuhen" else [each["labels"]["alertname"] for each in body["alerts"]]
        for name in names:
            found.setdefault(name, at)
    return found


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "p95": round(_quantile(values, 0.95), 3),
        "max": round(max(values), 3),
    }


def _table(figures: dict[str, Any]) -> str:
    rows = [
        [
            f"{who}, {how}",
            *(f"{found[name]:.2f}" for name in ("median", "p95", "max")),
            figures["cpu_ms_per_message"][who],
        ]
        for who, ways in figures["seconds"].items()
        for how, found in ways.items()
    ]
    return table(["seconds to the receiver", "median", "p95", "max", "CPU ms/message"], rows)


if __name__ == "__main__":
    main()
