"""A program as `RuntimeClient` and the tasks give it: its metadata, parameters and text form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Self

from prefect_qiskit_runtime.client._parameters import ParameterNamespace
from prefect_qiskit_runtime.models import ProgramInfo


class RuntimeClientProgram(ProgramInfo):
    """A program of a Runtime service. `print` shows it as the Qiskit Runtime clients did."""

    @classmethod
    def of(cls, info: ProgramInfo) -> Self:
        """Make it from what the service says of a program."""
        return cls(**dict(info))

    @property
    def program_id(self) -> str:
        """Id of the program."""
        return self.id

    @property
    def max_execution_time(self) -> int:
        """Wall-clock limit of its jobs in seconds; 0 means the service's."""
        return self.cost

    @property
    def return_values(self) -> dict[str, Any]:
        """JSON schema of the result; empty if there is none."""
        return self.spec.return_values or {}

    @property
    def interim_results(self) -> dict[str, Any]:
        """JSON schema of an interim result; empty if there is none."""
        return self.spec.interim_results or {}

    @property
    def backend_requirements(self) -> dict[str, Any]:
        """What a backend must have; empty if nothing is asked."""
        return self.spec.backend_requirements or {}

    def parameters(self) -> ParameterNamespace:
        """Return a new namespace to assign the inputs of a job to."""
        return ParameterNamespace(self.spec.parameters)

    def to_dict(self) -> dict[str, Any]:
        """Return the metadata by the names of the Qiskit Runtime clients, ready for JSON."""
        return {
            "program_id": self.program_id,
            "name": self.name,
            "description": self.description,
            "max_execution_time": self.max_execution_time,
            "backend_requirements": self.backend_requirements,
            "parameters": self.spec.parameters or {},
            "return_values": self.return_values,
            "interim_results": self.interim_results,
            "is_public": self.is_public,
        }

    def __repr__(self) -> str:
        return f"RuntimeClientProgram({self.id!r})"

    def __str__(self) -> str:
        return format_program(self)


def format_program(program: ProgramInfo, *, detailed: bool = True) -> str:
    """Return a program as text for people, in the layout of the Qiskit Runtime clients.

    Args:
        program: The program.
        detailed: Whether to show times, limits and schemas too.
    """
    lines = [
        f"{program.id}:",
        f"  Name: {program.name}",
        f"  Description: {program.description}",
    ]
    if detailed:
        spec = program.spec
        lines += [
            f"  Creation date: {program.creation_date:%Y-%m-%dT%H:%M:%SZ}",
            f"  Update date: {program.update_date:%Y-%m-%dT%H:%M:%SZ}",
            f"  Max execution time: {program.cost}",
            *_section("Backend requirements", _requirements(spec.backend_requirements or {})),
            *_section("Input parameters", _schema(spec.parameters or {})),
            *_section("Interim results", _schema(spec.interim_results or {})),
            *_section("Returns", _schema(spec.return_values or {})),
        ]
    return "\n".join(lines)


def _section(title: str, lines: Iterator[str]) -> list[str]:
    return [f"  {title}:", *([f"    {line}" for line in lines] or ["    none"])]


def _requirements(requirements: Mapping[str, Any]) -> Iterator[str]:
    if "min_num_qubits" in requirements:
        yield f"Minimum number of qubits: {requirements['min_num_qubits']}"
    for name, value in requirements.items():
        if name != "min_num_qubits":
            yield f"{_sentence(name)}: {value}"


def _schema(schema: Mapping[str, Any]) -> Iterator[str]:
    if "description" in schema:
        yield f"Description: {schema['description']}"
    if "type" in schema:
        yield f"Type: {schema['type']}"
    if "properties" in schema:
        yield "Properties:"
        for name, definition in schema["properties"].items():
            yield f"    - {name}:"
            for key, value in (definition if isinstance(definition, Mapping) else {}).items():
                yield f"        {_sentence(key)}: {value}"
            yield f"        Required: {name in schema.get('required', [])}"


def _sentence(name: str) -> str:
    """Turn camelCase and snake_case into words: "Basis gates"."""
    words = re.sub(r"([A-Z])", r" \1", name).replace("_", " ")
    return words[:1].upper() + words[1:].lower()
