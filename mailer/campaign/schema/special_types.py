"""Types with forms of their own: variables, passwords, attachments and recipients."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mailer.campaign.files import NamedFile
from mailer.campaign.model import Attachment, RecipientSource, SecretSource
from mailer.campaign.schema import nodes
from mailer.campaign.schema.field_types import (
    Field,
    FilePath,
    LoadContext,
    MappingType,
    ParsedMapping,
    Schema,
    Template,
    Text,
    ValidationError,
    validation_error,
)
from mailer.campaign.schema.nodes import Node, describe
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

    def read(self, node: Node, _context: LoadContext) -> dict[str, object]:
        if not isinstance(node, nodes.Mapping):
            raise validation_error(node.place, f"expected a mapping, found {describe(node)}")
        problems: list[Problem] = []
        values = {}
        for name, value in node.entries.items():
            try:
                check_variable(name)
            except ValueError as error:
                problems.append(Problem(node.keys[name], str(error)))
            values[name] = self._value(value, problems)
        if problems:
            raise ValidationError(problems)
        return values

    def _value(self, node: Node, problems: list[Problem]) -> object:
        if isinstance(node, nodes.Scalar):
            return node.value
        if isinstance(node, nodes.Sequence):
            return [self._value(item, problems) for item in node.items]
        if node.entries.keys() == {"env"}:
            return self._environment(node.entries["env"], problems)
        return {key: self._value(value, problems) for key, value in node.entries.items()}

    def _environment(self, node: Node, problems: list[Problem]) -> str:
        name = node.value if isinstance(node, nodes.Scalar) else None
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


def _exactly_one(parsed: ParsedMapping) -> Iterator[Problem]:
    if len(parsed.places) != 1 and not parsed.problems:
        yield Problem(parsed.place, "expected one of {env: NAME}, {command: ...} and {file: PATH}")


@dataclass(frozen=True)
class Password:
    """`{env: NAME}`, `{command: "pass show smtp"}` or `{file: PATH}`; the password itself is refused unseen."""

    def read(self, node: Node, context: LoadContext) -> SecretSource:
        if isinstance(node, nodes.Scalar):
            raise validation_error(
                node.place,
                "a password does not belong in a campaign file; expected {env: NAME}, {command: ...} or {file: PATH}",
            )
        return self._record(context).read(node, context)

    def schema(self) -> Schema:
        return {**self._record(None).schema(), "minProperties": 1, "maxProperties": 1}

    def _record(self, context: LoadContext | None) -> MappingType[SecretSource]:
        def build(values: Mapping[str, Any], parsed: ParsedMapping) -> SecretSource:
            (form,) = values
            if form == "env":
                return EnvSecret(values["env"], parsed.place)
            if form == "file" or context is None:
                return FileSecret(values["file"])
            return CommandSecret(values["command"], parsed.place, context.folder)

        fields = (
            ENV,
            Field("command", Text(_command, "a command"), "Prints it in its first line; run without a shell."),
            Field("file", FilePath(), "The file that holds it."),
        )
        return MappingType("{env: NAME}, {command: ...} or {file: PATH}", fields, build, _exactly_one)


def _command(text: str) -> str:
    split_command(text)
    return text


@dataclass(frozen=True)
class AttachmentType:
    """A path alone, or the mapping."""

    record: MappingType[Attachment]

    def read(self, node: Node, context: LoadContext) -> Attachment:
        if isinstance(node, nodes.Mapping):
            return self.record.read(node, context)
        return Attachment(Template().read(node, context))

    def schema(self) -> Schema:
        return {"anyOf": [Template().schema(), self.record.schema()]}


@dataclass(frozen=True)
class DatabaseUrl:
    """`{env: NAME}`, or a URL without a password."""

    def read(self, node: Node, context: LoadContext) -> SecretSource:
        if isinstance(node, nodes.Mapping):
            name = MappingType("{env: NAME}", (_required(ENV),), lambda values, _parsed: values["env"]).read(
                node, context
            )
            return EnvSecret(name, node.place)
        url = Text(str, "a database's URL, or {env: NAME}").read(node, context)
        if re.search(r"://[^/]*:[^/]*@", url):
            raise validation_error(node.place, "a password does not belong in a campaign file; expected {env: NAME}")
        return GivenSecret(Secret(url))

    def schema(self) -> Schema:
        env = MappingType("{env: NAME}", (_required(ENV),), lambda values, _parsed: values).schema()
        return {"anyOf": [{"type": "string"}, env]}


def _required(entry: Field) -> Field:
    return Field(entry.name, entry.type, entry.doc, required=True)


@dataclass(frozen=True)
class WhereType:
    """An expression over the columns, compiled while the other problems are collected."""

    def read(self, node: Node, context: LoadContext) -> Where:
        pattern = Template().read(node, context)
        try:
            return Where.compile(pattern.source, pattern.place)
        except InputError as error:
            raise ValidationError(error.problems) from None

    def schema(self) -> Schema:
        return Template().schema()


_WHERE = Field("where", WhereType(), "An expression over the columns; only rows for which it is true.")

LIST_FILE = MappingType(
    "a list, a file's name, or a mapping with 'file' or 'sql'",
    (
        Field("file", FilePath(), "The list: .csv .tsv .jsonl .json .yaml .xlsx, or - for standard input.", True),
        _WHERE,
        Field("encoding", Text(check_encoding, "an encoding's name"), "Default: UTF-8, or UTF-16 with a mark."),
        Field("sheet", Text(str, "a sheet's name"), "The sheet of an .xlsx file. Default: the first."),
    ),
    build=lambda values, _parsed: values,
)
LIST_SQL = MappingType(
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
    build=lambda values, _parsed: values,
)
_ROW: Schema = {"type": "object", "properties": {"email": {"type": "string"}}}


@dataclass(frozen=True)
class Recipients:
    """A list of addresses and mappings, a file's name, or a mapping that names a file or a query."""

    def read(self, node: Node, context: LoadContext) -> RecipientSource:
        if isinstance(node, nodes.Sequence):
            if not node.items:
                raise validation_error(node.place, "the list is empty; expected at least one recipient")
            return InlineSource(tuple((nodes.to_value(item), item.place) for item in node.items))
        if isinstance(node, nodes.Mapping) and "sql" in node.entries:
            values = LIST_SQL.read(node, context)
            return SqlSource(values["sql"], values["url"], node.place, context.folder, values.get("where"))
        if isinstance(node, nodes.Mapping):
            return self._file(node, LIST_FILE.read(node, context), context)
        if not isinstance(node.value, str):
            raise validation_error(node.place, f"expected {LIST_FILE.what}, found {describe(node)}")
        return self._file(node, {"file": FilePath().read(node, context)}, context)

    def _file(self, node: Node, values: Mapping[str, Any], context: LoadContext) -> RecipientSource:
        file: NamedFile = values["file"]
        place = file.named_at or node.place
        stdin = file.path == context.folder / "-"
        if not stdin and (problem := file.find_problem()):
            raise ValidationError([problem])
        try:
            form = "csv" if stdin else list_format(str(file.path))
        except ValueError as error:
            raise validation_error(place, str(error)) from None
        encoding, sheet = values.get("encoding"), values.get("sheet")
        if sheet is not None and form != "xlsx":
            raise validation_error(place, "'sheet' goes with .xlsx files only")
        if encoding is not None and form == "xlsx":
            raise validation_error(place, "'encoding' does not go with .xlsx files")
        return FileSource(StandardInput() if stdin else file, form, values.get("where"), encoding, sheet)

    def schema(self) -> Schema:
        rows: Schema = {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "string"}, _ROW]}}
        return {"anyOf": [rows, {"type": "string"}, LIST_FILE.schema(), LIST_SQL.schema()]}
