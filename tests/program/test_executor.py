"""Quantum programs: items, samplexes, chunks, seeds and versions of the form.

The inputs are made, and the results read, by qiskit-ibm-runtime itself.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import samplomatic
from ibm_quantum_schemas.executor import version_2_0
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import Parameter
from qiskit.quantum_info import PauliLindbladMap
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error
from qiskit_ibm_runtime import QuantumProgram
from qiskit_ibm_runtime.decoders.executor.decoder import ExecutorResultDecoder
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from qiskit_ibm_runtime.options_models import ExecutorOptions
from qiskit_ibm_runtime.quantum_program.params_converters import QUANTUM_PROGRAM_PARAMS_CONVERTERS
from samplomatic.transpiler import generate_boxing_pass_manager

from prefect_qiskit_runtime import codec
from prefect_qiskit_runtime.errors import ConfigurationError, EncodingError, InvalidInputError
from prefect_qiskit_runtime.program import ProgramBackend, _executor_schema, _register_bits
from prefect_qiskit_runtime.program._register_bits import RegisterSampler, independent_parts
from prefect_qiskit_runtime.program.executor import run_executor


def rotation() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.rx(Parameter("angle"), 0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


def twirled() -> tuple[QuantumCircuit, Any]:
    """A template and a samplex for two entangling layers, with noise to inject."""
    circuit = QuantumCircuit(2)
    circuit.rx(Parameter("angle"), 0)
    circuit.cx(0, 1)
    circuit.measure_all()
    passes = generate_boxing_pass_manager(enable_gates=True, enable_measures=True)
    return samplomatic.build(passes.run(circuit))


def inputs_of(program: QuantumProgram, version: str = "v2.0", **options: Any) -> dict[str, Any]:
    given = ExecutorOptions.model_validate(options)
    model = QUANTUM_PROGRAM_PARAMS_CONVERTERS[version].encoder(program, given)
    return codec.decode(json.dumps(model.model_dump(mode="json")))


def seeded(seed: int) -> dict[str, Any]:
    return {"experimental": {"simulator": {"seed_simulator": seed}}}


def run(backend: ProgramBackend, inputs: dict[str, Any], unsupported: str = "refuse") -> Any:
    result = run_executor(backend, inputs, unsupported_options=unsupported)
    return ExecutorResultDecoder.decode(codec.encode(result))


def test_an_angle_that_would_arrive_changed_is_refused():
    angle = Parameter("angle")
    circuit = QuantumCircuit(1)
    circuit.rz((1j * angle) ** 2, 0)
    circuit.measure_all()
    program = QuantumProgram(shots=1)
    program.append_circuit_item(circuit, np.array([[0.0]]))
    with pytest.raises(EncodingError, match="complex constants"):
        codec.quantum_program_inputs(program, execution={}, experimental={})


@pytest.mark.parametrize("version", ["v0.1", "v0.2", "v1.0", "v1.1", "v2.0"])
def test_each_version_of_the_form_is_answered_in_itself(ideal, version):
    template, samplex = twirled()
    program = QuantumProgram(shots=50)
    program.append_circuit_item(rotation(), np.array([[0.0], [np.pi]]))
    program.append_samplex_item(
        template, samplex, {"parameter_values": np.array([np.pi])}, shape=(3,)
    )
    inputs = inputs_of(program, version)

    assert run_executor(ideal, inputs, unsupported_options="refuse")["schema_version"] == version
    plain, drawn = run(ideal, inputs)

    assert plain["meas"].shape == (2, 50, 2)
    assert not plain["meas"][0].any()
    assert plain["meas"][1].all()
    assert (drawn["meas"] ^ drawn["measurement_flips.meas"]).all()
    assert drawn["measurement_flips.meas"].shape == (3, 1, 2)


def test_shapes_extend_arguments_and_all_else_is_drawn(ideal):
    template, samplex = twirled()
    program = QuantumProgram(shots=20)
    angles = np.array([0.0, np.pi])[:, None, None]
    program.append_samplex_item(template, samplex, {"parameter_values": angles}, shape=(4, 2, 5))
    inputs = inputs_of(program)

    (result,) = run(ideal, inputs)

    bits = result["meas"] ^ result["measurement_flips.meas"]
    assert bits.shape == (4, 2, 5, 20, 2)
    assert not bits[:, 0].any()
    assert bits[:, 1].all()
    flips = result["measurement_flips.meas"].reshape(40, 2)
    assert len(np.unique(flips, axis=0)) == 4


def test_items_without_a_samplex_are_repeated_to_their_shape(ideal):
    program = QuantumProgram(shots=10)
    program.append_circuit_item(rotation(), np.array([np.pi]))
    inputs = inputs_of(program)
    inputs["quantum_program"]["items"][0]["shape"] = [3]

    (result,) = run(ideal, inputs)

    assert result["meas"].shape == (3, 10, 2)
    assert result["meas"].all()


def test_injected_noise_is_that_of_its_map(ideal):
    circuit = QuantumCircuit(1)
    with circuit.box([samplomatic.Twirl(), samplomatic.InjectNoise("layer")]):
        circuit.id(0)
    with circuit.box([samplomatic.Twirl()]):
        circuit.measure_all()
    template, samplex = samplomatic.build(circuit)
    program = QuantumProgram(
        shots=1, noise_maps={"layer": PauliLindbladMap.from_list([("X", 0.3)])}
    )
    program.append_samplex_item(template, samplex, shape=(4000,))

    (result,) = run(ideal, inputs_of(program, **seeded(3)))

    flipped = (result["meas"] ^ result["measurement_flips.meas"]).mean()
    assert flipped == pytest.approx((1 - np.exp(-0.6)) / 2, abs=0.035)


def test_a_seed_repeats_draws_and_samples(ideal):
    template, samplex = twirled()
    program = QuantumProgram(shots=30)
    program.append_samplex_item(
        template, samplex, {"parameter_values": np.array([1.0])}, shape=(6,)
    )
    program.append_circuit_item(rotation(), np.array([[1.0], [1.0]]))

    first, again, other = (
        [{name: item[name] for name in item} for item in run(ideal, inputs_of(program, **seed))]
        for seed in (seeded(1), seeded(1), seeded(2))
    )

    for item, same in zip(first, again, strict=True):
        assert all(np.array_equal(item[name], same[name]) for name in item)
    assert not np.array_equal(
        first[0]["measurement_flips.meas"], other[0]["measurement_flips.meas"]
    )
    assert not np.array_equal(first[1]["meas"][0], first[1]["meas"][1])


def test_chunks_are_of_the_size_asked_for_and_timed(ideal):
    program = QuantumProgram(shots=5, passthrough_data={"mine": np.arange(3), "n": [1, None]})
    program.append_circuit_item(rotation(), np.linspace(0, 1, 6).reshape(2, 3, 1), chunk_size=4)

    result = run(ideal, inputs_of(program))

    parts = [span.parts[0] for span in result.metadata.chunk_timing]
    assert [(part.idx_item, part.size) for part in parts] == [(0, 4), (0, 2)]
    assert result.timing.duration > 0
    assert result[0]["meas"].shape == (2, 3, 5, 2)
    assert result.passthrough_data["mine"].tolist() == [0, 1, 2]
    assert result.passthrough_data["n"] == [1, None]


def test_frequencies_are_those_of_the_circuit(ideal):
    angles = np.linspace(0, np.pi, 5)
    program = QuantumProgram(shots=4000)
    program.append_circuit_item(rotation(), angles[:, None])

    (result,) = run(ideal, inputs_of(program, **seeded(4)))

    ones = result["meas"].mean(axis=1)
    assert ones[:, 0] == pytest.approx(np.sin(angles / 2) ** 2, abs=0.04)
    assert np.array_equal(result["meas"][..., 0], result["meas"][..., 1])


def test_boxes_run_as_what_is_in_them(ideal):
    circuit = QuantumCircuit(2)
    with circuit.box():
        circuit.x(0)
        with circuit.box():
            circuit.cx(0, 1)
    circuit.measure_all()
    program = QuantumProgram(shots=3)
    program.append_circuit_item(circuit)

    assert run(ideal, inputs_of(program))[0]["meas"].all()


def test_a_device_takes_its_own_instructions_only(noisy):
    passes = generate_preset_pass_manager(1, backend=FakeManilaV2(), seed_transpiler=1)
    program = QuantumProgram(shots=500)
    program.append_circuit_item(passes.run(rotation()), np.array([np.pi]))
    (result,) = run(noisy, inputs_of(program, **seeded(1)))
    assert 0.7 < result["meas"].all(axis=-1).mean() < 1

    program.append_circuit_item(rotation(), np.array([np.pi]))
    with pytest.raises(InvalidInputError, match=r"items\[1\].*instruction set of fake_manila"):
        run(noisy, inputs_of(program))


def test_an_item_too_wide_for_the_memory_is_named(ideal):
    wide = QuantumCircuit(60)
    wide.h(0)
    for qubit in range(59):
        wide.cx(qubit, qubit + 1)
    wide.t(59)
    wide.h(59)
    wide.measure_all()
    program = QuantumProgram(shots=5)
    program.append_circuit_item(QuantumCircuit(1, 1))
    program.append_circuit_item(wide)
    ideal.set_options(method="statevector")
    with pytest.raises(InvalidInputError, match=r"^items\[1\]: .* 60 qubits need 16 EiB"):
        run(ideal, inputs_of(program))


def test_a_noise_model_may_stand_among_the_experimental_options(ideal):
    noise = NoiseModel()
    noise.add_all_qubit_readout_error(ReadoutError([[0, 1], [1, 0]]))
    program = QuantumProgram(shots=9)
    program.append_circuit_item(rotation(), np.array([0.0]))
    simulator = {"noise_model": noise.to_dict(serializable=True)}

    (result,) = run(ideal, inputs_of(program, experimental={"simulator": simulator}))

    assert result["meas"].all()


def test_a_noise_model_without_the_gates_of_an_item_is_logged(ideal, caplog):
    noise = NoiseModel()
    noise.add_all_qubit_quantum_error(depolarizing_error(0.1, 2), ["ecr"])
    program = QuantumProgram(shots=9)
    program.append_circuit_item(rotation(), np.array([0.0]))
    simulator = {"noise_model": noise.to_dict(serializable=True)}

    run(ideal, inputs_of(program, experimental={"simulator": simulator}))

    (record,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert record.getMessage().startswith("items[0]: No gate of circuit ")


def test_unsupported_options_are_recorded_or_refused(ideal, caplog):
    program = QuantumProgram(shots=2)
    program.append_circuit_item(rotation(), np.array([0.0]))
    inputs = inputs_of(
        program,
        execution={"init_qubits": False, "scheduler_timing": True},
        experimental={"unheard_of": 1},
    )

    result = run_executor(ideal, inputs, unsupported_options="record")

    ignored = {"init_qubits": False, "scheduler_timing": True, "experimental.unheard_of": 1}
    assert result["metadata"]["unsupported_options"] == ignored
    assert "scheduler_timing=True" in caplog.text
    version_2_0.QuantumProgramResultModel.model_validate(result)
    with pytest.raises(InvalidInputError, match="scheduler_timing"):
        run_executor(ideal, inputs, unsupported_options="refuse")


def test_signals_of_measurements_are_refused(ideal):
    program = QuantumProgram(shots=2, meas_level="kerneled")
    program.append_circuit_item(rotation(), np.array([0.0]))
    with pytest.raises(InvalidInputError, match="meas_level='kerneled'"):
        run(ideal, inputs_of(program), "record")


def test_what_is_no_quantum_program_is_named(ideal):
    program = QuantumProgram(shots=2)
    program.append_circuit_item(rotation(), np.array([0.0]))
    inputs = inputs_of(program)

    with pytest.raises(InvalidInputError, match=r"version 'v9.9', only v0.1, v0.2, v1.0"):
        run(ideal, {**inputs, "schema_version": "v9.9"})
    inputs["quantum_program"]["shots"] = 0
    with pytest.raises(InvalidInputError, match=r"greater than or equal to 1 at \$.quantum_prog"):
        run(ideal, inputs)
    inputs["quantum_program"]["shots"] = 1
    inputs["quantum_program"]["items"][0]["circuit_arguments"] = (
        version_2_0.models.CompressedTensorModel.from_numpy(np.zeros(2)).model_dump()
    )
    with pytest.raises(InvalidInputError, match=r"items\[0\]: it has 2 arguments for the 1 param"):
        run(ideal, inputs)


def test_an_environment_without_the_schemas_is_refused_with_what_it_lacks(ideal, monkeypatch):
    monkeypatch.setattr(_executor_schema, "_HOME", "a_package_that_is_not_there")
    with pytest.raises(ConfigurationError, match=r"install a qiskit-ibm-runtime in it that has"):
        run(ideal, {"schema_version": "v2.0"})


# --- circuits that fall apart --------------------------------------------------------------


def wide(num_qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    circuit.h(0)
    circuit.cx(0, num_qubits - 1)
    circuit.rx(Parameter("angle"), 1)
    circuit.x(2)
    circuit.barrier()
    circuit.measure_all()
    return circuit


def test_a_circuit_wider_than_any_simulation_runs_in_its_parts(ideal):
    bits = RegisterSampler(ideal, wide(90)).sample(np.array([[np.pi], [0]]), shots=200, seed=1)

    meas = bits["meas"]
    assert meas.shape == (2, 200, 90)
    assert np.array_equal(meas[..., 0], meas[..., 89])
    assert 0.35 < meas[..., 0].mean() < 0.65
    assert meas[0, :, 1].all()
    assert not meas[1, :, 1].any()
    assert meas[..., 2].all()
    assert not meas[..., 3:89].any()


def test_parts_hold_every_instruction_once(monkeypatch):
    monkeypatch.setattr(_register_bits, "_PACKED_QUBITS", 1)
    circuit = wide(5)

    parts = independent_parts(circuit)

    assert len(parts) == 4
    names = ("h", "cx", "rx", "x", "measure")
    assert {name: sum(part.count_ops().get(name, 0) for part in parts) for name in names} == {
        name: circuit.count_ops()[name] for name in names
    }


def test_qubits_that_share_a_bit_or_control_each_other_stay_together():
    shared = QuantumCircuit(9, 1)
    for qubit in range(9):
        shared.measure(qubit, 0)
    branching = QuantumCircuit(9, 9)
    branching.measure(range(9), range(9))
    with branching.if_test((branching.clbits[0], True)):
        branching.x(8)

    assert independent_parts(shared) == [shared]
    assert independent_parts(branching) == [branching]
