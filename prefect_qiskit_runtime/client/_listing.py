"""Programs as text to read."""

from __future__ import annotations

import json
from collections.abc import Iterable

from prefect_qiskit_runtime.models import ProgramInfo


def format_programs(programs: Iterable[ProgramInfo], *, detailed: bool = False) -> str:
    """Return programs as text for people.

    Args:
        programs: The programs.
        detailed: Whether to show times, visibility and the schemas too.
    """
    return "\n".join(_format(program, detailed=detailed) for program in programs) or "No programs."


def _format(program: ProgramInfo, *, detailed: bool) -> str:
    lines = [
        f"{program.id}:",
        f"  Name: {program.name}",
        f"  Description: {program.description}",
    ]
    if detailed:
        limit = f"{program.cost} s" if program.cost else "the service's"
        lines += [
            f"  Version: {program.version}",
            f"  Created: {program.creation_date:%Y-%m-%d %H:%M:%S %Z}",
            f"  Updated: {program.update_date:%Y-%m-%d %H:%M:%S %Z}",
            f"  Public: {'yes' if program.is_public else 'no'}",
            f"  Max execution time: {limit}",
        ]
        for title, schema in program.spec.model_dump(exclude_none=True).items():
            lines.append(f"  {title.replace('_', ' ').capitalize()}:")
            lines += [f"    {line}" for line in json.dumps(schema, indent=2).splitlines()]
    return "\n".join(lines)
