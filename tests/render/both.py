"""A template beside its compiled form: what both make of the same recipients, for tests that compare them."""

from jinja2 import DictLoader

from mailer.render.templates import TemplateEnvironment, TemplateVariables, run_template

VARS = {
    "company": "Bits & <Bobs>",
    "year": 2026,
    "debt": -3,
    "rate": 0.5,
    "on": True,
    "off": False,
    "absent": None,
    "loop_": "x",
    "nil": [],
    "words": ["one", "two", "<three>"],
    "point": {"x": 1, "y": {"z": "deep"}, "items": "hidden"},
    "rows": [
        {"title": "A & B", "link": "https://example.com/", "tags": ["n", "m"], "n": 1},
        {"title": "C", "link": "", "tags": [], "n": 2, "extra": "yes"},
        {"title": "{{ D }}", "link": None, "tags": ["<o>"], "n": -3},
    ],
    "shadowed": "general",
}
PERSON = {"name": "Ada <Lovelace>", "plan": "pro", "credits": 7, "pages": [1, 2], "email": "ada@example.com"}
OTHERS = [
    {"name": "Zoë", "plan": "free", "credits": 0, "pages": [], "email": "zoe@example.com"},
    {"name": "", "plan": "", "credits": None, "pages": None, "email": "x@example.com"},
    {
        "name": "<b>",
        "plan": "pro",
        "credits": 1.5,
        "pages": [3, {"title": "t", "n": 1}],
        "email": "b@example.com",
    },
    {"name": ["a", "b"], "plan": True, "credits": "7", "pages": "xy", "email": "c@example.com"},
]
FILES = {
    "base": "<{% block a %}base {{ company }}{% endblock %}|{% block b %}{{ name }}{% endblock %}>",
    "part": "({{ company }}{{ name }}{{ x|default('-') }})",
    "tools": "{% macro hi(who, sign='!') %}Hi {{ who }}{{ sign }}{% if caller is defined %}{{ caller() }}{% endif %}"
    "{% endmacro %}"
    "{% set greeting = 'Hello' %}",
    "part-pro": "[pro {{ credits }}]",
    "part-free": "[free {{ credits }}]",
}


class _Loader(DictLoader):
    """Templates in memory, as a project's loader has them in files."""

    def __init__(self, files):
        super().__init__(files)
        self.sources = files

    def resolve(self, name, beside=None):
        return name


class Both:
    """A template, and its compiled form."""

    def __init__(self, source, *, autoescape=True, has_sections=True):
        self.environment = TemplateEnvironment(_Loader({**FILES, "main": source}), autoescape=autoescape)
        self.template = self.environment.get_template("main")
        self.program = self.environment.make_program(
            lambda tracing: tracing.get_template("main"), "main", 1 << 20, has_sections=has_sections
        )

    def variables(self, columns):
        return TemplateVariables({**self.environment.globals, **VARS, **columns}, tuple(columns))

    def render(self, columns):
        """What Jinja2 gives, or its error."""
        try:
            return "".join(run_template(self.template, self.variables(columns), 1 << 20))
        except Exception as error:
            return error

    def fill(self, columns):
        """What the compiled form gives; None if it leaves this recipient to Jinja2."""
        variables = self.variables(columns)
        filled = self.program.fill(variables) or self.program.learn(variables, lambda: self.render(columns))
        return filled and filled.write()

    def check(self, *people):
        """Each recipient twice, the second time by what the others have taught."""
        for columns in (*people, *people):
            filled = self.fill(columns)
            if filled is not None:
                assert filled == self.render(columns)
        assert not self.program.is_off, self.program.reason
        return self


def check(source, **options):
    return Both(source, **options).check(PERSON, *OTHERS)


def constants(both, columns=PERSON):
    """The constant texts on a recipient's way."""
    return [
        piece for piece in both.program.fill(both.variables(columns)).way.pieces if isinstance(piece, str)
    ]
