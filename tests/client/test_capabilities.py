"""A newer client and an older service: an option that would be ignored is refused beforehand."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.errors import ConfigurationError, ServiceUnavailableError
from prefect_qiskit_runtime.models import (
    BASELINE_CAPABILITIES,
    RuntimeOptions,
    ServiceIdentity,
    Simulation,
    package_version,
)
from prefect_qiskit_runtime.service.jobs import JobRequest

from .conftest import Wire, answer, refuse

IDENTITY = "GET /.well-known/qiskit-runtime"
SUBMIT = "POST /jobs"
OLDER = {"product": "prefect-qiskit-runtime", "protocol_version": 1, "package_version": "0.0.9"}
SIMULATED = RuntimeOptions(simulation=Simulation(method="stabilizer", max_memory_mb=64))

# Fields that the first release reads. Another one needs a capability: a service without it would
# ignore the field, so add it to `_needed_capabilities`.
_IN_THE_BASELINE = {
    *("program_id", "backend", "runtime", "log_level", "session_id", "start_session"),
    *("session_time", "tags", "cost", "private", "attempt", "calibration_id", "hardware"),
}
_WITH_A_CAPABILITY = {"simulation"}


@pytest.fixture
def service(wire: Wire) -> Wire:
    wire.on(SUBMIT, answer({"id": "j1", "backend": "aer_simulator"}))
    return wire


@pytest.mark.parametrize(
    "identity",
    [
        answer(OLDER),
        answer({**OLDER, "capabilities": []}),
        answer({**OLDER, "capabilities": ["stream", "simulation-method-2"]}),
        answer({**OLDER, "capabilities": "all"}),
    ],
    ids=["no list", "empty list", "other names", "no list but a text"],
)
async def test_simulation_settings_are_refused_before_a_service_that_would_ignore_them(
    service: Wire, api: RuntimeApi, identity: Any
) -> None:
    service.on(IDENTITY, identity)

    with pytest.raises(ConfigurationError) as caught:
        await api.submit_job("p1", "{}", backend="aer_simulator", options=SIMULATED)

    assert str(caught.value) == (
        "Cannot submit a job of program p1 to aer_simulator with the option simulation"
        f" (method='stabilizer', max_memory_mb=64): the service at {service.url}"
        " (prefect-qiskit-runtime 0.0.9) has no capability 'simulation-method' and would ignore"
        " it. Nothing was submitted. Its administrator can upgrade it to the release of this"
        f" client, {package_version()}, or a later one. Or leave the option out."
    )
    assert not service.calls(SUBMIT)


@pytest.mark.parametrize("identity", [refuse(404, "none"), refuse(403, "no"), answer("a page")])
async def test_a_service_behind_a_proxy_that_hides_its_capabilities_has_the_baseline(
    service: Wire, api: RuntimeApi, identity: Any
) -> None:
    service.on(IDENTITY, identity)

    with pytest.raises(ConfigurationError, match=r"\(an unknown release\) has no capability"):
        await api.submit_job("p1", "{}", options=SIMULATED)
    assert not service.calls(SUBMIT)


async def test_a_service_that_does_not_answer_is_not_taken_for_an_older_one(
    service: Wire, api: RuntimeApi
) -> None:
    service.on(IDENTITY, refuse(503, "busy"))

    with pytest.raises(ServiceUnavailableError):
        await api.submit_job("p1", "{}", options=SIMULATED)
    assert not service.calls(SUBMIT)


async def test_simulation_settings_are_sent_to_a_service_that_reads_them(
    service: Wire, api: RuntimeApi
) -> None:
    service.on(IDENTITY, answer({**OLDER, "capabilities": ["simulation-method", "of-tomorrow"]}))

    await api.submit_job("p1", "{}", options=SIMULATED)

    (submitted,) = service.calls(SUBMIT)
    assert submitted.json["simulation"] == {"method": "stabilizer", "max_memory_mb": 64}


async def test_the_capabilities_are_asked_again_for_each_job_that_needs_one(
    service: Wire, api: RuntimeApi
) -> None:
    newer = answer({**OLDER, "capabilities": ["simulation-method"]})
    service.on(IDENTITY, newer, answer(OLDER))
    await api.submit_job("p1", "{}", options=SIMULATED)

    with pytest.raises(ConfigurationError, match="simulation-method"):
        await api.submit_job("p1", "{}", options=SIMULATED)
    assert len(service.calls(SUBMIT)) == 1


@pytest.mark.parametrize(
    "options",
    [
        None,
        RuntimeOptions(tags=("a",), private=True, log_level="INFO", max_execution_time=60),
        RuntimeOptions(simulation=Simulation(method="automatic")),
    ],
    ids=["none", "of the first release", "the default"],
)
async def test_jobs_without_simulation_settings_ask_for_no_capabilities(
    service: Wire, api: RuntimeApi, options: RuntimeOptions | None
) -> None:
    await api.submit_job("p1", "{}", options=options)

    assert not service.calls(IDENTITY)


def test_each_field_of_a_submission_is_in_the_baseline_or_has_a_capability() -> None:
    assert set(JobRequest.model_fields) == _IN_THE_BASELINE | _WITH_A_CAPABILITY


def test_a_service_without_a_list_has_the_baseline() -> None:
    assert ServiceIdentity.model_validate(OLDER).capabilities == list(BASELINE_CAPABILITIES)
