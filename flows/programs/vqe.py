"""Find the lowest energy of a Hamiltonian with a variational quantum eigensolver (VQE).

This is a runtime program: upload it with `vqe.json`; the service calls `main`. It needs only
qiskit, numpy and scipy. Every iteration makes one estimator call: the energy and all shifted
energies of its gradient are the rows of one PUB.

The measurements are published as checkpoints. If the job is lost, the next attempt receives them
and replays its steps from them, without measuring, until it is where the job was.

Energies are in the unit of the Hamiltonian and include `constant_energy`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qiskit.circuit import Parameter, ParameterExpression, ParameterVector, QuantumCircuit
from qiskit.circuit.library import PauliEvolutionGate
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from scipy.optimize import minimize

GRADIENT_OPTIMIZERS = ("L-BFGS-B", "SLSQP")
OPTIMIZERS = ("auto", *GRADIENT_OPTIMIZERS, "COBYLA", "SPSA")
ENERGY_TOLERANCE = 1e-10
REPLAY_TOLERANCE = 1e-6
TRANSPILER_LEVEL = 2

# Gates exp(-i angle P / 2) with P*P = 1, up to a phase and fixed gates before and after.
ROTATION_GATES = frozenset({"rx", "ry", "rz", "p", "u", "rxx", "ryy", "rzz", "rzx"})


@dataclass(frozen=True)
class ShiftRule:
    """An exact derivative as a sum: f'(x) = sum of coefficients[r] * f(x + shifts[r])."""

    shifts: np.ndarray
    coefficients: np.ndarray

    @classmethod
    def two_term(cls, frequency: float) -> ShiftRule:
        """Rule for a function with one frequency."""
        shift = math.pi / (2 * frequency)
        return cls(np.array([shift, -shift]), frequency / 2 * np.array([1.0, -1.0]))

    @classmethod
    def four_term(cls, frequency: float) -> ShiftRule:
        """Rule for a function with a frequency and its double (Wierichs et al. 2022, eq. 15)."""
        shifts = np.array([1.0, -1.0, 3.0, -3.0]) * math.pi / 4
        signs = np.array([1.0, -1.0, -1.0, 1.0])
        coefficients = signs / (8 * np.sin(shifts / 2) ** 2)
        return cls(shifts / frequency, frequency * coefficients)


@dataclass(frozen=True)
class Ansatz:
    """A circuit over angles, each used in one place, and the angles as functions of parameters.

    Attributes:
        circuit: Its parameters are `angles`.
        angles: One per place where a parameter is used, so that each can be shifted alone.
        rules: The shift rule for each angle.
        expressions: Each angle as an expression of `parameters`.
        parameters: The parameters that the optimizer varies.
        starts_at_reference: Whether all zeros is a good starting point, such as the Hartree-Fock
            state. For a circuit this is unknown: it may be a saddle point.
    """

    circuit: QuantumCircuit
    angles: list[Any]
    rules: list[ShiftRule]
    expressions: list[Any]
    parameters: list[Any]
    starts_at_reference: bool = False

    def angle_values(self, point: np.ndarray) -> np.ndarray:
        """Return the angles at a point, 1D array in the order of `angles`."""
        return np.array([self._value(expression, point) for expression in self.expressions])

    def jacobian(self, point: np.ndarray) -> np.ndarray:
        """Return the derivatives of the angles, 2D array (angle, parameter)."""
        jacobian = np.zeros((len(self.angles), len(self.parameters)))
        for row, expression in enumerate(self.expressions):
            for column, parameter in enumerate(self.parameters):
                if parameter in expression.parameters:
                    derivative = expression.gradient(parameter)
                    jacobian[row, column] = self._value(derivative, point)
        return jacobian

    def _value(self, expression: Any, point: np.ndarray) -> float:
        if not isinstance(expression, ParameterExpression):
            return complex(expression).real
        values = dict(zip(self.parameters, point.tolist(), strict=True))
        bound = expression.bind({used: values[used] for used in expression.parameters})
        return complex(bound.numeric()).real


@dataclass(frozen=True)
class Evaluation:
    """The result of one estimator call for one point.

    Attributes:
        std: Standard error of the energy; 0 if it is exact.
        gradient: 1D array over the parameters; None if it was not requested.
    """

    point: np.ndarray
    energy: float
    std: float
    gradient: np.ndarray | None = None


