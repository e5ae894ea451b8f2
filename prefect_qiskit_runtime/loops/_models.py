"""The data of a loop: points to measure, measured values, steps and the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

EndReason = Literal[
    "converged",
    "gave_up",
    "maxiter",
    "tolerance",
    "max_evaluations",
    "max_qpu_seconds",
    "stopped",
]
"""Why a loop ended: `gave_up` if the optimizer made no more progress, `stopped` if by the user."""


@dataclass(frozen=True)
class Ask:
    """The points that one step measures in one job.

    Attributes:
        points: 2D array (point, parameter).
        gradient: Whether to measure the gradient at the first point as well.
    """

    points: NDArray[np.float64]
    gradient: bool = False

    @classmethod
    def of(cls, points: Any, *, gradient: bool = False) -> Ask:
        """Build it from one point or several."""
        return cls(np.atleast_2d(np.array(points, dtype=float)), gradient)


@dataclass(frozen=True)
class Measured:
    """The values that the objective returned.

    Attributes:
        values: 1D array, one for each point.
        stds: Their standard errors; 0 where the value is exact, NaN where unknown.
        gradient: 1D array over the parameters, at the first point; None if not requested.
        gradient_stds: Its standard errors.
    """

    values: NDArray[np.float64]
    stds: NDArray[np.float64]
    gradient: NDArray[np.float64] | None = None
    gradient_stds: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class LoopStep:
    """One step of a loop: the points measured together in one job.

    Attributes:
        index: Number of the step, from 0.
        points: 2D array (point, parameter).
        values: 1D array, one value for each point.
        stds: Standard errors of the values; 0 where they are exact, NaN where unknown.
        gradient: At the first point, 1D array over the parameters; None if not requested.
        gradient_stds: Standard errors of the gradient.
        evaluations: How many values of the objective it measured, including shifted points.
        job_ids: The jobs of the step; empty if it needed none.
        qpu_seconds: Seconds on a device, if the loop counts them; 0 on a simulator.
        replayed: Whether the values come from the loop's records.
    """

    index: int
    points: NDArray[np.float64]
    values: NDArray[np.float64]
    stds: NDArray[np.float64]
    gradient: NDArray[np.float64] | None
    gradient_stds: NDArray[np.float64] | None
    evaluations: int
    job_ids: tuple[str, ...]
    qpu_seconds: float | None
    replayed: bool

    @property
    def point(self) -> NDArray[np.float64]:
        """The first of its points."""
        return self.points[0]

    @property
    def value(self) -> float:
        """Mean of its values; for a pair of SPSA, roughly the value midway between them."""
        return float(np.mean(self.values))

    @property
    def std(self) -> float:
        """Standard error of `value`."""
        return float(np.sqrt(np.sum(self.stds**2)) / len(self.stds))


@dataclass(frozen=True)
class LoopResult:
    """The result of a loop.

    Attributes:
        parameters: The final point, 1D array.
        value: The objective at that point. Noisy values are measured again there, because the
            lowest of many noisy values is biased low.
        std: Standard error of the value; 0 if it is exact, NaN if unknown.
        reason: Why the loop ended.
        message: The reason in words.
        evaluations: How many values of the objective were measured, including the shifted points
            of gradients, the probes of SPSA and the final measurement.
        iterations: Number of iterations, as the optimizer counts them.
        jobs: Number of jobs, in this flow run and earlier ones.
        qpu_seconds: Seconds of the jobs on devices, if the loop counted them.
        history: The steps in order, without the final measurement.
    """

    parameters: NDArray[np.float64]
    value: float
    std: float
    reason: EndReason
    message: str
    evaluations: int
    iterations: int
    jobs: int
    qpu_seconds: float | None
    history: tuple[LoopStep, ...]

    @property
    def converged(self) -> bool:
        """Whether a convergence test was passed; SPSA has none unless `tol` is given."""
        return self.reason in ("converged", "tolerance")


@dataclass(frozen=True)
class Recommendation:
    """The final point that an optimizer recommends.

    Attributes:
        point: 1D array; None to use the best measured point.
        converged: Whether the optimizer reports a minimum.
        message: The optimizer's message.
    """

    point: NDArray[np.float64] | None
    converged: bool
    message: str
