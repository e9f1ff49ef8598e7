"""Every command of `mailer`: its arguments, options and help on one page.

This module is imported for every command line, so it imports click alone. Each command imports its work when
it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mailer._version import __version__
from mailer.cli import options


@click.group(
    cls=options.CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="mailer", message="%(prog)s %(version)s")
def mailer() -> None:
    """Send a campaign: one message per recipient, over one TLS session, recorded in a durable ledger.

    \b
      mailer init spring                           create a campaign with its template
      mailer check campaigns/spring.yaml           find errors before anything is sent
      mailer send campaigns/spring.yaml --sandbox  rehearse: no recipient gets mail
      mailer send campaigns/spring.yaml --server smtps://me@example.com@smtp.example.com:465

    Exit codes: 0 every message is sent; 1 some recipients did not get it; 2 nothing was sent (wrong input); 3
    the server or the ledger failed; 4 the run ended early (stop_after); 130 or 143 interrupted.
    """


# -- a new campaign


@mailer.command("init", short_help="Create a campaign with its templates and a list.")
@click.argument("name", metavar="NAME")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["html", "markdown", "mjml"]),
    default="html",
    show_default=True,
    help="What the template is written in.",
)
def init_command(name: str, format_: str) -> None:
    """Create a campaign: its file, its templates and a list, with comments. No file is overwritten.

    NAME is the campaign's name: small letters, digits, dots, dashes and underscores.
    """
    from mailer.cli.init import create_campaign

    create_campaign(name, format_)


@mailer.command("check", short_help="Find errors before anything is sent.")
@click.argument("campaign_files", metavar="CAMPAIGN...", nargs=-1, required=True, type=options.CampaignFile())
@options.variables_option
@click.option("--strict", is_flag=True, help="Warnings count as errors: exit code 2.")
@click.option("--explain", is_flag=True, help="Show how much of each template is compiled, and what is not.")
@click.option(
    "--trusted",
    is_flag=True,
    help="Read what `mailer send` would read: environment variables, lists from databases, files outside the project.",
)
def check_command(campaign_files: tuple[Path, ...], **given: Any) -> int:
    """Check campaigns: the file, the templates, the list, and the message of every recipient.

    An error would stop `mailer send`. A warning says what mailbox providers or mail programs reject or do not
    show. It ends with the name of its rule; a campaign switches a rule off under `ignore`.

    The campaign may be a stranger's, from a pull request for example. This command opens no connection, reads
    no password, environment variable or file outside the project, and runs no command and no SQL.
    """
    from mailer.cli.check import check_campaigns
    from mailer.cli.interrupts import run_interruptible

    return run_interruptible(lambda: check_campaigns(campaign_files, **given))


@mailer.command("render", short_help="Write every recipient's message to files.")
@options.campaign_argument
@click.option("--out", metavar="DIR", type=options.PATH, help="Write one file per recipient: KEY.eml.")
@click.option(
    "--mbox",
    metavar="FILE",
    type=options.PATH,
    help="Write one file in mbox format (mboxrd); - is standard output.",
)
@click.option("--only", metavar="ADDRESS", help="Only this recipient's message (address or key).")
@click.option("--limit", metavar="N", type=options.WholeNumber(min=1), help="Only the first N messages.")
@options.variables_option
def render_command(out: Path | None, mbox: Path | None, **given: Any) -> int:
    """Write every recipient's message to files, byte for byte as it would be sent. Nothing is sent.

    \b
      mailer render campaigns/spring.yaml --out out/spring
      mailer render campaigns/spring.yaml --mbox spring.mbox
    """
    from mailer.cli.interrupts import run_interruptible
    from mailer.cli.render import render_campaign

    if (out is None) == (mbox is None):
        raise click.UsageError("either --out DIR or --mbox FILE is needed")
    return run_interruptible(lambda: render_campaign(out=out, mbox=mbox, **given))


@mailer.command("preview", short_help="Show every recipient's message in a browser while you write.")
@options.campaign_argument
@options.variables_option
@options.server_option
@options.ca_file_option
@options.port_option("--port", "Port of the page")
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
@options.json_option
def preview_command(**given: Any) -> int:
    """Serve a local web page that shows each recipient's message as it will look, until interrupted.

    A change is shown when its file is saved. An error is shown with its place; the last good message stays
    visible. A button sends a proof to --server, MAILER_SERVER or the campaign's server, with MAILER_PASSWORD
    or the campaign's password. Nothing else is sent.
    """
    from mailer.cli.preview import run_preview

    return run_preview(**given)


# -- sending


@mailer.command(
    "send", short_help="Send a campaign, or continue it.",
    ineffective=options.SEND_INEFFECTIVE, needed=options.SEND_NEEDED,
)  # fmt: skip
@options.campaign_argument
@options.server_option
@click.option(
    "--sandbox",
    is_flag=True,
    help="Rehearse: start the embedded sandbox for this run, with a separate ledger. No recipient gets mail.",
)
@options.ca_file_option
@click.option(
    "--rate", metavar="RATE", callback=options.parse_rate_option,
    help="Maximum rate: 14/second, 30/minute, 500/hour.",
)  # fmt: skip
@click.option(
    "--connections", metavar="N", callback=options.parse_connections_option,
    help="Number of sessions at a time, or auto: more of them while the throughput grows.",
)  # fmt: skip
@click.option(
    "--window",
    metavar="N",
    type=options.WholeNumber(1, 100_000),
    help="Maximum number of messages in flight in one session.",
)
@click.option(
    "--strategy",
    type=click.Choice(["auto", "streamed", "pipelined", "sequential"]),
    help="The fastest way of sending that may be used; the server may offer less.",
)
@click.option(
    "--limit", metavar="N", type=options.WholeNumber(min=1),
    help="Stop after N recipients; the others stay pending.",
)  # fmt: skip
@click.option("--only", metavar="ADDRESS", help="Send to this recipient (address or key) only.")
@click.option(
    "--proof",
    metavar="ADDRESS",
    help="Send the first recipient's message (or the --only recipient's) to this address. It is not recorded as sent.",
)
@options.variables_option
@click.option("--again", is_flag=True, help="Send a completed campaign again, to every recipient.")
@click.option("--abandon", is_flag=True, help="With --again: give up what the last edition has not sent.")
@click.option("--retry-failed", is_flag=True, help="Try the failed recipients again.")
@click.option(
    "--in-doubt", type=click.Choice(["resend", "hold", "sent"]),
    help="What happens to messages whose reply never arrived: send them again, hold them, or record them as sent.",
)  # fmt: skip
@click.option(
    "--skip-invalid",
    is_flag=True,
    help="Report recipients with an error in their row or message as failed, and send to the others.",
)
@click.option(
    "--no-preflight", "preflight", flag_value=False, default=True,
    help="Do not render every message before the first one is sent.",
)  # fmt: skip
@options.report_option("--report", "reports", help_text="Write a report.")
@click.option(
    "--trace", metavar="FILE", help="Write the SMTP dialogue, with secrets blanked. - is standard error."
)
@options.ledger_option
@click.option(
    "--workers",
    metavar="URL",
    help="Let workers send: the URL of their broker (amqp://, redis://). Needs a ledger in PostgreSQL.",
)
@click.option(
    "--shared-files",
    is_flag=True,
    help="With --workers: they read the campaign's files at the same path, on a disk that all machines share.",
)
@options.metrics_option
@options.log_format_option
@click.option(
    "--dry-run", is_flag=True, help="Check, and show the first message; open no connection and send nothing."
)
@click.option("--yes", is_flag=True, help="Do not ask before sending.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors and warnings only: no progress, no summary.")
@click.option("-v", "--verbose", is_flag=True, help="Print a line for each session and for each recipient.")
@options.behavior_options
def send_command(**given: Any) -> int:
    """Send a campaign. Run the command again to continue where it stopped.

    Everything is checked before anything is sent, and the ledger records the outcome of every message. The
    password comes from MAILER_PASSWORD or from the place that the campaign names; at a terminal, it is asked
    for.
    """
    from mailer.cli.send import run_send_command

    return run_send_command(given)


@mailer.command("worker", short_help="Send campaigns for `mailer send --workers`.")
@click.option(
    "--broker", metavar="URL", required=True, help="The broker: amqp://user@host/ or redis://host/0."
)
@click.option(
    "--ledger",
    metavar="URL",
    required=True,
    envvar="MAILER_LEDGER",
    show_envvar=True,
    help="The ledger that all machines share: postgresql://user@host/database.",
)
@click.option("--name", metavar="NAME", help="The name in reports. Default: host and process.")
@click.option(
    "--processes", metavar="N", type=options.WholeNumber(1, 64), default=1, help="Senders in this worker."
)
@click.option("--cache", metavar="DIR", type=options.PATH, help="Folder for the files of campaigns.")
@options.metrics_option
@options.log_format_option
def worker_command(**given: Any) -> int:
    """Run a worker: it sends shares of campaigns that `mailer send --workers` distributes, until it is
    stopped.

    Templates, images and attachments come from the ledger. The password comes from MAILER_PASSWORD, or from
    where the campaign says, on this machine. SIGTERM lets the messages in flight be completed.
    """
    from mailer.cli.worker import run_worker_command

    return run_worker_command(**given)


@mailer.command("report", short_help="Show a campaign's report, or write it to files.")
@click.argument(
    "campaign_file", metavar="[CAMPAIGN]", type=options.CampaignFile(must_exist=False), required=False
)
@options.variables_option
@options.ledger_option
@options.report_option("--output", "outputs", help_text="Write the report to a file instead.")
@click.option(
    "--edition", type=options.WholeNumber(min=1), help="An earlier edition, if --again made several."
)
def report_command(campaign_file: Path | None, **given: Any) -> None:
    """Show a campaign's report from the ledger as a table, or write it to files.

    CAMPAIGN is the campaign's file or its name. Without it, the campaigns of the ledger are listed.
    """
    from mailer.cli.report import list_campaigns, show_report

    if campaign_file is not None:
        show_report(campaign_file, **given)
    elif given["outputs"] or given["edition"] or given["variables"]:
        raise click.UsageError("--output, --edition and --var need the CAMPAIGN that they are about")
    else:
        list_campaigns(given["ledger"])


# -- servers


@mailer.command("sandbox", short_help="Run a local SMTPS server with an inbox page, for rehearsals.")
@options.json_option
@click.option("--maildir", metavar="DIR", type=options.PATH, help="Keep the messages in this folder.")
@options.port_option("--port", "Port of the server")
@options.port_option("--page-port", "Port of the page")
@click.option("--password", metavar="TEXT", help="Password of the login `sandbox`. Default: a new one.")
@click.option(
    "--ca-dir",
    metavar="DIR",
    type=options.PATH,
    help="Folder that keeps the certificate authority, so that its CA file stays the same. Default: a new one.",
)
@options.behavior_options
def sandbox_command(**given: Any) -> int:
    """Run a local SMTPS server with a login and an inbox page; it delivers to no recipient.

    Prints the addresses of the page, of its API, of the server with its login and of its CA file, and a line
    for the shell that makes `mailer send` use it. Then serves until interrupted. A program uses the API with
    the same login.
    """
    from mailer.cli.sandbox import run_sandbox

    return run_sandbox(**given)


@mailer.command("probe", short_help="Connect to a server and log in; send nothing.")
@click.argument("campaign_file", metavar="[CAMPAIGN]", type=options.CampaignFile(), required=False)
@options.server_option
@options.ca_file_option
@click.option(
    "--timeout", metavar="TIME", default="20s", show_default=True, callback=options.parse_time_option,
    help="Maximum time for one reply: 500ms, 2s, 1m.",
)  # fmt: skip
@options.variables_option
def probe_command(**given: Any) -> None:
    """Connect to the server and log in, as `send` would; send no message.

    Shows the dialogue with secrets blanked, the certificate, the server's extensions, and the strategy that
    `send` would use. The server is --server, MAILER_SERVER or the campaign's.
    """
    from mailer.cli.probe import probe_server

    probe_server(**given)


# -- addresses that never get mail


@mailer.group("suppress", short_help="Manage the addresses that never get mail.")
def suppress_group() -> None:
    """Manage the addresses that never get mail from any campaign of a ledger.

    The ledger keeps them. A suppressed recipient is reported as `suppressed` and does not count as a failure.
    """


@suppress_group.command("add")
@options.addresses_argument
@options.reason_option("by hand", "The reason that reports show.")
@options.ledger_option
def suppress_add_command(**given: Any) -> None:
    """Add addresses."""
    from mailer.cli.suppress import add_addresses

    add_addresses(**given)


@suppress_group.command("remove")
@options.addresses_argument
@options.ledger_option
def suppress_remove_command(**given: Any) -> int:
    """Remove addresses: they get mail again.

    An address that is not suppressed is an error; the others are removed.
    """
    from mailer.cli.suppress import remove_addresses

    return remove_addresses(**given)


@suppress_group.command("list")
@options.ledger_option
def suppress_list_command(**given: Any) -> None:
    """Print the addresses as CSV (email, reason, at). `import` reads this format."""
    from mailer.cli.suppress import list_addresses

    list_addresses(**given)


@suppress_group.command("import")
@click.argument("file", metavar="FILE", type=options.PATH)
@options.reason_option("imported", "The reason of the rows that have none.")
@options.ledger_option
def suppress_import_command(**given: Any) -> None:
    """Add the addresses of a file: any list that `recipients` reads, or one address per line; - is standard
    input.

    A column `reason` is kept. Of a report, the failed recipients are added. If one line is wrong, nothing is
    imported.
    """
    from mailer.cli.suppress import import_addresses

    import_addresses(**given)


@mailer.command("forget", short_help="Remove a person's data from the ledger.")
@options.addresses_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.ledger_option
def forget_command(**given: Any) -> int:
    """Remove the data of persons from the ledger: of all campaigns, and of the suppressed addresses.

    Of a message that was sent, only that fact stays, under a hash: no later run of the campaign sends to the
    address again. Messages that were not sent are deleted. A suppressed address stays suppressed, under the
    hash. Lists, reports and templates are files of yours: remove the person from them, too.
    """
    from mailer.cli.suppress import forget_addresses

    return forget_addresses(**given)


@mailer.command("schema", short_help="Print the campaign file's JSON Schema, for editors.")
def schema_command() -> None:
    """Print the JSON Schema of campaign files. Editors use it to complete and check YAML.

    \b
      mailer schema > campaign.schema.json
    """
    from mailer.cli.init import print_schema

    print_schema()
