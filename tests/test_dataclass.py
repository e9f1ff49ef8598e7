"""The package's `dataclass` makes what the standard library's makes. Each test compares both."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from typing import Any

import pytest

from mailer.dataclass import dataclass as our_dataclass

OPTIONS: list[dict[str, bool]] = [
    {},
    {"frozen": True},
    {"slots": True},
    {"frozen": True, "slots": True},
    {"frozen": True, "slots": True, "eq": False},
    {"frozen": True, "slots": True, "init": False},
    {"frozen": True, "slots": True, "order": True},
    {"slots": True, "unsafe_hash": True},
]


def make_point(decorate: Callable[..., Any], options: dict[str, bool]) -> type[Any]:
    """Return a class with each kind of field, made by `decorate`."""

    @decorate(**options)
    class Point:
        """A place."""

        x: int
        y: int = 2
        names: list[str] = field(default_factory=list)
        note: str = field(default="note", compare=False, repr=False)

    return Point


@pytest.fixture(params=OPTIONS, ids=str)
def classes(request: pytest.FixtureRequest) -> tuple[type[Any], type[Any]]:
    """The package's class, and the standard library's."""
    return make_point(our_dataclass, request.param), make_point(dataclasses.dataclass, request.param)


def describe(action: Callable[[], object]) -> object:
    """Return the result of `action` as text, or the type of its exception."""
    try:
        return repr(action())
    except Exception as error:
        return type(error)


@pytest.mark.parametrize(
    "act",
    [
        lambda cls: cls(1),
        lambda cls: cls(1, 3, ["a"], "b"),
        lambda cls: cls(x=1, y=3, names=["a"], note="b").note,
        lambda cls: cls(),
        lambda cls: cls(1, 2, [], "", 5),
        lambda cls: cls(1, unknown=2),
        lambda cls: cls(1).names is cls(1).names,
        lambda cls: cls(1) == cls(1, note="other"),
        lambda cls: cls(1) == cls(2),
        lambda cls: cls(1) != cls(2),
        lambda cls: cls(1) == (1, 2, []),
        lambda cls: (cls(1) < cls(2), cls(1) > cls(2), cls(1) <= cls(1), cls(1) >= cls(2)),
        lambda cls: cls(1) < (2,),
        lambda cls: sorted([cls(2), cls(1, 3), cls(1)]),
        lambda cls: len({cls(1, 2, ()), cls(1, 2, (), "other"), cls(2, 2, ())}),
        lambda cls: isinstance(hash(cls(1)), int),
        lambda cls: setattr(cls(1), "x", 2),
        lambda cls: delattr(cls(1), "x"),
        lambda cls: dataclasses.replace(cls(1), y=5),
        lambda cls: dataclasses.asdict(cls(1)),
        lambda cls: dataclasses.astuple(cls(1)),
        lambda cls: [one.name for one in dataclasses.fields(cls)],
        lambda cls: copy.copy(cls(1, 7)).y,
        lambda cls: copy.deepcopy(cls(1, 7, ["a"])),
        lambda cls: cls.__match_args__,
        lambda cls: cls.__doc__,
        lambda cls: hasattr(cls(1), "__dict__"),
        lambda cls: list(inspect.signature(cls).parameters),
        lambda cls: cls.__init__.__qualname__,
    ],
)
def test_a_class_is_used_like_the_standard_librarys(
    classes: tuple[type[Any], type[Any]], act: Callable[[type[Any]], object]
) -> None:
    ours, theirs = classes
    assert describe(lambda: act(ours)) == describe(lambda: act(theirs))


def test_a_refused_change_says_which_field() -> None:
    point = make_point(our_dataclass, {"frozen": True, "slots": True})(1)
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'x'"):
        point.x = 2
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'x'"):
        del point.x
    with pytest.raises(FrozenInstanceError):  # the standard library's raises TypeError, by mistake
        point.unknown = 2


@our_dataclass(frozen=True, slots=True)
class Frozen:
    x: int
    y: int = 2


@our_dataclass
class Shape:
    sides: int

    def __repr__(self) -> str:
        return "a shape"


@our_dataclass
class NamedShape(Shape):
    name: str = field(init=False)
    size: int = field(init=False, default=4)

    def __post_init__(self) -> None:
        self.name = f"shape of {self.sides}"


def test_a_frozen_class_with_slots_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(Frozen(1, 5))) == Frozen(1, 5)


def test_a_class_inherits_fields_and_is_completed_after_init() -> None:
    shape = NamedShape(3)
    assert (shape.sides, shape.name, shape.size) == (3, "shape of 3", 4)
    assert dataclasses.fields(NamedShape)[0].name == "sides"
    assert repr(Shape(1)) == "a shape"
    assert repr(shape) == "NamedShape(sides=3, name='shape of 3', size=4)"


def test_an_unsupported_option_is_refused() -> None:
    with pytest.raises(TypeError):
        our_dataclass(match_args=False, unknown=True)  # type: ignore[call-overload]


def test_one_function_is_compiled_for_each_class() -> None:
    count = (
        "import builtins, mailer.campaign.model\n"
        "from mailer.dataclass import dataclass\n"
        "calls, execute = [], builtins.exec\n"
        "builtins.exec = lambda *given: (calls.append(given), execute(*given))[1]\n"
        "@dataclass(frozen=True, slots=True)\n"
        "class Point:\n"
        "    x: int\n"
        "    y: int = 2\n"
        "made = [given[0] for given in calls if type(given[0]) is str]\n"  # the others load modules
        "assert [text.split('(')[0] for text in made if 'return ()' not in text] == ['def __init__'], made\n"
    )
    subprocess.run([sys.executable, "-c", count], check=True, timeout=60)
