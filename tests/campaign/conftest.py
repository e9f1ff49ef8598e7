"""Campaign files and lists in a folder of their own, which is also the working directory: messages show short paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from mailer.campaign import Campaign, Recipient, load_campaign
from mailer.campaign.named_file import NamedFile
from mailer.campaign.sources import FileSource, list_format
from mailer.errors import InputError

MINIMAL = """\
campaign: spring
from: news@example.com
subject: Hello
text: news.txt
recipients: [ada@example.com]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


Load = Callable[..., Campaign]
Problems = Callable[..., list[str]]


def replaced(changes: Mapping[str, str | None]) -> str:
    """The smallest campaign with other values of some keys; None leaves one out, a new one is added."""
    lines = dict(line.split(": ", 1) for line in MINIMAL.splitlines())
    lines.update({key: value for key, value in changes.items() if value is not None})
    return "".join(f"{key}: {value}\n" for key, value in lines.items() if changes.get(key, "") is not None)


@pytest.fixture
def load(folder: Path) -> Load:
    """Loads the minimal campaign with keys changed: `load(subject="Hi", server="{host: a.example}")`."""

    def load(variables: Mapping[str, str] | None = None, **changes: str | None) -> Campaign:
        (folder / "x.yaml").write_text(replaced({_key(name): value for name, value in changes.items()}))
        return load_campaign("x.yaml", variables=variables or {})

    return load


def _key(name: str) -> str:
    return name.rstrip("_")  # `from_` is `from`


@pytest.fixture
def problems(load: Load) -> Problems:
    """The lines of the InputError that loading raises."""

    def problems(**changes: str | None) -> list[str]:
        with pytest.raises(InputError) as caught:
            load(**changes)
        return str(caught.value).splitlines()

    return problems


Rows = Callable[..., list[Recipient]]


@pytest.fixture
def rows(folder: Path) -> Rows:
    """All recipients of a list file with this content."""

    def rows(name: str, content: str | bytes, **options: object) -> list[Recipient]:
        return list(source(folder, name, content, **options))

    return rows


@pytest.fixture
def refusal(rows: Rows) -> Callable[..., list[str]]:
    """The lines of the InputError that reading a list raises."""

    def refusal(name: str, content: str | bytes, **options: object) -> list[str]:
        with pytest.raises(InputError) as caught:
            rows(name, content, **options)
        return str(caught.value).splitlines()

    return refusal


def source(folder: Path, name: str, content: str | bytes, **options: object) -> FileSource:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return FileSource(NamedFile(path, name), list_format(name), **options)  # type: ignore[arg-type]  # test options


def plain(recipients: Iterator[Recipient] | list[Recipient]) -> list[tuple[int, str, dict[str, object]]]:
    return [(r.place.line, r.email, dict(r.columns)) for r in recipients]
