"""Statements about jobs' inputs, interim results and results, all stored exactly as received."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    case,
    delete,
    func,
    insert,
    literal_column,
    select,
)

from prefect_qiskit_runtime.service.store.jobs import get_job
from prefect_qiskit_runtime.service.store.records import InterimPage, Job
from prefect_qiskit_runtime.service.store.tables import interim_results, job_inputs, job_results

_ROW_BYTES = 100  # of an item in memory, beside its text


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
    connection: Connection, job_id: str, from_seq: int, *, max_bytes: int, large: int
) -> InterimPage:
    """Return a job and its interim results from a number on, up to an approximate size.

    Both come from one snapshot. Results are stored before the end of their job, so an ended job
    gets no further results. A result with more than `large` characters is left out: its text is
    None, and it ends the page.
    """
    job = get_job(connection, job_id)
    data = interim_results.c.data
    # Cheaper than its length, for which SQLite would count the characters of all of it.
    is_small = func.substr(data, large + 1, 1) == ""
    statement = (
        select(interim_results.c.seq, case((is_small, data)))
        .where(interim_results.c.job_id == job_id, interim_results.c.seq >= from_seq)
        .order_by(interim_results.c.seq)
    )
    results: list[tuple[int, str | None]] = []
    size = 0
    with connection.execute(statement) as cursor:
        for seq, text in cursor:
            results.append((seq, text))
            size += _ROW_BYTES + len(text or "")
            if text is None or size >= max_bytes:
                return InterimPage(job, results, complete=False)
    return InterimPage(job, results, complete=True)


@dataclass(frozen=True)
class StoredBytes:
    """A value that may be large, and is measured and read as the bytes that are stored."""

    table: Table
    column: str
    where: tuple[ColumnElement[bool], ...]

    def peek(self, connection: Connection, large: int) -> tuple[int, bytes | None] | None:
        """Return its number of bytes, and itself unless it is larger; None if it is missing."""
        with self._open(connection) as blob:
            if blob is None:
                return None
            return len(blob), None if len(blob) > large else blob.read()

    def read(self, connection: Connection) -> bytes | None:
        """Return it; None if it does not exist."""
        with self._open(connection) as blob:
            return None if blob is None else blob.read()

    def _open(self, connection: Connection) -> AbstractContextManager[sqlite3.Blob | None]:
        rowid = connection.execute(
            select(literal_column("rowid")).select_from(self.table).where(*self.where)
        ).scalar_one_or_none()
        if rowid is None:
            return nullcontext()
        driver = cast("sqlite3.Connection", connection.connection.driver_connection)
        return driver.blobopen(self.table.name, self.column, rowid, readonly=True)


def stored_inputs(job_id: str) -> StoredBytes:
    """Return where a job's inputs are, as sent."""
    return StoredBytes(job_inputs, "params", (job_inputs.c.job_id == job_id,))


def stored_result(job_id: str) -> StoredBytes:
    """Return where a job's encoded result is, or the text of its error."""
    return StoredBytes(job_results, "data", (job_results.c.job_id == job_id,))


def stored_interim(job_id: str, seq: int) -> StoredBytes:
    """Return where one interim result is."""
    where = (interim_results.c.job_id == job_id, interim_results.c.seq == seq)
    return StoredBytes(interim_results, "data", where)


def page_inputs(
    connection: Connection, jobs: Sequence[Job], *, max_bytes: int
) -> list[tuple[Job, bytes | None]]:
    """Return the first of the jobs with their inputs as sent, up to an approximate size.

    There is at least one of them. A private job has no inputs.
    """
    found: list[tuple[Job, bytes | None]] = []
    size = 0
    for job in jobs:
        params = None if job.private else stored_inputs(job.id).read(connection)
        found.append((job, params))
        size += len(params or b"")
        if size >= max_bytes:
            break
    return found


def delete_results(connection: Connection, job_id: str) -> None:
    """Delete a job's result and interim results."""
    for table in (job_results, interim_results):
        connection.execute(delete(table).where(table.c.job_id == job_id))
