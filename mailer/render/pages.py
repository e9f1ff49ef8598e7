"""The HTML and the text of a message: which template, and what becomes of its output."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from os.path import dirname
from pathlib import Path
from typing import NamedTuple

from jinja2 import Template
from markupsafe import escape

from mailer.campaign.model import Campaign, Pattern
from mailer.errors import Place, Problem
from mailer.render import markup, plain_text
from mailer.render.attachments import show_path
from mailer.render.failure import Failure
from mailer.render.partial_evaluation import Folded, folded
from mailer.render.placeholders import Slots, Transformation
from mailer.render.templates import (
    PatternTemplate,
    ProjectLoader,
    TemplateEnvironment,
    Variables,
    find_problems,
    load_template,
    run_template,
)
from mailer.templating import LimitExceeded, describe_error, find_template_place

FOLDED_AFTER = 50  # messages of one template: fewer do not make up for the time that folding it takes
MAX_PAGES = 256  # templates of one campaign that are kept ready, where their path varies
_SUFFIXES = {".html": "html", ".htm": "html", ".md": "markdown", ".markdown": "markdown", ".mjml": "mjml"}


class Html(NamedTuple):
    """The HTML of one message; `path` is its template's, in whose `folder` its images are looked for first."""

    html: str
    path: str
    folder: str
    skeleton: str
    values: list[str]


class Kind(NamedTuple):
    """How the templates of one kind are run, and what is made of their output."""

    environment: TemplateEnvironment
    slots: Slots | None
    transform: Transformation | None
    constants: Variables  # what is the same for every recipient who has no column of that name


class Page:
    """One template."""

    def __init__(self, template: Template, kind: Kind, place: Place, most: int) -> None:
        self._template = template
        self._kind = kind
        self._place = place
        self._most = most
        self._path = template.name or ""
        self._folder = dirname(self._path)
        self._count = 0
        self._folded: Folded | None = None

    def text(self, variables: Variables) -> str:
        """The template's output. Failure at its line."""
        return "".join(self._run(variables))

    def html(self, variables: Variables) -> Html:
        """The HTML made of the template's output. Failure at its line."""
        slots, transform = self._kind.slots, self._kind.transform
        if slots is None:
            return Html(self.text(variables), self._path, self._folder, "", [])
        slots.clear()
        pieces = self._run(variables)
        if transform is None:
            return Html("".join(pieces), self._path, self._folder, slots.skeleton(pieces), slots.values)
        try:
            filling = transform("".join(pieces))
        except ValueError as error:
            raise Failure(Place(self._template.filename or self._place.file), str(error)) from error
        html = filling.fill([str(escape(value)) for value in slots.values])
        return Html(html, self._path, self._folder, filling.skeleton, slots.values)

    def _run(self, variables: Variables) -> list[str]:
        try:
            return self._pieces(variables)
        except Exception as error:
            place = find_template_place(error) or Place(self._template.filename or self._place.file)
            raise Failure(place, describe_error(error, variables)) from error

    def _pieces(self, variables: Variables) -> list[str]:
        self._count += 1
        if self._count == FOLDED_AFTER and self._kind.slots is None:  # marks and notes are for each value that is shown
            environment = self._kind.environment
            self._folded = folded(environment, self._template, environment.source(self._path), self._kind.constants)
        if self._folded is not None and self._folded.fits(variables):
            try:
                return run_template(self._folded.template, variables, self._most)
            except LimitExceeded:
                raise
            except Exception:  # noqa: S110 - the template as it was written says what is wrong
                pass
        return run_template(self._template, variables, self._most)


class _Source:
    """`template:` or `text:` of a campaign: a path that may vary, and the templates that it leads to."""

    def __init__(self, pattern: Pattern, kinds: Callable[[str, Place], Kind], patterns: TemplateEnvironment) -> None:
        self.place = pattern.place
        self.path = PatternTemplate(pattern, patterns)
        self._kinds = kinds
        self._pages: OrderedDict[str, Page] = OrderedDict()

    def page(self, variables: Variables, most: int) -> Page:
        name = self.path.render(variables)
        page = self._pages.get(name)
        if page is None:
            kind = self._kinds(name, self.place)
            page = self._pages[name] = Page(load_template(kind.environment, name, self.place), kind, self.place, most)
            if len(self._pages) > MAX_PAGES:
                self._pages.popitem(last=False)
        return page

    def problems(self) -> list[Problem]:
        """Those of a template that is the same for everybody, and of all that it includes."""
        if self.path.constant is None:
            return []
        try:
            environment = self._kinds(self.path.constant, self.place).environment
            return find_problems(environment, load_template(environment, self.path.constant, self.place))
        except Failure as failure:
            return [Problem(failure.place, str(failure))]


