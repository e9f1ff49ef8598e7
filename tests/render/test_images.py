from __future__ import annotations

import base64
import os

import pytest

from mailer.render import images
from mailer.render.attachments import FileProblem, ProjectFiles
from mailer.render.images import FileStore, guess_content_type, make_attachment_part
from tests.render.projects import Project, measure_growth


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.pdf", "application/pdf"),
        ("a.PNG", "image/png"),
        ("a.webp", "image/webp"),
        ("a.svg", "image/svg+xml"),
        ("a.csv", "text/csv"),
        ("a.ics", "text/calendar"),
        ("a.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ("a.tar.gz", "application/octet-stream"),
        ("a.eml", "application/octet-stream"),
        ("a.unknown", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_the_type_is_told_by_the_name(name: str, kind: str) -> None:
    assert guess_content_type(name) == kind


def test_a_file_is_encoded_once_and_again_when_it_changed(project: Project) -> None:
    path = project.put("a.pdf", b"one")
    store = FileStore(ProjectFiles(project.root), [project.root], 1000)
    first = store.load_encoded("a.pdf", "a.pdf")[1]
    assert store.load_encoded("./a.pdf", "a.pdf")[1] is first
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert base64.b64decode(store.load_encoded("a.pdf", "a.pdf")[1].content) == b"two"


def test_what_is_kept_is_bounded(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_KEPT", 3_000_000)
    store = FileStore(ProjectFiles(project.root), [project.root], 1_000_000)
    for n in range(20):
        project.put(f"{n}.pdf", bytes([n]) * 600_000)
    with measure_growth() as growth:
        for n in range(20):
            store.load_encoded(f"{n}.pdf", "x")
    assert growth() < 3_500_000


@pytest.mark.parametrize("name", ["", "  ", ".", ".."])
def test_a_file_name_is_one(name: str) -> None:
    with pytest.raises(FileProblem, match="is not a file name for an attachment"):
        make_attachment_part(name, images.EncodedFile("application/pdf", b""))


@pytest.mark.parametrize(
    ("of_file", "name", "kind"),
    [
        ("application/octet-stream", "Invoice 7.pdf", "application/pdf"),
        ("image/png", "a.pdf", "image/png"),
        ("application/octet-stream", "a.csv", "application/octet-stream"),  # its charset is not known
        ("application/octet-stream", "a", "application/octet-stream"),
    ],
)
def test_the_type_is_that_of_the_file_or_else_of_its_name(of_file: str, name: str, kind: str) -> None:
    fields, _ = make_attachment_part(name, images.EncodedFile(of_file, b""))
    assert fields.startswith(f"Content-Type: {kind}\r\n".encode())


def test_a_file_name_with_a_line_end_is_refused() -> None:
    with pytest.raises(ValueError, match="a line end"):
        make_attachment_part("a\r\nX: y.pdf", images.EncodedFile("application/pdf", b""))


def test_text_says_its_charset_only_if_it_is_known(project: Project) -> None:
    project.put("utf8.txt", "é")
    project.put("latin1.txt", "é".encode("latin-1"))
    store = FileStore(ProjectFiles(project.root), [project.root], 1000)
    assert store.load_encoded("utf8.txt", "")[1].type == "text/plain; charset=utf-8"
    assert store.load_encoded("latin1.txt", "")[1].type == "text/plain"
