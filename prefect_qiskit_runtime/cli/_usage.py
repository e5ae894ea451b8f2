"""The command `usage`: time used by jobs, day by day."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefect_qiskit_runtime.cli._output import Json, ask, show_json, show_table

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from prefect_qiskit_runtime.client import RuntimeApi
    from prefect_qiskit_runtime.models import InstanceUsage, JobUsage


def usage(
    *,
    block: Annotated[
        str | None,
        typer.Option(help="Query the service of this saved RuntimeBackend block, team or IBM."),
    ] = None,
    account: Annotated[
        str | None, typer.Option(help="Query this IBM Quantum account, as saved by qiskit.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, help="Number of days, including today.")] = 7,
    as_json: Json = False,
) -> None:
    """Show the QPU time and wall-clock time used by jobs, per day (UTC) and backend.

    Without a block or an account, the embedded service is queried.
    """
    if block is not None and account is not None:
        raise typer.BadParameter("Give --block or --account, not both.")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - timedelta(days=days - 1)

    async def look(api: RuntimeApi) -> tuple[list[JobUsage], dict[str, float], InstanceUsage]:
        from prefect_qiskit_runtime.client import Spending, usage_of

        jobs = await api.list_jobs(created_after=since)
        sessions = await Spending().active_seconds(api, jobs)
        return await usage_of(api, jobs), sessions, await api.usage()

    if block is None and account is None:
        jobs, sessions, instance = ask(look)
    else:
        jobs, sessions, instance = asyncio.run(_query(look, block, account))
    if as_json:
        show_json(
            {
                "jobs": [job.model_dump(mode="json") for job in jobs],
                "sessions": sessions,
                "instance": instance.model_dump(mode="json"),
            }
        )
        return
    _show(jobs, sessions, instance)


async def _query(look: Any, block: str | None, account: str | None) -> Any:
    async with await _connection(block, account) as api:
        return await look(api)


async def _connection(
    block: str | None, account: str | None
) -> AbstractAsyncContextManager[RuntimeApi]:
    from prefect_qiskit_runtime.backend import RuntimeBackend
    from prefect_qiskit_runtime.credentials import IBMQuantumCredentials
    from prefect_qiskit_runtime.errors import ConfigurationError

    if block is None:
        return IBMQuantumCredentials(account_name=account).connect()
    try:
        return (await RuntimeBackend.aload(block)).connect()
    except ValueError as error:
        raise ConfigurationError(
            f"Prefect has no RuntimeBackend block {block!r}. See `prefect block ls`."
        ) from error


def _show(jobs: list[JobUsage], sessions: dict[str, float], instance: InstanceUsage) -> None:
    by_day: dict[tuple[str, str], list[JobUsage]] = defaultdict(list)
    for job in jobs:
        day = "" if job.created is None else job.created.astimezone(UTC).date().isoformat()
        by_day[day, job.backend].append(job)
    show_table(
        ("DAY", "BACKEND", "JOBS", "QPU SECONDS", "SECONDS"),
        (
            (
                day,
                backend,
                str(len(group)),
                f"{sum(job.quantum_seconds or 0.0 for job in group):.1f}",
                f"{sum(job.seconds or 0.0 for job in group):.1f}",
            )
            for (day, backend), group in sorted(by_day.items(), reverse=True)
        ),
        empty="No jobs.",
    )
    if unknown := sum(job.quantum_seconds is None for job in jobs):
        typer.echo(f"The QPU time of {unknown} jobs is not known yet and not included.")
    if sessions:
        typer.echo(
            f"{len(sessions)} sessions were active for {sum(sessions.values()):.1f} s: IBM bills"
            " this time instead of their jobs' QPU time."
        )
    limit, consumed = instance.usage_limit_seconds, instance.usage_consumed_seconds
    used = "an unknown part" if consumed is None else f"{consumed:.1f} s"
    typer.echo(
        f"The instance has used {used} of QPU time"
        + (f" of {limit:.0f} s." if limit is not None else ".")
    )
