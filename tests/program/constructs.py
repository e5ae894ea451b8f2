"""One small circuit for each construct, and the table of what runs where.

Run as a script, it writes `docs/reference/constructs.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import qiskit.circuit.library as gates
from qiskit.circuit import (
    AnnotatedOperation,
    BoxOp,
    ClassicalRegister,
    Clbit,
    ControlModifier,
    ForLoopOp,
    IfElseOp,
    Instruction,
    Parameter,
    QuantumCircuit,
    QuantumRegister,
    Qubit,
)
from qiskit.circuit.classical import expr, types
from qiskit.quantum_info import Clifford, Kraus, SparsePauliOp

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program import ProgramBackend
from prefect_qiskit_runtime.program.primitives import Request, run_estimator, run_sampler
from tests.program.quantum_programs import execute_item

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "constructs.md"
A = Parameter("a")
VALUE = 0.7
SHOTS = 400

Build = Callable[[QuantumCircuit], None]
CONSTRUCTS: dict[str, Build] = {}
REFUSED_BY_ALL = frozenset({"stretch", "arithmetic in expressions", "opaque gate"})
# Of the device's own instructions there are no such loops and no channels.
REFUSED_BY_DEVICES = frozenset({"for with break and continue", "while", "Kraus channel"})


def construct(name: str) -> Callable[[Build], Build]:
    def register(build: Build) -> Build:
        CONSTRUCTS[name] = build
        return build

    return register


def circuit_of(name: str) -> QuantumCircuit:
    """A circuit of two qubits and two bits with the construct, measured at the end."""
    circuit = QuantumCircuit(QuantumRegister(2, "q"), ClassicalRegister(2, "c0"))
    circuit.h(0)
    CONSTRUCTS[name](circuit)
    return circuit


def _gate(gate: Any) -> Build:
    return lambda circuit: circuit.append(gate, range(gate.num_qubits)) and None


def named(name: str, angle: Any = 0.4) -> Any:
    """A gate with a separate definition under a name."""
    circuit = QuantumCircuit(2, name=name, global_phase=0.3)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.ry(angle, 1)
    return circuit.to_gate()


for _name, _each in {
    "standard gate": gates.CXGate(),
    "standard gate with a parameter": gates.RXGate(A),
    "controlled rotation with a parameter": gates.CRYGate(A),
    "gate controlled on 0": gates.CXGate(ctrl_state=0),
    "gate of a user": named("bell"),
    "gate of a user with a parameter": named("bell", A),
    "gate of a user named like a standard one (cx)": named("cx"),
    "gate of a user named like one of the simulator (diagonal)": named("diagonal"),
    "gate of a user named like an instruction (measure)": named("measure"),
    "annotated operation": AnnotatedOperation(gates.SXGate(), [ControlModifier(1)]),
    "unitary matrix": gates.UnitaryGate(np.array([[0.6, 0.8], [-0.8, 0.6]])),
    "diagonal gate": gates.DiagonalGate([1, 1j]),
    "Pauli evolution with a parameter": gates.PauliEvolutionGate(SparsePauliOp(["XX", "ZI"]), A),
    "Clifford": Clifford.from_label("HS"),
    "permutation": gates.PermutationGate([1, 0]),
    "state preparation": gates.StatePreparation([0.6, 0.8j]),
    "global phase with a parameter": gates.GlobalPhaseGate(A),
}.items():
    CONSTRUCTS[_name] = _gate(_each)


@construct("initialize")
def _(circuit: QuantumCircuit) -> None:
    circuit.initialize([0.6, 0.8], 1)


@construct("reset")
def _(circuit: QuantumCircuit) -> None:
    circuit.reset(0)


@construct("barrier")
def _(circuit: QuantumCircuit) -> None:
    circuit.barrier()


@construct("delay in dt")
def _(circuit: QuantumCircuit) -> None:
    circuit.delay(160, 0, "dt")


@construct("measurement in the middle")
def _(circuit: QuantumCircuit) -> None:
    circuit.measure(0, 0)
    circuit.h(0)


@construct("instruction of a user with measurements")
def _(circuit: QuantumCircuit) -> None:
    inner = QuantumCircuit(1, 1, name="read")
    inner.measure(0, 0)
    circuit.append(inner.to_instruction(), [0], [0])


@construct("registers that share a bit, and a bit without register")
def _(circuit: QuantumCircuit) -> None:
    circuit.add_register(ClassicalRegister(name="shared", bits=[circuit.clbits[1]]))
    circuit.add_bits([Clbit()])
    circuit.measure(0, 2)


@construct("if on a bit")
def _(circuit: QuantumCircuit) -> None:
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)


@construct("if and else on a register")
def _(circuit: QuantumCircuit) -> None:
    circuit.measure(0, 0)
    with circuit.if_test((circuit.cregs[0], 1)) as otherwise:
        circuit.x(1)
    with otherwise:
        circuit.h(1)


@construct("if on an expression")
def _(circuit: QuantumCircuit) -> None:
    circuit.measure(0, 0)
    with circuit.if_test(expr.less(circuit.cregs[0], 1)):
        circuit.x(1)


@construct("parameter in a block")
def _(circuit: QuantumCircuit) -> None:
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.cry(A, 0, 1)


@construct("gate of a user in a block")
def _(circuit: QuantumCircuit) -> None:
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.append(named("cx", A), [0, 1])


@construct("block with bits that only it has")
def _(circuit: QuantumCircuit) -> None:
    inner = QuantumCircuit([Qubit(), Clbit()])
    inner.x(0)
    body = QuantumCircuit([Qubit(), Clbit()])
    body.append(IfElseOp((body.clbits[0], 1), inner), [0], [0])
    circuit.measure(0, 0)
    circuit.append(IfElseOp((circuit.clbits[1], 0), body), [1], [0])


@construct("for with a loop parameter")
def _(circuit: QuantumCircuit) -> None:
    step = Parameter("step")
    body = QuantumCircuit(2)
    body.crx(step * A, 0, 1)
    circuit.append(ForLoopOp(range(1, 3), step, body), [0, 1])


@construct("for with break and continue")
def _(circuit: QuantumCircuit) -> None:
    with circuit.for_loop(range(3)):
        circuit.h(0)
        circuit.measure(0, 0)
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.break_loop()
        circuit.continue_loop()


@construct("while")
def _(circuit: QuantumCircuit) -> None:
    circuit.measure(0, 0)
    with circuit.while_loop((circuit.clbits[0], 1)):
        circuit.h(0)
        circuit.measure(0, 0)


@construct("switch with a default")
def _(circuit: QuantumCircuit) -> None:
    circuit.measure(0, 0)
    with circuit.switch(circuit.cregs[0]) as case:
        with case(1):
            circuit.x(1)
        with case(case.DEFAULT):
            circuit.h(1)


@construct("nested blocks")
def _(circuit: QuantumCircuit) -> None:
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)), circuit.for_loop(range(2)), circuit.box():
        circuit.ry(A, 1)


@construct("box")
def _(circuit: QuantumCircuit) -> None:
    with circuit.box():
        circuit.cx(0, 1)


@construct("box with bits that only it has, and a branch on their register")
def _(circuit: QuantumCircuit) -> None:
    inner = QuantumCircuit([Qubit(), Clbit()])
    inner.x(0)
    body = QuantumCircuit([Qubit()], ClassicalRegister(2, "c0"))
    body.append(IfElseOp((body.cregs[0], 1), inner), [0], [0])
    circuit.measure(0, 1)
    circuit.append(BoxOp(body), [1], [1, 0])


@construct("number as a truth value")
def _(circuit: QuantumCircuit) -> None:
    circuit.measure(0, 1)
    with circuit.if_test(expr.cast(circuit.cregs[0], types.Bool())):
        circuit.x(1)


@construct("variable of type Uint")
def _(circuit: QuantumCircuit) -> None:
    number = circuit.add_var("number", expr.lift(2, types.Uint(3)))
    circuit.measure(0, 0)
    circuit.store(number, expr.bit_xor(number, expr.cast(circuit.cregs[0], types.Uint(3))))
    with circuit.if_test(expr.equal(number, 3)):
        circuit.x(1)


@construct("variable of type Bool")
def _(circuit: QuantumCircuit) -> None:
    flag = circuit.add_var("flag", False)
    circuit.measure(0, 0)
    circuit.store(flag, expr.logic_not(circuit.clbits[0]))
    with circuit.if_test(flag):
        circuit.x(1)


@construct("store into a bit")
def _(circuit: QuantumCircuit) -> None:
    circuit.measure(0, 0)
    circuit.store(circuit.clbits[1], expr.logic_not(circuit.clbits[0]))


@construct("Kraus channel")
def _(circuit: QuantumCircuit) -> None:
    channel = Kraus([np.sqrt(0.9) * np.eye(2), np.sqrt(0.1) * np.array([[0, 1], [1, 0]])])
    circuit.append(channel.to_instruction(), [0])


@construct("arithmetic in expressions")
def _(circuit: QuantumCircuit) -> None:
    number = circuit.add_var("number", expr.lift(2, types.Uint(3)))
    circuit.store(number, expr.add(number, 1))


@construct("stretch")
def _(circuit: QuantumCircuit) -> None:
    circuit.delay(circuit.add_stretch("wait"), 0)


@construct("opaque gate")
def _(circuit: QuantumCircuit) -> None:
    circuit.append(Instruction("cx", 2, 0, []), [0, 1])


# --- what runs -------------------------------------------------------------------------------


def _values(circuit: QuantumCircuit) -> list[float]:
    return [VALUE] * circuit.num_parameters


def sample(backend: ProgramBackend, circuit: QuantumCircuit) -> Any:
    """Run a circuit, measured at its end, through the sampler."""
    measured = circuit.copy()
    measured.measure([0, 1], [0, 1])
    pubs = [(measured, _values(circuit), SHOTS)]
    return run_sampler(backend, _request(backend, pubs))


def estimate(backend: ProgramBackend, circuit: QuantumCircuit, *, shots: int | None) -> Any:
    """Estimate with a circuit."""
    pubs = [(circuit, "ZZ", _values(circuit))]
    beside = {"options": {"default_shots": shots}} if shots else {}
    return run_estimator(backend, _request(backend, pubs, **beside))


def execute(backend: ProgramBackend, circuit: QuantumCircuit) -> Any:
    """Run a circuit, measured at its end, as the item of a quantum program."""
    measured = circuit.copy()
    measured.measure([0, 1], [0, 1])
    return execute_item(backend, measured, [_values(circuit)], shots=SHOTS)


def _request(backend: ProgramBackend, pubs: list[Any], **beside: Any) -> Request:
    inputs = {"pubs": pubs, "transpile": backend.imitates_device, **beside}
    return Request.read(inputs, unsupported_options="refuse")


WAYS: dict[str, tuple[str, Callable[[ProgramBackend, QuantumCircuit], Any]]] = {
    "sampler": ("aer_simulator", sample),
    "estimator, shots": ("aer_simulator", lambda b, c: estimate(b, c, shots=SHOTS)),
    "estimator, exact": ("aer_simulator", lambda b, c: estimate(b, c, shots=None)),
    "sampler, device": ("fake_manila", sample),
    "estimator, device": ("fake_manila", lambda b, c: estimate(b, c, shots=SHOTS)),
}


def outcome(backend: ProgramBackend, way: str, name: str) -> str:
    """Return "runs", or the rule by which a construct is refused."""
    try:
        WAYS[way][1](backend, circuit_of(name))
    except InvalidInputError as exc:
        return f"refused: {exc.rule}"
    return "runs"


def table() -> Iterator[str]:
    """Yield the lines of the table."""
    backends = {name: ProgramBackend.from_name(name) for name, _ in WAYS.values()}
    yield "| Construct | " + " | ".join(WAYS) + " |"
    yield "|---" * (len(WAYS) + 1) + "|"
    for name in CONSTRUCTS:
        cells = [outcome(backends[WAYS[way][0]], way, name) for way in WAYS]
        yield f"| {name} | " + " | ".join(cells) + " |"


def page() -> str:
    """Return the page of the docs."""
    text = PAGE.read_text() if PAGE.exists() else ""
    head, mark, _ = text.partition("<!-- table -->\n")
    return head + (mark or "<!-- table -->\n") + "\n" + "\n".join(table()) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE}\n")
