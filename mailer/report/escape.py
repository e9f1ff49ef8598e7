"""What documents add to printable text: characters that no escape can bring into XML, raw controls in JSON."""

from __future__ import annotations

import re

from mailer.text import UNPRINTABLE, escape_character, make_printable

# XML 1.0, 2.2 Char. Discouraged characters are left out with the other controls.
_NOT_XML = re.compile("[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def escape_xml(text: str) -> str:
    """Return printable text of characters that XML 1.0 allows. Markup in it is still to be escaped."""
    return _NOT_XML.sub(escape_character, make_printable(text))


def escape_json(document: str) -> str:
    """Return a JSON document of the same meaning that holds no raw control, direction mark or lone surrogate."""
    return UNPRINTABLE.sub(lambda match: f"\\u{ord(match.group()):04x}", document)
