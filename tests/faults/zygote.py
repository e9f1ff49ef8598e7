"""Runs the `mailer` command in forks of a process that has imported it all: a start costs milliseconds.

Reads a JSON list of arguments a line; writes the child's pid, and when the child ended, its wait status. What is
killed is thus the real command, at any instant, a hundred times in seconds.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
from pathlib import Path

import mailer
from tests.faults.server import PASSWORD


class Zygote:
    """The test's side."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("a")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            bufsize=1,
            cwd=Path(__file__).parents[2],
            env=os.environ | {"MAILER_PASSWORD": PASSWORD},
        )

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_exc: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()
        self._log.close()

    def start(self, *arguments: str) -> int:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(arguments) + "\n")
        return int(self._process.stdout.readline())

    def wait(self) -> int:
        """The exit code of the child that was started last; minus the signal that killed it."""
        assert self._process.stdout
        return os.waitstatus_to_exitcode(int(self._process.stdout.readline()))


def main() -> None:
    for module in pkgutil.walk_packages(mailer.__path__, "mailer."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)  # what the forks share
    from mailer.__main__ import main as command

    signal.signal(signal.SIGINT, signal.default_int_handler)
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(2, 1)
            sys.argv = ["mailer", *json.loads(line)]
            try:
                command()
            except SystemExit as end:
                os._exit(end.code if isinstance(end.code, int) else 1)
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(99)
            os._exit(0)
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


if __name__ == "__main__":
    main()
