"""Invitations: an iCalendar object (RFC 5545) as an alternative of the message (RFC 6047)."""

from __future__ import annotations

import re
from typing import Any

from mailer.templating.environment import show_text

MAX_FOLDED = 75  # RFC 5545 3.1: octets of a line
_SPECIAL = re.compile(r"[\\;,]")
_LINE_END = re.compile(r"\r\n|[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]")  # as str.splitlines()
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # RFC 5545 3.1: in no line
_METHOD = re.compile(r"^METHOD:(.*?)\s*$", re.MULTILINE | re.IGNORECASE)
_BEGIN = re.compile(r"\ABEGIN:VCALENDAR\s*\n", re.IGNORECASE)


def show_calendar_text(value: Any) -> str:
    """Show a value as text of a property (RFC 5545 3.3.11), so that it cannot begin another property or
    parameter.

    A value that is marked as safe is shown as it is: a URL, say, whose commas are no list.
    """
    text = show_text(value)
    if hasattr(value, "__html__"):
        return _LINE_END.sub(" ", text)
    return _LINE_END.sub(r"\\n", _SPECIAL.sub(r"\\\g<0>", text)).replace('"', "'")


def finish_calendar(text: str, method: str) -> str:
    """An iCalendar object with its METHOD and with lines of at most 75 octets.

    :param text: the output of the campaign's template.
    :param method: what `calendar.method` says.
    :raises ValueError: if it is not an iCalendar object, has another METHOD, or has a control character.
    """
    text = text.strip().replace("\r\n", "\n").replace("\r", "\n") + "\n"
    if found := _CONTROL.search(text):
        raise ValueError(f"a control character (U+{ord(found[0]):04X}) cannot be in an iCalendar object")
    begin = _BEGIN.match(text)
    if begin is None or not text.upper().rstrip().endswith("END:VCALENDAR"):
        raise ValueError("expected an iCalendar object, from BEGIN:VCALENDAR to END:VCALENDAR")
    found = _METHOD.search(text)
    if found is None:
        text = f"{text[: begin.end()]}METHOD:{method}\n{text[begin.end() :]}"
    elif found[1].upper() != method:
        raise ValueError(f"its METHOD is {found[1]}, and the campaign's calendar.method is {method}")
    return "".join(_fold_line(line) + "\n" for line in text.split("\n") if line.strip())


def _fold_line(line: str) -> str:
    if len(line.encode("utf-8", "surrogatepass")) <= MAX_FOLDED:
        return line
    lines, size = [""], 0
    for char in line:
        octets = len(char.encode("utf-8", "surrogatepass"))
        if size + octets > MAX_FOLDED:
            lines.append(" ")
            size = 1
        lines[-1] += char
        size += octets
    return "\n".join(lines)
