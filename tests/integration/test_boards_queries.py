"""Boards are what the code says, and every query of boards and rules runs on a Prometheus that scrapes a real run."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dashboards.boards import BOARDS, render
from tests.services.liuhen import Liuhen
from tests.services.process import poll_until
from tests.services.prometheus import PrometheusServer

_ROOT = Path(__file__).resolve().parents[2]
_RULES = _ROOT / "dashboards/prometheus/rules.yml"


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_is_current(name: str) -> None:
    assert (_ROOT / f"dashboards/grafana/{name}.json").read_text(encoding="utf-8") == render(name)


def _queries() -> set[str]:
    boards: list[dict[str, Any]] = [json.loads(render(name)) for name in BOARDS]
    shown = {target["expr"] for board in boards for panel in board["panels"] for target in panel["targets"]}
    rules = re.findall(r"record: .*\n +expr: (.*)", _RULES.read_text(encoding="utf-8"))
    # A demonstration's recorder, in place of the variable that a person chooses.
    return {query.replace("$recorder", "rec-0107") for query in shown | set(rules)}


def _address(run: Liuhen) -> str:
    """Where a demonstration answers: at the usual port, or at one that is free."""
    found = re.search(r"console: http://([0-9.:]+)/", run.log_tail(400))
    return found[1] if found else ""


@pytest.mark.prometheus
@pytest.mark.timeout(260)
def test_every_query_gives_data_in_a_real_run(
    own: Callable[..., Any], prometheus_factory: Callable[..., PrometheusServer]
) -> None:
    run = own(Liuhen, ["demo"], {}, serves=False)
    poll_until(lambda: _address(run) != "", "the demonstration says where it is", 90)
    prometheus = prometheus_factory([_address(run)], [_RULES])
    waiting = _queries()

    def answered() -> bool:
        waiting.difference_update({query for query in waiting if prometheus.query(query)})
        return not waiting

    try:
        poll_until(answered, "every query has data", 110, 1)
    except Exception as error:
        raise AssertionError(sorted(waiting)) from error
    for alert in re.findall(r"alert: .*\n +expr: (.*)", _RULES.read_text(encoding="utf-8")):
        prometheus.query(alert)
    assert "LiuhenWatchdog" in {alert["labels"]["alertname"] for alert in prometheus.alerts()}
