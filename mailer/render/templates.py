"""Templates and patterns: found inside the root, compiled once, run within bounds.

A template's name is its real path, so that each file is compiled once, however it was asked for. An include
is looked for beside the template that includes it, then where the campaign's `template` is: beside the
campaign, in `templates/`, in the root.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import (
    BaseLoader,
    Environment,
    Template,
    TemplateNotFound,
    TemplateRuntimeError,
    TemplateSyntaxError,
    nodes,
)
from jinja2.runtime import Context

from mailer.campaign.model import Campaign, Pattern
from mailer.errors import Place, Problem
from mailer.files import show_path
from mailer.render.attachments import FileProblem, ProjectFiles
from mailer.render.failure import RenderFailure
from mailer.templating import (
    UNNAMED_TEMPLATE,
    BoundedEnvironment,
    LimitExceeded,
    describe_error,
    find_template_place,
)
from mailer.templating.environment import show_html, show_text
from mailer.text import shorten

if TYPE_CHECKING:
    from mailer.render.programs import Program
    from mailer.render.tracing import TracingEnvironment
    from mailer.render.ways import FilledWay

MAX_SOURCE = 4 * 1024 * 1024  # bytes of one template
MAX_PATTERN = 65536  # characters of what a pattern renders to
_CHUNK = 4096  # pieces of output between two looks at how much there is


class UnboundedWork(Exception):
    """A message is not known to need little work: it is to be rendered in a process with limits."""


class TemplateVariables(dict[str, Any]):
    """The names that a template sees. `own_names` are those whose values are the recipient's own.

    With `only_bounded`, whatever renders them raises UnboundedWork unless its work is bounded; see `growth.py`.
    """

    __slots__ = ("only_bounded", "own_names")

    def __init__(
        self,
        values: Mapping[str, object] = {},
        own_names: tuple[str, ...] = (),
        *,
        only_bounded: bool = False,
    ) -> None:
        super().__init__(values)
        self.own_names = own_names
        self.only_bounded = only_bounded


class ProjectLoader(BaseLoader):
    """Loads templates by real path; `resolve` finds the path."""

    def __init__(self, campaign: Campaign, files: ProjectFiles) -> None:
        self._files = files
        self.root = campaign.root
        self.folders = list(dict.fromkeys([campaign.path.parent, campaign.root / "templates", campaign.root]))
        self.sources: dict[str, str] = {}

    def resolve(self, name: str, beside: str | None = None) -> str:
        """The real path of a template; TemplateNotFound with a sentence."""
        folders = [Path(beside).parent, *self.folders] if beside else self.folders
        try:
            return self._files.find(name, folders)
        except FileProblem as problem:
            raise TemplateNotFound(name, str(problem)) from None

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        try:
            content = self._files.read(template, MAX_SOURCE, show_path(template))
            source = content.decode("utf-8-sig")
        except FileProblem as problem:
            raise TemplateNotFound(template, str(problem)) from None
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            text = f"not UTF-8 (found 0x{content[error.start]:02X}); save it as UTF-8"
            raise TemplateSyntaxError(text, line, template, show_path(template)) from None
        if (
            nul := source.find("\0")
        ) >= 0:  # it cannot be sent; said here, it is not taken for the recipient's
            line = source.count("\n", 0, nul) + 1
            raise TemplateSyntaxError(
                "a NUL character (U+0000) cannot be sent", line, template, show_path(template)
            )
        self.sources[template] = source
        return source, show_path(template), lambda: True

    def named_sources(self) -> Iterator[str]:
        """The templates loaded so far, by their path in the root, each with its source."""
        for path, source in sorted(self.sources.items()):
            yield os.path.relpath(path, self.root)
            yield source


class PathText(str):
    """A text that may name several segments of a path."""

    __slots__ = ()


def allow_path(value: object) -> PathText:
    """Allow several segments of a path in an expression's value."""
    return PathText(show_text(value))


