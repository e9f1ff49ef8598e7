"""Who may write to a file: what decides who gets mail must belong to the user who sends."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

from mailer.errors import MailerError


def check_ownership(path: Path, found: os.stat_result, error: type[MailerError]) -> None:
    """Raise `error` if another user owns `path` or may write to it. `found` is its status, from stat(2)."""
    if found.st_uid != os.geteuid():
        raise error(f"{path} belongs to another user", hint="it must be your own, and so must its folder")
    may_others_write = found.st_mode & stat.S_IWOTH or (
        found.st_mode & stat.S_IWGRP and not _is_private_group(found.st_gid)
    )
    if may_others_write:
        raise error(f"other users can write to {path}", hint=f"chmod go-w {path}")


def _is_private_group(group: int) -> bool:
    """Whether the group has this user as its only member, as on systems that give each user a group."""
    try:
        user, entry = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return group == user.pw_gid and entry.gr_name == user.pw_name and not set(entry.gr_mem) - {user.pw_name}
