"""The command line, `prefect-qiskit-runtime`: control the embedded service, run a team service.

The commands start and stop the embedded service, run the team service, and list, show and follow
backends, programs, jobs and sessions. They never start a service just to inspect it
(`service status`, `service stop`), print a token, or load Qiskit or a web server for a query.

Entry point: `app`.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from prefect_qiskit_runtime.cli import (
    _backends,
    _job_records,
    _jobs,
    _programs,
    _records,
    _serve,
    _service,
    _sessions,
    _usage,
)
from prefect_qiskit_runtime.errors import QiskitRuntimeError

__all__ = ["app"]


class _Commands(TyperGroup):
    """Shows this package's errors as one line instead of a traceback."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except QiskitRuntimeError as exc:
            typer.echo(f"Error: {exc}", err=True)
            raise typer.Exit(1) from exc


app = typer.Typer(
    name="prefect-qiskit-runtime",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(_serve.serve)
app.command()(_usage.usage)
app.add_typer(_service.app, name="service")
app.add_typer(_programs.app, name="programs")
app.add_typer(_jobs.app, name="jobs")
_jobs.app.command()(_job_records.export)
_jobs.app.command()(_job_records.compare)
app.add_typer(_records.app, name="records")
app.add_typer(_sessions.app, name="sessions")
app.add_typer(_backends.app, name="backends")


def _show_version(wanted: bool) -> None:
    from prefect_qiskit_runtime.models import package_version

    if wanted:
        typer.echo(package_version())
        raise typer.Exit


@app.callback()
def main(
    *,
    version: bool = typer.Option(
        False,
        "--version",
        callback=_show_version,
        is_eager=True,
        help="Show the version and exit.",
    ),
) -> None:
    """Manage programs, jobs, sessions and this machine's embedded Qiskit Runtime service.

    PREFECT_QISKIT_RUNTIME_HOME sets the service's folder. Every listing accepts --json.
    """
