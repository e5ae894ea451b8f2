"""The public programs that published samples call, with the clients that they were written for."""

from __future__ import annotations

import queue
import warnings

import numpy as np
import pytest
import qiskit_ibm_runtime
from circuits import HYDROGEN, ghz
from qiskit import QuantumCircuit
from qiskit.circuit.library import RealAmplitudes
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_ibm_runtime.exceptions import IBMNotAuthorizedError, IBMRuntimeError
from qiskit_ibm_runtime.utils.runner_result import RunnerResult

NAMES = ("hello-world", "sample-program", "circuit-runner", "qasm3-runner", "vqe")
NOISY = {"backend": "fake_manila"}
SECONDS = 120

not_refused_by_the_client = pytest.mark.skipif(
    qiskit_ibm_runtime.__version__.startswith("0.11."),
    reason="qiskit-ibm-runtime 0.11 itself refuses the ids hello-world, vqe and qaoa",
)

LOWEST = -1.857275


def test_every_user_finds_them_and_no_user_reads_or_changes_them(
    service: QiskitRuntimeService, bob: QiskitRuntimeService
) -> None:
    for user in (service, bob):
        programs = {p.program_id: p for p in user.programs(refresh=True, limit=None)}
        assert set(NAMES) <= set(programs)
        hello = programs["hello-world"]
        assert hello.is_public and hello.max_execution_time == 300
        assert "iterations" in hello.parameters().metadata["properties"]
        with pytest.raises(IBMNotAuthorizedError):
            _ = user.program("hello-world", refresh=True).data
        with pytest.raises(IBMRuntimeError, match="part of the service"):
            user.delete_program("hello-world")


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        pytest.param("hello-world", "Hello, World!", marks=not_refused_by_the_client),
        ("sample-program", "All done!"),
    ],
)
def test_the_samples(service: QiskitRuntimeService, name: str, answer: str) -> None:
    messages: queue.Queue[object] = queue.Queue()
    job = service.run(
        name,
        options=NOISY,
        inputs={"iterations": 2},
        callback=lambda job_id, message: messages.put(message),
    )
    received = [messages.get(timeout=SECONDS) for _ in range(2)]
    assert [message["iteration"] for message in received] == [0, 1]
    assert all(sum(message["counts"].values()) == 1024 for message in received)
    assert job.result(timeout=SECONDS) == answer


def test_circuit_runner_returns_what_its_client_decodes(service: QiskitRuntimeService) -> None:
    job = service.run(
        "circuit-runner",
        options=NOISY,
        inputs={
            "circuits": [ghz(), ghz()],
            "shots": 2000,
            "memory": True,
            "optimization_level": 1,
            "init_qubits": True,
            "seed_simulator": 3,
        },
    )
    result = job.result(timeout=SECONDS)
    assert isinstance(result, RunnerResult)
    assert result.success and result.backend_name == "fake_manila"
    assert [sum(counts.values()) for counts in result.get_counts()] == [2000, 2000]
    assert len(result.get_memory(1)) == 2000
    with pytest.raises(Exception, match="No quasi-probability"):
        result.get_quasiprobabilities()


def test_the_log_at_info_shows_the_passes_of_the_transpiler(service: QiskitRuntimeService) -> None:
    job = service.run(
        "circuit-runner",
        options={"backend": "fake_manila", "log_level": "INFO"},
        inputs={"circuits": [ghz()]},
    )
    assert job.result(timeout=SECONDS).success
    assert " INFO Pass: " in job.logs()


def test_circuit_runner_mitigates_readout_errors(service: QiskitRuntimeService) -> None:
    job = service.run(
        "circuit-runner",
        options=NOISY,
        inputs={
            "circuits": ghz(),
            "shots": 8000,
            "measurement_error_mitigation": True,
            "seed_simulator": 3,
        },
    )
    result = job.result(timeout=SECONDS)
    raw = {string: count / 8000 for string, count in result.get_counts().items()}
    quasi = result.get_quasiprobabilities()
    assert quasi.shots == 8000
    assert sum(quasi.values()) == pytest.approx(1)
    assert set(quasi) == {int(string, 2) for string in raw}
    assert raw["000"] + raw["111"] < 0.92 < 0.96 < quasi[0b000] + quasi[0b111]


@pytest.mark.parametrize("as_text", [True, False])
def test_qasm3_runner_takes_texts_and_circuits(
    service: QiskitRuntimeService, as_text: bool
) -> None:
    text = """OPENQASM 3;
    include "stdgates.inc";
    input float theta;
    bit[2] c;
    qubit[2] q;
    rx(theta) q[0];
    cx q[0], q[1];
    c = measure q;
    """
    circuit = QuantumCircuit(2, 2)
    circuit.rx(np.pi, 0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    inputs = (
        {"circuits": text, "qasm3_args": {"theta": np.pi}} if as_text else {"circuits": circuit}
    )
    job = service.run(
        "qasm3-runner",
        options={"backend": "aer_simulator"},
        inputs={**inputs, "run_config": {"shots": 100}},
    )
    assert job.result(timeout=SECONDS).get_counts() == {"11": 100}


def _pauli_sum_op() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from qiskit.opflow import PauliSumOp

        return PauliSumOp(HYDROGEN)


def _optimizer() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from qiskit.algorithms.optimizers import COBYLA

        return COBYLA(maxiter=40)


@not_refused_by_the_client
@pytest.mark.parametrize("objects", [False, True])
def test_vqe_as_its_clients_called_it(service: QiskitRuntimeService, objects: bool) -> None:
    messages: queue.Queue[object] = queue.Queue()
    job = service.run(
        "vqe",
        options={"backend": "ibmq_qasm_simulator"},
        inputs={
            "ansatz": RealAmplitudes(2, reps=1).decompose(),
            "operator": _pauli_sum_op() if objects else HYDROGEN,
            "aux_operators": [SparsePauliOp("ZZ")],
            "optimizer": _optimizer() if objects else {"name": "SPSA", "maxiter": 40},
            "initial_point": np.array([0.2, 0.1, 0.2, 3.0]),
            "shots": 2000,
            "measurement_error_mitigation": False,
        },
        callback=lambda job_id, message: messages.put(message),
    )
    result = job.result(timeout=SECONDS)
    number, parameters, mean, deviation = messages.get(timeout=SECONDS)
    assert (number, len(parameters)) == (1, 4)
    assert -2 < mean < 0 < deviation < 0.1
    assert result["optimal_value"] == pytest.approx(LOWEST, abs=0.1)
    assert result["eigenvalue"] == complex(result["optimal_value"])
    assert result["optimal_point"].shape == (4,)
    ((parity, _),) = result["aux_operator_eigenvalues"]
    assert parity < -0.7  # the optimizer has no seed; the energy hardly depends on what is left
    assert sum(value**2 for value in result["eigenstate"].values()) == pytest.approx(1)


def test_a_retired_simulator_is_the_ideal_one(service: QiskitRuntimeService) -> None:
    backend = service.backend("ibmq_qasm_simulator")
    assert backend.name == "ibmq_qasm_simulator" and backend.simulator
    job = service.run("sample-program", options={"backend": backend.name}, inputs={"iterations": 0})
    assert job.result(timeout=SECONDS) == "All done!"
    assert job.backend().name == "aer_simulator"
    found = service.jobs(backend_name="ibmq_qasm_simulator", limit=None)
    assert job.job_id() in [each.job_id() for each in found]
