"""Optimizers as a loop drives them: they supply points and receive the measured values.

SciPy's optimizers call a function instead. They run in a separate thread, where the function waits
for the loop.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.loops._models import Ask, LoopStep, Recommendation
from prefect_qiskit_runtime.program.spsa import Spsa, SpsaOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GRADIENT_METHODS = frozenset({"bfgs", "cg", "l-bfgs-b", "slsqp", "tnc", "trust-constr"})
_METHODS = {
    name.lower(): name
    for name in (
        *("Nelder-Mead", "Powell", "CG", "BFGS", "L-BFGS-B", "TNC", "COBYLA", "COBYQA", "SLSQP"),
        *("trust-constr", "SPSA"),
    )
}
_POINT_LIMITS = {"COBYLA": ("maxiter",), "COBYQA": ("maxiter", "maxfev"), "TNC": ("maxfun",)}
"""The methods whose iterations are points, and the options that limit the points."""


@runtime_checkable
class AskTell(Protocol):
    """An optimizer that you supply: any object with these two methods, such as those of pycma.

    It may also have `stop()`, which returns after each `tell` whether it has finished, and
    `recommend()`, which returns the final point. Given the same values, it must ask for the same
    points again: give it a seed.
    """

    def ask(self) -> Any:
        """Return one point or a list of points to measure in one job; None at the end."""

    def tell(self, points: Any, values: Any) -> Any:
        """Receive the points from `ask` and their values: a list, or one number for one point."""


class Optimizer(Protocol):
    """The interface through which a loop drives an optimizer."""

    @property
    def iterations(self) -> int:
        """Number of completed iterations."""
        ...

    def ask(self) -> Ask | None:
        """Return the points to measure next, or None at the end; the call may block."""

    def tell(self, step: LoopStep) -> None:
        """Receive the measured values of a step."""

    def recommend(self) -> Recommendation:
        """Return the final point."""
        ...

    def close(self) -> None:
        """Release the optimizer, finished or not."""


@dataclass(frozen=True)
class Choice:
    """The chosen optimizer and its settings.

    Attributes:
        method: The name of a method, or the user's optimizer.
        jac: Whether the optimizer receives gradients.
        maxiter: Maximum number of iterations, for some methods of points: see `counts_points`.
        tol: Tolerance of SciPy's convergence test.
        seed: Seed of SPSA.
        options: Options of the method.
    """

    method: str | AskTell
    jac: bool
    maxiter: int
    tol: float | None
    seed: int
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the method, or of the class of the user's optimizer."""
        return self.method if isinstance(self.method, str) else type(self.method).__name__

    @property
    def is_scipy(self) -> bool:
        """Whether it is a method of SciPy."""
        return isinstance(self.method, str) and self.method != "SPSA"

    @property
    def counts_points(self) -> bool:
        """Whether an iteration of the method is a measured point."""
        return isinstance(self.method, str) and self.method in _POINT_LIMITS

    def scipy_options(self, num_parameters: int) -> dict[str, Any]:
        """Return SciPy's options, with a limit that SciPy keeps.

        COBYLA and COBYQA measure points around the start first, and raise a lower limit to their
        number. The loop ends them before.
        """
        if not self.counts_points:
            return {"maxiter": self.maxiter, **self.options}
        first_points = int(self.options.get("nb_points", 2 * num_parameters + 1))
        fewest = {"COBYLA": num_parameters + 2, "COBYQA": first_points + 1}.get(self.name, 1)
        limit = max(self.maxiter, fewest)
        return {**dict.fromkeys(_POINT_LIMITS[self.name], limit), **self.options}

    def start(self, point: NDArray[np.float64]) -> Optimizer:
        """Return the optimizer at a starting point.

        Raises:
            ConfigurationError: SPSA does not have one of the options.
        """
        if not isinstance(self.method, str):
            return UserOptimizer(self.method, self.maxiter)
        if self.method != "SPSA":
            return ScipyOptimizer(self, point)
        try:
            options = SpsaOptions(**self.options)
        except TypeError as error:
            known = ", ".join(field.name for field in fields(SpsaOptions))
            raise ConfigurationError(
                f"method_options of SPSA: {error}. They are {known}."
            ) from error
        rng = np.random.default_rng(self.seed)
        return SpsaOptimizer(Spsa(point, maxiter=self.maxiter, rng=rng, options=options))


def read_method(method: str | AskTell) -> str | AskTell:
    """Return the method by its exact name, or the user's optimizer.

    Raises:
        ConfigurationError: It is neither.
    """
    if isinstance(method, str) and method.lower() in _METHODS:
        return _METHODS[method.lower()]
    if not isinstance(method, str) and isinstance(method, AskTell):
        return method
    raise ConfigurationError(
        f"method must be one of {', '.join(_METHODS.values())}, or an object with ask() and"
        f" tell(points, values), not {method!r:.80}."
    )


def takes_gradients(method: str | AskTell) -> bool:
    """Return whether a method uses gradients, and works poorly without them."""
    return isinstance(method, str) and method.lower() in _GRADIENT_METHODS


