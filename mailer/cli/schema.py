"""`mailer schema`: the campaign file's JSON Schema, for editors."""

from __future__ import annotations

import click

from mailer.cli import console


@click.command("schema", short_help="Print the campaign file's JSON Schema, for editors.")
def command() -> None:
    """Print the JSON Schema of campaign files, for editors that complete and check YAML.

    \b
      mailer schema > campaign.schema.json
    """
    import json

    from mailer.campaign import json_schema

    console.out(json.dumps(json_schema(), indent=2, ensure_ascii=False))
