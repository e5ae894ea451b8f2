"""Each gate of Qiskit's library arrives as the gate that it was, or is refused in words."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qiskit
from packaging.version import Version
from qiskit.circuit import Clbit, ControlFlowOp, Gate, Parameter, QuantumCircuit
from qiskit.circuit.library import (
    AndGate,
    HalfAdderGate,
    HamiltonianGate,
    MCPhaseGate,
    MCXGate,
    PauliEvolutionGate,
    PhaseOracleGate,
    QFTGate,
    RXGate,
    StatePreparation,
    UCGate,
    UnitaryGate,
    WeightedSumGate,
)
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import Operator, SparseObservable, SparsePauliOp
from qiskit.synthesis import LieTrotter, QDrift

from prefect_qiskit_runtime.codec import _wire_circuit, decode, encode, fingerprint
from prefect_qiskit_runtime.errors import EncodingError

_spec = importlib.util.spec_from_file_location(
    "library_gates", Path(__file__).with_name("library_gates.py")
)
assert _spec is not None and _spec.loader is not None
library_gates = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(library_gates)

pytestmark = [
    # Some classes of the library are deprecated, and scipy converts the matrix of an evolution.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:splu converted"),
    pytest.mark.filterwarnings("ignore:spsolve"),
    pytest.mark.filterwarnings("ignore:Changing the sparsity structure"),
]

# Qiskit gives it no definition and transpiles it only among spare qubits.
REFUSED = frozenset({"WeightedSumGate"})
# Qiskit 2.6 makes it with the class of the modifier in place of a modifier; no Qiskit runs that.
MALFORMED = frozenset({("DiagonalGate", "annotated inverse")})
# Qiskit 2.3 has no definition of these, and cannot transpile them either.
if Version(qiskit.__version__) < Version("2.4"):
    MALFORMED |= {
        ("PauliEvolutionGate-4", form) for form in ("controlled", "open controlled", "annotated")
    }


@pytest.fixture(scope="module")
def instances() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return library_gates.instances()


def alone(operation: Any) -> QuantumCircuit:
    circuit = QuantumCircuit(operation.num_qubits, operation.num_clbits)
    circuit.append(operation, circuit.qubits, circuit.clbits)
    return circuit


def matrix(circuit: QuantumCircuit) -> Any:
    """Return the unitary of a circuit; None if it has none."""
    try:
        return Operator(circuit).data
    except (AttributeError, QiskitError):  # Qiskit looks for a definition of annotated ones
        return None


def formed(operation: Any, form: str) -> Any:
    """Return an operation in a form; None if it has no such form."""
    try:
        return library_gates.FORMS[form](operation)
    except (AttributeError, TypeError, QiskitError):
        return None


def in_a_body(circuit: QuantumCircuit) -> QuantumCircuit:
    around = QuantumCircuit(circuit.qubits, circuit.clbits, [Clbit()])
    around.if_test((around.clbits[-1], 1), circuit, around.qubits, circuit.clbits)
    return around


def body_of(circuit: QuantumCircuit) -> QuantumCircuit:
    operation = circuit.data[0].operation
    assert isinstance(operation, ControlFlowOp)
    return operation.blocks[0]


def require_equivalent(name: str, sent: QuantumCircuit, arrived: QuantumCircuit) -> None:
    expected = matrix(sent)
    if expected is None:
        assert arrived == sent, name
    else:
        np.testing.assert_allclose(matrix(arrived), expected, atol=1e-9, err_msg=name)


def test_every_class_of_the_library_is_built(instances):
    built = {name.partition("-")[0] for name in instances}

    assert built == {kind.__name__ for kind in library_gates.classes()}
    assert len(built) >= 100


@pytest.mark.parametrize("form", library_gates.FORMS)
def test_each_gate_of_the_library_arrives_equivalent_in_each_form(form, instances):
    tried = 0
    for name, operation in instances.items():
        kind = name.partition("-")[0]
        if kind in REFUSED or (name, form) in MALFORMED:
            continue
        changed = formed(operation, form)
        if changed is not None:
            circuit = alone(changed)
            require_equivalent(f"{name}, {form}", circuit, decode(encode(circuit)))
            tried += 1
    assert tried > 90


def test_each_gate_of_the_library_arrives_equivalent_in_a_body(instances):
    for name, operation in instances.items():
        if name.partition("-")[0] in REFUSED:
            continue
        circuit = alone(operation)
        arrived = body_of(decode(encode(in_a_body(circuit))))
        require_equivalent(name, circuit, arrived)


@pytest.mark.parametrize(
    "gate", [AndGate(2), HalfAdderGate(2), PhaseOracleGate("(a & b) | ~c"), QFTGate(3)]
)
def test_a_gate_in_the_definition_of_a_gate_arrives_equivalent(gate):
    circuit = alone(alone(gate).to_gate(label="around"))

    arrived = decode(encode(circuit))

    assert arrived.data[0].label == "around"
    assert Operator(arrived) == Operator(circuit)


@pytest.mark.parametrize(
    "gate",
    [
        StatePreparation([0.6, 0.8]).inverse(),
        UCGate([RXGate(0.3).to_matrix(), np.eye(2)]),
        AndGate(3, [1, 0, -1]),
    ],
)
def test_a_gate_that_qpy_changes_is_replaced_by_what_it_does(gate):
    circuit = alone(gate)

    arrived = decode(encode(circuit))

    assert Operator(arrived) == Operator(circuit)
    assert gate.name not in arrived.count_ops()


def test_gates_that_qpy_brings_through_stay_themselves():
    circuit = QuantumCircuit(3)
    circuit.append(QFTGate(3), range(3))
    circuit.append(UnitaryGate(np.eye(2)), [0])
    circuit.append(PauliEvolutionGate(SparsePauliOp(["XX", "ZI"]), 0.3), [0, 1])

    arrived = decode(encode(circuit))

    assert [type(each.operation) for each in arrived.data] == [
        QFTGate,
        UnitaryGate,
        PauliEvolutionGate,
    ]


def test_a_random_product_formula_is_drawn_when_it_is_sent():
    gate = PauliEvolutionGate(SparsePauliOp(["XX", "ZI"]), 0.3, synthesis=QDrift(reps=2))

    arrived = decode(encode(alone(gate)))

    assert "PauliEvolution" not in arrived.count_ops()
    assert Operator(arrived).is_unitary()


class QFTGateOfUser(Gate):
    """Another gate whose class has the name of one in Qiskit's library."""

    def __init__(self, num_qubits: int) -> None:
        super().__init__("mine", num_qubits, [])

    def _define(self) -> None:
        self.definition = QuantumCircuit(self.num_qubits)
        self.definition.sx(0)


