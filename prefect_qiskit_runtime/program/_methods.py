"""The simulation method of each circuit: which one is used, and the circuit in its gates.

The simulator's own choice is kept wherever it works. It uses state vectors for all circuits with
other than its Clifford gates, and fails if memory does not hold them. Such circuits are simulated
as stabilizer states, if their gates are other Clifford gates, or as matrix product states.
"""

from __future__ import annotations

import logging
import math
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qiskit.providers import JobStatus, JobV1

from prefect_qiskit_runtime.codec.circuit_walk import blocks_of, walk
from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program._compile import CircuitCompiler, bound_one_by_one
from prefect_qiskit_runtime.program._flat import FLOW_NAMES
from prefect_qiskit_runtime.program._verdict import (
    LIMIT_ADVICE,
    in_words,
    largest_state,
    state_vector_mb,
)

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

logger = logging.getLogger("prefect_qiskit_runtime.primitives")

MPS, STABILIZER = "matrix_product_state", "stabilizer"
# Methods with fewer gates than the simulator lists without a method.
_WITH_OWN_GATES = frozenset({MPS, STABILIZER, "density_matrix", "extended_stabilizer"})
# Gates that at most double the dimension of the bonds they cross; other ones may quadruple it.
_DOUBLING = frozenset(
    {
        "cx", "cy", "cz", "ch", "cp", "cs", "csdg", "csx", "cu", "cu1", "cu3", "crx", "cry", "crz",
        "ecr", "rxx", "ryy", "rzz", "rzx",
    }
)  # fmt: skip
_NO_OPERATIONS = frozenset({"barrier", *FLOW_NAMES})
_PRODUCTS = frozenset({"pauli", "delay", "measure", "reset"})
# Gates that a method lists, and runs with multiples of a quarter turn only.
_QUARTER_TURNS_ONLY = {"extended_stabilizer": frozenset({"rz"})}
_SAVED_VALUES = frozenset({"save_expval", "save_expval_var"})
# Bonds up to this dimension are simulated without a limit: 60 qubits then take at most 2 GiB. The
# time grows with its cube, so with more the job might never end.
_LARGEST_BOND_EXPONENT = 10


