"""An error while a message is made, with its place.

`compiled.py` adds the recipient and makes it a RenderError.
"""

from __future__ import annotations

from mailer.errors import Place


class RenderFailure(Exception):
    """`str()` is one line for a person; `place` is the template's or the campaign's line."""

    def __init__(self, place: Place | None, text: str) -> None:
        super().__init__(text)
        self.place = place
