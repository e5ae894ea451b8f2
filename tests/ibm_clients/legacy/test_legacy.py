"""qiskit-ibm-runtime 0.11 and 0.15, which had programs: from login to delete, unmodified."""

from __future__ import annotations

import json
import math
import queue
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from programs import publishing_program
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_ibm_runtime.exceptions import (
    IBMNotAuthorizedError,
    IBMRuntimeError,
    RuntimeInvalidStateError,
    RuntimeJobFailureError,
    RuntimeJobNotFound,
    RuntimeProgramNotFound,
)

PROGRAM = publishing_program("qiskit_ibm_runtime.program")
METADATA = {
    "name": "legacy",
    "description": "Publishes, then returns the value of its input.",
    "max_execution_time": 600,
    "spec": {
        "parameters": {
            "$schema": "https://json-schema.org/draft/2019-09/schema",
            "properties": {"n": {"type": "integer", "minimum": 0}},
        },
        "interim_results": {"type": "object"},
    },
}
SIMULATOR = {"backend": "aer_simulator"}
SECONDS = 60


@pytest.fixture
def program_id(service: QiskitRuntimeService) -> Iterator[str]:
    program_id = service.upload_program(data=PROGRAM, metadata=METADATA)
    yield program_id
    service.delete_program(program_id)


def test_a_wrong_token_is_refused(connect: Callable[[str], QiskitRuntimeService]) -> None:
    with pytest.raises(Exception, match=r"(?i)401|unauthorized|not authorized|login"):
        connect("wrong").backends()


def test_backends_are_listed_with_their_configuration(service: QiskitRuntimeService) -> None:
    names = [backend.name for backend in service.backends(min_num_qubits=5, simulator=False)]
    assert "fake_manila" in names
    manila = service.backend("fake_manila")
    assert manila.num_qubits == 5
    assert manila.target.num_qubits == 5
    assert manila.properties().qubits
    assert manila.status().operational
    assert service.least_busy(min_num_qubits=5).num_qubits >= 5