def memory_mb_of(options: Mapping[str, Any]) -> int:
    """Return the memory in MiB that the simulator uses for a state: by default the machine's."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    return options.get("max_memory_mb") or machine


def largest_state_vector(options: Mapping[str, Any]) -> int:
    """Return the number of qubits whose state vector fits in memory."""
    return largest_state(memory_mb_of(options))


@dataclass(frozen=True)
class _Plan:
    """A circuit in the gates of its method; None lets the simulator choose."""

    method: str | None
    circuit: QuantumCircuit


class Methods:
    """Starts circuits on a simulator, each with its method."""

    def __init__(self, simulator: Any) -> None:
        """Create them for a simulator of Aer."""
        self._simulator = simulator
        self._simulators: dict[str, Any] = {}
        self._compilers: dict[str, CircuitCompiler] = {}
        self._has_noted = False

    def start(
        self, circuits: list[QuantumCircuit], options: Mapping[str, Any], *, keeps_binds: bool
    ) -> Any:
        """Start compiled circuits.

        Args:
            circuits: The circuits.
            options: Options of the run, as the simulator has them.
            keeps_binds: Whether the simulator binds the parameters correctly.

        Returns:
            A job of Qiskit.

        Raises:
            InvalidInputError: The method does not support a circuit or its noise, or the device is
                missing.
        """
        options = dict(options)
        method = options.get("method", "automatic")
        self._require_device(options)
        largest = largest_state_vector(options)
        is_special = method in _WITH_OWN_GATES or (
            method == "automatic" and any(_is_wider(each, largest) for each in circuits)
        )
        if options.get("parameter_binds") and (is_special or not keeps_binds):
            circuits = bound_one_by_one(circuits, options.pop("parameter_binds"))
        if not is_special:
            return self._simulator.run(circuits, **options)
        plans = [self._plan(circuit, method, options, largest) for circuit in circuits]
        return self._start_each(plans, options)

    def _start_each(self, plans: list[_Plan], options: dict[str, Any]) -> Any:
        """Start the circuits of each method together."""
        groups: dict[str | None, list[int]] = {}
        for index, plan in enumerate(plans):
            groups.setdefault(plan.method, []).append(index)
        jobs = []
        for number, (method, indices) in enumerate(groups.items()):
            own = dict(options)
            if method is not None:
                own |= {"method": method, "device": "CPU"}
            if number and own.get("seed_simulator") is not None:
                # Circuits with one seed would have equal random numbers.
                own["seed_simulator"] = _derived_seed(own["seed_simulator"], number)
            circuits = [plans[index].circuit for index in indices]
            jobs.append((self._simulator.run(circuits, **own), indices))
        return jobs[0][0] if len(jobs) == 1 else _GroupedJob(self._simulator, jobs)

    def _plan(
        self, circuit: QuantumCircuit, method: str, options: Mapping[str, Any], largest: int
    ) -> _Plan:
        noise = self._noise(options)
        if method != "automatic":
            # The options name it already, with the device.
            return _Plan(None, self._form(circuit, method, noise))
        if not _is_wider(circuit, largest) or _saves_amplitudes(circuit):
            return _Plan(None, circuit)
        clifford = self._clifford_form(circuit, noise)
        if not clifford.misfits:
            return _Plan(STABILIZER, clifford.circuit)
        self._require_few_bonds(circuit, options)
        self._note(circuit, options)
        return _Plan(MPS, self._form(circuit, MPS, noise))

    def _form(self, circuit: QuantumCircuit, method: str, noise: Any) -> QuantumCircuit:
        """Return a circuit in the gates of a method.

        With noise it is unchanged, because noise belongs to the names of gates.
        """
        if method == STABILIZER:
            form = self._clifford_form(circuit, noise)
            if form.misfits:
                raise _unsupported(circuit, method, form.misfits)
            return form.circuit
        if not self._has_noise(noise):
            return self._compiler(method).compiled(circuit)
        misfits = {visit.name for visit in walk(circuit)} - self._operations(method)
        if misfits:
            raise _unsupported(circuit, method, sorted(misfits))
        return circuit

    def _clifford_form(self, circuit: QuantumCircuit, noise: Any) -> _CliffordForm:
        known, has_noise = self._operations(STABILIZER), self._has_noise(noise)
        form = _CliffordForm(circuit, known, translate=not has_noise)
        if has_noise and not form.misfits:
            form.misfits += [f"{name} in its noise" for name in sorted(_noise_names(noise) - known)]
        return form

    def _noise(self, options: Mapping[str, Any]) -> Any:
        return options.get("noise_model") or self._simulator.options.noise_model

    @staticmethod
    def _has_noise(noise: Any) -> bool:
        return noise is not None and not noise.is_ideal()

    def _compiler(self, method: str) -> CircuitCompiler:
        if method not in self._compilers:
            self._compilers[method] = CircuitCompiler(
                self._simulator_of(method), without=_QUARTER_TURNS_ONLY.get(method, frozenset())
            )
        return self._compilers[method]

    def _operations(self, method: str) -> frozenset[str]:
        return frozenset(self._simulator_of(method).operation_names) | _NO_OPERATIONS

    def _simulator_of(self, method: str) -> Any:
        if method not in self._simulators:
            self._simulators[method] = type(self._simulator)(method=method)
        return self._simulators[method]

    def _require_device(self, options: Mapping[str, Any]) -> None:
        asked = options.get("device", "CPU")
        if asked == "CPU":
            return
        there = self._simulator.available_devices()
        if asked not in there:
            raise InvalidInputError(
                f"device {asked!r} is not available: the simulator of this environment (image) "
                f"computes on {', '.join(there)}. Leave device out; a GPU needs qiskit-aer-gpu in "
                "the image, and NVIDIA's driver on the machine of the service.",
                path="$.options.simulator.device",
                rule=f"device: {', '.join(there)}",
            )

    def _require_few_bonds(self, circuit: QuantumCircuit, options: Mapping[str, Any]) -> None:
        limit = options.get("matrix_product_state_max_bond_dimension")
        exponent = bond_exponent(circuit)
        if limit is not None or exponent <= _LARGEST_BOND_EXPONENT:
            return
        raise InvalidInputError(
            f"The simulator did not run the circuit {circuit.name!r}: "
            f"{too_wide(len(active_qubits(circuit)), options)}. It has other than Clifford gates, "
            f"and as a matrix product state it may need a bond dimension of 2**{exponent}, more "
            f"than the 2**{_LARGEST_BOND_EXPONENT} that are simulated without a limit. "
            f"{LIMIT_ADVICE}",
            rule="circuits fit in memory",
        )

    def _note(self, circuit: QuantumCircuit, options: Mapping[str, Any]) -> None:
        if self._has_noted:  # loops run many circuits
            return
        self._has_noted = True
        logger.warning(
            "Circuit %r is simulated as a matrix product state, because %s.",
            circuit.name,
            too_wide(len(active_qubits(circuit)), options),
        )


def too_wide(width: int, options: Mapping[str, Any]) -> str:
    """Return why no state vector is used, in words."""
    return (
        f"a state vector of {width} qubits needs {in_words(state_vector_mb(width))}, and "
        f"{in_words(memory_mb_of(options))} are available"
    )


class _CliffordForm:
    """A circuit in the gates of the stabilizer method.

    Attributes:
        circuit: The circuit; only usable without misfits.
        misfits: Names of operations that have no such form.
    """

    def __init__(self, circuit: QuantumCircuit, known: frozenset[str], *, translate: bool) -> None:
        self._known = known
        self._translates = translate
        # With the operation itself, so that its id is not given to another one.
        self._parts: dict[Any, tuple[Any, QuantumCircuit | None]] = {}
        self.misfits: list[str] = []
        if all(map(self._is_ready, circuit.data)):
            self.circuit = circuit
        else:
            self.circuit = self._translated(circuit)

    def _is_ready(self, instruction: Any) -> bool:
        operation = instruction.operation
        if blocks := blocks_of(operation):
            return all(self._is_ready(each) for block in blocks for each in block.data)
        return operation.name in self._known and (
            operation.name != "rz" or _is_quarter_turn(operation.params[0])
        )

    def _translated(self, circuit: QuantumCircuit) -> QuantumCircuit:
        translated: Any = circuit.copy_empty_like()
        for instruction in circuit.data:
            if self._is_ready(instruction):
                translated._append(instruction)
                continue
            part = self._part(instruction.operation) if self._translates else None
            if part is None:
                if instruction.operation.name not in self.misfits:
                    self.misfits.append(instruction.operation.name)
                continue
            place = dict(zip(part.qubits, instruction.qubits, strict=True))
            for each in part.data:
                translated._append(each.replace(qubits=[place[bit] for bit in each.qubits]))
        return translated

    def _part(self, operation: Any) -> QuantumCircuit | None:
        """Return a gate in Clifford gates, up to a phase; None if it is not a Clifford gate."""
        try:
            key: Any = (operation.name, tuple(map(float, operation.params)))
        except (TypeError, ValueError):  # a matrix or a definition
            key = id(operation)
        if key not in self._parts:
            self._parts[key] = operation, _in_clifford_gates(operation)
        return self._parts[key][1]


def _in_clifford_gates(operation: Any) -> QuantumCircuit | None:
    from qiskit.circuit import Gate
    from qiskit.exceptions import QiskitError
    from qiskit.quantum_info import Clifford, Operator

    if not isinstance(operation, Gate) or operation.num_qubits > 3:
        return None
    try:
        return Clifford.from_matrix(np.asarray(Operator(operation).data)).to_circuit()
    except QiskitError:
        return None


def _is_quarter_turn(angle: Any) -> bool:
    turns = float(angle) / (math.pi / 2)
    return abs(turns - round(turns)) < 1e-12


class _GroupedJob(JobV1):
    """Jobs of the simulator for the circuits of one call."""

    def __init__(self, simulator: Any, jobs: Sequence[tuple[Any, list[int]]]) -> None:
        """Wrap jobs, each with the places of its circuits in the call."""
        super().__init__(simulator, str(uuid.uuid4()))
        self._jobs = jobs

    def submit(self) -> None:
        """Do nothing: the simulator has started."""

    def status(self) -> Any:
        """Return the status of the first job that has not succeeded."""
        states = [job.status() for job, _ in self._jobs]
        return next((state for state in states if state is not JobStatus.DONE), JobStatus.DONE)

    def cancel(self) -> Any:
        """Cancel the simulations that wait."""
        cancelled = [job.cancel() for job, _ in self._jobs]
        return any(cancelled)

    def result(self, timeout: float | None = None) -> Any:
        """Wait for all simulations and return one result."""
        results = [job.result(timeout=timeout) for job, _ in self._jobs]
        placed = {
            place: experiment
            for (_, places), result in zip(self._jobs, results, strict=True)
            for place, experiment in zip(places, result.results, strict=True)
        }
        whole = next((result for result in results if not result.success), results[0])
        whole.results = [placed[place] for place in sorted(placed)]
        return whole


def methods_of(result: Any) -> set[str]:
    """Return the methods by which the circuits of a result were simulated."""
    return {
        method
        for experiment in result.results
        if (method := (getattr(experiment, "metadata", None) or {}).get("method"))
    }


def active_qubits(circuit: QuantumCircuit) -> set[int]:
    """Return the qubits with an operation; the simulator leaves out all others."""
    return {
        circuit.find_bit(qubit).index
        for instruction in circuit.data
        if instruction.operation.name not in _NO_OPERATIONS
        for qubit in instruction.qubits
    }


def bond_exponent(circuit: QuantumCircuit) -> int:
    """Return n where 2**n bounds the dimension of the bonds of its matrix product state.

    The bound holds for bonds between neighbours in the order of the circuit's qubits, and counts
    the body of a loop once.
    """
    order = {qubit: place for place, qubit in enumerate(sorted(active_qubits(circuit)))}
    steps = np.zeros(len(order) + 1, dtype=int)
    for visit in walk(circuit):
        if len(visit.instruction.qubits) < 2 or not _entangles(visit.name, visit.operation):
            continue
        places = sorted(order[qubit] for qubit in visit.qubits)
        growth = 1 if visit.name in _DOUBLING else 2
        for left, place in enumerate(places[:-1], 1):
            factor = growth * min(left, len(places) - left)
            steps[place] += factor
            steps[places[left]] -= factor
    crossings = np.cumsum(steps)[:-2] if len(order) > 1 else np.zeros(1, dtype=int)
    widths = np.arange(1, len(crossings) + 1)
    return int(np.minimum(crossings, np.minimum(widths, len(order) - widths)).max(initial=0))


def _saves_amplitudes(circuit: QuantumCircuit) -> bool:
    """Return whether the result contains a number for each amplitude or the like."""
    return any(
        name.startswith(("save_", "set_")) and name not in _SAVED_VALUES
        for name in circuit.count_ops()
    )


def _entangles(name: str, operation: Any) -> bool:
    if name in _NO_OPERATIONS or name in _PRODUCTS or name.startswith("save_"):
        return False
    return not blocks_of(operation)


def _is_wider(circuit: QuantumCircuit, largest: int) -> bool:
    return circuit.num_qubits > largest and len(active_qubits(circuit)) > largest


def _noise_names(noise: Any) -> set[str]:
    """Return the names of the operations that a noise model adds to circuits."""
    errors: Iterable[Mapping[str, Any]] = noise.to_dict()["errors"]
    return {
        operation["name"]
        for error in errors
        if error["type"] == "qerror"
        for operations in error["instructions"]
        for operation in operations
    }


def _derived_seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0] >> 1)


def _unsupported(circuit: QuantumCircuit, method: str, names: Sequence[str]) -> InvalidInputError:
    kind = "only Clifford gates and Clifford noise" if method == STABILIZER else "other operations"
    return InvalidInputError(
        f"The simulation method {method!r} runs {kind}, and circuit {circuit.name!r} has "
        f"{', '.join(names)}. Choose another method: 'automatic' or 'statevector', or "
        "'matrix_product_state' for a wide circuit with little entanglement.",
        path="$.options.simulator.method",
        rule=f"operations that the method {method} simulates",
    )
