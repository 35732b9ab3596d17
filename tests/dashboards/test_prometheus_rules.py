"""The rules of Prometheus: they parse, their cases pass, each alert has an owner and a page saying what to do."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.services.cache import installed

_ROOT = Path(__file__).resolve().parents[2]
_RULES = _ROOT / "dashboards/prometheus/rules.yml"
_CASES = _ROOT / "dashboards/prometheus/rules_test.yml"
_RUNBOOK = _ROOT / "docs/guide/runbook.md"
_OWNERS = {"unit", "operator", "custodian", "supervisor"}


def _alerts() -> dict[str, str]:
    """Name → text of each alerting rule."""
    parts = _RULES.read_text(encoding="utf-8").split("- alert: ")[1:]
    return {part.split("\n", 1)[0]: part for part in parts}


@pytest.mark.prometheus
@pytest.mark.parametrize("command", [("check", "rules", str(_RULES)), ("test", "rules", str(_CASES))])
def test_promtool_is_content(command: tuple[str, ...]) -> None:
    done = subprocess.run([installed("Prometheus", "promtool"), *command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_that_fires() -> None:
    fired = re.findall(r"alertname: (\w+)\n +exp_alerts:\n", _CASES.read_text(encoding="utf-8"))
    assert set(fired) == set(_alerts())


def test_every_alert_has_an_owner_and_a_section() -> None:
    sections = re.findall(r"^## (\w+)$", _RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    assert sections == list(_alerts())
    for name, text in _alerts().items():
        assert re.search(r"owner: (\w+)", text)[1] in _OWNERS, name  # type: ignore[index]
        assert f"runbook: docs/guide/runbook.md#{name.lower()}\n" in text


def test_rules_name_metrics_that_exist() -> None:
    page = (_ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    known = set(re.findall(r"`(liuhen_[a-z_]+)`", page)) | {"liuhen_stage_seconds_bucket"}
    named = set(re.findall(r"\bliuhen_[a-z_]+", _RULES.read_text(encoding="utf-8")))
    assert named - known == set()
