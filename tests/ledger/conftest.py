from pathlib import Path

import pytest

from mailer.delivery.plan import plan
from mailer.ledger import Ledger
from tests.delivery.lists import NOW, Compiled, People, campaign


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".mailer" / "ledger.sqlite3"


@pytest.fixture
def ledger(path):
    with Ledger.open(path) as ledger:
        yield ledger


class Started:
    """A campaign of five, planned, and a run of it."""

    def __init__(self, ledger, *people):
        self.ledger, self.campaign = ledger, campaign(People(*(people or [f"{name}@example.com" for name in "abcde"])))
        self.edition = ledger.ensure_edition("autumn")
        plan(ledger, self.campaign, Compiled(), self.edition)
        self.run = ledger.start_run(self.edition, template="template", now=NOW)

    def claim(self, limit=10, now=NOW, **options):
        claims = self.ledger.claim(self.edition, limit, now, run=self.run, **options)
        self.ledger.commit()
        return claims

    def keys(self, *args, **options):
        return [claim.key[0] for claim in self.claim(*args, **options)]

    def statuses(self):
        """Status by the first letter of the key, in the list's order."""
        return {outcome.key[0]: outcome.status.value for outcome in self.ledger.read_outcomes(self.edition)}


@pytest.fixture
def started(ledger):
    return Started(ledger)
