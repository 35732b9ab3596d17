"""A real PostgreSQL server on a data directory of its own."""

import glob
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg import sql

from tests.services.cache import installed
from tests.services.process import Server, free_port


class PostgresServer(Server):
    """One server with a random password; each test makes a database of its own.

    PostgreSQL refuses to run as root, and the temporary folders of a root's test run are closed to everybody
    else, so the server then runs as `postgres` and its data lives in a folder that this class makes and removes.
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # the "fast" shutdown: does not wait for clients to leave

    def __init__(self) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="liuhen-postgres-")))
        self.port = free_port()
        self._password = secrets.token_urlsafe(16)
        self._data = self.directory / "data"
        if os.geteuid() == 0:
            self.user = "postgres"
            shutil.chown(self.directory, "postgres", "postgres")

    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy's address of a database, for psycopg 3."""
        return f"postgresql+psycopg://{self._authority}/{database}"

    def create_database(self, database: str) -> str:
        """Makes an empty database and returns its SQLAlchemy address."""
        with self._connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        return self.url(database)

    def command(self) -> Sequence[str]:
        if not self._data.exists():
            self._initialise()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",  # the tests kill the process, never the machine
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return [_binary("postgres"), "-D", str(self._data), *options]

    def is_ready(self) -> bool:
        try:
            with self._connect() as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.directory)

    @property
    def _authority(self) -> str:
        return f"liuhen:{self._password}@127.0.0.1:{self.port}"

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(f"postgresql://{self._authority}/postgres", autocommit=True, connect_timeout=5)

    def _initialise(self) -> None:
        password_file = self.directory / "password"
        password_file.write_text(self._password)
        encoding = ["--encoding=UTF8", "--locale=C"]
        access = ["--username=liuhen", "--auth=scram-sha-256", f"--pwfile={password_file}"]
        subprocess.run(
            [_binary("initdb"), "-D", str(self._data), "--no-sync", *encoding, *access],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.directory,
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
        )


def _binary(command: str) -> str:
    # Debian keeps the server's programs off the PATH, one folder per major version.
    return installed("PostgreSQL", *sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{command}"), reverse=True), command)
