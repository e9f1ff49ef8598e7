"""docs/campaign.md holds tables that are made from the code, behind marks `<!-- table: NAME -->`.

Run it (`python -m tests.campaign_page`) to write the tables anew.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2.filters import FILTERS
from jinja2.tests import TESTS

from mailer.campaign.schema.fields import CAMPAIGN
from mailer.campaign.schema.mapping_types import Field, MappingType
from mailer.campaign.schema.recipients import LIST_FILE, LIST_SQL
from mailer.lint import RULES
from mailer.templating import filters

DOCUMENT = Path(__file__).parents[1] / "docs" / "campaign.md"
_TABLE = re.compile(r"<!-- table: (?P<name>[a-z._]+) -->\n(?:\n?\|.*?\n(?=\n|\Z))?", re.DOTALL)
_DOCUMENTED = {"recipients": LIST_FILE, "recipients.sql": LIST_SQL}


def find_mappings(
    mapping: MappingType[Any] = CAMPAIGN, path: str = ""
) -> Iterator[tuple[str, MappingType[Any]]]:
    """Yield every mapping of the campaign file with the path of its key; the file itself has the path `campaign`."""
    yield path or "campaign", mapping
    for field in mapping.fields:
        inner = field.type
        while not isinstance(inner, MappingType) and (found := _inner_type(inner)) is not None:
            inner = found
        if isinstance(inner, MappingType):
            yield from find_mappings(inner, f"{path}.{field.name}".strip("."))
    if not path:
        yield from _DOCUMENTED.items()


def make_tables() -> dict[str, str]:
    """Return each table by its name."""
    tables = {path: _make_key_table(mapping) for path, mapping in find_mappings()}
    tables["filters"] = _make_name_table("filter", filters.create_filters(), FILTERS)
    tables["tests"] = _make_name_table("test", filters.create_tests(), TESTS)
    rows = [f"| `{rule}` | {_escape(why)} |" for rule, why in sorted(RULES.items())]
    tables["rules"] = _join_rows(["| rule | why |", "| --- | --- |", *rows])
    return tables


def renew(document: str) -> str:
    """Return the document with all tables as they should be."""
    tables = make_tables()
    return _TABLE.sub(lambda match: f"<!-- table: {match['name']} -->\n\n{tables[match['name']]}", document)


def find_table_names(document: str) -> list[str]:
    """Return the names of the document's tables."""
    return [match["name"] for match in _TABLE.finditer(document)]


def describe_type(schema: Mapping[str, Any]) -> str:
    """Return the words for a JSON Schema: `text`, `number`, `true or false`, `list of …`, `mapping`, a choice."""
    if "anyOf" in schema and "properties" not in schema:
        return " or ".join(dict.fromkeys(describe_type(one) for one in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        values = dict.fromkeys(str(value) for value in schema.get("enum", [schema.get("const")]))
        return " or ".join("null" if value == "None" else f"`{value}`" for value in values)
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(describe_type({**schema, "type": one}) for one in kind)
    if kind == "array":
        return f"list of {describe_type(schema.get('items', {}))}"
    words = {
        "string": "text",
        "boolean": "true or false",
        "integer": "number",
        "number": "number",
        "object": "mapping",
    }
    return words.get(str(kind), "null" if kind == "null" else "any value")


def _inner_type(type_: object) -> Any:
    for name in ("mapping", "item", "inner", "type", "each", "of"):
        if (found := getattr(type_, name, None)) is not None and hasattr(found, "schema"):
            return found
    return None


def _make_key_table(mapping: MappingType[Any]) -> str:
    rows = ["| key | value | default | example |", "| --- | --- | --- | --- |"]
    return _join_rows([*rows, *map(_make_key_row, mapping.fields)])


def _make_key_row(field: Field) -> str:
    default = (
        "required" if field.required else f"`{_as_yaml(field.default)}`" if field.default is not None else ""
    )
    value = f"{describe_type(field.type.schema())}. {field.description}"
    example = f"`{_escape(field.example)}`" if field.example else ""
    return f"| `{field.name}` | {_escape(value)} | {default} | {example} |"


def _as_yaml(value: object) -> str:
    return {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _make_name_table(what: str, known: Mapping[str, Any], jinja: Mapping[str, Any]) -> str:
    names: dict[int, list[str]] = {}
    for name in sorted(known, key=lambda name: (len(name) < 3, name)):  # `default` before its alias `d`
        names.setdefault(id(jinja.get(name, known[name])), []).append(name)
    rows = []
    for group in names.values():
        text = _describe(jinja.get(group[0], known[group[0]]))
        rows.append(f"| {', '.join(f'`{name}`' for name in group)} | {_escape(text)} |")
    return _join_rows([f"| {what} | what it does |", "| --- | --- |", *sorted(rows)])


def _describe(function: object) -> str:
    """Return the first sentence of a docstring, without reStructuredText's marks."""
    text = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
    text = re.sub(r":(?:func|meth|class|ref|attr|py:\w+):`~?([^`<]+?)(?: <[^>]*>)?`", r"\1", text)
    return re.split(r"(?<=[^.][^.][.:])\s", text.replace("``", "`"))[0].rstrip(":") or "see Python's operator"


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _join_rows(rows: list[str]) -> str:
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(renew(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
