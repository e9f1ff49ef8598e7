"""The server and the password: from options, the environment, the campaign, or a question at a terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from mailer.campaign.model import SecretSource, ServerConfig
from mailer.cli import console
from mailer.errors import InputError
from mailer.secret import Secret


def choose_server_and_password(
    own: ServerConfig | None,
    url: str | None,
    ca_file: Path | None,
    *,
    environment: Mapping[str, str] = os.environ,
    ask: Callable[[str], str] | None = None,
    needs_password: bool = True,
) -> tuple[ServerConfig, Secret | None]:
    """Return the server, and its password if a user name is known. The password is blanked in all later
    output.

    `url` (--server) takes precedence over MAILER_SERVER, which takes precedence over the campaign's server
    `own`. The password is the first of these: the one in `url`, MAILER_PASSWORD, the one in MAILER_SERVER,
    the campaign's (for the campaign's own server and user only), and the answer of `ask` to a question. `ask`
    is None for the terminal. `ca_file` (--ca-file) takes precedence over MAILER_CA_FILE, and that over the
    campaign's. If the server and the password are given outside the campaign, so are the authority to trust
    and the proxy: the password goes to that server only, whatever the campaign says. Raises InputError if
    there is no server or no password.
    Without `needs_password`, no password is read: workers have their own.
    """
    given = url or environment.get("MAILER_SERVER") or None
    has_password = bool(environment.get("MAILER_PASSWORD"))
    server = _choose_server(own, given, environment.get("MAILER_USERNAME"), has_password=has_password)
    if ca_file is None and (text := environment.get("MAILER_CA_FILE")):
        ca_file = Path(text)
    if ca_file is not None:
        server = replace(server, ca_file=ca_file)
    if server.ca_file is not None and not server.ca_file.is_file():
        raise InputError(f"{server.ca_file}: there is no such CA file")
    if not needs_password:
        return server, None
    password = _find_password(server, url, environment, ask)
    if password is not None:
        console.add_secret(password)
    if server.password is not None and server.password is not _password_source(server, url, environment):
        server = replace(server, password=None)  # another one was given: the server's is not asked again
    return server, password


def _choose_server(
    own: ServerConfig | None, url: str | None, user: str | None, *, has_password: bool
) -> ServerConfig:
    from mailer.api import choose_server
    from mailer.campaign import parse_server

    given = parse_server(url) if url else None
    if given is not None and user and not given.username:
        given = replace(given, username=user)
    server = choose_server(own, given, has_password=has_password)
    if given is None and user and user != server.username:
        # The campaign's password belongs to the campaign's own user name only.
        server = replace(server, username=user, password=None)
    return server


def _find_password(
    server: ServerConfig, url: str | None, environment: Mapping[str, str], ask: Callable[[str], str] | None
) -> Secret | None:
    given = environment.get("MAILER_PASSWORD")
    if server.username is None:
        if given:
            console.print_warning("MAILER_PASSWORD is set, but there is no user name, so there is no login")
        return None
    if (source := _password_source(server, url, environment)) is not None:
        return source.read()
    if given:
        return Secret(given)
    return _ask_password(server, ask)


def _password_source(
    server: ServerConfig, url: str | None, environment: Mapping[str, str]
) -> SecretSource | None:
    """The source in `url`, or the server's unless MAILER_PASSWORD is set."""
    from mailer.campaign import parse_server

    typed = parse_server(url).password if url else None
    if typed is not None:
        return typed
    return None if environment.get("MAILER_PASSWORD") else server.password


def _ask_password(server: ServerConfig, ask: Callable[[str], str] | None) -> Secret:
    if ask is None and console.may_ask():
        from getpass import getpass

        ask = getpass
    if ask is None:
        hint = "set MAILER_PASSWORD, or give the campaign's server a `password`: {env: …}, {command: …} or {file: …}"
        raise InputError(f"no password for {server.username} at {server.host}:{server.port}", hint=hint)
    text = ask(f"Password for {server.username} at {server.host}:{server.port}: ")
    if not text:
        raise InputError("no password was given")
    return Secret(text)
