"""The key `recipients` of a campaign file: a list, a file, or a query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailer.campaign.addresses import SEPARATORS, check_address
from mailer.campaign.model import RecipientSource
from mailer.campaign.named_file import NamedFile
from mailer.campaign.schema import nodes
from mailer.campaign.schema.field_types import (
    Choice,
    FilePath,
    Flag,
    LoadContext,
    MapOf,
    Schema,
    Template,
    Text,
    ValidationError,
)
from mailer.campaign.schema.mapping_types import Field, MappingType
from mailer.campaign.schema.nodes import Node, describe
from mailer.campaign.schema.secret_types import DatabaseUrl
from mailer.campaign.sources import (
    FileSource,
    InlineSource,
    RowRules,
    SqlSource,
    StandardInput,
    Where,
    WithheldSource,
    check_encoding,
    check_variable_name,
    list_format,
)
from mailer.dataclass import dataclass
from mailer.errors import InputError, Place, Problem


@dataclass(frozen=True)
class WhereType:
    """An expression over the columns, compiled while the other problems are collected."""

    def read(self, node: Node, context: LoadContext) -> Where:
        pattern = Template().read(node, context)
        try:
            return Where.compile(pattern.source, pattern.place, context.key)
        except InputError as error:
            raise ValidationError(error.problems) from None

    def schema(self) -> Schema:
        return Template().schema()


def _parse_separator(text: str) -> str:
    if text not in SEPARATORS:
        raise ValueError("expected what is between two addresses: ';', ',', '|', ':::' or ' '")
    return text


def _parse_column(text: str) -> str:
    if not text.strip():
        raise ValueError("expected the name of a column of the list")
    return text.strip()


_ROW_FIELDS = (
    Field(
        "where",
        WhereType(),
        "A Jinja2 expression over the columns. Only rows for which it is true are recipients.",
        example="plan == 'pro' and city in ['Paris', 'Rome']",
    ),
    Field(
        "columns",
        MapOf(Text(_parse_column, "a column's name"), check_variable_name, "[A-Za-z_][A-Za-z0-9_]*"),
        "Other names for columns: the name that templates use, then the list's name.",
        example='{email: "E-Mail Address", name: "First Name"}',
    ),
    Field(
        "split",
        Text(_parse_separator, "a separator"),
        "What is between several addresses in one cell, such as `;`, or `:::` in exports of Google Contacts."
        " Each address becomes a recipient of its own.",
        example='";"',
    ),
    Field(
        "trim",
        Flag(),
        "Whether blanks at the beginning and end of a cell are removed.",
        default=True,
        example="false",
    ),
)
LIST_FILE = MappingType(
    "a list, a file's name, or a mapping with 'file' or 'sql'",
    (
        Field(
            "file",
            FilePath(),
            "The list: a .csv, .tsv, .jsonl, .json, .yaml or .xlsx file, or `-` for CSV from standard input.",
            required=True,
            example="people.csv",
        ),
        *_ROW_FIELDS,
        Field(
            "encoding",
            Text(check_encoding, "an encoding's name"),
            "The file's encoding. Default: UTF-8, or UTF-16 with a byte order mark.",
            example="windows-1252",
        ),
        Field(
            "sheet",
            Text(str, "a sheet's name"),
            "The sheet of an .xlsx file. Default: the first that is not hidden.",
            example="Customers",
        ),
        Field(
            "hidden",
            Choice(("skip", "include")),
            "Whether the hidden rows of an .xlsx file are left out, be they hidden by hand or by a filter."
            " Without this key, a hidden row is an error.",
            example="skip",
        ),
    ),
    build=lambda values, _parsed: values,
)
LIST_SQL = MappingType(
    "a mapping with 'sql' and 'url'",
    (
        Field(
            "sql",
            Text(str, "a query"),
            "One SELECT statement, run in a read-only transaction. Only a database role that may do nothing"
            " but SELECT is a boundary.",
            required=True,
            example="select email, name from people",
        ),
        Field(
            "url",
            DatabaseUrl(),
            "The database: `sqlite:///people.db` or `postgresql://user@host/name`; `{env: NAME}` if it has"
            " a password.",
            required=True,
            example="{env: DATABASE_URL}",
        ),
        *_ROW_FIELDS,
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
                raise context.error(node.place, "the list is empty; expected at least one recipient")
            return InlineSource(tuple((nodes.to_row(item), item.place) for item in node.items))
        if isinstance(node, nodes.Mapping) and "sql" in node.entries:
            return self._read_query(node, context)
        if isinstance(node, nodes.Mapping):
            return self._read_file(node, LIST_FILE.read(node, context), context)
        if not isinstance(node.value, str):
            raise context.error(node.place, f"expected {LIST_FILE.what}, found {describe(node)}")
        return self._read_file(node, {"file": FilePath().read(node, context)}, context)

    def _read_query(self, node: Node, context: LoadContext) -> RecipientSource:
        values = LIST_SQL.read(node, context)
        if not context.access.own_machine:
            return WithheldSource(node.place, "recipients are read where the campaign is sent from")
        if not context.access.sql:
            return WithheldSource(node.place, "recipients from a database are not read here")
        return SqlSource(values["sql"], values["url"], node.place, context.folder, _row_rules(values))

    def _read_file(self, node: Node, values: Mapping[str, Any], context: LoadContext) -> RecipientSource:
        file: NamedFile = values["file"]
        place = file.named_at or node.place
        is_stdin = file.path == context.folder / "-"
        try:
            form = "csv" if is_stdin else list_format(str(file.path))
        except ValueError as error:
            problem = None if is_stdin or not context.may_read(file) else file.find_problem()
            if isinstance(node, nodes.Scalar):
                problem = _find_other_meaning(node.text, place, context) or problem
            raise ValidationError([problem or context.problem(place, str(error))]) from None
        encoding, sheet, hidden = (values.get(key) for key in ("encoding", "sheet", "hidden"))
        for key in ("sheet", "hidden"):
            if values.get(key) is not None and form != "xlsx":
                raise context.error(place, f"{key!r} goes with .xlsx files only")
        if encoding is not None and form == "xlsx":
            raise context.error(place, "'encoding' does not go with .xlsx files")
        if is_stdin:
            return FileSource(StandardInput(), form, _row_rules(values), encoding, sheet, hidden)
        if not context.access.own_machine:
            return WithheldSource(place, "recipients are read where the campaign is sent from")
        if isinstance(node, nodes.Scalar) and (problem := _find_other_meaning(node.text, place, context)):
            raise ValidationError([problem])
        if not context.may_read(file):
            return WithheldSource(place, f"{file.shown}: a list outside the project is not read here")
        if problem := file.find_problem():
            raise ValidationError([problem])
        return FileSource(file, form, _row_rules(values), encoding, sheet, hidden)

    def schema(self) -> Schema:
        rows: Schema = {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "string"}, _ROW]}}
        return {"anyOf": [rows, {"type": "string"}, LIST_FILE.schema(), LIST_SQL.schema()]}


def _find_other_meaning(text: str, place: Place, context: LoadContext) -> Problem | None:
    """Return the problem of a `text` that is an address or a URL, and not the name of a file; else None."""
    if "://" in text:
        return context.problem(place, "expected the name of a file, and not a URL; download the list first")
    try:
        check_address(text)
    except ValueError:
        return None
    text = f"expected a list or the name of a file; one recipient is a list, too: [{text}]"
    return context.problem(place, text)


def _row_rules(values: Mapping[str, Any]) -> RowRules:
    return RowRules(
        where=values.get("where"),
        columns=values.get("columns", {}),
        split=values.get("split"),
        trim=values.get("trim", True),
    )
