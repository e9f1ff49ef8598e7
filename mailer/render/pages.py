"""The HTML and the text of a message: which template, and what becomes of its output."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Template

from mailer.campaign.model import Campaign, Pattern
from mailer.errors import Place, Problem
from mailer.expressions import explain, template_place
from mailer.render.failure import Failure
from mailer.render.templates import Expression, TemplateEnvironment, Variables, load, problems_of, run

MOST_PAGES = 256  # templates of one campaign that are kept ready, where their path varies


class Page:
    """One template. `folder` is where its images are looked for first."""

    def __init__(self, template: Template, place: Place, most: int) -> None:
        self._template = template
        self._place = place
        self._most = most
        self.folder = Path(template.name or "").parent

    def render(self, variables: Variables) -> str:
        """Failure at the template's line."""
        try:
            return run(self._template, variables, self._most)
        except Exception as error:
            raise Failure(template_place(error) or self._place, explain(error, variables)) from error


class _Source:
    """`template:` or `text:` of a campaign: a path that may vary, and the templates that it leads to."""

    def __init__(self, pattern: Pattern, environment: TemplateEnvironment, most: int) -> None:
        self.place = pattern.place
        self.path = Expression(pattern, environment)
        self._environment = environment
        self._most = most
        self._pages: OrderedDict[str, Page] = OrderedDict()

    def page(self, variables: Variables) -> Page:
        name = self.path.render(variables)
        page = self._pages.get(name)
        if page is None:
            page = self._pages[name] = Page(load(self._environment, name, self.place), self.place, self._most)
            if len(self._pages) > MOST_PAGES:
                self._pages.popitem(last=False)
        return page

    def problems(self) -> list[Problem]:
        """Those of a template that is the same for everybody, and of all that it includes."""
        if self.path.constant is None:
            return []
        try:
            template = load(self._environment, self.path.constant, self.place)
        except Failure as failure:
            return [Problem(failure.place, str(failure))]
        return problems_of(self._environment, template)

    def sources(self) -> Iterator[str]:
        yield self.path.source
        yield from self._environment.sources()


class Pages:
    """The campaign's HTML and text."""

    def __init__(self, campaign: Campaign, html: TemplateEnvironment, text: TemplateEnvironment, most: int) -> None:
        self._campaign = campaign
        self._environments = html, text
        self._most = most
        self._html: _Source | None = None
        self._text: _Source | None = None

    def load(self) -> list[Problem]:
        """Compiles what is the same for everybody; all its problems."""
        html, text = self._environments
        problems: list[Problem] = []
        self._html = self._source(self._campaign.template, html, problems)
        self._text = self._source(self._campaign.text, text, problems)
        return problems

    def _source(
        self, pattern: Pattern | None, environment: TemplateEnvironment, problems: list[Problem]
    ) -> _Source | None:
        if pattern is None:
            return None
        try:
            source = _Source(pattern, environment, self._most)
        except Failure as failure:
            problems.append(Problem(failure.place, str(failure)))
            return None
        problems += source.problems()
        return source

    def html(self, variables: Variables) -> tuple[str, Path] | None:
        """The HTML, and the folder of its template; None for a campaign of text alone."""
        if self._html is None:
            return None
        page = self._html.page(variables)
        return page.render(variables), page.folder

    def text(self, variables: Variables) -> str | None:
        """The text as its template has it; None where it is to be derived from the HTML."""
        return self._text.page(variables).render(variables) if self._text else None

    def globals(self) -> Variables:
        """What Jinja2 itself gives a template: range, dict, namespace ..."""
        return dict(self._environments[0].globals)

    def sources(self) -> Iterator[str]:
        """What the fingerprint covers of the templates."""
        for source in (self._html, self._text):
            if source is not None:
                yield from source.sources()
