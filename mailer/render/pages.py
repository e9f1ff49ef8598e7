"""The HTML and the text of a message: which template, and what is made of its output.

A template's output is made in one of two ways with the same result: by its compiled form (`programs.py`), or
by Jinja2. The first messages are Jinja2's, since compiling a template takes as long as some dozens of them;
so are those of recipients whose way through the template cannot be compiled.

What is made of the output (`transform.py`) works on a skeleton: its slots hold tokens. So it is done once for
each way through the template's branches, and not for each recipient. A value that would change the structure
(an empty one, say, or one in a style) is not a slot: it is part of the skeleton, which is then another one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mailer.campaign.model import Campaign, Pattern
from mailer.errors import Place, Problem
from mailer.files import show_path
from mailer.render.attachments import ProjectFiles
from mailer.render.calendar import finish_calendar, show_calendar_text
from mailer.render.failure import RenderFailure
from mailer.render.placeholders import Placeholders
from mailer.render.preheader import make_preheader
from mailer.render.programs import Program
from mailer.render.skeleton import Skeleton
from mailer.render.template_page import Content, FilledText, Kind, TemplatePage
from mailer.render.templates import (
    PatternTemplate,
    ProjectLoader,
    TemplateEnvironment,
    TemplateVariables,
    UnboundedWork,
    allow_path,
    find_problems,
    load_template,
    show_path_segment,
)
from mailer.render.transform import make_transformer

MAX_PAGES = 256  # templates of one campaign that are kept ready if their path varies
NO_IMAGES: Mapping[str, str | None] = {}
_SUFFIXES = {".html": "html", ".htm": "html", ".md": "markdown", ".markdown": "markdown", ".mjml": "mjml"}


class _Source:
    """`template:` or `text:` of a campaign: a path that may vary, and the templates that it leads to."""

    def __init__(
        self, pattern: Pattern, kinds: Callable[[str, Place], Kind], patterns: TemplateEnvironment
    ) -> None:
        self.place = pattern.place
        self.path = PatternTemplate(pattern, patterns)
        self._kinds = kinds
        self.pages: OrderedDict[str, TemplatePage] = OrderedDict()
        self.is_compiled = True

    def page(self, variables: TemplateVariables, max_output: int) -> TemplatePage:
        name = self.path.render(variables)
        page = self.pages.get(name)
        if page is None:
            if variables.only_bounded:
                raise UnboundedWork
            kind = self._kinds(name, self.place)
            template = load_template(kind.environment, name, self.place)
            page = self.pages[name] = TemplatePage(template, kind, self.place, max_output)
            if not self.is_compiled:
                page.stop_compiling()
            if len(self.pages) > MAX_PAGES:
                self.pages.popitem(last=False)
        return page

    def problems(self) -> list[Problem]:
        """Those of a template that is the same for every recipient, and of all that it includes."""
        if self.path.constant is None:
            return []
        try:
            environment = self._kinds(self.path.constant, self.place).environment
            return find_problems(environment, load_template(environment, self.path.constant, self.place))
        except RenderFailure as failure:
            return [Problem(failure.place, str(failure))]


class Pages:
    """The campaign's HTML and text."""

    def __init__(self, campaign: Campaign, files: ProjectFiles, max_output: int) -> None:
        self._campaign = campaign
        self._max_output = max_output
        self._loader = ProjectLoader(campaign, files)
        self.patterns = TemplateEnvironment(self._loader, autoescape=False)
        self.paths = TemplateEnvironment(self._loader, autoescape=False)  # of files and templates
        self.paths.show_text = show_path_segment
        self.paths.filters["path"] = allow_path
        self._text_kind = Kind(self.patterns, None, None)
        self._kinds: dict[str, Kind] = {}
        self._own: dict[str, Any] = {}
        self._images: Any = None
        self._html: _Source | None = None
        self._text: _Source | None = None
        self._calendar: _Source | None = None

    def load(self, own: dict[str, Any], images: Any) -> list[Problem]:
        """Compile what is the same for every recipient; returns its problems.

        Every template and macro sees `own`.
        """
        self._own = own
        self._images = images
        self.patterns.globals.update({"preheader": make_preheader}, **own)
        self.paths.globals.update(own)
        problems: list[Problem] = []
        self._html = self._source(self._campaign.template, self._html_kind, problems)
        self._text = self._source(self._campaign.text, lambda _name, _place: self._text_kind, problems)
        if self._campaign.calendar is not None:
            kind = self._make_calendar_kind()
            self._calendar = self._source(self._campaign.calendar.path, lambda _name, _place: kind, problems)
            if self._calendar is not None:
                self._calendar.is_compiled = False  # values are escaped in a way of their own
        return problems

    def _source(
        self, pattern: Pattern | None, kinds: Callable[[str, Place], Kind], problems: list[Problem]
    ) -> _Source | None:
        if pattern is None:
            return None
        try:
            source = _Source(pattern, kinds, self.paths)
        except RenderFailure as failure:
            problems.append(Problem(failure.place, str(failure)))
            return None
        problems += source.problems()
        return source

    def _html_kind(self, name: str, place: Place) -> Kind:
        path = Path(name.removesuffix(".j2").removesuffix(".jinja2").removesuffix(".jinja"))
        format_ = _SUFFIXES.get(path.suffix.lower())
        if format_ is None:
            expected = (
                "expected .html, .md or .mjml, each with or without .j2; a text template goes under `text:`"
            )
            raise RenderFailure(place, f"template {name}: {expected}")
        if format_ not in self._kinds:
            self._kinds[format_] = self._new_kind(format_)
        return self._kinds[format_]

    def _new_kind(self, format_: str) -> Kind:
        environment = TemplateEnvironment(self._loader, autoescape=True)
        environment.globals.update({"preheader": make_preheader}, **self._own)
        placeholders = None
        if format_ != "html":
            placeholders = Placeholders()
            environment.show_html = placeholders.show
        transformer = make_transformer(self._campaign, format_, self._images)
        return Kind(environment, placeholders, transformer)

    def _make_calendar_kind(self) -> Kind:
        environment = TemplateEnvironment(self._loader, autoescape=True)
        environment.globals.update(self._own)
        environment.show_html = show_calendar_text
        return Kind(environment, None, None)

    def _write_calendar(self, variables: TemplateVariables) -> str | None:
        if self._calendar is None or self._campaign.calendar is None:
            return None
        text = self._calendar.page(variables, self._max_output).write_text(variables).write()
        try:
            return finish_calendar(text, self._campaign.calendar.method)
        except ValueError as error:
            raise RenderFailure(self._calendar.place, f"calendar: {error}") from error

    def write(self, variables: TemplateVariables) -> Content:
        """HTML, text and invitation for one recipient. RenderFailure at a template's line."""
        content = self._write_alternatives(variables)
        return (
            content if self._calendar is None else content._replace(calendar=self._write_calendar(variables))
        )

    def measure_plain(self, variables: TemplateVariables) -> tuple[int, Mapping[str, str | None]] | None:
        """How many characters HTML and text have at most, and the images.

        None if it is not known that HTML and text can be written.
        :raises UnboundedWork: if the template of a recipient was not loaded yet.
        """
        characters, images = 0, NO_IMAGES
        for source in (self._html, self._text):
            if source is not None:
                measure = source.page(variables, self._max_output).find_measure(variables)
                if measure is None or (size := measure.apply(variables)) is None:
                    return None
                characters += size
                images = images or measure.images
        return characters, images

    def _write_alternatives(self, variables: TemplateVariables) -> Content:
        html = self._html.page(variables, self._max_output).write_html(variables) if self._html else None
        if self._text is None:
            return html or Content(None, FilledText(Skeleton([""], []), (), False), {})
        text = self._text.page(variables, self._max_output).write_text(variables)
        return Content(html.html, text, html.images) if html else Content(None, text, {})

    def list_writers(self) -> list[Callable[[TemplateVariables], object]]:
        """Functions that write the HTML, the text and the invitation, each alone: so each can fail alone."""
        html, text, most = self._html, self._text, self._max_output
        writers: list[Callable[[TemplateVariables], object]] = []
        if html is not None:
            writers.append(lambda variables: html.page(variables, most).write_html(variables))
        if text is not None:
            writers.append(lambda variables: text.page(variables, most).write_text(variables))
        return [*writers, self._write_calendar]

    def compare(self, variables: TemplateVariables) -> bool:
        """Whether the compiled templates give this recipient what Jinja2 gives."""
        sources = [source for source in (self._html, self._text) if source is not None]
        results = [source.page(variables, self._max_output).compare(variables) for source in sources]
        return all(results)

    def place(self, variables: TemplateVariables, text: str) -> Place:
        """The line with `text` in the HTML template or one that it includes; else the template."""
        if self._html is None:
            return Place(show_path(self._campaign.path))
        return self._html.page(variables, self._max_output).find_place(text)

    def stop_compiling(self) -> None:
        """Render by Jinja2 alone from now on."""
        for source in (self._html, self._text):
            if source is not None:
                source.is_compiled = False
            for page in source.pages.values() if source else ():
                page.stop_compiling()

    @property
    def are_all_loaded(self) -> bool:
        """Whether no template's path differs from recipient to recipient."""
        sources = (self._html, self._text, self._calendar)
        return all(source.path.constant is not None for source in sources if source is not None)

    def list_programs(self) -> Iterator[Program]:
        """The compiled forms that were made so far."""
        for source in (self._html, self._text):
            for page in source.pages.values() if source else ():
                if page.program is not None:
                    yield page.program

    def globals(self) -> dict[str, Any]:
        """What Jinja2 itself gives a template: range, dict, namespace ..."""
        return dict(self.patterns.globals)

    def sources(self) -> Iterator[str]:
        """What the fingerprint covers of the templates."""
        for source in (self._html, self._text, self._calendar):
            yield source.path.source if source else ""
        yield from self._loader.named_sources()