def show_path_segment(value: object) -> str:
    """Show a value in the pattern of a path: one segment, unless the filter `path` allows more."""
    text = show_text(value)
    if not isinstance(value, PathText) and (
        text.startswith(".") or "/" in text or "\\" in text or "\0" in text
    ):
        raise TemplateRuntimeError(
            f"{shorten(text, 20)!r} is not a single segment of a path; if a value may choose a folder, write it as"
            " {{ value|path }}"
        )
    return text


class TemplateEnvironment(BoundedEnvironment):
    """Names of templates are paths: an include's is found beside the including one first."""

    def __init__(self, loader: ProjectLoader, *, autoescape: bool) -> None:
        super().__init__(loader=loader, autoescape=autoescape, keep_trailing_newline=True, auto_reload=False)
        self.project_loader = loader
        self._paths: dict[tuple[str, str], str] = {}
        self._tracing: TracingEnvironment | None = None

    @contextmanager
    def show_plainly(self) -> Iterator[None]:
        """In this block, values are shown as they are, even if they are shown as tokens otherwise."""
        show, self.show_html = self.show_html, show_html
        try:
            yield
        finally:
            self.show_html = show

    def make_program(
        self,
        load: Callable[[TemplateEnvironment], Template],
        name: str,
        max_output: int,
        *,
        has_sections: bool = True,
    ) -> Program:
        """The compiled form of a template; see `programs.Program`."""
        from mailer.render.programs import Program
        from mailer.render.tracing import TracingEnvironment

        if self._tracing is None:
            self._tracing = TracingEnvironment(self)
        return Program(self._tracing, load, name, max_output, has_sections=has_sections)

    def source(self, path: str) -> str:
        """Of a template that was loaded."""
        return self.project_loader.sources[path]

    def join_path(self, template: str, parent: str) -> str:
        path = self._paths.get((template, parent))
        if path is None:
            path = self._paths[template, parent] = self.project_loader.resolve(template, parent)
        return path


def run_template(template: Template, variables: TemplateVariables, most: int) -> list[str]:
    """The pieces of the template's output, at most `most` characters in all.

    `variables` hold the environment's globals too. This is `Template.render` without its copies of the
    variables, and with its output counted as it comes.
    """
    events = template.root_render_func(
        Context(
            template.environment, variables, template.name, template.blocks
        )  # shares `variables`: nothing writes
    )
    pieces = list(islice(events, _CHUNK))
    if len(pieces) == _CHUNK:
        size = sum(map(len, pieces))
        for piece in events:
            pieces.append(piece)
            size += len(piece)
            if size > most:  # thrown into the template, so that the traceback names the line which writes
                events.throw(_too_much_output(most))  # type: ignore[attr-defined]  # Jinja2 says Iterator; it is a generator
    if sum(map(len, pieces)) > most:
        raise _too_much_output(most)
    return pieces


def _too_much_output(most: int) -> LimitExceeded:
    return LimitExceeded(f"stopped: it writes more than {most:,} characters")


