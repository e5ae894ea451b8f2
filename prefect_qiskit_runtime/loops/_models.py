"""What a loop asks for, what it was told, and what came out of it."""

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
"""Why a loop has ended: `gave_up` is an optimizer that can go no further, `stopped` is by hand."""


@dataclass(frozen=True)
class Ask:
    """What one step measures, in one job.

    Attributes:
        points: 2D array (point, parameter).
        gradient: Whether the gradient at the first point is wanted too.
    """

    points: NDArray[np.float64]
    gradient: bool = False

    @classmethod
    def of(cls, points: Any, *, gradient: bool = False) -> Ask:
        """Take one point, or several."""
        return cls(np.atleast_2d(np.array(points, dtype=float)), gradient)


@dataclass(frozen=True)
class Told:
    """What the objective said.

    Attributes:
        values: 1D array, one for each point.
        stds: Their standard errors; 0 where the value is exact, NaN where nobody knows it.
        gradient: 1D array over the parameters, at the first point; None if not asked for.
        gradient_stds: Its standard errors.
    """

    values: NDArray[np.float64]
    stds: NDArray[np.float64]
    gradient: NDArray[np.float64] | None = None
    gradient_stds: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class LoopStep:
    """One step of a loop: what was measured together, in one job.

    Attributes:
        index: Its number, from 0.
        points: 2D array (point, parameter).
        values: 1D array, one value for each point.
        stds: Standard errors of the values; 0 where they are exact, NaN where unknown.
        gradient: At the first point, 1D array over the parameters; None if not asked for.
        gradient_stds: Standard errors of the gradient.
        evaluations: How many values of the objective it took, shifted points included.
        job_ids: The jobs that it took; none if it was answered without one.
        qpu_seconds: Seconds on a device, if the loop asks for them; 0 on a simulator.
        replayed: Whether it was answered from the loop's records.
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
        """Mean of its values: of one point the value, of a pair of SPSA about that between."""
        return float(np.mean(self.values))

    @property
    def std(self) -> float:
        """Standard error of `value`."""
        return float(np.sqrt(np.sum(self.stds**2)) / len(self.stds))


@dataclass(frozen=True)
class LoopResult:
    """What came out of a loop.

    Attributes:
        parameters: Where it ended, 1D array.
        value: The objective there: measured anew where values are noisy, since the lowest of
            many noisy values would be too low.
        std: Standard error of the value; 0 if it is exact, NaN if unknown.
        reason: Why it ended.
        message: The same in words.
        evaluations: How many values of the objective it took: points, with the shifted ones of
            gradients, the probes of SPSA and the last measurement.
        iterations: How many iterations the optimizer counts.
        jobs: How many jobs it took, in this flow run and before.
        qpu_seconds: Their seconds on devices, if the loop asked for them.
        history: Its steps, in order; the last measurement is not among them.
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
        """Whether a test of convergence was passed; SPSA by itself has none."""
        return self.reason in ("converged", "tolerance")


@dataclass(frozen=True)
class Recommendation:
    """Where an optimizer would end.

    Attributes:
        point: 1D array; None where it does not say, for the best point that was measured.
        converged: Whether it says that this is a minimum.
        message: In its own words.
    """

    point: NDArray[np.float64] | None
    converged: bool
    message: str
