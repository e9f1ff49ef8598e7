"""Removing a person's data from the ledger.

Of a message that was sent, or may have been sent, the row stays for the figures: its address and key become
hashes, and everything else of the person is removed. All other rows of the person are deleted. The hash
keeps a later plan of the campaign from sending to the address again. A person who was suppressed stays so,
under the hash, in every campaign.

The hash is HMAC-SHA256 with a key of the ledger. Someone who has the ledger can still ask it whether a given
address is in it; that is what keeps the address from getting mail.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import NamedTuple

from mailer.campaign.addresses import normalize_address
from mailer.errors import LedgerBusy
from mailer.ledger import rows, sql
from mailer.ledger.ledger import Ledger
from mailer.ledger.records import Edition

PREFIX = "forgotten:"  # no address has a colon before its "@" without quotation marks


class RemovedData(NamedTuple):
    """What was removed of a person: messages whose row stays under a hash, deleted ones, a suppression."""

    anonymized: int
    deleted: int
    was_suppressed: bool


def forget_address(ledger: Ledger, address: str) -> RemovedData:
    """Remove the data of the person with `address` from all campaigns, and from the suppressions.

    Raises LedgerBusy if a campaign with the address is being sent, LedgerError if the ledger cannot be
    changed.
    """
    address = normalize_address(rows.escape_surrogates(address))
    with ledger.transaction() as store:
        found = store.fetch_all(sql.MESSAGES_TO, {"address": address})
        for name in sorted({name for _, _, _, name, _ in found}):
            if ledger.is_held(name):
                hint = "wait until the campaign is sent, or stop it"
                raise LedgerBusy(f"{name} is being sent, and has a message to {address}", hint=hint)
        store.execute(sql.ADD_SALT, {"salt": secrets.token_hex(32)})
        make_hash = _make_hasher(str(ledger.fetch_value(sql.SALT)))
        hash_ = make_hash(address)
        campaigns = {campaign for _, _, campaign, _, _ in found}
        was_suppressed = store.execute(sql.UNSUPPRESS, {"address": address}) > 0
        if was_suppressed:
            campaigns.add(0)
        kept = [(id_, key) for id_, key, _, _, was_sent in found if was_sent]
        deleted = [{"id": id_} for id_, _, _, _, was_sent in found if not was_sent]
        given = [{"id": id_, "hash": PREFIX + hash_, "key": PREFIX + make_hash(key)} for id_, key in kept]
        store.execute_many(sql.ANONYMIZE_MESSAGE, given)
        store.execute_many(sql.REMOVE_MESSAGE, deleted)
        store.execute_many(
            sql.ADD_FORGOTTEN, [{"hash": hash_, "campaign": campaign} for campaign in sorted(campaigns)]
        )
        store.execute(sql.BLANK_RUN_REASONS, {"address": address, "hash": PREFIX + hash_})
    ledger.store.erase_deleted()
    return RemovedData(len(kept), len(deleted), was_suppressed)


def find_forgotten(ledger: Ledger, edition: Edition) -> Callable[[str], bool] | None:
    """Return a function that says whether an address, in its normalized form, is to get no mail of the edition.

    None if there is no such address.
    """
    hashes = {hash_ for (hash_,) in ledger.fetch_all(sql.FORGOTTEN, edition=edition.id)}
    if not hashes:
        return None
    make_hash = _make_hasher(str(ledger.fetch_value(sql.SALT)))
    return lambda address: make_hash(address) in hashes


def _make_hasher(salt: str) -> Callable[[str], str]:
    key = bytes.fromhex(salt)
    return lambda text: hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
