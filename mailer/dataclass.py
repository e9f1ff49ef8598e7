"""`dataclass`, as in the standard library, but made in a fraction of the time.

The standard library writes and compiles up to eight functions for each class, each time the program starts: of
a short `mailer send`, that was a sixth. Here one function is compiled, `__init__`. The others are the same
code for every class.

A class is a dataclass in every other respect: `fields`, `replace`, `asdict`, `match` and pickle work. Only
what this package uses is supported: an option that is missing below raises TypeError.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from operator import attrgetter, ge, gt, le, lt
from typing import TYPE_CHECKING, Any, NoReturn

__all__ = ["dataclass"]

_NOT_GIVEN = object()


def _make_dataclass(
    cls: type[Any] | None = None,
    /,
    *,
    init: bool = True,
    eq: bool = True,
    order: bool = False,
    unsafe_hash: bool = False,
    frozen: bool = False,
    slots: bool = False,
) -> Any:
    """Make `cls` a dataclass and return it; with `slots`, it is another class. Without `cls`, return a
    decorator.

    The options are those of `dataclasses.dataclass`.
    """
    if cls is None:
        return partial(
            _make_dataclass,
            init=init,
            eq=eq,
            order=order,
            unsafe_hash=unsafe_hash,
            frozen=frozen,
            slots=slots,
        )
    cls.__doc__ = (
        cls.__doc__ or cls.__name__
    )  # otherwise the standard library makes a signature of `__init__`
    own = frozenset(cls.__dict__)
    made: type[Any] = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots)(cls)
    methods: dict[str, Any] = {"__repr__": _show}
    if init:
        methods["__init__"] = _compile_init(made, frozen, slots)
    read = _make_reader([field.name for field in dataclasses.fields(made) if field.compare])
    if eq:
        is_hashable = frozen or unsafe_hash
        methods |= {"__eq__": _make_eq(read), "__hash__": _make_hash(read) if is_hashable else None}
    if order:
        methods |= {f"__{compare.__name__}__": _make_order(read, compare) for compare in (lt, le, gt, ge)}
    if frozen:
        methods |= {"__setattr__": _refuse_to_set, "__delattr__": _refuse_to_delete}
        if slots:
            methods |= {"__getstate__": _get_state, "__setstate__": _set_state}
    for name, method in methods.items():
        if name not in own:
            setattr(made, name, method)
    return made


def _compile_init(cls: type[Any], frozen: bool, slots: bool) -> Callable[..., None]:
    """Return the function `__init__` of a dataclass: it sets each field, then calls `__post_init__`."""
    names: dict[str, Any] = {"_NOT_GIVEN": _NOT_GIVEN, "_set": object.__setattr__}
    parameters, body = ["self"], []
    for field in dataclasses.fields(cls):
        name = value = field.name
        if field.default_factory is not dataclasses.MISSING:
            names[f"_make_{name}"] = field.default_factory
            value = f"_make_{name}() if {name} is _NOT_GIVEN else {name}" if field.init else f"_make_{name}()"
            names[f"_default_{name}"] = _NOT_GIVEN
        elif field.default is not dataclasses.MISSING:
            names[f"_default_{name}"] = field.default
            value = name if field.init else f"_default_{name}"
        elif not field.init:
            continue  # `__post_init__` sets it
        if field.init:
            parameters.append(f"{name}=_default_{name}" if f"_default_{name}" in names else name)
        if not frozen:
            body.append(f" self.{name} = {value}")
        elif slots:
            names[f"_set_{name}"] = getattr(cls, name).__set__  # of the slot's descriptor
            body.append(f" _set_{name}(self, {value})")
        else:
            body.append(f" _set(self, {name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        body.append(" self.__post_init__()")
    source = f"def __init__({', '.join(parameters)}):\n" + ("\n".join(body) or " pass")
    exec(source, names)  # noqa: S102 - the names of our own fields
    function: Callable[..., None] = names["__init__"]
    function.__module__, function.__qualname__ = cls.__module__, f"{cls.__qualname__}.__init__"
    function.__annotations__ = {field.name: field.type for field in dataclasses.fields(cls) if field.init} | {
        "return": None
    }
    return function


def _make_reader(names: list[str]) -> Callable[[Any], Any]:
    """Return a function that reads the attributes `names` of an object, for a comparison."""
    return attrgetter(*names) if names else lambda _: ()


def _make_eq(read: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def compare(self: Any, other: Any) -> Any:
        return read(self) == read(other) if other.__class__ is self.__class__ else NotImplemented

    return compare


def _make_order(read: Callable[[Any], Any], compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], Any]:
    def is_ordered(self: Any, other: Any) -> Any:
        return compare(read(self), read(other)) if other.__class__ is self.__class__ else NotImplemented

    return is_ordered


def _make_hash(read: Callable[[Any], Any]) -> Callable[[Any], int]:
    def compute_hash(self: Any) -> int:
        return hash(read(self))

    return compute_hash


def _show(self: Any) -> str:
    shown = (
        f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self) if field.repr
    )
    return f"{self.__class__.__qualname__}({', '.join(shown)})"


def _refuse_to_set(_: Any, name: str, _value: object) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(_: Any, name: str) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _get_state(self: Any) -> list[object]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _set_state(self: Any, state: list[object]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)


if TYPE_CHECKING:
    from dataclasses import dataclass  # so that type checkers know what it makes
else:
    dataclass = _make_dataclass
