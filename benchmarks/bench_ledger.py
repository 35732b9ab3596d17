"""What an entry of the custody ledger costs, beside a plain row of SQLite with the same durability, and a proof.

python -m benchmarks.bench_ledger [--short] [--entries 1000000] [--rounds 5] [--json FILE]

Appends go to a small ledger in turn with the peer, round by round: one entry at a time (each waits for its commit), and
by 64 callers at once (group commit; the peer writes 64 rows a commit). Proofs are asked of a ledger of a million
entries, its file in the page cache, beside the look-up of one entry by its id through the same threads.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.report import parser, publish, spread, table
from domain.clock import Instant
from storage.ledger.entry import Entry
from storage.ledger.ledger import Ledger
from storage.ledger.merkle import leaf_hash, verify_consistency, verify_inclusion

AT_ONCE = 64
FILLED_AT_ONCE = 5_000
_START = 1_780_000_000_000


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="liuhen-bench-", dir=arguments.folder) as name:
        appends = uvloop.run(_appends(Path(name), arguments))
        proofs = uvloop.run(_proofs(Path(name), arguments))
    text = f"{_appends_table(appends)}\n\n{_proofs_table(proofs, arguments.entries)}"
    publish("ledger", {"appends": appends, "proofs": proofs, "entries": arguments.entries}, text, arguments.json)


def _arguments() -> argparse.Namespace:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--entries", type=int, default=1_000_000, help="in the ledger that is asked for proofs")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--appends", type=int, default=400, help="a round, one at a time; 16 times as many in groups")
    options.add_argument("--proofs", type=int, default=2_000)
    options.add_argument(
        "--folder", metavar="DIR", help="on the disk to be measured (default: where temporary files go)"
    )
    found = options.parse_args()
    if found.short:
        found.entries, found.rounds, found.appends, found.proofs = 3_000, 1, 20, 50
    return found


def entry(number: int) -> Entry:
    """A segment's entry, as the store worker writes them."""
    folder = f"segments/cam-{number % 300}/2026/05/04/s-{number // 600}"
    body = {
        "key": f"{folder}/20260504T080000000-{number}-0123456789abcdef.mp4",
        "version_id": f"{number:032x}",
        "sha256": f"{number:064x}",
        "bytes": 30_000_000 + number,
        "from": "2026-05-04T08:00:00.000+08:00",
        "to": "2026-05-04T08:01:00.000+08:00",
    }
    return Entry(
        kind="segment",
        at=Instant(_START + number),
        body=body,
        recorder_id=f"cam-{number % 300}",
        session_id=f"s-{number // 600}",
    )


async def _appends(folder: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    ledger = await Ledger.connect(f"sqlite:///{folder}/small.db")
    await ledger.append([entry(10**9)])
    rates: dict[tuple[str, str], list[float]] = {}
    numbers = iter(range(10**9))
    with closing(_peer(folder / "peer.db")) as peer:
        for _ in range(arguments.rounds):
            for way, count, group in (("single", arguments.appends, 1), ("grouped", arguments.appends * 16, AT_ONCE)):
                made = [entry(next(numbers)) for _ in range(count)]
                spent_s = await _timed(lambda made=made, group=group: _append(ledger, made, group))  # type: ignore[misc]
                rates.setdefault((way, "ledger"), []).append(count / spent_s)
                lines = [(one.id, one.line()) for one in made]
                began_s = time.perf_counter()
                _insert(peer, lines, group)
                rates.setdefault((way, "plain row"), []).append(count / (time.perf_counter() - began_s))
    await ledger.close()
    return [_summary(way, side, found) for (way, side), found in rates.items()]


async def _append(ledger: Ledger, made: list[Entry], group: int) -> None:
    for begin in range(0, len(made), group):
        await asyncio.gather(*(ledger.append([one]) for one in made[begin : begin + group]))


def _peer(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=TRUNCATE", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE lines (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, line BLOB NOT NULL)")
    return connection


def _insert(peer: sqlite3.Connection, lines: list[tuple[str, bytes]], group: int) -> None:
    for begin in range(0, len(lines), group):
        peer.execute("BEGIN IMMEDIATE")
        peer.executemany("INSERT INTO lines (id, line) VALUES (?, ?)", lines[begin : begin + group])
        peer.execute("COMMIT")


def _summary(way: str, side: str, rates: list[float]) -> dict[str, Any]:
    return {"way": way, "side": side, "median_per_s": round(spread(rates)["median"]), "best_per_s": round(max(rates))}


async def _proofs(folder: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    ledger = await Ledger.connect(f"sqlite:///{folder}/large.db")
    size = arguments.entries
    began_s = time.perf_counter()
    for begin in range(0, size, FILLED_AT_ONCE):
        await ledger.append([entry(number) for number in range(begin, min(begin + FILLED_AT_ONCE, size))])
    print(f"{size} entries in {time.perf_counter() - began_s:.0f} s", flush=True)
    root = await ledger.root(size)
    pick = random.Random(9)
    chosen = [pick.randrange(size) for _ in range(arguments.proofs)]
    ids = {index: entry(index).id for index in chosen}

    async def include(index: int) -> None:
        proof = await ledger.inclusion(index, size)
        assert verify_inclusion(leaf_hash(entry(index).line()), index, size, proof, root)

    async def agree(index: int) -> None:
        proof = await ledger.consistency(index + 1, size)
        assert verify_consistency(index + 1, size, proof, await ledger.root(index + 1), root)

    for index in chosen[:20]:  # each once with its check; timed without
        await include(index)
        await agree(index)
    asked: dict[str, Callable[[int], Awaitable[object]]] = {
        "look-up by id": lambda index: ledger.find(ids[index]),
        "inclusion proof": lambda index: ledger.inclusion(index, size),
        "consistency proof": lambda index: ledger.consistency(index + 1, size),
        "root": lambda _: ledger.root(),
    }
    spent: dict[str, list[float]] = {name: [] for name in asked}
    for index in chosen:
        for name, ask in asked.items():
            spent[name].append(1000 * await _timed(lambda ask=ask, index=index: ask(index)))  # type: ignore[misc]
    await ledger.close()
    return [{"what": name, **_quantiles(found)} for name, found in spent.items()]


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    began_s = time.perf_counter()
    await work()
    return time.perf_counter() - began_s


def _quantiles(values_ms: list[float]) -> dict[str, float]:
    ordered = sorted(values_ms)
    last = len(ordered) - 1
    return {f"p{rank}_ms": round(ordered[last * rank // 100], 3) for rank in (50, 99, 100)}


def _appends_table(rows: list[dict[str, Any]]) -> str:
    plain = {row["way"]: row["median_per_s"] for row in rows if row["side"] == "plain row"}
    head = ["appends", "side", "per second (best)", "of plain rows"]
    cells = [
        [row["way"], row["side"], f"{row['median_per_s']} ({row['best_per_s']})", _ratio(row, plain)] for row in rows
    ]
    return table(head, cells)


def _ratio(row: dict[str, Any], plain: dict[str, int]) -> str:
    return f"{row['median_per_s'] / plain[row['way']]:.2f}"


def _proofs_table(rows: list[dict[str, Any]], entries: int) -> str:
    head = [f"of {entries} entries", "median ms", "p99 ms", "worst ms", "of a look-up"]
    look_up = rows[0]["p50_ms"]
    cells = [
        [row["what"], row["p50_ms"], row["p99_ms"], row["p100_ms"], f"{row['p50_ms'] / look_up:.1f}"] for row in rows
    ]
    return table(head, cells)


if __name__ == "__main__":
    main()
