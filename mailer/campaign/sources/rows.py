"""What every list has in common: how a row becomes a recipient, and which rows are recipients."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from mailer.campaign.addresses import SEVERAL, check_address, find_separator
from mailer.campaign.model import Recipient, RowView
from mailer.campaign.sources.names import (
    MAX_QUOTED,
    RESERVED,
    Header,
    describe_columns,
    is_address_name,
    variable_name,
)
from mailer.dataclass import dataclass
from mailer.errors import InputError, Place, Problem
from mailer.text import count_noun, make_printable, shorten

MAX_SHOWN = 20  # problems of a list that are listed; the others are counted
SPLIT_ADVICE = "; to send to each of them: recipients: "
BLANK_ADVICE = "; to leave such rows out: recipients: "


@dataclass(frozen=True, slots=True)
class Where:
    """A `where` expression. It is compiled once in each process that uses it."""

    source: str
    test: Callable[[Mapping[str, object]], bool]
    place: Place

    @classmethod
    def compile(cls, source: str, place: Place, key: str = "recipients.where") -> Where:
        """Return the expression, compiled. InputError at `place` if it is wrong."""
        from mailer.templating import compile_where  # brings Jinja2 along

        with _naming_key(key):
            compiled = compile_where(source, place)
        uses_row = "row" in source

        def test(columns: Mapping[str, object]) -> bool:
            with _naming_key(key):
                return compiled({**columns, "row": RowView(columns)} if uses_row else columns)

        return cls(source, test, place)

    def __reduce__(self) -> tuple[Any, ...]:
        return Where.compile, (self.source, self.place)


class _naming_key:  # noqa: N801 - used as a function; a class costs less in a loop than a generator
    """Makes the problems of its block name the key in the campaign file."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, InputError):
            problems = [replace(p, text=f"{self._key}: {_explain_where(p.text)}") for p in error.problems]
            raise InputError(problems) from None


_TEXT_AND_NUMBER = re.compile(
    r"'[<>]=?' not supported between instances of '(?:str' and '(?:int|float)|(?:int|float)' and 'str)'"
)


def _explain_where(text: str) -> str:
    text = text.removeprefix("where: ")
    if _TEXT_AND_NUMBER.fullmatch(text):
        return (
            "a text cannot be compared with a number; a table's cells, and numbers such as 1.10, are text:"
            " write price|float > 1"
        )
    return text


@dataclass(frozen=True, slots=True)
class RowRules:
    """How the campaign wants rows to be read.

    `where` selects rows. `columns` maps a variable's name to the list's name of a column. `split` is the
    character between several addresses in one cell. `trim` removes blanks at both ends of each cell.
    """

    where: Where | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    split: str | None = None
    trim: bool = True

    def identity(self) -> tuple[object, ...]:
        """Return what decides which recipients a list gives, for a fingerprint."""
        return (self.where and self.where.source, sorted(self.columns.items()), self.split, self.trim)


PLAIN_RULES = RowRules()


def select_recipients(rows: Iterable[Recipient], where: Where | None, place: Place) -> Iterator[Recipient]:
    """Yield the rows for which `where` is true, and the rows that it cannot be asked about.

    InputError at the end if there were none.
    """
    is_empty = is_unmatched = True
    for recipient in rows:
        is_empty = False
        # A row without columns could not be read as one; it must not go unnoticed.
        if where is None or not recipient.columns or where.test(recipient.columns):
            is_unmatched = False
            yield recipient
    if is_unmatched:
        text = "the list has no recipients" if is_empty else "no recipient of the list matches 'where'"
        raise InputError(Problem(place, text))


def recipients_from_cells(
    header: Header, cells: Sequence[object], place: Place, rules: RowRules
) -> Iterator[Recipient]:
    """Yield the recipients of a table's row: one, or with `split` one for each address in it.

    A row whose cells do not fit the header is a recipient with a problem. Blank cells at its end are left
    out.
    """
    count = len(header.names)
    if len(cells) > count and not any(str(cell).strip() for cell in cells[count:] if cell is not None):
        cells = cells[:count]
    if len(cells) != count:
        email = str(cells[header.address]) if header.address < len(cells) else ""
        text = f"the row has {count_noun(len(cells), 'cell')}; the header has {count}"
        yield Recipient(email, {}, place, Problem(place, text))
        return
    if rules.trim:
        cells = [cell.strip() if isinstance(cell, str) else cell for cell in cells]
    nulls = tuple(name for name, cell in zip(header.names, cells, strict=True) if cell is None and name)
    if nulls or None in cells:
        cells = ["" if cell is None else cell for cell in cells]
    yield from _split_addresses(header.make_columns(cells), place, rules, nulls, header.title)


