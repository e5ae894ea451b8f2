"""Durable hybrid loops: an optimizer here, its objective in jobs, and nothing bought twice.

Each step of a loop is one job, recorded with its parameters before it is submitted and with its
values when it has ended. A loop that runs again (a flow run that is retried after a crash, a
task that is retried, the same `durable_key` in another flow run) repeats its steps from the
records until it is where it was, and goes on from there. `minimize` runs an optimizer; with
`DurableLoop` a program of your own asks and is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from prefect_qiskit_runtime.backend import BackendLike, as_backend
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.flow_run.tasks import async_task, sync_task
from prefect_qiskit_runtime.loops._estimator import EstimatorObjective
from prefect_qiskit_runtime.loops._minimizing import Minimization
from prefect_qiskit_runtime.loops._models import Ask, LoopResult, LoopStep
from prefect_qiskit_runtime.loops._optimizers import AskTell, Choice, read_method, takes_gradients
from prefect_qiskit_runtime.loops._running import LoopSession, LoopSettings, RunningLoop
from prefect_qiskit_runtime.loops._stopping import Limits
from prefect_qiskit_runtime.twins.sync import blocking

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "AskTell",
    "DurableLoop",
    "EstimatorObjective",
    "LoopResult",
    "LoopStep",
    "aminimize",
    "minimize",
]


class DurableLoop:
    """A loop of your own: it asks for values at points, and each is bought once.

    A context manager, plain or async. Leave it by its end, and the loop is finished; leave it by
    an exception, and the same loop goes on from its records when it comes back. What you do
    between the steps must come to the same points then: take random numbers from a seed.

    Example:
        ```python
        with DurableLoop(objective, backend="aer_simulator", name="scan") as loop:
            for angle in angles:
                step = loop.evaluate([angle])
                print(step.value, step.std)
        ```
    """

    def __init__(
        self,
        objective: EstimatorObjective | Callable[..., Any],
        *,
        backend: BackendLike | None = None,
        name: str | None = None,
        durable_key: str | None = None,
        seed: int = 0,
        session: LoopSession = None,
        gradients: bool = False,
        replay_tolerance: float = 1e-6,
    ) -> None:
        """Describe a loop; it begins when its block is entered.

        Args:
            objective: As in `minimize`.
            backend: As in `minimize`.
            name: As in `minimize`.
            durable_key: As in `minimize`.
            seed: As in `minimize`.
            session: As in `minimize`.
            gradients: Whether steps may ask for gradients, which may need another circuit.
            replay_tolerance: As in `minimize`.
        """
        self._objective = objective
        self._settings = LoopSettings(
            backend=None if backend is None else as_backend(backend),
            name=name,
            durable_key=durable_key,
            seed=seed,
            session=session,
            gradients=gradients,
            replay_tolerance=replay_tolerance,
        )
        self._loop: RunningLoop | None = None

    @property
    def steps(self) -> tuple[LoopStep, ...]:
        """The steps that are done, those from the records included."""
        return () if self._loop is None else tuple(self._loop.steps)

    async def aevaluate(self, points: ArrayLike, *, gradient: bool = False) -> LoopStep:
        """Measure at a point, or at several in one job.

        Args:
            points: 1D array, or 2D array (point, parameter).
            gradient: Whether the gradient at the first of them is wanted too.

        Raises:
            ConfigurationError: The loop is not entered, or has no gradients.
            LoopDivergedError: On record is another step in this place.
            JobError: The job ended without a result.
        """
        if self._loop is None:
            raise ConfigurationError("Enter the loop first: with DurableLoop(…) as loop: …")
        if gradient and not self._settings.gradients:
            raise ConfigurationError("This loop has no gradients: DurableLoop(…, gradients=True).")
        return await self._loop.step(Ask.of(points, gradient=gradient))

    evaluate = blocking(aevaluate)

    async def __aenter__(self) -> DurableLoop:
        self._loop = await RunningLoop.of(self._objective, self._settings, {})
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._loop is not None:
            await self._loop.__aexit__(kind, error, traceback)

    __enter__ = blocking(__aenter__)
    __exit__ = blocking(__aexit__)


@async_task
async def aminimize(
    objective: EstimatorObjective | Callable[..., Any],
    start: ArrayLike | LoopResult,
    *,
    backend: BackendLike | None = None,
    method: str | AskTell = "COBYLA",
    jac: bool | None = None,
    maxiter: int = 100,
    tol: float | None = None,
    method_options: Mapping[str, Any] | None = None,
    max_evaluations: int | None = None,
    max_qpu_seconds: float | None = None,
    seed: int = 0,
    session: LoopSession = None,
    name: str | None = None,
    durable_key: str | None = None,
    callback: Callable[[LoopStep], Any] | None = None,
    replay_tolerance: float = 1e-6,
) -> LoopResult:
    """Minimise an objective that is measured by jobs.

    Every step is on record. In a flow run that runs again, after a crash or as a retry, the loop
    repeats them from there, attaches to the job that was under way, and goes on. With a higher
    `maxiter` it goes on after its end. A flow run also ends its loops early, with a result, when
    the Prefect variable `stop_` with the name of the flow run (`stop_happy_fox`) is set.

    Args:
        objective: An `EstimatorObjective`: one job of the estimator for each step. Or a function
            of a point, a 1D array, that submits what it wants and returns the value, or value
            and standard error; with `jac` it returns value and gradient, or these and the
            standard error. One with a parameter `points` is called once for all points of a
            step, a 2D array; with parameters `seed` and `session` it is given those of the step.
        start: Where to begin, 1D array; or the result of another loop, to begin where it ended.
        backend: Where an `EstimatorObjective` runs: a `RuntimeBackend`, or the name of a backend
            of the embedded service.
        method: A method of `scipy.optimize.minimize`; "SPSA", which measures two points in each
            iteration, in one job; or an object with `ask()` and `tell(points, values)`.
        jac: Whether each step also gives the gradient, in the same job. Default: for an
            `EstimatorObjective` and a method that uses gradients. SPSA takes none.
        maxiter: Most iterations, as the method counts them.
        tol: Of SciPy's methods their own `tol`. For others: ends the loop when the mean of ten
            steps differs by less from that of the ten before.
        method_options: SciPy's `options` of the method, and its `bounds` and `constraints`; or
            those of SPSA: `perturbation`, `first_step`, `calibration_pairs`, `stability`,
            `average`.
        max_evaluations: How many values of the objective may be taken, with the shifted points of
            gradients, the calibration of SPSA and the last measurement.
        max_qpu_seconds: Ends the loop when its jobs have taken so long on a device.
        seed: Of SPSA; and each step's samples are seeded from it and the number of the step, so
            that a step that is measured again gives the same.
        session: "session" or "batch" opens one for the loop, at its first job, and closes it at
            its end; or one that is open.
        name: Of the loop: within a flow run, loops with one name are one loop. Without, equal
            loops are told apart by the order of their calls.
        durable_key: A name of your own: the loop with it is the same in any flow run, or outside.
        callback: Called with each `LoopStep`, replayed ones included. One that raises is logged
            and does not end the loop.
        replay_tolerance: How far a parameter of a repeated step may be from that on record;
            rounding differs between machines and libraries.

    Returns:
        Where it ended, with the value there, its standard error, and all steps.

    Raises:
        ConfigurationError: The objective, the method or an option cannot be used as such.
        InvalidInputError: The objective has no gradient by parameter shifts.
        LoopDivergedError: The loop does not repeat its records; nothing was submitted.
        JobError: A job ended without a result; the class says how.
    """
    point = _starting_point(start, objective)
    chosen = read_method(method)
    has_gradients = _has_gradients(objective, chosen, jac)
    choice = Choice(
        chosen, has_gradients, maxiter, tol, seed=seed, options=dict(method_options or {})
    )
    settings = LoopSettings(
        backend=None if backend is None else as_backend(backend),
        name=name,
        durable_key=durable_key,
        seed=seed,
        session=session,
        gradients=has_gradients,
        replay_tolerance=replay_tolerance,
        counts_qpu_seconds=max_qpu_seconds is not None,
    )
    limits = Limits(max_evaluations, max_qpu_seconds, None if choice.is_scipy else tol)
    header = {"method": choice.name, "jac": has_gradients}
    async with await RunningLoop.of(objective, settings, header) as loop:
        return await Minimization(loop, choice, limits, callback).run(point)


minimize = sync_task(aminimize)
"""Synchronous twin of `aminimize`."""


def _starting_point(start: Any, objective: Any) -> NDArray[np.float64]:
    point = np.array(start.parameters if isinstance(start, LoopResult) else start, dtype=float)
    wanted = objective.num_parameters if isinstance(objective, EstimatorObjective) else point.size
    if point.shape != (wanted,) or not point.size:
        raise ConfigurationError(
            f"start has the shape {point.shape}; wanted is one number for each of the {wanted}"
            " parameters."
        )
    return point


def _has_gradients(objective: Any, method: str | AskTell, jac: bool | None) -> bool:
    if jac is None:
        return isinstance(objective, EstimatorObjective) and takes_gradients(method)
    if jac and (method == "SPSA" or not isinstance(method, str)):
        raise ConfigurationError(
            "jac=True is for methods of SciPy; SPSA and optimizers of your own take values."
        )
    return jac
