"""A team service that imitates IBM's: the same login, paths and bodies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prefect_qiskit_runtime import IBMQuantumCredentials
from prefect_qiskit_runtime.client.ibm import _login
from tests.team import TOKENS, TeamService, running_team


@pytest.fixture(scope="package")
def ibm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamService]:
    with running_team(tmp_path_factory.mktemp("ibm") / "home") as service:
        yield service


@pytest.fixture(autouse=True)
def without_saved_logins(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IAM_URL", "GLOBAL_SEARCH_URL", "GLOBAL_CATALOG_URL"):
        monkeypatch.delenv(name, raising=False)
    _login._logins.cache_clear()


@pytest.fixture
def credentials(ibm: TeamService) -> IBMQuantumCredentials:
    return IBMQuantumCredentials(api_key=TOKENS["alice"], url=f"{ibm.url}/api/v1")
