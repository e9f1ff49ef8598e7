"""Haraka from npm: it refuses each command that is in one segment with the end of a message (503)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.mailserver import (
    PACKAGES,
    MailServer,
    NotInstalled,
    free_ports,
    private_folder,
    process,
    wait_for_ports,
)

PACKAGE = PACKAGES / "haraka/node_modules/Haraka"

PLUGIN = """\
'use strict'
const fs = require('node:fs')
let count = 0
exports.hook_rcpt = (next, connection, [recipient]) => {
  if (recipient.user.startsWith('refused')) return next(DENY, 'no such user here')
  next(OK)
}
exports.hook_queue = (next, connection) => {
  const name = `${process.pid}.${++count}`
  const file = fs.createWriteStream(`FOLDER/tmp/${name}`)
  file.on('finish', () => {
    fs.renameSync(`FOLDER/tmp/${name}`, `FOLDER/new/${name}`)
    next(OK, 'kept')
  })
  connection.transaction.message_stream.pipe(file, { line_endings: '\\n' })
}
"""


@contextmanager
def run_haraka(ca_file: Path) -> Iterator[MailServer]:
    node = shutil.which("node")
    if node is None or not PACKAGE.exists():
        raise NotInstalled("Haraka is not installed: run tests/servers/install.sh")
    with private_folder("haraka") as folder:
        ports = free_ports("smtp")
        for name in ("config", "plugins", "mail/new", "mail/tmp"):
            (folder / name).mkdir(parents=True)
        config = folder / "config"
        for name in ("connection.ini", "log.ini"):
            shutil.copy(PACKAGE / "config" / name, config)
        (config / "smtp.ini").write_text(f"listen=127.0.0.1:{ports['smtp']}\nnodes=0\n")
        (config / "plugins").write_text("accept\n")
        (config / "me").write_text("haraka.example.test\n")
        (folder / "plugins/accept.js").write_text(PLUGIN.replace("FOLDER", str(folder / "mail")))
        output = folder / "output"
        with process([node, PACKAGE / "bin/haraka", "-c", folder], output) as running:
            wait_for_ports(running, ports, output)
            yield MailServer("haraka", folder, ports, ca_file, folder / "mail", username="", logs=[output])
