"""The same fleet on a NiceGUI page: an AG Grid that gets the rows that changed, as its transactions have it.

NICEGUI_PYTHON -m benchmarks.console_nicegui RECORDERS
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from nicegui import app, ui  # type: ignore[import-not-found]

from benchmarks.console_feed import Story
from dashboards.people.rights import Place
from dashboards.projection import Change, Fleet
from dashboards.wall.board import Board
from dashboards.wall.tile import Tile
from domain.clock import Instant
from tests.services.process import free_port

TURN_S = 0.5
COLUMNS = ("name", "unit", "site", "state", "warnings", "battery", "lag")


class Page:
    """The rows, and the grids that show them: one a watcher, since a page of NiceGUI lives on the server."""

    def __init__(self) -> None:
        self.fleet = Fleet()
        self.board = Board(self.fleet, lambda _name: Place())
        self.told = 0
        self.grids: list[Any] = []

    def hear(self, changes: Any) -> None:
        self.board.hear(change.recorder_id for change in changes if isinstance(change, Change))

    def rows(self, since: int) -> list[dict[str, Any]]:
        return [_row(one.tile) for one in self.board._shown.values() if one.version > since]

    def turn(self) -> None:
        self.board.look(Instant(round(time.time() * 1000)))
        changed = self.rows(self.told)
        self.told = self.board.version
        for grid in self.grids if changed else ():
            grid.run_grid_method("applyTransaction", {"update": changed})


def _row(tile: Tile) -> dict[str, Any]:
    late = "" if tile.lagging_since is None else tile.lagging_since
    return {
        "id": tile.recorder_id, "name": tile.name, "unit": tile.unit_id, "site": tile.site_id, "state": tile.state,
        "warnings": tile.counts[1], "battery": tile.battery, "lag": late,
    }  # fmt: skip


def main() -> None:
    page = Page()
    story = Story(page.fleet, page.hear, int(sys.argv[1]))
    story.begin()
    page.turn()

    @ui.page("/")  # type: ignore[untyped-decorator]
    def wall() -> None:
        columns = [{"field": name} for name in COLUMNS]
        options = {"columnDefs": columns, "rowData": page.rows(0), ":getRowId": "(params) => params.data.id"}
        grid = ui.aggrid(options).style("height: 90vh")
        page.grids.append(grid)
        ui.context.client.on_disconnect(lambda: page.grids.remove(grid) if grid in page.grids else None)

    async def run() -> None:
        async def turns() -> None:
            while True:
                await asyncio.sleep(TURN_S)
                page.turn()

        page.tasks = [asyncio.create_task(story.run()), asyncio.create_task(turns())]  # type: ignore[attr-defined]

    app.on_startup(run)
    port = free_port()
    sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{port}"}) + "\n")
    sys.stdout.flush()
    ui.run(
        host="127.0.0.1", port=port, reload=False, show=False, show_welcome_message=False, uvicorn_logging_level="error"
    )


if __name__ in {"__main__", "__mp_main__"}:
    main()
