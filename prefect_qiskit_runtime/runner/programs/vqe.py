"""The public program `vqe`: the lowest eigenvalue of an operator, as clients of 2021 called it."""

import time
from functools import cached_property
from typing import Any

import numpy as np
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import Operator, Pauli, SparsePauliOp
from scipy.optimize import minimize

from prefect_qiskit_runtime.program import require_success
from prefect_qiskit_runtime.program.estimator import ProgramEstimator
from prefect_qiskit_runtime.program.legacy.spsa import Objective, SpsaSettings
from prefect_qiskit_runtime.program.readout import ReadoutMitigator
from prefect_qiskit_runtime.program.transpiled import as_written

DEFAULT_SHOTS = 1024

# Optimizers by the names of Qiskit's classes, and what SciPy calls them.
SCIPY_METHODS = {
    "COBYLA": "COBYLA",
    "L_BFGS_B": "L-BFGS-B",
    "SLSQP": "SLSQP",
    "NELDER_MEAD": "Nelder-Mead",
    "POWELL": "Powell",
    "CG": "CG",
}
SPSA_NAMES = {"SPSA": False, "QNSPSA": True, "QN-SPSA": True}

# Settings of Qiskit's optimizers that cannot travel, or say only what to print.
UNUSED_SETTINGS = {"callback", "disp", "fidelity", "max_evals_grouped", "termination_checker"}


def read_operator(value: Any, where: str) -> SparsePauliOp:
    """Return an operator of any form that clients send."""
    if isinstance(value, dict) and value.get("__class__") == "PauliSumOp":
        # Opflow is gone from Qiskit; the sum of Pauli strings in it is still known.
        settings = value["__value__"]
        value = settings["primitive"] * settings.get("coeff", 1.0)
    if isinstance(value, list):
        value = SparsePauliOp.from_list([(label, factor) for label, factor in value])
    if isinstance(value, SparsePauliOp):
        return value.simplify()
    if isinstance(value, (Operator, Pauli)):
        return SparsePauliOp.from_operator(Operator(value))
    raise ValueError(
        f"{where}: neither a SparsePauliOp, a PauliSumOp nor a list of [label, coefficient]"
    )


def read_optimizer(value: Any) -> tuple[str, dict[str, Any]]:
    """Return name and settings of an optimizer: a dict, or an object of Qiskit as it travels."""
    if isinstance(value, dict) and value.get("__type__") == "settings":
        value = {"name": value["__class__"], **value["__value__"]}
    if value is not None and not isinstance(value, dict):
        raise TypeError(
            f"optimizer: {type(value).__name__} is neither a dict such as "
            "{'name': 'SPSA', 'maxiter': 100} nor an optimizer of Qiskit"
        )
    settings = {name: item for name, item in (value or {}).items() if item is not None}
    name = settings.pop("name", "SPSA")
    if name not in SPSA_NAMES and name not in SCIPY_METHODS:
        known = ", ".join([*SPSA_NAMES, *SCIPY_METHODS])
        raise ValueError(f"optimizer: {name!r} is not one of {known}")
    settings.update(settings.pop("options", {}))
    return name, {key: item for key, item in settings.items() if key not in UNUSED_SETTINGS}


class Problem:
    """The energy as a function of the parameters; each value is published as it is measured."""

    def __init__(self, backend, user_messenger, ansatz, *, shots, seed, initial_layout):
        self.evaluations = 0
        self._backend = backend
        self._user_messenger = user_messenger
        self._shots = shots
        self._seeds = np.random.default_rng(seed)
        self._ansatz = ansatz
        self._initial_layout = initial_layout
        self._circuit: QuantumCircuit = self._compiled(ansatz)
        self._estimator: Any = None
        self._operator: Any = None

    def measure(self, operator, *, mitigate):
        """Say what the energy is."""
        self._operator = operator.apply_layout(self._circuit.layout)
        readout = None
        if mitigate:
            paulis = self._operator.paulis
            qubits = np.flatnonzero((paulis.x | paulis.z).any(axis=0)).tolist()
            readout = ReadoutMitigator.calibrate(self._backend, qubits, seed_simulator=self._seed())
        self._estimator = ProgramEstimator(
            self._backend, shots=self._shots, seed=self._seed(), readout=readout
        )

    def energies(self, points):
        """Measure the energies at points, one after the other, and publish them."""
        energies, errors = self._estimate(points, self._operator)
        for point, energy, error in zip(points, energies, errors, strict=True):
            self.evaluations += 1
            self._user_messenger.publish([self.evaluations, point, float(energy), float(error)])
        return energies

    def probe(self, points):
        """Measure the energies at points without a word."""
        return self._estimate(points, self._operator)[0]

    def value_and_error(self, point, operator=None):
        """Measure an operator at a point; None is the energy."""
        if operator is None:
            laid_out = self._operator
        else:
            laid_out = operator.apply_layout(self._circuit.layout)
        energies, errors = self._estimate(np.array([point]), laid_out)
        return float(energies[0]), float(errors[0])

    def fidelities(self, point, others):
        """Measure the fidelity of the state of a point with those of others."""
        sampled = self._sample(
            [self._overlap.assign_parameters(np.concatenate([point, other])) for other in others]
        )
        zero = "0" * self._ansatz.num_qubits
        return np.array([probabilities.get(zero, 0.0) for probabilities in sampled])

    def amplitudes(self, point):
        """Return the square roots of the measured probabilities by bit string."""
        measured = self._compiled(self._ansatz.measure_all(inplace=False))
        (probabilities,) = self._sample([measured.assign_parameters(point)])
        return {string: value**0.5 for string, value in probabilities.items()}

    @cached_property
    def _overlap(self):
        """A circuit that measures zeros as often as two states are the same."""
        size = self._ansatz.num_parameters
        one = self._ansatz.assign_parameters(ParameterVector("a", size))
        other = self._ansatz.assign_parameters(ParameterVector("b", size))
        return self._compiled(one.compose(other.inverse()).measure_all(inplace=False))

    def _estimate(self, points, operator):
        pub = (self._circuit, operator, np.asarray(points))
        data = self._estimator.run([pub]).result()[0].data
        return np.asarray(data.evs), np.asarray(data.stds)

    def _sample(self, circuits):
        shots = self._shots or DEFAULT_SHOTS
        result = self._backend.run(circuits, shots=shots, seed_simulator=self._seed()).result()
        require_success(result)
        return [
            {string: count / shots for string, count in result.get_counts(index).items()}
            for index in range(len(circuits))
        ]

    def _compiled(self, circuit):
        config = {
            "target": self._backend.target,
            "initial_layout": self._initial_layout,
            "optimization_level": 1,
            "seed_transpiler": self._seed(),
        }
        return as_written([circuit], lambda ready: transpile(ready, **config))[0]

    def _seed(self):
        return int(self._seeds.integers(2**31))


