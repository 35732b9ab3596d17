"""The command line as a person or a script uses it: exit codes, what is said where, and nothing left behind."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from domain.clock import CHINA, Instant
from storage.ledger.checkpoint import open_checkpoint
from storage.ledger.entry import Entry
from storage.ledger.ledger import Ledger
from storage.ledger.note import VerifierKey
from storage.ledger.proof import parse_proof
from tests.services.liuhen import Liuhen
from tests.services.process import accepts, free_port, poll_until

_LIUHEN = str(Path(sys.executable).with_name("liuhen"))
_START = "2026-03-02T09:00:"


def liuhen(
    folder: Path,
    *arguments: str,
    settings: Mapping[str, str] | None = None,
    given: str | bytes = b"",
    within_s: int = 90,
) -> subprocess.CompletedProcess[str]:
    """Run one command in a folder of its own and wait for its end."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIUHEN_")}
    data = given.encode() if isinstance(given, str) else given
    done = subprocess.run(
        [_LIUHEN, *arguments],
        cwd=folder,
        env={**clean, **(settings or {})},
        input=data,
        capture_output=True,
        timeout=within_s,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def event(second: float, kind: str, **fields: object) -> str:
    at = f"{_START}{second:06.3f}+08:00"
    return json.dumps({"v": 1, "type": kind, "at": at, "recorder_id": "rec-1", **fields})


def stalled() -> list[str]:
    """A session whose media stops after two seconds, and the ticks that show it."""
    fragment = {
        "session_id": "s1",
        "feed_id": "f1",
        "seq": 0,
        "captured_at": f"{_START}01.000+08:00",
        "duration_s": 2.0,
        "bytes": 1000,
        "sha256": "ab" * 32,
        "codec": "h264",
    }
    ticks = [event(second, "tick") for second in range(4, 30)]
    return [event(0, "session_opened", session_id="s1"), event(3, "fragment", **fragment), *ticks]


def test_replay_gives_one_finding_a_line_and_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "events.ndjson").write_text("\n".join(stalled()) + "\n")
    first = liuhen(tmp_path, "replay", "events.ndjson")
    assert (first.returncode, first.stderr) == (0, "")
    findings = [json.loads(line) for line in first.stdout.splitlines()]
    assert [(one["kind"], one["status"]) for one in findings if one["kind"] == "recording.stalled"] == [
        ("recording.stalled", "opened")
    ]
    assert liuhen(tmp_path, "replay", "events.ndjson").stdout == first.stdout
    assert liuhen(tmp_path, "replay", "-", given="\n".join(stalled())).stdout == first.stdout


