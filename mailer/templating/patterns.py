"""One-off patterns and `where` expressions of a campaign file, and what an error in a template is called."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import TracebackType

from jinja2 import TemplateError, TemplateNotFound, TemplateSyntaxError, UndefinedError
from jinja2.defaults import DEFAULT_NAMESPACE
from jinja2.exceptions import SecurityError, TemplateRuntimeError

from mailer.errors import InputError, Place, Problem
from mailer.templating.environment import TOO_DEEP, BoundedEnvironment, environment
from mailer.templating.limits import OutOfBounds
from mailer.templating.time_limit import bounded

NAMELESS = "<template>"  # the file of a template that is in none
MOST_SAID = 600  # characters of an error


@lru_cache(maxsize=1)
def _shared() -> BoundedEnvironment:
    return environment()


def render_pattern(source: str, variables: Mapping[str, object], place: Place) -> str:
    """`source` rendered once, not autoescaped; InputError at `place`."""
    try:
        with bounded():
            return _shared().from_string(source).render(variables)
    except Exception as error:
        raise InputError(Problem(place, explain(error, variables))) from error


def pattern_problem(source: str, place: Place) -> Problem | None:
    """What is wrong with a pattern before it is rendered."""
    try:
        _shared().from_string(source)
    except Exception as error:
        return Problem(place, explain(error))
    return None


def compile_where(source: str, place: Place) -> Callable[[Mapping[str, object]], bool]:
    """A function of a row's columns; InputError at `place` for a wrong expression, now, or an undefined name, then."""
    try:
        expression = _shared().compile_expression(source, undefined_to_none=False)
    except RecursionError:  # Jinja2 parses an expression without asking the environment
        raise InputError(Problem(place, f"where: {TOO_DEEP}")) from None
    except (TemplateError, ValueError) as error:
        raise InputError(Problem(place, f"where: {explain(error)}")) from error

    def where(columns: Mapping[str, object]) -> bool:
        try:
            with bounded():
                return bool(expression(columns))
        except Exception as error:
            raise InputError(Problem(place, f"where: {explain(error, columns)}")) from error

    return where


def explain(error: BaseException, names: Iterable[str] = ()) -> str:
    """One line for a person about what went wrong in a template; `names` are those that are defined there."""
    text = one_line(str(error))
    if isinstance(error, OutOfBounds):
        return text
    if isinstance(error, UndefinedError):
        return text + _nearest(text, names)
    if isinstance(error, TemplateSyntaxError):
        return one_line(str(error.message))
    if isinstance(error, TemplateNotFound):
        return text if " " in text else f"template {text!r} not found"
    if isinstance(error, SecurityError):
        return f"not allowed in a template: {text}"
    if isinstance(error, RecursionError):
        return "stopped: it calls or includes itself without end"
    if isinstance(error, MemoryError):
        return "stopped: it needs too much memory"
    if isinstance(error, (TemplateRuntimeError, TypeError, ValueError, OverflowError)):
        return text or type(error).__name__
    return f"{type(error).__name__}: {text}"


def one_line(text: str) -> str:
    """`text` for a message: one line of bounded length, and what a terminal would obey made visible."""
    if len(text) > MOST_SAID:  # a name may be as long as a template; what stands at the end says for whom
        text = f"{text[: MOST_SAID // 2]} … {text[-MOST_SAID // 2 :]}"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in " ".join(text.split()))


def _nearest(text: str, names: Iterable[str]) -> str:
    parts = text.split("'")
    if len(parts) != 3 or parts[2] != " is undefined":
        return ""
    # Not what every template has from Jinja2: `namespace` is no misspelt `name`.
    known = [name for name in names if name not in DEFAULT_NAMESPACE]
    if parts[1] in known:
        return " here: an imported template does not see it; pass it as an argument, or import 'with context'"
    near = difflib.get_close_matches(parts[1], known, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def template_place(error: BaseException) -> Place | None:
    """Where in a template an error arose: the innermost template on its traceback; None where there is none."""
    if isinstance(error, TemplateSyntaxError):
        return Place(error.filename or error.name or NAMELESS, error.lineno)
    place = None
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            line = template.get_corresponding_lineno(trace.tb_lineno)
            place = Place(template.filename or template.name or NAMELESS, line)
        trace = trace.tb_next
    return place
