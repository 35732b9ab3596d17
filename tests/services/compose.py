"""The services of docker/compose.yaml as plain processes: their very commands, environments and configuration files.

What a container engine would do is done here: host names become loopback ports, container paths become folders, secrets
are files, what ends is started again. Programs whose images are not here are the same programs from elsewhere.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import psycopg
import yaml

from tests.services.cache import cached, installed, pinned
from tests.services.postgres import PostgresServer
from tests.services.process import Server, accepts, free_port

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")
_IMAGE = {
    "/opt/liuhen/share/healthcheck.py": DOCKER / "healthcheck.py",
    "/opt/liuhen/share/make_bucket.py": DOCKER / "minio/make_bucket.py",
}
_KAFKA = {"kafka-storage.sh": "kafka.tools.StorageTool", "kafka-server-start.sh": "kafka.Kafka"}


class Stack:
    """The compose file, mapped onto this machine.

    Args:
        folder: Where everything goes.
        quick: Texts of configuration files and what they become, so that a test need not wait.
        more: Further environment of Liuhen's own services.
    """

    def __init__(self, folder: Path, quick: Mapping[str, str], more: Mapping[str, str]) -> None:
        self.folder = folder
        self._quick, self._more = quick, more
        text = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
        self.services: dict[str, dict[str, Any]] = yaml.safe_load(_VARIABLE.sub(r"\2", text))["services"]
        self._ports: dict[tuple[str, str], int] = {}
        self.secrets = folder / "secrets"
        make = [sys.executable, str(DOCKER / "make_secrets.py"), str(self.secrets)]
        subprocess.run(make, check=True, capture_output=True, timeout=30)
        self._shims = folder / "shims"
        self._make_shims()

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text().strip()

    def port(self, service: str, port: int | str) -> int:
        """Where a port of a container is here."""
        return self._ports.setdefault((service, str(port)), free_port())

    def url(self, service: str, port: int = 8600) -> str:
        return f"http://127.0.0.1:{self.port(service, port)}"

    def home(self, service: str) -> Path:
        """Stands for a container's root file system."""
        path = self.folder / service
        path.mkdir(exist_ok=True)
        return path

    def mapped(self, service: str, text: str) -> str:
        """Put this machine's ports and paths into a text that a container's program reads."""
        hosts = "|".join(sorted(self.services, key=len, reverse=True))
        there = rf"(?<![\w.-])({hosts}):(\d{{4,5}})\b"
        text = re.sub(there, lambda found: f"127.0.0.1:{self.port(found[1], found[2])}", text)
        own = r"(?:0\.0\.0\.0|localhost|(?<![\w.\]])):(\d{4,5})\b"
        text = re.sub(own, lambda found: f"127.0.0.1:{self.port(service, found[1])}", text)
        text = text.replace("172.30.86.10", "127.0.0.1")
        for inside, here in sorted(self._paths(service).items(), key=lambda pair: -len(pair[0])):
            text = re.sub(rf"(?<![\w./-]){re.escape(inside)}(?=[/\s\"',&]|$)", str(here), text)
        return text

    def command(self, service: str) -> list[str]:
        """The argument vector."""
        one = self.services[service]
        program = {"minio": ["minio"], "postgres": []}.get(service, [one["image"].split("/")[-1].split(":")[0]])
        words = [*one.get("entrypoint", program), *one["command"]]
        return [self._program(words[0]), *(self.mapped(service, word) for word in words[1:])]

    def environment(self, service: str) -> dict[str, str]:
        """What a container's program finds, on top of ours."""
        one = self.services[service]
        given = dict(one.get("environment", {}))
        if one["image"].startswith("liuhen:") and one["command"]:
            image = dict(re.findall(r"\b(LIUHEN_[A-Z_]+)=(\S+)", (DOCKER / "Dockerfile").read_text()))
            given = {**image, **given, **self._more}
        return {key: self.mapped(service, value) for key, value in given.items()} | {"PATH": self._path}

    def process(self, service: str) -> Server:
        """The service, not started."""
        return StackPostgres(self) if service == "postgres" else StackProcess(self, service)

    def run_once(self, service: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a service that ends, or another command in a service's place."""
        command = ["liuhen", *arguments] if arguments else self.command(service)
        environment = {**os.environ, **self.environment(service)}
        home = self.home(service)
        return subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, timeout=90)

    @property
    def _path(self) -> str:
        return f"{self._shims}:{Path(sys.executable).parent}:{os.environ['PATH']}"

    def _program(self, name: str) -> str:
        if name == "minio":
            return str(cached("MinIO", f"bin/minio-{pinned('MINIO_VERSION')}"))
        if name == "alertmanager":
            return installed("Alertmanager", "prometheus-alertmanager", "alertmanager")
        return {"python": sys.executable, "liuhen": str(Path(sys.executable).with_name("liuhen"))}.get(name, name)

    def _paths(self, service: str) -> dict[str, Path]:
        home = self.home(service)
        paths = {"/run/secrets": self.secrets, "/var/lib/liuhen": home, "/opt/kafka/bin": self._shims, **_IMAGE}
        for volume in self.services[service].get("volumes", []):
            source, target = (volume["source"], volume["target"]) if isinstance(volume, dict) else volume.split(":")[:2]
            paths[target] = self._mounted(service, source)
        return paths

    def _mounted(self, service: str, source: str) -> Path:
        if not source.startswith("."):
            path = self.folder / "volumes" / Path(source).name
            path.mkdir(parents=True, exist_ok=True)
            return path
        file = (DOCKER / source).resolve()
        if file.is_dir():
            return file
        here = self.home(service) / file.name
        if not here.exists():
            here.touch()  # its own text may name it
            text = self.mapped(service, file.read_text(encoding="utf-8"))
            for said, becomes in self._quick.items():
                text = text.replace(said, becomes)
            here.write_text(text, encoding="utf-8")
        return here

    def _make_shims(self) -> None:
        self._shims.mkdir(parents=True)
        jars = cached("Kafka", f"kafka-{pinned('KAFKA_VERSION')}/jars")
        for name, kind in _KAFKA.items():
            java = f"exec {installed('Java', 'java')} $KAFKA_HEAP_OPTS -XX:+UseSerialGC -Xshare:auto"
            quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
            (self._shims / name).write_text(f'#!/bin/sh\n{java} {quiet} -cp "{jars}/*" {kind} "$@"\n')
            (self._shims / name).chmod(0o755)


