"""The files of a campaign in the ledger: they travel with it to machines that share no disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from mailer.errors import LedgerError
from mailer.ledger import rows, sql
from mailer.ledger.ledger import Ledger
from mailer.ledger.records import Edition


def hash_content(content: bytes) -> str:
    """The name under which a content is kept: its SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def store_campaign(
    ledger: Ledger,
    edition: Edition,
    hashes: Mapping[str, str],
    read: Callable[[str], bytes],
    settings: Mapping[str, Any],
) -> None:
    """Keep the files of an edition, and how it is to be sent.

    `hashes` are the hashes of the files by name. `read` returns the content of a name; it is called for
    contents that the ledger does not have. `settings` is anything that JSON can hold. Raises LedgerError if a
    file changed meanwhile.
    """
    for name, hash_ in hashes.items():
        if not ledger.fetch_value(sql.HAS_BLOB, hash=hash_):
            content = read(name)
            if hash_content(content) != hash_:
                raise LedgerError(f"{name} changed while it was read", hint="run the command again")
            ledger.store.execute(sql.ADD_BLOB, {"hash": hash_, "content": content})
    with ledger.transaction() as store:
        store.execute(sql.REMOVE_FILES, {"edition": edition.id})
        files = [{"edition": edition.id, "name": name, "hash": hash_} for name, hash_ in hashes.items()]
        store.execute_many(sql.ADD_FILE, files)
        store.execute(sql.SET_SETTINGS, {"edition": edition.id, "settings": rows.encode(settings)})


def list_files(ledger: Ledger, edition: Edition) -> dict[str, str]:
    """The hashes of an edition's files by name."""
    return dict(ledger.fetch_all(sql.FILES, edition=edition.id))


def read_blob(ledger: Ledger, hash_: str) -> bytes:
    """Return the content with the hash `hash_`. Raises LedgerError if `ledger` has none, or it is damaged."""
    found = ledger.fetch_one(sql.BLOB, hash=hash_)
    content = bytes(found[0]) if found else b""
    if hash_content(content) != hash_:
        raise LedgerError(f"{ledger.store.name}: a file of the campaign is missing or damaged ({hash_[:12]})")
    return content


def read_settings(ledger: Ledger, edition: Edition) -> dict[str, Any] | None:
    """What `store_campaign` was given as `settings`, or None if the edition has no files."""
    found = ledger.fetch_one(sql.SETTINGS, edition=edition.id)
    settings: dict[str, Any] | None = json.loads(found[0]) if found and found[0] else None
    return settings


def remove_campaign_files(ledger: Ledger, edition: Edition) -> None:
    """Forget the files of an edition that is complete. Contents that no other edition has go too."""
    with ledger.transaction() as store:
        store.execute(sql.REMOVE_FILES, {"edition": edition.id})
        store.execute(sql.REMOVE_UNUSED_BLOBS)