class AtMaxiter(Exception):  # noqa: N818 - ends SciPy where it would go on
    """COBYLA asks for a point after the last one."""


def minimize_with_scipy(problem, start, name, settings):
    """Return the best point of an optimizer of SciPy.

    COBYLA's points are counted here: it measures at least two more than it has parameters,
    whatever its limit.
    """
    limit = settings.get("maxiter", np.inf) if name == "COBYLA" else np.inf
    if limit < len(start) + 2:
        settings = settings | {"maxiter": len(start) + 2}
    measured = []

    def energy(point):
        if len(measured) >= limit:
            raise AtMaxiter
        value = float(problem.energies(point[np.newaxis])[0])
        measured.append((value, np.array(point)))
        return value

    tol = settings.pop("tol", None)
    try:
        found = minimize(energy, start, method=SCIPY_METHODS[name], tol=tol, options=settings)
    except AtMaxiter:
        return min(measured, key=lambda one: one[0], default=(0.0, start))[1]
    return np.asarray(found.x)


def minimize_energy(problem, start, optimizer, rng):
    """Return the best point, and the history where the optimizer keeps one."""
    name, settings = read_optimizer(optimizer)
    if name in SCIPY_METHODS:
        return minimize_with_scipy(problem, start, name, settings), None
    unknown = sorted(set(settings) - set(SpsaSettings.__dataclass_fields__))
    if unknown:
        raise ValueError(f"optimizer: {name} here does not take {', '.join(unknown)}")
    spsa = SpsaSettings(**settings | {"second_order": SPSA_NAMES[name]})
    objective = Objective(problem.energies, problem.probe, problem.fidelities)
    point, history = spsa.minimize(objective, start, rng)
    return point, {"loss": history.losses, "params": history.points, "time": history.times}


def starting_point(given, count, rng):
    """Return the given parameters, or random ones."""
    if given is None or (isinstance(given, str) and given == "random"):
        return rng.random(count)
    point = np.asarray(given, dtype=float)
    if point.shape != (count,):
        raise ValueError(f"initial_point: {count} parameters, not an array of shape {point.shape}")
    return point


def main(
    backend,
    user_messenger,
    *,
    ansatz: Any,
    operator: Any,
    aux_operators: Any = None,
    initial_point: Any = None,
    initial_parameters: Any = None,
    optimizer: Any = None,
    shots: int | None = DEFAULT_SHOTS,
    measurement_error_mitigation: bool = False,
    initial_layout: Any = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """Minimise the energy of `operator`; `vqe.json` describes the arguments."""
    if not isinstance(ansatz, QuantumCircuit) or not ansatz.num_parameters:
        raise ValueError("ansatz: it must be a QuantumCircuit with parameters")
    operator = read_operator(operator, "operator")
    aux_operators = [
        item if item is None or item == 0 else read_operator(item, f"aux_operators[{index}]")
        for index, item in enumerate(aux_operators or [])
    ]
    rng = np.random.default_rng(seed)
    given = initial_parameters if initial_point is None else initial_point
    start = starting_point(given, ansatz.num_parameters, rng)
    problem = Problem(
        backend,
        user_messenger,
        ansatz,
        shots=shots,
        seed=rng.integers(2**31),
        initial_layout=initial_layout,
    )
    problem.measure(operator, mitigate=measurement_error_mitigation)
    began = time.perf_counter()
    point, history = minimize_energy(problem, start, optimizer, rng)
    seconds = time.perf_counter() - began
    # Measured afresh: the lowest of many noisy values would be too low.
    value, _ = problem.value_and_error(point)
    return {
        "optimizer_evals": problem.evaluations,
        "optimizer_time": seconds,
        "optimal_value": value,
        "optimal_point": point,
        "optimal_parameters": None,
        "cost_function_evals": problem.evaluations,
        "eigenstate": problem.amplitudes(point),
        "eigenvalue": complex(value),
        "aux_operator_eigenvalues": [
            [0.0, 0.0] if item is None or item == 0 else list(problem.value_and_error(point, item))
            for item in aux_operators
        ]
        or None,
        "optimizer_history": history,
    }
