"""What to send, and to whom: campaign files, lists of recipients, addresses, servers, secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mailer.campaign.access import TRUSTED, UNTRUSTED, Access
from mailer.campaign.addresses import check_address, parse_mailbox
from mailer.campaign.model import (
    AUTO,
    Attachment,
    AuthMechanism,
    Backoff,
    Calendar,
    Campaign,
    ClientCertificate,
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
    Strategy,
    Unsubscribe,
)
from mailer.campaign.quantities import parse_duration, parse_rate

# The functions below import what they need (YAML, Jinja2, subprocess) when they are called, because every
# command imports this package.


def load_campaign(
    path: str | os.PathLike[str], *, variables: Mapping[str, str] | None = None, access: Access = TRUSTED
) -> Campaign:
    """Return the campaign in the YAML file at `path`.

    `variables` (`--var`) take precedence over its `vars`. `access` says what the campaign may make the mailer
    read. InputError has all problems of the file.
    """
    from mailer.campaign import load

    return load.load_campaign(path, variables=variables, access=access)


def json_schema() -> dict[str, Any]:
    """Return the campaign file's JSON Schema (draft 2020-12), for editors."""
    from mailer.campaign.schema import fields

    return fields.json_schema()


def parse_server(url: str) -> ServerConfig:
    """Return the server that a `--server` URL names.

    InputError never repeats the URL: it may have a password.
    """
    from mailer.campaign import servers

    return servers.parse_server(url)


__all__ = [
    "AUTO",
    "TRUSTED",
    "UNTRUSTED",
    "Access",
    "Attachment",
    "AuthMechanism",
    "Backoff",
    "Calendar",
    "Campaign",
    "ClientCertificate",
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
    "Strategy",
    "Unsubscribe",
    "check_address",
    "json_schema",
    "load_campaign",
    "parse_duration",
    "parse_mailbox",
    "parse_rate",
    "parse_server",
]
