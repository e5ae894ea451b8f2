"""The primitives in the form that clients before 2024 request and read.

One call has lists of circuits, parameter values and observables that belong together one by one.
The answer is a mapping: `quasi_dists` or `values`, and `metadata` with one mapping for each.
Equal circuits of a call run together, since a gradient sends the same circuit for each parameter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit.primitives import BitArray
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program._backend import ProgramBackend
from prefect_qiskit_runtime.program._compile import is_same
from prefect_qiskit_runtime.program._exact_sampling import exact_probabilities
from prefect_qiskit_runtime.program._noise import NoiseOfJob
from prefect_qiskit_runtime.program._request import handle_unsupported, naming
from prefect_qiskit_runtime.program.isa import require_isa, require_registers
from prefect_qiskit_runtime.program.legacy.options import Transpilation, read_legacy_options
from prefect_qiskit_runtime.program.primitive_options import PrimitiveOptions
from prefect_qiskit_runtime.program.transpiled import PubTranspiler

# Inputs besides the settings; `parameters` are the parameters of the circuits, in their order.
_LISTS = (
    "circuits", "circuit_indices", "observables", "observable_indices", "parameters",
    "parameter_values",
)  # fmt: skip


@dataclass(frozen=True)
class _Call:
    """One call of a primitive, with lists of equal length."""

    circuits: Sequence[QuantumCircuit]
    observables: Sequence[Any]
    values: Sequence[Sequence[float]]
    options: PrimitiveOptions
    transpilation: Transpilation

    @classmethod
    def read(cls, inputs: Mapping[str, Any], *, unsupported_options: str) -> _Call:
        settings = {name: value for name, value in inputs.items() if name not in _LISTS}
        options, transpilation = read_legacy_options(settings)
        handle_unsupported(options, unsupported_options)
        circuits = _chosen(inputs, "circuits", "circuit_indices")
        observables = _chosen(inputs, "observables", "observable_indices")
        values = inputs.get("parameter_values") or [[]] * len(circuits)
        lists = {"circuits": circuits, "observables": observables, "parameter_values": values}
        if "observables" not in inputs:
            del lists["observables"]
        _check_parallel(lists)
        call = cls(circuits, observables, values, options, transpilation)
        for index in range(len(circuits)):
            with naming("$.circuits", index):
                call._check(index)
        return call

    def _check(self, index: int) -> None:
        circuit, values = self.circuits[index], self.values[index]
        if not isinstance(circuit, QuantumCircuit):
            raise InvalidInputError(f"it is not a circuit, but {type(circuit).__name__}.")
        if len(values) != circuit.num_parameters:
            raise InvalidInputError(
                f"parameter_values[{index}] has {len(values)} numbers, the circuit "
                f"{circuit.num_parameters} parameters."
            )

    def experiments(self) -> Iterator[list[int]]:
        """Yield the positions that have the same circuit."""
        kinds: dict[tuple[int, int, int], list[list[int]]] = {}
        for index, circuit in enumerate(self.circuits):
            kind = (circuit.num_qubits, circuit.num_clbits, len(circuit.data))
            groups = kinds.setdefault(kind, [])
            for group in groups:
                if is_same(self.circuits[group[0]], circuit):
                    group.append(index)
                    break
            else:
                groups.append([index])
        for groups in kinds.values():
            yield from groups

    def table(self, group: list[int]) -> Any:
        """Return the parameter values of a group: 2D array, each row one set."""
        return np.array([self.values[index] for index in group], dtype=float)


def run_legacy_sampler(
    backend: ProgramBackend, inputs: Mapping[str, Any], *, unsupported_options: str = "record"
) -> dict[str, Any]:
    """Sample circuits; without shots, the ideal backend gives exact probabilities.

    Raises:
        InvalidInputError: A circuit or a setting breaks a rule; the message names it.
    """
    call = _Call.read(inputs, unsupported_options=unsupported_options)
    noise = NoiseOfJob.use(backend, call.options.noise_model)
    distributions: list[dict[str, float]] = [{}] * len(call.circuits)
    metadata: list[dict[str, Any]] = [{}] * len(call.circuits)
    sampler = backend.sampler(shots=call.options.shots, seed=call.options.seed)
    for group, pub in _planned(backend, call, noise, _sampler_pub):
        with naming("$.circuits", group[0]):
            if call.options.shots is None and backend.is_ideal:
                table = pub.parameter_values.as_array(pub.circuit.parameters)
                found = exact_probabilities(backend, pub.circuit, table)
                how: dict[str, Any] = {"path": "exact"}
            else:
                result = sampler.run([pub]).result()[0]
                found = _frequencies(result.data, len(group))
                how = {name: result.metadata[name] for name in ("path", "shots", "seed")}
        for index, distribution in zip(group, found, strict=True):
            distributions[index] = distribution
            metadata[index] = _metadata(call, index, how)
    return {"quasi_dists": distributions, "metadata": metadata}


def run_legacy_estimator(
    backend: ProgramBackend, inputs: Mapping[str, Any], *, unsupported_options: str = "record"
) -> dict[str, Any]:
    """Estimate expectation values; without shots, the ideal backend gives exact values.

    The variance in the metadata refers to one shot: the standard error of a value is
    `sqrt(variance / shots)`.

    Raises:
        InvalidInputError: A circuit, an observable or a setting breaks a rule; the message names
            it.
    """
    call = _Call.read(inputs, unsupported_options=unsupported_options)
    noise = NoiseOfJob.use(backend, call.options.noise_model)
    values = np.zeros(len(call.circuits))
    metadata: list[dict[str, Any]] = [{}] * len(call.circuits)
    estimator = backend.estimator(shots=call.options.shots, seed=call.options.seed)
    for group, pub in _planned(backend, call, noise, _estimator_pub):
        with naming("$.circuits", group[0]):
            result: Any = estimator.run([pub]).result()[0]
        values[group] = result.data.evs
        shots = result.metadata["shots"]
        how = {"path": result.metadata["path"]}
        if shots is not None:
            how |= {"shots": shots, "seed": result.metadata["seed"]}
        for index, deviation in zip(group, result.data.stds.tolist(), strict=True):
            variance = {"variance": deviation**2 * (shots or 1)}
            metadata[index] = _metadata(call, index, {**variance, **how})
    return {"values": values, "metadata": metadata}


def _planned(
    backend: ProgramBackend, call: _Call, noise: NoiseOfJob, pub_of: Any
) -> list[tuple[list[int], Any]]:
    """Return a PUB for each group of equal circuits; all are checked before any runs."""
    how = call.transpilation
    transpiler = PubTranspiler(backend, level=how.level, passes=how.passes, device=how.device)
    planned = []
    for group in call.experiments():
        with naming("$.circuits", group[0]):
            pub = pub_of(call, group)
            if not how.skip:
                pub = transpiler.transpiled(pub)
            elif backend.imitates_device:
                require_isa(pub.circuit, backend.target, str(backend.name))
            noise.notes_on(backend, pub.circuit, f"circuits[{group[0]}]")
            planned.append((group, pub))
    return planned


def _sampler_pub(call: _Call, group: list[int]) -> SamplerPub:
    circuit = call.circuits[group[0]]
    require_registers(circuit)
    return SamplerPub.coerce((circuit, call.table(group)))


def _estimator_pub(call: _Call, group: list[int]) -> EstimatorPub:
    observables = [call.observables[index] for index in group]
    return EstimatorPub.coerce((call.circuits[group[0]], observables, call.table(group)))


def _frequencies(data: Any, count: int) -> list[dict[str, float]]:
    """Return the frequency of each outcome; registers are joined, the first one rightmost."""
    bits = BitArray.concatenate_bits(list(data.values()))
    return [
        {outcome: times / bits.num_shots for outcome, times in bits.get_counts(row).items()}
        for row in range(count)
    ]


def _metadata(call: _Call, index: int, how: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"header_metadata": call.circuits[index].metadata or {}, **how}
    if call.options.unsupported:
        metadata["unsupported_options"] = dict(call.options.unsupported)
    return metadata


def _chosen(inputs: Mapping[str, Any], name: str, indices_name: str) -> list[Any]:
    """Return a list from the inputs, in the order of its indices if these are given."""
    given = inputs.get(name)
    if given is None:
        return []
    indices = inputs.get(indices_name)
    if indices is None:
        return list(given)
    try:
        return [given[index] for index in indices]
    except (IndexError, TypeError) as exc:
        raise InvalidInputError(
            f"{indices_name} points outside of the {len(given)} {name}: {indices!r:.80}.",
            path=f"$.{indices_name}",
            rule=f"indices of {name}",
        ) from exc


def _check_parallel(lists: Mapping[str, Sequence[Any]]) -> None:
    if len({len(values) for values in lists.values()}) > 1:
        found = ", ".join(f"{name} has {len(values)}" for name, values in lists.items())
        raise InvalidInputError(
            f"Circuits, observables and parameter values go together one by one, but {found}.",
            rule="lists of one length",
        )
