from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.render.projects import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def new_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Project]:
    """For tests that hypothesis calls many times."""
    return lambda: Project(tmp_path_factory.mktemp("project"))
