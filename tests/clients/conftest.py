"""A team service for IBM's clients of today, which are installed beside us."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from qiskit_ibm_runtime import QiskitRuntimeService, RuntimeJobV2

from ..team import TeamService, start_team  # noqa: TID252 - of two rooms
from .surface import Surface

# For environments of their own: see `make clients`.
collect_ignore = ["legacy", "ibmq", "foreign"]

SURFACE = Surface(QiskitRuntimeService, RuntimeJobV2, cannot={})


def pytest_sessionfinish(session: pytest.Session) -> None:
    SURFACE.report(session)


@pytest.fixture(scope="package")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamService]:
    service = start_team(tmp_path_factory.mktemp("team") / "home")
    yield service
    assert service.terminate() == 0
    service.close()
    assert "Traceback" not in service.log
