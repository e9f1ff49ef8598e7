"""Secrets in every file that a campaign can name: no output of `mailer check` has one of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailer.campaign.named_file import NamedFile
from mailer.campaign.sources import FileSource, RowRules, list_format
from mailer.cli import run
from mailer.errors import InputError
from tests.campaign.mutations import GOOD, write_campaign, write_list, write_project

CANARY = "kanarienvogel0kanarienvogel1kanarienvogel2"
PARTS = [CANARY[start : start + 14] for start in range(0, len(CANARY), 14)]


def is_shown(text: str) -> bool:
    """Whether more than 20 characters of the secret are in `text`, forwards or backwards, as a whole or spaced."""
    bare = "".join(character for character in text if character.isalnum())
    return any(part in bare or part[::-1] in bare for part in PARTS[1:])


@pytest.fixture
def project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The good campaign's folder, with secrets around it, hidden in it and linked from it."""
    root = folder / "project"
    root.mkdir()
    write_project(root)
    monkeypatch.chdir(root)
    for name in ("CI_TOKEN", "SMTP_PASSWORD", "DATABASE_URL"):
        monkeypatch.setenv(name, CANARY)
    for place in (folder, root / ".git", root / ".mailer", root / ".hidden"):
        place.mkdir(exist_ok=True)
        for suffix in (".csv", ".yaml", ".json", ".jsonl", ".txt", ".html", ".j2", ".ics", ".pem", ""):
            (place / f"secret{suffix}").write_text(f"{CANARY}\n")
        rows = [{"email": "a@example.com", CANARY: CANARY}]
        (place / "secret.xlsx").write_bytes(write_list(rows, ".xlsx"))
    connection = sqlite3.connect(root / ".mailer/ledger.sqlite3")
    connection.execute(f"create table people as select 'a@example.com' as email, '{CANARY}' as {CANARY}")
    connection.commit()
    connection.close()
    (root / "dkim.pem").write_text(f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n")
    (root / "link").symlink_to(folder)
    for suffix in (".csv", ".yaml", ".txt", ".html", ".j2", ".xlsx"):
        (root / f"link{suffix}").symlink_to(folder / f"secret{suffix}")
    return root


FOLDERS = ["..", "{root}/..", "link", ".git", ".mailer", ".hidden", "./.git", "news/../.git"]
LISTS = [
    *(f"{place}/secret{suffix}" for place in FOLDERS for suffix in (".csv", ".yaml", ".xlsx")),
    "link.csv",
]
FILES = [
    *(f"{place}/secret.txt" for place in FOLDERS),
    "link.txt",
    "dkim.pem",
    "./dkim.pem",
    ".mailer/ledger.sqlite3",
]
TEMPLATES = [name.replace(".txt", ".html") for name in FILES]


def campaigns() -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield what is named, the changes of the good campaign, and the template."""
    for name in LISTS:
        yield f"recipients {name}", {"recipients": name}, ""
    for name in FILES:
        yield f"attachments {name}", {"attachments": [name]}, ""
        yield (
            f"an attachment by a value {name}",
            {"attachments": ["{{ f|path }}"], "vars": {"season": "x", "f": name}},
            "",
        )
        yield f"images {name}", {"images": {"logo": name}}, ""
        yield f"calendar {name}", {"calendar": {"path": name}}, ""
        yield f"text {name}", {"text": name}, ""
        yield f"key_file {name}", {"dkim": {"domain": "example.com", "selector": "s", "key_file": name}}, ""
        for key in ("ca_file", "client_cert"):
            value = {"cert": name} if key == "client_cert" else name
            yield f"{key} {name}", {"server": {"host": "a.example", key: value}}, ""
    for name in TEMPLATES:
        yield f"template {name}", {"template": name}, ""
        for tag in ("include", "import", "extends"):
            source = f"{{% {tag} '{name}' {'as x ' if tag == 'import' else ''}%}}"
            yield f"{tag} {name}", {}, source
    yield (
        "an environment variable in the subject",
        {"vars": {"season": "x", "p": {"env": "CI_TOKEN"}}, "subject": "{{ p }}"},
        "",
    )
    spelt = "{{ image(p|reverse|join('-')) }}"
    yield (
        "an environment variable in an image's name",
        {"vars": {"season": "x", "p": {"env": "CI_TOKEN"}}},
        spelt,
    )
    for form in ({"env": "SMTP_PASSWORD"}, {"file": "../secret.txt"}, {"command": "cat ../secret.txt"}):
        yield f"a password {form}", {"server": {"host": "a.example", "username": "me", "password": form}}, ""
    for url in ("sqlite:///.mailer/ledger.sqlite3", {"env": "DATABASE_URL"}):
        yield f"a database {url}", {"recipients": {"sql": "select * from people", "url": url}}, ""
    yield "an include by a value", {"vars": {"season": "x", "f": "../secret.txt"}}, "{% include f %}"
    yield "the list as a template", {"recipients": "people.csv", "template": "people.csv"}, ""
    yield "the list as an attachment", {"recipients": "people.csv", "attachments": ["people.csv"]}, ""
    yield "the list in a template", {"recipients": "people.csv"}, "{% include 'people.csv' %}"


def check(changes: dict[str, Any], template: str, root: Path, capsys: pytest.CaptureFixture[str]) -> str:
    document = json.loads(json.dumps({**GOOD, **changes}).replace("{root}", str(root)))
    (root / "x.yaml").write_text(write_campaign({k: v for k, v in document.items() if v is not None}))
    (root / "people.csv").write_text(f"email,name,doc,note\nada@example.com,Ada,terms,{CANARY}\n")
    if template:
        (root / "news.html.j2").write_text(template.replace("{root}", str(root)))
    run(["check", "x.yaml"])
    captured = capsys.readouterr()
    return captured.out + captured.err


@pytest.mark.timeout(240)
@pytest.mark.slow
def test_no_file_that_a_campaign_names_is_shown(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original = (project / "news.html.j2").read_text()
    for name, changes, template in campaigns():
        (project / "news.html.j2").write_text(original)
        text = check(changes, template, project, capsys)
        assert not is_shown(text), (name, text)
        assert "Traceback" not in text, (name, text)


LONG = "kanarienvogel" * 4  # twenty characters of it may be shown, and no more
CELLS = [
    LONG,
    f"{LONG}@x",
    f"a@{LONG}\u201c.com",
    f'"{LONG}',
    f"{LONG} <a@b.c>",
    f"\x07{LONG}",
    [LONG],
    {LONG: LONG},
]
ROWS: list[Callable[[Any], list[Any]]] = [
    lambda cell: [{"email": cell}],
    lambda cell: [{"email": "a@example.com", LONG: cell}, {"email": cell}],
    lambda cell: [{LONG: cell}],
    lambda _: [{"email": "a@example.com", f"{LONG} a": 1, f"{LONG}-a": 2}],
    lambda cell: [cell],
]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".yaml", ".xlsx"])
@pytest.mark.parametrize("make_rows", ROWS)
def test_errors_of_a_list_quote_twenty_characters_of_it(
    folder: Path, suffix: str, make_rows: Callable[[Any], list[Any]]
) -> None:
    path = folder / f"people{suffix}"
    for cell in CELLS:
        path.write_bytes(write_list(make_rows(cell), suffix))
        for rules in (RowRules(), RowRules(columns={"email": f"{LONG}x"})):
            lines = []
            try:
                found = FileSource(NamedFile(path, path.name), list_format(path.name), rules)
                lines = [str(row.problem) for row in found if row.problem is not None]
            except InputError as error:
                lines = [str(problem) for problem in error.problems]
            assert not [line for line in lines if has_long_quote(line)], (cell, lines)


def has_long_quote(line: str) -> bool:
    return any(LONG[start : start + 21] in line for start in range(13))
