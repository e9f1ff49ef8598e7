"""RabbitMQ and Redis from Debian's packages, in private folders, started and killed by tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.postgres import find_free_port


class Broker:
    """A broker process of its own. `host` is the address it listens on."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.host, self.port = folder, host, find_free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                env=self.environment(),
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        for _ in range(600):
            try:
                with socket.create_connection((self.host, self.port), 1):
                    return
            except OSError:
                assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
                time.sleep(0.1)
        raise TimeoutError("the broker does not start")

    def kill(self) -> None:
        """End it as `kill -9` does, with everything it started."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)


class Redis(Broker):
    url_scheme = "redis"

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    def command(self) -> list[str]:
        return [
            "redis-server",
            "--port",
            str(self.port),
            "--bind",
            self.host,
            "--protected-mode",
            "no",
            "--save",
            "",
        ]


class RabbitMQ(Broker):
    """One node. Its Erlang node name has the port, so that several can run."""

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{self.host}:{self.port}//"

    def command(self) -> list[str]:
        return [str(next(Path("/usr/lib/rabbitmq").glob("lib/*/sbin/rabbitmq-server")))]

    def environment(self) -> dict[str, str]:
        config = self.folder / "rabbitmq.conf"
        config.write_text(
            f"listeners.tcp.1 = {self.host}:{self.port}\nloopback_users = none\nlog.console = true\n"
            "vm_memory_high_watermark.relative = 0.6\ndisk_free_limit.absolute = 10MB\n"
        )
        (self.folder / "enabled_plugins").write_text("[].\n")
        return {
            **os.environ,
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": f"mailer{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_DIST_PORT": str(find_free_port()),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "ERL_EPMD_PORT": str(find_free_port()),
        }


def is_installed(kind: type[Broker]) -> bool:
    """Whether Debian's package of a broker is there."""
    if kind is Redis:
        return shutil.which("redis-server") is not None
    return any(Path("/usr/lib/rabbitmq").glob("lib/*/sbin/rabbitmq-server"))
