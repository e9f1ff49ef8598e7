"""Random layouts of messages: with ways of its own for each branch and loop, a message is what the whole gives."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailer.campaign.model import Recipient
from mailer.errors import RenderError
from mailer.render import programs, template_page
from mailer.render.compile import compile_campaign
from mailer.render.compiled import CompiledCampaign
from tests.render.projects import PIXEL, Project, parsed, person

COLUMNS = [f"c{n}" for n in range(4)]
SHEETS = [
    "td{padding:4px} p{margin:0} .x{color:red} @media (max-width:600px){td{padding:0}}",
    ".x,.y,h1{color:red} .x .y{margin:0} a:hover{color:blue} .ExternalClass,p{a:b}",
    "p+p{color:red}",
    ".x > b, .x[title='a']{color:red} p.y{b:c}",
    "li:first-child{color:red} /* , { */ .y{color:red}",
    "table,.x{border:0} tr{color:red} #z{x:y}",
    "div p{margin:0} .x:is(p,b){color:red} ul li{x:y}",
    "",
]
WORDS = [
    "text ",
    " ",
    "\n",
    "word",
    ", ",
    "&amp;",
    "&nbsp;",
    "<br>",
    "<hr>",
    "é ",
    "=",
    "a long line of words " * 6,
]
ELEMENTS = [
    "p",
    "div",
    "b",
    "ul",
    "li",
    "span",
    "table",
    "td",
    "h1",
    "blockquote",
    "section",
    "a",
    "ol",
    "pre",
    "center",
]
CELLS = [
    "<tr><td>c</td><td>d</td></tr>",
    "<tr><th>c</th><th>d</th></tr>",
    "<tr>\n<td class=y>c</td>\n</tr>\n",
]
LOOSE = [
    "<p>",
    "</p>",
    "<ul>",
    "</ul>",
    "<b>",
    "</div>",
    "<td>",
    "<tr>",
    "</table>",
    "<table>",
    "<a href='#'>",
    "<!-- c -->",
]
ATTRIBUTES = [
    "",
    "",
    "",
    " class=x",
    " class='x y'",
    " class=y title='{{ plan }}'",
    " id=z",
    " style='color:{{ plan }}'",
]
HIDDEN = [" style='display:none'", " hidden"]
IN_LOOP = [
    "{{ loop.index }}",
    "{{ loop.length }}",
    "{{ loop.revindex0 }}",
    "{{ loop.cycle('a', 'b') }}",
    "{{ name }}",
]
CONDITIONS = [
    *COLUMNS,
    "not c0",
    "plan == 'pro'",
    "plan in ['pro', 'team']",
    "items",
    "name and c1",
    "items|length > 1",
]
LOOP_CONDITIONS = ["loop.first", "loop.last", "loop.index is odd", "loop.length > 2", "loop.first and c0"]


class Layout:
    """Writes a random template."""

    def __init__(self, r: random.Random) -> None:
        self._r = r
        self._loops: list[str] = []
        self._is_macro = False

    def write(self) -> str:
        """The template."""
        r = self._r
        sheet = f"<style>{r.choice(SHEETS)}</style>"
        body = self.write_body(3)
        macros = "".join(
            f"{{% macro m{n}(x, c) %}}{self._write_macro()}{{% endmacro %}}"
            for n in range(3)
            if f"m{n}(" in body
        )
        head = r.choice([sheet, f"<html><head>{sheet}</head>", f"<title>t</title>{sheet}", ""])
        return f"{macros}{head}<body>{body}</body>{r.choice(['', '</html>', sheet])}"

    def _write_macro(self) -> str:
        self._loops, self._is_macro = ["x"], True
        body = (
            f"{{{{ x.name }}}}{{% if c %}}{self.write_body(1)}{{% else %}}{self._write_text()}{{% endif %}}"
        )
        self._loops, self._is_macro = [], False
        return body

    def write_body(self, depth: int) -> str:
        """Some statements and markup."""
        return "".join(self._write_part(depth) for _ in range(self._r.randrange(0 if depth < 3 else 1, 5)))

    def _write_part(self, depth: int) -> str:
        r = self._r
        match r.randrange(24 if depth else 8):
            case 0 | 1 | 2:
                return self._write_text()
            case 3:
                return self._write_value()
            case 4:
                return r.choice(
                    ["<p>t</p>", "<p class=x>{{ name }}</p>", "<div class=y>d</div>\n", "<li>x</li>"]
                )
            case 5:
                return r.choice(LOOSE) if r.random() < 0.2 else "<h1>h</h1>"
            case 6:
                return r.choice([
                    "<a href='https://e.com/{{ plan }}'>l</a>", "<a href='https://e.com/'>{{ plan }}</a> ",
                    "<a href='{{ link }}'>{{ link }}</a>", "<a href='https://e.com/'><img src='x.png' alt='i'></a>",
                    "<img src='cid:x' alt='i'>", "<img src='y.png'>", "<img src='z.png' alt='{{ plan }}'>",
                ])  # fmt: skip
            case 7:
                return r.choice(CELLS)
            case 8 | 9 | 10 | 11:
                return self._write_branch(depth)
            case 12 | 13 | 14 | 15:
                return self._write_loop(depth)
            case 16 | 17:
                return f"<table{self._write_attribute()}>{self._write_rows(depth)}</table>"
            case 18 if not self._is_macro:
                item = self._loops[-1] if self._loops else "{'name': name, 'sale': c0, 'tags': items}"
                return f"{{{{ m{r.randrange(3)}({item}, {self._write_condition()}) }}}}"
            case 19:
                body = f"{{% set v = 'a' %}}{self.write_body(depth - 1)}{{{{ v }}}}"
                return f"{{% if {self._write_condition()} %}}{body}{{% endif %}}"
            case 20:
                return f"{{% set t %}}{self.write_body(depth - 1)}{{% endset %}}{{{{ t }}}}"
        name, attribute = r.choice(ELEMENTS), self._write_attribute()
        return f"<{name}{attribute}>{self.write_body(depth - 1)}</{name}>"

    def _write_rows(self, depth: int) -> str:
        r = self._r
        rows = []
        for _ in range(r.randrange(1, 4)):
            row = (
                r.choice(CELLS)
                if r.random() < 0.5
                else f"<tr><td>e</td><td>{self.write_body(depth - 1)}</td></tr>"
            )
            if r.random() < 0.5:
                row = r.choice([
                    f"{{% for i in items %}}{row}{{% endfor %}}",
                    "{% for i in items %}<tr><td>{{ i.name }}</td><td>{{ i.price }}</td></tr>{% endfor %}",
                    f"{{% if {self._write_condition()} %}}{row}{{% endif %}}",
                    f"\n{{% if {self._write_condition()} %}}\n{row}\n{{% endif %}}\n",
                ])  # fmt: skip
            rows.append(row)
        return "".join(rows)

    def _write_branch(self, depth: int) -> str:
        r = self._r
        parts = [f"{{% if {self._write_condition()} %}}{self.write_body(depth - 1)}"]
        if r.random() < 0.25:
            parts.append(f"{{% elif {self._write_condition()} %}}{self.write_body(depth - 1)}")
        if r.random() < 0.4:
            parts.append(f"{{% else %}}{self.write_body(depth - 1)}")
        return "".join([*parts, "{% endif %}", r.choice(["", "", "\n"])])

    def _write_loop(self, depth: int) -> str:
        r = self._r
        item, listed = "ijk"[len(self._loops) % 3], "items"
        if self._loops and r.random() < 0.7:
            listed = f"{self._loops[-1]}.tags"
        self._loops.append(item)
        body = self.write_body(depth - 1)
        shown = r.choice([f"{{{{ {item}.name }}}}", "", "{{ loop.index }}"])
        self._loops.pop()
        other = f"{{% else %}}{self.write_body(depth - 1)}" if r.random() < 0.3 else ""
        test = r.choice(["", "", "", "", " if c2", f" if {item}"])
        return f"{{% for {item} in {listed}{test} %}}{body}{shown}{other}{{% endfor %}}"

    def _write_condition(self) -> str:
        r = self._r
        if self._loops and r.random() < 0.5:
            return r.choice([f"{self._loops[-1]}.sale", *([] if self._is_macro else LOOP_CONDITIONS)])
        return r.choice(CONDITIONS)

    def _write_text(self) -> str:
        return self._r.choice(WORDS)

    def _write_value(self) -> str:
        r = self._r
        if self._loops and r.random() < 0.7:
            return r.choice([f"{{{{ {self._loops[-1]}.name }}}}", *([] if self._is_macro else IN_LOOP)])
        return r.choice(
            ["{{ name }}", "{{ plan }}", "{{ name|upper }}", "{{ items|length }}", "{{ plan|default('x') }}"]
        )

    def _write_attribute(self) -> str:
        r = self._r
        return r.choice(HIDDEN) if r.random() < 0.03 else r.choice(ATTRIBUTES)


def make_people(r: random.Random, count: int) -> list[Recipient]:
    """Recipients with random values."""
    return [
        person(
            name=r.choice(["Ada", "Zoë <b>", "", " x ", "A & B"]) + str(n % 7),
            plan=r.choice(["pro", "team", "free"]),
            link=r.choice(["https://e.com/", "https://f.com/a", "", "x"]),
            **{column: r.choice(["", "yes"]) for column in COLUMNS},
            items=[
                {
                    "name": r.choice(["Tea & Co", "x", "", "a\nb", "<i>", "longer " * 9]),
                    "price": r.choice([None, 0, 1.5, "7"]),
                    "sale": r.random() < 0.5,
                    "tags": [
                        {"name": name, "sale": r.random() < 0.5, "tags": []}
                        for name in ["t", "<u>", ""][: r.randrange(4)]
                    ],
                }
                for _ in range(r.randrange(4))
            ],
        )
        for n in range(count)
    ]


OPTIONS: list[dict[str, Any]] = [
    {"css": "keep", "text": "x"},
    {"css": "keep"},
    {"css": "inline"},
    {"css": "inline"},
]


@pytest.fixture(autouse=True)
def _sections_from_the_first_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "MAX_COMBINATIONS", 0)
    monkeypatch.setattr(template_page, "COMPILED_AFTER", 0)


def render(campaign: CompiledCampaign, recipient: Recipient) -> object:
    """The HTML and the text of a message, or its error."""
    try:
        return campaign.render_html(recipient), campaign.render_text(recipient)
    except RenderError as error:
        return str(error)


def list_parts(campaign: CompiledCampaign, recipient: Recipient, *, eight_bit: bool) -> list[object]:
    """The type, Content-ID and content of each part of a message."""
    message = parsed(campaign.render(recipient, eight_bit=eight_bit).content)
    return [
        (part.get_content_type(), part["content-id"], None if part.is_multipart() else part.get_content())
        for part in message.walk()
    ]


@pytest.mark.parametrize("part", range(6))  # so that several processes can share them
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False), st.sampled_from(OPTIONS), st.booleans())
def test_a_random_layout_is_what_jinja2_makes(
    new_project: Callable[[], Project],
    part: int,
    r: random.Random,
    options: dict[str, Any],
    eight_bit: bool,
) -> None:
    r = random.Random(f"{part} {r.random()}")
    project = new_project()
    for name in ("x.png", "y.png", "z.png"):
        project.put(name, PIXEL)
    template = Layout(r).write()
    campaign = project.campaign(template=template, images={"x": "x.png"}, **options)
    try:
        compiled, plain = (compile_campaign(campaign, is_isolated=True) for _ in range(2))
    except Exception:
        return
    plain.use_jinja2_alone()
    for number, recipient in enumerate(make_people(r, 20)):
        made = render(compiled, recipient)
        assert made == render(plain, recipient)
        if number % 6 == 5 and not isinstance(made, str):
            parts = list_parts(compiled, recipient, eight_bit=eight_bit)
            assert parts == list_parts(plain, recipient, eight_bit=eight_bit)
