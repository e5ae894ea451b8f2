"""Old jobs go: by age, and the oldest first where they take too much room."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, update

from prefect_qiskit_runtime.service.execution.executor import Exited, Result
from prefect_qiskit_runtime.service.retention import forget_old_jobs
from prefect_qiskit_runtime.service.store.tables import jobs


def _age(connection: Connection, job_id: str, days: float) -> None:
    moment = datetime.now(UTC) - timedelta(days=days)
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(ended_at=moment))


async def _finished(local, client, program_id: str, result: str = "1") -> str:
    job_id = await local.job(client, program_id)
    (await local.executor.next()).send(Result(result), Exited(0, None, False))
    await local.ended(job_id)
    local.context.log_path(job_id).write_text("log")
    return job_id


async def _forget(local, *, days: float = 1000, size: int = 10**9) -> int:
    context = local.context
    return await forget_old_jobs(
        context.store, context.job_logs_dir, context.clock, max_days=days, max_bytes=size
    )


async def test_jobs_that_ended_long_ago_are_deleted_with_their_logs(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client)
        old = await _finished(local, client, program_id)
        recent = await _finished(local, client, program_id)
        pending = await local.job(client, program_id)
        await local.context.store.write(_age, old, 91)
        await local.context.store.write(_age, recent, 89)
        assert await _forget(local, days=90) == 1
        listed = (await client.get("/jobs")).json()["jobs"]
        assert [job["id"] for job in listed] == [pending, recent]
        assert not local.context.log_path(old).exists()
        assert local.context.log_path(recent).exists()


async def test_the_oldest_jobs_go_until_the_rest_is_small_enough(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client)
        ids = [await _finished(local, client, program_id, "1" * 1_000_000) for _ in range(5)]
        assert await _forget(local, size=3_500_000) == 2
        listed = (await client.get("/jobs", params={"sort": "ASC"})).json()["jobs"]
        assert [job["id"] for job in listed] == ids[2:]
        assert await _forget(local, size=3_500_000) == 0
        assert await _forget(local, size=0) == 3


async def test_the_database_file_gives_room_back(local) -> None:
    path = local.context.job_logs_dir.parent / "runtime.db"
    async with local.client() as client:
        program_id = await local.program(client)
        await _finished(local, client, program_id, "1" * 5_000_000)
        await _forget(local, size=0)

        def checkpoint(connection: Connection) -> int:
            return connection.exec_driver_sql("PRAGMA page_count").scalar_one() * 4096

        assert await local.context.store.read(checkpoint) < 1_000_000
    assert path.exists()


async def test_a_hidden_program_goes_with_its_last_job(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client)
        await _finished(local, client, program_id)
        await client.delete(f"/programs/{program_id}")
        assert (await client.get(f"/programs/{program_id}/versions/1")).status_code == 200
        await _forget(local, size=0)
        assert (await client.get(f"/programs/{program_id}/versions/1")).status_code == 404
