"""docs/campaign.md says what the program does, and each example in it is one that works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailer.campaign import load_campaign
from mailer.campaign.schema.mapping_types import Field
from tests.campaign_page import DOCUMENT, find_mappings, find_table_names, make_tables, renew

TEXT = DOCUMENT.read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
FIELDS = [(path, field) for path, mapping in find_mappings() for field in mapping.fields]
BASE: dict[str, Any] = {
    "campaign": "x",
    "from": "a@example.com",
    "subject": "x",
    "text": "x.txt.j2",
    "recipients": ["b@example.com"],
}
# What must stand beside a key of a mapping.
NEEDED: dict[str, dict[str, Any]] = {
    "unsubscribe": {"url": "https://example.com/u"},
    "server": {"host": "smtp.example.com", "username": "me", "password": {"env": "HOME"}},
    "server.client_cert": {"cert": "x.pem"},
    "dkim": {"domain": "example.com", "selector": "s1", "key_file": "x.pem"},
    "attachments": {"path": "x.pdf"},
    "calendar": {"path": "x.ics"},
    "recipients": {"file": "people.csv"},
    "recipients.sql": {"sql": "select 1", "url": "sqlite:///x.sqlite3"},
}
SPECIAL: dict[str, dict[str, Any]] = {
    "provider": {"username": "me", "password": {"env": "HOME"}},
    "region": {"provider": "ses", "username": "me", "password": {"env": "HOME"}},
    "sheet": {"file": "people.xlsx"},
    "hidden": {"file": "people.xlsx"},
}


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("people.csv", "people.xlsx", "ca.pem", "x.pem", "x.key", "dkim.pem", "me.pem", "me.key"):
        (tmp_path / name).write_text("email,plan\nb@example.com,pro\n")
    for name in ("SMTP_PASSWORD", "CI_COMMIT_TAG", "DATABASE_URL"):
        monkeypatch.setenv(name, "sqlite:///x.sqlite3")


def test_the_tables_are_those_of_the_program() -> None:
    assert renew(TEXT) == TEXT, "run: python -m tests.campaign_page"


def test_every_table_is_in_the_document() -> None:
    assert sorted(find_table_names(TEXT)) == sorted(make_tables())


@pytest.mark.parametrize(("path", "field"), FIELDS, ids=[f"{path}.{field.name}" for path, field in FIELDS])
def test_every_key_has_a_description_and_an_example_that_loads(
    path: str, field: Field, tmp_path: Path
) -> None:
    assert field.description.endswith(".")
    assert field.example
    inner = {**SPECIAL.get(field.name, NEEDED.get(path, {})), field.name: yaml.safe_load(field.example)}
    top, _, below = path.partition(".")
    if path == "campaign":
        document = {**BASE, field.name: yaml.safe_load(field.example)}
    elif path == "attachments":
        document = {**BASE, top: [inner]}
    elif below and path != "recipients.sql":
        document = {**BASE, top: {**NEEDED.get(top, {}), below: inner}}
    else:
        document = {**BASE, top: inner}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(document, allow_unicode=True))
    load_campaign(tmp_path / "x.yaml", variables={"version": "1.0"} if "version" in field.example else None)


@pytest.mark.parametrize("snippet", [text for text in SNIPPETS if "from:" in text])
def test_the_whole_examples_load(snippet: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(snippet, encoding="utf-8")
    load_campaign(tmp_path / "x.yaml")
