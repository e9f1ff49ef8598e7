"""Kinds with forms of their own: variables, passwords, attachments and recipients."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mailer.campaign.files import NamedFile
from mailer.campaign.model import Attachment, RecipientSource, SecretSource
from mailer.campaign.schema import yaml
from mailer.campaign.schema.field_types import (
    Field,
    FilePath,
    Reading,
    Record,
    Schema,
    Scope,
    Template,
    Text,
    Wrong,
    wrong,
)
from mailer.campaign.schema.yaml import Node, describe
from mailer.campaign.secrets import CommandSecret, EnvSecret, FileSecret, GivenSecret, split_command
from mailer.campaign.sources import (
    RESERVED,
    FileSource,
    InlineSource,
    SqlSource,
    StandardInput,
    Where,
    check_encoding,
    list_format,
)
from mailer.errors import InputError, Problem
from mailer.secret import Secret

_ENV_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"


def _env_name(text: str) -> str:
    if not re.fullmatch(_ENV_NAME, text):
        raise ValueError("expected the name of an environment variable")
    return text


ENV = Field("env", Text(_env_name, "a variable's name", _ENV_NAME), "The environment variable that holds it.")


def check_variable(name: str) -> str:
    """A name that templates can use; ValueError where it cannot be one."""
    if name in RESERVED:
        raise ValueError(f"templates have {name!r} already; a variable needs another name")
    if not re.fullmatch(_VARIABLE, name):
        raise ValueError(f"{name[:80]!r} cannot be a variable's name; expected letters, digits and '_'")
    return name


@dataclass(frozen=True)
class Variables:
    """`vars`: any values; `{env: NAME}` at any depth is that environment variable's text."""

    def read(self, node: Node, _scope: Scope) -> dict[str, object]:
        if not isinstance(node, yaml.Mapping):
            raise wrong(node.place, f"expected a mapping, found {describe(node)}")
        problems: list[Problem] = []
        values = {}
        for name, value in node.entries.items():
            try:
                check_variable(name)
            except ValueError as error:
                problems.append(Problem(node.keys[name], str(error)))
            values[name] = self._value(value, problems)
        if problems:
            raise Wrong(problems)
        return values

    def _value(self, node: Node, problems: list[Problem]) -> object:
        if isinstance(node, yaml.Scalar):
            return node.value
        if isinstance(node, yaml.Sequence):
            return [self._value(item, problems) for item in node.items]
        if node.entries.keys() == {"env"}:
            return self._environment(node.entries["env"], problems)
        return {key: self._value(value, problems) for key, value in node.entries.items()}

    def _environment(self, node: Node, problems: list[Problem]) -> str:
        name = node.value if isinstance(node, yaml.Scalar) else None
        if not isinstance(name, str) or not re.fullmatch(_ENV_NAME, name):
            problems.append(Problem(node.place, "expected the name of an environment variable"))
        elif (value := os.environ.get(name)) is None:
            problems.append(Problem(node.place, f"the environment variable {name} is not set"))
        elif re.search("[\udc80-\udcff]", value):
            problems.append(Problem(node.place, f"the environment variable {name} is not UTF-8"))
        else:
            return value
        return ""

    def schema(self) -> Schema:
        return {"type": "object", "propertyNames": {"pattern": f"^{_VARIABLE}$", "not": {"enum": list(RESERVED)}}}


def _exactly_one(reading: Reading) -> Iterator[Problem]:
    if len(reading.places) != 1 and not reading.problems:
        yield Problem(reading.place, "expected one of {env: NAME}, {command: ...} and {file: PATH}")


@dataclass(frozen=True)
class Password:
    """`{env: NAME}`, `{command: "pass show smtp"}` or `{file: PATH}`; the password itself is refused unseen."""

    def read(self, node: Node, scope: Scope) -> SecretSource:
        if isinstance(node, yaml.Scalar):
            raise wrong(
                node.place,
                "a password does not belong in a campaign file; expected {env: NAME}, {command: ...} or {file: PATH}",
            )
        return self._record(scope).read(node, scope)

    def schema(self) -> Schema:
        return {**self._record(None).schema(), "minProperties": 1, "maxProperties": 1}

    def _record(self, scope: Scope | None) -> Record[SecretSource]:
        def build(values: Mapping[str, Any], reading: Reading) -> SecretSource:
            (form,) = values
            if form == "env":
                return EnvSecret(values["env"], reading.place)
            if form == "file" or scope is None:
                return FileSecret(values["file"])
            return CommandSecret(values["command"], reading.place, scope.folder)

        fields = (
            ENV,
            Field("command", Text(_command, "a command"), "Prints it in its first line; run without a shell."),
            Field("file", FilePath(), "The file that holds it."),
        )
        return Record("{env: NAME}, {command: ...} or {file: PATH}", fields, build, _exactly_one)


def _command(text: str) -> str:
    split_command(text)
    return text


