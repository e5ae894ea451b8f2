"""Noise models that clients send: which gates have noise, and circuits in those gates.

The simulator adds an error where the name (or label) and the qubits of an instruction are those of
the error. A circuit in other gates runs without noise and without an error.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefect_qiskit_runtime.codec.circuit_walk import blocks_of, walk
from prefect_qiskit_runtime.codec.noise_models import read_noise_model
from prefect_qiskit_runtime.program._flat import FLOW_NAMES

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

    from prefect_qiskit_runtime.program._simulated import SimulatedBackend

logger = logging.getLogger("prefect_qiskit_runtime.primitives")

# Errors of these are not errors of gates.
_NOT_GATES = frozenset({"measure", "reset", "delay", "barrier", "initialize", *FLOW_NAMES})


@dataclass(frozen=True)
class NoiseOfJob:
    """The gates that have noise in the noise model of a job.

    Attributes:
        everywhere: Names (or labels) of gates that have noise on all qubits.
        local: Names with the qubits on which they have noise.
        basis: Gates to which circuits are transpiled; empty if no gate has noise.
    """

    everywhere: frozenset[str] = frozenset()
    local: frozenset[tuple[str, tuple[int, ...]]] = frozenset()
    basis: tuple[str, ...] = ()

    @classmethod
    def use(cls, backend: SimulatedBackend, given: Any) -> NoiseOfJob:
        """Replace the noise of a backend by a noise model, if one is given.

        Args:
            backend: The backend.
            given: A NoiseModel, or the dict from its `to_dict`; None changes nothing.
        """
        if given is None:
            return cls()
        model: Any = read_noise_model(given) if isinstance(given, Mapping) else given
        described = given if isinstance(given, Mapping) else model.to_dict()
        backend.set_options(noise_model=model)
        return cls._read(described, model.basis_gates)

    @classmethod
    def _read(cls, described: Mapping[str, Any], basis: list[str]) -> NoiseOfJob:
        everywhere: set[str] = set()
        local: set[tuple[str, tuple[int, ...]]] = set()
        for error in described.get("errors", ()):
            names = frozenset(error.get("operations", ())) - _NOT_GATES
            if "gate_qubits" in error:
                places = [tuple(qubits) for qubits in error["gate_qubits"]]
                local |= {(name, place) for name in names for place in places}
            else:
                everywhere |= names
        noisy = everywhere | {name for name, _ in local}
        return cls(frozenset(everywhere), frozenset(local), _basis(noisy, basis))

    def device_for(self, backend: SimulatedBackend) -> dict[str, Any]:
        """Return what a transpiler assumes for an ideal backend with this noise."""
        if backend.imitates_device or not self.basis:
            return {}
        return {"basis_gates": list(self.basis)}

    def is_on_marked_gates(self, backend: SimulatedBackend, circuit: QuantumCircuit) -> bool:
        """Return whether gates of a circuit have noise by a label or a name outside the basis.

        Transpiled to the basis, they would lose that noise. A device takes only its own gates.
        """
        marks = self._noisy - set(self.basis)
        return (
            bool(marks)
            and not backend.imitates_device
            and any(
                not marks.isdisjoint({visit.name, getattr(visit.operation, "label", None)})
                for visit in walk(circuit, definitions=True)
            )
        )

    @property
    def _noisy(self) -> frozenset[str]:
        return self.everywhere | {name for name, _ in self.local}

    def notes_on(self, backend: SimulatedBackend, circuit: QuantumCircuit, name: str) -> list[str]:
        """Return, and log, that no gate of a circuit has noise although other gates have.

        Args:
            backend: The backend to run on.
            circuit: The circuit.
            name: Name of the circuit or its PUB in the job.
        """
        if not self.basis:
            return []
        seen: set[str] = set()
        for visit in walk(backend.compiler.compiled(circuit)):
            operation = visit.operation
            names = {visit.name, getattr(operation, "label", None) or visit.name}
            if visit.name in _NOT_GATES or not operation.num_qubits or blocks_of(operation):
                continue
            place = tuple(
                visit.place.qubits[visit.circuit.find_bit(qubit).index]
                for qubit in visit.instruction.qubits
            )
            if names & self.everywhere or any((each, place) in self.local for each in names):
                return []
            seen.add(visit.name)
        if not seen:
            return []
        noisy = sorted(self._noisy)
        note = (
            f"No gate of circuit {circuit.name!r} ({', '.join(sorted(seen))}) has noise: "
            f"simulator.noise_model has errors of {', '.join(noisy)} only, by name and qubits."
        )
        if not backend.imitates_device:
            note += " Transpile the circuit to these gates, or submit it with transpile=True."
        logger.warning("%s: %s", name, note)
        return [note]


def _basis(noisy: set[str], basis: list[str]) -> tuple[str, ...]:
    """Return the gates of a model's basis in which circuits get noise.

    Every model has `cx` in its basis unless its author says otherwise. If another gate on two
    qubits has noise and `cx` has none, circuits in `cx` would have none either.
    """
    from qiskit.circuit.library.standard_gates import get_standard_gate_name_mapping

    known = get_standard_gate_name_mapping()
    if not noisy:
        return ()
    # Others in a basis, such as control flow, are not gates that a transpiler chooses from.
    gates = [name for name in basis if name in known and name not in _NOT_GATES]
    wide = {name for name in gates if known[name].num_qubits == 2}
    quiet = wide - noisy if wide & noisy else set()
    return tuple(name for name in gates if name not in quiet)