class Pages:
    """The campaign's HTML and text."""

    def __init__(self, campaign: Campaign, most: int) -> None:
        self._campaign = campaign
        self._most = most
        self._loader = ProjectLoader(campaign)
        self._vars: Variables = dict(campaign.vars)
        self.patterns = TemplateEnvironment(self._loader, autoescape=False)
        self._text_kind = Kind(self.patterns, None, None, self._vars)
        self._derive = Transformation(plain_text.derive_text)
        self._kinds: dict[str, Kind] = {}
        self._own: Variables = {}
        self._html: _Source | None = None
        self._text: _Source | None = None

    def load(self, own: Variables) -> list[Problem]:
        """Compiles what is the same for everybody; all its problems. Every template sees `own`, macros too."""
        self._own = own
        self.patterns.globals.update(own)
        problems: list[Problem] = []
        self._html = self._source(self._campaign.template, self._html_kind, problems)
        self._text = self._source(self._campaign.text, lambda _name, _place: self._text_kind, problems)
        return problems

    def _source(
        self, pattern: Pattern | None, kinds: Callable[[str, Place], Kind], problems: list[Problem]
    ) -> _Source | None:
        if pattern is None:
            return None
        try:
            source = _Source(pattern, kinds, self.patterns)
        except Failure as failure:
            problems.append(Problem(failure.place, str(failure)))
            return None
        problems += source.problems()
        return source

    def _html_kind(self, name: str, place: Place) -> Kind:
        path = Path(name.removesuffix(".j2").removesuffix(".jinja2").removesuffix(".jinja"))
        format_ = _SUFFIXES.get(path.suffix.lower())
        if format_ is None:
            expected = "expected .html, .md or .mjml, each with or without .j2; a text template goes under `text:`"
            raise Failure(place, f"template {name}: {expected}")
        if format_ not in self._kinds:
            self._kinds[format_] = self._new_kind(format_)
        return self._kinds[format_]

    def _new_kind(self, format_: str) -> Kind:
        environment = TemplateEnvironment(self._loader, autoescape=True)
        environment.globals.update(self._own)
        if format_ == "html" and self._campaign.text is not None:
            return Kind(environment, None, None, self._vars)
        slots = Slots()
        environment.show_html = slots.noted if format_ == "html" else slots.marked
        make = {"markdown": markup.make_markdown_converter, "mjml": markup.make_mjml_converter}.get(format_)
        return Kind(environment, slots, Transformation(make()) if make else None, self._vars)

    def html(self, variables: Variables) -> Html | None:
        """The HTML; None for a campaign of text alone."""
        return self._html.page(variables, self._most).html(variables) if self._html else None

    def text(self, variables: Variables, html: Html | None) -> str:
        """The text, as its template has it, or derived from the HTML."""
        if self._text is not None:
            return self._text.page(variables, self._most).text(variables)
        return self._derive(html.skeleton).fill(html.values) if html else ""

    def place(self, page: Html, text: str) -> Place:
        """The line of the page's template, or of one that it includes, where `text` stands; else the template."""
        sources = self._loader.sources
        for path in (page.path, *sources):
            before, found, _ = sources.get(path, "").partition(text)
            if found and text:
                return Place(show_path(path), before.count("\n") + 1)
        return Place(show_path(page.path))

    def globals(self) -> Variables:
        """What Jinja2 itself gives a template: range, dict, namespace ..."""
        return dict(self.patterns.globals)

    def sources(self) -> Iterator[str]:
        """What the fingerprint covers of the templates."""
        for source in (self._html, self._text):
            yield source.path.source if source else ""
        yield from self._loader.named_sources()
