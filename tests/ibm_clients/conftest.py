"""A team service for IBM's clients of today, which are installed beside us."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from qiskit_ibm_runtime import Batch, QiskitRuntimeService, RuntimeJobV2, Session

from tests.simulated_ibm import point_ibms_client_to
from tests.team import TOKENS, TeamService, running_team

from .surface import Surface

# For separate environments: see `make clients`.
collect_ignore = ["legacy", "ibmq", "foreign"]

SURFACE = Surface(QiskitRuntimeService, RuntimeJobV2, Session, Batch, cannot={})


def pytest_sessionfinish(session: pytest.Session) -> None:
    SURFACE.report(session)


@pytest.fixture(scope="package")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamService]:
    with running_team(tmp_path_factory.mktemp("team") / "home") as service:
        yield service


@pytest.fixture
def environment(
    team: TeamService, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The login of IBM's client goes to the service, and its saved accounts are a new folder."""
    point_ibms_client_to(team.url, monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def connect(environment: None, team: TeamService) -> Callable[..., QiskitRuntimeService]:
    def connect(user: str = "alice", **fields: str) -> QiskitRuntimeService:
        given = {"channel": "ibm_quantum_platform", "token": TOKENS.get(user, user), **fields}
        return QiskitRuntimeService(url=f"{team.url}/experimental/api/v1", **given)

    return connect