class UserOptimizer:
    """An optimizer supplied by the user."""

    def __init__(self, optimizer: AskTell, maxiter: int) -> None:
        self.iterations = 0
        self._optimizer = optimizer
        self._maxiter = maxiter
        self._points: Any = None
        self._stopped = False

    def ask(self) -> Ask | None:
        """Return its next points, unless it has stopped."""
        if self._stopped or self.iterations >= self._maxiter:
            return None
        self._points = self._optimizer.ask()
        return None if self._points is None else Ask.of(self._points)

    def tell(self, step: LoopStep) -> None:
        """Pass on the values: a number for one point, a list for several."""
        is_one = np.ndim(self._points) == 1
        self._optimizer.tell(
            self._points, float(step.values[0]) if is_one else step.values.tolist()
        )
        self.iterations += 1
        stop = getattr(self._optimizer, "stop", None)
        self._stopped = bool(stop()) if callable(stop) else False

    def recommend(self) -> Recommendation:
        """Return the point that it recommends, if it recommends one."""
        recommend = getattr(self._optimizer, "recommend", None)
        point = np.array(recommend(), dtype=float) if callable(recommend) else None
        ended = "it has stopped" if self._stopped else f"{self.iterations} iterations done"
        return Recommendation(point, self._stopped, f"{type(self._optimizer).__name__}: {ended}")

    def close(self) -> None:
        """Do nothing: the optimizer belongs to the user."""


class SpsaOptimizer:
    """SPSA; each iteration is one pair of points, in one job."""

    def __init__(self, spsa: Spsa) -> None:
        self._spsa = spsa

    @property
    def iterations(self) -> int:
        """Number of completed iterations, without the calibration."""
        return self._spsa.iterations

    def ask(self) -> Ask | None:
        """Return the probes around the start, then a pair for each iteration."""
        points = self._spsa.ask()
        return None if points is None else Ask(points)

    def tell(self, step: LoopStep) -> None:
        """Pass on the values."""
        self._spsa.tell(step.values)

    def recommend(self) -> Recommendation:
        """Return the mean of the last points."""
        message = f"{self.iterations} iterations done; SPSA has no convergence test"
        return Recommendation(self._spsa.recommend(), False, message)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


class _Stopped(BaseException):
    """Ends SciPy from within its function; an `except Exception` on the way must not catch it."""


class ScipyOptimizer:
    """An optimizer of SciPy, in a thread."""

    def __init__(self, choice: Choice, start: NDArray[np.float64]) -> None:
        self.iterations = 0
        self._choice = choice
        self._start = start
        self._asks: SimpleQueue[Ask | None] = SimpleQueue()
        self._answers: SimpleQueue[LoopStep | None] = SimpleQueue()
        self._current: NDArray[np.float64] | None = None
        self._found: Any = None
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    def ask(self) -> Ask | None:
        """Return the next point that SciPy evaluates."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="loop-optimizer", daemon=True)
            self._thread.start()
        ask = self._asks.get()
        if ask is None and self._error is not None:
            raise self._error
        return ask

    def tell(self, step: LoopStep) -> None:
        """Let SciPy's function return the value."""
        self._answers.put(step)

    def recommend(self) -> Recommendation:
        """Return the point that SciPy found, or its last iterate if it was ended early."""
        if self._found is None:
            return Recommendation(self._so_far(), False, f"{self._choice.name} was ended early")
        message = f"{self._choice.name}: {self._found.message}"
        return Recommendation(np.array(self._found.x), bool(self._found.success), message)

    def close(self) -> None:
        """End the thread."""
        self._answers.put(None)
        if self._thread is not None:
            self._thread.join()

    def _so_far(self) -> NDArray[np.float64] | None:
        if not self._choice.counts_points:
            return self._current
        # The best measured point may violate the constraints, and the first points have no iterate.
        limited = {"bounds", "constraints"} & set(self._choice.options)
        return (self._start if self._current is None else self._current) if limited else None

    def _run(self) -> None:
        from scipy.optimize import minimize

        options = self._choice.scipy_options(self._start.size)
        # SciPy takes these as separate arguments.
        limits = {name: options.pop(name) for name in ("bounds", "constraints") if name in options}
        try:
            self._found = minimize(
                self._function,
                self._start,
                jac=True if self._choice.jac else None,
                method=self._choice.name,
                tol=self._choice.tol,
                callback=self._callback,
                options=options,
                **limits,
            )
            if not self._choice.counts_points:
                self.iterations = int(self._found["nit"])
        except _Stopped:
            return
        except Exception as error:  # noqa: BLE001 - raised again where the loop asks
            self._error = error
        self._asks.put(None)

    def _function(self, point: NDArray[np.float64]) -> Any:
        self._asks.put(Ask.of(point, gradient=self._choice.jac))
        step = self._answers.get()
        if step is None:
            raise _Stopped
        self.iterations += self._choice.counts_points
        if self._choice.jac:
            return float(step.values[0]), step.gradient
        return float(step.values[0])

    # By position: SciPy gives some methods another argument if its name is intermediate_result.
    def _callback(self, point: NDArray[np.float64], *_: Any) -> None:
        self._current = np.array(point)
        self.iterations += not self._choice.counts_points
