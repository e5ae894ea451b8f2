"""Accounts and backends of qiskit-ibmq-provider."""

from __future__ import annotations

from datetime import datetime

import pytest
from qiskit.providers.exceptions import QiskitBackendNotFoundError
from qiskit.providers.ibmq import AccountProvider, IBMQFactory
from qiskit.providers.ibmq.exceptions import (
    IBMQAccountCredentialsInvalidUrl,
    IBMQAccountCredentialsNotFound,
    IBMQNotAuthorizedError,
    IBMQProviderError,
)
from serving import SIMULATORS, TOKENS

INSTANCE = {"hub": "ibm-q", "group": "open", "project": "main"}


@pytest.fixture
def account_file(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep accounts in a file that no one else has."""
    from qiskit.providers.ibmq.credentials import configrc

    monkeypatch.setattr(configrc, "DEFAULT_QISKITRC_FILE", tmp_path / "qiskitrc")


def test_an_account_is_enabled_and_disabled(url: str) -> None:
    factory = IBMQFactory()
    provider = factory.enable_account(TOKENS["alice"], url, **INSTANCE)
    assert factory.active_account() == {"token": TOKENS["alice"], "url": url}
    assert factory.providers() == [provider]
    assert factory.get_provider(**INSTANCE) == provider
    with pytest.raises(IBMQProviderError):
        factory.get_provider(hub="another")
    factory.disable_account()
    assert factory.active_account() is None


def test_a_wrong_token_is_refused(url: str) -> None:
    with pytest.raises(Exception, match=r"(?i)401|login"):
        IBMQFactory().enable_account("wrong", url)


@pytest.mark.usefixtures("account_file")
def test_accounts_of_ibms_own_address_only_are_saved(url: str) -> None:
    factory = IBMQFactory()
    with pytest.raises(IBMQAccountCredentialsInvalidUrl):
        factory.save_account(TOKENS["alice"], url, **INSTANCE)
    factory.save_account(TOKENS["alice"], **INSTANCE)
    assert factory.stored_account()["token"] == TOKENS["alice"]
    factory.delete_account()
    assert factory.stored_account() == {}


@pytest.mark.usefixtures("account_file")
def test_an_account_is_loaded_from_variables(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    factory = IBMQFactory()
    with pytest.raises(IBMQAccountCredentialsNotFound):
        factory.load_account()
    monkeypatch.setenv("QE_TOKEN", TOKENS["alice"])
    monkeypatch.setenv("QE_URL", url)
    assert factory.load_account().credentials.token == TOKENS["alice"]
    assert factory.update_account(force=True) is None


def test_services_of_a_provider(provider: AccountProvider) -> None:
    assert set(provider.services()) == {"backend", "runtime"}
    assert provider.service("runtime") is provider.runtime
    assert (provider.has_service("runtime"), provider.has_service("experiment")) == (True, False)
    with pytest.raises(IBMQNotAuthorizedError):
        _ = provider.experiment


def test_backends_are_listed_and_filtered(provider: AccountProvider) -> None:
    names = {backend.name() for backend in provider.backend.backends()}
    assert {"aer_simulator", "fake_manila", "fake_sherbrooke"} <= names
    assert {b.name() for b in provider.backends(simulator=True)} == SIMULATORS
    assert {b.configuration().n_qubits for b in provider.backends(n_qubits=5)} == {5}
    assert {b.name() for b in provider.backends(input_allowed="runtime")} == names
    strong = provider.backends(
        simulator=False, filters=lambda b: b.configuration().quantum_volume >= 128
    )
    assert "fake_montreal" in {b.name() for b in strong}
    with pytest.raises(QiskitBackendNotFoundError):
        provider.get_backend("nowhere")


def test_a_backend_tells_all_that_it_is(provider: AccountProvider) -> None:
    backend = provider.get_backend("fake_manila")
    assert backend.configuration().n_qubits == 5
    assert len(backend.properties().qubits) == 5
    assert backend.defaults().qubit_freq_est == []
    assert (backend.status().operational, backend.status().pending_jobs) == (True, 0)
    assert provider.backend.fake_manila.name() == "fake_manila"
    assert len(backend.properties(datetime=datetime(2030, 1, 1)).qubits) == 5
    assert backend.properties(datetime=datetime(2001, 1, 1)) is None
    assert (backend.job_limit().maximum_jobs, backend.remaining_jobs_count()) == (None, None)
    assert backend.reservations() == provider.backend.my_reservations() == []
