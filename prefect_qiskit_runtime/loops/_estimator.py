"""The value of a loop as an expectation value, estimated by one job for each step.

All points of a step, and the shifted ones of its gradient, are rows of one PUB. The circuit is
transpiled once for a loop, by the settings of its backend, and kept with its records: a loop that
comes back after an upgrade, or on another machine, sends the circuit that it has sent before.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from prefect_qiskit_runtime.backend import LEAST_BUSY, RuntimeBackend
from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.codec import decode, encode
from prefect_qiskit_runtime.devices.choice import choose_backend
from prefect_qiskit_runtime.devices.device import Device, device_of
from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.loops._models import Ask, Told
from prefect_qiskit_runtime.loops._records import LoopRecords
from prefect_qiskit_runtime.primitives import arun_estimator
from prefect_qiskit_runtime.program.shifts import ShiftedCircuit, shifted_circuit
from prefect_qiskit_runtime.pubs.primitive_inputs import PrimitiveOptionsLike
from prefect_qiskit_runtime.sessions import RuntimeSession, SessionLike

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qiskit.circuit import QuantumCircuit
    from qiskit.quantum_info import SparsePauliOp

_DIGITS = 6
"""Decimals of coefficients that tell problems apart: the others may differ by rounding."""


@dataclass(frozen=True)
class EstimatorObjective:
    """An expectation value of a parametrised circuit, as an objective of `minimize`.

    Each step is one job of the estimator: its points, and those that its gradient takes, are
    rows of one PUB. Gradients are exact derivatives by parameter shifts.

    Attributes:
        ansatz: The circuit, without measurements; its parameters are varied in the order of
            `ansatz.parameters`.
        observable: What is estimated, on as many qubits.
        shots: For each group of observables that are measured together. Without shots and
            precision, values are exact on the ideal backend.
        precision: In place of shots, as in `run_estimator`.
        offset: Added to each value, such as the repulsion of the nuclei.
        options: Of the estimator, in the form of qiskit-ibm-runtime.
        optimization_level: Of the transpiler, which runs once for a loop, before its first job.
            Seed, layout, calibration and fractional gates are those of the backend.
    """

    ansatz: QuantumCircuit
    observable: SparsePauliOp
    shots: int | None = None
    precision: float | None = None
    offset: float = 0.0
    options: PrimitiveOptionsLike = None
    optimization_level: int = 2

    def __post_init__(self) -> None:
        """Refuse what does not fit together, before anything is paid.

        Raises:
            InvalidInputError: There is nothing to vary, or the numbers of qubits differ.
        """
        if not self.ansatz.parameters:
            raise InvalidInputError(
                "The ansatz has no parameters, so there is nothing to vary.", path="$.ansatz"
            )
        if self.ansatz.num_qubits != self.observable.num_qubits:
            raise InvalidInputError(
                f"The ansatz has {self.ansatz.num_qubits} qubits, the observable"
                f" {self.observable.num_qubits}.",
                path="$.observable",
            )

    @property
    def num_parameters(self) -> int:
        """How many parameters are varied."""
        return self.ansatz.num_parameters

    @property
    def problem(self) -> Any:
        """What tells it from others, whatever rounding does to it."""
        coefficients = np.round(np.asarray(self.observable.coeffs, dtype=complex), _DIGITS) + 0
        terms = zip(self.observable.paulis.to_labels(), coefficients.tolist(), strict=True)
        return [
            self.ansatz.num_parameters,
            sorted(self.ansatz.count_ops().items()),
            [[label, value.real] for label, value in terms],
        ]

    @property
    def header(self) -> dict[str, Any]:
        """How it is measured, which must not change between the steps of a loop."""
        return {"shots": self.shots, "precision": self.precision}


@dataclass(frozen=True)
class Prepared:
    """What all steps of a loop send.

    Attributes:
        circuit: In the instruction set of the backend.
        observable: With its layout.
    """

    circuit: QuantumCircuit
    observable: SparsePauliOp

    def pub(self, names: tuple[str, ...], rows: NDArray[np.float64]) -> Any:
        """Return a PUB of rows of values, in the order of the names of the parameters."""
        columns = [names.index(parameter.name) for parameter in self.circuit.parameters]
        return self.circuit, self.observable, rows[:, columns]


@dataclass
class EstimatorMeasuring:
    """Measures an `EstimatorObjective` on a backend, for one loop.

    Attributes:
        objective: What.
        backend: Where.
        records: Those of the loop.
        with_gradients: Whether steps may ask for gradients; the circuit is then one of angles.
    """

    objective: EstimatorObjective
    backend: RuntimeBackend
    records: LoopRecords
    with_gradients: bool
    _shifted: ShiftedCircuit | None = field(default=None, init=False)
    _prepared: Prepared | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Find the rules of the gradient.

        Raises:
            InvalidInputError: There is none for some gate.
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
        """Return how many values a step takes."""
        shifts = self._shifted.num_shifts if ask.gradient and self._shifted is not None else 0
        return len(ask.points) + shifts

    async def measure(self, ask: Ask, *, seed: int, session: SessionLike) -> Told:
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
            transpile=False,  # it is
            options=self.objective.options,
            session=session,
            cache=False,  # a noisy value that is asked for again is to be measured again
        )
        data: Any = result[0].data
        values, stds = np.asarray(data.evs, dtype=float), np.asarray(data.stds, dtype=float)
        return await asyncio.to_thread(self._told, ask, values, stds)

    def _rows(self, ask: Ask) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        if self._shifted is None:
            return tuple(p.name for p in self.objective.ansatz.parameters), ask.points
        rows = self._shifted.angles(ask.points)
        if ask.gradient:
            rows = np.concatenate([rows, self._shifted.shifted_angles(ask.points[0])])
        return self._shifted.angle_names, rows

    def _told(self, ask: Ask, values: NDArray[np.float64], stds: NDArray[np.float64]) -> Told:
        count = len(ask.points)
        told = Told(values[:count] + self.objective.offset, stds[:count])
        if not ask.gradient or self._shifted is None:
            return told
        gradient, errors = self._shifted.gradient(ask.points[0], values[count:], stds[count:])
        return Told(told.values, told.stds, gradient, errors)

    async def _prepare(self, session: SessionLike) -> Prepared:
        """Return the circuit of the loop, of its records or transpiled now; settle the backend."""
        name = "angles" if self.with_gradients else "circuit"
        record = await self.records.read(name)
        if record is None:
            async with self.backend.connect() as api:
                device = await device_of(api, self.backend, await self._choose(api, session))
            problem = await asyncio.to_thread(self._transpiled, device)
            record = {"problem": problem, "backend": device.name}
            await self.records.write(name, record)
        self.backend = self.backend.with_name(record["backend"])
        # Also what has just been made: a circuit that was read back may have parameter
        # expressions of another form, and every process is to send the same.
        kept = await asyncio.to_thread(decode, record["problem"])
        return Prepared(kept["circuit"], kept["observable"])

    async def _choose(self, api: RuntimeApi, session: SessionLike) -> str:
        """Return the backend of all steps, where the block leaves it open."""
        if self.backend.name != LEAST_BUSY:
            return self.backend.name
        if session is None:
            return (await choose_backend(api, self.backend)).name
        session_id = session.session_id if isinstance(session, RuntimeSession) else session
        return (await api.get_session(session_id)).backend_name

    def _transpiled(self, device: Device) -> str:
        """Return circuit and observable for a device, encoded."""
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
        transpiled = passes.run(circuit)
        observable = self.objective.observable.apply_layout(transpiled.layout)
        return encode({"circuit": transpiled, "observable": observable})
