"""The sentence in which `verify` of the credentials reports a problem."""

from __future__ import annotations

import time

import pytest

from prefect_qiskit_runtime import (
    AuthenticationError,
    ConfigurationError,
    IBMQuantumCredentials,
    QiskitRuntimeError,
    ServiceUnavailableError,
)
from prefect_qiskit_runtime.client import _transport
from tests.team import TOKENS, TeamService


def test_an_account_that_works_says_what_it_is_good_for(credentials: IBMQuantumCredentials) -> None:
    said = credentials.verify()
    assert said.startswith("The key is valid for instance crn:")
    assert "backends and has used" in said
    assert said.count(". ") == 0


def test_a_wrong_key_is_said_to_be_wrong(ibm: TeamService) -> None:
    wrong = IBMQuantumCredentials(api_key="wrong-key", url=f"{ibm.url}/api/v1")
    with pytest.raises(AuthenticationError, match="The key is wrong: ") as caught:
        wrong.verify()
    assert "wrong-key" not in str(caught.value)


def test_a_wrong_instance_is_said_to_be_wrong(ibm: TeamService) -> None:
    wrong = IBMQuantumCredentials(
        api_key=TOKENS["alice"], url=f"{ibm.url}/api/v1", instance="nobody's"
    )
    with pytest.raises(QiskitRuntimeError, match="the instance is wrong") as caught:
        wrong.verify()
    assert TOKENS["alice"] not in str(caught.value)


def test_a_service_that_is_not_reached_is_said_to_be_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_transport, "pauses", lambda: iter([None]))
    away = IBMQuantumCredentials(api_key="key", url="http://127.0.0.1:9/api/v1")
    with pytest.raises(ServiceUnavailableError, match="The network blocks the request"):
        away.verify()


def test_a_clock_that_is_wrong_is_said_to_be_wrong(
    credentials: IBMQuantumCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 4000)
    with pytest.raises(ConfigurationError, match=r"The clock .* is wrong: it is \d+ s ahead of"):
        credentials.verify()