def test_replay_names_bad_lines_and_does_the_rest(tmp_path: Path) -> None:
    good = stalled()
    bad = [good[0], "{not json", *good[1:3], '{"v": 1, "type": "nonsense"}', *good[3:]]
    lines = "\n".join(bad).encode() + b"\n\xff\xfe\n"
    done = liuhen(tmp_path, "replay", "-", given=lines)
    assert done.returncode == 1
    said = done.stderr.splitlines()
    assert len(said) == 3
    assert [any(str(number) in line for line in said) for number in (2, 5, len(bad) + 1)] == [True, True, True]
    assert done.stdout == liuhen(tmp_path, "replay", "-", given="\n".join(good)).stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("replay", "nothing.ndjson"), "nothing.ndjson: No such file"),
        (("--config", "nothing.toml", "up"), "nothing.toml cannot be read"),
        (("simulate", "--script", "nothing.toml"), "nothing.toml cannot be read"),
        (("demo", "--script", "nothing.toml"), "nothing.toml cannot be read"),
        (("replay", "-", "--policy", "atlantis"), "atlantis"),
        (("nonsense",), "invalid choice"),
        ((), "COMMAND"),
    ],
)
def test_wrong_use_is_2_and_names_what_is_wrong(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    done = liuhen(tmp_path, *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("toml", "settings", "says"),
    [
        ("bus = [", {}, "liuhen.toml"),
        ('bsu = "embedded:log"', {}, "bsu"),
        ("segment_s = 7", {}, "segment_s: 7 does not divide an hour"),
        ('segment_s = "long"', {}, "segment_s"),
        ('store_secret = "x"', {}, "store_secret"),
        ('bus = "carrier-pigeon:coop"', {}, "bus"),
        ('store = "ftp://x"', {}, "store"),
        ('catalog = "nothing"', {}, "catalog"),
        ('http = "8600"', {}, "http"),
        ('policy = "atlantis"', {}, "atlantis"),
        ('recorders = "gone.toml"', {}, "gone.toml"),
        ("", {"LIUHEN_SEGMNT_S": "60"}, "LIUHEN_SEGMNT_S: no such setting"),
        ("", {"LIUHEN_PARTITIONS": "none"}, "partitions"),
    ],
)
def test_a_wrong_configuration_is_2_and_names_the_key(
    tmp_path: Path, toml: str, settings: dict[str, str], says: str
) -> None:
    (tmp_path / "liuhen.toml").write_text(toml)
    anywhere = {} if toml.startswith("http") else {"LIUHEN_HTTP": "127.0.0.1:0"}
    done = liuhen(tmp_path, "up", settings={**anywhere, **settings})
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('token = "short"', "token: must be text of at least 16 characters"),
        ('policy = "atlantis"', "policy: no policy 'atlantis'"),
        ('colour = "red"', "colour"),
    ],
)
def test_a_recorder_that_is_registered_wrongly_is_named(tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "recorders.toml").write_text(f'[[recorder]]\nrecorder_id = "rec-1"\nkind = "body_worn"\n{line}\n')
    done = liuhen(tmp_path, "up", settings={"LIUHEN_RECORDERS": "recorders.toml", "LIUHEN_HTTP": "127.0.0.1:0"})
    assert done.returncode == 2
    assert f"recorders.toml: {says}" in done.stderr


def test_doctor_says_what_is_there_and_what_is_missing(tmp_path: Path) -> None:
    done = liuhen(tmp_path, "doctor")
    assert done.returncode == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()][:7] == [
        ["ok", "log"],
        ["ok", "store"],
        ["ok", "catalogue"],
        ["ok", "ledger"],
        ["ok", "office"],
        ["ok", "key"],
        ["ok", "copies"],
    ]
    assert (tmp_path / "data/ledger.key.pub").read_text().strip() in done.stdout
    nobody = free_port()
    away = {
        "LIUHEN_BUS": f"kafka://127.0.0.1:{nobody}",
        "LIUHEN_STORE": f"s3://key@127.0.0.1:{nobody}/evidence?tls=0",
        "LIUHEN_STORE_SECRET": "secret-of-nobody",
        "LIUHEN_CATALOG": f"postgresql+psycopg://nobody@127.0.0.1:{nobody}/none",
    }
    done = liuhen(tmp_path, "doctor", settings=away)
    assert done.returncode == 3
    said = done.stdout.splitlines()
    assert [line.split()[:2] for line in said[:3]] == [["FAULT", "log"], ["FAULT", "store"], ["FAULT", "catalogue"]]
    assert all(str(nobody) in line for line in said[:3])
    assert "secret-of-nobody" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("settings", "part", "says"),
    [
        ({"LIUHEN_CHECKPOINT_COPIES": "log"}, "copies", "names 1 of at least 2 places"),
        ({"LIUHEN_LEDGER_KEY_FILE": "taken"}, "key", "taken may be read by everybody"),
    ],
)
def test_doctor_says_what_is_wrong_with_the_ledger(
    tmp_path: Path, settings: dict[str, str], part: str, says: str
) -> None:
    (tmp_path / "taken").write_text("something else, long enough to be looked at " * 30)
    (tmp_path / "taken").chmod(0o644)
    done = liuhen(tmp_path, "doctor", settings=settings)
    assert done.returncode == 3
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("FAULT") and line.split()[1] == part)
    assert says in line


def test_the_ledger_shows_its_key_its_checkpoint_and_a_proof(tmp_path: Path) -> None:
    key = liuhen(tmp_path, "ledger", "key")
    assert (key.returncode, key.stdout) == (0, (tmp_path / "data/ledger.key.pub").read_text())
    asyncio.run(_append(f"sqlite:///{tmp_path}/data/ledger.db"))
    made = liuhen(tmp_path, "ledger", "checkpoint")
    assert made.returncode == 0, made.stderr
    keys = [VerifierKey.parse(key.stdout)]
    assert open_checkpoint(made.stdout, keys).size == 3
    proved = liuhen(tmp_path, "ledger", "prove", "1")
    line, _, proof = proved.stdout.partition("\n\n")
    assert parse_proof(proof).check(line.encode(), keys).size == 3
    assert liuhen(tmp_path, "ledger", "prove", "3").returncode == 2