def read_hamiltonian(hamiltonian: SparsePauliOp | Sequence[Sequence[Any]]) -> SparsePauliOp:
    """Return the operator; a list holds `[Pauli string, coefficient]`, qubit 0 rightmost."""
    if not isinstance(hamiltonian, SparsePauliOp):
        hamiltonian = SparsePauliOp.from_list([(pauli, value) for pauli, value in hamiltonian])
    coefficients = _real_coefficients(hamiltonian, "hamiltonian")
    return SparsePauliOp(hamiltonian.paulis, coefficients).simplify()


def _real_coefficients(operator: SparsePauliOp, where: str) -> np.ndarray:
    coefficients = np.asarray(operator.coeffs, dtype=complex)
    if not np.allclose(np.imag(coefficients), 0):
        raise ValueError(f"{where}: its coefficients must be real (it must be Hermitian)")
    return np.real(coefficients)


def read_ansatz(ansatz: QuantumCircuit | Mapping[str, Any]) -> Ansatz:
    """Return the ansatz of a circuit or of excitation generators."""
    if isinstance(ansatz, QuantumCircuit):
        return ansatz_from_circuit(ansatz)
    missing = {"hartree_fock_bitstring", "excitation_generators"} - set(ansatz)
    if missing:
        raise ValueError(f"ansatz: it must be a QuantumCircuit, or have {sorted(missing)}")
    generators = [
        SparsePauliOp.from_list([(pauli, value) for pauli, value in generator["paulis"]])
        for generator in ansatz["excitation_generators"]
    ]
    return ansatz_from_generators(ansatz["hartree_fock_bitstring"], generators)


def ansatz_from_generators(bitstring: str, generators: Sequence[SparsePauliOp]) -> Ansatz:
    """Build the product of exp(-i x[k] G[k]) on a computational basis state, G[0] first.

    Args:
        bitstring: The state, qubit 0 rightmost.
        generators: Hermitian sums of Pauli strings that commute with each other.
    """
    circuit = QuantumCircuit(len(bitstring))
    circuit.x([qubit for qubit, bit in enumerate(reversed(bitstring)) if bit == "1"])
    parameters = list(ParameterVector("x", len(generators)))
    angles, rules, expressions = [], [], []
    for index, (parameter, generator) in enumerate(zip(parameters, generators, strict=True)):
        for factor, rule in _factors(generator, f"ansatz.excitation_generators[{index}]"):
            angle = Parameter(f"angle{len(angles)}")
            circuit.append(PauliEvolutionGate(factor, time=angle), circuit.qubits)
            angles.append(angle)
            rules.append(rule)
            expressions.append(parameter)
    return Ansatz(circuit, angles, rules, expressions, parameters, starts_at_reference=True)


def _factors(generator: SparsePauliOp, where: str) -> list[tuple[SparsePauliOp, ShiftRule]]:
    """Split exp(-i x G) into factors with a shift rule: one if the eigenvalues of G allow it."""
    generator = generator.simplify()
    coefficients = _real_coefficients(generator, where)
    if len(generator.group_commuting()) > 1:
        raise ValueError(f"{where}: its Pauli strings must commute with each other")
    if _is_zero(generator):
        raise ValueError(f"{where}: it is zero, so its parameter would change nothing")
    square = (generator @ generator).simplify()
    # If G*G*G = s*G, its eigenvalues are 0 and +-sqrt(s); then this is s.
    scale = np.sum(_real_coefficients(square, where) ** 2) / np.sum(coefficients**2)
    frequency = math.sqrt(scale)
    identity = SparsePauliOp("I" * (generator.num_qubits or 0))
    if _is_zero(square - scale * identity):
        return [(generator, ShiftRule.two_term(2 * frequency))]
    if _is_zero(square @ generator - scale * generator):
        return [(generator, ShiftRule.four_term(frequency))]
    return [
        (SparsePauliOp(label, np.array([value])), ShiftRule.two_term(2 * abs(value)))
        for label, value in zip(generator.paulis.to_labels(), coefficients, strict=True)
    ]


def _is_zero(operator: SparsePauliOp) -> bool:
    return bool(np.allclose(np.asarray(operator.simplify().coeffs), 0))


