"""Statements about jobs' inputs, interim results and results, all stored exactly as received."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select

from prefect_qiskit_runtime.service.store.jobs import get_job
from prefect_qiskit_runtime.service.store.records import InterimPage, Job
from prefect_qiskit_runtime.service.store.tables import interim_results, job_inputs, job_results


def append_interim(
    connection: Connection, job_id: str, first_seq: int, texts: Sequence[str]
) -> None:
    """Add interim results to a job, numbered from `first_seq`."""
    connection.execute(
        insert(interim_results),
        [
            {"job_id": job_id, "seq": first_seq + index, "data": text}
            for index, text in enumerate(texts)
        ],
    )


def read_interim(
    connection: Connection, job_id: str, from_seq: int, *, max_bytes: int
) -> InterimPage:
    """Return a job and its interim results from a number on, up to an approximate size.

    Both come from one snapshot. Results are stored before the end of their job, so an ended job
    gets no further results.
    """
    job = get_job(connection, job_id)
    statement = (
        select(interim_results.c.seq, interim_results.c.data)
        .where(interim_results.c.job_id == job_id, interim_results.c.seq >= from_seq)
        .order_by(interim_results.c.seq)
    )
    results: list[tuple[int, str]] = []
    size = 0
    with connection.execute(statement) as cursor:
        for seq, text in cursor:
            results.append((seq, text))
            size += len(text)
            if size >= max_bytes:
                return InterimPage(job, results, complete=False)
    return InterimPage(job, results, complete=True)


def find_inputs(connection: Connection, job_id: str) -> bytes | None:
    """Return a job's inputs as sent."""
    return connection.execute(
        select(job_inputs.c.params).where(job_inputs.c.job_id == job_id)
    ).scalar_one_or_none()


def page_inputs(
    connection: Connection, jobs: Sequence[Job], *, max_bytes: int
) -> list[tuple[Job, bytes | None]]:
    """Return the first of the jobs with their inputs as sent, up to an approximate size.

    There is at least one of them. A private job has no inputs.
    """
    found: list[tuple[Job, bytes | None]] = []
    size = 0
    for job in jobs:
        params = None if job.private else find_inputs(connection, job.id)
        found.append((job, params))
        size += len(params or b"")
        if size >= max_bytes:
            break
    return found


def delete_results(connection: Connection, job_id: str) -> None:
    """Delete a job's result and interim results."""
    for table in (job_results, interim_results):
        connection.execute(delete(table).where(table.c.job_id == job_id))


def find_result(connection: Connection, job_id: str) -> str | None:
    """Return a job's encoded result, or the text of its error."""
    return connection.execute(
        select(job_results.c.data).where(job_results.c.job_id == job_id)
    ).scalar_one_or_none()
