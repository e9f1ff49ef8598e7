from __future__ import annotations

import os
from typing import Any

import pytest

from mailer.errors import InputError, RenderError
from tests.render.projects import PIXEL, Project, measure_growth, parsed, person


def images_of(content: bytes) -> dict[str, bytes]:
    parts = [part for part in parsed(content).walk() if part.get_content_maintype() == "image"]
    return {str(part["Content-ID"]).strip("<>"): part.get_payload(decode=True) for part in parts}  # type: ignore[misc]


@pytest.fixture
def with_images(project: Project) -> Project:
    for n, name in enumerate(("logo.png", "images/x.png", "templates/t.png", "images/a b.png", "hero.jpg")):
        project.put(name, PIXEL + bytes([n]))
    project.put("page.txt", "not an image")
    return project


@pytest.mark.parametrize(
    "tag",
    [
        '<img src="images/x.png">',
        "<img src='images/x.png'>",
        "<img src=images/x.png>",
        '<IMG SRC="images/x.png">',
        '<img alt="a > b" width=1 src = "./images/x.png" />',
        '<img\n  src="images/x.png?v=2#top"\n>',
        '<img src="images/{{ file }}.png">',
        '<img data-src="other.png" src="images/x.png">',
    ],
)
def test_a_local_image_is_embedded(with_images: Project, tag: str) -> None:
    compiled = with_images.compile(template=f"<p>a</p>{tag}<p>b</p>")
    html = compiled.render_html(person(file="x"))
    [(cid, content)] = images_of(compiled.render(person(file="x")).content).items()
    assert content == PIXEL + b"\1"
    assert f'src="cid:{cid}"' in (html or "")
    assert (html or "").startswith("<p>a</p><")
    assert (html or "").endswith("><p>b</p>")


@pytest.mark.parametrize(
    "html",
    [
        '<img src="https://example.com/x.png">',
        '<img src="//example.com/x.png">',
        '<img src="data:image/png;base64,AA==">',
        '<img src="">',
        "<img alt=x>",
        "<img data-src='images/x.png'>",
        "<imgage src='images/x.png'>",
        "<p>&lt;img src='images/x.png'&gt;</p>",
        "cid:other",
        "<img",
    ],
)
def test_what_is_no_local_image_is_left_alone(with_images: Project, html: str) -> None:
    compiled = with_images.compile(template=html, images={"logo": "logo.png"})
    assert compiled.render_html(person()) == html
    assert images_of(compiled.render(person()).content) == {}


@pytest.mark.parametrize(
    "html",
    [
        '<img src="cid:logo">',
        "<img src=\"{{ image('logo') }}\">",
        "<td background='cid:logo'>",
        '<div style="background: url(cid:logo)">',
        "{% macro m() %}<img src=\"{{ image('logo') }}\">{% endmacro %}{{ m() }}",
    ],
)
def test_a_named_image_goes_with_the_messages_that_show_it(with_images: Project, html: str) -> None:
    images = {"logo": "logo.png", "logo2": "images/x.png", "lo": "hero.jpg"}
    compiled = with_images.compile(template="{% if n %}" + html + "{% endif %}<p>x</p>", images=images)
    assert images_of(compiled.render(person(n=1)).content) == {"logo": PIXEL + b"\0"}
    assert images_of(compiled.render(person(n=0)).content) == {}


def test_the_same_image_twice_is_one_part(with_images: Project) -> None:
    compiled = with_images.compile(template='<img src="images/x.png"><img alt="" src="images/x.png">')
    assert len(images_of(compiled.render(person()).content)) == 1


def test_an_image_beside_the_template_comes_first(with_images: Project) -> None:
    with_images.put("templates/images/x.png", PIXEL + b"t")
    with_images.put("templates/mail.html", '<img src="images/x.png"><img src="t.png"><img src="a%20b.png">')
    with_images.put("a b.png", PIXEL + b"s")
    contents = images_of(with_images.compile(template="mail.html").render(person()).content).values()
    assert list(contents) == [PIXEL + b"t", PIXEL + b"\2", PIXEL + b"s"]


def test_an_image_may_differ_from_recipient_to_recipient(with_images: Project) -> None:
    compiled = with_images.compile(template='<img src="cid:face">', images={"face": "images/{{ face }}.png"})
    assert images_of(compiled.render(person(face="x")).content) == {"face": PIXEL + b"\1"}
    assert images_of(compiled.render(person(face="a b")).content) == {"face": PIXEL + b"\3"}
    with pytest.raises(
        RenderError, match=r"^campaign.yaml:1: images/zz.png: not found .* for ada@example.com"
    ):
        compiled.render(person(face="zz"))


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("\n<img src='no.png'>", "body.html:2: image no.png: not found"),
        ("<img src='/etc/passwd'>", "/etc/passwd: is outside the project root"),
        ("<img src='../x.png'>", "../x.png: is outside the project root"),
        ("<img src='page.txt'>", "page.txt: is not an image by its suffix"),
        ("<img src='images'>", "images: it is a folder"),
        ("<img src='out.png'>", "out.png: is outside the project root"),
        ("<img src='pipe.png'>", "pipe.png: it is a FIFO"),
        ("<img src='cid:nope'>", "'nope' is not in the campaign's images (logo)"),
        ("{{ image('nope') }}", "'nope' is not in the campaign's images (logo)"),
    ],
)
def test_a_wrong_image_is_an_error(with_images: Project, tag: str, text: str) -> None:
    (with_images.root / "out.png").symlink_to("/etc/hostname")
    os.mkfifo(with_images.root / "pipe.png")
    compiled = with_images.compile(template=tag, images={"logo": "logo.png"})
    with pytest.raises(RenderError) as caught:
        compiled.render(person())
    assert text in str(caught.value)


def test_a_wrong_named_image_is_found_when_compiling(with_images: Project) -> None:
    images: dict[str, Any] = {"a": "no.png", "b": "page.txt", "c": "{{"}
    with pytest.raises(InputError) as caught:
        with_images.compile(template="x", images=images)
    said = str(caught.value)
    assert "no.png: not found" in said
    assert "page.txt: is not an image" in said
    assert len(caught.value.problems) == 3


@pytest.mark.slow
def test_many_tags_do_not_fill_the_memory(with_images: Project) -> None:
    compiled = with_images.compile(template='<img alt="{{ n }}" src="images/x.png">')

    def render(numbers: range) -> None:
        for n in numbers:
            compiled.render_html(person(n=f"{n:4000}"))

    render(range(100))
    with measure_growth() as growth:
        render(range(100, 1600))
    assert growth() < 4_000_000, "each tag has more than 4,000 characters, and is kept with what became of it"
