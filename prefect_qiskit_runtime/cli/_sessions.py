"""Commands on sessions: ls, show, close, cancel."""

from __future__ import annotations

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
    from prefect_qiskit_runtime.models import SessionInfo

app = typer.Typer(no_args_is_help=True, help="Sessions and batches: jobs that belong together.")

SessionId = Annotated[str, typer.Argument(metavar="SESSION_ID", help="Id of the session.")]
SessionIds = Annotated[
    list[str], typer.Argument(metavar="SESSION_ID...", help="Ids of sessions or batches.")
]


@app.command("ls")
def list_sessions(
    *,
    limit: Limit = 20,
    is_open: Annotated[
        bool | None, typer.Option("--open/--closed", help="Only open, or only closed, sessions.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List sessions and batches, newest first."""
    sessions = ask(lambda api: api.list_sessions(limit=limit, is_open=is_open))
    if as_json:
        show_json([_as_json(session) for session in sessions])
        return
    show_table(
        ("SESSION", "MODE", "STATE", "BACKEND", "CREATED", "SECONDS USED"),
        (
            (
                session.id,
                session.mode or "unknown",
                session.state.value,
                session.backend_name,
                local_time(session.created_at),
                _rounded(session.elapsed_time),
            )
            for session in sessions
        ),
        empty="No sessions.",
    )


@app.command()
def show(session_id: SessionId, *, as_json: Json = False) -> None:
    """Show a session: its state, its times and its usage."""
    session = ask(lambda api: api.get_session(session_id))
    if as_json:
        show_json(_as_json(session))
        return
    show_fields(
        [
            ("Session", session.id),
            ("Mode", session.mode),
            ("State", session.state.value),
            ("Accepting jobs", "yes" if session.takes_jobs else "no"),
            ("Backend", session.backend_name),
            ("Created", local_time(session.created_at)),
            ("Started", local_time(session.started_at)),
            ("Closed", local_time(session.closed_at)),
            ("Last job started", local_time(session.last_job_started)),
            ("Last job ended", local_time(session.last_job_completed)),
            ("Max time", f"{session.max_ttl} s"),
            ("Interactive time", f"{session.interactive_ttl} s"),
            ("Seconds used", _rounded(session.elapsed_time)),
        ]
    )


@app.command()
def close(session_ids: SessionIds) -> None:
    """Close sessions to new jobs; each closes fully once its jobs are done."""

    async def close_all(api: RuntimeApi) -> None:
        for session_id in session_ids:
            await api.close_session(session_id)
            typer.echo(f"Closed {session_id} to new jobs.")

    ask(close_all)


@app.command()
def cancel(session_ids: SessionIds) -> None:
    """Close sessions now and cancel their queued jobs."""

    async def cancel_all(api: RuntimeApi) -> None:
        for session_id in session_ids:
            await api.cancel_session(session_id)
            typer.echo(f"Cancelled {session_id}.")

    ask(cancel_all)


def _rounded(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f}"


def _as_json(session: SessionInfo) -> dict[str, Any]:
    fields = session.model_dump(mode="json")
    return {
        "session_id": fields["id"],
        "mode": fields["mode"],
        "state": fields["state"],
        "accepting_jobs": fields["accepting_jobs"],
        "backend": fields["backend_name"],
        "created_at": fields["created_at"],
        "started_at": fields["started_at"],
        "activated_at": fields["activated_at"],
        "closed_at": fields["closed_at"],
        "last_job_started_at": fields["last_job_started"],
        "last_job_ended_at": fields["last_job_completed"],
        "max_time": fields["max_ttl"],
        "interactive_time": fields["interactive_ttl"],
        "used_seconds": fields["elapsed_time"],
    }
