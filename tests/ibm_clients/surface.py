"""Which public methods of IBM's classes the tests called, and which they did not.

Standard library and pytest only: it runs in the environments of old clients as well. A call
counts if a test makes it, not if the client calls itself.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

TESTS = str(Path(__file__).resolve().parent)


class Surface:
    """The public methods and properties of some classes, and what was called of them.

    Args:
        classes: What the client's users call.
        cannot: Reason for each `Class.method` that cannot be tried against any server.
    """

    def __init__(self, *classes: type, cannot: Mapping[str, str]) -> None:
        self.cannot = cannot
        self.called: set[str] = set()
        self.names: set[str] = set()
        watched: dict[tuple[type, str], set[str]] = {}
        for owner in classes:
            for name in dir(owner):
                home = next(base for base in owner.__mro__ if name in vars(base))
                if not name.startswith("_") and _is_call(vars(home)[name]):
                    self.names.add(f"{owner.__name__}.{name}")
                    watched.setdefault((home, name), set()).add(f"{owner.__name__}.{name}")
        for (home, name), labels in watched.items():
            setattr(home, name, self._watch(vars(home)[name], labels))

    @property
    def faults(self) -> list[str]:
        """The names that were not tried, and those excused without need."""
        missing = self.names - self.called - self.cannot.keys()
        needless = self.cannot.keys() & self.called
        unknown = self.cannot.keys() - self.names
        return [
            *(f"{label}: no test calls it" for label in sorted(missing)),
            *(f"{label}: said to be impossible, and called" for label in sorted(needless)),
            *(f"{label}: said to be impossible, and does not exist" for label in sorted(unknown)),
        ]

    def report(self, session: pytest.Session) -> None:
        """Fail a run that should have been whole, `SURFACE=whole`, and was not."""
        if os.environ.get("SURFACE") != "whole" or session.testsfailed:
            return
        tried = len(self.names) - len(self.cannot)
        print(f"\n{tried} public methods tried, {len(self.cannot)} cannot be (see clients.md)")
        if self.faults:
            print(*self.faults, sep="\n")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _watch(self, member: Any, labels: set[str]) -> Any:
        if isinstance(member, property):
            return property(
                self._counted(member.fget, labels), member.fset, member.fdel, member.__doc__
            )
        if isinstance(member, staticmethod | classmethod):
            return type(member)(self._counted(member.__func__, labels))
        return self._counted(member, labels)

    def _counted(self, function: Any, labels: set[str]) -> Callable[..., Any]:
        @functools.wraps(function)
        def counted(*arguments: Any, **named: Any) -> Any:
            if sys._getframe(1).f_code.co_filename.startswith(TESTS):
                self.called |= labels
            return function(*arguments, **named)

        return counted


def _is_call(member: object) -> bool:
    return inspect.isfunction(member) or isinstance(member, property | staticmethod | classmethod)
