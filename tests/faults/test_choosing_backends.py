"""Which backend a job goes to, and where it goes when one cannot run it."""

from __future__ import annotations

import logging

import pytest
from qiskit import QuantumCircuit

from prefect_qiskit_runtime import (
    JobProcessError,
    NotFoundError,
    RuntimeBackend,
    jobs,
    least_busy_backend,
    primitives,
    runtime_session,
)
from prefect_qiskit_runtime.testing import OfflineService

run_sampler, submit_sampler = primitives.run_sampler.fn, primitives.submit_sampler.fn


def coin() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.sx(0)
    circuit.measure_all()
    return circuit


def where_jobs_went(service: OfflineService, backend: RuntimeBackend) -> list[str]:
    """The backends of the jobs that this test has submitted, the first first."""
    count = len([one for one in service.requests("POST", "/jobs") if one["status"] == 200])
    return [info.backend for info in jobs.list_jobs.fn(backend=backend, limit=count)][::-1]


def test_the_least_busy_that_fits_is_chosen_when_the_job_is_submitted(
    service: OfflineService, caplog: pytest.LogCaptureFixture
) -> None:
    service.add("backend_offline", backend="fake_fez")
    block = service.backend("least_busy", processor="heron r2", min_num_qubits=150)
    with caplog.at_level(logging.INFO):
        job = submit_sampler([coin()], backend=block, transpile=True, shots=10)
    choice = job.preparation["backend_choice"]
    assert job.backend.name == choice["name"] != "fake_fez"
    assert "the least busy that fits" in choice["why"]
    assert f"Backend {choice['name']} was chosen: {choice['why']}." in caplog.messages
    assert job.backend.min_num_qubits is None
    assert job.info().backend == choice["name"]
    job.cancel()


def test_errors_of_the_calibration_are_a_reason_to_look_further(service: OfflineService) -> None:
    best = service.backend(
        "least_busy", simulators="never", min_num_qubits=156, max_two_qubit_error=0.0013
    )
    found = least_busy_backend.fn(backend=best)
    assert (found.name, found.max_two_qubit_error) == ("fake_boston", None)
    nothing = service.backend("least_busy", min_num_qubits=156, max_readout_error=1e-9)
    with pytest.raises(NotFoundError, match=r"max_readout_error=1e-09.*its median readout error"):
        least_busy_backend.fn(backend=nothing)


def test_a_session_keeps_the_backend_that_was_chosen_for_it(service: OfflineService) -> None:
    block = service.backend("least_busy", simulators="only")
    with runtime_session(block) as session:
        job = submit_sampler([coin()], backend=block, session=session)
        assert job.backend.name == session.backend.name == "aer_simulator"
        assert job.result()[0].data.meas.num_shots == 4096


def test_a_code_that_says_another_backend_sends_the_job_to_the_next_one(
    service: OfflineService,
) -> None:
    service.add("end_job", reason_code=1004, when={"backend": "fake_manila"})
    block = service.backend(
        "fake_manila", fallbacks=["fake_lima", "aer_simulator"], transpile=True,
        retry_delay_seconds=0, optimization_level=2,
    )  # fmt: skip
    result = run_sampler([coin()], backend=block, shots=10)
    assert result[0].data.meas.num_shots == 10
    assert where_jobs_went(service, block) == ["fake_manila", "fake_lima"]


def test_a_refusal_with_such_a_code_does_as_well(service: OfflineService) -> None:
    service.add(
        "refuse", status=400, code=2002, when={"method": "POST", "path": "/jobs", "times": 1}
    )
    block = service.backend("fake_manila", fallbacks=["aer_simulator"])
    run_sampler([coin()], backend=block)
    assert where_jobs_went(service, block) == ["aer_simulator"]


def test_without_fallbacks_the_error_is_raised(service: OfflineService) -> None:
    service.add("end_job", reason_code=1004)
    with pytest.raises(JobProcessError, match="1004"):
        run_sampler([coin()], backend=service.backend())
    assert len(service.requests("POST", "/jobs")) == 1


def test_attempts_are_the_limit_of_going_elsewhere(service: OfflineService) -> None:
    service.add("end_job", reason_code=1004, when={"times": None})
    block = service.backend(fallbacks=["fake_manila", "fake_lima"], attempts=2)
    with pytest.raises(JobProcessError):
        run_sampler([coin()], backend=block)
    assert where_jobs_went(service, block) == ["aer_simulator", "fake_manila"]


def test_an_equal_call_finds_the_job_on_the_backend_that_was_chosen(
    service: OfflineService,
) -> None:
    block = service.backend("least_busy", simulators="only")
    first, second = (
        submit_sampler([coin()], backend=block, shots=10, durable_key="chosen") for _ in range(2)
    )
    assert first.job_id == second.job_id
    assert second.backend.name == "aer_simulator"
    other = service.backend("least_busy", simulators="any")
    assert submit_sampler([coin()], backend=other, durable_key="chosen").job_id != first.job_id


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"min_num_qubits": 5}, "min_num_qubits choose among backends"),
        ({"name": "least_busy", "cache_calibration": "same calibration"}, "needs one backend"),
        ({"default_shots": 5, "default_precision": 0.1}, "exclude each other"),
        ({"calibration_id": "abc"}, "calibration_id needs a backend of IBM Quantum"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    fields: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        RuntimeBackend.model_validate(fields)
