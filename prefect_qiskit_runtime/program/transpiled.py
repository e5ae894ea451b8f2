"""Transpiles PUBs for a backend, including their observables and parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import SparseObservable
from qiskit.transpiler.exceptions import TranspilerError

from prefect_qiskit_runtime.codec.delays import HeldDelays
from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program._flat import require_known_durations
from prefect_qiskit_runtime.program._genuine import ready_for_transpiler
from prefect_qiskit_runtime.program.isa import require_untimed_boxes

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

    from prefect_qiskit_runtime.program._simulated import SimulatedBackend

# The same circuit gets the same layout in every job.
_SEED = 0


def as_written(
    circuits: Sequence[QuantumCircuit],
    run: Callable[[list[QuantumCircuit]], Any],
    *,
    simulated: bool = False,
) -> list[QuantumCircuit]:
    """Transpile circuits so that each gate is what its definition says, not its name.

    Args:
        circuits: The circuits. They may have boxes, and delays with parameters, which transpilers
            refuse.
        run: Transpiles a list of circuits.
        simulated: Whether the device is simulated, so that it runs a delay of any length.

    Raises:
        InvalidInputError: A gate has no definition.
    """
    held = [HeldDelays(ready_for_transpiler(circuit), numbers=simulated) for circuit in circuits]
    transpiled = run([each.circuit for each in held])
    return [each.restored(circuit) for each, circuit in zip(held, transpiled, strict=True)]


class PubTranspiler:
    """Transpiles PUBs; the ideal simulator accepts circuits unchanged."""

    def __init__(
        self,
        backend: SimulatedBackend | None = None,
        *,
        level: int = 1,
        seed: int = _SEED,
        passes: Mapping[str, Any] | None = None,
        device: Mapping[str, Any] | None = None,
    ) -> None:
        """Create a transpiler.

        Args:
            backend: The backend to transpile for; None to use only `device`.
            level: The optimization level.
            seed: Seed of the transpiler.
            passes: Further arguments of `generate_preset_pass_manager`.
            device: `coupling_map` and `basis_gates` to assume for an ideal backend, or `target`.
        """
        self._backend = backend
        self._level = level
        self._seed = seed
        self._passes_given = dict(passes or {})
        self._device = dict(device or {})

    def transpiled(self, pub: Any) -> Any:
        """Return a PUB whose circuit is in the instruction set of the backend.

        Observables get the layout of the circuit: they act on the device qubits where its qubits
        end, with identities on all others.
        """
        if not (self._imitates_device or self._device):
            return pub
        if self._imitates_device:
            require_untimed_boxes(pub.circuit, self._name)
        circuit = self._transpiled(pub.circuit)
        values = bindings_for(circuit, pub)
        if isinstance(pub, SamplerPub):
            return SamplerPub(circuit, values, pub.shots)
        return EstimatorPub(circuit, _laid_out(pub.observables, circuit), values, pub.precision)

    def _transpiled(self, circuit: QuantumCircuit) -> QuantumCircuit:
        require_known_durations(circuit)
        try:
            simulated = self._backend is not None
            return as_written([circuit], self._passes.run, simulated=simulated)[0]
        except TranspilerError as exc:
            raise InvalidInputError(
                f"Circuit {circuit.name!r} cannot be transpiled for {self._name}: {exc.message}",
                rule="constructs that the device has",
            ) from exc

    @property
    def _name(self) -> str:
        return "its device" if self._backend is None else str(self._backend.name)

    def layout_of(self, pub: Any) -> list[int] | None:
        """Return the device qubit in which each qubit of the original circuit ends."""
        layout = pub.circuit.layout
        if layout is None:
            return None
        return [int(qubit) for qubit in layout.final_index_layout(filter_ancillas=True)]

    @property
    def _imitates_device(self) -> bool:
        return self._backend is not None and self._backend.imitates_device

    @cached_property
    def _passes(self) -> Any:
        from qiskit.transpiler import generate_preset_pass_manager

        target = {"backend": self._backend} if self._imitates_device else self._device
        return generate_preset_pass_manager(
            optimization_level=self._level,
            seed_transpiler=self._seed,
            **target,
            **self._passes_given,
        )


def bindings_for(circuit: QuantumCircuit, pub: Any) -> BindingsArray:
    """Return the parameter values of a PUB for a circuit derived from the PUB's circuit.

    They are matched by name: translation may drop parameters on which nothing depends.
    """
    parameters = list(circuit.parameters)
    if not parameters:
        return BindingsArray(shape=pub.parameter_values.shape)
    return BindingsArray(
        {tuple(p.name for p in parameters): pub.parameter_values.as_array(parameters)},
        shape=pub.parameter_values.shape,
    )


def _laid_out(observables: ObservablesArray, circuit: QuantumCircuit) -> ObservablesArray:
    terms = np.asarray(observables)
    moved = np.empty(terms.shape, dtype=object)
    for index, observable in np.ndenumerate(terms):
        moved[index] = SparseObservable.from_list(list(observable.items())).apply_layout(
            circuit.layout, circuit.num_qubits
        )
    return ObservablesArray(moved)
