"""The names of a list's columns: as the list writes them, and as templates use them.

A template uses a column by a variable's name, in which `_` replaces each run of characters that a name cannot
contain: `First Name` is `First_Name`.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import field

from mailer.dataclass import dataclass
from mailer.errors import InputError, Place, Problem
from mailer.text import make_printable, shorten

MAX_COLUMNS = 16_384  # as many as a spreadsheet has
MAX_SHOWN = 20
MAX_QUOTED = 20  # characters of a name in a message

# What every template has from the mailer, and what Jinja2 gives a meaning of its own.
OWN_NAMES = frozenset({"campaign", "image", "unsubscribe_url", "row"})
_JINJA_NAMES = frozenset(
    # words of its grammar, names that its statements define, and jinja2.defaults.DEFAULT_NAMESPACE
    {"and", "else", "if", "in", "is", "not", "or", "true", "false", "none", "True", "False", "None"}
    | {"self", "super", "loop", "caller", "varargs", "kwargs"}
    | {"range", "dict", "lipsum", "cycler", "joiner", "namespace"}
)
RESERVED = OWN_NAMES | _JINJA_NAMES

# Names of the address column without case, accents, blanks and signs, the best first.
ADDRESS_NAMES = (
    "email",  # HubSpot, Shopify, Stripe, Eventbrite, Brevo (EMAIL), SendGrid (EMAIL), Salesforce
    "emailaddress",  # Mailchimp, Constant Contact, Outlook ("E-mail Address"), LibreOffice
    "email1value",  # Google Contacts ("E-mail 1 - Value")
    "primaryemail",  # Thunderbird
    "primaryemailaddress",
    "primareemailadresse",  # Thunderbird in German
    "emailadresse",  # Outlook in German; the other languages are those of its CSV files, too
    "adressedemessagerie",  # French
    "adresseemail",
    "adressemail",
    "courriel",
    "direcciondecorreoelectronico",  # Spanish
    "correoelectronico",
    "indirizzopostaelettronica",  # Italian
    "indirizzoemail",
    "emailadres",  # Dutch
    "epostadress",  # Swedish
    "epostadresse",  # Norwegian
    "adresemail",  # Polish
    "adresseelectronique",
    "enderecodecorreioelectronico",  # Portuguese
    "enderecodeemail",
    "email1address",
    "メールアトレス",  # Japanese; the marks of Kana are left out as accents are
    "電子メールアトレス",
    "邮箱",  # Chinese
    "邮箱地址",
    "电子邮箱",
    "电子邮件",
    "电子邮件地址",
    "邮件地址",
    "email1",
    "useremail",  # WordPress
    "contactemail",
    "customeremail",  # Stripe's payments
    "emailaddresswork",  # Constant Contact and Capsule
    "emailaddresshome",
    "emailaddressother",
    "workemail",
    "mail",
    "mailaddress",
)
_SIGNS = re.compile(r"[\W_]+")


@functools.lru_cache(maxsize=4096)
def variable_name(name: str) -> str:
    """Return the name by which a template uses the column `name`."""
    if name.isidentifier():
        return name
    made = re.sub("_*\0+_*|\0+", "_", "".join(c if ("a" + c).isidentifier() else "\0" for c in name))
    return made if made.isidentifier() else "_" + made


def check_variable_name(name: str) -> str:
    """Return `name` if templates can use it for a value; ValueError if not."""
    if name in RESERVED:
        raise ValueError(f"{name!r} has a meaning in templates; expected another name")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"{_quote(name)} is not a variable's name; expected letters, digits and '_'")
    return name


def is_address_name(name: str) -> bool:
    """Return whether a column of this name probably holds addresses."""
    return _fold_name(name) in ADDRESS_NAMES


@functools.lru_cache(maxsize=4096)
def _fold_name(name: str) -> str:
    """Return `name` without case, accents, blanks and signs."""
    return _SIGNS.sub("", unicodedata.normalize("NFKD", name)).lower()


@dataclass(frozen=True, slots=True)
class Header:
    """A table's columns: `names` has the variable's name of each, or None for one that templates do not get.

    `address` is the index of the column with the address, and `title` its name in the list. `extra` are columns
    with one more name: index and name.
    """

    names: tuple[str | None, ...]
    address: int
    title: str
    extra: tuple[tuple[int, str], ...] = ()
    plain: bool = field(default=False)  # each column has one name: a row is a dict of names and cells

    def make_columns(self, cells: Sequence[object]) -> dict[str, object]:
        """Return the values of a row by name. There must be one cell for each column."""
        if self.plain:
            return dict(zip(self.names, cells, strict=True))  # type: ignore[arg-type]  # no name is None
        columns = {name: cell for name, cell in zip(self.names, cells, strict=True) if name is not None}
        columns.update((name, cells[index]) for index, name in self.extra)
        return columns


def parse_header(cells: Sequence[object], place: Place, aliases: Mapping[str, str]) -> Header:
    """Return the header of a table. Columns at the end without a name are left out.

    `aliases` (the key `columns`) maps a variable's name to the list's name of a column.
    InputError has every problem of the header.
    """
    written = [str(cell).strip() if cell is not None else "" for cell in cells]
    while written and not written[-1]:
        written.pop()
    problems = [f"column {number} has no name" for number, name in enumerate(written, 1) if not name]
    if len(written) > MAX_COLUMNS:
        problems = [f"the list has {len(written):,} columns; the limit is {MAX_COLUMNS:,}"]
        written = written[:MAX_COLUMNS]
    by_alias = _resolve_aliases(written, aliases, problems)
    address = by_alias.pop("email", None)
    if address is None and "email" not in aliases:
        address = _find_address(written, problems)
    names, extra = _name_columns(written, address, by_alias, problems)
    if problems:
        more = [f"and {len(problems) - MAX_SHOWN:,} more like these"] if len(problems) > MAX_SHOWN else []
        raise InputError([Problem(place, text) for text in [*problems[:MAX_SHOWN], *more]])
    assert address is not None  # noqa: S101 - else there is a problem
    return Header(
        tuple(names), address, written[address], tuple(extra), plain=not extra and None not in names
    )


def describe_columns(names: Sequence[str]) -> str:
    """Return "; the columns are: …" with the first ten names, or nothing if there are none."""
    shown = [make_printable(shorten(name, MAX_QUOTED)) for name in names[:10] if name]
    more = ", …" if len(names) > 10 else ""
    return f"; the columns are: {', '.join(shown)}{more}" if shown else ""


def _resolve_aliases(written: list[str], aliases: Mapping[str, str], problems: list[str]) -> dict[str, int]:
    folded = {name.casefold(): index for index, name in reversed(list(enumerate(written)))}
    found = {}
    for name, column in aliases.items():
        index = written.index(column) if column in written else folded.get(column.casefold())
        if index is None:
            text = f"columns.{name}: the list has no column {_quote(column)}"
            problems.append(text + describe_columns(written))
        else:
            found[name] = index
    return found


def _find_address(written: list[str], problems: list[str]) -> int | None:
    found: dict[str, list[int]] = {}
    for index, name in enumerate(written):
        found.setdefault(_fold_name(name), []).append(index)
    for known in ADDRESS_NAMES:
        same = found.get(known, [])
        exact = [index for index in same if written[index].lower() == "email"] or same
        if len(exact) == 1:
            return exact[0]
        if exact:
            one, other = (_quote(written[index]) for index in exact[:2])
            text = f"both columns {one} and {other} may have the address; say which: columns: {{email: …}}"
            problems.append(text if one != other else f"the column {one} is repeated")
            return exact[0]
    if any("@" in name for name in written):
        problems.append(
            "the first line has an address; expected the names of the columns, such as: email,name"
        )
        return None
    text = "there is no column 'email'" + describe_columns(written)
    likely = (name for name in written if "mail" in _fold_name(name) and len(name) <= MAX_QUOTED)
    column = next((make_printable(f'"{name}"') for name in likely), "…")
    problems.append(text + (f"; say which has the address: columns: {{email: {column}}}" if written else ""))
    return None


def _name_columns(
    written: list[str], address: int | None, by_alias: dict[str, int], problems: list[str]
) -> tuple[list[str | None], list[tuple[int, str]]]:
    """Return the name of each column, and the columns with a second name."""
    taken = {**by_alias, "email": address}  # what the campaign says wins over a column's own name
    owners: dict[str, int] = {}
    names: list[str | None] = []
    for index, column in enumerate(written):
        name: str | None = variable_name(column) if column else None
        if name is None or taken.get(name, index) != index or (index == address and name.lower() == "email"):
            names.append(None)
            continue
        if name in RESERVED:
            if index not in by_alias.values():
                text = (
                    f"the column {_quote(column)} needs another name, because templates have {name!r} already"
                )
                problems.append(
                    f'{text}; give it one: columns: {{my_{name}: "{shorten(column, MAX_QUOTED)}"}}'
                )
            name = None
        elif owners.setdefault(name, index) != index:
            problems.append(_describe_clash(written[owners[name]], column, name))
        names.append(name)
    extra = [(index, name) for name, index in by_alias.items() if names[index] != name]
    if address is not None and names[address] is None:
        names[address] = "email"
    elif address is not None:
        extra.append((address, "email"))
    return names, extra


def _describe_clash(one: str, other: str, name: str) -> str:
    if one == other:
        return f"the column {_quote(one)} is repeated"
    name = shorten(name, MAX_QUOTED)
    return (
        f"the columns {_quote(one)} and {_quote(other)} have the same name in templates ({name});"
        " rename one of them in the list"
    )


def _quote(text: str) -> str:
    return repr(shorten(text, MAX_QUOTED))
