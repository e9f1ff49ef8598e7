"""A certificate authority for the servers of these tests."""

from __future__ import annotations

import pytest

from tests.smtp.servers import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("ca"))
