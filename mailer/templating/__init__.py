"""Jinja2 within limits: for a campaign's patterns, its `where`, and its templates.

The author of a template may be wrong, or may have copied it. So no expression reaches Python objects behind
the data, and no result is larger than the limits. An error is one line for the user.
"""

from mailer.bounded_process import LimitExceeded
from mailer.templating.environment import BoundedEnvironment, UndefinedName, create_environment
from mailer.templating.patterns import (
    UNNAMED_TEMPLATE,
    compile_where,
    describe_error,
    find_pattern_problem,
    find_template_place,
    render_pattern,
    shorten_error,
)

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
