"""Commands on jobs: ls, show, stream, result, logs, cancel."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefect_qiskit_runtime.cli._output import (
    Json,
    Limit,
    ask,
    local_time,
    show_fields,
    show_json,
    show_table,
)

if TYPE_CHECKING:
    from prefect_qiskit_runtime.client import RuntimeApi
    from prefect_qiskit_runtime.errors import JobError
    from prefect_qiskit_runtime.models import InterimEvent, JobInfo, JobMetrics, JobState

_LOG_TAIL_CHARACTERS = 4000

app = typer.Typer(no_args_is_help=True, help="Jobs: executions of programs.")

JobId = Annotated[str, typer.Argument(metavar="JOB_ID", help="Id of the job.")]


@app.command("ls")
def list_jobs(
    *,
    limit: Limit = 20,
    pending: Annotated[
        bool | None, typer.Option("--pending/--ended", help="Only pending, or only ended, jobs.")
    ] = None,
    program: Annotated[str | None, typer.Option(help="Only jobs of this program id.")] = None,
    backend: Annotated[str | None, typer.Option(help="Only jobs on this backend.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Only jobs with this tag; repeat for several.")
    ] = None,
    session: Annotated[str | None, typer.Option(help="Only jobs of this session id.")] = None,
    as_json: Json = False,
) -> None:
    """List jobs, newest first."""
    jobs = ask(
        lambda api: api.list_jobs(
            limit=limit,
            pending=pending,
            program_id=program,
            backend=backend,
            tags=tag or (),
            session_id=session,
        )
    )
    if as_json:
        show_json([_as_json(job) for job in jobs])
        return
    show_table(
        ("JOB", "STATUS", "PROGRAM", "BACKEND", "CREATED", "TAGS"),
        (
            (
                job.id,
                job.state.status.value,
                job.program.id,
                job.backend,
                local_time(job.created),
                ", ".join(job.tags),
            )
            for job in jobs
        ),
        empty="No jobs.",
    )


@app.command()
def show(job_id: JobId, *, as_json: Json = False) -> None:
    """Show a job: its state, its times and, if it failed, the reason."""
    job, metrics, error = ask(lambda api: _inspect(api, job_id))
    if as_json:
        failed = {"error": error and str(error), "traceback": error and error.traceback}
        show_json({**_as_json(job), **failed, "metrics": metrics.model_dump(mode="json")})
        return
    fields: list[tuple[str, Any]] = [
        ("Job", job.id),
        ("Status", job.state.status.value),
        ("Reason", job.state.reason),
        ("Program", job.program.id),
        ("Program version", job.program.version),
        ("Backend", job.backend),
        ("Session", job.session_id),
        ("Image", job.runtime),
        ("Tags", ", ".join(job.tags)),
        ("Created", local_time(job.created)),
        ("Started", local_time(job.started)),
        ("Ended", local_time(job.ended)),
        ("Max execution time", f"{job.cost} s" if job.cost else None),
        ("Interim results", str(job.interim_count)),
        ("Seconds run", _rounded(metrics.usage.get("seconds"))),
        ("Versions", ", ".join(f"{name} {number}" for name, number in metrics.versions.items())),
    ]
    show_fields(fields)
    if error is not None:
        typer.echo(f"\n{error.traceback or error}")


@app.command()
def stream(
    job_id: JobId,
    *,
    from_: Annotated[
        int, typer.Option("--from", min=0, help="Number of the first interim result to write.")
    ] = 0,
    numbered: Annotated[
        bool, typer.Option("--numbered", help='Write {"seq": …, "interim": …} instead.')
    ] = False,
) -> None:
    """Write interim results as JSON lines as they arrive, until the job ends.

    This also works for a job that has already ended. States go to standard error. The exit code
    is 0 if the job completed, 1 otherwise.
    """
    from prefect_qiskit_runtime.models import JobStatus

    state = ask(lambda api: _follow(api, job_id, from_, numbered=numbered))
    if state.status is not JobStatus.COMPLETED:
        raise typer.Exit(1)


@app.command()
def result(job_id: JobId) -> None:
    """Wait for a job to end, then write its result as JSON.

    Qiskit values stay encoded. If the job has no result, the exit code is 1.
    """
    from prefect_qiskit_runtime.client import read_result

    async def wait(api: RuntimeApi) -> str:
        await api.wait_for_job(job_id)
        job, _, error = await _inspect(api, job_id)
        if error is not None:
            raise error
        once = api.sends_once(private=job.private)
        return (await read_result(api, job_id, str, is_sent_once=once))[0]

    typer.echo(ask(wait))


@app.command()
def logs(job_id: JobId) -> None:
    """Write the log of a job: its standard output and error."""
    typer.echo(ask(lambda api: api.job_logs(job_id)), nl=False)


@app.command()
def cancel(
    job_ids: Annotated[list[str], typer.Argument(metavar="JOB_ID...", help="Ids of jobs.")],
) -> None:
    """Cancel jobs."""

    async def cancel_all(api: RuntimeApi) -> None:
        for job_id in job_ids:
            await api.cancel_job(job_id)
            typer.echo(f"Cancelled {job_id}.")

    ask(cancel_all)


async def _inspect(api: RuntimeApi, job_id: str) -> tuple[JobInfo, JobMetrics, JobError | None]:
    from prefect_qiskit_runtime.client import job_error
    from prefect_qiskit_runtime.models import JobStatus

    job = await api.get_job(job_id)
    metrics = await api.job_metrics(job_id)
    if job.state.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        return job, metrics, None
    log = await api.job_logs(job_id)
    body = await api.job_result(job_id)
    return job, metrics, job_error(job, body, log[-_LOG_TAIL_CHARACTERS:] or None)


async def _follow(api: RuntimeApi, job_id: str, from_seq: int, *, numbered: bool) -> JobState:
    from prefect_qiskit_runtime.errors import ProtocolError
    from prefect_qiskit_runtime.models import EndEvent, InterimEvent, StatusEvent

    async for event in api.stream(job_id, from_seq):
        if isinstance(event, InterimEvent):
            typer.echo(_json_line(event, numbered=numbered))
        elif isinstance(event, StatusEvent):
            if not event.status.is_terminal:  # the end event reports it, with the reason
                typer.echo(f"Job {job_id} is {event.status.value.lower()}.", err=True)
        elif isinstance(event, EndEvent):
            reason = f": {event.state.reason}" if event.state.reason else ""
            typer.echo(f"Job {job_id} {event.state.status.value.lower()}{reason}.", err=True)
            return event.state
    raise ProtocolError(f"The stream of job {job_id} closed before the job's end was reported.")


def _rounded(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds:.2f}"


def _json_line(event: InterimEvent, *, numbered: bool) -> str:
    """Return an interim result on one line, still encoded, so Qiskit is not loaded."""
    try:
        interim = json.loads(event.data)
    except ValueError:  # the program's own encoder may write something other than JSON
        interim = event.data
    line = {"seq": event.seq, "interim": interim} if numbered else interim
    return json.dumps(line, ensure_ascii=False)


def _as_json(job: JobInfo) -> dict[str, Any]:
    fields = job.model_dump(mode="json")
    return {
        "job_id": job.id,
        "status": job.state.status.value,
        "reason": job.state.reason,
        "reason_code": job.state.reason_code,
        "program_id": job.program.id,
        "program_version": job.program.version,
        "backend": job.backend,
        "image": job.runtime,
        "tags": job.tags,
        "created_at": fields["created"],
        "started_at": fields["started"],
        "ended_at": fields["ended"],
        "max_execution_time": job.cost,
        "session_id": job.session_id,
        "attempt": job.attempt,
        "interim_count": job.interim_count,
    }
