"""Programs of a service: upload, change, delete, show and list."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from typing import Any, Self

from prefect_qiskit_runtime.client._api import RuntimeApi
from prefect_qiskit_runtime.client._connected import ConnectedClient
from prefect_qiskit_runtime.client._parameters import ParameterNamespace
from prefect_qiskit_runtime.client._sources import (
    Metadata,
    ProgramDraft,
    Source,
    read_changes,
    read_program,
    read_source,
)
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.models import UNKNOWN, IfExists, ProgramInfo
from prefect_qiskit_runtime.renamed import old_method


class RuntimeClientProgram(ProgramInfo):
    """A program of a Runtime service. `print` shows it as the Qiskit Runtime clients did."""

    @classmethod
    def from_info(cls, info: ProgramInfo) -> Self:
        """Create it from the service's description of a program."""
        return cls(**dict(info))

    of = classmethod(old_method("of", "from_info"))

    @property
    def program_id(self) -> str:
        """Id of the program."""
        return self.id

    @property
    def max_execution_time(self) -> int:
        """Wall-clock limit of its jobs in seconds; 0 means the service's limit."""
        return self.cost

    @property
    def return_values(self) -> dict[str, Any]:
        """JSON schema of the result; empty if it has none."""
        return self.spec.return_values or {}

    @property
    def interim_results(self) -> dict[str, Any]:
        """JSON schema of an interim result; empty if it has none."""
        return self.spec.interim_results or {}

    @property
    def backend_requirements(self) -> dict[str, Any]:
        """The requirements on a backend; empty if any backend fits."""
        return self.spec.backend_requirements or {}

    def parameters(self) -> ParameterNamespace:
        """Return a new namespace for the inputs of a job."""
        return ParameterNamespace(self.spec.parameters)

    def to_dict(self) -> dict[str, Any]:
        """Return the metadata under the names of the Qiskit Runtime clients, ready for JSON."""
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
            f"  Creation date: {_utc(program.creation_date)}",
            f"  Update date: {_utc(program.update_date)}",
            f"  Max execution time: {program.cost}",
            *_section("Backend requirements", _requirements(spec.backend_requirements or {})),
            *_section("Input parameters", _schema(spec.parameters or {})),
            *_section("Interim results", _schema(spec.interim_results or {})),
            *_section("Returns", _schema(spec.return_values or {})),
        ]
    return "\n".join(lines)


def _utc(moment: datetime | None) -> str:
    return UNKNOWN if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"


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


_RULE = "=" * 50


def format_programs(programs: Iterable[ProgramInfo], *, detailed: bool = False) -> str:
    """Return programs as text for people, in the layout of the Qiskit Runtime clients.

    Args:
        programs: The programs.
        detailed: Whether to show times, limits and the schemas too.
    """
    lines = [f"{_RULE}\n{format_program(program, detailed=detailed)}" for program in programs]
    return "\n".join(lines) or "No programs."


SchemaLike = Mapping[str, Any] | Sequence[Any]
"""A JSON schema, or IBM's oldest form: a list of `{"name", "description", "type", "required"}`."""

_MOST_PRINTED = 20