QFTGateOfUser.__name__ = "QFTGate"


def test_a_users_gate_is_not_taken_for_the_gate_of_qiskit_with_that_class_name():
    circuit = alone(QFTGateOfUser(2))

    assert Operator(decode(encode(circuit))) == Operator(circuit)


def test_a_gate_without_a_definition_is_refused_before_it_is_sent():
    with pytest.raises(
        EncodingError,
        match=r"^Cannot encode \$\.circuit: .*'WeightedSum' of class WeightedSumGate cannot be "
        r"read back from QPY, .* transpile the circuit first\.$",
    ):
        encode({"circuit": alone(WeightedSumGate(2))})


def test_the_circuit_that_is_sent_is_not_changed():
    circuit, untouched = alone(AndGate(2)), alone(AndGate(2))

    encode(circuit)

    assert circuit == untouched
    assert type(circuit.data[0].operation) is AndGate


def test_an_evolution_by_a_users_function_arrives_as_what_it_does():
    def evolve(circuit: QuantumCircuit, term: Any, time: float) -> None:
        circuit.append(PauliEvolutionGate(term, time), circuit.qubits)
        circuit.z(0)

    formula = LieTrotter(atomic_evolution=evolve, atomic_evolution_sparse_observable=True)
    gate = PauliEvolutionGate(SparsePauliOp(["XX", "ZI"]), 0.3, synthesis=formula)
    circuit = QuantumCircuit(2)
    circuit.append(gate, [0, 1])

    arrived = decode(encode(circuit))

    assert Operator(arrived) == Operator(gate.definition)
    assert fingerprint(circuit) != fingerprint(
        alone(PauliEvolutionGate(SparsePauliOp(["XX", "ZI"]), 0.3, synthesis=LieTrotter()))
    )


def test_each_distinct_gate_is_written_once_to_see_what_becomes_of_it(monkeypatch):
    written = []
    monkeypatch.setattr(
        _wire_circuit._Carrier,
        "_comes_back",
        lambda _, operation: written.append(operation.name) or False,
    )
    circuit = QuantumCircuit(3)
    for _ in range(5):
        circuit.append(AndGate(2), range(3))
        circuit.append(QFTGate(3), range(3))

    encode(circuit)

    assert written == ["and"]


@pytest.mark.parametrize("gate", [MCXGate(3, ctrl_state=2), MCPhaseGate(0.3, 2, ctrl_state=0)])
def test_open_controls_are_unrolled_because_older_readers_would_close_them(gate):
    circuit = alone(gate)

    arrived = decode(encode(circuit))

    assert Operator(arrived) == Operator(circuit)
    assert all(
        each.operation.ctrl_state == 2**each.operation.num_ctrl_qubits - 1
        for each in arrived.data
        if type(each.operation) in (MCXGate, MCPhaseGate)
    )
    assert arrived.data[0].name == "x"


def test_an_evolution_by_a_sparse_observable_arrives_and_has_a_fingerprint():
    terms = SparseObservable.from_sparse_list([("XX", (0, 1), 0.5), ("Z", (0,), 1)], num_qubits=2)
    circuit = alone(PauliEvolutionGate(terms, 0.3))

    arrived = decode(encode(circuit))

    assert fingerprint(arrived) == fingerprint(circuit)
    assert Operator(arrived.decompose()) == Operator(circuit.decompose())


@pytest.mark.parametrize("qubits", [1, 2, 3])
def test_an_evolution_under_a_matrix_for_a_parameter_arrives_and_has_a_fingerprint(qubits):
    random = np.random.default_rng(qubits)
    matrix = random.normal(size=(2**qubits, 2**qubits)) @ np.diag([1, 1j] * 2 ** (qubits - 1))
    matrix = matrix + matrix.conj().T
    time = Parameter("t")
    circuit = QuantumCircuit(qubits)
    circuit.append(HamiltonianGate(matrix, 2 * time + 0.1), circuit.qubits)

    arrived = decode(encode(circuit))

    assert [each.name for each in arrived.data] == ["unitary", "PauliEvolution", "unitary"]
    expected = Operator(circuit.assign_parameters([0.37]))
    assert Operator(arrived.assign_parameters([0.37])) == expected
    other = QuantumCircuit(qubits)
    other.append(HamiltonianGate(2 * matrix, 2 * time + 0.1), other.qubits)
    assert fingerprint(circuit) == fingerprint(circuit.copy())
    assert fingerprint(circuit) != fingerprint(other)
