"""`mailer preview`: the page that shows each recipient's message, until interrupted."""

from __future__ import annotations

import os
import subprocess
import sys
import webbrowser
from pathlib import Path

from mailer.campaign import check_address, parse_server
from mailer.cli import console
from mailer.cli.interrupts import serve_until_stopped
from mailer.errors import InputError
from mailer.preview import PreviewAddresses, PreviewOptions, serve_preview
from mailer.preview.page import ProofOutcome, SendProof

PROOF_SECONDS = 120.0  # that sending one message may take


def run_preview(
    campaign_file: Path,
    variables: dict[str, str],
    *,
    server: str | None,
    ca_file: Path | None,
    port: int,
    open_page: bool,
    as_json: bool,
) -> int:
    """Serve until a signal arrives, and return that signal's exit code.

    Raises InputError if the page cannot start.
    """
    if not campaign_file.is_file():
        raise InputError(f"{campaign_file}: there is no such campaign file")

    def announce(addresses: PreviewAddresses) -> None:
        console.print_addresses(addresses, as_json)
        if open_page:
            webbrowser.open(addresses.page)

    send_proof = _create_proof_sender(campaign_file, variables, server, ca_file)
    url = server or os.environ.get("MAILER_SERVER")
    chosen = parse_server(url) if url else None
    proof_server = f"{chosen.host}:{chosen.port}" if chosen else None
    return serve_until_stopped(
        serve_preview(announce, PreviewOptions(campaign_file, variables, port, send_proof, proof_server)),
        "the preview",
    )


def _create_proof_sender(
    file: Path, variables: dict[str, str], server: str | None, ca_file: Path | None
) -> SendProof:
    """Return a function that sends a proof by `mailer send --proof` in a process of its own.

    So a proof is what `send` sends, it asks no question, and a template without end does not hold up the
    page.
    """
    options = [f"--var={name}={value}" for name, value in variables.items()]
    options += [f"--ca-file={ca_file}"] if ca_file else []
    # A URL may hold a password, and the arguments of a process can be read by other users.
    environment = os.environ | ({"MAILER_SERVER": server} if server else {}) | {"PYTHONUTF8": "1"}

    def send_proof(address: str, recipient: str) -> ProofOutcome:
        try:
            check_address(address)
        except ValueError as error:
            return ProofOutcome(False, f"{address}: {error}")
        command = [
            sys.executable,
            "-m",
            "mailer",
            "send",
            "--yes",
            f"--proof={address}",
            f"--only={recipient}",
        ]
        command += [*options, "--", str(file)]
        try:
            ended = subprocess.run(  # noqa: S603 - our own command
                command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=PROOF_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return ProofOutcome(
                False, "The server did not answer in time; whether the proof arrived is not known."
            )
        lines = [line.removeprefix("mailer: error: ") for line in ended.stderr.splitlines() if line.strip()]
        return ProofOutcome(ended.returncode == 0, "\n".join(lines[-3:]) or f"exit code {ended.returncode}")

    return send_proof
