"""The stated standard error: how often its interval covers the exact value, over many seeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit.library import efficient_su2
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp
from scipy.stats import binom

from prefect_qiskit_runtime import primitives
from prefect_qiskit_runtime.program import ProgramBackend, sampled as _sampled

NOMINAL = {1: 0.6827, 2: 0.9545}
"""How often a normal variable is within so many standard deviations."""

# Terms that are measured together (ZII, IZZ, ZIZ), and groups that share an observable.
GROUPED = SparsePauliOp(
    ["III", "ZII", "IZZ", "ZIZ", "XXI", "XIX", "YYI", "IXZ", "IIY"],
    np.array([0.7, -0.4, 0.3, 0.2, 0.5, -0.3, 0.25, -0.6, 0.35]),
)
CORRELATED = SparsePauliOp(["ZZI", "IZZ", "ZIZ", "ZII"], np.array([1.0, 1.0, -1.0, 0.5]))
OPPOSED = SparsePauliOp(["XXI", "YYI", "ZZI"], np.array([1.0, -1.0, 0.5]))


def pubs() -> list[tuple[Any, ...]]:
    """Observables down, parameter values across; and one PUB whose groups are of one setting."""
    circuit = efficient_su2(3, reps=1)
    rng = np.random.default_rng(5)
    values = rng.uniform(-3, 3, (2, circuit.num_parameters))
    entangled = QuantumCircuit(3)
    entangled.ry(0.8, 0)
    entangled.cx(0, 1)
    entangled.rx(0.4, 2)
    return [
        (circuit, [[GROUPED], [CORRELATED], [OPPOSED]], values),
        (entangled, [CORRELATED, OPPOSED]),
    ]


def exact_values() -> NDArray[np.float64]:
    return flat(StatevectorEstimator().run(pubs()).result(), "evs")


def flat(result: Any, name: str) -> NDArray[np.float64]:
    return np.concatenate([np.ravel(pub.data[name]) for pub in result])


def assert_nominal(pulls: NDArray[np.float64]) -> None:
    """Compare coverage with what it should be, for each value of `pulls` (seed, value)."""
    num_seeds, num_values = pulls.shape
    for sigmas, nominal in NOMINAL.items():
        covered = np.sum(np.abs(pulls) <= sigmas, axis=0)
        # One false alarm in a thousand for all values together; the seeds are fixed all the same.
        low, high = binom.interval(1 - 1e-3 / num_values, num_seeds, nominal)
        assert np.all((low <= covered) & (covered <= high)), (sigmas, covered, (low, high))


def pulls(results: Iterator[Any], exact: NDArray[np.float64]) -> NDArray[np.float64]:
    """The error of each value in units of its stated one: 2D (seed, value)."""
    rows = [(flat(result, "evs") - exact) / flat(result, "stds") for result in results]
    return np.array(rows)


def sampled(num_seeds: int) -> Iterator[Any]:
    ideal = ProgramBackend.from_name("aer_simulator")
    for seed in range(num_seeds):
        yield ideal.estimator(shots=500, seed=seed).run(pubs()).result()


@pytest.mark.parametrize("drawn_from", ["states", pytest.param("shots", marks=pytest.mark.slow)])
def test_over_100_seeds_the_interval_covers_the_exact_value_at_its_rate(
    monkeypatch: pytest.MonkeyPatch, drawn_from: str
) -> None:
    if drawn_from == "shots":
        monkeypatch.setattr(_sampled, "_STATE_QUBITS", 0)
    assert_nominal(pulls(sampled(100), exact_values()))


def test_an_error_that_is_a_third_too_small_or_too_large_would_be_seen() -> None:
    found = pulls(sampled(100), exact_values())
    for factor in (4 / 3, 2 / 3):
        with pytest.raises(AssertionError):
            assert_nominal(found * factor)


@pytest.mark.slow
def test_over_1000_seeds_the_interval_covers_the_exact_value_at_its_rate() -> None:
    assert_nominal(pulls(sampled(1000), exact_values()))


@pytest.mark.slow
@pytest.mark.usefixtures("service_home")
def test_so_it_does_for_jobs_of_the_service() -> None:
    def results() -> Iterator[Any]:
        for seed in range(120):
            yield primitives.run_estimator.fn(
                pubs(), backend="aer_simulator", precision=0.05, seed=seed
            )

    assert_nominal(pulls(results(), exact_values()))
