"""What a campaign may make the mailer read, beside the files of its own project.

`mailer send` trusts the campaign that it is given (TRUSTED). `mailer check` also runs on a stranger's
campaign, such as one from a pull request (UNTRUSTED): it must show no secret and no file that is not the
project's.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from mailer.dataclass import dataclass

HINT = "`--trusted` reads what `mailer send` would read"

_LEFT, _RIGHT = (
    "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}",
    "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}",
)
_STAND_IN = re.compile(rf"{_LEFT}(\w+){_RIGHT}")


@dataclass(frozen=True, slots=True)
class Access:
    """Which sources outside the project a campaign may use.

    `environment`: values of environment variables in `vars`. `secrets`: passwords and keys, from wherever
    they come. `commands`: the password's command. `sql`: recipients from a database. `outside_files`: files
    outside the project root, and files in it whose name or folder begins with a dot. `own_machine`: the
    campaign is on the machine that its author wrote it on. Elsewhere, the files that do not travel with it
    (the list, certificates) are not looked for.
    """

    environment: bool = True
    secrets: bool = True
    commands: bool = True
    sql: bool = True
    outside_files: bool = True
    own_machine: bool = True


TRUSTED = Access()
TRAVELLED = Access(own_machine=False)
UNTRUSTED = Access(environment=False, secrets=False, commands=False, sql=False, outside_files=False)


def make_stand_in(name: str) -> str:
    """Return what an untrusted campaign gets in place of the value of an environment variable: its name
    in angle quotation marks.
    """
    return f"{_LEFT}{name}{_RIGHT}"


def name_stand_ins(text: str) -> str:
    """Return `text` with each stand-in replaced by the variable's name in lower case, as a campaign's name
    needs it.
    """
    return _STAND_IN.sub(lambda found: found[1].lower(), text)


def is_project_file(path: Path, root: Path) -> bool:
    """Return whether `path` is inside `root` after symbolic links are resolved, with no dot-file on its way.

    A file that does not exist counts by its name. Nothing is opened.
    """
    try:
        inside = Path(os.path.realpath(path)).relative_to(os.path.realpath(root))
    except (OSError, ValueError):
        return False
    return not any(part.startswith(".") for part in inside.parts)
