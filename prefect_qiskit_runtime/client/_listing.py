"""Programs as text to read."""

from __future__ import annotations

from collections.abc import Iterable

from prefect_qiskit_runtime.client._client_program import format_program
from prefect_qiskit_runtime.models import ProgramInfo

_RULE = "=" * 50


def format_programs(programs: Iterable[ProgramInfo], *, detailed: bool = False) -> str:
    """Return programs as text for people, in the layout of the Qiskit Runtime clients.

    Args:
        programs: The programs.
        detailed: Whether to show times, limits and the schemas too.
    """
    lines = [f"{_RULE}\n{format_program(program, detailed=detailed)}" for program in programs]
    return "\n".join(lines) or "No programs."
