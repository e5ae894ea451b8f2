"""Commands on the records of jobs in Prefect's result storage: clean."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True, help="Job records in Prefect's result storage on this machine."
)


@app.callback()
def records() -> None:
    """Job records in Prefect's result storage on this machine."""


@app.command()
def clean(
    *,
    days: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Delete records last written this many days ago or earlier. Default:"
            " PREFECT_QISKIT_RUNTIME_RECORD_DAYS (90 unless set).",
        ),
    ] = None,
    private_results: Annotated[
        bool,
        typer.Option(
            "--private-results", help="Include results of private jobs: no other copy exists."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only report; delete nothing.")
    ] = False,
) -> None:
    """Delete old records: provenance, kept results, and the memory of durable calls."""
    from prefect_qiskit_runtime.client import settings_of_environment
    from prefect_qiskit_runtime.records.records import forget_records

    older_than_days = settings_of_environment().record_days if days is None else days
    forgotten = forget_records(
        older_than_days=older_than_days, private_results=private_results, dry_run=dry_run
    )
    done = "Would delete" if dry_run else "Deleted"
    typer.echo(
        f"{done} {forgotten.records} records ({forgotten.size_bytes / 1024:.0f} KiB) older than"
        f" {older_than_days:g} days in {forgotten.folder}."
    )
