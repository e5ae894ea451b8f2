"""SPSA, and its quantum natural form QN-SPSA, as the public program `vqe` was called with them.

SPSA is that of Spall (1998), with his calibration of the first step; QN-SPSA is that of Gacon,
Zoufal, Carleo and Woerner, Quantum 5, 567 (2021).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Point = NDArray[np.float64]
    Values = Callable[[NDArray[np.float64]], NDArray[np.float64]]
    Fidelities = Callable[[Point, NDArray[np.float64]], NDArray[np.float64]]

_CALIBRATION_STEPS = 25
_FIRST_STEP = 2 * np.pi / 10
_POWERS = (0.602, 0.101)


@dataclass(frozen=True)
class Objective:
    """What is minimised.

    Attributes:
        values: Gives the value at each of some points, a 2D array (point, parameter).
        probe: The same, for the calibration.
        fidelities: Gives the fidelity of the state of a point with those of some others.
    """

    values: Values
    probe: Values
    fidelities: Fidelities


@dataclass
class History:
    """What a minimisation went through.

    Attributes:
        losses: Value at each iteration; without blocking, the mean of the perturbed ones.
        points: Where each iteration led to.
        times: When each iteration ended, in seconds since 1970.
    """

    losses: list[float] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


@dataclass
class Spsa:
    """Settings under the names that optimizers of Qiskit had.

    Attributes:
        learning_rate: Step sizes: a number, or one for each iteration; None calibrates.
        perturbation: Perturbation sizes, likewise.
        blocking: Whether to reject steps that make it worse by more than `allowed_increase`.
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
        """Return where it ended, and what it went through."""
        rates, widths = self._gains(objective.probe, start, rng)
        metric = np.identity(len(start))
        point, history = start, History()
        here = allowed = 0.0
        if self.blocking:
            here, allowed = self._blocking_values(objective.probe, start)
        for iteration in range(self.maxiter):
            width = next(widths)
            directions = rng.choice([-1.0, 1.0], (self.resamplings, 2, len(start)))
            gradient, loss = _gradient(objective.values, point, width * directions[:, 0])
            if self.second_order:
                found = _metric(objective.fidelities, point, width * directions, width)
                metric = (metric * (iteration + 1) + found) / (iteration + 2)
                if iteration >= self.hessian_delay:
                    gradient = np.linalg.solve(_regular(metric, self.regularization), gradient)
            norm = float(np.linalg.norm(gradient))
            if self.trust_region and norm > 1:
                gradient = gradient / norm
            candidate = point - next(rates) * gradient
            if self.blocking:
                loss = float(objective.values(candidate[np.newaxis])[0])
            history.losses.append(loss)
            history.points.append(candidate)
            history.times.append(time.time())
            if self.blocking and loss >= here + allowed:
                continue
            point, here = candidate, loss
        if self.last_avg > 1 and history.points:
            point = np.mean(history.points[-self.last_avg :], axis=0)
        return point, history

    def _gains(
        self, values: Values, start: Point, rng: np.random.Generator
    ) -> tuple[Iterator[float], Iterator[float]]:
        if self.learning_rate is not None and self.perturbation is not None:
            return _series(self.learning_rate), _series(self.perturbation)
        width = 0.1
        offsets = width * rng.choice([-1.0, 1.0], (_CALIBRATION_STEPS, len(start)))
        both = values(np.concatenate([start + offsets, start - offsets]))
        above, below = np.split(both, 2)
        slope = float(np.mean(np.abs(above - below))) / (2 * width)
        gain = _FIRST_STEP / slope if slope > 1e-10 else _FIRST_STEP
        rate_power, width_power = _POWERS
        return (
            (gain / count**rate_power for count in itertools.count(1)),
            (width / count**width_power for count in itertools.count(1)),
        )

    def _blocking_values(self, values: Values, start: Point) -> tuple[float, float]:
        here = float(values(start[np.newaxis])[0])
        if self.allowed_increase is not None:
            return here, self.allowed_increase
        return here, 2 * float(np.std(values(np.tile(start, (_CALIBRATION_STEPS, 1)))))


def _series(gain: float | Sequence[float]) -> Iterator[float]:
    if isinstance(gain, (int, float)):
        return itertools.repeat(float(gain))
    given = [float(value) for value in gain]
    if not given:
        raise ValueError("optimizer: a list of gains must not be empty")
    return itertools.chain(given, itertools.repeat(given[-1]))


def _gradient(values: Values, point: Point, offsets: NDArray[Any]) -> tuple[Point, float]:
    """Return the mean of the estimates along `offsets`, and the mean of what was measured."""
    pairs = np.stack([point + offsets, point - offsets], axis=1)
    measured = values(pairs.reshape(-1, len(point))).reshape(-1, 2)
    slopes = (measured[:, 0] - measured[:, 1])[:, np.newaxis] / (2 * offsets)
    return slopes.mean(axis=0), float(measured.mean())


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
    """Return the positive root of its square, moved a little towards the identity."""
    values, vectors = np.linalg.eigh(metric)
    positive = (vectors * np.abs(values)) @ vectors.T
    size = len(metric)
    return (1 - regularization) * positive + regularization * np.identity(size)
