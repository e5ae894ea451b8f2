"""The value of a loop as an expectation value, estimated by one job for each step.

All points of a step, and the shifted points of its gradient, are rows of one PUB. The circuit is
transpiled once for a loop, with the settings of its backend, and stored with the loop's records.
A loop that runs again after an upgrade, or on another machine, therefore sends the same circuit.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from prefect_qiskit_runtime.backend import LEAST_BUSY, RuntimeBackend
from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.codec import decode, encode
from prefect_qiskit_runtime.codec.circuit_walk import Visit, describe, is_custom, walk
from prefect_qiskit_runtime.devices.choice import choose_backend
from prefect_qiskit_runtime.devices.device import Device, device_of
from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.loops._models import Ask, Measured
from prefect_qiskit_runtime.loops._observables import read_observable
from prefect_qiskit_runtime.loops._records import LoopRecords
from prefect_qiskit_runtime.primitives import arun_estimator
from prefect_qiskit_runtime.program.shifts import ShiftedCircuit, shifted_circuit
from prefect_qiskit_runtime.program.transpiled import as_written
from prefect_qiskit_runtime.pubs.primitive_inputs import PrimitiveOptionsLike
from prefect_qiskit_runtime.sessions import RuntimeSession, SessionLike

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qiskit.circuit import QuantumCircuit
    from qiskit.quantum_info import Pauli, SparseObservable, SparsePauliOp

_DIGITS = 6
"""Decimals of coefficients that identify a problem; further ones may differ by rounding."""


@dataclass(frozen=True)
class EstimatorObjective:
    """An expectation value of a parametrised circuit, as an objective of `minimize`.

    Each step is one job of the estimator. Its points, and the shifted points of its gradient, are
    rows of one PUB. Gradients are exact derivatives by parameter shifts.

    Attributes:
        ansatz: The circuit, without measurements; its parameters are varied in the order of
            `ansatz.parameters`.
        observable: The observable to estimate, on the same number of qubits, in any form that
            `run_estimator` accepts for one observable. It is kept as a SparsePauliOp.
        shots: Shots for each group of observables that are measured together. Without shots and
            precision, values are exact on the ideal backend.
        precision: Precision instead of shots, as in `run_estimator`.
        offset: A constant added to each value, such as the nuclear repulsion energy.
        options: Options of the estimator, in the form of qiskit-ibm-runtime.
        optimization_level: Optimization level of the transpiler, which runs once for a loop,
            before its first job. The backend sets the seed, layout, calibration and fractional
            gates.
    """

    ansatz: QuantumCircuit
    observable: SparsePauliOp | Pauli | SparseObservable | str | Mapping[Any, float]
    shots: int | None = None
    precision: float | None = None
    offset: float = 0.0
    options: PrimitiveOptionsLike = None
    optimization_level: int = 2

    def __post_init__(self) -> None:
        """Check that ansatz and observable match, before any job is submitted.

        Raises:
            InvalidInputError: The ansatz has no parameters or has measurements, the observable
                cannot be minimised, or the numbers of qubits differ.
        """
        if not self.ansatz.parameters:
            raise InvalidInputError(
                "The ansatz has no parameters, so there is nothing to vary.", path="$.ansatz"
            )
        _require_unmeasured(self.ansatz)
        operator = read_observable(self.observable)
        if self.ansatz.num_qubits != operator.num_qubits:
            raise InvalidInputError(
                f"The ansatz has {self.ansatz.num_qubits} qubits, the observable"
                f" {operator.num_qubits}.",
                path="$.observable",
            )
        object.__setattr__(self, "observable", operator)

    @property
    def operator(self) -> SparsePauliOp:
        """The observable as a sum of Pauli strings."""
        return cast("SparsePauliOp", self.observable)

    @property
    def num_parameters(self) -> int:
        """Number of parameters that are varied."""
        return self.ansatz.num_parameters

    @property
    def problem(self) -> Any:
        """A description that identifies the objective, independent of rounding."""
        coefficients = np.round(np.asarray(self.operator.coeffs, dtype=complex), _DIGITS) + 0
        terms = zip(self.operator.paulis.to_labels(), coefficients.tolist(), strict=True)
        return [
            self.ansatz.num_parameters,
            sorted(_count_operations(self.ansatz).items()),
            [[label, value.real] for label, value in terms],
        ]

    @property
    def header(self) -> dict[str, Any]:
        """The measurement settings, which must not change between the steps of a loop."""
        return {"shots": self.shots, "precision": self.precision}


def _require_unmeasured(ansatz: QuantumCircuit) -> None:
    """Refuse an ansatz that measures, at its top level or in anything in it."""
    # An instruction without classical bits cannot measure, whatever its definition.
    for visit in walk(ansatz, definitions=lambda operation: operation.num_clbits > 0):
        if visit.name != "measure" or not visit.instruction.clbits:
            continue
        if visit.place.path:
            where, advice = f", {describe(visit.path)}", "leave them out"
        else:
            where, advice = "", "pass ansatz.remove_final_measurements(inplace=False)"
        raise InvalidInputError(
            f"The ansatz has measurements{where}, but the estimator measures the observable"
            f" itself: {advice}.",
            path="$.ansatz",
            rule="an ansatz without measurements",
        )


def _count_operations(circuit: QuantumCircuit) -> Counter[str]:
    """Count the operations by name, in blocks and in the definitions of users' gates too.

    Qiskit numbers the names of users' gates, so these are not counted themselves.
    """
    visits = walk(circuit, definitions=is_custom)
    return Counter(visit.name for visit in visits if not _is_defined(visit))


def _is_defined(visit: Visit) -> bool:
    if visit.instruction.is_standard_gate() or not is_custom(visit.operation):
        return False
    return visit.operation.definition is not None


@dataclass(frozen=True)
class Prepared:
    """The circuit and observable that all steps of a loop send.

    Attributes:
        circuit: The circuit in the instruction set of the backend.
        observable: The observable with the layout of the circuit.
    """

    circuit: QuantumCircuit
    observable: SparsePauliOp

    def pub(self, names: tuple[str, ...], rows: NDArray[np.float64]) -> Any:
        """Return a PUB for rows of parameter values, whose columns are in the order of `names`."""
        columns = [names.index(parameter.name) for parameter in self.circuit.parameters]
        return self.circuit, self.observable, rows[:, columns]


@dataclass
class EstimatorMeasuring:
    """Measures an `EstimatorObjective` on a backend, for one loop.

    Attributes:
        objective: The objective to measure.
        backend: The backend to measure it on.
        records: The records of the loop.
        with_gradients: Whether steps may request gradients; the circuit is then parametrised by
            the angles of its gates.
    """

    objective: EstimatorObjective
    backend: RuntimeBackend
    records: LoopRecords
    with_gradients: bool
    _shifted: ShiftedCircuit | None = field(default=None, init=False)
    _prepared: Prepared | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Find the parameter-shift rules of the gradient.

        Raises:
            InvalidInputError: A gate has no shift rule.
        """
        if not self.with_gradients:
            return
        try:
            self._shifted = shifted_circuit(self.objective.ansatz)
        except InvalidInputError as error:
            raise InvalidInputError(
                f"{error} Or minimize without gradients (jac=False, or a method that needs none).",
                path=error.path,
                rule=error.rule,
            ) from error

    def evaluations(self, ask: Ask) -> int:
        """Return how many values a step measures."""
        shifts = self._shifted.num_shifts if ask.gradient and self._shifted is not None else 0
        return len(ask.points) + shifts

    async def measure(self, ask: Ask, *, seed: int, session: SessionLike) -> Measured:
        """Run the job of a step."""
        if self._prepared is None:
            self._prepared = await self._prepare(session)
        names, rows = await asyncio.to_thread(self._rows, ask)
        result = await arun_estimator.fn(
            [self._prepared.pub(names, rows)],
            backend=self.backend,
            shots=self.objective.shots,
            precision=self.objective.precision,
            seed=seed if self.backend.kind.takes_seed else None,
            transpile=False,  # already transpiled
            options=self.objective.options,
            session=session,
            cache=False,  # a repeated request for a noisy value must measure it again
        )
        data: Any = result[0].data
        values, stds = np.asarray(data.evs, dtype=float), np.asarray(data.stds, dtype=float)
        return await asyncio.to_thread(self._read, ask, values, stds)

    def _rows(self, ask: Ask) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        if self._shifted is None:
            return tuple(p.name for p in self.objective.ansatz.parameters), ask.points
        rows = self._shifted.angles(ask.points)
        if ask.gradient:
            rows = np.concatenate([rows, self._shifted.shifted_angles(ask.points[0])])
        return self._shifted.angle_names, rows

    def _read(self, ask: Ask, values: NDArray[np.float64], stds: NDArray[np.float64]) -> Measured:
        count = len(ask.points)
        measured = Measured(values[:count] + self.objective.offset, stds[:count])
        if not ask.gradient or self._shifted is None:
            return measured
        gradient, errors = self._shifted.gradient(ask.points[0], values[count:], stds[count:])
        return Measured(measured.values, measured.stds, gradient, errors)

    async def _prepare(self, session: SessionLike) -> Prepared:
        """Return the loop's circuit, recorded or transpiled now, and fix the backend."""
        name = "angles" if self.with_gradients else "circuit"
        record = await self.records.read(name)
        if record is None:
            async with self.backend.connect() as api:
                device = await device_of(api, self.backend, await self._choose(api, session))
            problem = await asyncio.to_thread(self._transpiled, device)
            record = {"problem": problem, "backend": device.name}
            await self.records.write(name, record)
        self.backend = self.backend.with_name(record["backend"])
        # A new circuit is decoded too: decoding may change the form of its parameter expressions,
        # and every process must send the same circuit.
        kept = await asyncio.to_thread(decode, record["problem"])
        return Prepared(kept["circuit"], kept["observable"])

    async def _choose(self, api: RuntimeApi, session: SessionLike) -> str:
        """Return the backend for all steps, choosing one if the block does not name it."""
        if self.backend.name != LEAST_BUSY:
            return self.backend.name
        if session is None:
            return (await choose_backend(api, self.backend)).name
        session_id = session.session_id if isinstance(session, RuntimeSession) else session
        return await api.session_backend(session_id)

    def _transpiled(self, device: Device) -> str:
        """Return the circuit and the observable for a device, encoded."""
        from qiskit.transpiler import generate_preset_pass_manager

        block = self.backend
        circuit = self.objective.ansatz if self._shifted is None else self._shifted.circuit
        settings: dict[str, Any] = {
            "optimization_level": self.objective.optimization_level,
            "target": device.target if block.calibration_aware else device.target_without_errors,
            "seed_transpiler": block.seed_transpiler,
        }
        if block.initial_layout is not None and not device.is_simulator:
            settings["initial_layout"] = block.initial_layout
        passes = generate_preset_pass_manager(**settings)
        (transpiled,) = as_written([circuit], passes.run, simulated=block.kind.takes_seed)
        observable = self.objective.operator.apply_layout(transpiled.layout)
        return encode({"circuit": transpiled, "observable": observable})