def recipients_from_value(value: object, place: Place, rules: RowRules = PLAIN_RULES) -> Iterator[Recipient]:
    """Yield the recipients of an item of a list in YAML or JSON: an address, or a mapping with `email`."""
    if isinstance(value, str):
        yield from _split_addresses({"email": value}, place, rules, (), "")
        return
    if not isinstance(value, dict):
        text = f"expected an address or a mapping with 'email', found {_describe_value(value)}"
        yield Recipient("", {}, place, Problem(place, text))
        return
    try:
        columns, title = _name_values(value, rules.columns)
    except ValueError as error:
        yield Recipient(str(value.get("email", "")), {}, place, Problem(place, str(error)))
        return
    nulls = []
    for name, item in columns.items():
        if item is None:
            columns[name] = ""
            nulls.append(name)
        elif rules.trim and item.__class__ is str:
            columns[name] = item.strip()
        elif isinstance(item, (list, dict)):
            columns[name] = empty_if_null(item)
    yield from _split_addresses(columns, place, rules, tuple(nulls), title)


def empty_if_null(value: object) -> object:
    """Return `value` with "" in place of None, at any depth: a template shows null as nothing."""
    if value is None:
        return ""
    if isinstance(value, list):
        return [empty_if_null(item) for item in value]
    if isinstance(value, dict):
        return {key: empty_if_null(item) for key, item in value.items()}
    return value


def _name_values(value: dict[str, object], aliases: Mapping[str, str]) -> tuple[dict[str, object], str]:
    """Return the item's values by the names that templates use, and the item's own name of the address.

    ValueError if that is not possible.
    """
    columns: dict[str, object] = {}
    title = aliases.get("email", "email")
    given = {column: name for name, column in aliases.items()}
    for key, item in value.items():
        alias = given.get(key)
        name = variable_name(key)
        if alias is not None and alias != name:
            columns[alias] = item
            if name in RESERVED or name in aliases or name == "email":
                continue
        if name in RESERVED:
            raise ValueError(
                f"{shorten(key, MAX_QUOTED)!r} needs another name, because templates have {name!r} already"
            )
        if name in columns:
            if name in aliases:
                continue
            shown = shorten(name, MAX_QUOTED)
            raise ValueError(f"two of the item's names are the same in templates ({shown})")
        columns[name] = item
    if "email" not in columns:
        found = next((key for key in value if is_address_name(key)), None)
        if found is None or "email" in aliases:
            column = shorten(aliases.get("email", "email"), MAX_QUOTED)
            raise ValueError(
                f"there is no {column!r}" + describe_columns(list(value)).replace("columns", "names")
            )
        columns["email"], title = value[found], found
        if variable_name(found).lower() == "email":
            del columns[variable_name(found)]
    return columns, title


def _split_addresses(
    columns: dict[str, object], place: Place, rules: RowRules, nulls: tuple[str, ...], title: str
) -> Iterator[Recipient]:
    email = columns["email"]
    if rules.split is None or not isinstance(email, str) or rules.split not in email:
        yield make_recipient(columns, place, nulls, title)
        return
    addresses = [part for part in map(str.strip, email.split(rules.split)) if part]
    for address in addresses or [""]:
        yield make_recipient({**columns, "email": address}, place, nulls, title)


def make_recipient(
    columns: dict[str, object], place: Place, nulls: tuple[str, ...] = (), title: str = ""
) -> Recipient:
    """Return the recipient of a row with the column `email`; a wrong address is its problem.

    The problem begins with `title`, the list's own name of that column, if it has one.
    """
    email = columns["email"]
    key = f"{make_printable(shorten(title, MAX_QUOTED))}: " if title else ""
    if not isinstance(email, str):
        text = f"{key}expected an address, found {_describe_value(email)}"
        return Recipient("", columns, place, Problem(place, text), nulls)
    try:
        address = check_address(email.strip())
    except ValueError as error:
        text = key + str(error)
        if text.endswith(SEVERAL):
            text += f'{SPLIT_ADVICE}{{file: …, split: "{find_separator(email)}"}}'
        elif title and not email.strip():
            text += f"{BLANK_ADVICE}{{file: …, where: email}}"
        return Recipient(email, columns, place, Problem(place, text), nulls)
    columns["email"] = address
    return Recipient(address, columns, place, None, nulls)


def _describe_value(value: object) -> str:
    """Return what a JSON value is, for messages: `a list`, `the number 5`, `nothing`."""
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "a mapping"
    if value is None or value == "":
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"the number {shorten(str(value), MAX_QUOTED)}"


def to_json_value(value: object) -> object:
    """Return `value` as a template and the ledger can have it: JSON's types, and text for what has none.

    Dates and times are ISO 8601, with a blank between them. Octets are read as UTF-8. Raises TypeError for
    an object that would print as its address in memory.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        return [to_json_value(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_json_value(item) for key, item in value.items()}
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "replace")
    text = str(value)
    if callable(value) or re.fullmatch(r"<.* at 0x[0-9a-fA-F]+>", text, re.DOTALL):
        raise TypeError(f"a value of the type {type(value).__name__} is neither text nor a number")
    return text
