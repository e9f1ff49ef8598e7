"""How much work a compiled template can be: from the sizes of its values, without running it.

A recipient whose values are short (`is_short`) needs little work in a template that only shows values,
compares them, and passes them through filters whose results are at most so many times as long as what they
are given. Such a message may be rendered where nothing can stop it. The size of each register is computed
when a way through the template is added: from the sizes of the operation's arguments, times the operation's
factor. An operation that has no factor here may need any amount of work.

Sizes are in characters. They are upper limits, but for a constant: nested values are written out a few times
as long as they are counted.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from jinja2 import Undefined
from jinja2.nodes import EvalContext
from jinja2.runtime import Context

from mailer.render.preheader import join_lines
from mailer.render.recording import Instruction
from mailer.render.symbols import join_markup, join_text
from mailer.render.trace import COMPARISONS
from mailer.render.traced_runtime import GROWTH_FACTORS
from mailer.templating import BoundedEnvironment, LimitExceeded
from mailer.templating.environment import show_html
from mailer.templating.limits import MAX_WIDTH, PART_SIZE, SCALARS, measure_size
from mailer.templating.locale_filters import LOCALE_FILTERS

MAX_INPUT = 4096  # characters of all values of a recipient that is short
MAX_CONSTANT = 65_536  # characters of an argument that the author wrote
MAX_SIZE = 4 * 1024 * 1024  # characters of one value
MAX_WORK = 128 * 1024 * 1024  # characters of all values: less than a second
_SMALL = 64  # characters of a number or a truth value that was computed
_REPEATED = -1  # in place of a factor: a constant argument is put into the result again and again
_SEARCH = -2  # a small result of up to so many steps as the sizes of both arguments, multiplied
_ESCAPED = 6  # characters that escaping makes of one, at most
_DEPTH = 4  # of lists in a column of a recipient that is short

_FILTERS = {
    **dict.fromkeys("capitalize lower title trim upper".split(), 3),  # noqa: SIM905 - as the other tables of names
    **dict.fromkeys("e escape forceescape string".split(), 8),  # noqa: SIM905
    **dict.fromkeys("abs d default first float int last round truncate".split(), 1),  # noqa: SIM905
    **dict.fromkeys("count filesizeformat length wordcount".split(), 0),  # noqa: SIM905
    **dict.fromkeys(LOCALE_FILTERS, 8),
    "urlencode": 12,
    "list": 5,
}
_TESTS = (
    "boolean callable defined divisibleby even false float integer iterable lower mapping none number odd sequence"
    " string true undefined upper == eq equalto != ne > gt greaterthan ge >= < lt lessthan <= le"
)
_OPERATORS = ("+", "-", "/", "//")
_REGISTER = re.compile(r"\bv(\d+)")


def is_short(columns: Mapping[str, object]) -> bool:
    """Return whether a recipient's values are short enough for MAX_INPUT."""
    room = MAX_INPUT - len("".join(columns))
    try:
        return len("".join(columns.values())) <= room  # type: ignore[arg-type]
    except TypeError:  # most lists have texts alone; this one has a number, or a list
        pass
    for value in columns.values():
        room = _measure(value, room, _DEPTH)
    return room >= 0


def _measure(value: object, room: int, depth: int) -> int:
    """What is left of `room` characters after `value`; negative if there is too much of it, or it is too deep."""
    if isinstance(value, str):
        return room - len(value)
    if isinstance(value, int):
        return room - PART_SIZE - value.bit_length() // 3
    if value is None or isinstance(value, float):
        return room - PART_SIZE
    if depth == 0:
        return -1
    if isinstance(value, Mapping):
        room -= sum(map(len, map(str, value)))
        parts: Any = value.values()
    elif isinstance(value, (list, tuple)):
        parts = value
    else:  # a date, for example
        return room - PART_SIZE if not hasattr(value, "__iter__") else -1
    room -= PART_SIZE * len(parts)
    for part in parts:
        if room < 0:
            return room
        room = _measure(part, room, depth - 1)
    return room