class StackProcess(Server):
    """One service of the stack, ready when its health check is content."""

    ready_s = 90.0
    restarts = 3

    def __init__(self, stack: Stack, service: str) -> None:
        self.name = service
        super().__init__(stack.home(service))
        self._stack = stack

    def command(self) -> Sequence[str]:
        return self._stack.command(self.name)

    def environment(self) -> Mapping[str, str]:
        return {"MINIO_CI_CD": "1", **self._stack.environment(self.name)}  # MinIO's data may be on the root disk

    def start(self) -> StackProcess:
        """Start; one that ends while it starts is started again, as `restart: unless-stopped` has it."""
        for left in reversed(range(self.restarts)):
            try:
                super().start()
            except RuntimeError:
                if not left:
                    raise
            else:
                break
        return self

    def is_ready(self) -> bool:
        check: list[str] = self._stack.services[self.name]["healthcheck"]["test"]
        words = [self._stack.mapped(self.name, word) for word in check]
        if words[1] == "python":
            command = [sys.executable, *words[2:]]
            environment = {**os.environ, **self.environment()}
            return subprocess.run(command, env=environment, capture_output=True, timeout=10).returncode == 0
        if words[1] == "nc":
            return accepts(self._stack.port(self.name, words[-1]))
        address = words[-1] if words[1] == "wget" else f"{self._stack.url('minio', 9000)}/minio/health/ready"
        try:
            return httpx.get(address, timeout=2).is_success
        except httpx.TransportError:
            return False


class StackPostgres(PostgresServer):
    """PostgreSQL as its image starts it: initdb, the database of the environment, then the scripts."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.port = stack.port("postgres", 5432)
        self._password = stack.secret("database")
        self._stack = stack

    def command(self) -> Sequence[str]:
        options = self._stack.services["postgres"]["command"]
        assert options[0] == "postgres"
        return [*super().command(), *options[1:]]

    def start(self) -> StackPostgres:
        """Start, and at the first time make the databases."""
        is_new = not self._data.exists()
        super().start()
        if is_new:
            self._make_databases()
        return self

    def _make_databases(self) -> None:
        one = self._stack.services["postgres"]
        self.create_database(one["environment"]["POSTGRES_DB"])
        script = (DOCKER / "postgres/databases.sql").read_text()
        with psycopg.connect(f"postgresql://{self._authority}/postgres", autocommit=True) as connection:
            for statement in re.sub(r"--.*", "", script).split(";"):
                if statement.strip():
                    connection.execute(statement.encode())


def token() -> str:
    """A bearer token of a device."""
    return secrets.token_urlsafe(16)
