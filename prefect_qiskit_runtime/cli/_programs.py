"""Commands on programs: ls, show, upload, delete."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefect_qiskit_runtime.cli._output import Json, Limit, ask, local_time, show_json, show_table

if TYPE_CHECKING:
    from prefect_qiskit_runtime.client import RuntimeApi
    from prefect_qiskit_runtime.models import ProgramInfo, ProgramUploaded

app = typer.Typer(
    no_args_is_help=True, help="Programs: uploaded Python files with a main function."
)

ProgramId = Annotated[str, typer.Argument(metavar="PROGRAM_ID", help="Id of the program.")]


class IfExists(StrEnum):
    """How an upload treats an existing program with the same name."""

    UPDATE = "update"
    NEW = "new"
    ERROR = "error"


@app.command("ls")
def list_programs(
    *,
    limit: Limit = 20,
    name: Annotated[str | None, typer.Option(help="Only programs of this name.")] = None,
    as_json: Json = False,
) -> None:
    """List programs, newest first."""
    programs = ask(lambda api: api.list_programs(limit=limit, name=name))
    if as_json:
        show_json([_as_json(program) for program in programs])
        return
    show_table(
        ("PROGRAM", "NAME", "VERSION", "UPDATED", "PUBLIC", "DESCRIPTION"),
        (
            (
                program.id,
                program.name,
                str(program.version),
                local_time(program.update_date),
                "yes" if program.is_public else "no",
                program.description,
            )
            for program in programs
        ),
        empty="No programs. Upload one with `programs upload`.",
    )


@app.command()
def show(
    program_id: ProgramId,
    *,
    source: Annotated[bool, typer.Option("--source", help="Write only its source.")] = False,
    as_json: Json = False,
) -> None:
    """Show a program: its description, limits and schemas, or its source."""
    from prefect_qiskit_runtime.client import format_program

    program = ask(lambda api: api.get_program(program_id))
    if source:
        typer.echo(program.data or "", nl=False)
    elif as_json:
        show_json({**_as_json(program), "source": program.data})
    else:
        typer.echo(format_program(program))


@app.command()
def upload(
    source: Annotated[Path, typer.Argument(help="The Python file.", dir_okay=False, exists=True)],
    *,
    metadata: Annotated[
        Path | None,
        typer.Option(
            "--metadata", "-m", dir_okay=False, exists=True, help="Its JSON metadata file."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Default: the file's name.")] = None,
    description: Annotated[str | None, typer.Option(help="A short description.")] = None,
    max_execution_time: Annotated[
        int | None, typer.Option(min=1, help="Wall-clock limit of its jobs, in seconds.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Let other users run it.")] = False,
    if_exists: Annotated[
        IfExists, typer.Option(help="How to treat a program with this name and other content.")
    ] = IfExists.UPDATE,
    as_json: Json = False,
) -> None:
    """Upload a program and print its id. Uploading the same content again gives the same id."""
    from prefect_qiskit_runtime.client import read_program

    draft = read_program(
        source,
        metadata,
        name=name,
        description=description,
        max_execution_time=max_execution_time,
    )

    async def send(api: RuntimeApi) -> ProgramUploaded:
        return await api.upload_program(
            draft.source, draft.metadata, is_public=public or None, if_exists=if_exists.value
        )

    uploaded = ask(send)
    if as_json:
        show_json(
            {
                "program_id": uploaded.id,
                "version": uploaded.version,
                "outcome": uploaded.outcome,
            }
        )
        return
    typer.echo(uploaded.id)
    typer.echo(f"{uploaded.outcome.capitalize()}, version {uploaded.version}.", err=True)


@app.command()
def delete(
    program_ids: Annotated[
        list[str], typer.Argument(metavar="PROGRAM_ID...", help="Ids of programs.")
    ],
) -> None:
    """Delete programs. Jobs that ran them keep their results."""

    async def delete_all(api: RuntimeApi) -> None:
        for program_id in program_ids:
            await api.delete_program(program_id)
            typer.echo(f"Deleted {program_id}.")

    ask(delete_all)


def _as_json(program: ProgramInfo) -> dict[str, object]:
    fields = program.model_dump(mode="json", exclude={"id", "data", "cost"}, exclude_none=True)
    return {"program_id": program.id, **fields, "max_execution_time": program.cost or None}
