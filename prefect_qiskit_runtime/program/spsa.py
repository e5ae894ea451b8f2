"""SPSA: simultaneous perturbation stochastic approximation, in steps of ask and tell.

`minimize`, the program `vqe` of the example flows and the public program `vqe` all use it. The
gains are those of Spall, IEEE Transactions on Aerospace and Electronic Systems 34, 817 (1998).
They do not depend on the maximum number of iterations, so a finished loop can be extended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Point = NDArray[np.float64]

_RATE_POWER, _WIDTH_POWER = 0.602, 0.101


@dataclass(frozen=True)
class SpsaOptions:
    """Settings of SPSA.

    Attributes:
        perturbation: How far from the point the first pair is measured, in each parameter.
        first_step: How far the first step should change each parameter; the gain is calibrated
            for it.
        calibration_pairs: How many pairs are measured around the start for this; with 0,
            `first_step` is the gain itself.
        stability: Iterations during which the gain stays about the same.
        average: Part of the iterations whose last points are averaged for the result.
    """

    perturbation: float = 0.1
    first_step: float = 0.1
    calibration_pairs: int = 10
    stability: float = 10.0
    average: float = 0.1


@dataclass(frozen=True)
class Gains:
    """Sizes as functions of the number of iterations done.

    Attributes:
        rate: Factor between the estimated gradient and the step.
        width: Distance of the measured points, in each parameter.
    """

    rate: Callable[[int], float]
    width: Callable[[int], float]

    @classmethod
    def falling(cls, rate: float, width: float, *, stability: float = 0.0) -> Gains:
        """Return Spall's gains, which fall as powers of the number of iterations."""
        return cls(
            lambda done: rate / (stability + done + 1) ** _RATE_POWER,
            lambda done: width / (done + 1) ** _WIDTH_POWER,
        )


class Spsa:
    """The optimizer; each iteration measures pairs of points.

    Attributes:
        iterations: The number of completed iterations.
        point: The current point. A caller that rejects a step restores the previous point.
    """

    def __init__(
        self,
        start: Point,
        *,
        maxiter: int,
        rng: np.random.Generator,
        options: SpsaOptions | None = None,
        gains: Gains | None = None,
    ) -> None:
        """Start at a point.

        Args:
            start: 1D array over the parameters.
            maxiter: Number of iterations after which `ask` returns None.
            rng: Draws the directions.
            options: Settings; None means the defaults.
            gains: Used instead of the gains described by `options`, without a calibration.
        """
        self.iterations = 0
        self.point = start.copy()
        self._maxiter = maxiter
        self._rng = rng
        self._options = options or SpsaOptions()
        self._gains = gains
        self._offsets = np.zeros((0, len(start)))
        self._trail: list[Point] = []
        if gains is None and self._options.calibration_pairs == 0:
            stability = self._options.stability
            self._gains = self._falling(self._options.first_step * (stability + 1) ** _RATE_POWER)

    @property
    def is_calibrated(self) -> bool:
        """Whether the gains are known; until then `ask` returns the probes for them."""
        return self._gains is not None

    def ask(self) -> Point | None:
        """Return the points to measure next, a 2D array; None after the last iteration.

        The first are pairs around the start and the start itself, unless the gains are known.
        """
        if self._gains is None:
            shape = (self._options.calibration_pairs, len(self.point))
            probes = self._options.perturbation * self._rng.choice([-1.0, 1.0], shape)
            return np.concatenate([self.point + probes, self.point - probes, [self.point]])
        if self.iterations >= self._maxiter:
            return None
        self._offsets = self._gains.width(self.iterations) * self._directions()
        pairs = np.stack([self.point + self._offsets, self.point - self._offsets], axis=1)
        return pairs.reshape(-1, len(self.point))

    def tell(self, values: NDArray[np.float64]) -> None:
        """Use the values at the points that `ask` returned, a 1D array, to step."""
        if self._gains is None:
            self._gains = self._falling(self._calibrated(values))
            return
        above, below = values.reshape(-1, 2).T
        slopes = (above - below)[:, np.newaxis] / (2 * self._offsets)
        gradient = self._improved(slopes.mean(axis=0))
        self.point = self.point - self._gains.rate(self.iterations) * gradient
        self._trail.append(self.point)
        self.iterations += 1

    def recommend(self) -> Point:
        """Return the mean of the last points, which reduces the noise."""
        last = max(1, round(self._options.average * len(self._trail)))
        return np.mean(self._trail[-last:], axis=0) if self._trail else self.point

    def _directions(self) -> NDArray[np.float64]:
        """Draw the directions of the next pairs, a 2D array of signs (pair, parameter)."""
        return self._rng.choice([-1.0, 1.0], (1, len(self.point)))

    def _improved(self, gradient: Point) -> Point:
        """Return the direction of a step; a variant of SPSA improves the estimate here."""
        return gradient

    def _falling(self, rate: float) -> Gains:
        return Gains.falling(rate, self._options.perturbation, stability=self._options.stability)

    def _calibrated(self, values: NDArray[np.float64]) -> float:
        """Return the gain for which the first step has about the requested length."""
        pairs, width = self._options.calibration_pairs, self._options.perturbation
        above, below, here = values[:pairs], values[pairs:-1], values[-1]
        slope = float(np.mean(np.abs(above - below))) / (2 * width)
        # At a minimum slopes are small and the curvature limits the step.
        curvature = float(np.mean(above + below - 2 * here)) / width**2
        wanted = max(slope / self._options.first_step, curvature, 1e-8)
        return (self._options.stability + 1) ** _RATE_POWER / wanted
