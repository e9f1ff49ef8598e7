"""One template: its output, made by its compiled form or by Jinja2, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os.path import dirname
from typing import Any, NamedTuple

from jinja2 import Template

from mailer.errors import Place
from mailer.files import show_path
from mailer.render.assembly import Assembler
from mailer.render.attachments import FileProblem
from mailer.render.body import Body, BodyEncoder, describe_encoding_error, is_utf8
from mailer.render.failure import RenderFailure
from mailer.render.html import UnknownPath
from mailer.render.instances import Instance
from mailer.render.markup import MarkupError
from mailer.render.placeholders import Placeholders
from mailer.render.plainness import PlainMeasure
from mailer.render.programs import Program
from mailer.render.runs import AssembledText
from mailer.render.skeleton import Skeleton
from mailer.render.templates import TemplateEnvironment, TemplateVariables, UnboundedWork, run_template
from mailer.render.transform import Plan, Shape, Transformed, Transformer, has_equal_link
from mailer.render.ways import FilledWay, Section, Way
from mailer.templating import describe_error, find_template_place
from mailer.templating.environment import show_text

COMPILED_AFTER = 16  # messages of one template: fewer do not make up for the time that compiling it takes
MAX_SKELETONS = 32  # of one way through a template


class FilledText(NamedTuple):
    """A skeleton with one recipient's values."""

    skeleton: Skeleton
    values: Sequence[str]
    is_kept: bool  # the skeleton is used for other recipients too

    def write(self) -> str:
        """The text."""
        return self.skeleton.fill(self.values)

    def measure(self) -> int:
        """At least as many characters as the text has."""
        return self.skeleton.length + sum(map(len, self.values)) * len(self.skeleton.numbers)

    def is_sendable(self) -> bool:
        """Whether every character can be sent."""
        values = "".join(self.values)
        return self.skeleton.is_sendable and "\0" not in values and (values.isascii() or is_utf8(values))

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

    html: FilledText | AssembledText | None
    text: FilledText | AssembledText
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
        self._assembler: Assembler | None = None
        self._is_compiled = True
        self.path = template.name or ""
        self.folder = dirname(self.path)

    def write_text(self, variables: TemplateVariables) -> FilledText:
        """The template's output. RenderFailure at its line."""
        if (filled := self._fill(variables)) is not None:
            return self._fill_text(filled)
        return FilledText(Skeleton([self._run(variables)], []), (), False)

    def write_html(self, variables: TemplateVariables) -> Content:
        """The HTML made of the template's output, and its text alternative if that is derived.

        :raises RenderFailure: at the line of the template that is wrong.
        """
        transformer = self._kind.transformer
        if transformer is None:
            raise TypeError("a text template has no HTML")
        if (filled := self._fill(variables)) is not None:
            content = self._fill_html(transformer, filled, only_bounded=variables.only_bounded)
            if content is not None:
                return content
        if variables.only_bounded:
            raise UnboundedWork
        if (placeholders := self._kind.placeholders) is not None:
            placeholders.clear()
            written = self._run(variables)
            made = self._transform(transformer, written)
            return _make_content(made, placeholders.shown, placeholders.raw, is_kept=False)
        written = self._run(variables)
        try:
            return _make_content(
                self._transform(transformer, written, self._is_path_known), (), (), is_kept=False
            )
        except UnknownPath:
            return self._write_traced(transformer, variables)

    def find_measure(self, variables: TemplateVariables) -> PlainMeasure | None:
        """How much is made for a recipient at most, if the values are plain text.

        None if it is not known that this cannot fail: it is if the way was taken before, and is plain
        (`plainness.py`).
        """
        if self._program is None or not self._is_compiled:
            return None
        way = self._program.find_plain_way(variables)
        if way is not None and way.measure is None:
            way.measure = self._make_measure(way)
        return None if way is None else way.measure

    def _make_measure(self, way: Way) -> PlainMeasure | None:
        """None if no message of this way was made so far, or if what is made of it depends on its values."""
        plan: Plan | None = way.plan
        made: Any = way.skeletons.get(None if plan is None else plan.all_tokens)
        if way.plain is None or made is None:
            return None
        skeletons: list[Skeleton] = [made]
        images: dict[str, str | None] = {}
        if plan is not None:
            if made.compared or not plan.has_free_slots:
                return None
            skeletons, images = [made.html, made.text or made.html], made.images
        if not all(skeleton.is_sendable for skeleton in skeletons):
            return None
        base = way.length + sum(skeleton.length for skeleton in skeletons)
        slots = len(way.pieces) + sum(len(skeleton.numbers) for skeleton in skeletons)
        may_have_colons = plan is None or plan.is_strict
        return way.plain.measure(
            base, slots, self._max_output, images=images, may_have_colons=may_have_colons
        )

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
            content = self._fill_html(transformer, filled)
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

    def _fill(self, variables: TemplateVariables) -> FilledWay | None:
        if variables.only_bounded:
            filled = (
                self._program.fill(variables) if self._program is not None and self._is_compiled else None
            )
            if filled is None:
                raise UnboundedWork
            return filled
        self._count += 1
        if self._count <= COMPILED_AFTER or not self._is_compiled:
            return None
        if self._program is None:
            transformer = self._kind.transformer
            self._program = self._kind.environment.make_program(
                lambda tracing: tracing.get_template(self.path),
                show_path(self.path),
                self._max_output,
                has_sections=transformer is None or transformer.may_have_sections,
            )
            if transformer is not None:
                self._assembler = Assembler(transformer)
        return self._program.fill(variables) or self._program.learn(
            variables, lambda: self._run_plain(variables)
        )

    def _fill_text(self, filled: FilledWay) -> FilledText:
        way = filled.way
        if way.sections:
            return FilledText(Skeleton([filled.write()], []), (), False)
        skeleton = way.skeletons.get(None)
        if skeleton is None:
            pieces = [piece for piece in way.pieces if not isinstance(piece, Section)]
            skeleton = way.skeletons[None] = Skeleton.from_pieces(pieces)
        return FilledText(skeleton, filled.list_shown(), True)

    def _fill_html(
        self, transformer: Transformer, filled: FilledWay, *, only_bounded: bool = False
    ) -> Content | None:
        """None if the recipient's values are left to Jinja2, or if a skeleton would have to be made
        (`only_bounded`).
        """
        way = filled.way
        if way.sections:
            return self._assemble(transformer, filled, only_bounded=only_bounded)
        shown, raw = filled.list_shown(), filled.list_raw()
        plan = way.plan
        if plan is None:
            if only_bounded:
                return None
            pieces = [piece for piece in way.pieces if not isinstance(piece, Section)]
            plan = way.plan = transformer.plan(pieces, len(way.shown))
        shape: Shape | None = plan.shape(raw, shown)
        if shape is None:
            return None
        made: Transformed | None = way.skeletons.get(shape)
        if made is None:
            if only_bounded:
                return None
            made = self._transform(transformer, plan.write(shape))
            if len(way.skeletons) < MAX_SKELETONS:
                way.skeletons[shape] = made
        if made.compared and made.has_equal_link(raw):
            return None
        return _make_content(made, shown, raw, is_kept=True)

    def _assemble(self, transformer: Transformer, filled: FilledWay, *, only_bounded: bool) -> Content | None:
        """As `_fill_html`, for a way with sections."""
        if self._assembler is None or self._program is None:
            return None
        assembled = self._assembler.assemble(filled)
        if assembled is None:
            instance = self._assembler.make_instance(filled)
            if instance is None:
                return None
            assembled = self._assembler.find(instance)
            if assembled is None:
                return None if only_bounded else self._learn_fragments(transformer, instance)
        html, text, images, compared, raw = assembled
        if compared and has_equal_link(compared, raw):
            return None
        return Content(html, text or html, images)

    def _learn_fragments(self, transformer: Transformer, instance: Instance) -> Content | None:
        if self._assembler is None or self._program is None:
            return None
        made, keys = self._assembler.learn(
            instance, lambda output: self._transform(transformer, output), self.folder
        )
        if keys:
            self._program.write_out(keys)
            self._assembler = Assembler(transformer)
        instances = instance.list_all()
        shown = [text for part in instances for text in part.shown]
        raw = [value for part in instances for value in part.raw]
        if made.compared and made.has_equal_link(raw):
            return None
        return _make_content(made, shown, raw, is_kept=False)

    def _write_traced(self, transformer: Transformer, variables: TemplateVariables) -> Content:
        """A trace tells whether the path of an image is the author's.

        Without one, it is taken for the list's.
        """
        self._count = max(self._count, COMPILED_AFTER)
        if (filled := self._fill(variables)) is not None:
            content = self._fill_html(transformer, filled)
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
        except UnicodeEncodeError as error:  # a value's character, as if it were found when it is sent
            raise ValueError(describe_encoding_error(error)) from error
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
    return Content(html, FilledText(made.text, [*map(show_text, raw)], is_kept), made.images)
