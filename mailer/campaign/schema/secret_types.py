"""The types of values that come from elsewhere: variables, passwords, the URLs of databases and proxies."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from mailer.campaign.access import make_stand_in
from mailer.campaign.model import SecretSource
from mailer.campaign.schema import nodes
from mailer.campaign.schema.field_types import (
    FilePath,
    LoadContext,
    Schema,
    Text,
    ValidationError,
    require_text,
    text_matching,
)
from mailer.campaign.schema.mapping_types import Field, MappingType, ParsedMapping
from mailer.campaign.schema.nodes import Node, describe
from mailer.campaign.secrets import (
    CommandSecret,
    EnvironmentSecret,
    FileSecret,
    GivenSecret,
    KeyringSecret,
    WithheldSecret,
    check_command,
)
from mailer.campaign.sources import check_variable_name
from mailer.campaign.sources.names import RESERVED
from mailer.campaign.sources.rows import empty_if_null
from mailer.dataclass import dataclass
from mailer.errors import Problem
from mailer.secret import Secret

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_FORMS = "{env: NAME}, {command: ...}, {file: PATH} or {keyring: SERVICE}"

ENV = Field(
    "env",
    text_matching(_NAME, "the name of an environment variable"),
    "The environment variable that holds the value.",
    example="SMTP_PASSWORD",
)


@dataclass(frozen=True)
class Variables:
    """`vars`: any values. `{env: NAME}` at any depth is that environment variable's text."""

    def read(self, node: Node, context: LoadContext) -> dict[str, object]:
        if not isinstance(node, nodes.Mapping):
            raise context.error(node.place, f"expected a mapping, found {describe(node)}")
        problems: list[Problem] = []
        values = {}
        for name, value in node.entries.items():
            below = context.below(name)
            try:
                check_variable_name(name)
            except ValueError as error:
                problems.append(context.problem(node.keys[name], str(error)))
            values[name] = self._read_value(value, below, problems)
        if problems:
            raise ValidationError(problems)
        return values

    def _read_value(self, node: Node, context: LoadContext, problems: list[Problem]) -> object:
        if isinstance(node, nodes.Scalar):
            return empty_if_null(nodes.to_row(node))
        if isinstance(node, nodes.Sequence):
            return [self._read_value(item, context, problems) for item in node.items]
        if node.entries.keys() == {"env"}:
            return self._read_environment(node.entries["env"], context, problems)
        return {key: self._read_value(value, context, problems) for key, value in node.entries.items()}

    def _read_environment(self, node: Node, context: LoadContext, problems: list[Problem]) -> str:
        name = node.value if isinstance(node, nodes.Scalar) else None
        if not isinstance(name, str) or not re.fullmatch(_NAME, name):
            problems.append(context.problem(node.place, "expected the name of an environment variable"))
        elif not context.access.environment:
            return make_stand_in(name)
        elif (value := os.environ.get(name)) is None:
            problems.append(context.problem(node.place, f"the environment variable {name} is not set"))
        elif re.search("[\udc80-\udcff]", value):
            problems.append(context.problem(node.place, f"the environment variable {name} is not UTF-8"))
        else:
            if not value:
                context.warnings.append(
                    context.problem(node.place, f"the environment variable {name} is empty")
                )
            return value
        return ""

    def schema(self) -> Schema:
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^{_NAME}$", "not": {"enum": sorted(RESERVED)}},
        }


def _check_one_form(parsed: ParsedMapping) -> Iterator[Problem]:
    if len(parsed.places) != 1 and not parsed.problems:
        yield parsed.problem(parsed.place, f"expected one of {_FORMS}")


def _parse_command(text: str) -> str:
    check_command(text)
    return text


def _parse_service(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("expected the name under which the keyring has the password")
    return text


def _refuse_login(_text: str) -> str:
    raise ValueError(
        "a login by OAuth 2.0 is not in this version; use {env: NAME} or {command: ...} for a token"
    )


def _build_password(values: Mapping[str, Any], parsed: ParsedMapping) -> SecretSource:
    (form,) = values
    access = parsed.context.access
    if not access.secrets or (form == "command" and not access.commands):
        return WithheldSecret(parsed.place)
    if form == "env":
        return EnvironmentSecret(values["env"], parsed.place)
    if form == "file":
        return FileSecret(values["file"])
    if form == "keyring":
        return KeyringSecret(values["keyring"], None, parsed.place)
    return CommandSecret(values["command"], parsed.place, parsed.context.folder)


PASSWORD = MappingType(
    _FORMS,
    (
        ENV,
        Field(
            "command",
            Text(_parse_command, "a command"),
            "A command that prints the password. It is run by `sh -c` in the campaign's folder with a small"
            " environment, and must print one line and exit with 0.",
            example="pass show smtp | head -1",
        ),
        Field("file", FilePath(), "The file that holds the password.", example="/run/secrets/smtp"),
        Field(
            "keyring",
            Text(_parse_service, "a service's name"),
            "The service under which the system's keyring has the password of `username`. It needs the extra"
            " `keyring`.",
            example="smtp.example.com",
        ),
        Field("login", Text(_refuse_login, "a provider"), "A token of `mailer login`. Not in this version."),
    ),
    build=_build_password,
    check=_check_one_form,
    rules={"minProperties": 1, "maxProperties": 1},
)


@dataclass(frozen=True)
class Password:
    """One of the forms of PASSWORD. A password itself is refused and not repeated."""

    def read(self, node: Node, context: LoadContext) -> SecretSource:
        if isinstance(node, nodes.Scalar):
            text = f"a password does not belong in a campaign file; expected {_FORMS}"
            raise context.error(node.place, text)
        return PASSWORD.read(node, context)

    def schema(self) -> Schema:
        return PASSWORD.schema()


_ENVIRONMENT = MappingType(
    "{env: NAME}",
    (Field(ENV.name, ENV.type, ENV.description, required=True, example="DATABASE_URL"),),
    build=lambda values, parsed: (
        EnvironmentSecret(values["env"], parsed.place)
        if parsed.context.access.secrets
        else WithheldSecret(parsed.place)
    ),
)


@dataclass(frozen=True)
class DatabaseUrl:
    """`{env: NAME}`, or a URL without a password."""

    def read(self, node: Node, context: LoadContext) -> SecretSource:
        if isinstance(node, nodes.Mapping):
            return _ENVIRONMENT.read(node, context)
        url = require_text(node, context, "a database's URL, or {env: NAME}")
        if re.search(r"://[^/]*:[^/]*@", url):
            text = "a password does not belong in a campaign file; expected {env: NAME}"
            raise context.error(node.place, text)
        return GivenSecret(Secret(url))

    def schema(self) -> Schema:
        return {"anyOf": [{"type": "string"}, _ENVIRONMENT.schema()]}


def parse_proxy(text: str) -> str:
    """Return the URL of a SOCKS5 proxy, checked. ValueError says what is wrong and never repeats the URL."""
    expected = "expected the URL of a proxy such as socks5://127.0.0.1:1080"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(expected) from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("a proxy's login does not belong in a campaign file; " + expected)
    if parts.scheme not in ("socks5", "socks5h") or not host or port == 0:
        raise ValueError(expected)
    if parts.path.strip("/") or parts.query or parts.fragment or not text.isprintable():
        raise ValueError(expected)
    return text