class PatternTemplate:
    """A pattern of the campaign file, compiled: a constant, a text with names in it, or a template."""

    COMPILED_AFTER = 16  # messages

    def __init__(self, pattern: Pattern, environment: TemplateEnvironment) -> None:
        """:raises RenderFailure: if the pattern is wrong."""
        self._environment = environment
        self._count = 0
        self._is_compiled = True
        self.program: Program | None = None
        self.place = pattern.place
        self._key = f"{pattern.key}: " if pattern.key else ""
        self.source = pattern.source.rstrip("\r\n")  # a block in YAML ends with one
        try:
            tree = environment.parse(self.source)
            self._template = environment.from_string(tree)
        except Exception as error:
            raise RenderFailure(pattern.place, self._key + describe_error(error)) from error
        self.constant = _constant(tree)

    def render(self, variables: TemplateVariables, most: int = MAX_PATTERN) -> str:
        """RenderFailure at the pattern's place for what goes wrong."""
        if self.constant is not None:
            return self.constant
        if variables.only_bounded:
            filled = self.program.fill(variables) if self.program is not None and self._is_compiled else None
            if filled is None:
                raise UnboundedWork
            return filled.write()
        self._count += 1
        if self._count > self.COMPILED_AFTER and self._is_compiled:
            if self.program is None:
                self.program = self._make_program(most)
            filled = self.program.fill(variables) or self._learn(self.program, variables, most)
            if filled is not None:
                return filled.write()
        return self.render_plainly(variables, most)

    def _learn(self, program: Program, variables: TemplateVariables, most: int) -> FilledWay | None:
        try:
            return program.learn(variables, lambda: "".join(run_template(self._template, variables, most)))
        except LimitExceeded as error:
            raise self._make_failure(error, variables) from error

    def is_plain(self, variables: TemplateVariables) -> bool:
        """Whether it is known, without rendering it, that `render` gives one line of printable text."""
        if self.constant is not None:
            return self.constant.isprintable()
        if self.program is None or not self._is_compiled:
            return False
        way = self.program.find_plain_way(variables)
        if way is None or way.plain is None:
            return False
        if way.measure is None:
            texts = [piece for piece in way.pieces if isinstance(piece, str)]
            if not "".join(texts).isprintable():
                return False
            way.measure = way.plain.measure(way.length, len(way.pieces), MAX_PATTERN)
        return way.measure is not None and way.measure.apply(variables) is not None

    def render_plainly(self, variables: TemplateVariables, most: int = MAX_PATTERN) -> str:
        """As `render`, always by Jinja2."""
        try:
            return "".join(run_template(self._template, variables, most))
        except Exception as error:
            raise self._make_failure(error, variables) from error

    def _make_failure(self, error: Exception, variables: TemplateVariables) -> RenderFailure:
        text, place = describe_error(error, variables), find_template_place(error)
        if place is None or place.file == UNNAMED_TEMPLATE:
            text, place = self._key + text, self.place
        return RenderFailure(place, text)

    def _make_program(self, most: int) -> Program:
        loaded: list[Template] = []

        def load(tracing: TemplateEnvironment) -> Template:
            if not loaded:
                loaded.append(tracing.from_string(self.source))
            return loaded[0]

        return self._environment.make_program(load, str(self.place), most)

    def stop_compiling(self) -> None:
        """Render by Jinja2 alone from now on."""
        self._is_compiled = False

    def compare(self, variables: TemplateVariables) -> bool:
        """Whether the compiled form gives this recipient what Jinja2 gives."""
        if self.constant is not None:
            return True
        self._count = max(self._count, self.COMPILED_AFTER)
        return self.render(variables) == self.render_plainly(variables)


def _constant(tree: nodes.Template) -> str | None:
    """The text of a template without any expression."""
    text = []
    for node in tree.body:
        if not isinstance(node, nodes.Output):
            return None
        for child in node.nodes:
            if not isinstance(child, nodes.TemplateData):
                return None
            text.append(child.data)
    return "".join(text)


def load_template(environment: TemplateEnvironment, name: str, place: Place) -> Template:
    """A template by its name in the campaign file; RenderFailure at the template's line, or at `place`."""
    try:
        return environment.get_template(environment.project_loader.resolve(name))
    except Exception as error:
        raise RenderFailure(find_template_place(error) or place, describe_error(error)) from error


def find_problems(environment: TemplateEnvironment, template: Template) -> list[Problem]:
    """Those of every template that this one names, however deep: a wrong include is found before anything is
    sent.
    """
    problems: list[Problem] = []
    waiting, seen = [template.name or ""], set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for name, line in _references(environment, path):
            try:
                referred = environment.join_path(name, path)
                environment.get_template(referred)
                waiting.append(referred)
            except Exception as error:
                place = find_template_place(error) or Place(show_path(path), line)
                problems.append(Problem(place, describe_error(error)))
    return list(dict.fromkeys(problems))


def _references(environment: TemplateEnvironment, path: str) -> Sequence[tuple[str, int]]:
    tree = environment.parse(environment.project_loader.sources[path])
    found = []
    for node in tree.find_all((nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)):
        name = node.template  # type: ignore[attr-defined]  # each of the four has one
        if (
            isinstance(name, nodes.Const)
            and isinstance(name.value, str)
            and not getattr(node, "ignore_missing", False)
        ):
            found.append((name.value, node.lineno))
    return found
