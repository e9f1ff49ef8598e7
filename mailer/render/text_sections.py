"""Whether the text alternative of a section can be derived on its own.

Sections are between marks: comments in the HTML. Most of a layout is local: an element's text depends on the
element, and on whether something is before it on its line. What looks farther is checked here; if it may depend on
a section, NotLocal is raised, and the section is written out in each of its ways.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from typing import Any

from mailer.render.skeleton import MARK, NotLocal

EDGE = "\ufdd1"  # a noncharacter: stands for a mark in a text
_JUNCTION = re.compile(f"[ \n]*{EDGE}[ \n{EDGE}]*")
# Elements whose text is computed from all that is in them, or that count what is in them.
_WHOLE = frozenset("a ol pre title style script textarea select tr dl".split())  # noqa: SIM905 - names
_BLOCKS = frozenset("p div table ul ol h1 h2 h3 h4 h5 h6 blockquote pre article".split())  # noqa: SIM905


def find_numbers(comment: Any) -> set[int]:
    """The number of the section whose mark a comment is."""
    found = MARK.fullmatch(comment.text or "")
    return {int(found[1])} if found is not None else set()


def check_sections(tree: Any, rounds: Container[int]) -> None:
    """Check a parsed message; comments that are not marks are removed from it.

    :param rounds: the sections that are rounds of a loop.
    :raises NotLocal: if the text of a section depends on what is around it, or the other way round.
    """
    from lxml.etree import Comment

    for comment in [*tree.iter(Comment)]:
        if not find_numbers(comment):
            comment.drop_tree()
    _SectionCheck(tree, rounds).check()


def replace_marks(tree: Any) -> None:
    """Put each mark into the text, in place of its comment."""
    from lxml.etree import Comment

    for comment in [*tree.iter(Comment)]:
        comment.tail = (comment.text or "") + (comment.tail or "")
        comment.drop_tree()


class _SectionCheck:
    """Knows the innermost section of each element; 0 if it is in none."""

    def __init__(self, tree: Any, rounds: Container[int]) -> None:
        self._tree = tree
        self._rounds = rounds
        self._section: dict[Any, int] = {}
        self._parents: dict[int, int] = {}
        self._order: list[tuple[Any, int]] = []  # links and marks (with their number) as they come
        self._walk()

    def _walk(self) -> None:
        opened: list[tuple[int, Any]] = [(0, None)]
        for element in self._tree.iter():
            if isinstance(element.tag, str):
                self._section[element] = opened[-1][0]
                if element.tag == "a":
                    self._order.append((element, 0))
                continue
            found = MARK.fullmatch(element.text or "")
            if found is None:
                continue
            number, parent = int(found[1]), element.getparent()
            self._order.append((element, number))
            if parent is None:
                raise NotLocal({number})
            if found[2] == "s":
                self._check_ancestors(parent, number)
                self._parents[number] = opened[-1][0]
                opened.append((number, parent))
            elif opened.pop() != (number, parent):
                raise NotLocal({number, *(other for other, _ in opened if other)})
        if len(opened) > 1:
            raise NotLocal({number for number, _ in opened if number})

    def _check_ancestors(self, parent: Any, number: int) -> None:
        for element in (parent, *parent.iterancestors()):
            if element.tag in _WHOLE and (element.tag != "tr" or element is parent):
                raise NotLocal({number})
            if element.tag == "li" and not (element.text or "").strip():  # without any text it has no bullet
                raise NotLocal({number})

    def check(self) -> None:
        """NotLocal if a link or a table depends on a section."""
        for before, here, after in zip(
            [None, *self._order], self._order, [*self._order[1:], None], strict=False
        ):
            if not here[1] and not here[0].text_content().strip():  # it may repeat its neighbour's address
                for neighbour in (before, after):
                    if neighbour is not None and neighbour[1]:
                        raise NotLocal({neighbour[1]})
        for table in self._tree.iter("table"):
            if marks := self._find_marks(table):
                self._check_table(table, marks)

    def _find_marks(self, element: Any) -> list[int]:
        from lxml.etree import Comment

        return [number for comment in element.iter(Comment) for number in find_numbers(comment)]

    def _check_table(self, table: Any, marks: list[int]) -> None:
        from mailer.render.plain_text import is_data_table

        section = self._section[table]
        rows = [row for row in table.iter("tr") if next(row.iterancestors("table")) is table]
        for row in rows:
            self._check_row(row)
        if is_data_table(table, rows):
            sure = [row for row in rows if self._is_always_in(row, section)]
            if not sure or sure[0] is not rows[0] or self._section[rows[0]] != section or len(sure) < 2:
                raise NotLocal(number for number in marks if number not in self._rounds or not sure)
        elif not self._is_never_data(table, rows):
            raise NotLocal(marks)

    def _is_always_in(self, row: Any, section: int) -> bool:
        """Whether there is such a row in each way of a section."""
        own = self._section[row]
        return own == section or (own in self._rounds and self._parents[own] == section)

    def _is_never_data(self, table: Any, rows: list[Any]) -> bool:
        """Whether the table is a layout, whatever its sections are."""
        if (table.get("role") or "").lower() in ("presentation", "none"):
            return True
        first = [[cell.tag for cell in row if cell.tag in ("td", "th")][:1] for row in rows]
        if "th" not in [tag for tags in first for tag in tags]:
            return True
        return self._section[rows[0]] == self._section[table] and first[0] == ["td"]

    def _check_row(self, row: Any) -> None:
        """A block in a cell makes lines of all cells: it must not be in a section."""
        cells = [cell for cell in row if cell.tag in ("td", "th")]
        marks = [number for cell in cells for number in self._find_marks(cell)]
        if len(cells) < 2 or not marks:
            return
        blocks = [block for cell in cells for block in _list_blocks(cell)]
        if blocks and all(self._section[block] != self._section[row] for block in blocks):
            raise NotLocal(marks)


def _list_blocks(cell: Any) -> Iterator[Any]:
    return (element for element in cell.iterdescendants() if element.tag in _BLOCKS)


def join_edges(text: str) -> str:
    """Put together a text whose sections are between EDGEs."""
    return _JUNCTION.sub(_join, text)


def _join(found: re.Match[str]) -> str:
    """What is left of blanks and line ends around the edges of sections, as a layout without edges has it."""
    first, *lines = found[0].split("\n")
    if found.end() == len(found.string):
        return ""
    if not lines:
        return " " if " " in first and found.start() > 0 else ""
    *between, last = lines
    indent = last.partition(EDGE)[0]
    has_blank_line = any(EDGE not in line for line in between)
    return ("\n\n" if has_blank_line else "\n") + indent
