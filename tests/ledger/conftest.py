import asyncio
import itertools
import os
from pathlib import Path

import pytest

from mailer.delivery.plan import plan
from mailer.ledger import Ledger
from tests.delivery.lists import NOW, Compiled, People, campaign
from tests.postgres import run_postgres

SCHEMAS = itertools.count()


def pytest_generate_tests(metafunc):
    """Every test of a ledger runs on both databases, but for those that ask for the ledger's file."""
    if "where" in metafunc.fixturenames:
        is_about_files = (
            "path" in metafunc.function.__code__.co_varnames
            or metafunc.definition.get_closest_marker("sqlite")
        )
        postgresql = pytest.param("postgresql", marks=pytest.mark.slow)
        metafunc.parametrize("where", ["sqlite"] if is_about_files else ["sqlite", postgresql], indirect=True)


@pytest.fixture(scope="session")
def postgres():
    pytest.importorskip("asyncpg", reason="the extra postgres is not installed")
    try:
        with run_postgres() as server:
            yield server
    except FileNotFoundError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


def make_schema(url):
    """The URL of an empty schema."""
    import asyncpg

    name = f"ledger{next(SCHEMAS)}"

    async def create():
        connection = await asyncpg.connect(url)
        await connection.execute(f"CREATE SCHEMA {name}")
        await connection.close()

    asyncio.run(create())
    return f"{url}?search_path={name}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".mailer" / "ledger.sqlite3"


@pytest.fixture
def where(request, path):
    """The place of a ledger that is not there yet: a path, or the URL of a schema in PostgreSQL."""
    if request.param == "sqlite":
        return path
    return make_schema(request.getfixturevalue("postgres").url)


@pytest.fixture
def ledger(where):
    with Ledger.open(where) as ledger:
        yield ledger


class Started:
    """A campaign of five, planned, and a run of it."""

    def __init__(self, ledger, *people):
        self.ledger, self.campaign = (
            ledger,
            campaign(People(*(people or [f"{name}@example.com" for name in "abcde"]))),
        )
        self.edition = ledger.ensure_edition("autumn")
        plan(ledger, self.campaign, Compiled(), self.edition)
        self.run = ledger.start_run(self.edition, template="template", now=NOW)

    def claim(self, limit=10, now=NOW, **options):
        claims = self.ledger.claim(self.edition, limit, now, run=self.run, **options)
        self.ledger.commit()
        return claims

    def keys(self, *args, **options):
        return [claim.key[0] for claim in self.claim(*args, **options)]

    def claimed_keys(self):
        """The first letters of the keys that are durably claimed."""
        found = self.ledger.fetch_all("SELECT key FROM messages WHERE status = 'claimed' ORDER BY position")
        return [key[0] for (key,) in found]

    def statuses(self):
        """Status by the first letter of the key, in the list's order."""
        return {outcome.key[0]: outcome.status.value for outcome in self.ledger.read_outcomes(self.edition)}


@pytest.fixture
def started(ledger):
    return Started(ledger)
