"""The `RuntimeProgram` block: a program with its usual inputs and its usual backend.

Prefect's server and workers import this module to know the blocks of this package. It loads them
and little else: the client and the machinery of submissions are imported on use.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.blocks.abstract import JobBlock
from prefect.context import FlowRunContext
from pydantic import Field, HttpUrl

from prefect_qiskit_runtime.backend import RuntimeBackend
from prefect_qiskit_runtime.block_fields.fields import (
    LOGO_URL,
    STRICT,
    Referable,
    StrictFields,
)
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.twins.sync import blocking, run_sync

if TYPE_CHECKING:
    from prefect_qiskit_runtime.models import IfExists
    from prefect_qiskit_runtime.runtime_job import RuntimeJob


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

    A worker runs a deployment from a separate folder, so the working directory says nothing.

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
    """Distinguish a path from a source: a text of one line that ends in `.py` is a path."""
    if isinstance(source, Path) or (
        isinstance(source, str) and "\n" not in source and source.endswith(".py")
    ):
        return locate(source)
    return source


async def upload_source(
    source: str | bytes | Path,
    metadata: Any,
    *,
    backend: RuntimeBackend,
    if_exists: IfExists = "update",
    **fields: Any,
) -> str:
    """Upload a program, unless the service has it already, and return its id.

    Args:
        source: Path of the Python file, relative to the flow's file; or the source itself.
        metadata: Path of a JSON file, a mapping or `ProgramMetadata`; None for the file beside
            the source.
        backend: Any backend of the service.
        if_exists: The action if the user has a program of this name with other content.
        fields: Values that override those of the metadata; None leaves them.
    """
    from prefect_qiskit_runtime.client import read_program

    if isinstance(metadata, str | Path):
        metadata = locate(metadata)
    program = read_program(source_argument(source), metadata, **fields)
    async with backend.connect() as api:
        uploaded = await api.upload_program(program.source, program.metadata, if_exists=if_exists)
    return uploaded.id


class RuntimeProgram(  # pyright: ignore[reportIncompatibleMethodOverride] - Prefect's of pydantic's
    Referable, StrictFields, JobBlock[Any]
):
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

    model_config = STRICT

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

    def _faults(self) -> Iterator[str]:
        if (self.program_id is None) == (self.source is None):
            yield "Give either program_id or source, to say which program to run."

    async def aupload(self) -> str:
        """Upload the source, unless the service has it already; returns the program's id.

        Raises:
            ConfigurationError: The block was saved with fields that do not fit together.
        """
        self.require_usable()
        if self.program_id is not None:
            return self.program_id
        assert self.source is not None  # noqa: S101 - the validator has seen to it
        return await upload_source(self.source, self.metadata, backend=self.backend)

    upload = blocking(aupload)

    async def atrigger(self, **inputs: Any) -> RuntimeJob:
        """Submit a job of the program.

        Args:
            inputs: Laid over the inputs of the block.
        """
        from prefect_qiskit_runtime.codec import Decoders
        from prefect_qiskit_runtime.evaluation.evaluation import Evaluation
        from prefect_qiskit_runtime.evaluation.request import Request
        from prefect_qiskit_runtime.runtime_job import RuntimeJob

        program_id = await self.aupload()
        together = {**self.inputs, **inputs}
        request = Request(program_id, together, self.backend, self.backend.program_options(None))
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
