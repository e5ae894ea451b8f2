"""SPSA: simultaneous perturbation stochastic approximation, as it is asked and told.

The gains are those of Spall, IEEE Transactions on Aerospace and Electronic Systems 34, 817
(1998). They do not depend on how many iterations are asked for, so that a loop which has ended
can be extended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prefect_qiskit_runtime.loops._models import Ask, LoopStep, Recommendation

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class SpsaOptions:
    """Settings of SPSA.

    Attributes:
        perturbation: How far from the point the first pair is measured, in each parameter.
        first_step: How far the first step should change each parameter; the gain is calibrated
            for it.
        calibration_pairs: How many pairs are measured around the start for that; 0 takes
            `first_step` as the gain itself.
        stability: Iterations during which the gain stays about the same.
        average: Part of the iterations whose last points are averaged for the result.
    """

    perturbation: float = 0.1
    first_step: float = 0.1
    calibration_pairs: int = 10
    stability: float = 10.0
    average: float = 0.1


class Spsa:
    """The optimizer; each iteration measures one pair of points, in one job.

    Attributes:
        iterations: How many are done.
    """

    def __init__(
        self, start: NDArray[np.float64], *, maxiter: int, seed: int, options: SpsaOptions
    ) -> None:
        self.iterations = 0
        self._options = options
        self._maxiter = maxiter
        self._rng = np.random.default_rng(seed)
        self._point = start.copy()
        self._trail: list[NDArray[np.float64]] = []
        self._gain: float | None = None
        self._direction = np.zeros(len(start))
        if options.calibration_pairs == 0:
            self._gain = options.first_step * (options.stability + 1) ** 0.602

    def ask(self) -> Ask | None:
        """Return the probes around the start, then a pair for each iteration."""
        if self._gain is None:
            shape = (self._options.calibration_pairs, len(self._point))
            probes = self._options.perturbation * self._rng.choice([-1.0, 1.0], shape)
            here = self._point[np.newaxis]
            return Ask(np.concatenate([here + probes, here - probes, here]))
        if self.iterations >= self._maxiter:
            return None
        self._direction = self._rng.choice([-1.0, 1.0], len(self._point))
        offset = self._width * self._direction
        return Ask(np.array([self._point + offset, self._point - offset]))

    def tell(self, step: LoopStep) -> None:
        """Take the values of what was asked for."""
        if self._gain is None:
            self._gain = self._calibrated(step.values)
            return
        slope = (step.values[0] - step.values[1]) / (2 * self._width)
        rate = self._gain / (self._options.stability + self.iterations + 1) ** 0.602
        self._point = self._point - rate * slope * self._direction
        self._trail.append(self._point)
        self.iterations += 1

    def recommend(self) -> Recommendation:
        """Return the mean of the last points, which takes out part of the noise."""
        last = max(1, round(self._options.average * len(self._trail)))
        point = np.mean(self._trail[-last:], axis=0) if self._trail else self._point
        message = f"{self.iterations} iterations done; SPSA has no test of convergence of its own"
        return Recommendation(point, False, message)

    def close(self) -> None:
        """Nothing is left behind."""

    @property
    def _width(self) -> float:
        return self._options.perturbation / (self.iterations + 1) ** 0.101

    def _calibrated(self, values: NDArray[np.float64]) -> float:
        """Return the gain with which the first step is about as long as wanted."""
        pairs, width = self._options.calibration_pairs, self._options.perturbation
        above, below, here = values[:pairs], values[pairs:-1], values[-1]
        slope = float(np.mean(np.abs(above - below))) / (2 * width)
        # At a minimum slopes are small and the curvature limits the step.
        curvature = float(np.mean(above + below - 2 * here)) / width**2
        wanted = max(slope / self._options.first_step, curvature, 1e-8)
        return (self._options.stability + 1) ** 0.602 / wanted