def test_a_program_is_uploaded_from_a_file(service: QiskitRuntimeService, tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    program_id = service.upload_program(data=str(path), metadata=METADATA)
    program = service.program(program_id, refresh=True)
    assert (program.name, program.max_execution_time) == ("legacy", 600)
    assert program.data == PROGRAM
    assert program.parameters().metadata["properties"]["n"]["minimum"] == 0
    service.delete_program(program_id)
    with pytest.raises(RuntimeProgramNotFound):
        service.program(program_id, refresh=True)


def test_programs_are_listed_updated_and_printed(
    service: QiskitRuntimeService, program_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service.update_program(program_id, data=PROGRAM + "# new\n", description="Changed.")
    program = service.program(program_id, refresh=True)
    assert program.data.endswith("# new\n") and program.description == "Changed."
    assert program_id in [found.program_id for found in service.programs(refresh=True, limit=None)]
    service.pprint_programs(refresh=True)
    assert f"{program_id}:" in capsys.readouterr().out


def test_a_job_streams_to_its_callback_and_returns(
    service: QiskitRuntimeService, program_id: str
) -> None:
    messages: queue.Queue[object] = queue.Queue()
    job = service.run(
        program_id,
        options=SIMULATOR,
        inputs={"n": 3, "values": np.arange(2), "result": {"z": 1j}},
        callback=lambda job_id, message: messages.put((job_id, message)),
    )
    for i in range(3):
        job_id, message = messages.get(timeout=SECONDS)
        assert (job_id, message["iteration"]) == (job.job_id(), i)
        np.testing.assert_array_equal(message["values"], [0, 1])
    # These clients give the final result to the callback as well.
    assert messages.get(timeout=SECONDS) == (job.job_id(), {"z": 1j})
    assert job.result(timeout=SECONDS) == {"z": 1j}
    assert job.status().name == "DONE"
    assert "a line of the log" in job.logs()
    interim = [json.loads(text) for text in job.interim_results()]
    assert [message["iteration"] for message in interim] == [0, 1, 2]
    assert messages.empty()


def test_results_stream_again_after_the_end(service: QiskitRuntimeService, program_id: str) -> None:
    job = service.run(program_id, options=SIMULATOR, inputs={"n": 2, "result": "done"})
    job.wait_for_final_state(timeout=SECONDS)
    messages: queue.Queue[object] = queue.Queue()
    again = service.job(job.job_id())
    again.stream_results(lambda _job_id, message: messages.put(message))
    assert [messages.get(timeout=SECONDS) for _ in range(2)] == [
        {"iteration": 0, "values": None},
        {"iteration": 1, "values": None},
    ]
    assert again.result(timeout=SECONDS) == "done"


@pytest.mark.parametrize("value", [0.5, 3, True, None, "text", [1, 2], math.inf])
def test_results_of_any_kind_arrive(
    service: QiskitRuntimeService, program_id: str, value: object
) -> None:
    job = service.run(program_id, options=SIMULATOR, inputs={"n": 0, "result": value})
    assert job.result(timeout=SECONDS) == value


def test_a_circuit_of_an_old_qiskit_reaches_the_program(
    service: QiskitRuntimeService, program_id: str
) -> None:
    circuit = QuantumCircuit(3)
    circuit.h(0)
    circuit.cx(0, 1)
    job = service.run(
        program_id, options={"backend": "fake_manila"}, inputs={"n": 0, "circuit": circuit}
    )
    assert job.result(timeout=SECONDS) == {"qubits": 3, "backend": "fake_manila"}


def test_a_failed_job_tells_why(service: QiskitRuntimeService, program_id: str) -> None:
    job = service.run(program_id, options=SIMULATOR, inputs={"fail": True})
    with pytest.raises(RuntimeJobFailureError, match=r"(?i)asked to fail"):
        job.result(timeout=SECONDS)
    assert job.status().name == "ERROR"
    assert "asked to fail" in job.error_message().lower()


def test_inputs_that_break_the_schema_are_refused(
    service: QiskitRuntimeService, program_id: str
) -> None:
    with pytest.raises(IBMRuntimeError, match="minimum: 0"):
        service.run(program_id, options=SIMULATOR, inputs={"n": -1})


def test_a_job_is_cancelled_found_and_deleted(
    service: QiskitRuntimeService, program_id: str
) -> None:
    job = service.run(
        program_id,
        options={**SIMULATOR, "job_tags": ["mine"], "log_level": "INFO"},
        inputs={"forever": True},
    )
    found = service.jobs(limit=None, program_id=program_id, pending=True)
    assert [each.job_id() for each in found] == [job.job_id()]
    job.cancel()
    assert job.status().name == "CANCELLED"
    with pytest.raises(RuntimeInvalidStateError):
        job.cancel()
    (found,) = service.jobs(job_tags=["mine"], program_id=program_id)
    assert found.inputs == {"forever": True}
    service.delete_job(job.job_id())
    with pytest.raises(RuntimeJobNotFound):
        service.job(job.job_id())


def test_another_user_runs_what_is_public_and_reads_no_source(
    service: QiskitRuntimeService, bob: QiskitRuntimeService, program_id: str
) -> None:
    with pytest.raises(RuntimeProgramNotFound):
        bob.program(program_id, refresh=True)
    with pytest.raises(RuntimeProgramNotFound):
        bob.run(program_id, options=SIMULATOR, inputs={})
    service.set_program_visibility(program_id, public=True)
    program = bob.program(program_id, refresh=True)
    assert program.is_public
    with pytest.raises(IBMNotAuthorizedError):
        _ = program.data
    job = bob.run(program_id, options=SIMULATOR, inputs={"n": 0, "result": "bob's"})
    assert job.result(timeout=SECONDS) == "bob's"
    with pytest.raises(RuntimeJobNotFound):
        service.job(job.job_id())
    with pytest.raises(IBMRuntimeError, match="belongs to another user"):
        bob.delete_program(program_id)
    service.set_program_visibility(program_id, public=False)
    with pytest.raises(RuntimeProgramNotFound):
        bob.program(program_id, refresh=True)
