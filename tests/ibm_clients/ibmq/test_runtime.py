"""Programs and jobs of qiskit-ibmq-provider: from upload to delete, callbacks included."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from programs import publishing_program
from qiskit import QuantumCircuit
from qiskit.providers.ibmq import AccountProvider
from qiskit.providers.ibmq.api.exceptions import RequestsApiError
from qiskit.providers.ibmq.exceptions import IBMQInputValueError
from qiskit.providers.ibmq.runtime import (
    IBMRuntimeService,
    ResultDecoder,
    RuntimeJob,
    RuntimeOptions,
    RuntimeProgram,
)
from qiskit.providers.ibmq.runtime.exceptions import (
    RuntimeInvalidStateError,
    RuntimeJobFailureError,
    RuntimeJobNotFound,
    RuntimeProgramNotFound,
)

SOURCE = publishing_program("qiskit.providers.ibmq.runtime")
SPEC = {
    "backend_requirements": {"min_num_qubits": 1},
    "parameters": {
        "$schema": "https://json-schema.org/draft/2019-09/schema",
        "properties": {"n": {"description": "How many.", "type": "integer", "minimum": 0}},
        "required": ["n"],
    },
    "return_values": {"description": "The value of its input."},
    "interim_results": {"type": "object"},
}
METADATA = {
    "name": "ibmq",
    "description": "Publishes, then returns the value of its input.",
    "max_execution_time": 600,
    "spec": SPEC,
}
SIMULATOR = {"backend_name": "aer_simulator"}
SECONDS = 60
Submit = Callable[..., RuntimeJob]


@pytest.fixture
def program(service: IBMRuntimeService) -> Iterator[RuntimeProgram]:
    program_id = service.upload_program(data=SOURCE, metadata=METADATA)
    yield service.program(program_id)
    service.delete_program(program_id)


@pytest.fixture
def submit(service: IBMRuntimeService, program: RuntimeProgram) -> Submit:
    def submit(options: dict | RuntimeOptions = SIMULATOR, **given: object) -> RuntimeJob:
        inputs = {"n": 0, **given.pop("inputs", {})}
        return service.run(program.program_id, options=options, inputs=inputs, **given)

    return submit


def finished(job: RuntimeJob) -> RuntimeJob:
    job.wait_for_final_state(timeout=SECONDS, wait=0.1)
    return job


def test_every_field_of_a_program_comes_back(
    service: IBMRuntimeService, program: RuntimeProgram
) -> None:
    assert program.program_id.startswith("ibmq-")
    assert (program.name, program.description) == ("ibmq", METADATA["description"])
    assert (program.max_execution_time, program.is_public) == (600, False)
    assert program.backend_requirements == SPEC["backend_requirements"]
    assert program.return_values == SPEC["return_values"]
    assert program.interim_results == SPEC["interim_results"]
    assert program.creation_date == program.update_date != ""
    assert program.data == SOURCE
    assert program.to_dict()["name"] == "ibmq"


def test_a_program_is_updated_from_a_file_and_printed(
    service: IBMRuntimeService,
    program: RuntimeProgram,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "program.py").write_text(f"{SOURCE}# new\n")
    service.update_program(
        program.program_id, data=str(tmp_path / "program.py"), description="Changed."
    )
    changed = service.program(program.program_id, refresh=True)
    assert changed.data.endswith("# new\n") and changed.description == "Changed."
    assert program.program_id in {each.program_id for each in service.programs(True, limit=None)}
    service.pprint_programs(refresh=True, detailed=True)
    printed = capsys.readouterr().out
    assert f"{program.program_id}:\n  Name: ibmq\n  Description: Changed." in printed
    assert "        - n:\n            Description: How many." in printed


def test_required_metadata_and_parameters_are_asked_for(
    service: IBMRuntimeService, program: RuntimeProgram
) -> None:
    with pytest.raises(IBMQInputValueError, match="description"):
        service.upload_program(data=SOURCE, metadata={"name": "x", "max_execution_time": 1})
    inputs = program.parameters()
    assert inputs.metadata == SPEC["parameters"]
    with pytest.raises(IBMQInputValueError, match="n"):
        inputs.validate()
    inputs.n = 0
    inputs.validate()
    assert finished(service.run(program.program_id, SIMULATOR, inputs)).result() is None


def test_a_job_streams_to_its_callback_and_returns(submit: Submit, program: RuntimeProgram) -> None:
    messages: queue.Queue[tuple[str, object]] = queue.Queue()
    before = datetime.now(UTC)
    job = submit(
        RuntimeOptions(backend_name="fake_manila", log_level="INFO"),
        inputs={"n": 2, "values": np.arange(2), "result": {"z": 1j}},
        callback=lambda job_id, message: messages.put((job_id, message)),
    )
    for i in range(2):
        job_id, message = messages.get(timeout=SECONDS)
        assert (job_id, message["iteration"]) == (job.job_id(), i)
        np.testing.assert_array_equal(message["values"], [0, 1])
    # This client gives the final result to the callback as well.
    assert messages.get(timeout=SECONDS) == (job.job_id(), {"z": 1j})
    assert job.result(timeout=SECONDS, wait=0.1) == {"z": 1j}
    assert (job.status().name, job.error_message()) == ("DONE", None)
    assert (job.program_id, job.backend().name()) == (program.program_id, "fake_manila")
    assert (job.image, job.inputs["n"]) == (None, 2)
    assert "a line of the log" in job.logs()
    assert abs(job.creation_date - before) < timedelta(minutes=1)


@pytest.mark.parametrize("value", [0.5, 3, True, None, "text", [1, 2], {"a": np.float64(2)}])
def test_results_of_any_kind_arrive(submit: Submit, value: object) -> None:
    job = submit(inputs={"result": value})
    assert job.result(timeout=SECONDS, wait=0.1) == value


def test_a_decoder_is_the_callers(submit: Submit) -> None:
    class Words(ResultDecoder):
        @classmethod
        def decode(cls, data: str) -> str:
            return f"words: {data}"

    job = submit(inputs={"result": "a"}, result_decoder=Words)
    assert job.result(timeout=SECONDS, wait=0.1) == 'words: "a"'
    assert job.result(decoder=ResultDecoder) == "a"


def test_a_circuit_of_an_old_qiskit_reaches_the_program(submit: Submit) -> None:
    circuit = QuantumCircuit(3)
    circuit.h(0)
    job = submit({"backend_name": "fake_manila"}, inputs={"circuit": circuit})
    assert job.result(timeout=SECONDS, wait=0.1) == {"qubits": 3, "backend": "fake_manila"}


def test_the_provider_runs_circuits_as_a_program(provider: AccountProvider) -> None:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    job = provider.run_circuits(circuit, backend_name="aer_simulator", shots=100, seed_simulator=1)
    assert job.program_id == "circuit-runner"
    counts = job.result().get_counts()
    assert counts.keys() == {"00", "11"} and sum(counts.values()) == 100


def test_a_job_of_before_streams_from_its_start(service: IBMRuntimeService, submit: Submit) -> None:
    job = finished(submit(inputs={"n": 1, "result": "end"}))
    messages: queue.Queue[object] = queue.Queue()
    again = service.job(job.job_id())
    again.stream_results(lambda _job_id, message: messages.put(message))
    assert messages.get(timeout=SECONDS) == {"iteration": 0, "values": None}
    assert messages.get(timeout=SECONDS) == "end"
    with pytest.raises(RuntimeInvalidStateError, match="already finished"):
        job.stream_results(print)


def test_a_running_job_is_cancelled_found_and_deleted(
    service: IBMRuntimeService, submit: Submit, program: RuntimeProgram
) -> None:
    messages: queue.Queue[object] = queue.Queue()
    job = submit(
        inputs={"n": 1, "forever": True}, callback=lambda _id, message: messages.put(message)
    )
    messages.get(timeout=SECONDS)
    (found,) = service.jobs(program_id=program.program_id, pending=True)
    assert (found.job_id(), found.status().name) == (job.job_id(), "RUNNING")
    assert found.inputs == job.inputs == {"n": 1, "forever": True}
    with pytest.raises(RuntimeInvalidStateError, match="already streaming"):
        job.stream_results(print)
    job.cancel_result_streaming()
    job.cancel()
    assert job.status().name == "CANCELLED"
    with pytest.raises(RuntimeInvalidStateError):
        job.cancel()
    assert service.jobs(program_id=program.program_id, pending=True) == []
    assert len(service.jobs(limit=1, skip=0, program_id=program.program_id)) == 1
    service.delete_job(job.job_id())
    with pytest.raises(RuntimeJobNotFound):
        service.job(job.job_id())


def test_a_failed_job_tells_why(submit: Submit) -> None:
    job = submit(inputs={"fail": True})
    with pytest.raises(RuntimeJobFailureError, match="asked to fail"):
        job.result(timeout=SECONDS, wait=0.1)
    assert job.status().name == "ERROR"
    assert "ValueError: asked to fail" in job.error_message()


def test_a_job_that_runs_too_long_says_so(service: IBMRuntimeService) -> None:
    metadata = {**METADATA, "max_execution_time": 1}
    program_id = service.upload_program(data=SOURCE, metadata=metadata)
    job = finished(service.run(program_id, SIMULATOR, {"n": 0, "forever": True}))
    assert job.status().name == "ERROR"
    assert "ran longer than maximum execution time" in job.error_message()
    service.delete_program(program_id)


def test_inputs_that_break_the_schema_are_refused(submit: Submit) -> None:
    # This client lets errors of its transport through, unlike in every other call.
    with pytest.raises(RequestsApiError, match="minimum: 0"):
        submit(inputs={"n": -1})
    with pytest.raises(IBMQInputValueError, match="backend_name"):
        submit({})


def test_another_user_runs_what_is_public_and_reads_no_source(
    service: IBMRuntimeService, bob: IBMRuntimeService, program: RuntimeProgram
) -> None:
    with pytest.raises(RuntimeProgramNotFound):
        bob.program(program.program_id)
    service.set_program_visibility(program.program_id, public=True)
    assert bob.program(program.program_id, refresh=True).is_public
    with pytest.raises(Exception, match="authors"):
        _ = bob.program(program.program_id).data
    job = finished(bob.run(program.program_id, SIMULATOR, {"n": 0, "result": "bob's"}))
    assert job.result() == "bob's"
    with pytest.raises(RuntimeJobNotFound):
        service.job(job.job_id())
    service.set_program_visibility(program.program_id, public=False)
    with pytest.raises(RuntimeProgramNotFound):
        bob.program(program.program_id, refresh=True)


def test_after_a_logout_the_client_continues(
    service: IBMRuntimeService, program: RuntimeProgram
) -> None:
    service.logout()
    job = service.run(program.program_id, SIMULATOR, {"n": 0, "result": "still here"})
    assert finished(job).result() == "still here"
    assert job.job_id() in {each.job_id() for each in service.jobs(limit=3)}
