"""Find the lowest energy of a Hamiltonian with a variational quantum eigensolver (VQE).

A runtime program: upload it with `vqe.json`; the service calls `main`. It needs qiskit, numpy,
scipy and `prefect_qiskit_runtime.program`, which the service brings. Every iteration asks the
estimator once: energy and all shifted energies of its gradient are the rows of one PUB.

The measurements are published as checkpoints. If the job is lost, the next attempt receives them
and replays its steps from them, without measuring, until it is where the job was.

Energies are in the unit of the Hamiltonian and include `constant_energy`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.circuit.library import PauliEvolutionGate
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from scipy.optimize import minimize

from prefect_qiskit_runtime.program.shifts import ShiftedCircuit, evolution_rule, shifted_circuit
from prefect_qiskit_runtime.program.spsa import Spsa, SpsaOptions
from prefect_qiskit_runtime.program.transpiled import as_written

GRADIENT_OPTIMIZERS = ("L-BFGS-B", "SLSQP")
OPTIMIZERS = ("auto", *GRADIENT_OPTIMIZERS, "COBYLA", "SPSA")
ENERGY_TOLERANCE = 1e-10
REPLAY_TOLERANCE = 1e-6
TRANSPILER_LEVEL = 2


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


def read_ansatz(ansatz: QuantumCircuit | Mapping[str, Any]) -> ShiftedCircuit:
    """Return the ansatz of a circuit or of excitation generators, with its shift rules."""
    if isinstance(ansatz, QuantumCircuit):
        if not ansatz.parameters:
            raise ValueError("ansatz: the circuit has no parameters, so there is nothing to vary")
        return shifted_circuit(ansatz)
    missing = {"hartree_fock_bitstring", "excitation_generators"} - set(ansatz)
    if missing:
        raise ValueError(f"ansatz: it must be a QuantumCircuit, or have {sorted(missing)}")
    generators = [
        SparsePauliOp.from_list([(pauli, value) for pauli, value in generator["paulis"]])
        for generator in ansatz["excitation_generators"]
    ]
    return shifted_circuit(circuit_of_generators(ansatz["hartree_fock_bitstring"], generators))


def circuit_of_generators(bitstring: str, generators: Sequence[SparsePauliOp]) -> QuantumCircuit:
    """Build the product of exp(-i x[k] G[k]) on a computational basis state, G[0] first.

    Args:
        bitstring: The state, qubit 0 rightmost.
        generators: Hermitian sums of Pauli strings that commute with each other.
    """
    circuit = QuantumCircuit(len(bitstring))
    circuit.x([qubit for qubit, bit in enumerate(reversed(bitstring)) if bit == "1"])
    parameters = ParameterVector("x", len(generators))
    for index, (parameter, generator) in enumerate(zip(parameters, generators, strict=True)):
        for factor in _factors(generator, f"ansatz.excitation_generators[{index}]"):
            circuit.append(PauliEvolutionGate(factor, time=parameter), circuit.qubits)
    return circuit


def _factors(generator: SparsePauliOp, where: str) -> list[SparsePauliOp]:
    """Split exp(-i x G) into factors with a shift rule: one if the eigenvalues of G allow it."""
    generator = generator.simplify()
    coefficients = _real_coefficients(generator, where)
    if len(generator.group_commuting()) > 1:
        raise ValueError(f"{where}: its Pauli strings must commute with each other")
    if np.allclose(coefficients, 0):
        raise ValueError(f"{where}: it is zero, so its parameter would change nothing")
    if evolution_rule(generator) is not None:
        return [generator]
    return [
        SparsePauliOp(label, np.array([value]))
        for label, value in zip(generator.paulis.to_labels(), coefficients, strict=True)
    ]


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
        ansatz: ShiftedCircuit,
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
        (self._circuit,) = as_written([ansatz.circuit], pass_manager.run)
        self._observable = hamiltonian.apply_layout(self._circuit.layout)
        names = [parameter.name for parameter in self._circuit.parameters]
        self._columns = [ansatz.angle_names.index(name) for name in names]
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
        return self._estimate(self.ansatz.angles(points))

    def evaluate(self, point: np.ndarray) -> Evaluation:
        """Measure the energy at a point."""
        energies, stds = self.energies(point[np.newaxis])
        return Evaluation(point.copy(), float(energies[0]), float(stds[0]))

    def evaluate_with_gradient(self, point: np.ndarray) -> Evaluation:
        """Measure the energy and, by parameter shifts in the same call, its gradient."""
        here = self.ansatz.angles(point[np.newaxis])
        rows = np.concatenate([here, self.ansatz.shifted_angles(point)])
        energies, stds = self._estimate(rows)
        gradient, _ = self.ansatz.gradient(point, energies[1:], stds[1:])
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


class _AtMaxiter(Exception):  # noqa: N818 - ends SciPy where it would go on
    """SciPy asks for a point after the last iteration."""


def minimize_with_scipy(
    objective: Objective, start: np.ndarray, optimizer: str, maxiter: int, report: Report
) -> Outcome:
    """Run L-BFGS-B or SLSQP (an iteration is a step) or COBYLA (an iteration is a point).

    The iterations are counted here: COBYLA measures at least two more points than it has
    parameters, whatever its limit.
    """
    gradient = optimizer in GRADIENT_OPTIMIZERS
    trials: list[Evaluation] = []
    done: list[Evaluation] = []

    def function(point: np.ndarray) -> Any:
        if len(done) >= maxiter:
            raise _AtMaxiter
        if not gradient:
            evaluation = objective.evaluate(point)
            done.append(evaluation)
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
        done.append(chosen)
        report(chosen)

    options: dict[str, Any] = {"maxiter": maxiter}
    if optimizer == "COBYLA":
        options.update(
            maxiter=max(maxiter, len(start) + 2),
            rhobeg=0.1,
            tol=1e-5 if objective.exact else 1e-2,
        )
    else:
        options.update(ftol=ENERGY_TOLERANCE)
    try:
        found = minimize(
            function,
            start,
            jac=gradient,
            method=optimizer,
            callback=step if gradient else None,
            options=options,
        )
    except _AtMaxiter:
        best = min(done, key=lambda evaluation: evaluation.energy)
        return Outcome(best.point, False, f"{optimizer}: ended after maxiter={maxiter} iterations")
    return Outcome(np.asarray(found.x), bool(found.success), str(found.message))


def minimize_with_spsa(
    objective: Objective, start: np.ndarray, maxiter: int, seed: int, report: Report
) -> Outcome:
    """Run SPSA: each iteration measures both perturbed points and the current one in one call.

    The gain stays about the same for a tenth of the iterations. The last tenth of the points is
    averaged, which takes out part of the noise.
    """
    options = SpsaOptions(stability=0.1 * maxiter, average=max(1, maxiter // 10) / maxiter)
    spsa = Spsa(start, maxiter=maxiter, rng=np.random.default_rng(seed), options=options)
    while (points := spsa.ask()) is not None:
        if not spsa.is_calibrated:
            spsa.tell(objective.energies(points)[0])
            continue
        energies, stds = objective.energies(np.concatenate([[spsa.point], points]))
        report(Evaluation(spsa.point, float(energies[0]), float(stds[0])))
        spsa.tell(energies[1:])
    message = f"all {maxiter} iterations done; SPSA has no test of convergence"
    return Outcome(spsa.recommend(), None, message)


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


def starting_point(
    count: int, given: Sequence[float] | None, seed: int, *, at_reference: bool
) -> np.ndarray:
    """Return the given point, or one for the ansatz: a reference state, or small random angles."""
    if given is None:
        # Zero is the Hartree-Fock state of excitations. In any other circuit it may be a saddle
        # point.
        if at_reference:
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
    start = starting_point(
        len(form.parameters),
        initial_point,
        seed,
        at_reference=not isinstance(ansatz, QuantumCircuit),
    )
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
