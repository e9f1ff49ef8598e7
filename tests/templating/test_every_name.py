"""Every name that an expression may use, with arguments as large as they can be: each call ends, and crashes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from markupsafe import Markup

from mailer.bounded_process import ProcessDied, ProcessLimits, ProcessPool, TimeLimitExceeded
from mailer.templating import create_environment
from mailer.templating.limits import MAX_ITEMS, MAX_TEXT
from mailer.templating.operators import CHECKED_ITEM_METHODS, CHECKED_METHODS, METHODS

SECONDS = 4.0  # of processor time, for one call
HALF = MAX_TEXT // 2 - 64
COLLIDING = (1 << 61) - 1  # multiples of it have the same hash


def nest(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


LARGE = {
    "a": "a" * (2 * HALF),
    "a then b": "a" * (MAX_TEXT // 4) + "b",
    "blanks": " " * HALF,
    "line ends": "\n" * HALF,
    "digits": "9" * HALF,
    "percents": "%s" * (HALF // 2),
    "braces": "{0}" * (HALF // 4),
    "entities": Markup("&lt;" * (HALF // 4)),
    "tags": Markup("<a " * (HALF // 4)),
    "words": "a " * (HALF // 4),
    "wide": "\u0390" * (HALF // 2),
    "integer": (1 << 8191) + 1,
    "list": list(range(MAX_ITEMS)),
    "colliding": [number * COLLIDING for number in range(MAX_ITEMS // 2)],
    "texts": ["a" * 150] * (MAX_ITEMS // 2),
    "pairs": [[number, str(number)] for number in range(MAX_ITEMS // 2)],
    "deep": nest(500),
    "mapping": {str(number): number for number in range(MAX_ITEMS // 2)},
}
SECOND = {
    "small": 2,
    "large": 10**9,
    "negative": -(10**9),
    "letter": "a",
    **{name: LARGE[name] for name in ("a then b", "integer", "colliding", "mapping")},
}
# Python code looks up each part of groupby's argument for each item, and fills each field of a format: the time limit
# ends both, on a slow processor within these tests too.
LOOPS = ("x|groupby", "x.format")
OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "<", ">=", "in", "not in", "and"]


class Name(NamedTuple):
    """What is tried of a name: an expression with `x`, and one with `x` and `y`; empty if there is no such."""

    with_one: str
    with_two: str


class Call(NamedTuple):
    """The source of an expression, and the names of the values that it uses as `x` and `y`."""

    source: str
    x: str
    y: str


def list_names() -> dict[str, Name]:
    """Every name that an expression may use."""
    environment = create_environment()
    methods = set().union(*METHODS.values(), CHECKED_METHODS, CHECKED_ITEM_METHODS, {"format", "format_map"})
    found = [Name(f"x|{name}", f"x|{name}(y)") for name in sorted(environment.filters)]
    found += [
        Name(f"x is {name}", f"x is {name}(y)") for name in sorted(environment.tests) if name.isidentifier()
    ]
    found += [Name(f"x.{name}()", f"x.{name}(y)") for name in sorted(methods)]
    found += [Name(f"{name}(x)", f"{name}(x, y)") for name in sorted(environment.globals)]
    found += [Name("", f"x {name} y") for name in OPERATORS]
    found += [Name("-x", "[x, y]"), Name("namespace(a=x).a", "{x: y}"), Name("x|upper|lower", "x if y")]
    found += [Name("", "x[y]"), Name("", "x[y:]"), Name("x[:-1]", "x[::y]")]
    return {name.with_one or name.with_two: name for name in found}


NAMES = list_names()


def list_calls(name: Name, *, are_all: bool = False) -> Iterator[Call]:
    """Yield calls with each large value, alone and with some of the second values, or with all of them."""
    seconds = list(SECOND)
    for number, x in enumerate(LARGE):
        if name.with_one:
            yield Call(name.with_one, x, "")
        for y in (
            seconds if are_all else {seconds[number % len(seconds)], seconds[(number * 3 + 1) % len(seconds)]}
        ):
            yield Call(name.with_two, x, y)


ENVIRONMENT = create_environment(autoescape=True)


def run_call(call: Call) -> None:
    values = {"x": LARGE[call.x], "y": SECOND.get(call.y)}
    try:
        ENVIRONMENT.from_string(f"{{{{ {call.source} }}}}").render(values)
    except (TimeLimitExceeded, MemoryError):
        raise
    except Exception:
        pass


def check_calls(name: Name, *, are_all: bool = False) -> None:
    """Memory that runs out is an error as any other; the time does not run out, and no process dies."""
    with ProcessPool(run_call, limits=ProcessLimits(seconds=SECONDS)) as pool:
        for call, outcome in pool.map(list_calls(name, are_all=are_all), batch=20):
            assert not isinstance(outcome.error, ProcessDied), (call, outcome.error)
            if not call.source.startswith(LOOPS):
                assert not isinstance(outcome.error, TimeLimitExceeded), call


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_a_call_with_large_arguments_ends(name: str) -> None:
    check_calls(NAMES[name])
