"""`mailer render`: every recipient's message to files.

Every message is rendered once before the first file is written, so an error leaves no half of the files
behind.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from mailer.campaign import Campaign
from mailer.cli import console
from mailer.cli.exit_codes import ExitCode
from mailer.cli.progress import create_display
from mailer.cli.protected_files import list_protected_files
from mailer.delivery.plan import plan
from mailer.delivery.preflight import preflight
from mailer.delivery.proof import find_recipient
from mailer.errors import InputError, append_remainder
from mailer.files import PRIVATE, replace_file
from mailer.ledger import Claim, Edition, Ledger
from mailer.render.compiled import CompiledCampaign
from mailer.render.message import Message
from mailer.render.prepare import prepare_campaign
from mailer.text import count_noun

PLAIN = re.compile(r"[a-z0-9@_+-][a-z0-9@._+-]{0,99}")
# On Windows these names are devices, with any suffix.
DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?")

MessageWriter = Callable[[str, Message], None]


def render_campaign(
    campaign_file: Path,
    variables: dict[str, str],
    *,
    out: Path | None,
    mbox: Path | None,
    only: str | None,
    limit: int | None,
) -> ExitCode:
    """Write the messages to the folder `out` or to the file `mbox` (one of them is given).

    `only` is an address or a key; `limit` is the maximum number of messages. Raises InputError if a message
    cannot be rendered (then no file is written) or a file cannot be written.
    """
    campaign, compiled = prepare_campaign(campaign_file, variables=variables)
    count = 0
    with Ledger.open_temporary() as ledger:
        edition = _plan_and_check(campaign, compiled, ledger, only)
        try:
            with (
                _open_folder(out)
                if out is not None
                else _open_mbox(mbox or Path(), campaign) as write_message
            ):
                for claim in islice(_iterate_claims(ledger, edition, compiled, only), limit):
                    write_message(claim.key, compiled.render(claim.parse_recipient()))
                    count += 1
        except OSError as error:
            raise InputError(
                f"{error.filename or out or mbox}: cannot be written: {error.strerror or error}"
            ) from error
    console.print_note(
        f"{count_noun(count, 'message')} in {out or mbox}"
        if mbox != Path("-")
        else count_noun(count, "message")
    )
    return ExitCode.DONE


def show_first_message(campaign_file: Path, variables: dict[str, str], *, only: str | None) -> ExitCode:
    """Check every message, then print the first one (or the one of `only`) as its reader would see its text.

    Opens no connection and no ledger. Raises InputError if a message cannot be rendered.
    """
    campaign, compiled = prepare_campaign(campaign_file, variables=variables)
    with Ledger.open_temporary() as ledger:
        edition = _plan_and_check(campaign, compiled, ledger, only)
        count = sum(ledger.count_by_status(edition, only=only).values())
    message = compiled.render(find_recipient(campaign, compiled, only))
    from email import message_from_bytes, policy

    parsed = message_from_bytes(message.content, policy=policy.default)
    for name in ("From", "To", "Subject"):
        console.print_output(f"{name}: {parsed[name]}")
    text = parsed.get_body(("plain", "html"))
    console.print_output("\n" + (text.get_content().rstrip() if text is not None else ""))
    console.print_note(f"{count_noun(count, 'message')} without errors; nothing was sent")
    return ExitCode.DONE


def make_file_name(key: str) -> str:
    """Return a file name for `key`: the key itself if it is safe on every system, else its safe part and a
    digest.

    No two keys share a file name, even on a file system that ignores case: no plain name contains `~`.
    """
    if PLAIN.fullmatch(key) and not key.endswith(".") and not DEVICES.fullmatch(key):
        return f"{key}.eml"
    safe = re.sub(r"[^a-z0-9@._+-]+", "_", key.casefold()).strip(".")[:60] or "_"
    return f"{safe}~{blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}.eml"


def format_mbox_entry(message: Message, when: float) -> bytes:
    """Return `message` as an entry of an mbox (RFC 4155, mboxrd quoting); `when` is a Unix time.

    Lines end with LF; `From ` and `>From ` at the begin of a line get one more `>`.
    """
    sender = message.sender or "MAILER-DAEMON"
    stamp = time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(when))
    body = re.sub(rb"^(>*From )", rb">\1", message.content.replace(b"\r\n", b"\n"), flags=re.MULTILINE)
    return f"From {sender.replace(' ', '_')} {stamp}\n".encode() + body.rstrip(b"\n") + b"\n\n"


def _plan_and_check(
    campaign: Campaign, compiled: CompiledCampaign, ledger: Ledger, only: str | None
) -> Edition:
    with create_display() as display:
        edition = ledger.ensure_edition(campaign.name)
        planned = plan(ledger, campaign, compiled, edition, observer=display)
        for duplicate in planned.duplicates:
            console.print_warning(str(duplicate))
        problems = append_remainder(planned.invalid, planned.invalid_count)
        problems += preflight(ledger, edition, compiled, display, only=only).problems
    if problems:
        raise InputError(problems)
    if only is not None and not ledger.has_recipient(edition, only):
        raise InputError(f"{only} is not in the list")
    return edition


def _iterate_claims(
    ledger: Ledger, edition: Edition, compiled: CompiledCampaign, only: str | None
) -> Iterator[Claim]:
    """Yield each recipient's claim once, in the order of the list, read in pages."""
    run = ledger.start_run(edition, template=compiled.fingerprint, now=time.time())
    while claims := ledger.claim(edition, 500, time.time(), run=run, only=only):
        ledger.commit()
        yield from claims


@contextmanager
def _open_folder(out: Path) -> Iterator[MessageWriter]:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; --out names a folder (--mbox names a file)")
    out.mkdir(parents=True, exist_ok=True)

    def write_message(key: str, message: Message) -> None:
        with replace_file(out / make_file_name(key), mode=PRIVATE, durable=False) as stream:
            stream.write(message.content)

    yield write_message


@contextmanager
def _open_mbox(mbox: Path, campaign: Campaign) -> Iterator[MessageWriter]:
    if (what := list_protected_files(campaign).get(mbox.absolute())) is not None:
        raise InputError(f"{mbox}: this is the {what}, and the mbox would replace it")
    if mbox.is_symlink():
        raise InputError(f"{mbox}: is a symbolic link, and none is followed; name the file itself")
    if mbox.exists() and not mbox.is_file():
        raise InputError(f"{mbox}: is not a regular file")
    now = time.time()
    with nullcontext(sys.stdout.buffer) if mbox == Path("-") else replace_file(mbox, mode=PRIVATE) as stream:

        def write_message(_key: str, message: Message) -> None:
            stream.write(format_mbox_entry(message, now))

        yield write_message
        stream.flush()  # before the number of messages is printed: the reader of a pipe may have left
