"""Accounts of qiskit-ibm-runtime 0.11 and 0.15: saved, loaded, named, deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_ibm_runtime.accounts import AccountAlreadyExistsError, AccountNotFoundError
from serving import TOKENS

HAS_INSTANCES = hasattr(QiskitRuntimeService, "instances")


@pytest.fixture
def account(service: QiskitRuntimeService, url: str) -> dict[str, str]:
    """The fields with which an account of the service's channel is saved."""
    active = service.active_account()
    kept = {
        name: active[name] for name in ("channel", "url", "token", "instance") if name in active
    }
    return {name: value for name, value in kept.items() if value is not None}


def test_the_active_account_is_the_one_that_logged_in(
    service: QiskitRuntimeService, connect: Callable[[str], QiskitRuntimeService]
) -> None:
    active = service.active_account()
    assert (active["channel"], active["token"]) == (service.channel, TOKENS["alice"])
    assert connect(TOKENS["bob"]).active_account()["token"] == TOKENS["bob"]
    assert service.runtime is service


def test_an_account_is_saved_loaded_and_deleted(account: dict[str, str]) -> None:
    QiskitRuntimeService.save_account(**account, name="team")
    with pytest.raises(AccountAlreadyExistsError):
        QiskitRuntimeService.save_account(**account, name="team")
    QiskitRuntimeService.save_account(**account, name="team", overwrite=True)
    saved = QiskitRuntimeService.saved_accounts(name="team")
    assert {name: saved["team"][name] for name in account} == account
    assert QiskitRuntimeService(name="team").active_account()["token"] == TOKENS["alice"]
    assert QiskitRuntimeService.delete_account(name="team")
    assert not QiskitRuntimeService.delete_account(name="team")
    with pytest.raises(AccountNotFoundError):
        QiskitRuntimeService(name="team")


def test_accounts_are_kept_in_a_file_of_the_users_choice(
    account: dict[str, str], tmp_path: Path
) -> None:
    file = str(tmp_path / "accounts.json")
    QiskitRuntimeService.save_account(**account, filename=file, name="team")
    assert list(QiskitRuntimeService.saved_accounts(filename=file)) == ["team"]
    assert QiskitRuntimeService(filename=file, name="team").backend("fake_manila").num_qubits == 5
    assert QiskitRuntimeService.delete_account(filename=file, name="team")


def test_proxies_are_refused_in_another_form_and_kept_in_the_right_one(
    account: dict[str, str],
) -> None:
    with pytest.raises(ValueError, match="Invalid proxy"):
        QiskitRuntimeService(**account, proxies={"urls": "http://proxy"})
    # NO_PROXY names every host, so that this one is not asked.
    proxies = {"urls": {"https": "http://127.0.0.1:9"}}
    QiskitRuntimeService.save_account(**account, name="proxied", proxies=proxies)
    assert QiskitRuntimeService.saved_accounts(name="proxied")["proxied"]["proxies"] == proxies
    assert QiskitRuntimeService.delete_account(name="proxied")


@pytest.mark.skipif(not HAS_INSTANCES, reason="since 0.13")
def test_instances_are_listed(service: QiskitRuntimeService) -> None:
    expected = ["ibm-q/open/main"] if service.channel == "ibm_quantum" else []
    assert service.instances() == expected


@pytest.mark.skipif(HAS_INSTANCES, reason="before 0.12")
def test_the_older_name_of_the_channel(service: QiskitRuntimeService) -> None:
    assert service.auth == {"ibm_cloud": "cloud", "ibm_quantum": "legacy"}[service.channel]
