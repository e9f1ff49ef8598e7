"""What every list has in common: the names of its columns, and how a row becomes a recipient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from mailer.campaign.addresses import check_address
from mailer.campaign.files import printable
from mailer.campaign.model import Recipient
from mailer.errors import InputError, Place, Problem

RESERVED = ("campaign", "image", "unsubscribe_url")  # names that templates have from us (contract, section 1)
MAX_SHOWN = 20
MAX_COLUMNS = 16_384  # as many as a spreadsheet has


@dataclass(frozen=True, slots=True)
class Where:
    """A `where` expression, compiled; `source` goes into the fingerprint."""

    source: str
    test: Callable[[Mapping[str, object]], bool]

    @classmethod
    def compile(cls, source: str, place: Place) -> Where:
        """InputError at `place` for an expression that is wrong."""
        from mailer.templating import compile_where  # brings Jinja2 along

        return cls(source, compile_where(source, place))


def filter_rows(rows: Iterable[Recipient], where: Where | None, place: Place) -> Iterator[Recipient]:
    """The rows that `where` keeps; those too that cannot be told. InputError at the end where there were none."""
    empty = nobody = True
    for recipient in rows:
        empty = False
        # A row without columns could not be read as one; it must not go unnoticed.
        if where is None or not recipient.columns or where.test(recipient.columns):
            nobody = False
            yield recipient
    if nobody:
        text = "the list has no recipients" if empty else "no recipient of the list matches 'where'"
        raise InputError(Problem(place, text))


def parse_header(cells: Iterable[object], place: Place) -> list[str]:
    """The header's names without blanks around them, the address's as `email`; InputError with all that is wrong."""
    names = [_normalize_name(str(cell).strip() if cell is not None else "") for cell in cells]
    problems: list[str] = []
    if len(names) > MAX_COLUMNS:
        problems.append(f"the list has {len(names):,} columns; at most {MAX_COLUMNS:,} are read")
        names = names[:MAX_COLUMNS]
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        if not name:
            problems.append(f"column {number} has no name")
        elif name in RESERVED:
            problems.append(f"the column {name!r} needs another name; templates have {name!r} already")
        elif name in seen:
            problems.append(f"the column {_shorten(name)!r} is repeated")
        seen.add(name)
    if "email" not in seen:
        shown = ", ".join(printable(_shorten(name)) for name in names[:10] if name)
        problems.append(
            f"there is no column 'email'; the columns are: {shown}" if shown else "there is no column 'email'"
        )
    if problems:
        more = [f"and {len(problems) - MAX_SHOWN:,} more like these"] if len(problems) > MAX_SHOWN else []
        raise InputError([Problem(place, text) for text in [*problems[:MAX_SHOWN], *more]])
    return names


def recipient_from_cells(names: list[str], cells: list[object], place: Place) -> Recipient:
    """A row of a table; one whose cells do not fit the header is a problem of its own."""
    if len(cells) != len(names):
        at = names.index("email")
        email = str(cells[at]) if at < len(cells) else ""
        text = f"the row has {_count_noun(len(cells), 'cell')} where the header has {len(names)}"
        return Recipient(email, {}, place, Problem(place, text))
    return recipient_from_columns(dict(zip(names, cells, strict=True)), place)


def recipient_from_columns(columns: dict[str, object], place: Place) -> Recipient:
    """A row whose column `email` is there."""
    email = columns["email"]
    if not isinstance(email, str):
        text = "there is no address" if email is None else f"expected an address, found {_shorten(repr(email))}"
        return Recipient("", columns, place, Problem(place, text))
    stripped = email.strip(" \t\xa0")
    try:
        address = check_address(stripped)
    except ValueError as error:
        return Recipient(email, columns, place, Problem(place, str(error)))
    columns["email"] = address
    return Recipient(address, columns, place)


def recipient_from_value(value: object, place: Place) -> Recipient:
    """An item of a list in YAML or JSON: an address, or a mapping with `email`."""
    if isinstance(value, str):
        return recipient_from_columns({"email": value}, place)
    if not isinstance(value, dict):
        return Recipient("", {}, place, Problem(place, "expected an address or a mapping with 'email'"))
    if "email" not in value:
        value = {_normalize_name(key): item for key, item in value.items()}
    if "email" not in value:
        return Recipient("", {}, place, Problem(place, "there is no 'email'"))
    for name in RESERVED:
        if name in value:
            text = f"{name!r} needs another name; templates have {name!r} already"
            return Recipient(str(value["email"]), {}, place, Problem(place, text))
    return recipient_from_columns(value, place)


def _normalize_name(name: str) -> str:
    return "email" if name.strip().lower() == "email" else name


def _shorten(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


def _count_noun(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
