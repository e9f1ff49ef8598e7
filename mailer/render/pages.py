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
from collections.abc import Callable, Iterator, Sequence
from os.path import dirname
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Template

from mailer.campaign.model import Campaign, Pattern
from mailer.errors import Place, Problem
from mailer.files import show_path
from mailer.render.attachments import FileProblem, ProjectFiles
from mailer.render.body import Body, BodyEncoder
from mailer.render.calendar import finish_calendar, show_calendar_text
from mailer.render.failure import RenderFailure
from mailer.render.html import UnknownPath
from mailer.render.markup import MarkupError
from mailer.render.placeholders import Placeholders
from mailer.render.programs import Program, Way
from mailer.render.skeleton import Skeleton
from mailer.render.templates import (
    PatternTemplate,
    ProjectLoader,
    TemplateEnvironment,
    TemplateVariables,
    allow_path,
    find_problems,
    load_template,
    run_template,
    show_path_segment,
)
from mailer.render.transform import Shape, Transformed, Transformer, make_transformer
from mailer.templating import describe_error, find_template_place

COMPILED_AFTER = 16  # messages of one template: fewer do not make up for the time that compiling it takes
MAX_PAGES = 256  # templates of one campaign that are kept ready if their path varies
MAX_SKELETONS = 32  # of one way through a template
_SUFFIXES = {".html": "html", ".htm": "html", ".md": "markdown", ".markdown": "markdown", ".mjml": "mjml"}


class FilledText(NamedTuple):
    """A skeleton with one recipient's values."""

    skeleton: Skeleton
    values: Sequence[str]
    is_kept: bool  # the skeleton is used for other recipients too

    def write(self) -> str:
        """The text."""
        return self.skeleton.fill(self.values)

    def encode(self, encoder: BodyEncoder, *, eight_bit: bool) -> Body:
        """The text as the body of a part. ValueError if it cannot be sent."""
        if self.is_kept:
            return self.skeleton.encode(self.values, encoder, eight_bit=eight_bit)
        return encoder.encode(self.write(), eight_bit=eight_bit)


class Content(NamedTuple):
    """What the templates made for one recipient.

    `images` are the files of the images that the HTML shows, by Content-ID; None for a named image of the
    campaign.
    """

    html: FilledText | None
    text: FilledText
    images: dict[str, str | None]
    calendar: str | None = None


class Kind(NamedTuple):
    """How the templates of one kind are rendered, and what is made of their output (None: nothing)."""

    environment: TemplateEnvironment
    placeholders: Placeholders | None
    transformer: Transformer | None