class ProgramsClient(ConnectedClient):
    """A client with the methods for programs."""

    async def upload_program(
        self,
        data: Source,
        metadata: Metadata = None,
        *,
        name: str | None = None,
        description: str | None = None,
        max_execution_time: int | None = None,
        spec: Mapping[str, Any] | None = None,
        is_public: bool | None = None,
        if_exists: IfExists = "update",
        version: float = 1.0,  # noqa: ARG002 - for callers of IBM's oldest clients
        backend_requirements: Mapping[str, Any] | None = None,
        parameters: SchemaLike | None = None,
        return_values: SchemaLike | None = None,
        interim_results: SchemaLike | None = None,
    ) -> str:
        """Upload a program and return its id: its name and a random suffix.

        Args:
            data: Path of the Python file, or the source itself as text or bytes.
            metadata: Path of a JSON file, a mapping, or `ProgramMetadata`. Default: the JSON
                file of the same name beside the source, if there is one. A keyword below
                overrides the same field.
            name: Default: the name of the file.
            description: Purpose of the program; optional.
            max_execution_time: Wall-clock limit of its jobs in seconds. Default: the service's.
            spec: JSON schemas of parameters, results, interim results; and `backend_requirements`.
            is_public: Whether other users of the service may run it. Default: False for a new
                program, unchanged for an existing one.
            if_exists: If you have a program of this name with different content, `update` makes
                a new version with the same id, `new` makes another program, `error` refuses.
            version: Ignored, for callers of IBM's oldest clients: the service numbers versions.
            backend_requirements: Overrides this part of the spec, as do the next three.
            parameters: JSON schema, or IBM's oldest form: a list of parameters.
            return_values: JSON schema, or a list.
            interim_results: JSON schema, or a list.

        Raises:
            ConfigurationError: A file cannot be read, or the program has no name.
            InvalidInputError: The source or the metadata breaks a rule.
            ConflictError: The name is taken, and `if_exists` or the service rejects a duplicate.
        """
        draft = await asyncio.to_thread(
            read_program,
            data,
            metadata,
            name=name,
            description=description,
            max_execution_time=max_execution_time,
            spec=spec,
            is_public=is_public,
            parts={
                "backend_requirements": backend_requirements,
                "parameters": parameters,
                "return_values": return_values,
                "interim_results": interim_results,
            },
        )
        return await self._upload(draft, if_exists)

    async def _upload(self, draft: ProgramDraft, if_exists: IfExists) -> str:
        with self._known.changing():
            uploaded = await self._api.upload_program(
                draft.source, draft.metadata, if_exists=if_exists
            )
        return uploaded.id

    async def update_program(  # noqa: PLR0917 - the order of IBM's clients
        self,
        program_id: str,
        data: Source | None = None,
        metadata: Metadata = None,
        name: str | None = None,
        description: str | None = None,
        max_execution_time: int | None = None,
        spec: Mapping[str, Any] | None = None,
    ) -> None:
        """Change the source or the metadata of a program; fields not given are unchanged.

        Args:
            program_id: The program.
            data: New source, as in `upload_program`.
            metadata: New metadata, as in `upload_program`.
            name: Overrides the metadata's field, as do the next three.
            description: Purpose of the program.
            max_execution_time: Wall-clock limit of its jobs in seconds.
            spec: Its schemas; they replace all previous ones.

        Raises:
            ConfigurationError: Nothing to change is given.
            NotFoundError: You have no such program.
        """
        changes = await asyncio.to_thread(
            read_changes,
            metadata,
            name=name,
            description=description,
            max_execution_time=max_execution_time,
            spec=spec,
        )
        if data is None and not changes:
            raise ConfigurationError(
                f"Nothing to change in program {program_id}: give data, metadata or a field."
            )
        text = None if data is None else await asyncio.to_thread(read_source, data)
        with self._known.changing(program_id):
            if text is not None:
                await self._api.update_program_data(program_id, text)
            if changes:
                await self._api.update_program_metadata(program_id, changes)

    async def delete_program(self, program_id: str) -> None:
        """Delete a program. Jobs that ran it keep their results.

        Raises:
            NotFoundError: You have no such program.
        """
        with self._known.changing(program_id):
            await self._api.delete_program(program_id)

    async def set_program_visibility(self, program_id: str, public: bool) -> None:
        """Let every user of the service run a program, or only you.

        Raises:
            NotFoundError: You have no such program.
        """
        with self._known.changing(program_id):
            await self._api.set_program_visibility(program_id, public=public)

    async def program(self, program_id: str, refresh: bool = False) -> RuntimeClientProgram:
        """Return a program with its metadata and, if it is yours, its source.

        Args:
            program_id: The program.
            refresh: Ask the service even if this client has seen the program before.

        Raises:
            NotFoundError: No such program exists, or you may not run it.
        """
        return await self._known.program(program_id, refresh=refresh)

    async def programs(
        self, refresh: bool = False, limit: int | None = 20, skip: int = 0
    ) -> list[RuntimeClientProgram]:
        """List the programs that you may run, the newest first.

        Args:
            refresh: Ask the service again; otherwise its previous answer is used until this
                client changes a program.
            limit: At most this many; None for all.
            skip: Leave out this many of the first.
        """
        listed = await self._known.programs(refresh=refresh)
        return listed[skip : None if limit is None else skip + limit]

    async def pprint_programs(
        self,
        refresh: bool = False,
        detailed: bool = False,
        limit: int | None = 20,
        skip: int = 0,
    ) -> None:
        """Print the programs that you may run.

        Args:
            refresh: Ask the service again, as in `programs`.
            detailed: Print their times, limits and schemas as well.
            limit: At most this many, 20 or less; None for all.
            skip: Leave out this many of the first.

        Raises:
            ConfigurationError: The limit is above 20.
        """
        if limit is not None and limit > _MOST_PRINTED:
            raise ConfigurationError(
                f"pprint_programs prints at most {_MOST_PRINTED} programs at a time, not {limit}:"
                f" continue with skip={_MOST_PRINTED}, or print all with limit=None."
            )
        programs = await self.programs(refresh, limit, skip)
        print(format_programs(programs, detailed=detailed))  # noqa: T201 - its purpose

    @cached_property
    def _known(self) -> _KnownPrograms:
        return _KnownPrograms(self._api)


class _KnownPrograms:
    """The programs as the service last described them, until this client changes one."""

    def __init__(self, api: RuntimeApi) -> None:
        self._api = api
        self._listed: list[RuntimeClientProgram] | None = None
        self._asked: dict[str, RuntimeClientProgram] = {}

    async def programs(self, *, refresh: bool) -> list[RuntimeClientProgram]:
        if self._listed is None or refresh:
            infos = await self._api.list_programs()
            self._listed = [RuntimeClientProgram.from_info(info) for info in infos]
        return self._listed

    async def program(self, program_id: str, *, refresh: bool) -> RuntimeClientProgram:
        if program_id not in self._asked or refresh:
            self._asked.pop(program_id, None)
            info = await self._api.get_program(program_id)
            self._asked[program_id] = RuntimeClientProgram.from_info(info)
        return self._asked[program_id]

    @contextmanager
    def changing(self, program_id: str | None = None) -> Iterator[None]:
        """Forget a program, or all, after a change was requested, even if the request failed."""
        try:
            yield
        finally:
            self._listed = None
            if program_id is None:
                self._asked.clear()
            else:
                self._asked.pop(program_id, None)
