"""Cells as a person sees them: the common number formats (ECMA-376 part 1, 18.8.31), in English."""

from __future__ import annotations

import datetime
import functools
import re
from decimal import ROUND_HALF_UP, Context, Decimal

from mailer.dataclass import dataclass

MAX_CELL = 32_767  # characters, by the format
MAX_FORMAT = 255  # characters of a number format; a longer one is not looked at

_MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August"]
_MONTHS += ["September", "October", "November", "December"]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"|\\(?P<escaped>.)|\[\$(?P<currency>[^\]-]*)(?:-[^\]]*)?\]'
    r"|(?P<elapsed>\[(?:h+|m+|s+)\])|\[[^\]]*\]|[_*].|(?P<ampm>AM/PM|A/P)"
    r"|(?P<date>y+|m+|d+|h+|s+(?:\.0+)?)|(?P<digits>[0#?][0#?,]*(?:\.[0#?]+)?,*)"
    r"|(?P<other>.)",
    re.IGNORECASE | re.DOTALL,
)
_WIDE = Context(prec=400, rounding=ROUND_HALF_UP)  # any float in full
_LITERAL = frozenset(" -/:.,()+%$€£¥'T")
# Formats that each reader's locale shows in another way: ISO 8601 is the same for all.
_LOCALE = {"mm-dd-yy": "yyyy-mm-dd", "m/d/yy h:mm": "yyyy-mm-dd hh:mm", "m/d/yyyy h:mm": "yyyy-mm-dd hh:mm"}


@dataclass(frozen=True, slots=True)
class _FormatPart:
    kind: str  # literal, digits, date, ampm
    text: str


def show_number(number: int | float, number_format: str) -> int | float | str:
    """Return the text that a person sees, or the number itself if the format adds nothing to it."""
    plain = _show_general(number)
    if len(number_format) > MAX_FORMAT:
        return plain
    section, negative_shown = _select_section(number_format, negative=number < 0)
    parts = _split_format(section)
    digits = [part for part in parts if part.kind == "digits"]
    if (
        section.lower() in ("general", "@", "0", "")
        or len(digits) != 1
        or any(p.kind == "date" for p in parts)
    ):
        return plain
    percent = sum(part.text.count("%") for part in parts if part.kind == "literal")
    value = Decimal(repr(abs(number) if negative_shown else number)) * 100**percent
    text = _show_digits(value, digits[0].text)
    return "".join(text if part.kind == "digits" else part.text for part in parts).strip()


def show_date(
    value: datetime.datetime | datetime.date | datetime.time | datetime.timedelta, number_format: str
) -> str:
    """Return a date or a time as its format writes it, or as ISO 8601 if that depends on the reader."""
    if isinstance(value, datetime.timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    if len(number_format) > MAX_FORMAT:
        number_format = ""
    section = _select_section(_LOCALE.get(number_format.lower(), number_format), negative=False)[0]
    parts = _split_format(section)
    if not any(part.kind == "date" for part in parts) or any(part.kind == "digits" for part in parts):
        return value.isoformat(*([" "] if isinstance(value, datetime.datetime) else []))
    moment = _to_datetime(value)
    twelve = any(part.kind == "ampm" for part in parts)
    shown = []
    for index, part in enumerate(parts):
        if part.kind == "date":
            shown.append(_show_date_field(moment, part.text.lower(), twelve, minute=_is_minute(parts, index)))
        elif part.kind == "ampm":
            shown.append("AM" if moment.hour < 12 else "PM")
        else:
            shown.append(part.text)
    return "".join(shown).strip()


def _show_general(number: int | float) -> int | float:
    """Return what `General` shows: no `.0`, and 15 digits, as many as a spreadsheet keeps."""
    if isinstance(number, float):
        number = float(f"{number:.15g}")
        if number.is_integer() and abs(number) < 1e15:
            return int(number)
    return number


def _select_section(number_format: str, *, negative: bool) -> tuple[str, bool]:
    """The format's part for the sign (positive;negative;zero;text), and whether that part shows the sign
    itself.
    """
    sections = re.findall(r'(?:"[^"]*"|\\.|\[[^\]]*\]|[^;])+', number_format) or [""]
    if negative and len(sections) > 1:
        return sections[1], True
    return sections[0], False


@functools.lru_cache(maxsize=256)
def _split_format(section: str) -> tuple[_FormatPart, ...]:
    parts: list[_FormatPart] = []
    for match in _TOKEN.finditer(section):
        kind = match.lastgroup
        if kind is None:
            continue
        text = match[kind]
        if kind == "other" and text not in _LITERAL:
            return ()  # fractions, exponents, foreign date codes: shown plainly
        if kind == "elapsed":
            return ()
        known = kind if kind in ("digits", "date", "ampm") else "literal"
        parts.append(_FormatPart(known, text))
    return tuple(parts)


def _show_digits(value: Decimal, picture: str) -> str:
    scale = len(picture) - len(picture.rstrip(","))
    whole, _, fraction = picture.rstrip(",").partition(".")
    value = _WIDE.quantize(_WIDE.divide(value, Decimal(1000) ** scale), Decimal(1).scaleb(-len(fraction)))
    left, _, right = f"{abs(value):f}".partition(".")
    left = left.lstrip("0").rjust(whole.count("0"), "0")
    if "," in whole:
        left = re.sub(r"(?<=\d)(?=(?:\d{3})+$)", ",", left)
    keep = len(fraction.rstrip("#?"))
    right = right[:keep] + right[keep:].rstrip("0")
    return ("-" if value < 0 else "") + left + ("." + right if right else "")


def _to_datetime(value: datetime.datetime | datetime.date | datetime.time) -> datetime.datetime:
    if isinstance(value, datetime.datetime):
        return value
    if isinstance(value, datetime.time):
        return datetime.datetime.combine(datetime.date(1900, 1, 1), value)
    return datetime.datetime.combine(value, datetime.time())


def _is_minute(parts: tuple[_FormatPart, ...], index: int) -> bool:
    """`m` is minutes right after hours and right before seconds (18.8.31), months elsewhere."""
    dates = [(at, part.text.lower()[0]) for at, part in enumerate(parts) if part.kind == "date"]
    here = dates.index((index, parts[index].text.lower()[0]))
    before = dates[here - 1][1] if here else ""
    after = dates[here + 1][1] if here + 1 < len(dates) else ""
    return before == "h" or after == "s"


def _show_date_field(moment: datetime.datetime, code: str, twelve: bool, *, minute: bool) -> str:
    width = len(code)
    if code[0] == "y":
        return f"{moment.year:04}" if width > 2 else f"{moment.year % 100:02}"
    if code[0] == "d":
        return _show_named_field(moment.day, _DAYS[moment.weekday()], width)
    if code[0] == "m" and not minute:
        return _show_named_field(moment.month, _MONTHS[moment.month - 1], width)
    if code[0] == "h":
        hour = (moment.hour % 12 or 12) if twelve else moment.hour
        return str(hour).rjust(min(width, 2), "0")
    if code[0] == "m":
        return str(moment.minute).rjust(min(width, 2), "0")
    whole, _, fraction = code.partition(".")
    return str(moment.second).rjust(len(whole), "0") + (
        f".{moment.microsecond:06}"[: len(fraction) + 1] if fraction else ""
    )


def _show_named_field(number: int, name: str, width: int) -> str:
    if width <= 2:
        return str(number).rjust(width, "0")
    return {3: name[:3], 5: name[:1]}.get(width, name)
