"""Durable hybrid loops: the optimizer runs here, its objective in jobs, each submitted once.

Each step of a loop is one job. Its parameters are recorded before the job is submitted, and its
values when the job has ended. A loop that runs again (a flow run retried after a crash, a
retried task, or the same `durable_key` in another flow run) replays its steps from the records
and continues where it stopped. `minimize` runs an optimizer; with `DurableLoop`, your own code
chooses the points.
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
    """A loop that you write yourself: it measures values at points, each of them once.

    It is a context manager, plain or async. If the block ends normally, the loop is finished. If
    it ends with an exception, the same loop continues from its records when it runs again. Your
    code between the steps must then compute the same points: seed its random numbers.

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
        """Describe a loop; it starts when the `with` block is entered.

        Args:
            objective: As in `minimize`.
            backend: As in `minimize`.
            name: As in `minimize`.
            durable_key: As in `minimize`.
            seed: As in `minimize`.
            session: As in `minimize`.
            gradients: Whether steps may request gradients, which may need another circuit.
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
        """The completed steps, including those replayed from the records."""
        return () if self._loop is None else tuple(self._loop.steps)

    async def aevaluate(self, points: ArrayLike, *, gradient: bool = False) -> LoopStep:
        """Measure at a point, or at several in one job.

        Args:
            points: 1D array, or 2D array (point, parameter).
            gradient: Whether to measure the gradient at the first point as well.

        Raises:
            ConfigurationError: The loop is not entered, or has no gradients.
            LoopDivergedError: The records have a different step at this position.
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
    start: ArrayLike | LoopResult | Mapping[Any, Any],
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

    Every step is recorded. If the flow run is run again, after a crash or as a retry, the loop
    replays its recorded steps, attaches to the job that was running, and continues. With a higher
    `maxiter`, a finished loop continues after its last step. To end the loops of a flow run
    early, with a result, set the Prefect variable named `stop_` and the name of the flow run, for
    example `stop_happy_fox`.

    Args:
        objective: An `EstimatorObjective`, with one job of the estimator for each step; or a
            function of a point (a 1D array) that submits its own jobs and returns the value, or
            the value and its standard error. With `jac`, it returns the value and the gradient,
            optionally followed by the standard error. A function with a parameter `points` is
            called once with all points of a step (a 2D array). Parameters named `seed` and
            `session` receive those of the step.
        start: The starting point, a 1D array; for an `EstimatorObjective` also a mapping from
            its parameters, or their names, to numbers; or the result of another loop, to start
            where it ended.
        backend: The backend that an `EstimatorObjective` runs on: a `RuntimeBackend`, or the name
            of a backend of the embedded service.
        method: A method of `scipy.optimize.minimize`; "SPSA", which measures two points
            per iteration in one job; or an object with `ask()` and `tell(points, values)`.
        jac: Whether each step also measures the gradient, in the same job. Default: True for an
            `EstimatorObjective` with a method that uses gradients. SPSA uses none.
        maxiter: Maximum number of iterations, as the method counts them; for COBYLA, COBYQA and
            TNC, of measured points. With 0, only the starting point is measured.
        tol: For SciPy's methods, their `tol`. For other methods, the loop ends when the means of
            the last ten steps and of the ten steps before them differ by less than this.
        method_options: SciPy's `options` of the method, and its `bounds` and `constraints`; or
            the options of SPSA: `perturbation`, `first_step`, `calibration_pairs`, `stability`,
            `average`.
        max_evaluations: Maximum number of values of the objective, including the shifted points
            of gradients, the calibration of SPSA and the final measurement.
        max_qpu_seconds: Ends the loop when its jobs have used this much time on a device.
        seed: Seed of SPSA. The samples of each step are seeded from it and the step's number, so
            a step that is measured again gives the same values.
        session: "session" or "batch" to open one at the first job of the loop and close it at the
            end of the loop; or a session that is already open.
        name: Name of the loop. Within a flow run, loops with the same name are one loop; equal
            loops without a name are distinguished by the order of their calls.
        durable_key: A name that you choose: loops with the same key are one loop in all flow runs
            and outside of them.
        callback: Called with each `LoopStep`, including replayed ones. If it raises, the error is
            logged and the loop continues.
        replay_tolerance: How far a parameter of a replayed step may be from the recorded value;
            rounding differs between machines and libraries.

    Returns:
        The final point, its value and standard error, and all steps.

    Raises:
        ConfigurationError: The objective, the method or an option cannot be used.
        InvalidInputError: The objective has no gradient by parameter shifts.
        LoopDivergedError: The loop does not repeat its records; nothing was submitted.
        JobError: A job ended without a result; the error's class gives the reason.
    """
    _check_limits(maxiter, max_evaluations)
    point = _starting_point(start, objective)
    optimizer = read_method(method)
    with_gradients = _has_gradients(objective, optimizer, jac)
    choice = Choice(optimizer, with_gradients, maxiter, tol, seed, dict(method_options or {}))
    settings = LoopSettings(
        backend=None if backend is None else as_backend(backend),
        name=name,
        durable_key=durable_key,
        seed=seed,
        session=session,
        gradients=with_gradients,
        replay_tolerance=replay_tolerance,
        counts_qpu_seconds=max_qpu_seconds is not None,
    )
    limits = Limits(max_evaluations, max_qpu_seconds, None if choice.is_scipy else tol)
    header = {"method": choice.name, "jac": with_gradients}
    async with await RunningLoop.of(objective, settings, header) as loop:
        return await Minimization(loop, choice, limits, callback).run(point)


minimize = sync_task(aminimize)
"""Synchronous twin of `aminimize`."""


def _check_limits(maxiter: Any, max_evaluations: Any) -> None:
    if not _is_whole(maxiter) or maxiter < 0:
        raise ConfigurationError(
            f"maxiter must be a whole number from 0 up, not {maxiter!r:.80}. For a loop that ends"
            " at another limit, pass a large maxiter."
        )
    if max_evaluations is not None and (not _is_whole(max_evaluations) or max_evaluations < 1):
        raise ConfigurationError(
            f"max_evaluations must be None or a whole number from 1 up, not"
            f" {max_evaluations!r:.80}. One evaluation is reserved for the final point."
        )


def _is_whole(number: Any) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def _ordered(start: Mapping[Any, Any], objective: Any) -> list[float]:
    """Return the values of parameters, by name, in the order of the ansatz."""
    if not isinstance(objective, EstimatorObjective):
        raise ConfigurationError(
            "A start that names its parameters needs an EstimatorObjective. For a function, pass a"
            " 1D array."
        )
    from qiskit.circuit import ParameterVector

    named: dict[Any, float] = {}
    for key, value in start.items():
        if isinstance(key, ParameterVector) and len(key) == np.size(value):
            named |= {each.name: one for each, one in zip(key, value, strict=True)}
        else:
            named[getattr(key, "name", key)] = value
    names = [parameter.name for parameter in objective.ansatz.parameters]
    if set(named) != set(names):
        raise ConfigurationError(
            f"start must give one number for each of: {', '.join(names)}; it names"
            f" {', '.join(map(str, named))}."
        )
    return [named[name] for name in names]


def _starting_point(start: Any, objective: Any) -> NDArray[np.float64]:
    start = _ordered(start, objective) if isinstance(start, Mapping) else start
    given = start.parameters if isinstance(start, LoopResult) else start
    try:
        point = np.array(given, dtype=float)
    except (TypeError, ValueError) as exc:
        raise ConfigurationError(f"start must be numbers, not {given!r:.80}.") from exc
    wanted = objective.num_parameters if isinstance(objective, EstimatorObjective) else point.size
    if point.shape != (wanted,) or not point.size:
        raise ConfigurationError(
            f"start has the shape {point.shape}, but must have one number for each of the {wanted}"
            " parameters."
        )
    if not np.isfinite(point).all():
        raise ConfigurationError(f"start must be finite numbers, not {point}.")
    return point


def _has_gradients(objective: Any, method: str | AskTell, jac: bool | None) -> bool:
    if jac is None:
        return isinstance(objective, EstimatorObjective) and takes_gradients(method)
    if jac and (method == "SPSA" or not isinstance(method, str)):
        raise ConfigurationError(
            "jac=True is for methods of SciPy; SPSA and custom optimizers use values only."
        )
    return jac
