"""Runtime programs: upload, update, delete, visibility, get and list.

A program is uploaded once and run many times by its id. Uploading the same content again returns
the same program, so a flow can simply upload its programs at the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect_qiskit_runtime.backend import BackendLike, RuntimeBackend, as_backend
from prefect_qiskit_runtime.client import (
    RuntimeClientProgram,
    format_programs,
    read_changes,
    read_source,
)
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.flow_run.tasks import async_task, sync_task
from prefect_qiskit_runtime.models import IfExists, ProgramMetadata
from prefect_qiskit_runtime.runtime_program import (
    RuntimeProgram,  # noqa: F401 - a public import path
    locate,
    source_argument,
    upload_source,
)

MetadataLike = ProgramMetadata | Mapping[str, Any] | str | Path | None


@async_task
async def aupload_program(
    source: str | bytes | Path,
    metadata: MetadataLike = None,
    *,
    name: str | None = None,
    description: str | None = None,
    max_execution_time: int | None = None,
    spec: Mapping[str, Any] | None = None,
    is_public: bool | None = None,
    if_exists: IfExists = "update",
    backend: BackendLike | None = None,
) -> str:
    """Upload a program, unless the service already has it, and return its id.

    Args:
        source: Path of the Python file, relative to the flow's file; or the source code itself.
        metadata: Path of a JSON file, a mapping, or `ProgramMetadata`; default: the JSON file of
            the same name next to the source, if it exists.
        name: Overrides the metadata's name; default: the name of the file.
        description: Overrides the metadata's description.
        max_execution_time: Wall-clock limit of its jobs in seconds; overrides the metadata's.
        spec: JSON schemas of parameters, return values and interim results; overrides the
            metadata's.
        is_public: Whether other users may run it; overrides the metadata's. Default: only you for
            a new program, unchanged for an existing one.
        if_exists: Action if you have a program of this name with different content: `update`
            creates a new version with the same id (jobs keep the version they were submitted
            with), `new` creates another program, `error` raises an error.
        backend: Any backend of the service to upload to; default: the embedded service.

    Returns:
        The program's id. The same source and metadata return the same id again.

    Raises:
        ConfigurationError: A file is missing or invalid.
        InvalidInputError: The source has no `main` or does not compile, or the metadata is
            invalid.
        ConflictError: The name is taken and `if_exists="error"`.
    """
    return await upload_source(
        source,
        metadata,
        backend=as_backend(backend or RuntimeBackend()),
        if_exists=if_exists,
        name=name,
        description=description,
        max_execution_time=max_execution_time,
        spec=spec,
        is_public=is_public,
    )


upload_program = sync_task(aupload_program)
"""Synchronous twin of `aupload_program`."""


@async_task
async def aupdate_program(
    program_id: str,
    *,
    source: str | bytes | Path | None = None,
    metadata: MetadataLike = None,
    name: str | None = None,
    description: str | None = None,
    max_execution_time: int | None = None,
    spec: Mapping[str, Any] | None = None,
    backend: BackendLike | None = None,
) -> None:
    """Change the source or the metadata of a program; it keeps its id and gets a new version.

    Args:
        program_id: The program.
        source: New source, as in `upload_program`.
        metadata: New metadata, as in `upload_program`; fields that it omits are unchanged.
        name: Overrides the metadata's name.
        description: Overrides the metadata's description.
        max_execution_time: Overrides the metadata's limit.
        spec: Overrides the metadata's spec.
        backend: Any backend of the service that has the program.

    Raises:
        ConfigurationError: The call changes nothing.
        NotFoundError: You do not have this program.
    """
    if isinstance(metadata, str | Path):
        metadata = locate(metadata)
    changes = read_changes(
        metadata,
        name=name,
        description=description,
        max_execution_time=max_execution_time,
        spec=spec,
    )
    if source is None and not changes:
        raise ConfigurationError(
            f"Nothing to change in program {program_id}: give source, metadata, or a field."
        )
    async with as_backend(backend or RuntimeBackend()).connect() as api:
        if source is not None:
            await api.update_program_data(program_id, read_source(source_argument(source)))
        if changes:
            await api.update_program_metadata(program_id, changes)


update_program = sync_task(aupdate_program)
"""Synchronous twin of `aupdate_program`."""


@async_task
async def adelete_program(program_id: str, *, backend: BackendLike | None = None) -> None:
    """Delete a program. Jobs that ran it keep their results and its source.

    Raises:
        NotFoundError: You do not have this program.
    """
    async with as_backend(backend or RuntimeBackend()).connect() as api:
        await api.delete_program(program_id)


delete_program = sync_task(adelete_program)
"""Synchronous twin of `adelete_program`."""


@async_task
async def aset_program_visibility(
    program_id: str, public: bool, *, backend: BackendLike | None = None
) -> None:
    """Allow every user of the service to run a program, or only you.

    Raises:
        NotFoundError: You do not have this program.
    """
    async with as_backend(backend or RuntimeBackend()).connect() as api:
        await api.set_program_visibility(program_id, public=public)


set_program_visibility = sync_task(aset_program_visibility)
"""Synchronous twin of `aset_program_visibility`."""


@async_task
async def aget_program(
    program_id: str, *, backend: BackendLike | None = None
) -> RuntimeClientProgram:
    """Return a program with its metadata and, if it is yours, its source.

    Its `parameters()` returns a namespace to assign inputs to, which `run_program` accepts.

    Raises:
        NotFoundError: The program does not exist or is not visible to you.
    """
    async with as_backend(backend or RuntimeBackend()).connect() as api:
        return RuntimeClientProgram.from_info(await api.get_program(program_id))


get_program = sync_task(aget_program)
"""Synchronous twin of `aget_program`."""


@async_task
async def alist_programs(
    *, backend: BackendLike | None = None, limit: int | None = None, skip: int = 0
) -> list[RuntimeClientProgram]:
    """List the programs that you may run: yours and the public ones.

    Args:
        backend: Any backend of the service; default: the embedded service.
        limit: Maximum number of programs; None for all.
        skip: Number of programs to skip at the start.
    """
    async with as_backend(backend or RuntimeBackend()).connect() as api:
        infos = await api.list_programs(limit=limit, offset=skip)
    return [RuntimeClientProgram.from_info(info) for info in infos]


list_programs = sync_task(alist_programs)
"""Synchronous twin of `alist_programs`."""


@async_task
async def aprint_programs(
    *,
    backend: BackendLike | None = None,
    limit: int | None = 20,
    skip: int = 0,
    detailed: bool = False,
) -> None:
    """Print the programs that you may run, with their descriptions.

    Args:
        backend: Any backend of the service; default: the embedded service.
        limit: Maximum number of programs; None for all.
        skip: Number of programs to skip at the start.
        detailed: Print their parameters and results as well.
    """
    async with as_backend(backend or RuntimeBackend()).connect() as api:
        programs = await api.list_programs(limit=limit, offset=skip)
    print(format_programs(programs, detailed=detailed))  # noqa: T201 - printing is its purpose


print_programs = sync_task(aprint_programs)
"""Synchronous twin of `aprint_programs`."""
