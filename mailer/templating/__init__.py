"""Jinja2 within limits: for a campaign's patterns, its `where`, and its templates.

The author of a template may be wrong, or may have copied it. So no expression reaches Python objects behind
the data, and no result is larger than the limits. An error is one line for the user.

A pattern is a Jinja2 template that is written in the campaign file: the subject, for example.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import TracebackType

from jinja2 import TemplateError, TemplateNotFound, TemplateSyntaxError, UndefinedError
from jinja2.defaults import DEFAULT_NAMESPACE
from jinja2.exceptions import SecurityError, TemplateRuntimeError

from mailer.bounded_process import LimitExceeded, run_bounded
from mailer.errors import InputError, Place, Problem
from mailer.templating.environment import TOO_DEEP, BoundedEnvironment, UndefinedName, create_environment
from mailer.text import find_similar, make_printable, shorten_middle

__all__ = [
    "UNNAMED_TEMPLATE",
    "BoundedEnvironment",
    "LimitExceeded",
    "UndefinedName",
    "compile_where",
    "create_environment",
    "describe_error",
    "find_pattern_problem",
    "find_template_place",
    "render_pattern",
    "shorten_error",
]

UNNAMED_TEMPLATE = "<template>"  # the file name of a template that is in no file
_TOKENS = {
    "end of print statement": "'}}'",
    "begin of print statement": "'{{'",
    "end of statement block": "'%}'",
    "begin of statement block": "'{%'",
    "end of comment": "'#}'",
}
_ASSIGNMENT = re.compile(r"(?<![=!<>])=(?!=)")
MAX_ERROR = 600  # characters of an error message


@lru_cache(maxsize=1)
def _shared_environment() -> BoundedEnvironment:
    return create_environment()


def render_pattern(source: str, variables: Mapping[str, object], place: Place) -> str:
    """Render the pattern `source` once, without autoescape, in a process of its own.

    Raises InputError at `place`.
    """
    try:
        return run_bounded(lambda: _shared_environment().from_string(source).render(variables))
    except Exception as error:
        raise InputError(Problem(place, describe_error(error, variables))) from error


def find_pattern_problem(source: str, place: Place) -> Problem | None:
    """Return what is wrong with the pattern `source`, as far as that is known before it is rendered."""
    try:
        _shared_environment().from_string(source)
    except Exception as error:
        return Problem(place, describe_error(error))
    return None


def compile_where(source: str, place: Place) -> Callable[[Mapping[str, object]], bool]:
    """Return a function that says whether a row's columns match the expression `source`.

    Raises InputError at `place` if the expression is wrong. The function raises InputError at `place` if the
    expression cannot be evaluated for a row, for example because of an undefined name. Its processor time is
    not limited: lists are read in a process of `mailer.bounded_process`.
    """
    try:
        expression = _shared_environment().compile_expression(source, undefined_to_none=False)
    except RecursionError:  # compile_expression does not use the environment's _parse
        raise InputError(Problem(place, f"where: {TOO_DEEP}")) from None
    except (TemplateError, ValueError) as error:
        text = f"where: {describe_error(error)}; expected an expression such as plan == 'pro'"
        if _ASSIGNMENT.search(source):
            text += ", with == to compare"
        raise InputError(Problem(place, text)) from error

    def where(columns: Mapping[str, object]) -> bool:
        try:
            return bool(expression(columns))
        except Exception as error:
            raise InputError(Problem(place, f"where: {describe_error(error, columns)}")) from error

    return where


def describe_error(error: BaseException, names: Iterable[str] = ()) -> str:
    """Return one line for the user about an error in a template.

    `names` are the defined names, for a suggestion.
    """
    text = shorten_error(str(error))
    if isinstance(error, LimitExceeded):
        return text
    if isinstance(error, UndefinedError):
        return text + _suggest_name(text, names)
    if isinstance(error, TemplateSyntaxError):
        return shorten_error(_name_tokens(str(error.message)))
    if isinstance(error, TemplateNotFound):
        return text if " " in text else f"template {text!r} not found"
    if isinstance(error, SecurityError):
        return f"not allowed in a template: {text}"
    if isinstance(error, RecursionError):
        return "stopped: it calls or includes itself endlessly"
    if isinstance(error, MemoryError):
        return "stopped: it needs too much memory"
    if isinstance(error, (TemplateRuntimeError, TypeError, ValueError, ArithmeticError)):
        return text or type(error).__name__
    return f"{type(error).__name__}: {text}"


def _name_tokens(message: str) -> str:
    """Jinja2's message about the syntax, with the characters that a person writes in place of a token's name."""
    for name, written in _TOKENS.items():
        message = message.replace(f"'{name}'", written)
    return (
        message.removesuffix(".")
        .replace("No filter named", "there is no filter")
        .replace("No test named", "there is no test")
    )


def shorten_error(text: str) -> str:
    """Return `text` as one printable line of about MAX_ERROR characters: its beginning and its end."""
    return make_printable(shorten_middle(" ".join(text.split()), MAX_ERROR))


def _suggest_name(text: str, names: Iterable[str]) -> str:
    parts = text.split("'")
    if len(parts) != 3 or parts[2] != " is undefined":
        return ""
    # Without Jinja2's own names: `namespace` is not a misspelt `name`.
    known = [name for name in names if name not in DEFAULT_NAMESPACE]
    if parts[1] in known:
        return " here: an imported template does not see it; pass it as an argument, or import 'with context'"
    near = find_similar(parts[1], known)
    return f"; did you mean '{near}'?" if near else ""


def find_template_place(error: BaseException) -> Place | None:
    """Return the line of the innermost template on the traceback of `error`; None if no template is on it."""
    if isinstance(error, TemplateSyntaxError):
        return Place(error.filename or error.name or UNNAMED_TEMPLATE, error.lineno)
    place = None
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            line = template.get_corresponding_lineno(trace.tb_lineno)
            place = Place(template.filename or template.name or UNNAMED_TEMPLATE, line)
        trace = trace.tb_next
    return place
