"""One instance of each real server for a test session (for each worker of xdist: nothing is shared between them)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import pytest
import trustme

from tests.servers.chasquid import run_chasquid
from tests.servers.courier import run_courier
from tests.servers.dovecot import Dovecot, run_dovecot
from tests.servers.exim import run_exim
from tests.servers.haraka import run_haraka
from tests.servers.mailserver import CannotRun, MailServer, NotInstalled, skip_or_fail
from tests.servers.opensmtpd import run_opensmtpd
from tests.servers.postfix import run_postfix
from tests.servers.sandbox import run_sandbox
from tests.servers.submission import run_submission

Started = TypeVar("Started")


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA(organization_name="A throw-away CA")


@pytest.fixture(scope="session")
def ca_file(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return path


def started(start: Callable[[], AbstractContextManager[Started]]) -> Iterator[Started]:
    try:
        running = start()
        server = running.__enter__()
    except (NotInstalled, CannotRun) as error:
        skip_or_fail(error)
    try:
        yield server
    finally:
        running.__exit__(None, None, None)


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    yield from started(run_dovecot)


@pytest.fixture(scope="session")
def running_postfix(ca: trustme.CA, ca_file: Path, dovecot: Dovecot) -> Iterator[MailServer]:
    yield from started(lambda: run_postfix(ca, ca_file, dovecot))


@pytest.fixture(scope="session")
def running_exim(ca: trustme.CA, ca_file: Path, dovecot: Dovecot) -> Iterator[MailServer]:
    yield from started(lambda: run_exim(ca, ca_file, dovecot))


@pytest.fixture(scope="session")
def running_opensmtpd(ca_file: Path) -> Iterator[MailServer]:
    yield from started(lambda: run_opensmtpd(ca_file))


@pytest.fixture(scope="session")
def running_haraka(ca_file: Path) -> Iterator[MailServer]:
    yield from started(lambda: run_haraka(ca_file))


@pytest.fixture(scope="session")
def running_courier(ca_file: Path) -> Iterator[MailServer]:
    yield from started(lambda: run_courier(ca_file))


@pytest.fixture(scope="session")
def running_chasquid(ca: trustme.CA, ca_file: Path) -> Iterator[MailServer]:
    yield from started(lambda: run_chasquid(ca, ca_file))


@pytest.fixture(scope="session")
def running_submission(ca: trustme.CA, running_postfix: MailServer) -> Iterator[MailServer]:
    yield from started(lambda: run_submission(ca, running_postfix))


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[MailServer]:
    """The embedded one, as `mailer sandbox` starts it."""
    yield from started(run_sandbox)


# A test finds its server's maildir empty, whatever the one before it left there.


@pytest.fixture
def postfix(running_postfix: MailServer) -> MailServer:
    return running_postfix.emptied()


@pytest.fixture
def exim(running_exim: MailServer) -> MailServer:
    return running_exim.emptied()


@pytest.fixture
def opensmtpd(running_opensmtpd: MailServer) -> MailServer:
    return running_opensmtpd.emptied()


@pytest.fixture
def haraka(running_haraka: MailServer) -> MailServer:
    return running_haraka.emptied()


@pytest.fixture
def courier(running_courier: MailServer) -> MailServer:
    return running_courier.emptied()


@pytest.fixture
def chasquid(running_chasquid: MailServer) -> MailServer:
    return running_chasquid.emptied()


@pytest.fixture
def submission(running_submission: MailServer) -> MailServer:
    return running_submission.emptied()


@pytest.fixture
def sandbox(running_sandbox: MailServer) -> MailServer:
    return running_sandbox.emptied()