def list_growth_factors(environment: BoundedEnvironment) -> dict[Callable[..., Any], int]:
    """The factors of the functions that a trace of `environment` records: the length of a result by that of the
    arguments.

    0 is a result that is small.
    """
    factors: dict[Callable[..., Any], int] = {
        environment.getattr: 1,
        environment.getitem: 1,
        operator.getitem: 1,
        list: 5,
        len: 0,
        show_html: 8,
        environment.show_html: 8,
        environment.show_text: 8,
        environment.join_html: 8,
        environment.join_text: 8,
        join_text: 1,
        join_markup: 1,
        join_lines: 1,
        **GROWTH_FACTORS,
    }
    tables: list[tuple[Mapping[str, Any], Mapping[str, int]]] = [
        (COMPARISONS, dict.fromkeys(COMPARISONS, 0) | {"in": _SEARCH, "notin": _SEARCH}),
        (environment.filters, _FILTERS),
        (environment.filters, dict.fromkeys(("join", "replace", "format"), _REPEATED)),
        (environment.tests, dict.fromkeys(_TESTS.split(), 0) | {"in": _SEARCH}),
        (environment.binop_table, dict.fromkeys(_OPERATORS, 1)),
    ]
    for functions, names in tables:
        factors |= {functions[name]: factor for name, factor in names.items()}
    return factors


class Growth:
    """The sizes of the registers of one trace. `is_bounded` says whether all of them, added up, are little work."""

    def __init__(self, factors: dict[Callable[..., Any], int]) -> None:
        self._factors = factors
        self._sizes: dict[int, int] = {}
        self._work = 0
        self._weight = 1  # how often each operation may be done
        self.is_bounded = True

    def fork(self, base: int, items: int | None, sections: int, rounds: int) -> Growth:
        """The sizes within a section of a way that has so many sections.

        :param base: the number of registers that it sees.
        :param items: the register of the list that a loop goes through; None for a branch.
        :param rounds: the maximum of a loop.
        """
        inner = Growth(self._factors)
        inner.is_bounded = self.is_bounded
        inner._work = self._work
        inner._weight = self._weight * sections * (1 if items is None else rounds)
        inner._sizes = {register: size for register, size in self._sizes.items() if register < base}
        if items is not None:
            inner._sizes |= {base: self._sizes.get(items, MAX_INPUT), base + 1: _SMALL, base + 2: _SMALL}
        return inner

    def add(self, step: Instruction) -> None:
        """Take in the next instruction."""
        if not self.is_bounded:
            return
        size = self._find_size(step)
        if size is not None:
            self._sizes[step.register] = size
            self._work += size * self._weight
        self.is_bounded = size is not None and size <= MAX_SIZE and self._work <= MAX_WORK

    def _find_size(self, step: Instruction) -> int | None:
        """Of the result; None if it is not bounded."""
        if not step.uses and "F" not in step.constants:  # a column is read
            return MAX_INPUT
        numbers = _REGISTER.findall(step.source)
        registers = sum(self._sizes[int(number)] for number in numbers)
        function: Any = step.constants.get("F")
        if function is None:  # the items of an iterator
            return registers
        if not isinstance(function, Hashable) or function not in self._factors:
            return None
        factor = self._factors[function]
        constants = [_measure_constant(value) for name, value in step.constants.items() if name != "F"]
        if None in constants:
            return None
        written = sum(size for size in constants if size is not None)
        if (
            factor == _REPEATED
        ):  # what the author wrote is put at each place, or has fields of up to MAX_WIDTH
            if len(numbers) != 1 or not step.source.startswith("{F}({K"):
                return None
            text = sum(len(value) for value in step.constants.values() if isinstance(value, str))
            return (registers * _ESCAPED + MAX_WIDTH) * (1 + text) + written
        steps = (registers + written) * (registers + written) // 32 if factor == _SEARCH else 0
        self._work += (steps + registers + written) * self._weight
        return (registers + written) * max(factor, 0) + _SMALL


def _measure_constant(value: object) -> int | None:
    """None if the value is not one whose size is known and little."""
    if isinstance(value, (BoundedEnvironment, Context, EvalContext, Undefined, slice)):
        return 0
    if value.__class__ not in SCALARS and not isinstance(value, (list, tuple, dict)):
        return None
    try:
        size = measure_size(value)
    except LimitExceeded:
        return None
    return size if size <= MAX_CONSTANT else None
