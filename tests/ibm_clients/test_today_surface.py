"""The rest of today's qiskit-ibm-runtime: accounts, and all attributes of a job."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_ibm_runtime.accounts import AccountAlreadyExistsError
from qiskit_ibm_runtime.exceptions import RuntimeInvalidStateError, RuntimeJobTimeoutError

from tests.team import TOKENS, TeamService

from .test_today import (  # noqa: F401 - fixtures
    channel,
    ours,
    service,
    submit,
)


@pytest.fixture
def account(team: TeamService, service: QiskitRuntimeService) -> dict[str, str]:  # noqa: F811
    """The fields with which an account of this service is saved."""
    return {
        "channel": "ibm_quantum_platform",
        "token": TOKENS["alice"],
        "url": f"{team.url}/experimental/api/v1",
        "instance": service.active_instance(),
    }


def test_an_account_is_saved_loaded_and_deleted(account: dict[str, str], tmp_path: Path) -> None:
    file = {"filename": str(tmp_path / "accounts.json"), "name": "team"}
    QiskitRuntimeService.save_account(**account, **file, set_as_default=True)
    with pytest.raises(AccountAlreadyExistsError):
        QiskitRuntimeService.save_account(**account, **file)
    QiskitRuntimeService.save_account(**account, **file, overwrite=True)
    saved = QiskitRuntimeService.saved_accounts(**file)["team"]
    assert {name: saved[name] for name in account} == account
    loaded = QiskitRuntimeService(**file)
    assert loaded.active_account()["token"] == TOKENS["alice"]
    assert (loaded.channel, loaded.backend("fake_manila").num_qubits) == (account["channel"], 5)
    assert QiskitRuntimeService.delete_account(**file)
    assert not QiskitRuntimeService.delete_account(**file)


def test_proxies_are_kept_with_an_account(account: dict[str, str], tmp_path: Path) -> None:
    file = {"filename": str(tmp_path / "accounts.json"), "name": "proxied"}
    with pytest.raises(ValueError, match="Invalid proxy"):
        QiskitRuntimeService.save_account(**account, **file, proxies={"urls": "http://proxy"})
    proxies = {"urls": {"https": "http://127.0.0.1:9"}}
    QiskitRuntimeService.save_account(**account, **file, proxies=proxies)
    assert QiskitRuntimeService.saved_accounts(**file)["proxied"]["proxies"] == proxies


async def test_a_job_tells_all_that_it_is(
    service: QiskitRuntimeService,  # noqa: F811
    submit: Callable[..., object],  # noqa: F811
) -> None:
    before = datetime.now(UTC)
    job = service.job(await submit("told"))
    job.wait_for_final_state(timeout=60)
    assert (job.in_final_state(), job.running(), job.errored()) == (True, False, False)
    assert abs(job.creation_date - before) < timedelta(minutes=1)
    assert (job.image, job.private) == ("default", False)
    assert job.instance == service.active_instance()
    assert job.properties().backend_name == "fake_manila"
    assert job.usage() >= 0
    assert job.usage_estimation["quantum_seconds"] > 0
    assert job.primitive_id.startswith("doubling-")


async def test_waiting_has_an_end(
    service: QiskitRuntimeService,  # noqa: F811
    submit: Callable[..., object],  # noqa: F811
) -> None:
    job = service.job(await submit(wait_for_end=False, wait=120))
    with pytest.raises(RuntimeJobTimeoutError):
        job.wait_for_final_state(timeout=0.1)
    job.cancel()
    assert job.cancelled()
    with pytest.raises(RuntimeInvalidStateError):
        job.result(timeout=60)


async def test_a_decoder_is_the_callers(
    service: QiskitRuntimeService,  # noqa: F811
    submit: Callable[..., object],  # noqa: F811
) -> None:
    from qiskit_ibm_runtime.decoders.result_decoder import ResultDecoder

    class Values(ResultDecoder):
        @classmethod
        def decode(cls, result_raw: str) -> np.ndarray:
            return super().decode(result_raw)["values"]

    job = service.job(await submit())
    np.testing.assert_array_equal(job.result(decoder=Values), [0, 2, 4])
