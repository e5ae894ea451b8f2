"""Prefect blocks and tasks for Qiskit Runtime.

Blocks hold credentials and backend configuration; tasks upload programs, run them, stream their
interim results and decode the results. The public names are listed once, in `__init__.pyi`, which
type checkers read, and are loaded on first use: Prefect's server and workers import every
collection, and job processes run in environments without Prefect and pydantic.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any


@cache
def _modules() -> dict[str, str]:
    """Return the module of each public name, as the stub file states it."""
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    return {
        alias.name: statement.module
        for statement in stub.body
        if isinstance(statement, ast.ImportFrom) and statement.module
        for alias in statement.names
    }


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return list(_modules())
    if name in ("job_history", "ajob_history"):
        from prefect_qiskit_runtime.renamed import FUNCTIONS, warn_renamed

        warn_renamed(name, FUNCTIONS[name])
        return __getattr__(FUNCTIONS[name])
    if name.startswith("__") or name not in _modules():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_modules()[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_modules()})
