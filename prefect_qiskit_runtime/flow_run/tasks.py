"""How the package's tasks are made: in pairs with the same name, never cached by Prefect.

Prefect's own cache would key a circuit by its pickled bytes, and a cached submission would return a
job that no longer exists. Caching is handled in `evaluation.kept_results`, not here.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext
from prefect.logging import get_logger

from prefect_qiskit_runtime.errors import QiskitRuntimeError
from prefect_qiskit_runtime.flow_run.lineage import is_own_task
from prefect_qiskit_runtime.twins.sync import plainly, sync_iterator_twin, sync_twin

T = TypeVar("T")
P = ParamSpec("P")


class _WithoutThreadWarning(logging.Filter):
    """Drops Prefect's warning that a time limit cannot interrupt a task in a thread.

    The engine warns of each task that starts in a thread with a time limit. It does not apply to
    the tasks of this package, whose calls can be interrupted (see `twins.sync`): their log would
    consist of it. It stays in the log of all other tasks.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is logged."""
        if (record.module, record.funcName) != ("task_engine", "run_context"):
            return True
        context = TaskRunContext.get()
        return record.levelno != logging.WARNING or context is None or not is_own_task(context.task)


# A filter of a logger sees its own records only, which are those of the engine and of users' tasks.
get_logger("prefect.task_runs").addFilter(_WithoutThreadWarning())


if TYPE_CHECKING:

    class SyncTask(Task[P, T]):
        """A task whose call returns the value of its function; for type checkers only.

        According to Prefect's own overloads, a function that returns `Any` returns a coroutine.
        """

        def __call__(  # type: ignore[override]
            self, *args: P.args, **kwargs: P.kwargs
        ) -> T:
            """Run the task and return the value of its function."""
            ...


def spelled_out(arguments: type) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Give a function each argument of a TypedDict by name, in place of `**arguments`.

    So they are seen in its signature, and Prefect refuses others and knows which are missing.

    Args:
        arguments: Type of the function's `**arguments`, of which each may be left out: it is None.
    """

    def spell_out(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)
        kinds = inspect.Parameter
        before = [one for one in signature.parameters.values() if one.kind is not kinds.VAR_KEYWORD]
        named = [
            kinds(name, kinds.KEYWORD_ONLY, annotation=annotation.__forward_arg__, default=None)
            for name, annotation in arguments.__annotations__.items()
        ]
        spelled = signature.replace(parameters=[*before, *named])
        function.__signature__ = spelled  # pyright: ignore[reportFunctionMemberAccess]
        return function

    return spell_out


def async_task(
    function: Callable[P, Coroutine[Any, Any, T]],
) -> Task[P, Coroutine[Any, Any, T]]:
    """Make a task of an async function; in the UI it has the name without the `a`."""

    @wraps(function)
    async def plain(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await function(*args, **kwargs)
        except QiskitRuntimeError as error:
            raise plainly(error) from None

    return task(name=function.__name__.removeprefix("a"), cache_policy=NO_CACHE)(plain)


def sync_task(twin: Task[P, Coroutine[Any, Any, T]]) -> SyncTask[P, T]:
    """Make the synchronous task that belongs to an async one."""
    made = task(name=twin.name, cache_policy=NO_CACHE)(sync_twin(twin.fn))
    return cast("SyncTask[P, T]", made)


def async_generator_task(
    function: Callable[P, AsyncGenerator[T, None]],
) -> Task[P, AsyncGenerator[T, None]]:
    """Make a task of an async generator function."""
    return task(name=function.__name__.removeprefix("a"), cache_policy=NO_CACHE)(function)


def sync_generator_task(
    twin: Task[P, AsyncGenerator[T, None]],
) -> Task[P, Generator[T, None, None]]:
    """Make the synchronous generator task that belongs to an async one."""
    return task(name=twin.name, cache_policy=NO_CACHE)(sync_iterator_twin(twin.fn))
