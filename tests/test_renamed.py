"""Old public names work in all of 0.1, with a warning where they are written."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pytest

import prefect_qiskit_runtime
from prefect_qiskit_runtime import (
    IBMQuantumCredentials,
    RuntimeBackend,
    RuntimeClient,
    RuntimeJob,
    UsageEstimate,
)
from prefect_qiskit_runtime.client import IbmAccount, IbmApi, RuntimeClientProgram
from prefect_qiskit_runtime.models import ProgramInfo
from prefect_qiskit_runtime.provenance import Provenance
from prefect_qiskit_runtime.renamed import FUNCTIONS

ACCOUNT = IbmAccount("key", instance="crn:v1:test")
ESTIMATE = UsageEstimate(seconds=2.0, overhead_seconds=1.0, rep_delay_seconds=1e-4, pubs=())


def old(warning: str, use: Callable[[], Any]) -> Any:
    """Use an old name, which warns once, and names this file as the place of the use."""
    with pytest.warns(DeprecationWarning, match=warning) as caught:
        value = use()
    assert [one.filename for one in caught] == [__file__]
    return value


def test_the_old_names_go_with_0_2_0() -> None:
    assert version("prefect-qiskit-runtime").split(".")[:2] == ["0", "1"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_the_same_under_its_old_name(name: str) -> None:
    home = importlib.import_module(
        f"prefect_qiskit_runtime.{'history' if 'history' in name else 'artifacts'}"
    )
    new = FUNCTIONS[name]
    assert old(f"{name} is now {new}", lambda: getattr(home, name)) is getattr(home, new)


@pytest.mark.parametrize("name", ["job_history", "ajob_history"])
def test_the_package_has_the_old_names_too(name: str) -> None:
    found = old(f"{name} is now {FUNCTIONS[name]}", lambda: getattr(prefect_qiskit_runtime, name))
    assert found is getattr(prefect_qiskit_runtime, FUNCTIONS[name])


def test_a_module_without_such_a_name_says_so() -> None:
    artifacts = importlib.import_module("prefect_qiskit_runtime.artifacts")
    with pytest.raises(AttributeError, match="artifacts' has no attribute 'converge'"):
        _ = artifacts.converge


def test_methods_work_under_their_old_names() -> None:
    backend = RuntimeBackend(name="aer_simulator")
    assert old("at is now with_name", lambda: backend.at("fake_manila")).name == "fake_manila"
    credentials = IBMQuantumCredentials(api_key="key")  # type: ignore[arg-type]
    assert isinstance(old("api is now connect", credentials.api), IbmApi)
    client = old("of_ibm is now from_ibm_account", lambda: RuntimeClient.of_ibm(ACCOUNT))
    assert isinstance(client, RuntimeClient)
    assert old("of_jobs is now combine", lambda: UsageEstimate.of_jobs([ESTIMATE] * 2)).seconds == 4
    provenance = Provenance.model_construct(job_id="j1")
    assert old("row is now to_row", provenance.row) == provenance.to_row()


def test_a_program_is_made_from_what_the_service_says_under_the_old_name_too() -> None:
    now = datetime.now(UTC)
    info = ProgramInfo(id="p1", name="counter", creation_date=now, update_date=now)
    built = old("of is now from_info", lambda: RuntimeClientProgram.of(info))
    assert built == RuntimeClientProgram.from_info(info)


def job() -> RuntimeJob:
    return RuntimeJob("j1", RuntimeBackend(name="aer_simulator"), inputs={"upto": 3})


def test_inputs_of_a_job_are_a_call_and_warn_as_a_property() -> None:
    assert job().inputs() == {"upto": 3}
    warning = r"RuntimeJob.inputs is now RuntimeJob.inputs\(\)"
    assert old(warning, lambda: job().inputs["upto"]) == 3
    assert old(warning, lambda: job().inputs.get("upto")) == 3
    assert old(warning, lambda: "upto" in job().inputs)
    assert old(warning, lambda: len(job().inputs)) == 1
    assert old(warning, lambda: list(job().inputs)) == ["upto"]
    assert old(warning, lambda: job().inputs == {"upto": 3})
    assert repr(job().inputs) == "<RuntimeJob.inputs: call it>"
