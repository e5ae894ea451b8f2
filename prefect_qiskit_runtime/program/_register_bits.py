"""Measured bits of one circuit for many sets of parameter values, shot by shot.

A circuit that measures all qubits of a large device is far too wide to simulate as a whole. But
its qubits often form parts that no gate connects. The outcomes of these parts are independent, so
each part is simulated separately. The noise of the backends acts on the qubits of a gate, so it
does not connect parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from prefect_qiskit_runtime.program._compile import has_flow
from prefect_qiskit_runtime.program._methods import methods_of
from prefect_qiskit_runtime.program._seeds import SeedSource
from prefect_qiskit_runtime.program._verdict import require_success

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qiskit.circuit import QuantumCircuit

    from prefect_qiskit_runtime.program._simulated import SimulatedBackend

# Parts are combined up to this many qubits: this costs less than more simulations.
_PACKED_QUBITS = 4

# Shots that run at a time: the simulator stores each outcome as text of about 100 bytes.
CHUNK_SHOTS = 2**20


class RegisterSampler:
    """Samples one circuit.

    Attributes:
        methods: The methods by which it has been simulated so far.

    The simulator binds the parameters, for all sets of values at once: binding a twirled circuit
    in Python takes longer than simulating it.
    """

    def __init__(self, backend: SimulatedBackend, circuit: QuantumCircuit) -> None:
        """Create a sampler.

        Args:
            backend: The backend to run on.
            circuit: A circuit in the instruction set of the backend.
        """
        self._backend = backend
        self._circuit = circuit
        self._parts = independent_parts(backend.compiler.compiled(circuit))
        self.methods: set[str] = set()

    def sample_in_chunks(
        self, values: NDArray[np.float64], *, shots: int, seed: int
    ) -> dict[str, NDArray[np.bool_]]:
        """Run the circuit like `sample`, but a few rows at a time if there are very many shots."""
        rows = max(1, CHUNK_SHOTS // shots)
        if len(values) <= rows:
            return self.sample(values, shots=shots, seed=seed)
        seeds = SeedSource(seed)
        parts = [
            self.sample(values[start : start + rows], shots=shots, seed=seeds.draw())
            for start in range(0, len(values), rows)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def sample(
        self, values: NDArray[np.float64], *, shots: int, seed: int
    ) -> dict[str, NDArray[np.bool_]]:
        """Run the circuit.

        Args:
            values: 2D array, each row a set of values for the circuit's parameters.
            shots: Shots of each row.
            seed: Seed of the samples.

        Returns:
            For each classical register an array (row, shot, bit).
        """
        rows, width = len(values), self._circuit.num_clbits
        bits = np.zeros((rows, shots, width), dtype=bool)
        if bits.size:
            self._fill(bits, values, seed)
        find = self._circuit.find_bit
        return {
            register.name: bits[:, :, [find(bit).index for bit in register]]
            for register in self._circuit.cregs
        }

    def _fill(self, bits: NDArray[np.bool_], values: NDArray[np.float64], seed: int) -> None:
        """Run the circuit and add the bits that it measured."""
        rows, shots, width = bits.shape
        circuits, binds = self._bound(values)
        # One call for all parts: each call builds the noise again, 2 s for a 127-qubit device.
        result = self._backend.run(
            circuits,
            shots=shots,
            memory=True,
            seed_simulator=seed,
            **({"parameter_binds": binds} if any(binds) else {}),
        ).result()
        require_success(result)
        self.methods |= methods_of(result)
        self._backend.record_methods(self.methods)
        for index in range(rows * len(self._parts)):
            # The simulator returns no outcomes of a part that measures nothing.
            if (memory := result.data(index).get("memory")) is not None:
                bits[index % rows] |= _read(memory, width)

    def _bound(
        self, values: NDArray[np.float64]
    ) -> tuple[list[QuantumCircuit], list[dict[Any, list[float]]]]:
        """Return the circuits to run, and for each the values of all rows or nothing."""
        place = {parameter: index for index, parameter in enumerate(self._circuit.parameters)}
        circuits: list[QuantumCircuit] = []
        binds: list[dict[Any, list[float]]] = []
        for part in self._parts:
            columns = {
                parameter: values[:, place[parameter]].tolist() for parameter in part.parameters
            }
            copies = 1 if columns else len(values)
            circuits += [part] * copies
            binds += [columns] * copies
        return circuits, binds


def _read(memory: list[str], width: int) -> NDArray[np.bool_]:
    """Read outcomes in hexadecimal: an array (shot, bit)."""
    num_bytes = (width + 7) // 8
    packed = b"".join(int(outcome, 16).to_bytes(num_bytes, "little") for outcome in memory)
    table = np.frombuffer(packed, dtype=np.uint8).reshape(len(memory), num_bytes)
    return np.unpackbits(table, axis=1, count=width, bitorder="little").astype(bool)


def independent_parts(circuit: QuantumCircuit) -> list[QuantumCircuit]:
    """Return circuits of the same width whose outcomes are independent of each other.

    Together they have all instructions of the circuit except barriers. A circuit in which bits
    control gates is not divided.
    """
    if has_flow(circuit):
        return [circuit]
    groups = _packed(_connected(circuit))
    if len(groups) <= 1:  # none in a circuit without instructions
        return [circuit]
    home = {qubit: index for index, group in enumerate(groups) for qubit in group}
    parts = [circuit.copy_empty_like() for _ in groups]
    for instruction in circuit.data:
        operation: Any = instruction.operation
        if operation.name == "barrier" or not instruction.qubits:
            continue
        parts[home[circuit.find_bit(instruction.qubits[0]).index]].append(instruction)
    return parts


def _connected(circuit: QuantumCircuit) -> list[list[int]]:
    """Return groups of qubits connected by instructions or a bit; idle qubits are left out."""
    parent: dict[int, int] = {}
    reader: dict[Any, int] = {}

    def root(qubit: int) -> int:
        while parent[qubit] != qubit:
            parent[qubit] = parent[parent[qubit]]
            qubit = parent[qubit]
        return qubit

    for instruction in circuit.data:
        if instruction.operation.name == "barrier":
            continue
        qubits = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
        for qubit in qubits:
            parent.setdefault(qubit, qubit)
        # If two measurements write one bit, the later one wins, so they must stay together.
        written = [reader.setdefault(bit, qubits[0]) for bit in instruction.clbits]
        for qubit in (*qubits[1:], *written):
            parent[root(qubit)] = root(qubits[0])
    groups: dict[int, list[int]] = {}
    for qubit in parent:
        groups.setdefault(root(qubit), []).append(qubit)
    return list(groups.values())


def _packed(groups: list[list[int]]) -> list[list[int]]:
    """Combine small groups, largest first."""
    packed: list[list[int]] = []
    for group in sorted(groups, key=len, reverse=True):
        if packed and len(packed[-1]) + len(group) <= _PACKED_QUBITS:
            packed[-1] = packed[-1] + group
        else:
            packed.append(list(group))
    return packed
