"""Primitives from a flow, through the real embedded service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from prefect import flow
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.circuit.library import efficient_su2
from qiskit.primitives import BitArray, PrimitiveResult, StatevectorEstimator
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error
from qiskit_ibm_runtime.options import EstimatorOptions

from prefect_qiskit_runtime import (
    ConfigurationError,
    InvalidInputError,
    ProgramFailedError,
    RuntimeBackend,
    SyncRuntimeClient,
    jobs as program_tasks,
    list_programs,
    primitives as tasks,
)
from tests.circuits import bell, too_wide

pytestmark = pytest.mark.usefixtures("service_home")

IDEAL, NOISY = "aer_simulator", "fake_manila"
RECORDING = RuntimeBackend(name=IDEAL, unsupported_options="record")
run_sampler, submit_sampler = tasks.run_sampler.fn, tasks.submit_sampler.fn
run_estimator, submit_estimator = tasks.run_estimator.fn, tasks.submit_estimator.fn
submit_program = program_tasks.submit_program.fn


def rotation() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.ry(Parameter("angle"), 0)
    return circuit


# --- the estimator -------------------------------------------------------------------------


def test_without_shots_and_precision_the_ideal_backend_is_exact() -> None:
    result = run_estimator([(bell(), [SparsePauliOp("ZZ"), "XI"])], backend=IDEAL)
    assert isinstance(result, PrimitiveResult)
    assert result[0].data.evs == pytest.approx([1, 0], abs=1e-12)
    assert result[0].data.stds.tolist() == [0, 0]
    assert (result[0].metadata["path"], result[0].metadata["target_precision"]) == ("exact", None)
    assert result.metadata == {"version": 2}


def test_observables_and_parameter_values_are_broadcast() -> None:
    circuit = efficient_su2(3, reps=1)
    values = np.random.default_rng(1).uniform(-3, 3, (4, 1, circuit.num_parameters))
    observables = [["ZZZ", {"XXI": 0.5, "IYZ": -2.0}]]
    (result,) = run_estimator([(circuit, observables, values)], backend=IDEAL)
    expected = StatevectorEstimator().run([(circuit, observables, values)]).result()[0]
    assert result.data.evs.shape == (4, 2)
    assert result.data.evs == pytest.approx(expected.data.evs, abs=1e-10)


def test_parameter_values_may_be_given_by_parameter() -> None:
    circuit = rotation()
    angle = circuit.parameters[0]
    (result,) = run_estimator([(circuit, "Z", {angle: [0, np.pi]})], backend=IDEAL)
    assert result.data.evs == pytest.approx([1, -1])


@pytest.mark.parametrize(
    ("asked", "shots"),
    [
        ({"shots": 300}, 300),
        ({"precision": 0.1}, 100),
        ({"options": {"default_shots": 200}}, 200),
        ({"options": {"default_precision": 0.05}}, 400),
        ({"options": {"default_shots": 200, "default_precision": 0.05}}, 200),
        ({"precision": 0.1, "options": {"default_shots": 200}}, 100),
        ({"precision": 0}, None),
    ],
)
def test_shots_and_precision(asked: dict, shots: int | None) -> None:
    (result,) = run_estimator([(bell(), "XI")], backend=IDEAL, **asked)
    assert result.metadata["shots"] == shots
    assert result.metadata["path"] == ("exact" if shots is None else "sampled")


def test_the_precision_of_a_pub_goes_before_that_of_the_call() -> None:
    circuit = bell()
    pubs = [(circuit, "XI", None, 0.05), EstimatorPub.coerce((circuit, "XI")), (circuit, "XI")]
    result = run_estimator(pubs, backend=IDEAL, precision=0.1)
    assert [pub.metadata["shots"] for pub in result] == [400, 100, 100]
    assert [pub.metadata["target_precision"] for pub in result] == [0.05, 0.1, 0.1]


def test_a_seed_makes_the_results_reproducible_and_each_pub_its_own_sample() -> None:
    pubs = [(bell(), "XI"), (bell(), "XI")]
    first, again, other = (
        [pub.data.evs.item() for pub in run_estimator(pubs, backend=IDEAL, shots=999, seed=seed)]
        for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other
    assert first[0] != first[1]


def test_a_seed_may_come_in_the_options_as_ibms_client_sends_it() -> None:
    options = {"simulator": {"seed_simulator": 7}}
    (result,) = run_estimator([(bell(), "XI")], backend=IDEAL, shots=999, options=options)
    (same,) = run_estimator([(bell(), "XI")], backend=IDEAL, shots=999, seed=7)
    assert result.data.evs == same.data.evs


def test_shots_and_precision_together_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="shots or precision, not both"):
        run_estimator([(bell(), "ZZ")], backend=IDEAL, shots=10, precision=0.1)


# --- the sampler ---------------------------------------------------------------------------


def test_each_classical_register_is_a_bit_array() -> None:
    qubits, left, right = (
        QuantumRegister(3),
        ClassicalRegister(2, "left"),
        ClassicalRegister(1, "right"),
    )
    circuit = QuantumCircuit(qubits, left, right)
    circuit.x([0, 2])
    circuit.measure([0, 1], left)
    circuit.measure(2, right)
    (result,) = run_sampler([circuit], backend=IDEAL, shots=50)
    assert isinstance(result.data.left, BitArray)
    assert result.data.left.get_counts() == {"01": 50}
    assert result.data.right.get_counts() == {"1": 50}


def test_shots_of_the_sampler() -> None:
    circuit = bell(measured=True)
    result = run_sampler([circuit, (circuit, None, 7)], backend=IDEAL, shots=20)
    assert [pub.data.meas.num_shots for pub in result] == [20, 7]
    (default,) = run_sampler([circuit], backend=IDEAL)
    assert default.data.meas.num_shots == 4096


def test_the_sampler_is_reproducible() -> None:
    first, again, other = (
        run_sampler([bell(measured=True)], backend=IDEAL, shots=500, seed=seed)[0].data.meas
        for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other


def test_hundreds_of_parameter_sets_go_in_one_pub() -> None:
    circuit = rotation()
    circuit.measure_all()
    values = np.linspace(0, np.pi, 500).reshape(500, 1)
    (result,) = run_sampler([(circuit, values)], backend=IDEAL, shots=100, seed=1)
    ones = result.data.meas.bitcount().mean(axis=1)
    assert result.data.meas.shape == (500,)
    assert np.abs(ones - np.sin(values[:, 0] / 2) ** 2).max() < 0.3
    assert (ones[0], ones[-1]) == (0, 1)


def test_a_circuit_too_wide_for_the_memory_ends_with_the_simulators_figures() -> None:
    with pytest.raises(ProgramFailedError) as raised:
        run_sampler([bell(measured=True), too_wide()], backend=IDEAL)

    message = str(raised.value)
    assert "pubs[1]: The simulator did not run the circuit" in message
    assert "a state vector of 60 qubits needs 16 EiB" in message
    assert "bond_dimension=64" in message


# --- backends with noise -------------------------------------------------------------------


def test_circuits_outside_of_the_instruction_set_are_refused_with_what_to_do() -> None:
    pubs = [(QuantumCircuit(1), "Z"), (bell(), "ZZ")]
    with pytest.raises(ProgramFailedError) as raised:
        run_estimator(pubs, backend=NOISY)
    message = str(raised.value)
    assert "pubs[1]: Circuit" in message
    assert "no 'h' on qubits (0,)" in message
    assert "transpile=True" in message


def test_transpile_moves_the_observables_with_the_circuit() -> None:
    circuit = QuantumCircuit(3)  # qubit 0 talks to both others: another order on a line
    circuit.x(2)
    circuit.cx(2, 0)
    circuit.cx(2, 1)
    circuit.x(1)
    observables = ["IIZ", "IZI", "ZII", "ZIZ"]
    (result,) = run_estimator([(circuit, observables)], backend=NOISY, transpile=True, seed=1)
    assert result.data.evs == pytest.approx([-1, 1, -1, 1], abs=0.25)
    assert len(set(result.metadata["layout"])) == 3
    assert result.metadata["shots"] == 4096
    assert np.abs(result.data.evs - [-1, 1, -1, 1]).max() > 0


def test_transpile_keeps_parameters_in_their_places() -> None:
    circuit = QuantumCircuit(2)
    second, first, idle = Parameter("b"), Parameter("a"), Parameter("idle")
    circuit.rx(first, 0)
    circuit.rx(second, 1)
    circuit.rz(idle, 0)
    circuit.reset(0)
    values = {(second, first, idle): [[np.pi, 0, 0.3], [0, np.pi, 0.3]]}
    (result,) = run_estimator([(circuit, ["ZI"], values)], backend=NOISY, transpile=True, seed=1)
    assert result.data.evs == pytest.approx([-1, 1], abs=0.2)


def test_the_sampler_transpiles_too() -> None:
    (result,) = run_sampler([bell(measured=True)], backend=NOISY, transpile=True, seed=3)
    counts = result.data.meas.get_counts()
    assert counts["00"] + counts["11"] > 3500
    assert set(counts) == {"00", "01", "10", "11"}


def test_exact_values_are_refused_where_there_is_noise() -> None:
    with pytest.raises(ProgramFailedError, match=r"pubs\[0\]: precision=0 asks for exact"):
        run_estimator([(QuantumCircuit(1), "Z")], backend=NOISY, precision=0)


@pytest.mark.parametrize("form", [lambda noise: noise, NoiseModel.to_dict], ids=["object", "dict"])
def test_a_noise_model_may_be_given(form: Callable[[NoiseModel], object]) -> None:
    noise = NoiseModel()
    noise.add_all_qubit_readout_error(ReadoutError([[0, 1], [1, 0]]))
    circuit = QuantumCircuit(1)
    circuit.measure_all()
    options = {"simulator": {"noise_model": form(noise)}}
    (result,) = run_sampler([circuit], backend=IDEAL, shots=10, options=options)
    assert result.data.meas.get_counts() == {"1": 10}


def test_transpile_uses_the_gates_of_a_noise_model_and_else_the_job_logs_a_note() -> None:
    noise = NoiseModel()
    noise.add_all_qubit_quantum_error(depolarizing_error(1, 2), ["ecr"])
    options = {"simulator": {"noise_model": noise, "seed_simulator": 3}}
    pubs = [bell(measured=True)]

    job = submit_sampler(pubs, backend=IDEAL, options=options)
    (plain,) = job.result()
    (transpiled,) = run_sampler(pubs, backend=IDEAL, options=options, transpile=True)

    assert set(plain.data.meas.get_counts()) == {"00", "11"}
    assert plain.metadata["notes"][0] in job.logs()
    assert set(transpiled.data.meas.get_counts()) == {"00", "01", "10", "11"}
    assert "notes" not in transpiled.metadata


# --- options -------------------------------------------------------------------------------

UNSUPPORTED = {"resilience_level": 2, "twirling": {"enable_gates": True, "strategy": "all"}}


def test_options_that_simulators_do_not_support_are_refused_before_a_job_is_made() -> None:
    with pytest.raises(InvalidInputError) as raised:
        run_estimator([(bell(), "ZZ")], backend=IDEAL, options=UNSUPPORTED)
    assert "twirling.enable_gates, twirling.strategy, resilience_level" in str(raised.value)
    assert "unsupported_options='record'" in str(raised.value)


def test_or_they_are_recorded() -> None:
    job = submit_estimator([(bell(), "ZZ")], backend=RECORDING, options=UNSUPPORTED)
    assert job.result().metadata["unsupported_options"] == {
        "twirling.enable_gates": True,
        "twirling.strategy": "all",
        "resilience_level": 2,
    }
    assert "simulators do not support them: twirling.enable_gates=True" in job.logs()


def test_options_that_ask_for_what_is_so_anyway_are_accepted() -> None:
    options = {
        "resilience_level": 0,
        "dynamical_decoupling": {"enable": False},
        "execution": {"init_qubits": True},
    }
    result = run_estimator([(bell(), "ZZ")], backend=IDEAL, options=options)
    assert result.metadata == {"version": 2}


def test_options_may_be_the_object_of_qiskit_ibm_runtime() -> None:
    options = EstimatorOptions(default_shots=64, max_execution_time=100)
    options.environment.job_tags = ["from-options"]
    job = submit_estimator([(bell(), "ZZ")], backend=IDEAL, options=options)
    assert job.result()[0].metadata["shots"] == 64
    assert job.info().tags == ["from-options"]
    assert job.info().cost == 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"default_shots": "many"}, "'default_shots' must be a whole number of 1 or more"),
        (
            {"default_precision": -1},
            "'default_precision' must be a number from 1e-09 to 1, .* or 0",
        ),
        ({"simulator": {"seed_simulator": 1.5}}, "'seed' must be a whole number of 0 or more"),
    ],
)
def test_an_option_of_the_wrong_kind_is_named(options: dict, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        run_estimator([(bell(), "ZZ")], backend=IDEAL, options=options)


def test_options_of_another_kind_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="not list"):
        run_sampler([bell(measured=True)], backend=IDEAL, options=[1])


# --- Invalid PUBs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pubs", "message"),
    [
        ([(bell(), "ZZ"), (bell(), "ZZZ")], r"pubs\[1\] is not a PUB of the estimator: "),
        ([bell()], r"pubs\[0\] is not a PUB of the estimator: "),
        ([(bell(), "ZZ", [1.0])], r"pubs\[0\] is not a PUB of the estimator: "),
        ([7], r"pubs\[0\] is not a PUB of the estimator: "),
        ((bell(), "ZZ"), "write \\[pub\\] for one"),
        (bell(), "write \\[pub\\] for one"),
        (EstimatorPub.coerce((bell(), "ZZ")), "write \\[pub\\] for one"),
    ],
)
def test_what_is_no_pub_is_named_before_a_job_is_made(pubs: object, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        run_estimator(pubs, backend=IDEAL)


def test_a_circuit_that_measures_nothing_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"pubs\[1\].*no classical register"):
        run_sampler([bell(measured=True), bell()], backend=IDEAL)


def test_an_observable_that_is_not_hermitian_is_named() -> None:
    with pytest.raises((InvalidInputError, ProgramFailedError), match=r"pubs\[0\]"):
        run_estimator([(bell(), SparsePauliOp("ZZ", 1j))], backend=IDEAL)


def test_no_pub_gives_an_empty_result() -> None:
    assert len(run_sampler([], backend=IDEAL)) == 0


# --- where they are called from ------------------------------------------------------------


@pytest.mark.usefixtures("prefect_server")
def test_in_flows() -> None:
    @flow
    def sync_flow() -> float:
        submitted = tasks.run_estimator.submit([(bell(), "ZZ")], backend=IDEAL)
        return submitted.result()[0].data.evs.item()

    assert sync_flow() == pytest.approx(1)


async def test_async_twins() -> None:
    (estimated,) = await tasks.arun_estimator.fn([(bell(), "ZZ")], backend=IDEAL)
    assert estimated.data.evs == pytest.approx(1)
    job = await tasks.asubmit_sampler.fn([bell(measured=True)], backend=IDEAL, shots=5)
    assert (await job.aresult())[0].data.meas.num_shots == 5


def test_the_client_without_prefect_runs_them_by_their_ids() -> None:
    with SyncRuntimeClient() as client:
        job = client.run("estimator", {"pubs": [(bell(), "ZZ")]}, options={"backend": IDEAL})
        assert job.result()[0].data.evs == pytest.approx(1)
        sampled = client.run("sampler", {"pubs": [bell(measured=True)]}, options={"backend": IDEAL})
        assert sampled.result()[0].data.meas.num_shots == 4096


def test_they_are_not_listed_among_the_programs() -> None:
    ids = {program.id for program in list_programs.fn(backend=IDEAL, limit=None)}
    assert ids.isdisjoint({"sampler", "estimator"})


# --- simulation methods --------------------------------------------------------------------

BY_STATES = RuntimeBackend.model_validate(
    {"name": IDEAL, "simulation": {"method": "matrix_product_state", "bond_dimension": 64}}
)
SIMULATING = """
def main(backend, user_messenger, qubits):
    from qiskit import QuantumCircuit
    circuit = QuantumCircuit(qubits)
    circuit.ry(0.3, 0)
    for qubit in range(qubits - 1):
        circuit.cx(qubit, qubit + 1)
    (result,) = backend.estimator().run([(circuit, "Z" + "I" * (qubits - 1))]).result()
    return float(result.data.evs), backend.options.max_memory_mb, result.metadata["path"]
