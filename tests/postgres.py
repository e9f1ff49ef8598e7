"""A throw-away PostgreSQL from Debian's package, in a private folder and as an unprivileged user."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

USER = "mailer"


def find_programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`, or None if PostgreSQL is not installed."""
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((place for place in reversed(places) if (place / "initdb").exists()), None)


class Postgres:
    """A server that can be stopped, killed and started again. `host` is the address it listens on."""

    def __init__(self, folder: Path, programs: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        self.folder, self._programs, self.host = folder, programs, host
        self.port = port or find_free_port()
        self._user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        if self._user:
            shutil.chown(folder, self._user)
        self._run(
            "initdb", "-D", self._data, "-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"
        )
        hba = Path(self._data) / "pg_hba.conf"
        hba.write_text("local all all trust\nhost all all all trust\n")

    @property
    def _data(self) -> str:
        return f"{self.folder}/data"

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@{self.host}:{self.port}/postgres"

    def start(self, *, durable: bool = False) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses={self.host} -c max_connections=50"
        if not durable:
            options += " -c fsync=off"
        arguments = ("-D", self._data, "-o", options, "-l", f"{self.folder}/log", "-w", "start")
        for patience in reversed(range(20)):
            try:
                self._run("pg_ctl", *arguments)
                break
            except subprocess.CalledProcessError:  # one that was killed is not quite gone
                if not patience:
                    raise
                time.sleep(0.25)

    def stop(self, mode: str = "immediate") -> None:
        """`mode` is "immediate" (as a crash), "fast" or "smart"."""
        self._run("pg_ctl", "-D", self._data, "-m", mode, "-w", "stop")

    def kill(self) -> None:
        """End every process of the server as `kill -9` does."""
        first = int((Path(self._data) / "postmaster.pid").read_text().split()[0])
        children = subprocess.run(["pgrep", "-P", str(first)], capture_output=True, text=True, check=False)
        for process in (first, *map(int, children.stdout.split())):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        subprocess.run(
            command,
            user=self._user,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )


def find_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@contextmanager
def run_postgres(host: str = "127.0.0.1", *, durable: bool = False) -> Iterator[Postgres]:
    """A running server; its folder is gone afterwards. Raises FileNotFoundError if PostgreSQL is not installed."""
    programs = find_programs()
    if programs is None:
        raise FileNotFoundError("PostgreSQL is not installed (tests/servers/install.sh does it)")
    with tempfile.TemporaryDirectory(prefix="mailer-pg-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder), programs, host)
        server.start(durable=durable)
        try:
            yield server
        finally:
            try:
                server.stop()
            except subprocess.CalledProcessError:  # it is stopped already
                time.sleep(0)
