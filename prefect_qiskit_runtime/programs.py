"""Runtime programs: upload, update, delete, visibility, get, list - and the `RuntimeProgram` block.

A program is uploaded once and run many times by its id. Uploading the same content again returns
the same program, so a flow can simply upload its programs at the start.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.blocks.abstract import JobBlock
from prefect.context import FlowRunContext
from pydantic import Field, HttpUrl, model_validator

from prefect_qiskit_runtime.backend import BackendLike, RuntimeBackend, as_backend
from prefect_qiskit_runtime.client import (
    RuntimeClientProgram,
    format_programs,
    read_changes,
    read_program,
    read_source,
)
from prefect_qiskit_runtime.codec import Decoders
from prefect_qiskit_runtime.credentials import LOGO_URL, Referable
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.evaluation.evaluation import Evaluation
from prefect_qiskit_runtime.evaluation.request import Request
from prefect_qiskit_runtime.flow_run.tasks import async_task, sync_task
from prefect_qiskit_runtime.models import IfExists, ProgramMetadata
from prefect_qiskit_runtime.runtime_job import RuntimeJob
from prefect_qiskit_runtime.twins.sync import blocking, run_sync


def flow_folder() -> Path | None:
    """Return the folder of the file that defines the running flow; None outside a flow run."""
    context = FlowRunContext.get()
    if context is None or context.flow is None:
        return None
    try:
        file = inspect.getsourcefile(inspect.unwrap(context.flow.fn))
    except TypeError:
        return None
    return Path(file).resolve().parent if file else None


def locate(path: str | Path) -> Path:
    """Find a file relative to the flow's file, or to the working directory outside a flow.

    A worker runs a deployment in a temporary folder, so a flow's working directory is not useful.

    Raises:
        ConfigurationError: The file does not exist; the error names the path that was tried.
    """
    given = Path(path).expanduser()
    base = flow_folder() or Path.cwd()
    found = given if given.is_absolute() else base / given
    if not found.is_file():
        raise ConfigurationError(
            f"The file {found} does not exist. Relative paths start at the folder of the flow's "
            f"file ({base}); check {str(path)!r}."
        )
    return found


def source_argument(source: str | bytes | Path) -> str | bytes | Path:
    """Distinguish a path from source code: a single line that ends in `.py` is a path."""
    if isinstance(source, Path) or (
        isinstance(source, str) and "\n" not in source and source.endswith(".py")
    ):
        return locate(source)
    return source


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
    if isinstance(metadata, str | Path):
        metadata = locate(metadata)
    program = read_program(
        source_argument(source),
        metadata,
        name=name,
        description=description,
        max_execution_time=max_execution_time,
        spec=spec,
        is_public=is_public,
    )
    async with as_backend(backend or RuntimeBackend()).connect() as api:
        uploaded = await api.upload_program(program.source, program.metadata, if_exists=if_exists)
    return uploaded.id


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


class RuntimeProgram(Referable, JobBlock[Any]):
    """A runtime program with the inputs and the backend that it is usually run with.

    Example:
        Load a saved program, run it, and wait for its result:
        ```python
        from prefect_qiskit_runtime import RuntimeProgram

        program = RuntimeProgram.load("BLOCK_NAME")
        job = program.trigger()
        result = job.result()
        ```
    """

    _block_type_name = "Qiskit Runtime Program"
    _block_type_slug = "qiskit-runtime-program"
    _logo_url = LOGO_URL
    _documentation_url = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")

    program_id: str | None = Field(
        default=None, title="Program", description="Id of a program that has been uploaded."
    )
    source: str | None = Field(
        default=None,
        description="Path of its Python file instead, uploaded when the program is triggered.",
    )
    metadata: str | None = Field(
        default=None,
        title="Metadata",
        description="Path of the JSON file with the metadata that belongs to it.",
    )
    inputs: dict[str, Any] = Field(
        default_factory=dict, description="Inputs that every run of the program gets."
    )
    backend: RuntimeBackend = Field(
        default_factory=RuntimeBackend, description="Backend that the program runs on."
    )
    result_decoder: str | None = Field(
        default=None,
        description=(
            "Import path of the class that decodes its results, for example "
            "my_package.decoders:EnergyDecoder."
        ),
    )

    @model_validator(mode="after")
    def _one_program(self) -> RuntimeProgram:
        if (self.program_id is None) == (self.source is None):
            raise ValueError("Give either program_id or source, to say which program to run.")
        return self

    async def aupload(self) -> str:
        """Upload the source, unless the service has it already; returns the program's id."""
        if self.program_id is not None:
            return self.program_id
        assert self.source is not None  # noqa: S101 - the validator has seen to it
        return await aupload_program.fn(self.source, self.metadata, backend=self.backend)

    upload = blocking(aupload)

    async def atrigger(self, **inputs: Any) -> RuntimeJob:
        """Submit a job of the program.

        Args:
            inputs: Laid over the inputs of the block.
        """
        program_id = await self.aupload()
        together = {**self.inputs, **inputs}
        request = Request(program_id, together, self.backend, self.backend.options(None))
        async with self.backend.connect() as api:
            job_id = await (await Evaluation.from_request(api, request)).submit()
        return RuntimeJob(
            job_id,
            self.backend,
            program_id=program_id,
            inputs=together,
            decoders=Decoders.choose(self.result_decoder),
        )

    def trigger(self, **inputs: Any) -> RuntimeJob:  # type: ignore[override]
        """Submit a job of the program.

        Args:
            inputs: Laid over the inputs of the block.
        """
        return run_sync(self.atrigger(**inputs))