def ansatz_from_circuit(circuit: QuantumCircuit) -> Ansatz:
    """Give each place where a parameter is used a separate angle."""
    circuit = _unroll(circuit)
    split = circuit.copy_empty_like()
    split.global_phase = 0
    angles: list[Any] = []
    expressions: list[Any] = []
    for instruction in circuit.data:
        operation = instruction.operation
        if _is_parametrised(operation):
            operation = operation.to_mutable()
            for place, value in enumerate(operation.params):
                if _is_free(value):
                    operation.params[place] = angle = Parameter(f"angle{len(angles)}")
                    angles.append(angle)
                    expressions.append(value)
        split.append(operation, instruction.qubits)
    rules = [ShiftRule.two_term(1.0)] * len(angles)
    return Ansatz(split, angles, rules, expressions, list(circuit.parameters))


def _is_free(value: Any) -> bool:
    return isinstance(value, ParameterExpression) and bool(value.parameters)


def _is_parametrised(operation: Any) -> bool:
    # Not `operation.is_parameterized()`: it is False for controlled gates (qiskit 2.6).
    return any(_is_free(value) for value in operation.params)


def _unroll(circuit: QuantumCircuit) -> QuantumCircuit:
    """Decompose parametrised gates until all of them are rotations that can be shifted."""
    while True:
        names = set()
        for instruction in circuit.data:
            operation = instruction.operation
            if operation.name in ("measure", "reset") or hasattr(operation, "blocks"):
                raise ValueError(f"ansatz: '{operation.name}' is not allowed in it, only gates")
            if _is_parametrised(operation) and operation.name not in ROTATION_GATES:
                if operation.definition is None:
                    raise ValueError(
                        f"ansatz: no shift rule for the parametrised gate '{operation.name}'; "
                        f"use gates made of {', '.join(sorted(ROTATION_GATES))}"
                    )
                names.add(operation.name)
        if not names:
            break
        circuit = circuit.decompose(sorted(names))
    if not circuit.parameters:
        raise ValueError("ansatz: the circuit has no parameters, so there is nothing to vary")
    return circuit


