"""A team service for IBM's clients of today, which are installed beside us."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from qiskit_ibm_runtime import Batch, QiskitRuntimeService, RuntimeJobV2, Session

from ..team import TOKENS, TeamService, start_team  # noqa: TID252 - of two rooms
from .surface import Surface

# For environments of their own: see `make clients`.
collect_ignore = ["legacy", "ibmq", "foreign"]

SURFACE = Surface(QiskitRuntimeService, RuntimeJobV2, Session, Batch, cannot={})


def pytest_sessionfinish(session: pytest.Session) -> None:
    SURFACE.report(session)


@pytest.fixture(scope="package")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamService]:
    service = start_team(tmp_path_factory.mktemp("team") / "home")
    yield service
    assert service.terminate() == 0
    service.close()
    assert "Traceback" not in service.log


@pytest.fixture
def environment(
    team: TeamService, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What the documentation tells to set: the service in place of IBM's own."""
    for name, url in (
        ("IAM_URL", team.url),
        ("GLOBAL_SEARCH_URL", team.url),
        ("GLOBAL_CATALOG_URL", f"{team.url}/catalog/api/v1"),
        ("NO_PROXY", "*"),
        ("HOME", str(tmp_path_factory.mktemp("home"))),
    ):
        monkeypatch.setenv(name, url)


@pytest.fixture
def connect(environment: None, team: TeamService) -> Callable[..., QiskitRuntimeService]:
    def connect(user: str = "alice", **fields: str) -> QiskitRuntimeService:
        given = {"channel": "ibm_quantum_platform", "token": TOKENS.get(user, user), **fields}
        return QiskitRuntimeService(url=f"{team.url}/experimental/api/v1", **given)

    return connect
