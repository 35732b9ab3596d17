"""Rules of the house that a machine can check."""

import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("domain", "policies", "detectors", "storage", "streams", "dashboards", "house", "commands")
_LOCKS = ("requirements.lock", "requirements-dev.lock")

# Written in two halves, so that this file does not hold what it looks for.
_FOREIGN = [
    "".join(halves)
    for halves in (
        ("pypi.", "org"),
        ("python", "hosted.org"),
        ("npmjs.", "org"),
        ("npmjs.", "com"),
        ("crates.", "io"),
        ("proxy.", "golang"),
        ("repo.maven.", "apache"),
        ("repo1.", "maven"),
        ("deb.", "debian.org"),
        ("/work", "/main"),
        ("/work", "/shared"),
        ("../sha", "red"),
        ("/root", "/"),
    )
]


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=_ROOT, capture_output=True, text=True, check=True)
    return [_ROOT / name for name in listed.stdout.split("\0") if name and (_ROOT / name).is_file()]


def _names(requirements: list[str]) -> set[str]:
    return {requirement.split("[")[0].split(">")[0].split("=")[0].strip().lower() for requirement in requirements}


@pytest.mark.parametrize("package", [*_PACKAGES, "liuhen"])
def test_what_is_installed_is_this_tree(package: str) -> None:
    # -I: without the working directory on the path, as the installed command runs. pip lets another wheel's
    # package of the same name overwrite ours without a word.
    script = f"import {package}; print({package}.__file__)"
    shown = subprocess.run([sys.executable, "-I", "-c", script], cwd="/", capture_output=True, text=True, check=True)
    expected = _ROOT / "liuhen.py" if package == "liuhen" else _ROOT / package / "__init__.py"
    assert Path(shown.stdout.strip()) == expected


def test_no_registry_and_no_machine_is_named() -> None:
    found = [
        f"{path.relative_to(_ROOT)}: {foreign}"
        for path in _tracked()
        for foreign in _FOREIGN
        if foreign.encode() in path.read_bytes()
    ]
    assert found == []


def test_folders_that_are_no_packages() -> None:
    # With an __init__.py, docker/ shadows the SDK of that name and two tests of one name collide.
    assert [
        path
        for path in _tracked()
        if path.name == "__init__.py" and path.parts[len(_ROOT.parts)] in ("docker", "tests")
    ] == []


def test_test_files_have_names_of_their_own() -> None:
    names = Counter(path.name for path in _tracked() if path.name.startswith("test_") and path.suffix == ".py")
    assert [name for name, times in names.items() if times > 1] == []


@pytest.mark.parametrize("lock", _LOCKS)
def test_lock_has_hashes_and_no_addresses(lock: str) -> None:
    text = (_ROOT / lock).read_text()
    assert "://" not in text
    assert "--index-url" not in text
    entries = [entry for entry in text.replace("\\\n", " ").splitlines() if not entry.lstrip().startswith("#")]
    assert entries
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_lock_holds_what_the_project_asks_for() -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    runtime, dev = (
        {line.split("==")[0] for line in (_ROOT / lock).read_text().splitlines() if "==" in line} for lock in _LOCKS
    )
    assert _names(project["dependencies"]) <= runtime
    assert _names(project["optional-dependencies"]["dev"]) <= dev


def test_locks_agree() -> None:
    runtime, dev = (
        {line.strip() for line in (_ROOT / lock).read_text().splitlines() if "==" in line} for lock in _LOCKS
    )
    assert runtime <= dev