class Objective:
    """The energy as a function of the parameters, measured by estimators.

    Each estimator call is seeded from its number, so its result is the same whether the calls
    before it were measured here or are in checkpoints.

    Attributes:
        points: Number of evaluated points, including the shifted ones of gradients.
        calls: Number of estimator calls, in this attempt and before.
        exact: Whether energies are computed rather than sampled.
        shots: Shots for each group of observables; None if exact.
    """

    def __init__(
        self,
        ansatz: Ansatz,
        hamiltonian: SparsePauliOp,
        constant_energy: float,
        backend: Any,
        *,
        shots: int | None,
        seed: int,
        checkpoints: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        pass_manager = generate_preset_pass_manager(
            TRANSPILER_LEVEL, target=backend.target, seed_transpiler=seed
        )
        self.ansatz = ansatz
        self.points = 0
        self.calls = 0
        self.exact = False
        self.shots = shots
        self._constant_energy = constant_energy
        self._circuit = pass_manager.run(ansatz.circuit)
        self._observable = hamiltonian.apply_layout(self._circuit.layout)
        self._columns = [ansatz.angles.index(angle) for angle in self._circuit.parameters]
        self._new_estimator = lambda seed: backend.estimator(shots=shots, seed=seed)
        self._seed = seed
        self._earlier = deque(call for earlier in checkpoints for call in earlier["calls"])
        self._new: list[dict[str, Any]] = []

    def checkpoint(self) -> dict[str, Any]:
        """Return the measurements since the last checkpoint."""
        calls, self._new = self._new, []
        return {"seed": self._seed, "calls": calls}

    def energies(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return energies and standard errors at points, a 2D array (point, parameter)."""
        return self._estimate(np.array([self.ansatz.angle_values(point) for point in points]))

    def evaluate(self, point: np.ndarray) -> Evaluation:
        """Measure the energy at a point."""
        energies, stds = self.energies(point[np.newaxis])
        return Evaluation(point.copy(), float(energies[0]), float(stds[0]))

    def evaluate_with_gradient(self, point: np.ndarray) -> Evaluation:
        """Measure the energy and, by parameter shifts in the same call, its gradient."""
        angles = self.ansatz.angle_values(point)
        rows, weights, owners = [angles], [], []
        for place, rule in enumerate(self.ansatz.rules):
            for shift, coefficient in zip(rule.shifts, rule.coefficients, strict=True):
                shifted = angles.copy()
                shifted[place] += shift
                rows.append(shifted)
                weights.append(coefficient)
                owners.append(place)
        energies, stds = self._estimate(np.array(rows))
        by_angle = np.bincount(owners, np.array(weights) * energies[1:], len(angles))
        gradient = by_angle @ self.ansatz.jacobian(point)
        return Evaluation(point.copy(), float(energies[0]), float(stds[0]), gradient)

    def _estimate(self, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        call = self._recalled(angles) if self._earlier else self._measured(angles)
        self.points += len(angles)
        self.calls += 1
        self.exact = call["shots"] is None
        self.shots = call["shots"]
        return np.array(call["energies"]) + self._constant_energy, np.array(call["stds"])

    def _recalled(self, angles: np.ndarray) -> dict[str, Any]:
        call = self._earlier.popleft()
        same_shape = len(call["energies"]) == len(angles)
        if same_shape and np.allclose(call["angles"], angles[0], rtol=0, atol=REPLAY_TOLERANCE):
            return call
        raise ValueError(f"checkpoints: call {self.calls} is different with these inputs")

    def _measured(self, angles: np.ndarray) -> dict[str, Any]:
        seed = np.random.SeedSequence([self._seed, self.calls]).generate_state(1)[0]
        pub = (self._circuit, self._observable, angles[:, self._columns])
        result = self._new_estimator(int(seed)).run([pub]).result()[0]
        self._new.append(
            {
                "angles": angles[0].tolist(),
                "energies": np.asarray(result.data.evs).tolist(),
                "stds": np.asarray(result.data.stds).tolist(),
                "shots": result.metadata["shots"],
            }
        )
        return self._new[-1]


@dataclass(frozen=True)
class Outcome:
    """Where an optimizer ended. `converged` is None if the optimizer has no convergence test."""

    point: np.ndarray
    converged: bool | None
    message: str


Report = Callable[[Evaluation], None]


def minimize_with_scipy(
    objective: Objective, start: np.ndarray, optimizer: str, maxiter: int, report: Report
) -> Outcome:
    """Run L-BFGS-B or SLSQP (an iteration is a step) or COBYLA (an iteration is a point)."""
    gradient = optimizer in GRADIENT_OPTIMIZERS
    trials: list[Evaluation] = []

    def function(point: np.ndarray) -> Any:
        if not gradient:
            evaluation = objective.evaluate(point)
            report(evaluation)
            return evaluation.energy
        evaluation = objective.evaluate_with_gradient(point)
        trials.append(evaluation)
        return evaluation.energy, evaluation.gradient

    def step(xk: np.ndarray) -> None:
        # A line search evaluates several points; the one it chose is reported. It is looked
        # up by distance because SLSQP passes it with different rounding.
        chosen = min(trials, key=lambda trial: float(np.linalg.norm(trial.point - xk)))
        trials[:] = [chosen]
        report(chosen)

    options: dict[str, Any] = {"maxiter": maxiter}
    if optimizer == "COBYLA":
        options.update(rhobeg=0.1, tol=1e-5 if objective.exact else 1e-2)
    else:
        options.update(ftol=ENERGY_TOLERANCE)
    found = minimize(
        function,
        start,
        jac=gradient,
        method=optimizer,
        callback=step if gradient else None,
        options=options,
    )
    return Outcome(np.asarray(found.x), bool(found.success), str(found.message))


def minimize_with_spsa(
    objective: Objective, start: np.ndarray, maxiter: int, seed: int, report: Report
) -> Outcome:
    """Run SPSA: each iteration measures both perturbed points and the current one in one call.

    The gains follow Spall (1998); the first step is calibrated to about 0.1 radian. The last
    tenth of the points is averaged, which removes part of the noise.
    """
    rng = np.random.default_rng(seed)
    stability = 0.1 * maxiter
    width, first_step, num_probes = 0.1, 0.1, 10

    probes = width * rng.choice([-1.0, 1.0], (num_probes, len(start)))
    energies, _ = objective.energies(np.concatenate([start + probes, start - probes, [start]]))
    above, below, here = energies[:num_probes], energies[num_probes:-1], energies[-1]
    slope = float(np.mean(np.abs(above - below))) / (2 * width)
    curvature = float(np.mean(above + below - 2 * here)) / width**2
    gain = (stability + 1) ** 0.602 / max(slope / first_step, curvature, 1e-8)

    point, tail = start.copy(), []
    for iteration in range(1, maxiter + 1):
        direction = rng.choice([-1.0, 1.0], len(start))
        offset = width / iteration**0.101 * direction
        energies, stds = objective.energies(np.array([point, point + offset, point - offset]))
        report(Evaluation(point.copy(), float(energies[0]), float(stds[0])))
        slope = (energies[1] - energies[2]) / 2 / (width / iteration**0.101)
        point = point - gain / (stability + iteration) ** 0.602 * slope * direction
        if iteration > maxiter - max(1, maxiter // 10):
            tail.append(point)
    message = f"all {maxiter} iterations done; SPSA has no test of convergence"
    return Outcome(np.mean(tail, axis=0), None, message)


class Progress:
    """Publishes each iteration that no earlier attempt has published, and keeps its energy."""

    def __init__(self, objective: Objective, published: int, user_messenger: Any) -> None:
        self.energies: list[float] = []
        self._objective = objective
        self._published = published
        self._user_messenger = user_messenger

    def __call__(self, evaluation: Evaluation) -> None:
        """Publish the next iteration; the first one is the starting point, number 0."""
        self.energies.append(evaluation.energy)
        if len(self.energies) <= self._published:
            return
        message = {
            "iteration": len(self.energies) - 1,
            "energy": evaluation.energy,
            "std": evaluation.std,
            "evaluations": self._objective.points,
            "parameters": evaluation.point.tolist(),
            "checkpoint": self._objective.checkpoint(),
        }
        if evaluation.gradient is not None:
            message["gradient_norm"] = float(np.linalg.norm(evaluation.gradient))
        self._user_messenger.publish(message)


def starting_point(ansatz: Ansatz, given: Sequence[float] | None, seed: int) -> np.ndarray:
    """Return the given point, or the ansatz's default: the reference, or small random angles."""
    count = len(ansatz.parameters)
    if given is None:
        if ansatz.starts_at_reference:
            return np.zeros(count)
        return np.random.default_rng(seed).uniform(-0.1, 0.1, count)
    point = np.asarray(given, dtype=float)
    if point.shape != (count,):
        raise ValueError(
            f"initial_point: the ansatz has {count} parameters, this has shape {point.shape}"
        )
    return point


def main(
    backend: Any,
    user_messenger: Any,
    *,
    hamiltonian: SparsePauliOp | Sequence[Sequence[Any]],
    ansatz: QuantumCircuit | Mapping[str, Any],
    initial_point: Sequence[float] | None = None,
    optimizer: str = "auto",
    maxiter: int = 100,
    shots: int | None = None,
    seed: int | None = None,
    constant_energy: float = 0.0,
    checkpoints: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Minimise the energy and publish every iteration; `vqe.json` describes the arguments."""
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer: '{optimizer}' is not one of {', '.join(OPTIMIZERS)}")
    checkpoints = checkpoints or ()
    if checkpoints:
        seed = int(checkpoints[0]["seed"])
    elif seed is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0])
    operator = read_hamiltonian(hamiltonian)
    form = read_ansatz(ansatz)
    if form.circuit.num_qubits != operator.num_qubits:
        raise ValueError(
            f"ansatz: it has {form.circuit.num_qubits} qubits, "
            f"the hamiltonian has {operator.num_qubits}"
        )
    start = starting_point(form, initial_point, seed)
    objective = Objective(
        form, operator, constant_energy, backend, shots=shots, seed=seed, checkpoints=checkpoints
    )
    progress = Progress(objective, len(checkpoints), user_messenger)
    progress(objective.evaluate(start))
    if optimizer == "auto":
        optimizer = "L-BFGS-B" if objective.exact else "SPSA"
    if optimizer == "SPSA":
        outcome = minimize_with_spsa(objective, start, maxiter, seed, progress)
    else:
        outcome = minimize_with_scipy(objective, start, optimizer, maxiter, progress)
    # A new measurement, because the lowest of many noisy energies is biased low.
    final = objective.evaluate(outcome.point)
    return {
        "energy": final.energy,
        "std": final.std,
        "parameters": final.point.tolist(),
        "iterations": len(progress.energies) - 1,
        "evaluations": objective.points,
        "estimator_calls": objective.calls,
        "energies": progress.energies,
        "converged": outcome.converged,
        "message": outcome.message,
        "optimizer": optimizer,
        "estimation": "exact" if objective.exact else "sampled",
        "shots": objective.shots,
        "seed": seed,
    }
