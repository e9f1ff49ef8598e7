"""`mailer worker` and `mailer send --workers` as processes, with real brokers and a real database."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest

from mailer.campaign.load import load_campaign
from mailer.campaign.model import ServerConfig
from mailer.delivery.options import SendOptions
from mailer.delivery.plan import plan
from mailer.errors import InputError
from mailer.ledger import Ledger
from mailer.ledger.files import list_files
from mailer.ledger.outcome import Status
from mailer.render.compile import compile_campaign
from mailer.workers import travel
from mailer.workers.app import QUEUE, TaskQueue
from mailer.workers.travel import pack_campaign
from tests.faults.server import PASSWORD, FaultServer

DELIVERY = "delivery: {connections: 3, window: 8, backoff: {first: 10ms, most: 100ms}}\n"


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_three_workers_send_one_campaign(broker: Any, make_fleet: Any) -> None:
    with FaultServer(delay=0.01) as server:
        fleet = make_fleet(broker, server, 900, DELIVERY)
        for name in ("one", "two", "three"):
            fleet.start_worker(name)
        command = fleet.start_command("--report", str(fleet.folder / "send.json"))
        assert command.wait(120) == 0, fleet.logs()
        assert fleet.statuses() == {Status.SENT: 900}
        fleet.compare_with()
        report = fleet.report()
    assert report["counts"]["sent"] == 900
    assert {worker["name"] for worker in report["workers"]} == {"one", "two", "three"}
    assert sum(worker["messages"] for worker in report["workers"]) == 900
    assert "900" in fleet.log("command")


def test_the_files_travel_and_a_worker_has_nothing_else(redis: Any, make_fleet: Any) -> None:
    """An include, an image of the list's column, an attachment of each recipient's own."""
    extra = 'attachments: ["files/{{ n }}.txt", "terms.txt"]\n' + DELIVERY
    with FaultServer() as server:
        fleet = make_fleet(redis, server, 20, extra)
        project = fleet.campaign.parent
        (project / "files").mkdir()
        for n in range(20):
            (project / "files" / f"{n}.txt").write_text(f"for {n} alone")
        (project / "terms.txt").write_text("terms")
        (project / "greeting.txt.j2").write_text("Good morning")
        (project / "text.txt.j2").write_text("{% include 'greeting.txt.j2' %} {{ name }}\n")
        (project / ".secret").write_text("never")
        fleet.start_worker("one")
        assert fleet.start_command().wait(120) == 0, fleet.logs()
        fleet.compare_with()
    tree = next((fleet.folder / "one" / "cache").glob("*/campaign.yaml")).parent
    names = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    own = {f"files/{n}.txt" for n in range(20)}
    assert names == {"campaign.yaml", "text.txt.j2", "greeting.txt.j2", "terms.txt", ".ca.pem", *own}


def test_a_worker_without_the_password_says_so(redis: Any, make_fleet: Any, monkeypatch: Any) -> None:
    with FaultServer() as server:
        fleet = make_fleet(redis, server, 3, DELIVERY)
        monkeypatch.setattr("tests.machines.fleet.PASSWORD", "")
        fleet.start_worker("one")
        assert fleet.start_command().wait(120) == 3, fleet.logs()
    assert "worker one: no password for" in fleet.log("command")
    assert fleet.statuses() == {Status.PENDING: 3}


def test_a_cache_that_another_user_can_write_to_is_refused(redis: Any, make_fleet: Any) -> None:
    """Otherwise that user could decide what is sent."""
    with FaultServer() as server:
        fleet = make_fleet(redis, server, 3, DELIVERY)
        cache = fleet.folder / "one" / "cache"
        cache.mkdir(parents=True)
        cache.chmod(0o777)
        fleet.start_worker("one")
        assert fleet.start_command().wait(120) == 3, fleet.logs()
    assert f"other users can write to {cache}" in fleet.log("command")
    assert not list(cache.iterdir())


def test_a_ledger_in_a_file_is_refused(redis: Any, make_fleet: Any) -> None:
    with FaultServer() as server:
        fleet = make_fleet(redis, server, 3)
        fleet.url = str(fleet.folder / "ledger.sqlite3")
        assert fleet.start_command().wait(60) == 2
    assert "workers need a ledger in PostgreSQL" in fleet.log("command")


def test_a_worker_hands_on_until_all_is_sent(broker: Any, make_fleet: Any) -> None:
    """2,500 messages are three shares; the task of each starts the next one, in the same session."""
    delivery = "delivery: {connections: 1, window: 32}\n"
    with FaultServer() as server:
        fleet = make_fleet(broker, server, 2500, delivery)
        fleet.start_worker("one")
        assert fleet.start_command().wait(120) == 0, fleet.logs()
        fleet.compare_with()
        assert server.sessions == 1
    with Ledger.open(fleet.url) as ledger:
        runs = [
            run.messages for run in ledger.read_runs(ledger.ensure_edition("faults")) if run.worker == "one"
        ]
    assert [count for count in runs if count] == [1000, 1000, 500]


def test_a_campaign_does_not_wait_until_the_tasks_of_another_one_are_done(
    redis: Any, make_fleet: Any
) -> None:
    kombu = pytest.importorskip("kombu", reason="the extra workers is not installed")
    with FaultServer() as server, kombu.Connection(redis.url) as connection:
        fleet = make_fleet(redis, server, 3, "delivery: {connections: 2}\n")
        TaskQueue(redis.url).top_up("another", 1, 50)
        queue = connection.SimpleQueue(QUEUE, queue_opts={"durable": True})
        before = queue.qsize()
        command = fleet.start_command()
        until = time.monotonic() + 60
        while queue.qsize() < before + 2:
            assert time.monotonic() < until, fleet.logs()
            time.sleep(0.1)
        fleet.start_worker("one")
        assert command.wait(120) == 0, fleet.logs()
        fleet.compare_with()


def test_no_secret_goes_through_the_broker_or_lies_in_the_ledger(rabbitmq: Any, make_fleet: Any) -> None:
    """The octets of every task, and every text of the ledger, while the campaign waits for a worker."""
    kombu = pytest.importorskip("kombu", reason="the extra workers is not installed")
    with FaultServer() as server:
        fleet = make_fleet(rabbitmq, server, 3, DELIVERY)
        fleet.start_command()
        with kombu.Connection(rabbitmq.url) as connection:
            task = connection.SimpleQueue(QUEUE, queue_opts={"durable": True}).get(timeout=60)
            seen = repr((task.body, task.headers, task.properties, task.payload))
            task.reject()
        with Ledger.open(fleet.url) as ledger:
            tables = ledger.fetch_all("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
            kept = "".join(
                str(ledger.fetch_all(f"SELECT CAST(t AS TEXT) FROM {table} t")) for (table,) in tables
            )
            blobs = [bytes(content) for (content,) in ledger.fetch_all("SELECT content FROM blobs")]
    assert "faults" in seen
    for secret in (PASSWORD, base64.b64encode(PASSWORD.encode()).decode()):
        assert secret not in seen
        assert secret not in kept
        assert all(secret.encode() not in content for content in blobs)


def test_files_have_a_limit_and_each_content_is_kept_once(
    redis: Any, make_fleet: Any, monkeypatch: Any
) -> None:
    """The attachments of all recipients travel; those that are the same are one content."""
    extra = 'attachments: ["files/{{ n }}.txt"]\n' + DELIVERY
    with FaultServer() as server:
        fleet = make_fleet(redis, server, 8, extra)
        folder = fleet.campaign.parent / "files"
        folder.mkdir()
        for n in range(8):
            (folder / f"{n}.txt").write_text(f"for {n % 2}")
        campaign = load_campaign(fleet.campaign)
        compiled = compile_campaign(campaign)
        options = SendOptions(server=ServerConfig(host="localhost", port=465))
        with Ledger.open(fleet.url) as ledger:
            edition = ledger.ensure_edition("faults")
            plan(ledger, campaign, compiled, edition)
            pack_campaign(ledger, edition, campaign, compiled, options)
            names = [name for name in list_files(ledger, edition) if name.startswith("files/")]
            contents = ledger.fetch_all("SELECT content FROM blobs WHERE content LIKE CAST('for _' AS BYTEA)")
            monkeypatch.setattr(travel, "MAX_TOTAL", 10)
            with pytest.raises(InputError, match="the limit is 10 bytes") as caught:
                pack_campaign(ledger, edition, campaign, compiled, options)
            monkeypatch.setattr(travel, "MAX_FILE", 4)
            with pytest.raises(InputError, match="is larger than 4 bytes") as of_one:
                pack_campaign(ledger, edition, campaign, compiled, options)
    assert len(names) == 8
    assert sorted(bytes(content) for (content,) in contents) == [b"for 0", b"for 1"]
    assert "--shared-files" in str(caught.value.hint)
    assert "--shared-files" in str(of_one.value.hint)


def test_with_shared_files_nothing_is_copied(redis: Any, make_fleet: Any) -> None:
    extra = 'attachments: ["terms.txt"]\n' + DELIVERY
    with FaultServer() as server:
        fleet = make_fleet(redis, server, 5, extra)
        (fleet.campaign.parent / "terms.txt").write_text("terms")
        fleet.start_worker("one", environment={"MAILER_CA_FILE": str(server.ca_file)})
        command = fleet.start_command("--shared-files")
        assert command.wait(120) == 0, fleet.logs()
        fleet.compare_with()
    assert not list((fleet.folder / "one").rglob("campaign.yaml"))
    with Ledger.open(fleet.url) as ledger:
        assert ledger.fetch_one("SELECT COUNT(*) FROM files WHERE name <> '.ca.pem'") == (0,)
