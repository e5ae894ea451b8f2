"""Commands on the provenance of jobs: export, compare."""

from __future__ import annotations

import asyncio
import csv
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from prefect_qiskit_runtime.cli._output import Json, show_json, show_table

if TYPE_CHECKING:
    from prefect_qiskit_runtime.backend import RuntimeBackend
    from prefect_qiskit_runtime.client import RuntimeApi
    from prefect_qiskit_runtime.provenance import Provenance

Answer = TypeVar("Answer")

Block = Annotated[
    str | None,
    typer.Option(
        "--block",
        help="A saved RuntimeBackend block whose service is queried. Default: the embedded one.",
    ),
]


def export(
    *,
    as_jsonl: Annotated[bool, typer.Option("--jsonl", help="JSON lines (the default).")] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="CSV, with nested values as columns.")
    ] = False,
    block: Block = None,
    program: Annotated[str | None, typer.Option(help="Only jobs of this program id.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Only jobs with this tag; repeat for several.")
    ] = None,
    after: Annotated[
        datetime | None, typer.Option(help="Only jobs created at this time or later.")
    ] = None,
    before: Annotated[
        datetime | None, typer.Option(help="Only jobs created at this time or earlier.")
    ] = None,
) -> None:
    """Write the provenance of all jobs, one line per job, oldest first."""
    from prefect_qiskit_runtime.history import provenance_of_jobs

    if as_jsonl and as_csv:
        raise typer.BadParameter("Choose one of --jsonl and --csv.")

    async def all_jobs(api: RuntimeApi, backend: RuntimeBackend) -> list[Provenance]:
        jobs = await api.list_jobs(
            program_id=program,
            tags=tag or (),
            created_after=after,
            created_before=before,
            oldest_first=True,
        )
        return await provenance_of_jobs(api, backend, jobs)

    found = _ask(block, all_jobs)
    if as_csv:
        _write_csv([one.to_row(as_json=True) for one in found])
        return
    for one in found:
        typer.echo(one.model_dump_json())


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Id of a job.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Id of another job.")],
    *,
    block: Block = None,
    as_json: Json = False,
) -> None:
    """Compare two jobs: settings, calibration, versions, results and usage.

    Results of private jobs are not read, because each can be read only once.
    """
    from prefect_qiskit_runtime.records.comparison import compare as differences_of

    async def both(api: RuntimeApi, backend: RuntimeBackend) -> Any:
        one, other = [await _provenance(api, backend, job_id) for job_id in (a, b)]
        return differences_of(one, other, await _results(api, one, other))

    found = _ask(block, both)
    if as_json:
        show_json([{**vars(one), "change": one.change} for one in found])
        return
    show_table(
        ("PART", "WHAT", a, b, "CHANGE"),
        [(one.part, one.name, _cell(one.a), _cell(one.b), _cell(one.change)) for one in found],
        empty="They do not differ.",
    )


async def _provenance(api: RuntimeApi, backend: RuntimeBackend, job_id: str) -> Provenance:
    from prefect_qiskit_runtime.records.provenance import collect, read_stored
    from prefect_qiskit_runtime.records.records import Records

    stored = await read_stored(Records(), job_id)
    return stored or await collect(api, backend, await api.get_job(job_id), None)


async def _results(api: RuntimeApi, a: Provenance, b: Provenance) -> tuple[Any, Any] | None:
    from prefect_qiskit_runtime.client import read_result
    from prefect_qiskit_runtime.codec import decode
    from prefect_qiskit_runtime.models import JobStatus

    if any(one.private or one.status is not JobStatus.COMPLETED for one in (a, b)):
        return None
    found = [await read_result(api, one.job_id, decode, is_sent_once=False) for one in (a, b)]
    return found[0][1], found[1][1]


def _ask(
    block: str | None, question: Callable[[RuntimeApi, RuntimeBackend], Awaitable[Answer]]
) -> Answer:
    from prefect_qiskit_runtime.backend import RuntimeBackend
    from prefect_qiskit_runtime.errors import ConfigurationError

    async def connected() -> Answer:
        try:
            backend = RuntimeBackend() if block is None else await RuntimeBackend.aload(block)
        except ValueError as error:
            raise ConfigurationError(
                f"Cannot load the RuntimeBackend block {block!r}: {error}"
            ) from error
        async with backend.connect() as api:
            return await question(api, backend)

    return asyncio.run(connected())


def _write_csv(rows: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)
