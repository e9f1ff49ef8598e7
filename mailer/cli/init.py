"""`mailer init`: a new campaign that `mailer check` finds right at once."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import click

from mailer.cli import console
from mailer.cli.exits import Exit

# what stands in starter/ -> where it goes
FILES = {
    "campaign.yaml": "campaigns/{name}.yaml",
    "people.csv": "campaigns/{name}.csv",
    "template.html.j2": "templates/{name}.html.j2",
    "template.txt.j2": "templates/{name}.txt.j2",
}


@click.command("init", short_help="Begin a campaign with its templates and a list.")
@click.argument("name", metavar="NAME")
def command(name: str) -> int:
    """Begin a campaign: its file, its templates and a list, with comments. Nothing is overwritten.

    NAME is the campaign's: small letters, digits, dots, dashes and underscores.
    """
    from mailer.errors import InputError

    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
        raise InputError(
            f"{name!r} cannot be a campaign's name; expected [a-z0-9][a-z0-9._-]{{0,63}}, such as spring-2027"
        )
    starter = Path(__file__).parent / "starter"
    texts = {
        Path(where.format(name=name)): (starter / what).read_text(encoding="utf-8").replace("@NAME@", name)
        for what, where in FILES.items()
    }
    _create(texts)
    for path in texts:
        console.out(str(path))
    console.note(f"hint: mailer check campaigns/{name}.yaml, then mailer send campaigns/{name}.yaml --sandbox")
    return Exit.DONE


def _create(texts: dict[Path, str]) -> None:
    """All of the files, or none of them."""
    from mailer.errors import InputError, Problem

    if there := [path for path in texts if path.exists() or path.is_symlink()]:
        raise InputError([Problem(None, f"{path} is there already; nothing was written") for path in there])
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
