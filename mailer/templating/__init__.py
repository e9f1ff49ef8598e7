"""Jinja2 within bounds: used for a campaign's patterns, its `where`, and its templates.

A template is its author's, and its author may be wrong or have copied it: no expression reaches Python behind the
data, none runs without end, and none fills the memory. An error is said in one line.
"""

from mailer.templating.environment import BoundedEnvironment, Unknown, environment
from mailer.templating.limits import OutOfBounds
from mailer.templating.patterns import (
    NAMELESS,
    compile_where,
    explain,
    one_line,
    pattern_problem,
    render_pattern,
    template_place,
)
from mailer.templating.time_limit import bounded, ran_out_of_time

__all__ = [
    "NAMELESS",
    "BoundedEnvironment",
    "OutOfBounds",
    "Unknown",
    "bounded",
    "compile_where",
    "environment",
    "explain",
    "one_line",
    "pattern_problem",
    "ran_out_of_time",
    "render_pattern",
    "template_place",
]