@dataclass(frozen=True)
class AttachmentKind:
    """A path alone, or the mapping."""

    record: Record[Attachment]

    def read(self, node: Node, scope: Scope) -> Attachment:
        if isinstance(node, yaml.Mapping):
            return self.record.read(node, scope)
        return Attachment(Template().read(node, scope))

    def schema(self) -> Schema:
        return {"anyOf": [Template().schema(), self.record.schema()]}


@dataclass(frozen=True)
class DatabaseUrl:
    """`{env: NAME}`, or a URL without a password."""

    def read(self, node: Node, scope: Scope) -> SecretSource:
        if isinstance(node, yaml.Mapping):
            name = Record("{env: NAME}", (_required(ENV),), lambda values, _reading: values["env"]).read(node, scope)
            return EnvSecret(name, node.place)
        url = Text(str, "a database's URL, or {env: NAME}").read(node, scope)
        if re.search(r"://[^/]*:[^/]*@", url):
            raise wrong(node.place, "a password does not belong in a campaign file; expected {env: NAME}")
        return GivenSecret(Secret(url))

    def schema(self) -> Schema:
        env = Record("{env: NAME}", (_required(ENV),), lambda values, _reading: values).schema()
        return {"anyOf": [{"type": "string"}, env]}


def _required(entry: Field) -> Field:
    return Field(entry.name, entry.kind, entry.doc, required=True)


@dataclass(frozen=True)
class WhereKind:
    """An expression over the columns, compiled while the other problems are collected."""

    def read(self, node: Node, scope: Scope) -> Where:
        pattern = Template().read(node, scope)
        try:
            return Where.compile(pattern.source, pattern.place)
        except InputError as error:
            raise Wrong(error.problems) from None

    def schema(self) -> Schema:
        return Template().schema()


_WHERE = Field("where", WhereKind(), "An expression over the columns; only rows for which it is true.")

LIST_FILE = Record(
    "a list, a file's name, or a mapping with 'file' or 'sql'",
    (
        Field("file", FilePath(), "The list: .csv .tsv .jsonl .json .yaml .xlsx, or - for standard input.", True),
        _WHERE,
        Field("encoding", Text(check_encoding, "an encoding's name"), "Default: UTF-8, or UTF-16 with a mark."),
        Field("sheet", Text(str, "a sheet's name"), "The sheet of an .xlsx file. Default: the first."),
    ),
    build=lambda values, _reading: values,
)
LIST_SQL = Record(
    "a mapping with 'sql' and 'url'",
    (
        Field(
            "sql",
            Text(str, "a query"),
            "A query whose rows have an email column; run in a read-only transaction.",
            True,
        ),
        Field("url", DatabaseUrl(), "The database (SQLAlchemy's URL); {env: NAME} where it holds a password.", True),
        _WHERE,
    ),
    build=lambda values, _reading: values,
)
_ROW: Schema = {"type": "object", "properties": {"email": {"type": "string"}}}


@dataclass(frozen=True)
class Recipients:
    """A list of addresses and mappings, a file's name, or a mapping that names a file or a query."""

    def read(self, node: Node, scope: Scope) -> RecipientSource:
        if isinstance(node, yaml.Sequence):
            if not node.items:
                raise wrong(node.place, "the list is empty; expected at least one recipient")
            return InlineSource(tuple((yaml.to_value(item), item.place) for item in node.items))
        if isinstance(node, yaml.Mapping) and "sql" in node.entries:
            values = LIST_SQL.read(node, scope)
            return SqlSource(values["sql"], values["url"], node.place, scope.folder, values.get("where"))
        if isinstance(node, yaml.Mapping):
            return self._file(node, LIST_FILE.read(node, scope), scope)
        if not isinstance(node.value, str):
            raise wrong(node.place, f"expected {LIST_FILE.what}, found {describe(node)}")
        return self._file(node, {"file": FilePath().read(node, scope)}, scope)

    def _file(self, node: Node, values: Mapping[str, Any], scope: Scope) -> RecipientSource:
        file: NamedFile = values["file"]
        place = file.named_at or node.place
        stdin = file.path == scope.folder / "-"
        if not stdin and (problem := file.problem()):
            raise Wrong([problem])
        try:
            form = "csv" if stdin else list_format(str(file.path))
        except ValueError as error:
            raise wrong(place, str(error)) from None
        encoding, sheet = values.get("encoding"), values.get("sheet")
        if sheet is not None and form != "xlsx":
            raise wrong(place, "'sheet' goes with .xlsx files only")
        if encoding is not None and form == "xlsx":
            raise wrong(place, "'encoding' does not go with .xlsx files")
        return FileSource(StandardInput() if stdin else file, form, values.get("where"), encoding, sheet)

    def schema(self) -> Schema:
        rows: Schema = {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "string"}, _ROW]}}
        return {"anyOf": [rows, {"type": "string"}, LIST_FILE.schema(), LIST_SQL.schema()]}
