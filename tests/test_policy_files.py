"""An agency's own values and further calendar years, named in the settings: what every command makes of them."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from dashboards.doctor import calendar_trouble
from domain.clock import CHINA
from policies.workdays import official
from tests.detectors.logs import Line, at, ended, fragments, in_order, opened, registered
from tests.test_cli import liuhen

AGENCY = "某某区卫生健康局"
OURS = f"""policy = "wucheng"
agency = "{AGENCY}"
[store_by]
within = {{ value = 3, unit = "hours", source = ["某卫执〔2026〕3号 第二条"] }}
"""
NEXT_YEAR = datetime.now(CHINA).year + 1
DONE = "2028-12-29T10:00:00+08:00"  # a Friday; nobody knows the days off of 2029 yet


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ours.toml").write_text(OURS)
    (tmp_path / "days.toml").write_text(
        '[[year]]\nyear = 2029\nsource = "某通知"\ndays_off = ["2029-01-01", "2029-01-02"]\n'
        '[[year]]\nyear = 2028\nsource = "某通知"\n'
    )
    (tmp_path / "liuhen.toml").write_text('policy_files = "ours.toml"\ncalendar_files = "days.toml"\n')
    return tmp_path


def overdue_log(policy: str = "wucheng") -> str:
    """Forty seconds of which nothing is stored, for more than a day."""
    recording = [registered(policy=policy), opened(0.1), *fragments(0, 20, 1), ended(60, 41)]
    ticks: list[Line] = [{"type": "tick", "at": at(second)} for second in (*range(100), *range(100, 100_000, 60))]
    return "\n".join(json.dumps(line) for line in in_order(recording, ticks))


def test_show_and_deadline_go_by_the_agencys_value(folder: Path) -> None:
    shown = liuhen(folder, "policy", "show", "wucheng")
    assert f"3小时　［{AGENCY}：某卫执〔2026〕3号 第二条］" in shown.stdout
    asked = ("policy", "deadline", "--policy", "wucheng", "--completed", "2026-03-09T10:00:00+08:00", "--json")
    deadline = json.loads(liuhen(folder, *asked).stdout)
    assert (deadline["store_by"], deadline["clauses"]) == (
        "2026-03-09T13:00:00.000+08:00",
        ["某卫执〔2026〕3号 第二条"],
    )
    assert AGENCY not in liuhen(folder, "policy", "show", "gansu").stdout
    plain = liuhen(folder, *asked, settings={"LIUHEN_POLICY_FILES": ""})
    assert json.loads(plain.stdout)["store_by"] == "2026-03-12T00:00:00.000+08:00"


def test_deadline_knows_the_years_of_the_calendar_file(folder: Path) -> None:
    asked = ("policy", "deadline", "--policy", "chongqing", "--completed", DONE, "--json")
    known = json.loads(liuhen(folder, *asked).stdout)
    assert (known["store_by"], known["note"]) == ("2029-01-05T00:00:00.000+08:00", None)
    unknown = json.loads(liuhen(folder, *asked, settings={"LIUHEN_CALENDAR_FILES": ""}).stdout)
    assert unknown["store_by"] == "2029-01-03T00:00:00.000+08:00"
    assert "2029年的放假安排未知" in unknown["note"]


def test_replay_finds_overdue_what_the_agency_calls_so(folder: Path) -> None:
    done = liuhen(folder, "replay", "-", given=overdue_log())
    found = [json.loads(line) for line in done.stdout.splitlines()]
    (overdue,) = [one for one in found if one["kind"] == "upload.overdue"]
    assert overdue["began_at"] == at(41 + 3 * 3600)
    assert overdue["evidence"]["store_by"] == at(41 + 3 * 3600)
    plain = liuhen(folder, "replay", "-", given=overdue_log(), settings={"LIUHEN_POLICY_FILES": ""})
    assert "upload.overdue" not in plain.stdout


def test_replay_refuses_an_unknown_policy_by_name_and_disturbs_nothing_else(folder: Path) -> None:
    strange = overdue_log().splitlines()
    bad = json.dumps(registered(recorder="rec-2", policy="atlantis"))
    done = liuhen(folder, "replay", "-", given="\n".join([strange[0], bad, *strange[1:]]))
    assert done.returncode == 1
    assert done.stderr.startswith("line 2: unknown_policy: policy: no policy 'atlantis'; there are ")
    assert done.stdout == liuhen(folder, "replay", "-", given="\n".join(strange)).stdout


@pytest.mark.parametrize(
    "command",
    [
        ("up",),
        ("detect",),
        ("store",),
        ("replay", "-"),
        ("policy", "show", "gansu"),
        ("policy", "deadline", "--policy", "gansu", "--completed", DONE),
        ("doctor",),
    ],
)
@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("ours.toml", OURS.replace("within", "withni"), "ours.toml: store_by.withni"),
        ("ours.toml", OURS.replace("3, unit", "3000, unit"), "ours.toml: store_by.within: looser than the document"),
        ("days.toml", "[[year]]\nyear = 2029\nsource = ''", "days.toml: year 2029: source: missing"),
    ],
)
def test_a_file_with_an_error_is_named_and_refused(
    folder: Path, command: tuple[str, ...], name: str, text: str, says: str
) -> None:
    (folder / name).write_text(text)
    done = liuhen(folder, *command, settings={"LIUHEN_HTTP": "127.0.0.1:0"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"liuhen: {says}"), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (folder / "data").exists()


def test_a_file_that_is_not_there_is_named(folder: Path) -> None:
    done = liuhen(folder, "policy", "show", "gansu", settings={"LIUHEN_POLICY_FILES": "ours.toml, gone.toml"})
    assert done.returncode == 2
    assert "policy_files: gone.toml cannot be read" in done.stderr


def test_doctor_warns_of_working_days_that_nobody_knows(tmp_path: Path) -> None:
    (tmp_path / "far.toml").write_text(
        "".join(f'[[year]]\nyear = {year}\nsource = "某通知"\n' for year in (NEXT_YEAR - 1, NEXT_YEAR))
    )
    known = liuhen(tmp_path, "doctor", settings={"LIUHEN_CALENDAR_FILES": "far.toml"})
    assert known.returncode == 0
    assert f"ok    calendar   working days of {NEXT_YEAR - 1} and {NEXT_YEAR} are known" in known.stdout


@pytest.mark.parametrize(
    ("known", "says"),
    [((2040, 2041), ""), ((2040,), "working days of 2041 are"), ((), "working days of 2040 and 2041 are")],
)
def test_the_years_that_are_warned_of(known: tuple[int, ...], says: str) -> None:
    text = "".join(f'[[year]]\nyear = {year}\nsource = "某通知"\n' for year in known)
    trouble = calendar_trouble(official().extended(text, "far.toml"), 2040)
    assert trouble.startswith(says)
    assert bool(trouble) == bool(says)
