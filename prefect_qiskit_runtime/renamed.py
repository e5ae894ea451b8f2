"""Old public names, which work in all of 0.1 with a warning that names the new one.

0.2.0 removes them. `docs/explanation/decisions/0025-public-names.md` says why each was changed. Not
for fields of blocks and records: what was saved under an old name is read by what reads it.
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
"""The new name of each function, in its module and where the package has it."""


def warn_renamed(old: str, new: str, *, stacklevel: int = 3) -> None:
    """Warn where an old name was written.

    Args:
        old: The name that was used.
        new: The name to use.
        stacklevel: As in `warnings.warn`; 3 is the caller of the function that calls this.
    """
    warnings.warn(
        f"{old} is now {new}; the old name goes with 0.2.0.",
        DeprecationWarning,
        stacklevel=stacklevel,
    )


def old_functions(module: str) -> Callable[[str], Any]:
    """Make the `__getattr__` of a module some of whose functions have new names."""

    def get(name: str) -> Any:
        if name not in FUNCTIONS:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn_renamed(name, FUNCTIONS[name])
        return getattr(import_module(module), FUNCTIONS[name])

    return get


def old_method(old: str, new: str) -> Callable[..., Any]:
    """Make the old name of a method, or, inside of `classmethod`, of a class method."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        warn_renamed(old, new)
        return getattr(self, new)(*args, **kwargs)

    call.__name__, call.__doc__ = old, f"Old name of `{new}`."
    return call


class Question(Generic[T]):
    """A call that was a property once: it also answers items and attributes, with a warning.

    It asks only then. `json.dumps` and `isinstance` do not see through it.

    Args:
        ask: Gives the answer.
        name: What it is called, for the warning.
    """

    def __init__(self, ask: Callable[[], T], name: str) -> None:
        self._ask = ask
        self._name = name
        self._answers: list[T] = []

    def __call__(self) -> T:
        """Ask, and return the answer."""
        return self._ask()

    def _answer(self) -> Any:
        if not self._answers:  # once, though `list(...)` looks twice
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

    __hash__ = None  # type: ignore[assignment] - as that of a mapping
