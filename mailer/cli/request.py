"""What `mailer send` was asked, one field an option."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mailer.campaign.model import Rate


@dataclass(frozen=True, slots=True)
class Request:
    """See `mailer send --help`."""

    campaign_file: Path
    server: str | None
    sandbox: bool
    ca_file: Path | None
    rate: Rate | None
    connections: int | None
    window: int | None
    limit: int | None
    only: str | None
    proof: str | None
    variables: dict[str, str]
    again: bool
    retry_failed: bool
    in_doubt: Literal["resend", "hold", "sent"] | None
    skip_invalid: bool
    no_preflight: bool
    reports: tuple[Path, ...]
    trace: str | None
    ledger: str
    yes: bool
