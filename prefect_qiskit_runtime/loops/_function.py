"""The value of a loop from a user's function, which submits its own jobs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.flow_run.lineage import LoopScope, loop_scope, loop_scope_here
from prefect_qiskit_runtime.loops._models import Ask, Measured
from prefect_qiskit_runtime.sessions import SessionLike
from prefect_qiskit_runtime.twins.sync import ask as ask_user

_RETURNS = {
    False: "a number, or (value, standard error)",
    True: "(value, gradient), or (value, gradient, standard error)",
}


@dataclass(frozen=True)
class FunctionMeasuring:
    """Measures by calling a function, for one loop.

    The function is called with each point, or, if it has a parameter `points`, once with all
    points of a step. Parameters named `seed` and `session` receive those of the step.

    Attributes:
        function: A function, plain or async.
        with_gradients: Whether it returns gradients.
    """

    function: Callable[..., Any]
    with_gradients: bool

    def evaluations(self, ask: Ask) -> int:
        """Return how many values a step measures."""
        return len(ask.points)

    async def measure(self, ask: Ask, *, seed: int, session: SessionLike) -> Measured:
        """Call the function in the caller's context."""
        wanted = _parameters(self.function)
        offered = {"seed": seed, "session": session}
        given = {name: value for name, value in offered.items() if name in wanted}
        if "points" in wanted:
            answer = await ask_user(_scoped(self.function, 0), points=ask.points, **given)
            return _several(answer, ask)
        answers = [
            self._read(await ask_user(_scoped(self.function, number), point, **given))
            for number, point in enumerate(ask.points)
        ]
        values, stds, gradients = zip(*answers, strict=True)
        gradient = gradients[0] if ask.gradient else None
        return Measured(np.array(values), np.array(stds), gradient)

    def _read(self, answer: Any) -> tuple[float, float, Any]:
        """Return the value, the standard error and the gradient."""
        parts = answer if isinstance(answer, tuple) else (answer,)
        try:
            value, *more = parts
            gradient = np.array(more.pop(0), dtype=float) if self.with_gradients else None
            (std,) = more or (np.nan,)
            return float(value), float(std), gradient
        except (TypeError, ValueError, IndexError) as error:
            raise ConfigurationError(
                f"The objective must return {_RETURNS[self.with_gradients]}, not {answer!r:.80}."
            ) from error


def _several(answer: Any, ask: Ask) -> Measured:
    parts = answer if isinstance(answer, tuple) else (answer,)
    values = np.asarray(parts[0], dtype=float)
    stds = np.asarray(parts[1], dtype=float) if len(parts) == 2 else np.full(len(values), np.nan)
    if len(parts) > 2 or values.shape != (len(ask.points),) or stds.shape != values.shape:
        raise ConfigurationError(
            f"The objective was given {len(ask.points)} points and must return that many values,"
            f" or (values, standard errors), not {answer!r:.80}."
        )
    return Measured(values, stds)


def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    try:
        return frozenset(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # some builtins have no signature
        return frozenset()


def _scoped(function: Callable[..., Any], number: int) -> Callable[..., Any]:
    """Bind a function to the current step, even if it runs in another thread."""
    step = loop_scope_here()
    assert step is not None  # noqa: S101 - for the type checker: a step runs in one
    path = (*step.path, str(number)) if step.path else ()
    scope = LoopScope(path, step.durable_key, step.job_ids)

    async def scoped_async(*args: Any, **kwargs: Any) -> Any:
        with loop_scope(scope):
            return await function(*args, **kwargs)

    def scoped(*args: Any, **kwargs: Any) -> Any:
        with loop_scope(scope):
            return function(*args, **kwargs)

    return scoped_async if inspect.iscoroutinefunction(function) else scoped
