"""What to send, and to whom: campaign files, lists of recipients, addresses, servers, secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mailer.campaign.addresses import check_address, parse_mailbox
from mailer.campaign.model import (
    Attachment,
    AuthChoice,
    Backoff,
    Campaign,
    Delivery,
    Dkim,
    InDoubt,
    Mailbox,
    Pattern,
    Rate,
    Recipient,
    RecipientSource,
    SecretSource,
    Security,
    ServerConfig,
    StopAfter,
    Unsubscribe,
)
from mailer.campaign.quantities import parse_duration, parse_rate

# The three below import what they need (YAML, Jinja2, subprocess) when they are called: the package itself costs
# little, and every command imports it.


def load_campaign(path: str | os.PathLike[str], *, variables: Mapping[str, str] | None = None) -> Campaign:
    """The campaign in the YAML file at `path`; `variables` (`--var`) win over its `vars`. InputError has all."""
    from mailer.campaign import load

    return load.load_campaign(path, variables=variables)


def json_schema() -> dict[str, Any]:
    """The campaign file's JSON Schema (draft 2020-12), for editors."""
    from mailer.campaign.schema import fields

    return fields.json_schema()


def parse_server(url: str) -> ServerConfig:
    """The server that a `--server` URL names. InputError never repeats the URL, because a password may stand in it."""
    from mailer.campaign import servers

    return servers.parse_server(url)


__all__ = [
    "Attachment",
    "AuthChoice",
    "Backoff",
    "Campaign",
    "Delivery",
    "Dkim",
    "InDoubt",
    "Mailbox",
    "Pattern",
    "Rate",
    "Recipient",
    "RecipientSource",
    "SecretSource",
    "Security",
    "ServerConfig",
    "StopAfter",
    "Unsubscribe",
    "check_address",
    "json_schema",
    "load_campaign",
    "parse_duration",
    "parse_mailbox",
    "parse_rate",
    "parse_server",
]
