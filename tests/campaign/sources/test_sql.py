"""Recipients from SQLite and PostgreSQL: read-only, streamed, and errors without the URL's password."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailer.campaign import Recipient
from mailer.campaign.secrets import EnvironmentSecret, GivenSecret
from mailer.campaign.sources import RowRules, SqlSource, Where, sql
from mailer.errors import InputError, MissingExtra, Place
from mailer.secret import Secret

pytest.importorskip("pg8000", reason="the extra sql is not installed")

HERE = Place("x.yaml", 5, 3)
PASSWORD = "p@ss:w/ord"
QUOTED = "p%40ss%3Aw%2Ford"


def people(query: str, url: str = "sqlite:///people.db", where: Where | None = None) -> list[Recipient]:
    return list(SqlSource(query, GivenSecret(Secret(url)), HERE, Path.cwd(), RowRules(where=where)))


def refusal(query: str, url: str = "sqlite:///people.db") -> str:
    with pytest.raises(InputError) as caught:
        people(query, url)
    assert PASSWORD not in str(caught.value)
    assert QUOTED not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def database(folder: Path) -> Path:
    connection = sqlite3.connect(folder / "people.db")
    connection.execute("create table people (email text, name text, amount real, day text, raw blob)")
    rows = [("Ada@EXAMPLE.com", "Ada", 1.5, "2026-11-23", b"x"), ("bad", None, 2, None, None)]
    connection.executemany("insert into people values (?, ?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return folder / "people.db"


@pytest.mark.usefixtures("database")
def test_rows_of_sqlite_are_recipients() -> None:
    ada, bad = people(
        "select email as \" Email\", name, amount, '12:30' as t, 'a%:b' as s from people where name like '%' or 1"
    )
    assert ada.columns == {
        "email": "Ada@example.com",
        "name": "Ada",
        "amount": 1.5,
        "t": "12:30",
        "s": "a%:b",
    }
    assert str(ada.place) == "x.yaml:5:3: row 1"
    assert str(bad.problem).startswith("x.yaml:5:3: row 2: Email: 'bad' is not an address")


@pytest.mark.usefixtures("database")
@pytest.mark.usefixtures("database")
def test_where_selects_rows_of_sqlite() -> None:
    kept = people("select email, name from people", where=Where.compile("name == 'Ada'", HERE))
    assert [r.email for r in kept] == ["Ada@example.com"]


def test_sqlite_is_read_only(database: Path, folder: Path) -> None:
    before = database.read_bytes()
    for query in (
        "delete from people",
        "delete from people returning email",
        "insert into people (email) values ('x@example.com') returning email",
        "create table more (a)",
        "pragma user_version = 5",
        f"attach '{folder}/new.db' as new",
        f"vacuum into '{folder}/new.db'",
        "select 'a@example.com' as email; delete from people",
    ):
        assert refusal(query).startswith("x.yaml:5:3: recipients: "), query
    assert database.read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["people.db"]


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("selec email", 'x.yaml:5:3: recipients: the database: near "selec": syntax error'),
        ("select name from people", "x.yaml:5:3: there is no column 'email'; the columns are: name"),
        ("select email, email from people", "x.yaml:5:3: the column 'email' is repeated"),
        ("select email, 1 as image from people", "x.yaml:5:3: the column 'image' needs another name"),
        ("select email from people where 0", "x.yaml:5:3: the list has no recipients"),
        ("", "x.yaml:5:3: recipients: the database: the query gives no rows; expected a SELECT"),
    ],
)
def test_a_query_that_cannot_be_read_is_an_error(query: str, expected: str) -> None:
    assert refusal(query).startswith(expected)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///nope.db", "x.yaml:5:3: nope.db: there is no such file"),
        ("sqlite:///.", "x.yaml:5:3: .: it is a folder"),
        ("sqlite://", "x.yaml:5:3: recipients: expected a file: sqlite:///people.db"),
        ("sqlite:///file:x?mode=rwc&uri=true", "x.yaml:5:3: recipients: expected a file"),
        (f"not a url {QUOTED}", "x.yaml:5:3: recipients: the database's URL is not one"),
        (f"postgresql://me:{QUOTED}@h:port/x", "x.yaml:5:3: recipients: the database's URL is not one"),
        (f"nosuch://me:{QUOTED}@h/x", "x.yaml:5:3: recipients: "),
        (
            f"mysql://me:{QUOTED}@h/x",
            "x.yaml:5:3: recipients: mysql is not read; expected sqlite:///FILE or postgresql://",
        ),
        (f"postgresql+pg8000://me:{QUOTED}@127.0.0.1:1/x", "x.yaml:5:3: recipients: the database: "),
        (
            "postgresql://127.0.0.1:1/x",
            "x.yaml:5:3: recipients: the database's URL names no user; expected postgresql://user@",
        ),
        (
            f"postgresql://me:{QUOTED}@127.0.0.1:1/x?sslmode=never",
            "x.yaml:5:3: recipients: the database: the URL has a parameter that is not known; expected sslmode",
        ),
    ],
)
def test_a_database_that_cannot_be_opened_is_an_error(folder: Path, url: str, expected: str) -> None:
    assert refusal("select 1", url).startswith(expected)
    assert not list(folder.iterdir())


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pg8000.legacy", None)
    with pytest.raises(MissingExtra) as caught:
        people("select 1", f"postgresql://me:{QUOTED}@h/x")
    assert QUOTED not in str(caught.value)
    assert str(caught.value.hint).startswith("pip install 'mailer[sql]'")


@pytest.mark.usefixtures("database")
def test_sqlite_reads_tables_and_nothing_else(folder: Path) -> None:
    (folder / "secret").write_text("s3cret")
    for query in (
        "select load_extension('x') as email",
        "select writefile('new', 'x') as email",
        "select readfile('secret') as email",
        "select name as email from pragma_database_list",
        "select fts3_tokenizer('x') as email",
        "select 'a@example.com' as email; select 1",
        "begin; select 1 as email",
        "with x as (select 1) insert into people (email) select 'x@example.com' from x",
    ):
        text = refusal(query)
        assert text.startswith("x.yaml:5:3: recipients: the database: "), query
        assert "s3cret" not in text
    assert sorted(path.name for path in folder.iterdir()) == ["people.db", "secret"]
    assert "string or blob too big" in refusal("select hex(zeroblob(100000000)) as email")


@pytest.mark.usefixtures("database")
def test_a_query_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "PORTION_SECONDS", 0.2)
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) as email from n"
    assert "the query took longer than 0.2 s" in refusal(endless)


def test_the_url_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, database: Path) -> None:
    source = SqlSource(
        "select email from people", EnvironmentSecret("DATABASE_URL", HERE), HERE, database.parent
    )
    with pytest.raises(InputError, match="the environment variable DATABASE_URL is not set"):
        list(source)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{database}")
    assert len(list(source)) == 2
    assert source.fingerprint() is None


@pytest.mark.usefixtures("database")
def test_stopping_early_closes_the_connection() -> None:
    rows = iter(
        SqlSource("select email from people", GivenSecret(Secret("sqlite:///people.db")), HERE, Path.cwd())
    )
    next(rows)
    rows.close()  # type: ignore[attr-defined]  # a generator; a connection left open would be a ResourceWarning


def _programs() -> Path | None:
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((place for place in reversed(places) if (place / "initdb").exists()), None)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """The URL of a throw-away PostgreSQL."""
    programs = _programs()
    if programs is None:
        missing = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        missing("PostgreSQL is not installed (tests/servers/install.sh does it)")
    user = "nobody" if os.geteuid() == 0 else None  # it refuses to run as root
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="mailer-pg-") as folder:
        (Path(folder) / "password").write_text(PASSWORD + "\n")
        if user:
            shutil.chown(folder, user)
            shutil.chown(f"{folder}/password", user)

        def run(*command: str) -> None:
            subprocess.run(
                command, user=user, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/"
            )

        data, control = f"{folder}/data", str(programs / "pg_ctl")
        run(
            str(programs / "initdb"),
            "-D",
            data,
            "-U",
            "me",
            "-A",
            "scram-sha-256",
            f"--pwfile={folder}/password",
        )
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        run(control, "-D", data, "-o", options, "-l", f"{folder}/log", "-w", "start")
        try:
            yield f"postgresql://me:{QUOTED}@127.0.0.1:{port}/postgres"
        finally:
            run(control, "-D", data, "-m", "immediate", "stop")


def test_rows_of_postgresql_are_recipients(postgres: str) -> None:
    (row,) = people(
        "select 'ada@example.com' as email, 1::int as n, 1.50::numeric as p, date '2026-11-23' as d, "
        "'{\"a\": [1]}'::jsonb as j, array[1, 2] as a, true as t, null as x, 'x%y:z' as s, 'NaN'::float as f",
        postgres,
    )
    assert row.columns == {
        "email": "ada@example.com",
        "n": 1,
        "p": "1.50",
        "d": "2026-11-23",
        "j": {"a": [1]},
        "a": [1, 2],
        "t": True,
        "x": "",
        "s": "x%y:z",
        "f": "nan",
    }
    assert people("select 'a@example.com' as email", postgres.replace("postgresql:", "postgres:"))[0].email


def test_postgresql_streams(postgres: str) -> None:
    source = SqlSource(
        "select 'u' || i || '@example.com' as email from generate_series(1, 5000000) i",
        GivenSecret(Secret(postgres)),
        HERE,
        Path.cwd(),
    )
    rows = iter(source)
    assert [next(rows).email for _ in range(2500)][-1] == "u2500@example.com"
    rows.close()  # type: ignore[attr-defined]  # a generator


def test_postgresql_is_read_only(postgres: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (row,) = people(
        "select current_setting('transaction_read_only') as ro, 'a@example.com' as email", postgres
    )
    assert row.columns["ro"] == "on"
    tmp_path.chmod(0o777)
    mark = tmp_path / "mark"
    for query in (
        "create table x (a int)",
        "select * from nope",
        "select 1; drop table x",
        "select 'a@example.com' as email; commit; begin read write; create table x (a int); commit",
        f"copy (select 1) to program 'touch {mark}'",
        f"select 'a@example.com' as email; copy (select 1) to program 'touch {mark}'",
        "with gone as (delete from pg_class returning relname) select relname as email from gone",
        "select set_config('transaction_read_only', 'off', false) as email",
        "begin",
    ):
        assert refusal(query, postgres).startswith("x.yaml:5:3: recipients: the database: "), query
    assert "expected one statement" in refusal("select 1; select 2", postgres)
    assert not mark.exists()
    assert capfd.readouterr().err == ""


def test_what_a_database_function_writes_is_rolled_back(postgres: str) -> None:
    people(
        "select lo_create(0)::text as email", postgres
    )  # allowed in a read-only transaction before PostgreSQL 16
    (row,) = people("select count(*) as n, 'a@example.com' as email from pg_largeobject_metadata", postgres)
    assert row.columns["n"] == 0


def test_postgresql_stops_a_query_that_takes_too_long(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "PORTION_SECONDS", 0.3)
    assert "the query took longer than 0.3 s" in refusal("select pg_sleep(60)::text as email", postgres)


def test_a_semicolon_and_a_comment_at_the_end_are_accepted(postgres: str) -> None:
    assert [r.email for r in people("select 'a@example.com' as email; -- all\n", postgres)] == [
        "a@example.com"
    ]


def test_errors_of_postgresql_quote_twenty_characters_of_a_value(postgres: str) -> None:
    text = refusal(f"select '{'kanarienvogel' * 4}'::int as email", postgres)
    assert 'invalid input syntax for type integer: "kanarienvogelkanari\u2026"' in text


def test_errors_of_postgresql_do_not_show_the_password(postgres: str) -> None:
    assert "password authentication failed" in refusal("select 1", postgres.replace(QUOTED, "wrong" + QUOTED))
    assert 'database "nodb" does not exist' in refusal("select 1", postgres.removesuffix("postgres") + "nodb")
