"""What `mailer render` does. Everybody is rendered once before, so that an error leaves nothing half done."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from mailer.campaign import Campaign, load_campaign
from mailer.cli import console
from mailer.cli.exits import Exit
from mailer.cli.progress import observer
from mailer.cli.protected_files import files_of
from mailer.delivery.plan import plan
from mailer.delivery.preflight import preflight
from mailer.errors import InputError, with_count
from mailer.ledger import Claim, Edition, Ledger
from mailer.render.compile import compile_campaign
from mailer.render.compiled import CompiledCampaign
from mailer.render.message import Message
from mailer.report.output_files import atomically_in_bytes
from mailer.report.words import plural

PLAIN = re.compile(r"[a-z0-9@_+-][a-z0-9@._+-]{0,99}")
# Names that mean a device on Windows, whatever follows the dot.
DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?")

Keep = Callable[[str, Message], None]


def render(
    file: Path, variables: dict[str, str], *, out: Path | None, mbox: Path | None, only: str | None, limit: int | None
) -> int:
    campaign = load_campaign(file, variables=variables)
    compiled = compile_campaign(campaign)
    count = 0
    with Ledger.open_temporary() as ledger:
        edition = _planned(campaign, compiled, ledger, only)
        try:
            with _folder(out) if out is not None else _mbox(mbox or Path(), campaign) as keep:
                for claim in islice(_claims(ledger, edition, compiled, only), limit):
                    keep(claim.key, compiled.render(claim.recipient))
                    count += 1
        except OSError as error:
            raise InputError(
                f"{error.filename or out or mbox}: cannot be written: {error.strerror or error}"
            ) from error
    console.note(f"{plural(count, 'message')} in {out or mbox}")
    return Exit.DONE


def file_name(key: str) -> str:
    """A file name for a key: itself where that is safe everywhere, else what is safe of it and a digest.

    No two keys share one, whatever the file system makes of case: `~` is in no plain name.
    """
    if PLAIN.fullmatch(key) and not key.endswith(".") and not DEVICES.fullmatch(key):
        return f"{key}.eml"
    safe = re.sub(r"[^a-z0-9@._+-]+", "_", key.casefold()).strip(".")[:60] or "_"
    return f"{safe}~{blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}.eml"


def mbox_entry(message: Message, when: float) -> bytes:
    """RFC 4155 with mboxrd quoting: lines end with LF, `From ` and `>From ` get one more `>`."""
    sender = message.sender or "MAILER-DAEMON"
    stamp = time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(when))
    body = re.sub(rb"^(>*From )", rb">\1", message.content.replace(b"\r\n", b"\n"), flags=re.MULTILINE)
    return f"From {sender.replace(' ', '_')} {stamp}\n".encode() + body.rstrip(b"\n") + b"\n\n"


def _planned(campaign: Campaign, compiled: CompiledCampaign, ledger: Ledger, only: str | None) -> Edition:
    with observer() as watching:
        edition = ledger.ensure_edition(campaign.name)
        planned = plan(ledger, campaign, compiled, edition, observer=watching)
        for duplicate in planned.duplicates:
            console.warning(str(duplicate))
        problems = with_count(planned.invalid, planned.invalid_count)
        problems += preflight(ledger, edition, compiled, watching, only=only)
    if problems:
        raise InputError(problems)
    if only is not None and not ledger.has_recipient(edition, only):
        raise InputError(f"{only} is not in the list")
    return edition


def _claims(ledger: Ledger, edition: Edition, compiled: CompiledCampaign, only: str | None) -> Iterator[Claim]:
    """Everybody once, in the list's order, read in pages."""
    run = ledger.start_run(edition, template=compiled.fingerprint, now=time.time())
    while claims := ledger.claim(edition, 500, time.time(), run=run, only=only):
        ledger.commit()
        yield from claims


@contextmanager
def _folder(out: Path) -> Iterator[Keep]:
    out.mkdir(parents=True, exist_ok=True)

    def keep(key: str, message: Message) -> None:
        with atomically_in_bytes(out / file_name(key), durable=False) as stream:
            stream.write(message.content)

    yield keep


@contextmanager
def _mbox(mbox: Path, campaign: Campaign) -> Iterator[Keep]:
    if (what := files_of(campaign).get(mbox.absolute())) is not None:
        raise InputError(f"{mbox}: this is the {what}, and the mbox would replace it")
    if mbox.exists() and not mbox.is_file():
        raise InputError(f"{mbox}: is not a regular file")
    now = time.time()
    with atomically_in_bytes(mbox) as stream:

        def keep(_key: str, message: Message) -> None:
            stream.write(mbox_entry(message, now))

        yield keep
