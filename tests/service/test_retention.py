"""Old jobs go: by age, and the oldest first where they take too much room."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, update

from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.execution.executor import Exited, Result
from prefect_qiskit_runtime.service.retention import (
    SpaceLeft,
    forget_old_jobs,
    forget_old_journals,
)
from prefect_qiskit_runtime.service.store.space import Space
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


async def _listed(client) -> list[str]:
    return [job["id"] for job in (await client.get("/jobs", params={"sort": "ASC"})).json()["jobs"]]


async def test_the_large_program_of_one_user_deletes_no_jobs_of_another(local) -> None:
    async with local.client() as alice, local.client("bob") as bob:
        program_id = await local.program(alice)
        ids = [await _finished(local, alice, program_id, "1" * 100_000) for _ in range(10)]
        for number in range(9):  # 36 MB: one request has less than 5 MB
            await local.program(bob, name=f"large-{number}", description="x" * 4_000_000)
        own = [await _finished(local, bob, await local.program(bob))]
        assert await _forget(local, size=10_000_000) == 1
        assert await _listed(alice) == ids
        assert own not in await _listed(bob)


async def test_the_users_who_take_the_most_space_lose_their_oldest_jobs_first(local) -> None:
    async with local.client() as alice, local.client("bob") as bob:
        program_id = await local.program(alice)
        large = [await _finished(local, alice, program_id, "1" * 1_000_000) for _ in range(5)]
        program_id = await local.program(bob)
        small = [await _finished(local, bob, program_id, "1" * 1_000_000) for _ in range(2)]
        assert await _forget(local, size=5_500_000) == 2
        assert (await _listed(alice), await _listed(bob)) == (large[2:], small)
        assert await _forget(local, size=3_500_000) == 2
        left = (await _listed(alice), await _listed(bob))
        assert left in [(large[4:], small), (large[3:], small[1:])]


async def test_a_limit_per_user_holds_while_the_total_is_small(local) -> None:
    context = local.context
    async with local.client() as alice, local.client("bob") as bob:
        program_id = await local.program(alice)
        large = [await _finished(local, alice, program_id, "1" * 1_000_000) for _ in range(4)]
        small = [await _finished(local, bob, await local.program(bob), "1" * 1_000_000)]
        deleted = await forget_old_jobs(
            context.store,
            context.job_logs_dir,
            context.clock,
            max_days=1000,
            max_bytes=10**9,
            bytes_per_user=2_500_000,
        )
        assert deleted == 2
        assert (await _listed(alice), await _listed(bob)) == (large[2:], small)


def test_a_user_loses_nothing_below_an_equal_share() -> None:
    users = {"alice": Space(4, 4), "bob": Space(100, 0), "carol": Space(40, 40)}
    left = SpaceLeft.divide(users, 144, 90, None)
    lost: list[str] = []
    while (user := left.next_user()) is not None:
        lost.append(user)
        left.take(user, 4)
    # Bob's space cannot be freed. Carol is reduced to her share of 30, and no further.
    assert (lost, left.users["carol"].total) == (["carol"] * 3, 28)


async def test_what_still_runs_is_not_deleted(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client)
        pending = [await local.job(client, program_id) for _ in range(3)]
        assert await _forget(local, size=0, days=1e-9) == 0
        assert await _listed(client) == pending


class _OtherClock(Clock):
    """The clock of a machine that is wrong."""

    def __init__(self, ahead: timedelta) -> None:
        super().__init__()
        self.ahead = ahead

    def now(self) -> datetime:
        return super().now() + self.ahead


async def _forget_by(local, clock: Clock) -> int:
    context = local.context
    return await forget_old_jobs(
        context.store, context.job_logs_dir, clock, max_days=90, max_bytes=10**9
    )


async def test_a_clock_that_is_100_days_ahead_deletes_nothing_fresh(local) -> None:
    clock = _OtherClock(timedelta(0))
    journal = local.context.journals_dir / "key.jsonl"
    journal.parent.mkdir(exist_ok=True)
    journal.write_text("{}\n")
    async with local.client() as client:
        fresh = await _finished(local, client, await local.program(client))
        for ahead in (timedelta(days=100), timedelta(days=100, hours=23), timedelta(0)):
            clock.ahead = ahead  # the last one: the clock is set right
            assert await _forget_by(local, clock) == 0
            await forget_old_journals(local.context.store, journal.parent, clock, max_days=90)
        assert await _listed(client) == [fresh]
        assert journal.exists()
        for days in (100, 100.5):  # it is wrong again, which is not a day of its time
            clock.ahead = timedelta(days=days)
            assert await _forget_by(local, clock) == 0
        clock.ahead = timedelta(days=101, seconds=1)
        assert await _forget_by(local, clock) == 1


async def test_a_service_that_did_not_run_for_months_deletes_after_a_day(local) -> None:
    async with local.client() as client:
        old = await _finished(local, client, await local.program(client))
        clock = _OtherClock(timedelta(days=0))
        assert await _forget_by(local, clock) == 0
        clock.ahead = timedelta(days=100)
        assert await _forget_by(local, clock) == 0
        clock.ahead = timedelta(days=101, seconds=1)
        assert await _forget_by(local, clock) == 1
        assert old not in await _listed(client)


async def test_the_key_of_a_deleted_job_is_forgotten_after_400_days(local) -> None:
    async with local.client() as client:
        request = {"program_id": await local.program(client)}
        headers = {"Idempotency-Key": "k"}
        job_id = (await client.post("/jobs", json=request, headers=headers)).json()["id"]
        (await local.executor.next()).send(Result("1"), Exited(0, None, False))
        await local.ended(job_id)
        assert await _forget(local, size=0) == 1

        async def status() -> int:
            return (await client.post("/jobs", json=request, headers=headers)).status_code

        assert await status() == 410
        local.context.clock.advance(399 * 86_400)
        await _forget(local)
        assert await status() == 410
        local.context.clock.advance(2 * 86_400)
        await _forget(local)
        assert await status() == 200
