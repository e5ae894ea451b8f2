"""SPSA with the settings of Qiskit's optimizers, which clients pass to the public program `vqe`.

It extends `program.spsa` with several pairs per step, given gains, blocking, a trust region, and
the quantum natural form QN-SPSA of Gacon, Zoufal, Carleo and Woerner, Quantum 5, 567 (2021).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from prefect_qiskit_runtime.program.spsa import Gains, Spsa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Point = NDArray[np.float64]
    Values = Callable[[NDArray[np.float64]], NDArray[np.float64]]
    Fidelities = Callable[[Point, NDArray[np.float64]], NDArray[np.float64]]

_CALIBRATION_STEPS = 25
_FIRST_STEP = 2 * np.pi / 10
_FIRST_WIDTH = 0.1


@dataclass(frozen=True)
class Objective:
    """The function to minimise.

    Attributes:
        values: Returns the value at each point of a 2D array (point, parameter).
        probe: The same, for the calibration.
        fidelities: Returns the fidelities of the state at a point with the states at others.
    """

    values: Values
    probe: Values
    fidelities: Fidelities


@dataclass
class History:
    """The history of a minimisation.

    Attributes:
        losses: Value at each iteration; without blocking, the mean of the perturbed values.
        points: The point that each iteration reached.
        times: When each iteration ended, in seconds since 1970.
    """

    losses: list[float] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


@dataclass
class SpsaSettings:
    """Settings under the names that optimizers of Qiskit had.

    Attributes:
        learning_rate: Step sizes: a number, or one for each iteration; None calibrates.
        perturbation: Perturbation sizes, in the same form.
        blocking: Whether to reject steps that raise the value by more than `allowed_increase`.
        allowed_increase: None measures twice the standard deviation at the start.
        second_order: Whether to precondition with the metric of the states (QN-SPSA).
    """

    maxiter: int = 100
    blocking: bool = False
    allowed_increase: float | None = None
    trust_region: bool = False
    learning_rate: float | Sequence[float] | None = None
    perturbation: float | Sequence[float] | None = None
    last_avg: int = 1
    resamplings: int = 1
    regularization: float = 0.01
    hessian_delay: int = 0
    second_order: bool = False

    def __post_init__(self) -> None:
        if (self.learning_rate is None) != (self.perturbation is None):
            raise ValueError("optimizer: learning_rate and perturbation are given both or neither")

    def minimize(
        self, objective: Objective, start: Point, rng: np.random.Generator
    ) -> tuple[Point, History]:
        """Return the final point and the history."""
        spsa = _QiskitSpsa(self, objective, start, self._gains(objective.probe, start, rng), rng)
        history = History()
        here = allowed = 0.0
        if self.blocking:
            here, allowed = self._blocking_values(objective.probe, start)
        while (pairs := spsa.ask()) is not None:
            before = spsa.point
            values = objective.values(pairs)
            spsa.tell(values)
            loss = float(values.mean())
            if self.blocking:
                loss = float(objective.values(spsa.point[np.newaxis])[0])
            history.losses.append(loss)
            history.points.append(spsa.point)
            history.times.append(time.time())
            if self.blocking and loss >= here + allowed:
                spsa.point = before
            else:
                here = loss
        if self.last_avg > 1 and history.points:
            return np.mean(history.points[-self.last_avg :], axis=0), history
        return spsa.point, history

    def _gains(self, values: Values, start: Point, rng: np.random.Generator) -> Gains:
        if self.learning_rate is not None and self.perturbation is not None:
            return Gains(_series(self.learning_rate), _series(self.perturbation))
        offsets = _FIRST_WIDTH * rng.choice([-1.0, 1.0], (_CALIBRATION_STEPS, len(start)))
        both = values(np.concatenate([start + offsets, start - offsets]))
        above, below = np.split(both, 2)
        slope = float(np.mean(np.abs(above - below))) / (2 * _FIRST_WIDTH)
        return Gains.falling(_FIRST_STEP / slope if slope > 1e-10 else _FIRST_STEP, _FIRST_WIDTH)

    def _blocking_values(self, values: Values, start: Point) -> tuple[float, float]:
        here = float(values(start[np.newaxis])[0])
        if self.allowed_increase is not None:
            return here, self.allowed_increase
        return here, 2 * float(np.std(values(np.tile(start, (_CALIBRATION_STEPS, 1)))))


class _QiskitSpsa(Spsa):
    """SPSA with several pairs for each step, a trust region and the metric of the states."""

    def __init__(
        self,
        settings: SpsaSettings,
        objective: Objective,
        start: Point,
        gains: Gains,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(start, maxiter=settings.maxiter, rng=rng, gains=gains)
        self._settings = settings
        self._fidelities = objective.fidelities
        self._widths = gains.width
        self._metric = np.identity(len(start))
        self._drawn = np.zeros((0, 2, len(start)))

    def _directions(self) -> NDArray[np.float64]:
        # The second of each two is for the metric. It is drawn even if no metric is used, so that
        # SPSA and QN-SPSA with the same seed measure the same first pairs.
        shape = (self._settings.resamplings, 2, len(self.point))
        self._drawn = self._rng.choice([-1.0, 1.0], shape)
        return self._drawn[:, 0]

    def _improved(self, gradient: Point) -> Point:
        if self._settings.second_order:
            gradient = self._natural(gradient)
        norm = float(np.linalg.norm(gradient))
        return gradient / norm if self._settings.trust_region and norm > 1 else gradient

    def _natural(self, gradient: Point) -> Point:
        width = self._widths(self.iterations)
        found = _metric(self._fidelities, self.point, width * self._drawn, width)
        self._metric = (self._metric * (self.iterations + 1) + found) / (self.iterations + 2)
        if self.iterations < self._settings.hessian_delay:
            return gradient
        regular = _regular(self._metric, self._settings.regularization)
        return np.asarray(np.linalg.solve(regular, gradient), dtype=float)


def _series(gain: float | Sequence[float]) -> Callable[[int], float]:
    """Return sizes as a function of the iterations done; the last given size is repeated."""
    if isinstance(gain, (int, float)):
        return lambda _done: float(gain)
    given = [float(value) for value in gain]
    if not given:
        raise ValueError("optimizer: a list of gains must not be empty")
    return lambda done: given[min(done, len(given) - 1)]


def _metric(
    fidelities: Fidelities, point: Point, offsets: NDArray[Any], width: float
) -> NDArray[Any]:
    """Return the mean of rank-two estimates of the metric, -1/2 the Hessian of the fidelity."""
    total = np.zeros((len(point), len(point)))
    for first, second in offsets:
        around = np.array(
            [point + first + second, point + first, point - first + second, point - first]
        )
        measured = fidelities(point, around)
        change = (measured[0] - measured[1]) - (measured[2] - measured[3])
        outer = np.outer(first, second) / width**2
        total += -0.5 * change / (2 * width**2) * (outer + outer.T) / 2
    return total / len(offsets)


def _regular(metric: NDArray[Any], regularization: float) -> NDArray[Any]:
    """Return the positive root of the squared metric, moved slightly towards the identity."""
    values, vectors = np.linalg.eigh(metric)
    positive = (vectors * np.abs(values)) @ vectors.T
    size = len(metric)
    return (1 - regularization) * positive + regularization * np.identity(size)
