"""Where a program's source and metadata are found: beside the flow that names them."""

from __future__ import annotations

import inspect
from pathlib import Path

from prefect.context import FlowRunContext

from prefect_qiskit_runtime.errors import ConfigurationError


def flow_folder() -> Path | None:
    """The folder of the file that defines the running flow; None outside a flow run."""
    context = FlowRunContext.get()
    if context is None or context.flow is None:
        return None
    try:
        file = inspect.getsourcefile(inspect.unwrap(context.flow.fn))
    except TypeError:
        return None
    return Path(file).resolve().parent if file else None


def locate(path: str | Path) -> Path:
    """Find a file that a flow names: relative to the flow's file, outside a flow to the cwd.

    A worker runs a deployment from a folder of its own, so the working directory says nothing.

    Raises:
        ConfigurationError: There is no such file; the error names where it was looked for.
    """
    given = Path(path).expanduser()
    base = flow_folder() or Path.cwd()
    found = given if given.is_absolute() else base / given
    if not found.is_file():
        raise ConfigurationError(
            f"There is no file {found}. Relative paths are relative to the flow's file "
            f"({base}); check {str(path)!r}."
        )
    return found


def source_argument(source: str | bytes | Path) -> str | bytes | Path:
    """Tell a path from a source: a text of one line that ends in `.py` is a path."""
    if isinstance(source, Path) or (
        isinstance(source, str) and "\n" not in source and source.endswith(".py")
    ):
        return locate(source)
    return source
