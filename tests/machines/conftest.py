import os

import pytest

from tests.ledger.conftest import make_schema, postgres
from tests.machines.brokers import Broker, RabbitMQ, Redis, is_installed
from tests.machines.fleet import Fleet, collect_lost_connections

__all__ = ["postgres"]


def start_broker(kind: type[Broker], folder) -> Broker:
    pytest.importorskip("celery", reason="the extra workers is not installed")
    if not is_installed(kind):
        missing = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        missing(f"{kind.__name__} is not installed (tests/servers/install.sh does it)")
    broker = kind(folder)
    broker.start()
    return broker


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory):
    broker = start_broker(RabbitMQ, tmp_path_factory.mktemp("rabbitmq"))
    yield broker
    broker.kill()


@pytest.fixture(scope="session")
def redis(tmp_path_factory):
    broker = start_broker(Redis, tmp_path_factory.mktemp("redis"))
    yield broker
    broker.kill()


@pytest.fixture
def make_fleet(tmp_path, postgres):
    made = []

    def make(broker, server, count, extra="") -> Fleet:
        fleet = Fleet(tmp_path, make_schema(postgres.url), broker.url, server, count, extra)
        made.append(fleet)
        return fleet

    yield make
    for fleet in made:
        fleet.close()
    collect_lost_connections()
