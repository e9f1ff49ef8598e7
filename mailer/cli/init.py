"""`mailer init` and `mailer schema`: what the author of a campaign starts with."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

from mailer.campaign import json_schema
from mailer.cli import console
from mailer.errors import InputError, Problem

# file in starter/ -> path of the new file
FILES = {
    "campaign.yaml": "campaigns/{name}.yaml",
    "people.csv": "campaigns/{name}.csv",
    "template.html.j2": "templates/{name}.html.j2",
    "template.txt.j2": "templates/{name}.txt.j2",
}


def create_campaign(name: str) -> None:
    """Create the files of a new campaign below the working directory and print their paths.

    Raises InputError if the name is not valid, a file exists already or cannot be written; then no file is created.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
        raise InputError(
            f"{name!r} cannot be a campaign's name; expected [a-z0-9][a-z0-9._-]{{0,63}}, such as spring-2027"
        )
    starter = Path(__file__).parent / "starter"
    texts = {
        Path(target.format(name=name)): (starter / file).read_text(encoding="utf-8").replace("@NAME@", name)
        for file, target in FILES.items()
    }
    _create_files(texts)
    for path in texts:
        console.print_output(str(path))
    console.print_hint(f"mailer check campaigns/{name}.yaml, then mailer send campaigns/{name}.yaml --sandbox")


def print_schema() -> None:
    """Print the JSON Schema of campaign files."""
    console.print_output(json.dumps(json_schema(), indent=2, ensure_ascii=False))


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
