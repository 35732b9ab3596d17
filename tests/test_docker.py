"""The images and the stack: what linters see, and rules of ours.

Nobody is root, nothing is writable, no secret stands in the open; every process is there, asked for its health, scraped
and watched.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from dashboards.watch.targets import targets_of
from domain.settings import Settings
from house.running import ROLES
from tests.services.cache import cached, pinned

_ROOT = Path(__file__).resolve().parents[1]
_DOCKER = _ROOT / "docker"
_DOCKERFILES = sorted(_DOCKER.rglob("Dockerfile*"))
_ONCE = {"bucket"}
"""Services that do something and end."""
_SECRET = re.compile(r"(password|passwd|secret|token|key)", re.IGNORECASE)


@cache
def stack() -> dict[str, Any]:
    """compose.yaml as YAML says; merge keys resolved."""
    parsed: dict[str, Any] = yaml.safe_load((_DOCKER / "compose.yaml").read_text(encoding="utf-8"))
    return parsed


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = stack()["services"]
    return found


def ours() -> dict[str, dict[str, Any]]:
    return {name: one for name, one in services().items() if one["image"].startswith("liuhen:") and name not in _ONCE}


@cache
def configuration(name: str) -> Any:
    return yaml.safe_load((_DOCKER / name).read_text(encoding="utf-8"))


_each = pytest.mark.parametrize("name", sorted(services()))


@pytest.mark.docker
def test_compose_is_what_its_specification_says() -> None:
    linter = cached("compose-go", f"bin/compose-{pinned('COMPOSE_VERSION')}")
    done = subprocess.run([str(linter), "compose.yaml"], cwd=_DOCKER, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["services"].keys() == services().keys()


@pytest.mark.docker
@pytest.mark.parametrize("file", _DOCKERFILES, ids=lambda path: str(path.relative_to(_DOCKER)))
def test_hadolint_has_nothing_to_say(file: Path) -> None:
    linter = cached("hadolint", f"bin/hadolint-{pinned('HADOLINT_VERSION')}")
    done = subprocess.run([str(linter), str(file)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("file", _DOCKERFILES, ids=lambda path: str(path.relative_to(_DOCKER)))
def test_an_image_is_slim_pinned_and_not_root(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    bases = re.findall(r"^ARG \w+=(\S+)$", text, re.MULTILINE)
    assert bases
    assert all(":" in base and "latest" not in base and "slim" in base for base in bases)
    assert re.findall(r"^FROM \$\{(\w+)\}", text, re.MULTILINE) == ["PYTHON", "PYTHON"]
    last = text.rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]\d+:[1-9]\d+$", last, re.MULTILINE)
    assert "HEALTHCHECK" in last
    assert "--require-hashes" in text
    assert "pip install" not in last  # nothing is fetched into what runs


@_each
def test_a_container_has_no_more_than_it_needs(name: str) -> None:
    one = services()[name]
    assert re.fullmatch(r"[1-9]\d*:\d+", one["user"]), "root"
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert not one.keys() & {"privileged", "cap_add", "pid", "ipc", "network_mode", "devices", "env_file"}
    limits = one["deploy"]["resources"]["limits"]
    assert {"cpus", "memory", "pids"} <= limits.keys()
    assert one["restart"] == ("on-failure" if name in _ONCE else "unless-stopped")
    assert one["logging"]["options"]["max-size"]


@_each
def test_an_image_is_named_by_a_version_and_no_host(name: str) -> None:
    image, _, tag = services()[name]["image"].rpartition(":")
    assert image
    assert re.search(r"\d", tag)
    assert tag != "latest"
    assert "." not in image.split("/", maxsplit=1)[0]


@_each
def test_whoever_runs_on_is_asked_whether_it_is_well(name: str) -> None:
    check = services()[name]["healthcheck"]
    if name in _ONCE:
        assert check == {"disable": True}
        return
    assert check["test"][0] in {"CMD", "CMD-SHELL"}
    assert {"interval", "timeout", "start_period", "retries"} <= check.keys()


@_each
def test_secrets_stand_in_files(name: str) -> None:
    one = services()[name]
    given = set(one.get("secrets", []))
    assert given <= stack()["secrets"].keys()
    environment: dict[str, str] = one.get("environment", {})
    for key, value in environment.items():
        if _SECRET.search(key) and not key.endswith(("KEY_ID", "LEDGER_KEY_FILE")):
            assert key.endswith("_FILE"), f"{key} holds a secret"
            assert value.startswith("/run/secrets/")
        assert not re.search(r"://[^/@\s]+:[^/@\s]+@", str(value)), f"{key}: a password in an address"
    named = set(re.findall(r"/run/secrets/([\w.]+)", f"{environment} {one.get('command')}{_mounted(one)}"))
    assert named - given == set(), "named and not handed over"
    assert given - named == set(), "handed over and not used"


def _mounted(one: dict[str, Any]) -> str:
    """The files of ours that a container reads."""
    sources = [volume.split(":")[0] for volume in one.get("volumes", []) if isinstance(volume, str)]
    files = [_DOCKER / source for source in sources if source.startswith(".") and (_DOCKER / source).is_file()]
    return "".join(file.read_text(encoding="utf-8") for file in files)


def test_every_secret_is_made_and_none_is_in_the_tree(tmp_path: Path) -> None:
    make = ["python3", str(_DOCKER / "make_secrets.py"), str(tmp_path / "secrets")]
    subprocess.run(make, check=True, capture_output=True, timeout=30)
    files = {name: Path(one["file"]).name for name, one in stack()["secrets"].items()}
    assert files == {name: name for name in files}
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert files.keys() <= made.keys()
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert "@" not in "".join(line for line in made["gateway.yml"].splitlines() if "pass:" in line)
    subprocess.run(make, check=True, capture_output=True, timeout=30)
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == made  # again changes nothing
    assert "docker/secrets/" in (_ROOT / ".gitignore").read_text().replace("/docker", "docker")
    assert "docker/secrets" not in (_ROOT / ".dockerignore").read_text()


def test_every_volume_and_network_is_declared_and_used() -> None:
    mounts = [
        volume.split(":")[0]
        for one in services().values()
        for volume in one.get("volumes", [])
        if isinstance(volume, str) and not volume.startswith(".")
    ]
    assert set(mounts) == stack()["volumes"].keys()
    assert {net for one in services().values() for net in one["networks"]} == stack()["networks"].keys()
    for one in services().values():
        for volume in one.get("volumes", []):
            source = volume.split(":")[0] if isinstance(volume, str) else ""
            assert not source.startswith(".") or (_DOCKER / source).exists()


def test_only_the_keeper_of_the_ledger_has_its_key() -> None:
    holders = {name for name, one in services().items() if "ledger-key:" in str(one.get("volumes"))}
    assert holders == {"custody"}


def test_the_watch_waits_for_nobody() -> None:
    assert "depends_on" not in services()["watch"]
    known = services()["watch"]["environment"].keys()
    assert not known & {f"LIUHEN_{name}" for name in ("BUS", "STORE", "CATALOG", "LEDGER", "OFFICE")}


def test_every_role_is_there_once() -> None:
    commands = {name: one["command"] for name, one in ours().items()}
    assert commands == {role: [role] for role in ROLES}


def test_the_image_holds_every_file_that_is_read(tmp_path: Path) -> None:
    """Installed as the image does it, from no more than .dockerignore lets through: templates, texts, rules and all."""
    let_through = [line[1:] for line in (_ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    listed = subprocess.run(
        ["git", "ls-files", "-z", *let_through], cwd=_ROOT, capture_output=True, text=True, check=True
    )
    files = [name for name in listed.stdout.split("\0") if name and (_ROOT / name).is_file()]
    for name in files:
        target = tmp_path / "src" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_ROOT / name, target)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-compile"]
    where = ["--disable-pip-version-check", "--target", str(tmp_path / "installed"), str(tmp_path / "src")]
    done = subprocess.run([*install, *where], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    top = {"docker", "requirements.lock", "pyproject.toml", "README.md", "LICENSE"}
    needed = {name for name in files if Path(name).parts[0] not in top}
    assert {name for name in needed if not (tmp_path / "installed" / name).exists()} == set()


def test_variables_are_settings_and_readable() -> None:
    known = {f"LIUHEN_{field.name.upper()}" for field in msgspec.structs.fields(Settings)}
    for file in _DOCKERFILES:
        assert set(re.findall(r"\b(LIUHEN_[A-Z_]+)=", file.read_text())) <= known
    for name, one in services().items():
        variables = {key for key in one.get("environment", {}) if key.startswith("LIUHEN_")}
        assert variables <= known, name
        assert all(isinstance(value, str) for value in one.get("environment", {}).values()), (
            f"{name}: YAML reads a type"
        )
    ids = [one["environment"]["LIUHEN_WORKER_ID"] for one in ours().values()]
    assert len(set(ids)) == len(ids)


def test_processes_answer_where_others_ask_them() -> None:
    jobs = configuration("prometheus/prometheus.yml")["scrape_configs"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in jobs}
    assert sorted(targets["liuhen"]) == sorted(f"{name}:8600" for name in ours())
    assert all(one["environment"]["LIUHEN_HTTP"] == "0.0.0.0:8600" for one in ours().values())
    watched = {one.name: one.url for one in targets_of(Settings(watch=ours()["watch"]["environment"]["LIUHEN_WATCH"]))}
    assert {name: url for name, url in watched.items() if name not in {"alerts", "prometheus", "alertmanager"}} == {
        name: f"http://{name}:8600" for name in ours() if name != "watch"
    }
    assert watched["prometheus"] == "http://prometheus:9090"
    assert watched["alertmanager"] == "http://alertmanager:9093"
    hosts = set(services())
    for file in ("prometheus/prometheus.yml", "alertmanager/alertmanager.yml", "grafana/datasources.yml"):
        text = (_DOCKER / file).read_text()
        assert set(re.findall(r"\b([a-z]+):(?:8600|90\d\d|9998)\b", text)) - {"localhost"} <= hosts, file


def test_the_broker_takes_our_largest_record() -> None:
    lines = (_DOCKER / "kafka/server.properties").read_text().splitlines()
    said = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert said["auto.create.topics.enable"] == "false"
    assert said["message.max.bytes"] == said["replica.fetch.max.bytes"] == "9437184"


def test_the_alert_that_always_fires_goes_to_the_watch_often() -> None:
    said = configuration("alertmanager/alertmanager.yml")
    (route,) = said["route"]["routes"]
    assert (route["matchers"], route["repeat_interval"]) == (["alertname = LiuhenWatchdog"], "15s")
    urls = {one["name"]: one["webhook_configs"][0]["url"] for one in said["receivers"]}
    assert urls[route["receiver"]] == "http://watch:8600/watchdog"
    assert urls[said["route"]["receiver"]] == "http://console:8600/api/v1/alertmanager"
    assert "--rules.alert.resend-delay=15s" in services()["prometheus"]["command"]
