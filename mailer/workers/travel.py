"""How a campaign gets to a worker: its files and settings travel in the ledger, secrets do not.

The command stores the campaign file, the templates, images and attachments, each content once. A worker
writes them into a cache and loads the campaign from there. It takes the password from its own environment.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mailer.campaign import parse_server
from mailer.campaign.access import TRAVELLED
from mailer.campaign.load import load_campaign
from mailer.campaign.model import Backoff, Campaign, Delivery, Pattern, Rate, ServerConfig, StopAfter
from mailer.dataclass import dataclass
from mailer.delivery.options import SendOptions
from mailer.errors import InputError
from mailer.files import format_binary_size
from mailer.ledger import Edition, Ledger
from mailer.ledger.files import hash_content, list_files, read_blob, read_settings, store_campaign
from mailer.ledger.ownership import check_ownership
from mailer.ledger.planning import MessageGroup, parse_unchecked, read_unchecked
from mailer.render.attachments import FileProblem
from mailer.render.compile import compile_campaign
from mailer.render.compiled import CompiledCampaign
from mailer.render.render_process import RenderProcess
from mailer.secret import Secret

MAX_TOTAL = 1 << 30  # octets of all files of a campaign
MAX_FILE = 64 << 20
SAMPLE = 200  # recipients whose messages are rendered to see which files their templates include
CA_FILE = ".ca.pem"  # no file of a project has this name: hidden files are never sent

_SHARED_FILES = "--shared-files lets the workers read the files from a disk that all machines share"
_EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_SERVER_FIELDS = (
    "host",
    "port",
    "security",
    "username",
    "auth",
    "allow_plaintext",
    "ehlo_name",
    "proxy",
    "provider",
)


@dataclass(frozen=True, slots=True)
class TravelledCampaign:
    """A campaign on a worker, ready to be sent.

    `template` is the fingerprint that the command's runs have.
    """

    edition: Edition
    compiled: CompiledCampaign
    options: SendOptions
    template: str


def pack_campaign(
    ledger: Ledger,
    edition: Edition,
    campaign: Campaign,
    compiled: CompiledCampaign,
    options: SendOptions,
    *,
    are_files_shared: bool = False,
) -> None:
    """Store what workers need of a campaign in the ledger.

    `compiled` is the campaign, compiled for `edition`; `options` are those of the command. With
    `are_files_shared`, the workers read its files at the same path as this machine. Raises InputError if the
    files are too large, LedgerError if they cannot be stored.
    """
    root = Path(os.path.realpath(campaign.root))
    paths = (
        {}
        if are_files_shared
        else {
            path.relative_to(root).as_posix(): path
            for path in _find_files(campaign, compiled, ledger, edition)
        }
    )
    if options.server.ca_file is not None:
        paths[CA_FILE] = options.server.ca_file
    hashes, total = {}, 0
    for name, path in paths.items():
        content = _read(path)
        total += len(content)
        hashes[name] = hash_content(content)
    if total > MAX_TOTAL:
        limit, size = format_binary_size(MAX_TOTAL), format_binary_size(total)
        raise InputError(
            f"the campaign's files are {size} in all; the limit is {limit}",
            hint=_SHARED_FILES,
        )
    store_campaign(
        ledger,
        edition,
        hashes,
        lambda name: _read(paths[name]),
        _pack_settings(campaign, compiled, options, are_files_shared),
    )


def _find_files(
    campaign: Campaign, compiled: CompiledCampaign, ledger: Ledger, edition: Edition
) -> Iterator[Path]:
    """The files that messages may need: those in use, and those that the patterns of file names fit."""
    with RenderProcess(compiled) as process:
        for page in read_unchecked(ledger, edition, MessageGroup("pending")):
            for row in page[:SAMPLE]:
                recipient = parse_unchecked(ledger, row).recipient
                try:
                    process.render(recipient)  # within limits; then here, to see which files are opened
                    compiled.render(recipient)
                except InputError:  # the worker records it
                    continue
            break
    found = {Path(os.path.realpath(campaign.path)), *map(Path, compiled.files.opened)}
    folders = [campaign.path.parent, campaign.root, campaign.root / "templates"]
    for pattern in _list_patterns(campaign):
        for folder in folders:
            for path in _expand(pattern.source, folder):
                name = path.relative_to(folder).as_posix()
                try:
                    found.add(Path(compiled.files.find(name, [folder])))
                except FileProblem:  # a hidden file, a key, or one outside of the root: never sent
                    continue
    return iter(sorted(found))


def _list_patterns(campaign: Campaign) -> Iterator[Pattern]:
    """The names of files that have an expression in them."""
    named = [campaign.template, campaign.text, *campaign.images.values()]
    named += [attachment.path for attachment in campaign.attachments]
    if campaign.calendar is not None:
        named.append(campaign.calendar.path)
    yield from (pattern for pattern in named if pattern is not None and _EXPRESSION.search(pattern.source))


def _expand(source: str, folder: Path) -> Iterator[Path]:
    """The files in `folder` whose name fits a pattern, with any text in place of an expression."""
    glob = _EXPRESSION.sub("*", re.sub(r"([*?\[])", r"[\1]", source))
    if "|path" in source.replace(" ", ""):  # several segments
        glob = f"**/{glob.rpartition('/')[2]}"
    try:
        yield from (path for path in folder.glob(glob.lstrip("/")) if path.is_file())
    except (ValueError, NotImplementedError):
        return


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if len(content) > MAX_FILE:
        limit = format_binary_size(MAX_FILE)
        raise InputError(
            f"{path}: is larger than {limit}, the limit of a file that travels", hint=_SHARED_FILES
        )
    return content


def _pack_settings(
    campaign: Campaign, compiled: CompiledCampaign, options: SendOptions, are_files_shared: bool
) -> dict[str, Any]:
    """What JSON can hold of a run's options. No secret is in it."""
    server = {name: getattr(options.server, name) for name in _SERVER_FIELDS}
    root = Path(os.path.realpath(campaign.root))
    return {
        "campaign": Path(os.path.realpath(campaign.path)).relative_to(root).as_posix(),
        "root": str(root) if are_files_shared else None,
        "variables": {name: value for name, value in campaign.vars.items() if isinstance(value, str)},
        "server": server,
        "delivery": asdict(options.delivery),
        "in_doubt": options.in_doubt,
        "only": options.only,
        "template": compiled.fingerprint,
        "is_signed": campaign.dkim is not None,
    }