"""


def test_the_simulation_method_of_the_block_and_of_the_call_are_used() -> None:
    pub = (bell(), ["ZZ", "XX"])

    def methods(backend: RuntimeBackend | str, simulator: dict[str, Any] | None = None) -> Any:
        options = None if simulator is None else {"simulator": simulator}
        (result,) = run_estimator([pub], backend=backend, options=options)
        assert result.data.evs == pytest.approx([1, 1], abs=1e-9)
        return result.metadata["simulation_methods"], result.metadata["path"]

    assert methods(IDEAL) == (["statevector"], "exact")
    assert methods(BY_STATES) == (["matrix_product_state"], "approximate")
    assert methods(BY_STATES, {"method": "stabilizer"}) == (["stabilizer"], "exact")
    assert methods(IDEAL, {"method": "density_matrix"}) == (["density_matrix"], "exact")


def test_provenance_has_the_requested_settings_and_the_methods_that_were_used() -> None:
    job = submit_estimator([(bell(), "ZZ")], backend=BY_STATES)
    job.result()

    provenance = job.provenance()

    assert provenance.options["primitive"]["simulator"] == {
        "method": "matrix_product_state",
        "bond_dimension": 64,
    }
    assert provenance.simulation_methods == ["matrix_product_state"]


def test_a_program_has_the_simulation_of_its_block_or_its_call() -> None:
    with SyncRuntimeClient() as client:
        program_id = client.upload_program(SIMULATING, name="simulating")
    options = {"simulation": {"method": "automatic", "max_memory_mb": 900}}

    job = submit_program(program_id, {"qubits": 60}, backend=BY_STATES, options=options)
    value, memory_mb, path = job.result()

    assert value == pytest.approx(np.cos(0.3), abs=1e-9)
    assert (memory_mb, path) == (900, "exact")
    assert job.provenance().simulation_methods == ["matrix_product_state"]
    assert job.provenance().options["job"]["simulation"] == {"max_memory_mb": 900}
    limited = submit_program(program_id, {"qubits": 3}, backend=BY_STATES).result()
    assert tuple(limited[1:]) == (None, "approximate")


def test_a_missing_gpu_ends_the_job_with_the_devices_that_there_are() -> None:
    gpu = RuntimeBackend.model_validate({"name": IDEAL, "simulation": {"device": "GPU"}})

    with pytest.raises(ProgramFailedError, match="device 'GPU' is not available"):
        run_sampler([bell(measured=True)], backend=gpu)