class TemplatePage:
    """One template."""

    def __init__(self, template: Template, kind: Kind, place: Place, max_output: int) -> None:
        self._template = template
        self._kind = kind
        self._place = place
        self._max_output = max_output
        self._count = 0
        self._program: Program | None = None
        self._is_compiled = True
        self.path = template.name or ""
        self.folder = dirname(self.path)

    def write_text(self, variables: TemplateVariables) -> FilledText:
        """The template's output. RenderFailure at its line."""
        if (filled := self._fill(variables)) is not None:
            way, registers = filled
            skeleton = way.skeletons.get(None)
            if skeleton is None:
                skeleton = way.skeletons[None] = Skeleton.from_pieces(way.pieces)
            return FilledText(skeleton, [registers[number] for number in way.shown], True)
        return FilledText(Skeleton([self._run(variables)], []), (), False)

    def write_html(self, variables: TemplateVariables) -> Content:
        """The HTML made of the template's output, and its text alternative if that is derived.

        :raises RenderFailure: at the line of the template that is wrong.
        """
        transformer = self._kind.transformer
        if transformer is None:
            raise TypeError("a text template has no HTML")
        if (filled := self._fill(variables)) is not None:
            content = self._fill_html(transformer, *filled)
            if content is not None:
                return content
        if (placeholders := self._kind.placeholders) is not None:
            placeholders.clear()
            written = self._run(variables)
            made = self._transform(transformer, written)
            return _make_content(made, placeholders.shown, placeholders.raw, is_kept=False)
        written = self._run(variables)
        try:
            return _make_content(self._transform(transformer, written, self._is_path_known), (), (), is_kept=False)
        except UnknownPath:
            return self._write_traced(transformer, variables)

    def compare(self, variables: TemplateVariables) -> bool:
        """Whether the compiled form gives this recipient what Jinja2 gives.

        If not, it is not used any more.
        """
        self._count = max(self._count, COMPILED_AFTER)
        filled = self._fill(variables)
        if filled is None or self._program is None:
            return True
        is_same = self._program.compare(filled, lambda: self._run_plain(variables))
        transformer = self._kind.transformer
        if is_same and transformer is not None and self._kind.placeholders is None:
            content = self._fill_html(transformer, *filled)
            if content is not None:
                direct = self._transform(transformer, self._run_plain(variables))
                is_same = transformer.is_same(content.html, content.text, direct)
                if not is_same:
                    self._program.turn_off("what is made of its output differs")
        return is_same

    def stop_compiling(self) -> None:
        """Render by Jinja2 alone from now on."""
        self._is_compiled = False

    @property
    def program(self) -> Program | None:
        """The compiled form; None before it is made."""
        return self._program

    def _fill(self, variables: TemplateVariables) -> tuple[Way, list[Any]] | None:
        self._count += 1
        if self._count <= COMPILED_AFTER or not self._is_compiled:
            return None
        if self._program is None:
            environment = self._kind.environment
            self._program = environment.make_program(
                lambda tracing: tracing.get_template(self.path), show_path(self.path), self._max_output
            )
        return self._program.fill(variables) or self._program.learn(variables, lambda: self._run_plain(variables))

    def _fill_html(self, transformer: Transformer, way: Way, registers: list[Any]) -> Content | None:
        """None if the recipient's values are left to Jinja2."""
        shown = [registers[number] for number in way.shown]
        raw = [registers[number] for number in way.raw]
        plan = way.plan
        if plan is None:
            plan = way.plan = transformer.plan(way.pieces, len(way.shown))
        shape: Shape | None = plan.shape(raw, shown)
        if shape is None:
            return None
        made: Transformed | None = way.skeletons.get(shape)
        if made is None:
            made = self._transform(transformer, plan.write(shape))
            if len(way.skeletons) < MAX_SKELETONS:
                way.skeletons[shape] = made
        if made.compared and made.has_equal_link(raw):
            return None
        return _make_content(made, shown, raw, is_kept=True)

    def _write_traced(self, transformer: Transformer, variables: TemplateVariables) -> Content:
        """A trace tells whether the path of an image is the author's. Without one, it is taken for the list's."""
        self._count = max(self._count, COMPILED_AFTER)
        if (filled := self._fill(variables)) is not None:
            content = self._fill_html(transformer, *filled)
            if content is not None:
                return content
        raise FileProblem("an image: a value of the list chooses no file; expected a URL")

    def _is_path_known(self, path: str) -> bool:
        return any(path in source for source in self._kind.environment.project_loader.sources.values())

    def _transform(
        self, transformer: Transformer, written: str, is_path_known: Callable[[str], bool] | None = None
    ) -> Transformed:
        try:
            return transformer.transform(written, self.folder, is_path_known)
        except MarkupError as error:
            raise RenderFailure(self.find_place(error.wrong), str(error)) from error
        except ValueError as error:
            raise RenderFailure(Place(self._template.filename or self._place.file), str(error)) from error

    def find_place(self, text: str) -> Place:
        """The line with `text` in this template or one that it includes; else the template."""
        sources = self._kind.environment.project_loader.sources
        for path in (self.path, *sources):
            if text and text in sources.get(path, ""):
                return Place(show_path(path), sources[path].partition(text)[0].count("\n") + 1)
        return Place(show_path(self.path))

    def _run(self, variables: TemplateVariables) -> str:
        try:
            return "".join(run_template(self._template, variables, self._max_output))
        except Exception as error:
            place = find_template_place(error) or Place(self._template.filename or self._place.file)
            raise RenderFailure(place, describe_error(error, variables)) from error

    def _run_plain(self, variables: TemplateVariables) -> str:
        """Jinja2's output, without placeholders."""
        with self._kind.environment.show_plainly():
            return "".join(run_template(self._template, variables, self._max_output))


def _make_content(made: Transformed, shown: Sequence[str], raw: Sequence[Any], *, is_kept: bool) -> Content:
    html = FilledText(made.html, shown, is_kept)
    if made.text is None:
        return Content(html, html, made.images)
    return Content(html, FilledText(made.text, [str(value) for value in raw], is_kept), made.images)


class _Source:
    """`template:` or `text:` of a campaign: a path that may vary, and the templates that it leads to."""

    def __init__(self, pattern: Pattern, kinds: Callable[[str, Place], Kind], patterns: TemplateEnvironment) -> None:
        self.place = pattern.place
        self.path = PatternTemplate(pattern, patterns)
        self._kinds = kinds
        self.pages: OrderedDict[str, TemplatePage] = OrderedDict()
        self.is_compiled = True

    def page(self, variables: TemplateVariables, max_output: int) -> TemplatePage:
        name = self.path.render(variables)
        page = self.pages.get(name)
        if page is None:
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
        self.patterns.globals.update(own)
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
            expected = "expected .html, .md or .mjml, each with or without .j2; a text template goes under `text:`"
            raise RenderFailure(place, f"template {name}: {expected}")
        if format_ not in self._kinds:
            self._kinds[format_] = self._new_kind(format_)
        return self._kinds[format_]

    def _new_kind(self, format_: str) -> Kind:
        environment = TemplateEnvironment(self._loader, autoescape=True)
        environment.globals.update(self._own)
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
        return content if self._calendar is None else content._replace(calendar=self._write_calendar(variables))

    def _write_alternatives(self, variables: TemplateVariables) -> Content:
        html = self._html.page(variables, self._max_output).write_html(variables) if self._html else None
        if self._text is None:
            return html or Content(None, FilledText(Skeleton([""], []), (), False), {})
        text = self._text.page(variables, self._max_output).write_text(variables)
        return Content(html.html, text, html.images) if html else Content(None, text, {})

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