# -- on a worker


def unpack_campaign(
    ledger: Ledger, edition: Edition, cache: Path, *, environment: Mapping[str, str] = os.environ
) -> TravelledCampaign:
    """Load a campaign that `pack_campaign` stored.

    `cache` is a folder of this worker. MAILER_SERVER of the `environment` is a relay of this machine. The
    password is MAILER_PASSWORD, or what the campaign names. MAILER_CA_FILE and MAILER_DKIM_KEY_FILE are files
    of this machine. Raises InputError if something is missing here, or the campaign is not the same as on the
    machine that sends it.
    """
    settings = read_settings(ledger, edition)
    if settings is None:
        raise InputError(f"campaign {edition.campaign!r} was not started with --workers")
    root = Path(settings["root"]) if settings["root"] else write_files(ledger, edition, cache)
    campaign = load_campaign(root / settings["campaign"], variables=settings["variables"], access=TRAVELLED)
    if campaign.dkim is not None and (key := environment.get("MAILER_DKIM_KEY_FILE")):
        campaign = replace(campaign, dkim=replace(campaign.dkim, key_file=Path(key)))
    compiled = compile_campaign(campaign, edition=edition.number)
    if not settings["is_signed"] and compiled.fingerprint != settings["template"]:
        hint = "the command and its workers need the same version of mailer"
        raise InputError(
            f"campaign {edition.campaign!r} is not the same here as on the machine that sent it", hint=hint
        )
    server = _unpack_server(settings["server"], campaign, environment)
    if (ca_file := _find_ca_file(ledger, edition, cache, environment)) is not None:
        server = replace(server, ca_file=ca_file)
    options = SendOptions(
        server=server,
        password=_read_password(server, environment),
        delivery=_unpack_delivery(settings["delivery"]),
        in_doubt=settings["in_doubt"],
        only=settings["only"],
    )
    return TravelledCampaign(edition, compiled, options, settings["template"])


def write_files(ledger: Ledger, edition: Edition, cache: Path) -> Path:
    """Write the files of an edition into the cache, unless they are there.

    Returns the folder that is their root.
    """
    files = list_files(ledger, edition)
    root = cache / hash_content(repr(sorted(files.items())).encode())[:32]
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{cache}: {error.strerror or error}") from None
    check_ownership(cache, cache.lstat(), InputError)  # the default is in a folder that all users share
    if root.is_dir():
        return root
    temporary = Path(tempfile.mkdtemp(dir=cache))
    try:
        for name, hash_ in files.items():
            path = temporary / name
            if not path.resolve().is_relative_to(temporary.resolve()):
                raise InputError(f"the ledger has a file with a name that is not one: {name!r}")
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_bytes(read_blob(ledger, hash_))
        temporary.rename(root)
    except OSError as error:
        if not root.is_dir():  # another worker of this machine was first otherwise
            raise InputError(f"{cache}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return root


def _find_ca_file(
    ledger: Ledger, edition: Edition, cache: Path, environment: Mapping[str, str]
) -> Path | None:
    if text := environment.get("MAILER_CA_FILE"):
        return Path(text)
    if CA_FILE not in list_files(ledger, edition):
        return None
    return write_files(ledger, edition, cache) / CA_FILE


def _unpack_server(given: dict[str, Any], campaign: Campaign, environment: Mapping[str, str]) -> ServerConfig:
    """The server that the command chose, or this worker's own relay: MAILER_SERVER, with MAILER_USERNAME."""
    own = campaign.server
    if text := environment.get("MAILER_SERVER"):
        chosen = parse_server(text)
        return replace(chosen, username=chosen.username or environment.get("MAILER_USERNAME"))
    given = {**given, "auth": tuple(given["auth"])}
    if own is not None and (own.host, own.port) == (given["host"], given["port"]):
        return replace(own, **given)  # with its password and its client certificate
    return ServerConfig(**given)


def _read_password(server: ServerConfig, environment: Mapping[str, str]) -> Secret | None:
    if server.username is None:
        return None
    if given := environment.get("MAILER_PASSWORD"):
        return Secret(given)
    if server.password is not None:
        return server.password.read()
    hint = "set MAILER_PASSWORD where the worker runs"
    raise InputError(f"no password for {server.username} at {server.host}:{server.port}", hint=hint)


def _unpack_delivery(given: dict[str, Any]) -> Delivery:
    made: dict[str, Any] = {**given, "backoff": Backoff(**given["backoff"])}
    for name, kind in (("rate", Rate), ("stop_after", StopAfter)):
        made[name] = None if given[name] is None else kind(**given[name])
    return Delivery(**made)
