"""mailer as a user runs it: `mailer send CAMPAIGN` with its planning and preflight, from the start of the
process to its end.

The first option is the campaign file's name without its suffix. CPU is that of the command and of its
children.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time

from benchmarks.contenders.common import shorten_campaign, work

name = sys.argv.pop(1)
job = work()
path = shorten_campaign(job, name)
ledger = job.folder / "whole.sqlite3"
command = [sys.executable, "-m", "mailer", "send", str(path), "--yes", "--ledger", str(ledger)]
command += ["--server", f"smtps://user@127.0.0.1:{job.port}", "--ca-file", str(job.ca_file)]
started = time.perf_counter()
subprocess.run(
    command,
    env={**os.environ, "MAILER_PASSWORD": "password"},
    check=True,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)
seconds = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_CHILDREN)
figures = {
    "messages": job.count,
    "seconds": seconds,
    "cpu": used.ru_utime + used.ru_stime,
    "peak": used.ru_maxrss,
}
print(json.dumps(figures), flush=True)
for leftover in job.folder.glob("whole.sqlite3*"):
    leftover.unlink()