async def _append(address: str) -> None:
    ledger = await Ledger.connect(address)
    await ledger.append([Entry(kind="access", at=Instant(number), body={}) for number in range(3)])
    await ledger.close()


def test_a_port_that_is_taken_is_3(tmp_path: Path) -> None:
    with Liuhen(tmp_path / "one", ["up"], {}) as running:
        done = liuhen(tmp_path, "up", settings={"LIUHEN_HTTP": f"127.0.0.1:{running.port}"})
        assert done.returncode == 3
        assert f"http: cannot listen on 127.0.0.1:{running.port}" in done.stderr
        assert running.alive


def test_a_folder_that_another_uses_is_3(tmp_path: Path) -> None:
    with Liuhen(tmp_path, ["up"], {}) as running:
        done = liuhen(tmp_path, "up", settings={"LIUHEN_HTTP": "127.0.0.1:0"})
        assert done.returncode == 3
        assert "data" in done.stderr
        assert running.alive


def test_up_ends_with_0_when_asked_to(tmp_path: Path) -> None:
    (tmp_path / "up").mkdir()
    child = subprocess.Popen(
        [_LIUHEN, "up"],
        cwd=tmp_path / "up",
        env={**os.environ, "LIUHEN_HTTP": f"127.0.0.1:{(port := free_port())}"},
        stderr=subprocess.DEVNULL,
    )
    poll_until(lambda: accepts(port), "it answers")
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 0


def test_demo_ends_by_itself_with_a_summary(tmp_path: Path) -> None:
    done = liuhen(tmp_path, "demo", "--seconds", "8", "--days", "0", "--data", "kept", within_s=90)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "console: http://127.0.0.1:" in done.stdout
    assert "stored: " in done.stdout
    assert list((tmp_path / "kept/store/objects").rglob("*.mp4"))


def test_demo_begins_with_what_happened_before_and_it_is_whole(tmp_path: Path) -> None:
    done = liuhen(tmp_path, "demo", "--seconds", "6", "--days", "1", "--data", "kept")
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "liuhen.toml").write_text(
        'store = "file:kept/store"\ncatalog = "sqlite:///kept/catalog.db"\nledger = "sqlite:///kept/ledger.db"\n'
        'ledger_key_file = "kept/ledger.key"\noffice = "sqlite:///kept/office.db"\n'
        'bus = "embedded:kept/log"\nwork = "kept/work"\n',
        encoding="utf-8",
    )
    with sqlite3.connect(tmp_path / "kept/catalog.db") as catalog:
        rows = catalog.execute("SELECT recorder_id, session_id, count(*), sum(bytes) FROM segments GROUP BY 1, 2")
        sessions = {session.rpartition("-")[2]: count for _, session, count, _ in rows}
    yesterday = (datetime.now(CHINA) - timedelta(days=1)).strftime("%Y%m%d")
    assert sessions[f"{yesterday}T101000"] == 4  # two runs of 40 s and 38 s, cut at 30 s
    assert sessions[f"{yesterday}T152000"] == 2
    checked = liuhen(tmp_path, "verify", "--all")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_policy_is_shown_and_a_deadline_counted(tmp_path: Path) -> None:
    shown = liuhen(tmp_path, "policy", "show", "wucheng", "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert json.loads(shown.stdout)
    asked = ("policy", "deadline", "--policy", "wucheng", "--completed", f"{_START}00+08:00", "--json")
    deadline = liuhen(tmp_path, *asked, "--now", f"{_START}00+08:00")
    assert json.loads(deadline.stdout)["policy"] == "wucheng"
    assert liuhen(tmp_path, "policy", "show", "atlantis").returncode == 2
    assert liuhen(tmp_path, "policy", "deadline", "--policy", "wucheng", "--completed", "noon").returncode == 2
