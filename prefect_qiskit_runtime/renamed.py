"""Old public names, which work in all 0.1 releases with a warning that gives the new name.

0.2.0 removes them. `docs/explanation/decisions/0025-public-names.md` explains each change. Fields
of blocks and records are not handled here: the code that reads saved data accepts their old names.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")

FUNCTIONS = {
    "ajob_history": "afetch_job_history",
    "job_history": "fetch_job_history",
    "convergence_plot": "plot_convergence",
    "distribution_plot": "plot_distribution",
    "picture": "render_figure",
}
"""The new name of each function, in its module and in the package."""


def warn_renamed(old: str, new: str, *, stacklevel: int = 3) -> None:
    """Warn at the place where an old name is used.

    Args:
        old: The name that was used.
        new: The name to use.
        stacklevel: As in `warnings.warn`; 3 is the caller of the function that calls this one.
    """
    warnings.warn(
        f"{old} is now {new}; 0.2.0 removes the old name.",
        DeprecationWarning,
        stacklevel=stacklevel,
    )


def old_functions(module: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module in which functions were renamed."""

    def get(name: str) -> Any:
        if name not in FUNCTIONS:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn_renamed(name, FUNCTIONS[name])
        return getattr(import_module(module), FUNCTIONS[name])

    return get


def old_method(old: str, new: str) -> Callable[..., Any]:
    """Return a method under its old name, or a class method if wrapped in `classmethod`."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        warn_renamed(old, new)
        return getattr(self, new)(*args, **kwargs)

    call.__name__, call.__doc__ = old, f"Old name of `{new}`."
    return call


class Question(Generic[T]):
    """A method that used to be a property, whose items and attributes still work with a warning.

    The value is fetched only when it is needed. `json.dumps` and `isinstance` do not see the value.

    Args:
        ask: Returns the value.
        name: The name of the method, for the warning.
    """

    def __init__(self, ask: Callable[[], T], name: str) -> None:
        self._ask = ask
        self._name = name
        self._answers: list[T] = []

    def __call__(self) -> T:
        """Fetch and return the value."""
        return self._ask()

    def _answer(self) -> Any:
        if not self._answers:  # once, although `list(...)` reads it twice
            warn_renamed(self._name, f"{self._name}()", stacklevel=4)
            self._answers.append(self._ask())
        return self._answers[0]

    def __repr__(self) -> str:
        return f"<{self._name}: call it>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._answer(), name)

    def __getitem__(self, key: Any) -> Any:
        return self._answer()[key]

    def __contains__(self, key: object) -> bool:
        return key in self._answer()

    def __iter__(self) -> Iterator[Any]:
        return iter(cast("Mapping[Any, Any]", self._answer()))

    def __len__(self) -> int:
        return len(self._answer())

    def __eq__(self, other: object) -> bool:
        return self._answer() == other

    __hash__ = None  # type: ignore[assignment] - unhashable, like a mapping
