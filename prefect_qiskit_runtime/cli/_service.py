"""Commands on the embedded service: start, status, stop, logs."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefect_qiskit_runtime.cli._output import Json, local_time, show_fields, show_json

if TYPE_CHECKING:
    from prefect_qiskit_runtime.client import EmbeddedStatus

NOT_RUNNING = 3
"""Exit code of `service status` if none is running, as for system services (LSB)."""

app = typer.Typer(no_args_is_help=True, help="This machine's embedded service.")


@app.command()
def start(*, as_json: Json = False) -> None:
    """Start the embedded service if it is not running. Flows start it automatically."""
    from prefect_qiskit_runtime.client import start_embedded

    _show(asyncio.run(start_embedded()), as_json=as_json)


@app.command()
def status(*, as_json: Json = False) -> None:
    """Show the embedded service's address and load. The exit code is 3 if it is not running."""
    from prefect_qiskit_runtime.client import embedded_status

    running = asyncio.run(embedded_status())
    if running is not None:
        _show(running, as_json=as_json)
        return
    if as_json:
        show_json({"running": False})
    else:
        typer.echo("The embedded service is not running. It starts on first use.")
    raise typer.Exit(NOT_RUNNING)


@app.command()
def stop(
    *,
    force: Annotated[
        bool,
        typer.Option("--force", help="Stop it even if jobs are running or queued; they are lost."),
    ] = False,
) -> None:
    """Stop the embedded service. It keeps programs, jobs and results for its next start."""
    from prefect_qiskit_runtime.client import stop_embedded
    from prefect_qiskit_runtime.errors import ConflictError

    try:
        stopped = asyncio.run(stop_embedded(only_if_idle=not force))
    except ConflictError as exc:
        raise ConflictError(f"{exc} To stop it anyway, add --force.") from exc
    typer.echo("Stopped." if stopped else "The embedded service is not running.")


@app.command()
def logs(
    *,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="Number of lines.")] = 200,
) -> None:
    """Show the last lines of the service's own log. For a job's log, use `jobs logs`."""
    from prefect_qiskit_runtime.client import settings_of_environment
    from prefect_qiskit_runtime.errors import NotFoundError
    from prefect_qiskit_runtime.models import PROTOCOL_VERSION
    from prefect_qiskit_runtime.models.embedded_home import EmbeddedHome

    path = EmbeddedHome(settings_of_environment().embedded_dir(PROTOCOL_VERSION)).log_path
    try:
        with path.open(encoding="utf-8", errors="replace") as log:
            last = deque(log, maxlen=lines)
    except FileNotFoundError as exc:
        raise NotFoundError(f"No log at {path}: no service has run there.") from exc
    typer.echo("".join(last), nl=False)


def _show(running: EmbeddedStatus, *, as_json: bool) -> None:
    known, status = running.discovery, running.status
    if as_json:
        show_json(
            {
                "running": True,
                "url": known.url,
                "token_file": str(running.token_file),
                "home": str(running.token_file.parent),
                **status.model_dump(mode="json", exclude={"package_version"}),
                "version": status.package_version,
            }
        )
        return
    fields: list[tuple[str, Any]] = [
        ("Running at", known.url),
        ("Process", status.pid),
        ("Version", status.package_version),
        ("Started", local_time(status.started_at)),
        ("Folder", running.token_file.parent),
        ("Token file", running.token_file),
        ("Jobs running", str(status.jobs_running)),
        ("Jobs waiting", str(status.jobs_queued)),
        ("Streams open", str(status.streams_open)),
    ]
    show_fields(fields)
