"""`mailer init` and `mailer schema`: what the author of a campaign starts with."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

from mailer.campaign import json_schema
from mailer.cli import console
from mailer.errors import InputError, Problem

TEMPLATES = {"html": "template.html.j2", "markdown": "template.md.j2", "mjml": "template.mjml.j2"}
SCHEMA_FILE = Path("campaigns/campaign.schema.json")  # what editors complete and check a campaign file with


def create_campaign(name: str, format_: str = "html") -> None:
    """Create the files of a new campaign below the working directory and print their paths.

    `format_` is that of the template: html, markdown or mjml. Raises InputError if the name is not valid, a
    file exists already or cannot be written; then no file is created.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
        raise InputError(
            f"{name!r} cannot be a campaign's name; expected [a-z0-9][a-z0-9._-]{{0,63}}, such as spring-2027"
        )
    texts = _make_files(name, format_)
    if not SCHEMA_FILE.exists():  # one for all campaigns of the folder
        texts[SCHEMA_FILE] = _format_schema() + "\n"
    _create_files(texts)
    for path in texts:
        console.print_output(str(path))
    console.print_hint(f"mailer check {name}, then mailer send {name} --sandbox")


def _make_files(name: str, format_: str) -> dict[Path, str]:
    starter = Path(__file__).parent / "starter"
    suffix = TEMPLATES[format_].removeprefix("template.")
    has_text = format_ == "html"
    sources = {
        Path(f"campaigns/{name}.yaml"): "campaign.yaml",
        Path(f"campaigns/{name}.csv"): "people.csv",
        Path(f"templates/{name}.{suffix}"): TEMPLATES[format_],
    }
    if has_text:
        sources[Path(f"templates/{name}.txt.j2")] = "template.txt.j2"
    text_line = f"text: {name}.txt.j2" if has_text else "# text: a template for the plain text"
    values = {
        "@NAME@": name,
        "@TEMPLATE@": f"{name}.{suffix}",
        "@TEXT@": f"{text_line:<40}# without it, the text is derived from the HTML",
    }
    texts = {}
    for target, file in sources.items():
        text = (starter / file).read_text(encoding="utf-8")
        for mark, value in values.items():
            text = text.replace(mark, value)
        texts[target] = text
    return texts


def print_schema() -> None:
    """Print the JSON Schema of campaign files."""
    console.print_output(_format_schema())


def _format_schema() -> str:
    return json.dumps(json_schema(), indent=2, ensure_ascii=False)


def _create_files(texts: dict[Path, str]) -> None:
    """Create all of the files or none of them."""
    if existing := [path for path in texts if path.exists() or path.is_symlink()]:
        raise InputError([Problem(None, f"{path} exists already; nothing was written") for path in existing])
    created: list[Path] = []
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8", newline="\n") as stream:
                created.append(path)
                stream.write(text)
    except OSError as error:
        for path in created:
            with suppress(OSError):
                path.unlink()
        raise InputError(f"{error.filename or 'a file'}: {error.strerror}; nothing was written") from error
